"""Facts that FFmpeg does not report, read from the bytes of playlists and containers. No decoding.

* Playlists (M3U, PLS, HLS): FFmpeg reads HLS alone, opens every playlist that one names, and loops on one that names
  itself.
* Chained Ogg: FFmpeg keeps the decoder of the first link, or stops after it.
* MPEG audio and ADTS frames: FFmpeg needs five seconds of them unless it knows the type, which PyAV cannot pass to it.
* Signatures: whether standard input is a file or raw PCM.
* Length fields of headers: FFmpeg plays what there is, without a word about a wrong length.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

# Playlists

MAX_PLAYLIST_BYTES = 4 * 2**20
"""Longest playlist that is read: 10 hours in segments of 2 s, each with a URL of 200 characters."""

MAX_NESTING = 3
"""Playlists are followed this deep."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
_PLS_ENTRY = re.compile(r"file\d+\s*=\s*(.+)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Playlist:
    """A parsed playlist.

    Attributes:
        kind: ``list`` (M3U or PLS) names songs or stations; ``hls master`` names renditions of one programme, which are
            ``hls media`` playlists; these name segments.
        entries: URLs or paths as written, the preferred one first; segments of ``hls media`` in their order.
    """

    kind: Literal["list", "hls master", "hls media"]
    entries: tuple[str, ...]


def may_be_playlist(head: bytes) -> bool:
    """Return whether content that starts like this may be a playlist, so that the whole of it should be read."""
    text = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    first = text.split(b"\n", 1)[0].strip().lower()
    return (
        first.startswith((b"#extm3u", b"[playlist]"))
        or (first.startswith(b"#") and b"://" in text and b"\0" not in text)
        or _ADDRESS.match(first.decode("latin-1")) is not None
    )


def parse_playlist(data: bytes) -> Playlist | None:
    """Parse a whole playlist, in UTF-8 or else Latin-1; None if it is none, or names nothing."""
    if not may_be_playlist(data):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    if any(line.lower() == "[playlist]" for line in lines):
        matches = (_PLS_ENTRY.fullmatch(line) for line in lines)
        return _list(match[1].strip() for match in matches if match)
    names = [line for line in lines if line and not line.startswith("#")]
    tags = {line.partition(":")[0] for line in lines if line.startswith("#EXT-X-")}
    if tags & {"#EXT-X-STREAM-INF", "#EXT-X-MEDIA"}:
        return Playlist(kind="hls master", entries=tuple(_renditions(lines)))
    return Playlist(kind="hls media", entries=tuple(names)) if tags else _list(names)


def _list(entries: Iterable[str]) -> Playlist | None:
    found = tuple(filter(None, entries))
    return Playlist(kind="list", entries=found) if found else None


def _renditions(lines: list[str]) -> list[str]:
    """Return the playlists that an HLS master names, the preferred one first.

    Audio without video goes first: the default among audio renditions, the best among audio variants. Of variants with
    video the smallest goes first, because its sound is hardly worse.
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


# Chained Ogg

OGG_CAPTURE_PATTERN = b"OggS"
"""First bytes of every page."""

_PAGE_HEADER_BYTES = 27
_BEGINNING_OF_STREAM = 0x02
_FIRST_PAGE = OGG_CAPTURE_PATTERN + bytes([0, _BEGINNING_OF_STREAM])
_CHECKSUM = slice(22, 26)
_READ_BYTES = 32_768


class ChainedOgg:
    """Splits an Ogg stream into its links.

    A *link* is a complete logical stream with its own headers (RFC 3533, section 4). A radio station starts one with
    every title, and joined files have several. Each may have another codec, channel count or sample rate, so each is
    decoded by itself. Bytes outside of pages (damage) are passed on unchanged.

    Args:
        source: Returns at most as many bytes as asked for, ``b""`` at the end of the stream. May block.
    """

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._pending = bytearray()
        self._ready = bytearray()
        self._ended = False
        self._link_ended = False
        self._in_headers = True

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes of the current link; ``b""`` at its end."""
        while not self._ready and not self._link_ended and self._next_page():
            pass
        data = bytes(self._ready[:size])
        del self._ready[: len(data)]
        return data

    def next_link(self) -> bool:
        """Skip the rest of this link and go on to the next one. Returns whether there is one."""
        while not self._link_ended and self._next_page():
            self._ready.clear()
        self._ready.clear()
        if not self._link_ended:
            return False
        self._link_ended, self._in_headers = False, True
        return True

    def _next_page(self) -> bool:
        """Make the next page ready, or set ``_link_ended`` if it starts a link. Returns False at the end."""
        length = self._page_bytes()
        while not length and self._fetch():
            length = self._page_bytes()
        if not length:  # the stream ended inside a page
            length = self._page_bytes() or len(self._pending)
            if not length:
                return False
        elif self._pending.startswith(OGG_CAPTURE_PATTERN):
            begins = bool(self._pending[5] & _BEGINNING_OF_STREAM)
            if begins and not self._in_headers:
                self._link_ended = True
                return True
            # All streams of a link (such as a picture and its sound) begin before any of them goes on.
            self._in_headers = begins
        self._ready += self._pending[:length]
        del self._pending[:length]
        return True

    def _page_bytes(self) -> int:
        """Return the length of the page, or of the damage, at the start of the pending bytes; 0 if more are needed."""
        pending = self._pending
        if len(pending) < _PAGE_HEADER_BYTES:
            return 0
        if pending.startswith(OGG_CAPTURE_PATTERN) and pending[4] == 0:
            table_end = _PAGE_HEADER_BYTES + pending[26]
            length = table_end + sum(pending[_PAGE_HEADER_BYTES:table_end])
            is_complete = len(pending) >= max(table_end, length)
            if not is_complete and not self._ended:
                return 0
            # The length field of a page that was cut off reaches into the next link.
            cut = pending.find(_FIRST_PAGE, len(OGG_CAPTURE_PATTERN), max(table_end, length))
            if cut > 0 and not (is_complete and _has_valid_checksum(pending[:length])):
                return cut
            return length if is_complete else 0
        found = pending.find(OGG_CAPTURE_PATTERN, 1)
        return found if found > 0 else max(1, len(pending) - len(OGG_CAPTURE_PATTERN) + 1)

    def _fetch(self) -> bool:
        if self._ended:
            return False
        data = self._source(_READ_BYTES)
        self._ended = not data
        self._pending += data
        return not self._ended


def _has_valid_checksum(page: bytearray) -> bool:
    """Check a page's CRC-32 (RFC 3533, section 6: neither reflected nor inverted)."""
    stated = int.from_bytes(page[_CHECKSUM], "little")
    page[_CHECKSUM] = bytes(4)
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x8000_0000 else 0)
        register &= 0xFFFF_FFFF
    return register == stated


