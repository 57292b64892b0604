"""Every error that stream_mer raises on purpose.

::

    StreamMerError              exit code 1
    ├── SettingError            exit code 2: a setting or argument that cannot be
    ├── SourceError             audio cannot be opened, read or decoded
    │   ├── DeviceError         a sound device is unknown, gone or busy
    │   └── RecordingError      exit code 2: a recording of a show is missing, damaged or holds what cannot be
    ├── LyricsError             recogniser or lyrics file is not usable
    ├── CheckpointError         exit code 2: model weights are missing, damaged or do not match
    ├── CorpusError             exit code 2: training data is missing or malformed
    ├── ServeError              the server cannot start or be reached, or a side broke the protocol
    └── ClusterError            NATS cannot be reached, refuses, or holds what nobody can read

A message says what happened, to what, and what to do; the command line prints it as one line, without a traceback.
Addresses in it show no password, key or token: every message is redacted when its error is made.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from stream_mer.utils.redaction import redact


class StreamMerError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: What happened, to what, and what to do; secrets in addresses are masked.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__(redact(str(message)))


class SettingError(StreamMerError):
    """A setting or argument is out of range or contradicts another."""

    exit_code = 2


class SourceError(StreamMerError):
    """Audio cannot be opened, read or decoded."""


class DeviceError(SourceError):
    """A sound device is unknown, gone or busy."""


class RecordingError(SourceError):
    """A recording of a show is missing, damaged or holds what cannot be."""

    exit_code = 2


class LyricsError(StreamMerError):
    """The recogniser, its weights or a lyrics file is not usable."""


class CheckpointError(StreamMerError):
    """Model weights are missing, damaged or do not match the code."""

    exit_code = 2


class CorpusError(StreamMerError):
    """Training data is missing or malformed."""

    exit_code = 2


class ServeError(StreamMerError):
    """The server cannot start or be reached, or a side broke the protocol."""


class ClusterError(StreamMerError):
    """NATS cannot be reached, refuses, or holds what nobody can read."""


LONGEST_PART = 200
"""Characters of what somebody wrote that an error shows at most."""


def brief(text: str) -> str:
    """Return a text as part of an error's line: its beginning, where it is too long for one."""
    return text if len(text) <= LONGEST_PART else text[:LONGEST_PART] + "…"


def did_you_mean(name: object, known: Iterable[str], *, prefix: str = "", or_all: bool = True) -> str:
    """Return how a message about a mistyped name ends: with the one that was probably meant, or with all there are.

    Args:
        name: What was typed.
        known: What could have been.
        prefix: What all of these begin with: it does not make them alike.
        or_all: Whether to name all of them where none is near; else the message ends without.
    """
    names = list(known)
    if len(str(name)) > LONGEST_PART:  # nothing is near, and to find that out takes minutes
        return ""
    near = difflib.get_close_matches(str(name).removeprefix(prefix), [one.removeprefix(prefix) for one in names], n=1)
    if near:
        return f"; did you mean {prefix + near[0]!r}?"
    return f"; choose from {', '.join(names)}" if or_all and names else ""
