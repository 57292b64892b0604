"""Whether a WAV file is as long as its header says; FFmpeg hears what there is and says nothing of it."""

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
    """What is wrong with the length in a WAV file's header, as the end of a sentence; empty if nothing is.

    Files of other formats, and those that cannot be read, are taken as they are.
    """
    if not path.is_file():  # a pipe is read once
        return ""
    try:
        with path.open("rb") as file:
            return _judge(file, os.fstat(file.fileno()).st_size)
    except (OSError, struct.error):
        return ""


def _judge(file: BinaryIO, size: int) -> str:
    riff, _, wave = struct.unpack("<4sI4s", file.read(12))
    if riff != b"RIFF" or wave != b"WAVE":
        return ""
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
