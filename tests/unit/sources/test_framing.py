"""MP3 and AAC are known by their frames, wherever a stream is joined."""

from __future__ import annotations

import numpy as np
import pytest

from stream_mer.sources.containers import guess_framing

MP3_128K = b"\xff\xfb\x90\x00" + bytes(413)
MP3_22K = b"\xff\xf3\x80\x00" + bytes(72_000 * 64 // 22_050 - 4)


def aac(length: int) -> bytes:
    return bytes([0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 31]) + bytes(length - 6)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (MP3_128K * 6, "mp3"),
        (MP3_22K * 6, "mp3"),
        (b"".join(aac(length) for length in (300, 411, 280, 999, 7 + 8, 500)), "aac"),
    ],
)
@pytest.mark.parametrize("skipped", [0, 1, 100, 250])
def test_frames_are_found_wherever_the_stream_is_joined(frames: bytes, expected: str, skipped: int) -> None:
    assert guess_framing(frames[skipped:]) == expected


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_frames(seed: int) -> None:
    assert guess_framing(np.random.default_rng(seed).bytes(50_000)) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff" * 10_000, MP3_128K * 3, bytes(10_000), aac(300) + MP3_128K * 3])
def test_too_little_is_nothing(data: bytes) -> None:
    assert guess_framing(data) is None
