"""Recognise playlists, and read what they name. Pure.

FFmpeg reads HLS alone, opens every playlist that one names, and does not stop at one that names itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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
