"""Recognise the frames of MP3 and AAC in a stream that is joined anywhere. Pure.

FFmpeg wants five seconds of them before it is sure, unless it knows the type of an answer, which PyAV cannot tell it.
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST_SEARCH_BYTES = 16_384
"""Behind so many bytes no more is searched: four frames of 320 kbit/s, or a few seconds of a slow station."""

_FRAMES = 4
"""So many in a row, each where the one before ends and like it, are no chance."""

_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_BIT_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BIT_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def guess_framing(data: bytes) -> str | None:
    """Return FFmpeg's name of the format, ``mp3`` or ``aac``; None if this holds neither, or too little of it.

    Args:
        data: The first bytes of a stream.
    """
    for name, length in (("mp3", _mp3_frame_bytes), ("aac", _aac_frame_bytes)):
        start = data.find(b"\xff")
        while 0 <= start < LONGEST_SEARCH_BYTES:
            if _follow(data, start, length):
                return name
            start = data.find(b"\xff", start + 1)
    return None


def _follow(data: bytes, at: int, frame_bytes: Callable[[bytes], int]) -> bool:
    """Whether ``_FRAMES`` frames begin here, one behind the other."""
    kind = data[at : at + 2]
    for _ in range(_FRAMES):
        header = data[at : at + 6]
        length = frame_bytes(header) if len(header) == 6 and header[:2] == kind else 0
        if not length:
            return False
        at += length
    return True


def _mp3_frame_bytes(header: bytes) -> int:
    """Length of the frame of layer III with this header; 0 if it is none."""
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if header[1] >> 5 != 7 or version == 1 or layer != 1 or bit_rate in {0, 15} or rate == 3:
        return 0
    kbits, factor = (_BIT_RATES_1[bit_rate], 144_000) if version == 3 else (_BIT_RATES_2[bit_rate], 72_000)
    return factor * kbits // _RATES_HZ[version][rate] + padding


def _aac_frame_bytes(header: bytes) -> int:
    """Length of the ADTS frame with this header; 0 if it is none."""
    if header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0
