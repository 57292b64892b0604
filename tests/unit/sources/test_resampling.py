"""Mono at 16 kHz, the same however the input is cut."""

from __future__ import annotations

import itertools
import logging
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_mer.errors import SettingError
from stream_mer.sources.resampling import (
    LIMIT,
    SAMPLE_FORMATS,
    MonoResampler,
    PcmDecoder,
    PcmFormat,
    Polarity,
    to_float32,
    to_mono,
    to_stereo,
)

LENGTH_TOLERANCE = 1
"""Samples: soxr may round the last one up or down."""

PASSBAND_TOLERANCE_DB = 0.05
"""Measured: 0.009 dB at 91 % of the Nyquist frequency."""


def resample(rate_hz: int, pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    resampler = MonoResampler(rate_hz)
    return np.concatenate([*(resampler.feed(piece) for piece in pieces), resampler.finish()])


def tone(rate_hz: int, frequency_hz: float, duration_s: float = 1.0) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(rate_hz * duration_s)) / rate_hz).astype(np.float32)


@given(
    rate_hz=st.sampled_from([4_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000, 384_000]),
    channels=st.integers(1, 9),
    length=st.integers(0, 30_000),
    edges=st.lists(st.integers(0, 30_000), max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_the_same_to_the_bit_however_it_is_cut(rate_hz: int, channels: int, length: int, edges: list[int]) -> None:
    audio = np.random.default_rng(length).standard_normal((length, channels)).astype(np.float32)
    bounds = [0, *sorted(min(edge, length) for edge in edges), length]
    whole = resample(rate_hz, [audio])
    np.testing.assert_array_equal(resample(rate_hz, [audio[a:b] for a, b in itertools.pairwise(bounds)]), whole)
    assert abs(len(whole) - round(length * 16_000 / rate_hz)) <= LENGTH_TOLERANCE


@pytest.mark.parametrize("frequency_hz", [100.0, 1_000.0, 7_200.0])
def test_a_tone_stays_where_and_as_loud_as_it_was(frequency_hz: float) -> None:
    out = resample(44_100, [tone(44_100, frequency_hz)])[2_000:-2_000]
    expected = tone(16_000, frequency_hz)[2_000:-2_000]
    level_db = 20 * np.log10(np.sqrt(np.mean(out**2) / np.mean(expected**2)))
    assert abs(level_db) < PASSBAND_TOLERANCE_DB
    np.testing.assert_allclose(out, expected, atol=2e-3)


def test_a_tone_that_16_khz_cannot_hold_is_gone() -> None:
    out = resample(44_100, [tone(44_100, 9_000.0)])[2_000:-2_000]
    assert np.abs(out).max() < 1e-4


def test_audio_at_16_khz_passes_at_once_and_unchanged() -> None:
    resampler = MonoResampler(16_000)
    audio = tone(16_000, 440.0)
    np.testing.assert_array_equal(resampler.feed(audio), audio)
    assert len(resampler.finish()) == 0


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_what_is_not_finite_is_silence(rate_hz: int) -> None:
    audio = tone(rate_hz, 440.0)
    audio[5_000:5_003] = [np.nan, np.inf, -np.inf]
    expected = audio.copy()
    expected[5_000:5_003] = 0.0
    np.testing.assert_array_equal(resample(rate_hz, [audio]), resample(rate_hz, [expected]))


def test_one_broken_channel_leaves_the_other_alone() -> None:
    stereo = np.array([[0.5, np.nan], [0.5, np.inf], [0.5, 0.25]], np.float32)
    np.testing.assert_array_equal(to_mono(stereo), np.array([0.25, 0.25, 0.375], np.float32))


def test_absurd_values_cannot_overflow() -> None:
    huge = np.full((44_100, 2), np.finfo(np.float32).max, np.float32)
    out = resample(44_100, [huge])
    assert np.isfinite(out).all()
    assert np.abs(out).max() < 2 * LIMIT  # the filter overshoots at the edges of a step


def test_mono_is_never_the_array_that_came_in() -> None:
    audio = np.zeros(4, np.float32)
    assert not np.shares_memory(to_mono(audio), audio)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("u1", 0, 255),
        ("i1", -128, 127),
        ("i2", -(2**15), 2**15 - 1),
        ("i4", -(2**31), 2**31 - 1),
        (">i2", -(2**15), 2**15 - 1),
    ],
)
def test_full_scale_is_one(dtype: str, low: int, high: int) -> None:
    middle = (low + high + 1) // 2
    scaled = to_float32(np.array([low, middle, high], dtype))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [-1.0, 0.0, 1.0], atol=1 / 127)
    assert scaled[0] == -1.0
    assert scaled[1] == 0.0


