"""Whether a file is as long as its header says, in formats where FFmpeg hears what there is and says nothing of it."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF)
"""What programs write that cannot know the length, as into a pipe: no lie."""

_MOST_CHUNKS = 64
_LEAST_BYTES = 64
"""Less than this after the end is padding."""


def wrong_length(path: Path) -> str:
    """What is wrong with the length in a file's header, as the end of a sentence; empty if nothing is.

    WAV, Wave64, AVI, CAF, SoX and VOC are looked at. Files of other formats, and those that cannot be read, are taken
    as they are.
    """
    if not path.is_file():  # a pipe is read once
        return ""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(64)
            file.seek(0)
            if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
                return _judge_wav(file, size)
            claim = next((ends(file, size) for magic, ends in _ENDS.items() if head.startswith(magic)), 0)
    except (OSError, struct.error, OverflowError, ValueError):
        return ""
    return _cut_short(claim, size) if claim > size else ""


def _cut_short(length: int, there: int) -> str:
    return (
        f"says that it holds {length:,} bytes and holds {there:,}: it was cut short, or never finished; "
        "what is there is heard"
    )


def _end_of_w64(file: BinaryIO, size: int) -> int:
    """Where the audio of a Wave64 file ends by its header; every chunk has a name of 16 bytes and a length of 8."""
    file.seek(40)  # after the outer chunk and its type
    for _ in range(_MOST_CHUNKS):
        start = file.tell()
        name, length = struct.unpack("<16sQ", file.read(24))
        if name.startswith(b"data") or start + length > size:
            return 0 if length >> 62 else start + length
        file.seek(start + (length + 7) // 8 * 8)
    return 0


def _end_of_avi(file: BinaryIO, size: int) -> int:
    """Where an AVI file ends by its header; a large one goes on in further pieces."""
    end = 0
    while end < size:
        file.seek(end)
        length = struct.unpack("<4xI", file.read(8))[0]
        if length in _UNKNOWN:
            return 0
        end += 8 + length + length % 2
    return end


def _end_of_caf(file: BinaryIO, size: int) -> int:
    """Where the audio of a Core Audio file ends by its header."""
    at = 8
    while at + 12 <= size:
        file.seek(at)
        name, length = struct.unpack(">4sq", file.read(12))
        if length < 0:  # -1: up to the end of the file
            return 0
        at += 12 + length
        if name == b"data":
            break
    return at


def _end_of_sox(file: BinaryIO, _: int) -> int:
    """Where a SoX file ends by its header; a sample is 4 bytes, and 0 is an unknown number of them."""
    header_bytes, samples = struct.unpack("<4xIQ", file.read(16))
    return header_bytes + 4 * samples if samples else 0


def _end_of_voc(file: BinaryIO, size: int) -> int:
    """Where the last block of a Creative Voice file ends by its header."""
    file.seek(20)
    at = int(struct.unpack("<H", file.read(2))[0])
    while at + 4 <= size:
        file.seek(at)
        kind, low, high = struct.unpack("<BHB", file.read(4))
        if kind == 0:  # the terminator
            return 0
        at += 4 + low + (high << 16)
    return at


_ENDS = {
    b"riff\x2e\x91\xcf\x11": _end_of_w64,
    b"RIFF": _end_of_avi,
    b"caff": _end_of_caf,
    b".SoX": _end_of_sox,
    b"Creative Voice File": _end_of_voc,
}
"""How a file of each kind begins, and what finds its end."""


def _judge_wav(file: BinaryIO, size: int) -> str:
    file.seek(12)
    for _ in range(_MOST_CHUNKS):
        name, length = struct.unpack("<4sI", file.read(8))
        start = file.tell()
        if name == b"data":
            return "" if length in _UNKNOWN else _compare(file, start, length, size)
        file.seek(start + length + length % 2)
    return ""


def _compare(file: BinaryIO, start: int, length: int, size: int) -> str:
    there = size - start
    if length > there:
        return (
            f"says that it holds {length:,} bytes of audio and holds {there:,}: it was cut short, or never finished; "
            "what is there is heard"
        )
    end = start + length + length % 2
    file.seek(end)
    after = file.read(4)
    if size - end >= _LEAST_BYTES and not (len(after) == 4 and after.isascii() and after.decode().isprintable()):
        return (
            f"says that its audio ends after {length:,} bytes, but {size - end:,} more follow, which are not heard: "
            "its header is wrong"
        )
    return ""


def has_frame_count(path: Path) -> bool:
    """Whether an MP3 file says in its first frame how many frames it has; else its length is an estimate."""
    try:
        with path.open("rb") as file:
            head = file.read(10)
            if head.startswith(b"ID3") and len(head) == 10:
                file.seek(10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
                head = b""
            first = head + file.read(4096)
    except OSError:
        return False
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))
