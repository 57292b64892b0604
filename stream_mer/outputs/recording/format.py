"""The format of a recording: a folder with ``messages.jsonl`` and, if requested, the audio.

The first line is the header. Each following line holds one event, as JSON (``event_json``), and the time at which it
was published. Lines are only appended, so after a crash all lines but perhaps the last can be read.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from stream_mer.errors import RecordingError, brief
from stream_mer.event_json import EventMessage, event_of
from stream_mer.types import Spread, StreamEvent, StreamStatus

MESSAGES = "messages.jsonl"
FORMAT = 1

MAX_LENGTH_S = 366 * 86_400.0
"""Longest recording, seconds: a year. Timers take no more."""

MAX_LINE_BYTES = 1 << 20
"""A hundred times the longest line that a recorder writes."""

MAX_STREAMS = 1024

log = logging.getLogger(__name__)


class Hello(msgspec.Struct, kw_only=True, frozen=True):
    """The fields read from the server's first message to its clients; the file holds all of it.

    Attributes:
        streams: Names of the streams when the recording began.
        window_s: How much audio one frame may know, seconds.
        hop_s: Time between frames, seconds.
        masks_page: Whether the page masked words of lyrics.
    """

    streams: tuple[str, ...]
    window_s: Annotated[float, Meta(ge=0.001, le=3600)]
    hop_s: Annotated[float, Meta(ge=0.001, le=3600)]
    masks_page: bool = False


class Header(msgspec.Struct, tag_field="type", tag="recording", kw_only=True, frozen=True):
    """The first line.

    Attributes:
        format: Version of the format; it grows when older versions of stream_mer can no longer read it.
        server: Name and version of the recording server.
        started_at: Start of the recording, ISO 8601 with the time zone.
        hello: The first message that clients got.
        audio: File of each stream's audio, by the stream; empty if no audio was recorded.
    """

    format: int = FORMAT
    server: str
    started_at: str
    hello: Hello
    audio: dict[str, str] = {}


class Entry(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Every other line.

    Attributes:
        at: Seconds since the recording began, monotonic.
        message: The event; None for lines about the recording itself.
        lost: How many messages before this one are missing because the disk was too slow.
        ended: The recording was ended and not cut off; the last line.
        spread: Beside a ``status`` message: the maps of the model for outputs, which the message does not hold.
    """

    at: Annotated[float, Meta(ge=0, le=MAX_LENGTH_S)]
    message: EventMessage | None = None
    lost: Annotated[int, Meta(ge=0)] = 0
    ended: bool = False
    spread: Spread | None = None


class _Time(msgspec.Struct, kw_only=True, frozen=True):
    """The time of a line whose rest cannot be read."""

    at: float