def test_a_double_too_large_for_a_float_is_no_warning() -> None:
    assert to_mono(to_float32(np.array([1e300, 0.5])))[0] == 0.0


def test_a_finished_run_takes_no_more() -> None:
    resampler = MonoResampler(44_100)
    resampler.feed(tone(44_100, 440.0))
    assert len(resampler.finish())
    assert len(resampler.finish()) == 0
    with pytest.raises(RuntimeError, match="finished"):
        resampler.feed(np.zeros(1, np.float32))


def stereo_noise(length: int, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (length, 2)).astype(np.float32)


def mixed(pieces: list[NDArray[np.float32]], rate_hz: int = 16_000) -> NDArray[np.float32]:
    polarity = Polarity()
    polarity.begin(rate_hz)
    return np.concatenate([polarity.mix(piece) for piece in pieces])


def test_a_channel_that_is_turned_over_is_heard_as_loud_as_one_after_half_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = tone(16_000, 440.0, 3.0)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        out = mixed([np.stack([left, -left], axis=1)])
    assert not out[:8_000].any()
    np.testing.assert_allclose(out[8_000:], left[8_000:], atol=1e-6)
    assert caplog.text.count("left and right cancel each other") == 1


def test_cables_are_never_quite_alike() -> None:
    left = tone(16_000, 440.0, 3.0)
    noise = 1e-3 * np.random.default_rng(0).standard_normal((len(left), 2)).astype(np.float32)
    out = mixed([np.stack([left, -0.93 * left], axis=1) + noise])
    assert np.sqrt(np.mean(out[8_000:] ** 2)) == pytest.approx(0.965 * np.sqrt(0.5), rel=0.01)


