"""Oscillators, filters and effects against what they are by definition."""

import numpy as np
import pytest

from tools.demo_song import dsp
from tools.demo_song.dsp import RATE_HZ, adsr, convolve, fast_length, gain, peak, resample


def level_at(signal, hz):
    """Amplitude of one frequency that has whole periods in the signal."""
    n = len(signal)
    return 2.0 * np.abs(np.fft.rfft(signal)[round(hz * n / RATE_HZ)]) / n


@pytest.mark.parametrize("n", [1, 7, 1000, 48_001, 99_991])
def test_fast_length_is_enough_and_smooth(n):
    rest = size = fast_length(n)
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert size >= n
    assert rest == 1


def test_convolution_is_the_textbook_one(rng):
    a, b = rng.standard_normal(300), rng.standard_normal(41)
    np.testing.assert_allclose(convolve(a, b), np.convolve(a, b), atol=1e-10)


def test_resampling_keeps_a_tone():
    tone = np.sin(2 * np.pi * 1000 * np.arange(22_050) / 22_050)
    wanted = np.sin(2 * np.pi * 1000 * np.arange(48_000) / RATE_HZ)
    np.testing.assert_allclose(resample(tone, 22_050)[2000:-2000], wanted[2000:-2000], atol=2e-3)


def test_a_saw_has_its_harmonics_and_little_else():
    wave = dsp.saw(1000.0, RATE_HZ)
    for k in (1, 2, 3):
        assert level_at(wave, 1000 * k) == pytest.approx(2 / (np.pi * k), rel=0.05)
    assert level_at(wave, 1500) < 1e-3


def test_filters_pass_and_stop():
    tones = {hz: dsp.sine(hz, RATE_HZ) for hz in (100.0, 1000.0, 10_000.0)}
    assert level_at(dsp.lowpass(tones[100.0], 1000.0), 100) == pytest.approx(1.0, rel=0.02)
    assert level_at(dsp.lowpass(tones[10_000.0], 1000.0), 10_000) < 0.02
    assert level_at(dsp.highpass(tones[100.0], 1000.0), 100) < 0.02
    assert level_at(dsp.bell(tones[1000.0], 1000.0, 6.0), 1000) == pytest.approx(gain(6.0), rel=0.02)


def test_a_sweep_that_is_wide_open_changes_nothing(rng):
    sound = dsp.lowpass(rng.standard_normal(20_000), 2000.0)
    opened = dsp.sweep(sound, np.full(20_000, 1e6), resonance_db=0.0)
    np.testing.assert_allclose(opened[2000:-2000], sound[2000:-2000], atol=1e-6)


def test_the_limiter_holds_every_peak_and_leaves_the_quiet_alone(rng):
    quiet = 0.1 * np.sin(2 * np.pi * 300 * np.arange(RATE_HZ) / RATE_HZ)
    loud = quiet.copy()
    loud[20_000:20_200] += 3.0 * rng.standard_normal(200)
    held = dsp.limit(loud, -1.0)
    assert peak(held) <= gain(-1.0) + 1e-12
    np.testing.assert_allclose(held[:19_000], loud[:19_000], atol=1e-9)


def test_loudness_of_the_standards_reference_tone():
    # ITU-R BS.1770: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LUFS.
    tone = dsp.sine(997.0, 2 * RATE_HZ)
    assert dsp.loudness(np.stack([tone, np.zeros_like(tone)])) == pytest.approx(-3.01, abs=0.1)


def test_driving_folds_nothing_back():
    hot = dsp.drive(dsp.sine(7000.0, RATE_HZ), 8.0)
    # The 5th harmonic, 35 kHz, would fold to 13 kHz at the plain rate.
    assert level_at(hot, 13_000) < 1e-3 * level_at(hot, 7000)


def test_a_room_decays(rng):
    answer = dsp.room(1.0, damping_hz=4000.0, rng=rng)
    early, late = answer[:, 2000:6000], answer[:, 40_000:44_000]
    assert 20 * np.log10(np.std(late) / np.std(early)) < -40.0


def test_the_music_steps_back_under_the_voice(rng):
    music = rng.standard_normal((2, RATE_HZ)) * 0.1
    voice = np.zeros((2, RATE_HZ))
    voice[:, 24_000:36_000] = 0.5 * dsp.sine(300.0, 12_000)
    ducked = dsp.duck(music, voice, all_db=3.0, middle_db=6.0)
    assert np.std(ducked[:, 26_000:34_000]) < 0.75 * np.std(music)
    np.testing.assert_allclose(ducked[:, :15_000], music[:, :15_000], atol=1e-3)


def test_an_envelope_starts_and_ends_at_nothing():
    curve = adsr(0.5, attack_s=0.05, release_s=0.2)
    assert curve[0] == 0.0
    assert curve[-1] == pytest.approx(0.0, abs=1e-6)
    assert len(curve) == round(0.7 * RATE_HZ)
