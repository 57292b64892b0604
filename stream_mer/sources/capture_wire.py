"""What the capture process tells its parent through a pipe: small messages with a fixed header. Pure.

::

    header (24 bytes, little endian):  magic 2 | kind 1 | channels 1 | payload bytes 4 | start 8 | time 8
    block    payload: float32, interleaved; start: index of its first sample; time: monotonic clock when it came
    opened   payload: JSON, {"rate_hz": ..., "channels": ...}
    beat     no payload: the process is alive and the device is still there
    failed   payload: JSON, {"reason": ..., "message": ...}; the last message
    devices  payload: JSON, a list of input devices; the last message

The monotonic clock is one for all processes of a machine on Linux, macOS and Windows. Imported by a process that must
start in no time: nothing but the standard library.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

_HEADER = struct.Struct("<2sBBIQd")
_MAGIC = b"mC"


class Kind(IntEnum):
    """What a message is."""

    BLOCK = 1
    OPENED = 2
    BEAT = 3
    FAILED = 4
    DEVICES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One message; see the module for what the fields mean for each kind."""

    kind: Kind
    time: float = 0.0
    start: int = 0
    channels: int = 0
    payload: bytes = b""


class Readable(Protocol):
    """A binary file whose ``read(n)`` gives less than n bytes at its end alone."""

    def read(self, n: int, /) -> bytes: ...


def encode(packet: Packet) -> bytes:
    """Return the message as bytes."""
    header = _HEADER.pack(_MAGIC, packet.kind, packet.channels, len(packet.payload), packet.start, packet.time)
    return header + packet.payload


def read_packet(stream: Readable) -> Packet | None:
    """Read one message; None at the end of the stream, also where it breaks off within a message.

    Raises:
        ValueError: These bytes are no message.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    magic, kind, channels, length, start, time = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise ValueError(f"not a message of the capture process: {header!r}")
    payload = stream.read(length)
    if len(payload) < length:
        return None
    return Packet(kind=Kind(kind), channels=channels, start=start, time=time, payload=payload)
