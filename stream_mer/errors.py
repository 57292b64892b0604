"""Every error that stream_mer raises on purpose.

::

    StreamMerError              exit code 1
    ├── SettingError            exit code 2: a setting or argument is not valid
    ├── SourceError             audio cannot be opened, read or decoded
    │   ├── DeviceError         a sound device is unknown, gone or busy
    │   └── RecordingError      exit code 2: a recording of a show is missing, damaged or not valid
    ├── LyricsError             exit code 2: recogniser or lyrics file is not usable
    ├── CheckpointError         exit code 2: model weights are missing, damaged or do not match
    ├── CorpusError             exit code 2: training data is missing or malformed
    ├── ServeError              the server cannot start, or a side broke the protocol
    │   ├── UnreachableError    no server answers
    │   └── TokenError          the token is missing or wrong
    └── ClusterError            NATS cannot be reached, refuses, or holds unreadable records

A message says what happened, to what, and what to do; the command line prints it as one line, without a traceback.
Addresses in it show no password, key or token: every message is redacted when its error is made.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from stream_mer.utils.sanitise import redact


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
    """A recording of a show is missing, damaged or not valid."""

    exit_code = 2


class LyricsError(StreamMerError):
    """The recogniser, its weights or a lyrics file is not usable."""

    exit_code = 2


class CheckpointError(StreamMerError):
    """Model weights are missing, damaged or do not match the code."""

    exit_code = 2


class CorpusError(StreamMerError):
    """Training data is missing or malformed."""

    exit_code = 2


class ServeError(StreamMerError):
    """The server cannot start or be reached, or a side broke the protocol."""


class UnreachableError(ServeError):
    """Nothing answers at the server's address; another attempt may succeed."""


class TokenError(ServeError):
    """The server requires a token, or another one than was given."""


class ClusterError(StreamMerError):
    """NATS cannot be reached, refuses, or holds unreadable records."""


LONGEST_PART = 200
"""Maximum number of characters of user input that an error shows."""


def brief(text: str) -> str:
    """Return user input for an error message, cut to ``LONGEST_PART`` characters."""
    return text if len(text) <= LONGEST_PART else text[:LONGEST_PART] + "…"


def did_you_mean(name: object, known: Iterable[str], *, prefix: str = "", or_all: bool = True) -> str:
    """Return the end of a message about an unknown name: the nearest known name, or all of them.

    Args:
        name: The unknown name.
        known: The known names.
        prefix: Common prefix of all names, which is left out of the comparison.
        or_all: Whether to list all names if none is near.
    """
    names = list(known)
    if len(str(name)) > LONGEST_PART:  # difflib would take minutes to find nothing
        return ""
    near = difflib.get_close_matches(str(name).removeprefix(prefix), [one.removeprefix(prefix) for one in names], n=1)
    if near:
        return f"; did you mean {prefix + near[0]!r}?"
    return f"; choose from {', '.join(names)}" if or_all and names else ""