@pytest.mark.parametrize(
    "stereo",
    [
        stereo_noise(48_000),
        np.stack([tone(16_000, 440.0, 3.0), -0.8 * tone(16_000, 440.0, 3.0)], axis=1),
        1e-4 * np.stack([tone(16_000, 440.0, 3.0), -tone(16_000, 440.0, 3.0)], axis=1),
        np.zeros((48_000, 2), np.float32),
        stereo_noise(48_000) * np.float32([1.0, 0.0]),
    ],
    ids=["uncorrelated", "wide", "quiet", "silent", "one side"],
)
def test_stereo_that_does_not_cancel_is_its_mean_to_the_bit(
    stereo: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    stereo = stereo.astype(np.float32)
    np.testing.assert_array_equal(mixed([stereo]), to_mono(stereo))
    assert caplog.text == ""


def test_a_moment_that_cancels_changes_nothing() -> None:
    stereo = stereo_noise(48_000)
    stereo[16_000:22_000, 1] = -stereo[16_000:22_000, 0]  # less than half a second
    np.testing.assert_array_equal(mixed([stereo]), to_mono(stereo))


def test_channels_that_agree_again_are_their_mean_again() -> None:
    inverted, upright = stereo_noise(16_000), stereo_noise(32_000, seed=1)
    inverted[:, 1] = -inverted[:, 0]
    out = mixed([inverted, upright])
    np.testing.assert_array_equal(out[16_000 + 1_600 :], to_mono(upright)[1_600:])


@given(edges=st.lists(st.integers(0, 40_000), max_size=8))
@settings(max_examples=30, deadline=None)
def test_polarity_is_judged_alike_however_the_audio_is_cut(edges: list[int]) -> None:
    stereo = stereo_noise(40_000)
    stereo[5_000:25_000, 1] = -stereo[5_000:25_000, 0]
    bounds = [0, *sorted(edges), 40_000]
    pieces = [stereo[a:b] for a, b in itertools.pairwise(bounds)]
    np.testing.assert_array_equal(mixed(pieces, 22_050), mixed([stereo], 22_050))


def test_a_new_run_of_the_same_source_knows_of_the_inverted_channel_and_warns_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = tone(44_100, 440.0)
    polarity = Polarity()
    for rate_hz in (44_100, 48_000):
        out = MonoResampler(rate_hz, polarity).feed(np.stack([left, -left], axis=1))
    assert np.abs(out[: len(out) // 4]).max() > 0.9
    assert caplog.text.count("cancel each other") == 1


FIVE_ONE = ("FL", "FR", "FC", "LFE", "BL", "BR")
RATIO = 0.5**0.5


def one(channel: int, channels: int = 6) -> np.ndarray:
    samples = np.zeros((4, channels), np.float32)
    samples[:, channel] = 0.5
    return samples


@pytest.mark.parametrize(
    ("channel", "left", "right"),
    [(0, 1, 0), (1, 0, 1), (2, RATIO, RATIO), (3, 0, 0), (4, RATIO, 0), (5, 0, RATIO)],
)
def test_each_channel_goes_where_the_standard_puts_it(channel: int, left: float, right: float) -> None:
    stereo = to_stereo(one(channel), FIVE_ONE)
    assert stereo.shape == (4, 2)
    np.testing.assert_allclose(stereo, np.tile([0.5 * left, 0.5 * right], (4, 1)), rtol=1e-6)


@pytest.mark.parametrize("names", [("FC",), ("FL", "FR"), ("NONE", "NONE", "NONE"), ("FL", "FR", "AMBI0")])
def test_mono_stereo_and_channels_without_a_place_stay_as_they_are(names: tuple[str, ...]) -> None:
    samples = np.ones((4, len(names)), np.float32)
    assert to_stereo(samples, names) is samples


def test_one_broken_channel_leaves_the_others_alone() -> None:
    samples = one(0)
    samples[:, 4] = [np.nan, np.inf, -np.inf, 0.0]
    np.testing.assert_array_equal(to_stereo(samples, FIVE_ONE), to_stereo(one(0), FIVE_ONE))


VALUES = [0.0, 0.5, -0.5, 0.25, -1.0]


def encode(value: float, sample_format: str) -> bytes:
    """One sample by the book, with nothing of the code under test."""
    order = "big" if sample_format.endswith("be") else "little"
    if sample_format.startswith("f"):
        return struct.pack((">" if order == "big" else "<") + ("f" if "32" in sample_format else "d"), value)
    bits = int(sample_format.strip("usbel"))
    if sample_format.startswith("u"):
        return int(value * 128 + 128).to_bytes(1, order)
    return int(value * 2 ** (bits - 1)).to_bytes(bits // 8, order, signed=True)


@pytest.mark.parametrize("sample_format", SAMPLE_FORMATS)
def test_every_format_gives_the_same_samples(sample_format: str) -> None:
    pcm_format = PcmFormat(rate_hz=16_000, sample_format=sample_format, channels=1)
    data = b"".join(encode(value, sample_format) for value in VALUES)
    assert len(data) == pcm_format.stride_bytes * len(VALUES)
    np.testing.assert_array_equal(pcm_format.decode(data)[:, 0], np.array(VALUES, np.float32))


def test_channels_are_interleaved_and_averaged() -> None:
    decoder = PcmDecoder(PcmFormat(rate_hz=16_000, sample_format="f32le", channels=2))
    np.testing.assert_array_equal(decoder.feed(struct.pack("<4f", 1.0, 0.0, -1.0, 0.5)), [0.5, -0.25])


@given(
    sample_format=st.sampled_from(["u8", "s16le", "s24le", "f32le"]),
    channels=st.integers(1, 3),
    data=st.binary(max_size=3_000),
    edges=st.lists(st.integers(0, 3_000), max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_bytes_may_be_cut_anywhere(sample_format: str, channels: int, data: bytes, edges: list[int]) -> None:
    pcm_format = PcmFormat(rate_hz=22_050, sample_format=sample_format, channels=channels)
    whole, pieces = PcmDecoder(pcm_format), PcmDecoder(pcm_format)
    expected = np.concatenate([whole.feed(data), whole.finish()])
    bounds = [0, *sorted(min(edge, len(data)) for edge in edges), len(data)]
    parts = [pieces.feed(data[a:b]) for a, b in itertools.pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate([*parts, pieces.finish()]), expected)
    assert np.isfinite(expected).all()


def test_a_last_sample_that_is_not_whole_is_dropped() -> None:
    decoder = PcmDecoder(PcmFormat(rate_hz=16_000, sample_format="s16le", channels=2))
    assert len(decoder.feed(bytes(4 + 3))) == 1
    assert len(decoder.finish()) == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        *(({"rate_hz": rate_hz}, "4000 to 384000") for rate_hz in (0, -1, 3_999, 384_001, 10**9)),
        *(({"channels": channels}, "1 to 64") for channels in (0, -2, 65)),
        ({"sample_format": "mp3"}, r"s16le.*f32le"),
    ],
)
def test_a_format_that_cannot_be_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        PcmFormat(**wrong)
