"""Every error that stream_mer raises on purpose.

::

    StreamMerError              exit code 1
    ├── SettingError            exit code 2: a setting or argument that cannot be
    ├── SourceError             audio cannot be opened, read or decoded
    │   └── DeviceError         a sound device is unknown, gone or busy
    ├── LyricsError             recogniser or lyrics file is not usable
    ├── CheckpointError         model weights are missing, damaged or do not match
    ├── CorpusError             training data is missing or malformed
    ├── ServeError              the server cannot start, or a client broke the protocol
    └── ClusterError            NATS cannot be reached, refuses, or holds what nobody can read

A message says what happened, to what, and what to do; the command line prints it as one line, without a traceback.
"""

from __future__ import annotations


class StreamMerError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class SettingError(StreamMerError):
    """A setting or argument is out of range or contradicts another."""

    exit_code = 2


class SourceError(StreamMerError):
    """Audio cannot be opened, read or decoded."""


class DeviceError(SourceError):
    """A sound device is unknown, gone or busy."""


class LyricsError(StreamMerError):
    """The recogniser, its weights or a lyrics file is not usable."""


class CheckpointError(StreamMerError):
    """Model weights are missing, damaged or do not match the code."""


class CorpusError(StreamMerError):
    """Training data is missing or malformed."""


class ServeError(StreamMerError):
    """The server cannot start, or a client broke the protocol."""


class ClusterError(StreamMerError):
    """NATS cannot be reached, refuses, or holds what nobody can read."""
