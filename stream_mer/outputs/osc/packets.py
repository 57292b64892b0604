"""Encodes and decodes OSC messages. The only import of python-osc."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

from stream_mer.errors import SettingError

try:
    from pythonosc import slip
    from pythonosc.osc_message_builder import OscMessageBuilder
    from pythonosc.osc_packet import OscPacket
except ImportError as error:  # an extra
    raise SettingError("OSC needs python-osc: pip install 'stream-mer[osc]'") from error

Received: TypeAlias = tuple[str, tuple[object, ...]]
"""An address and its arguments."""


class BadPacketError(ValueError):
    """The bytes are not OSC."""


def encode(address: str, *arguments: float | str) -> bytes:
    """Return one plain message: integers as ``i``, other numbers as ``f``, texts as ``s``."""
    builder = OscMessageBuilder(address=address)
    for argument in arguments:
        builder.add_arg(argument)
    return bytes(builder.build().dgram)


def decode(packet: bytes) -> Sequence[Received]:
    """Decode a message, or all messages of a bundle; its time tag is ignored.

    Raises:
        BadPacketError: The bytes are not OSC.
    """
    try:
        messages = [timed.message for timed in OscPacket(packet).messages]
        return [(message.address, tuple(message.params)) for message in messages]
    except Exception as error:  # whatever strangers send: the parser may fail in any way, even by recursion
        raise BadPacketError(f"{len(packet)} bytes that are no OSC") from error


def with_length(packet: bytes) -> bytes:
    """Frame a packet for TCP as OSC 1.0 does: its length, then itself."""
    return struct.pack(">i", len(packet)) + packet


def with_slip(packet: bytes) -> bytes:
    """Frame a packet for TCP as OSC 1.1 does: SLIP with an END on either side."""
    return bytes(slip.encode(packet))
