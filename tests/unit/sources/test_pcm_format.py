"""Raw bytes, cut anywhere, to mono at 16 kHz."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.sources.resampling import SAMPLE_FORMATS, PcmDecoder, PcmFormat

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


@pytest.mark.parametrize("rate_hz", [0, -1, 3_999, 384_001, 10**9])
def test_absurd_rates_are_refused(rate_hz: int) -> None:
    with pytest.raises(SettingError, match="4000 to 384000"):
        PcmFormat(rate_hz=rate_hz)


@pytest.mark.parametrize("channels", [0, -2, 65])
def test_absurd_channels_are_refused(channels: int) -> None:
    with pytest.raises(SettingError, match="1 to 64"):
        PcmFormat(channels=channels)


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"s16le.*f32le"):
        PcmFormat(sample_format="mp3")
