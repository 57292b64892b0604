"""What a stage does to music: every stage measured, none believed."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from stream_mer.training.augment import (
    CONDITIONS,
    STAGE,
    Codec,
    Degradation,
    NoiseKind,
    StageSound,
    degrade,
    limited,
    room_noise,
    room_response,
    through_codec,
    with_band,
    with_room,
)
from stream_mer.types import SAMPLE_RATE_HZ

SPECTRUM_TOLERANCE_DB = 0.3  # of a third of an octave of 30 s of noise, estimated by 58 spectra
EVERYTHING = StageSound(gain=1.0, band=1.0, room=1.0, noise=1.0, codec=1.0)
NOTHING = StageSound(gain=0.0, band=0.0, room=0.0, noise=0.0, codec=0.0)


def chance(seed=0):
    return np.random.default_rng(seed)


def white(duration_s=30.0, level=0.1):
    return (level * chance(99).standard_normal(round(duration_s * SAMPLE_RATE_HZ))).astype(np.float32)


def level_db(samples):
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def band_db(samples, centre_hz, octaves=1 / 3):
    """Mean power density around a frequency (Welch's method), dB."""
    length = 8192
    pieces = samples[: len(samples) // length * length].reshape(-1, length) * np.hanning(length)
    power = (np.abs(np.fft.rfft(pieces)) ** 2).mean(0)
    f_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    inside = (f_hz >= centre_hz * 2 ** (-octaves / 2)) & (f_hz <= centre_hz * 2 ** (octaves / 2))
    return float(10 * np.log10(power[inside].mean()))


def lag(after, before):
    """By how many samples ``after`` is late: the peak of the cross-correlation."""
    length = 2 * len(before)
    correlation = np.fft.irfft(np.fft.rfft(after, length) * np.conj(np.fft.rfft(before, length)), length)
    peak = int(np.argmax(correlation))
    return peak - length if peak > length // 2 else peak


@pytest.mark.parametrize("n", [0, 1, 2, 255, 16_000, 16_001, 81_234])
@pytest.mark.parametrize("seed", [0, 1])
def test_everything_together_keeps_length_and_stays_within_full_scale(n, seed, music):
    samples = music(6.0)[:n]
    before = samples.copy()
    heard = degrade(samples, chance(seed), EVERYTHING)
    assert heard.dtype == np.float32
    assert heard.shape == (n,)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max(initial=0.0) <= 1.0
    assert np.array_equal(samples, before)


def test_chance_comes_from_the_generator_alone(music):
    samples = music(3.0)
    first, second, other = (degrade(samples, chance(seed), EVERYTHING) for seed in (5, 5, 6))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_nothing_asked_is_nothing_done(music):
    samples = music(2.0)
    for sound in (NOTHING, Degradation()):
        heard = degrade(samples, chance(), sound)
        assert np.array_equal(heard, samples)
        assert heard is not samples


@pytest.mark.parametrize("kind", get_args(NoiseKind))
def test_silence_stays_silent(kind):
    chain = Degradation(rt60_s=0.5, noise=kind, high_pass_hz=100.0, gain_db=6.0)
    assert not degrade(np.zeros(20_000, np.float32), chance(), chain).any()


@pytest.mark.parametrize("gain_db", [-30.0, -10.0, 3.0])
def test_level_is_as_asked(gain_db):
    samples = white()
    assert level_db(degrade(samples, chance(), Degradation(gain_db=gain_db))) - level_db(samples) == pytest.approx(
        gain_db, abs=1e-3
    )


def test_the_limiter_bends_only_what_is_loud():
    rising = np.linspace(-1.6, 1.6, 3201, dtype=np.float32)
    bent = limited(rising)
    quiet = np.abs(rising) <= 0.8
    assert np.array_equal(bent[quiet], rising[quiet])
    assert np.abs(bent).max() <= 1.0
    assert (np.diff(bent) >= 0).all()
    assert np.abs(np.diff(bent, 2)).max() < 1e-4  # no edge where it begins to bend
    within = rising / 1.6
    assert np.array_equal(limited(within), within)


def test_too_much_gain_is_limited_not_wrapped(music):
    samples = music(4.0)
    samples /= np.abs(samples).max()
    heard = degrade(samples, chance(), Degradation(gain_db=6.0))
    assert 0.99 < np.abs(heard).max() <= 1.0
    assert 0 < level_db(heard) - level_db(samples) < 6.0
    assert np.corrcoef(heard, samples)[0, 1] > 0.95


@pytest.mark.parametrize(("high_pass_hz", "low_pass_hz"), [(300.0, 3400.0), (100.0, 6000.0)])
def test_band_limits_are_where_they_were_asked(high_pass_hz, low_pass_hz):
    samples = white()
    heard = with_band(samples, high_pass_hz=high_pass_hz, low_pass_hz=low_pass_hz)

    def change_db(f_hz):
        return band_db(heard, f_hz, 1 / 12) - band_db(samples, f_hz, 1 / 12)

    assert change_db(high_pass_hz) == pytest.approx(-3.0, abs=SPECTRUM_TOLERANCE_DB)
    assert change_db(high_pass_hz / 2) == pytest.approx(-12.3, abs=2 * SPECTRUM_TOLERANCE_DB)
    assert change_db(1000.0) == pytest.approx(0.0, abs=0.1)
    assert change_db(low_pass_hz) == pytest.approx(-3.0, abs=SPECTRUM_TOLERANCE_DB)
    if 2 * low_pass_hz < SAMPLE_RATE_HZ / 2:
        assert change_db(2 * low_pass_hz) == pytest.approx(-24.1, abs=2 * SPECTRUM_TOLERANCE_DB)


def test_one_limit_leaves_the_other_end_alone():
    samples = white()
    treble_gone, bass_gone = with_band(samples, low_pass_hz=3000.0), with_band(samples, high_pass_hz=300.0)
    assert band_db(treble_gone, 50.0) == pytest.approx(band_db(samples, 50.0), abs=0.1)
    assert band_db(bass_gone, 7000.0) == pytest.approx(band_db(samples, 7000.0), abs=0.1)


@pytest.mark.parametrize("slope", [-1.5, 1.0])
def test_tilt_turns_around_1_khz(slope):
    samples = white()
    heard = with_band(samples, tilt_db_per_octave=slope)
    for octave in (-3, -1, 0, 1, 2):
        f_hz = 1000.0 * 2.0**octave
        assert band_db(heard, f_hz) - band_db(samples, f_hz) == pytest.approx(slope * octave, abs=0.1)


def test_a_filter_does_not_carry_the_end_to_the_beginning():
    samples = np.zeros(20_000, np.float32)
    samples[-1] = 1.0
    heard = with_band(samples, high_pass_hz=60.0, low_pass_hz=3000.0)
    assert np.abs(heard[:10_000]).max() < 1e-4


@pytest.mark.parametrize("rt60_s", [0.2, 0.7, 1.5])
@pytest.mark.parametrize("ratio_db", [-6.0, 12.0])
def test_a_room_decays_as_asked(rt60_s, ratio_db):
    response = room_response(chance(), rt60_s, ratio_db)
    assert response[0] == 1.0
    assert -level_db(response[1:]) - 10 * np.log10(len(response) - 1) == pytest.approx(ratio_db, abs=0.01)
    first = int(np.flatnonzero(response[1:])[0]) + 1
    assert 0.002 <= first / SAMPLE_RATE_HZ <= 0.021
    left = np.cumsum(np.square(response[first:], dtype=np.float64)[::-1])[::-1]  # Schroeder's backward integration
    left_db = 10 * np.log10(left / left[0])
    fall = (left_db < -5) & (left_db > -25)
    slope = np.polyfit(np.flatnonzero(fall) / SAMPLE_RATE_HZ, left_db[fall], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.1)


def test_a_room_rings_on_and_keeps_the_level(music):
    samples = music(6.0)
    samples[48_000:] = 0.0
    heard = with_room(samples, room_response(chance(), 1.0, 0.0))
    assert level_db(heard) == pytest.approx(level_db(samples), abs=0.01)
    early, late = level_db(heard[48_400:51_400]), level_db(heard[54_800:57_800])
    assert early - late == pytest.approx(60 * 0.4, abs=3.0)  # 0.4 s later
    assert level_db(heard[48_400:51_400]) > level_db(samples) - 20


def test_a_room_is_a_convolution():
    samples, response = white(0.05), room_response(chance(), 0.03, 3.0)
    exact = np.convolve(samples.astype(float), response.astype(float))[: len(samples)]
    exact *= np.sqrt(np.mean(samples.astype(float) ** 2) / np.mean(exact**2))
    np.testing.assert_allclose(with_room(samples, response), exact, atol=1e-6)


@pytest.mark.parametrize("kind", get_args(NoiseKind))
@pytest.mark.parametrize("snr_db", [5.0, 30.0])
def test_noise_is_as_loud_as_asked(kind, snr_db, music):
    samples = music(6.0) / np.float32(4)
    noise = degrade(samples, chance(), Degradation(noise=kind, snr_db=snr_db)).astype(np.float64) - samples
    assert level_db(samples) - level_db(noise) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize(("kind", "db_per_octave"), [("pink", -3.01), ("brown", -6.02)])
def test_pink_and_brown_noise_fall_as_they_should(kind, db_per_octave):
    noise = room_noise(chance(), kind, 60 * SAMPLE_RATE_HZ)
    levels = [band_db(noise, f_hz) for f_hz in (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)]
    np.testing.assert_allclose(np.diff(levels), db_per_octave, atol=3 * SPECTRUM_TOLERANCE_DB)
    assert abs(noise.mean()) < 1e-3  # nothing below 20 Hz


def test_hum_is_lines_at_multiples_of_the_mains():
    seen = set()
    for seed in range(8):
        noise = room_noise(chance(seed), "hum", 10 * SAMPLE_RATE_HZ)
        power = np.abs(np.fft.rfft(noise)) ** 2  # 0.1 Hz a bin
        mains_hz = next(f for f in (50, 60) if power[10 * f] > 100 * power[10 * f + 30])
        seen.add(mains_hz)
        lines = power[10 * mains_hz * np.arange(1, 13)].sum()
        assert lines / power.sum() == pytest.approx(1 / 1.1, abs=0.02)  # the rest is the floor, 10 dB lower
    assert seen == {50, 60}


def test_babble_has_the_band_of_speech_and_swells():
    noise = room_noise(chance(), "babble", 30 * SAMPLE_RATE_HZ)
    assert band_db(noise, 300.0) - band_db(noise, 4000.0) > 20
    assert band_db(noise, 300.0) - band_db(noise, 40.0) > 20

    def spread_db(samples):
        pieces = samples.reshape(-1, SAMPLE_RATE_HZ // 10)
        return float(np.std(10 * np.log10(np.mean(np.square(pieces), axis=1))))

    assert spread_db(noise) > 2 * spread_db(white())


@pytest.mark.parametrize("codec", get_args(Codec))
@pytest.mark.parametrize("bit_rate_kbps", [12, 24, 48])
def test_a_codec_moves_no_sample_and_does_change_the_sound(codec, bit_rate_kbps, music):
    samples = music(5.3, seed=1) + white(5.3, level=0.02)
    heard = through_codec(samples, codec, bit_rate_kbps)
    assert heard.shape == samples.shape
    assert lag(heard, samples) == 0
    assert level_db(heard) == pytest.approx(level_db(samples), abs=2.5)  # LAME turns down by 0.4 dB, AAC by up to 2
    assert 0.85 < np.corrcoef(heard, samples)[0, 1] < 0.99999


@pytest.mark.parametrize("codec", get_args(Codec))
def test_a_codec_keeps_a_click_in_its_place(codec):
    samples = white(3.0, level=0.003)
    samples[20_000] = samples[40_000] = 0.9
    heard = np.abs(through_codec(samples, codec, 48))
    assert abs(int(np.argmax(heard[10_000:30_000])) - 10_000) <= 2
    assert abs(int(np.argmax(heard[30_000:])) - 10_000) <= 2


@pytest.mark.parametrize("codec", get_args(Codec))
@pytest.mark.parametrize("n", [0, 1, 100, 1151])
def test_a_codec_takes_less_than_a_block(codec, n, music):
    assert through_codec(music(1.0)[:n], codec, 24).shape == (n,)


def test_draws_lie_in_their_ranges_and_occur_as_often_as_asked():
    rng = chance()
    drawn = [STAGE.draw(rng) for _ in range(4000)]
    for occurs, probability in (
        ([d.gain_db != 0 for d in drawn], STAGE.gain),
        ([d.high_pass_hz is not None for d in drawn], STAGE.band),
        ([d.rt60_s is not None for d in drawn], STAGE.room),
        ([d.noise is not None for d in drawn], STAGE.noise),
        ([d.codec is not None for d in drawn], STAGE.codec),
    ):
        assert np.mean(occurs) == pytest.approx(probability, abs=0.03)  # four standard errors
    for values, (low, high) in (
        ([d.gain_db for d in drawn if d.gain_db != 0], STAGE.gain_db),
        ([d.high_pass_hz for d in drawn if d.high_pass_hz is not None], STAGE.high_pass_hz),
        ([d.low_pass_hz for d in drawn if d.low_pass_hz is not None], STAGE.low_pass_hz),
        ([d.rt60_s for d in drawn if d.rt60_s is not None], STAGE.rt60_s),
        ([d.direct_to_reverb_db for d in drawn], STAGE.direct_to_reverb_db),
        ([d.snr_db for d in drawn], STAGE.snr_db),
    ):
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
    assert {d.noise for d in drawn} == {None, *STAGE.noises}
    assert {d.codec for d in drawn} == {None, *STAGE.codecs}
    assert {d.bit_rate_kbps for d in drawn} == set(STAGE.bit_rates_kbps)


def test_one_probability_leaves_the_other_draws_alone():
    plain, never = STAGE.draw(chance(3)), replace(STAGE, room=0.0).draw(chance(3))
    assert replace(plain, rt60_s=None) == never


def test_conditions_are_one_trouble_each(music):
    assert list(CONDITIONS) == [
        "level -10 dB",
        "level -20 dB",
        "level -30 dB",
        "band 300-3400 Hz",
        "room RT60 1 s",
        "noise 10 dB SNR",
        "opus 12 kbit/s",
    ]
    samples = music(3.0) + white(3.0, level=0.02)
    heard = {name: degrade(samples, chance(), chain) for name, chain in CONDITIONS.items()}
    quieter = {name: level_db(samples) - level_db(x) for name, x in heard.items() if name.startswith("level")}
    assert quieter == pytest.approx({"level -10 dB": 10, "level -20 dB": 20, "level -30 dB": 30}, abs=0.01)
    assert band_db(samples, 6000.0) - band_db(heard["band 300-3400 Hz"], 6000.0) > 15
    assert level_db(heard["noise 10 dB SNR"] - samples) == pytest.approx(level_db(samples) - 10, abs=0.01)
    steady = white(3.0)  # a tone would agree with itself a period later, too
    assert all(lag(degrade(steady, chance(), chain), steady) == 0 for chain in CONDITIONS.values())