# Frames of MPEG audio and ADTS

MPEG_SEARCH_BYTES = 16_384
"""Frames are searched in this many bytes: a few seconds of a slow station."""

_KBPS = {  # by MPEG-1 or not, and by layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_FRAME_HEADER_BYTES = 6


def find_mpeg_frames(data: bytes) -> Literal["mp3", "aac"] | None:
    """Return FFmpeg's name of the format if the start of a stream holds four frames in a row, cut anywhere."""
    start = data.find(b"\xff")
    while 0 <= start < MPEG_SEARCH_BYTES:
        if _are_frames(data, start, 4):
            return "aac" if _is_adts(data[start:]) else "mp3"
        start = data.find(b"\xff", start + 1)
    return None


def mpeg_frame_bytes(header: bytes) -> int:
    """Return the length of the frame of MPEG audio or ADTS with this header of 6 bytes or more; 0 if it is none."""
    if len(header) < _FRAME_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    if _is_adts(header):
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        return length if length > 7 and header[2] >> 2 & 15 <= 12 else 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kbps_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps_index in {0, 15} or rate_index == 3:
        return 0
    bit_rate = 1000 * _KBPS[version == 3, layer][kbps_index - 1]
    rate_hz = _RATES_HZ[version][rate_index]
    if layer == 1:
        return (12 * bit_rate // rate_hz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bit_rate // rate_hz + padding


def _are_frames(data: bytes, start: int, count: int) -> bool:
    """Return whether so many frames of one kind and rate follow each other from ``start`` on."""
    first = data[start : start + 3]
    for _ in range(count):
        header = data[start : start + _FRAME_HEADER_BYTES]
        length = mpeg_frame_bytes(header)
        if not length or header[:2] != first[:2] or (header[2] ^ first[2]) & 0x0C:
            return False
        start += length
    return True


def _is_adts(header: bytes) -> bool:
    return header[1] & 0xF6 == 0xF0


# Signatures

SIGNATURE_BYTES = 16
"""``container_name`` needs this many bytes..."""

MPEG_BYTES = 4096
"""...or this many to find two frames of MPEG audio: a single frame could be PCM."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (8, b"WAVE", "WAV"),
    (8, b"AVI ", "AVI"),
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (4, b"ftyp", "MP4"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"TTA1", "True Audio"),
    (0, b"DSD ", "DSF"),
    (0, b"#!AMR", "AMR"),
    (0, b"FLV\x01", "FLV"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
)
"""Offset, bytes, name."""


def container_name(head: bytes, *, find_mpeg: bool = True) -> str | None:
    """Return the name of the format of a file that starts like this; None for raw PCM.

    Args:
        head: The first bytes: ``SIGNATURE_BYTES``, or ``MPEG_BYTES`` if they start with a frame of MPEG audio.
        find_mpeg: Look for frames of MP3 and AAC without a header, too. PCM can resemble a single one.
    """
    for offset, signature, name in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return name
    # An ID3 tag has a version below 255, and its length in bytes of seven bits.
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and max(head[6:10]) < 0x80:
        return "MP3"
    if find_mpeg and _are_frames(head, 0, 2):
        return "AAC" if _is_adts(head) else "MP3"
    return None


# Length fields of headers

_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF, 0x7FFFFFFF)
"""Placeholders of programs that cannot know the length, such as when writing into a pipe."""

_MAX_CHUNKS = 64
_MIN_EXTRA_BYTES = 64
"""Less than this after the stated end is padding."""


def wrong_length(path: Path) -> str:
    """Return what is wrong with the length in a file's header, as the predicate of a sentence; empty if nothing.

    WAV, Wave64, AVI, CAF, SoX and VOC are checked. Other formats and unreadable files count as right.
    """
    if not path.is_file():  # a pipe can be read only once
        return ""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(64)
            file.seek(0)
            if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
                return _check_wav(file, size)
            end = next((find(file, size) for magic, find in _END_FINDERS.items() if head.startswith(magic)), 0)
    except (OSError, struct.error, OverflowError, ValueError):
        return ""
    return _cut_short(end, size) if end > size else ""


def has_frame_count(path: Path) -> bool:
    """Return whether the first frame of an MP3 file states the number of frames; else its duration is an estimate."""
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


def _cut_short(stated: int, actual: int) -> str:
    return f"states {stated:,} bytes and holds {actual:,}: it was cut short, or never finished; playing what is there"


def _check_wav(file: BinaryIO, size: int) -> str:
    file.seek(12)
    for _ in range(_MAX_CHUNKS):
        name, length = struct.unpack("<4sI", file.read(8))
        start = file.tell()
        end = start + length + length % 2
        if name != b"data":
            file.seek(end)
            continue
        if length in _UNKNOWN_LENGTHS:
            return ""
        if start + length > size:
            return _cut_short(length, size - start)
        file.seek(end)
        after = file.read(4)
        is_chunk = len(after) == 4 and after.isascii() and after.decode().isprintable()
        if size - end >= _MIN_EXTRA_BYTES and not is_chunk:
            return f"states {length:,} bytes of audio, but {size - end:,} more follow, which are not played"
        return ""
    return ""


def _w64_end(file: BinaryIO, size: int) -> int:
    """Return where the audio of a Wave64 file ends by its header. A chunk has a name of 16 bytes and a length of 8."""
    file.seek(40)  # after the outer chunk and its type
    for _ in range(_MAX_CHUNKS):
        start = file.tell()
        name, length = struct.unpack("<16sQ", file.read(24))
        if name.startswith(b"data") or start + length > size:
            return 0 if length >> 62 else start + length
        file.seek(start + (length + 7) // 8 * 8)
    return 0


def _avi_end(file: BinaryIO, size: int) -> int:
    """Return where an AVI file ends by its header; a large one consists of several RIFF chunks."""
    end = 0
    while end < size:
        file.seek(end)
        length = struct.unpack("<4xI", file.read(8))[0]
        if length in _UNKNOWN_LENGTHS:
            return 0
        end += 8 + length + length % 2
    return end


def _caf_end(file: BinaryIO, size: int) -> int:
    """Return where the audio of a Core Audio file ends by its header."""
    end = 8
    while end + 12 <= size:
        file.seek(end)
        name, length = struct.unpack(">4sq", file.read(12))
        if length < 0:  # -1: up to the end of the file
            return 0
        end += 12 + length
        if name == b"data":
            break
    return end


def _sox_end(file: BinaryIO, _: int) -> int:
    """Return where a SoX file ends by its header; a sample has 4 bytes, and 0 samples means unknown."""
    header_bytes, samples = struct.unpack("<4xIQ", file.read(16))
    return header_bytes + 4 * samples if samples else 0


def _voc_end(file: BinaryIO, size: int) -> int:
    """Return where the last block of a Creative Voice file ends by its header."""
    file.seek(20)
    end = int(struct.unpack("<H", file.read(2))[0])
    while end + 4 <= size:
        file.seek(end)
        kind, low, high = struct.unpack("<BHB", file.read(4))
        if kind == 0:  # the terminator
            return 0
        end += 4 + low + (high << 16)
    return end


_END_FINDERS: dict[bytes, Callable[[BinaryIO, int], int]] = {
    b"riff\x2e\x91\xcf\x11": _w64_end,
    b"RIFF": _avi_end,
    b"caff": _caf_end,
    b".SoX": _sox_end,
    b"Creative Voice File": _voc_end,
}
"""Magic of each format, and the function that finds its stated end (0: unknown)."""