_time_decoder = msgspec.json.Decoder(_Time)
_header_decoder = msgspec.json.Decoder(Header)
_entry_decoder = msgspec.json.Decoder(Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """One event of a recording.

    Attributes:
        at: When it was published, seconds since the recording began.
        stream: Name of its stream.
        event: The event.
    """

    at: float
    stream: str
    event: StreamEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording that was opened.

    Attributes:
        folder: Its folder.
        header: The first line.
        streams: Names of its streams, including those that were added while it ran.
        end_s: Its end, seconds since it began.
    """

    folder: Path
    header: Header
    streams: tuple[str, ...]
    end_s: float

    def events(self) -> Iterator[RecordedEvent]:
        """Read the events in order; damaged lines are left out.

        Raises:
            RecordingError: The file is gone or cannot be read.
        """
        for entry in _lines(self.folder / MESSAGES):
            if entry is None or entry.message is None:
                continue
            event = event_of(entry.message)
            if isinstance(event, StreamStatus):
                event = replace(event, spread=entry.spread)
            yield RecordedEvent(at=entry.at, stream=entry.message.stream, event=event)


def is_recording(path: Path) -> bool:
    """Whether a path is a folder with a recording, or with several."""
    return os.path.isdir(path) and (  # noqa: PTH112 - Path.is_dir raises where a name is too long
        (path / MESSAGES).is_file() or any(path.glob(f"*/{MESSAGES}"))
    )


def open_recording(path: Path) -> Recording:
    """Open a recording; of a folder with several, the newest.

    The file is read through once, to find its streams and its end; damaged lines are logged.

    Raises:
        RecordingError: There is no recording, this version cannot read it, or no recorder wrote it.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        raise RecordingError(f"{brief(str(path))} is no folder: give one that stream-mer serve --record made")
    folder = path if (path / MESSAGES).is_file() else _newest(path)
    file = folder / MESSAGES
    try:
        with file.open("rb") as lines:
            header = _header_decoder.decode(lines.readline(MAX_LINE_BYTES))
    except OSError as error:
        raise RecordingError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # the errors of msgspec are ValueErrors
        raise RecordingError(f"{file} does not begin like a recording: {brief(str(error))}") from error
    if header.format > FORMAT:
        raise RecordingError(f"{file} was recorded by {header.server}, which is newer: update stream-mer")
    streams, end_s = _read_through(file, header)
    return Recording(folder=folder, header=header, streams=streams, end_s=end_s)


def _read_through(file: Path, header: Header) -> tuple[tuple[str, ...], float]:
    """Return the streams and the end; log once how many lines cannot be read."""
    streams, damaged, last_at = dict.fromkeys(header.hello.streams), 0, 0.0
    for entry in _lines(file):
        if entry is None:
            damaged += 1
            continue
        last_at = max(last_at, entry.at)
        if entry.message is not None:
            streams[entry.message.stream] = None
        if len(streams) > MAX_STREAMS:
            raise RecordingError(f"{file} has more than {MAX_STREAMS} streams: no recorder writes that")
    if damaged:
        what = f"{damaged} lines" if damaged > 1 else "a line"
        log.warning("%s: %s cannot be read, left out; the last one that can is at %.1f s", file, what, last_at)
    return tuple(streams), last_at


def _lines(file: Path) -> Iterator[Entry | None]:
    """Yield the lines after the header; None for one that is cut off, damaged or newer than this version."""
    try:
        with file.open("rb") as lines:
            lines.readline(MAX_LINE_BYTES)
            number = 1
            while line := lines.readline(MAX_LINE_BYTES):
                number += 1
                yield _entry(line, f"{file}, line {number}")
    except OSError as error:
        raise RecordingError(f"cannot read {file}: {error.strerror or error}") from error


def _entry(line: bytes, where: str) -> Entry | None:
    """Read a line; None for one that is cut off, damaged or newer than this version.

    Raises:
        RecordingError: The line is not damaged, but no recorder wrote it.
    """
    if len(line) >= MAX_LINE_BYTES:
        raise RecordingError(f"{where} is longer than {MAX_LINE_BYTES >> 20} MiB: no recorder writes that")
    try:
        with contextlib.suppress(ValueError):  # the errors of msgspec are ValueErrors
            return _entry_decoder.decode(line)
        with contextlib.suppress(ValueError):
            at = _time_decoder.decode(line).at
            if at > MAX_LENGTH_S:
                days = MAX_LENGTH_S / 86_400
                raise RecordingError(f"{where} is at {at:g} s: a recording is at most {days:g} days long")
    except RecursionError:
        raise RecordingError(f"{where} is nested too deeply: no recorder writes that") from None
    return None


def _newest(path: Path) -> Path:
    found = sorted(path.glob(f"*/{MESSAGES}"), key=lambda file: (file.stat().st_mtime, file))
    if not found:
        raise RecordingError(f"there is no recording in {path}: give a folder that stream-mer serve --record made")
    if len(found) > 1:
        log.warning("%s holds %d recordings: the newest is %s", path, len(found), found[-1].parent.name)
    return found[-1].parent
