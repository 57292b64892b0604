"""How a recording lies on disk: a folder with ``messages.jsonl``, and with the audio where that was wanted.

The first line says what was recorded; each one after it is a message and when it was published. Lines are only ever
added, so after a crash all but perhaps the last one can be read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from stream_mer.errors import SourceError
from stream_mer.serve import messages as wire

MESSAGES = "messages.jsonl"
FORMAT = 1

log = logging.getLogger(__name__)


class Header(msgspec.Struct, tag_field="type", tag="recording", kw_only=True, frozen=True):
    """The first line.

    Attributes:
        format: Grows when older versions can no longer read it.
        server: Name and version of what recorded it.
        started_at: When, ISO 8601 with the zone.
        hello: What clients were told.
        audio: Names of the files with each stream's audio; none where none was recorded.
    """

    format: int = FORMAT
    server: str
    started_at: str
    hello: wire.Hello
    audio: dict[str, str] = {}


class Entry(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Every other line.

    Attributes:
        at: Seconds since the recording began, on the clock of the machine.
        message: What was published then; None for what is said of the recording itself.
        lost: So many messages before this one are missing, because the disk was too slow.
        ended: The recording was ended, and not cut off; the last line.
    """

    at: Annotated[float, Meta(ge=0)]
    message: wire.EventMessage | None = None
    lost: int = 0
    ended: bool = False


_header_decoder = msgspec.json.Decoder(Header)
_entry_decoder = msgspec.json.Decoder(Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A folder that was recorded to.

    Attributes:
        folder: Where it lies.
        header: What was recorded.
    """

    folder: Path
    header: Header

    @property
    def streams(self) -> tuple[str, ...]:
        return self.header.hello.streams

    def entries(self) -> Iterator[Entry]:
        """Read all lines that can be read, in order; what is damaged is left out with a warning.

        Raises:
            SourceError: The file is gone, or cannot be read on.
        """
        path, damaged, last_at = self.folder / MESSAGES, 0, 0.0
        try:
            with path.open("rb") as file:
                next(file, None)
                for line in file:
                    try:
                        entry = _entry_decoder.decode(line)
                    except (msgspec.MsgspecError, UnicodeDecodeError):
                        damaged += 1  # cut off, or of a type that is newer than this version
                        continue
                    last_at = max(last_at, entry.at)
                    yield entry
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
        if damaged:
            log.warning(
                "%s: %d lines cannot be read and are left out; the last one is at %.1f s", path, damaged, last_at
            )


def is_recording(path: Path) -> bool:
    """Tell whether a path is a folder with a recording, or with several."""
    return path.is_dir() and ((path / MESSAGES).is_file() or any(path.glob(f"*/{MESSAGES}")))


def open_recording(path: Path) -> Recording:
    """Open a recording; of a folder with several, the newest.

    Raises:
        SourceError: There is none, or it is none that this version can read.
    """
    if not path.is_dir():
        raise SourceError(f"{path} is no folder: give one that stream-mer serve --record made")
    folder = path if (path / MESSAGES).is_file() else _newest(path)
    file = folder / MESSAGES
    try:
        with file.open("rb") as lines:
            header = _header_decoder.decode(lines.readline())
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SourceError(f"{file} does not begin like a recording: {error}") from error
    if header.format > FORMAT:
        raise SourceError(f"{file} was recorded by {header.server}, which is newer: update stream-mer")
    return Recording(folder=folder, header=header)


def _newest(path: Path) -> Path:
    found = sorted(path.glob(f"*/{MESSAGES}"), key=lambda file: (file.stat().st_mtime, file))
    if not found:
        raise SourceError(f"there is no recording in {path}: give a folder that stream-mer serve --record made")
    if len(found) > 1:
        log.warning("%s holds %d recordings: the newest is %s", path, len(found), found[-1].parent.name)
    return found[-1].parent
