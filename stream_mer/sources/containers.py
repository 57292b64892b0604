"""Recognise playlists, and read what they name. Pure.

FFmpeg reads HLS alone, opens every playlist that one names, and does not stop at one that names itself.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

MAX_PLAYLIST_BYTES = 4 * 2**20
"""Longest playlist that is read: 10 hours in segments of 2 s, each with an address of 200 characters."""

MAX_NESTING = 3
"""A playlist may name a playlist that names a playlist, and no more."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
_PLS_ENTRY = re.compile(r"file\d+\s*=\s*(.+)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')

PlaylistKind = Literal["list", "hls master", "hls media"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Playlist:
    """What a playlist says.

    Attributes:
        kind: ``list`` (M3U or PLS) names songs or stations; ``hls master`` names renditions of one programme, as
            ``hls media`` playlists, which name its segments.
        entries: Addresses or paths as written, the one to play first. Of ``hls media``, its segments.
    """

    kind: PlaylistKind
    entries: tuple[str, ...]


def may_be_playlist(head: bytes) -> bool:
    """Whether a file or an answer that begins so may be a playlist: then it is text, and to be read as a whole."""
    text = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    first = text.split(b"\n", 1)[0].strip().lower()
    return (
        first.startswith((b"#extm3u", b"[playlist]"))
        or (first.startswith(b"#") and b"://" in text and b"\0" not in text)
        or _ADDRESS.match(first.decode("latin-1")) is not None
    )


def parse_playlist(data: bytes) -> Playlist | None:
    """Read a playlist; None if it is none, or names nothing.

    Args:
        data: The whole of it. Text that is not UTF-8 is taken for Latin-1.
    """
    if not may_be_playlist(data):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    if any(line.lower() == "[playlist]" for line in lines):
        matches = (_PLS_ENTRY.fullmatch(line) for line in lines)
        return _listed(match[1].strip() for match in matches if match)
    names = [line for line in lines if line and not line.startswith("#")]
    tags = {line.partition(":")[0] for line in lines if line.startswith("#EXT-X-")}
    if tags & {"#EXT-X-STREAM-INF", "#EXT-X-MEDIA"}:
        return Playlist(kind="hls master", entries=tuple(_renditions(lines)))
    if tags:
        return Playlist(kind="hls media", entries=tuple(names))
    return _listed(names)


def _listed(entries: Iterable[str]) -> Playlist | None:
    found = tuple(entry for entry in entries if entry)
    return Playlist(kind="list", entries=found) if found else None


def _renditions(lines: list[str]) -> list[str]:
    """The playlists that a master names, the one to hear first.

    Sound alone goes before sound with a picture. Of those alike, the default of the audio renditions and the best of
    the audio variants go first, and the smallest of those with a picture, whose sound is hardly worse.
    """
    found: list[tuple[tuple[int, float], str]] = []
    for i, line in enumerate(lines):
        name, _, attributes = line.partition(":")
        values = {key: value.strip('"') for key, value in _ATTRIBUTE.findall(attributes)}
        if name == "#EXT-X-MEDIA" and values.get("TYPE") == "AUDIO" and values.get("URI"):
            found.append(((0, 0.0 if values.get("DEFAULT") == "YES" else 1.0), values["URI"]))
        if name == "#EXT-X-STREAM-INF":
            target = next((other for other in lines[i + 1 :] if other and not other.startswith("#")), None)
            rate = values.get("BANDWIDTH", "")
            bandwidth = float(rate) if rate.isascii() and rate.isdecimal() else 0.0
            if target is not None:
                found.append(((2, bandwidth) if "RESOLUTION" in values else (1, -bandwidth), target))
    return [target for _, target in sorted(found, key=lambda each: each[0])]


CAPTURE_PATTERN = b"OggS"
"""The first bytes of every page."""

_HEADER_BYTES = 27
_BEGINNING_OF_STREAM = 0x02
_FIRST_PAGE = CAPTURE_PATTERN + bytes([0, _BEGINNING_OF_STREAM])
_CHECKSUM = slice(22, 26)
_POLYNOMIAL = 0x04C11DB7
_READ_BYTES = 32_768


class ChainedOgg:
    """Reads an Ogg stream of any number of links.

    ``read`` gives the bytes of the current link, and ``b""`` at its end; ``next_link`` goes on to the one after it.
    Bytes outside pages (damage) are passed on as they are.

    Args:
        source: Returns at most as many bytes as it is asked for, and ``b""`` at the end of the stream. It may block.
    """

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._waiting = bytearray()
        self._ready = bytearray()
        self._ended = False
        self._link_ended = False
        self._in_headers = True

    def read(self, size: int) -> bytes:
        """Return bytes of this link: at least one, at most ``size``; ``b""`` at its end."""
        while not self._ready and not self._link_ended and self._next_page():
            pass
        data = bytes(self._ready[:size])
        del self._ready[: len(data)]
        return data

    def next_link(self) -> bool:
        """Leave out what is unread of this link and go on to the next one. Returns whether there is one."""
        while not self._link_ended and self._next_page():
            self._ready.clear()
        self._ready.clear()
        if not self._link_ended:
            return False
        self._link_ended, self._in_headers = False, True
        return True

    def _next_page(self) -> bool:
        """Make one more page ready, or find that the next one begins a link. Returns False at the end of the stream."""
        length = self._page_bytes()
        while not length and self._fetch():
            length = self._page_bytes()
        if not length:  # the stream ended inside a page
            length = self._page_bytes() or len(self._waiting)
            if not length:
                return False
        elif self._waiting.startswith(CAPTURE_PATTERN):
            begins = bool(self._waiting[5] & _BEGINNING_OF_STREAM)
            if begins and not self._in_headers:
                self._link_ended = True
                return True
            # The streams of one link (such as a picture and its sound) all begin before any of them goes on.
            self._in_headers = begins
        self._ready += self._waiting[:length]
        del self._waiting[:length]
        return True

    def _page_bytes(self) -> int:
        """Length of the page, or of the damage, that the waiting bytes start with; 0 if more bytes are needed."""
        waiting = self._waiting
        if len(waiting) < _HEADER_BYTES:
            return 0
        if waiting.startswith(CAPTURE_PATTERN) and waiting[4] == 0:
            table_end = _HEADER_BYTES + waiting[26]
            length = table_end + sum(waiting[_HEADER_BYTES:table_end])
            is_complete = len(waiting) >= max(table_end, length)
            if not is_complete and not self._ended:
                return 0
            # A link that was cut off in a page claims the beginning of the next link for itself.
            cut = waiting.find(_FIRST_PAGE, len(CAPTURE_PATTERN), max(table_end, length))
            if cut > 0 and not (is_complete and _has_right_checksum(waiting[:length])):
                return cut
            return length if is_complete else 0
        found = waiting.find(CAPTURE_PATTERN, 1)
        return found if found > 0 else max(1, len(waiting) - len(CAPTURE_PATTERN) + 1)

    def _fetch(self) -> bool:
        if self._ended:
            return False
        data = self._source(_READ_BYTES)
        self._ended = not data
        self._waiting += data
        return not self._ended


def _has_right_checksum(page: bytearray) -> bool:
    """Whether a page is whole (RFC 3533 section 6: CRC-32, neither reflected nor inverted)."""
    told = int.from_bytes(page[_CHECKSUM], "little")
    page[_CHECKSUM] = bytes(4)
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (_POLYNOMIAL if register & 0x8000_0000 else 0)
        register &= 0xFFFF_FFFF
    return register == told


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
