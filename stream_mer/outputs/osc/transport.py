"""OSC on the wire: encodes and decodes messages, and sends them over UDP or TCP. The only import of python-osc."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from stream_mer.errors import SettingError
from stream_mer.outputs.osc.targets import Transport

try:
    from pythonosc import slip
    from pythonosc.osc_message_builder import OscMessageBuilder
    from pythonosc.osc_packet import OscPacket
except ImportError as error:  # an extra
    raise SettingError("OSC needs python-osc: pip install 'stream-mer[osc]'") from error

Received: TypeAlias = tuple[str, tuple[object, ...]]
"""An address and its arguments."""


CONNECT_S = 3.0
STUCK_S = 1.0
"""A TCP receiver that reads nothing for this time is reconnected: queued values are old by then."""

SEND_BUFFER_BYTES = 16_384
"""Send buffer of the kernel: small, because old values are useless."""

_READS = 16
"""Reads at most before a packet is sent: a receiver that talks without end must not block sending."""


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
    except Exception as error:  # hostile input may make the parser fail in any way, even by recursion
        raise BadPacketError(f"{len(packet)} bytes that are not OSC") from error


def with_length(packet: bytes) -> bytes:
    """Frame a packet for TCP as OSC 1.0 does: its length, then itself."""
    return struct.pack(">i", len(packet)) + packet


def with_slip(packet: bytes) -> bytes:
    """Frame a packet for TCP as OSC 1.1 does: SLIP with an END on either side."""
    return bytes(slip.encode(packet))


class Link(Protocol):
    """An open connection to a receiver."""

    def send(self, packet: bytes) -> None:
        """Send one packet.

        Raises:
            OSError: The packet cannot be sent, or the other end is gone.
        """

    def close(self) -> None: ...


def open_link(transport: Transport, host: str, port: int) -> Link:
    """Find the receiver and, with TCP, connect to it.

    Raises:
        OSError: The host is unknown, or the connection is refused.
    """
    if transport == "udp":
        return UdpLink(host, port)
    return TcpLink(host, port, frame=with_length if transport == "tcp" else with_slip)


class UdpLink:
    """Sends datagrams; whether they are received is unknown.

    Raises:
        OSError: The host is unknown.
    """

    def __init__(self, host: str, port: int) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        # "localhost" may be ::1 first, where hardly any receiver of OSC listens; UDP reports no error.
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        self._address = address
        self._socket = socket.socket(family, kind, protocol)
        self._socket.settimeout(0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)  # a whole network may listen

    def send(self, packet: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # the network is busy: this value is lost, the next one comes soon
            self._socket.sendto(packet, self._address)

    def close(self) -> None:
        self._socket.close()


class TcpLink:
    """Sends packets over one connection, and discards answers.

    Args:
        host: Name or address.
        port: Its port.
        frame: Frames a packet for the wire.

    Raises:
        OSError: The connection is refused.
    """

    def __init__(self, host: str, port: int, *, frame: Callable[[bytes], bytes]) -> None:
        self._frame = frame
        self._socket = socket.create_connection((host, port), timeout=CONNECT_S)
        self._socket.settimeout(STUCK_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def send(self, packet: bytes) -> None:
        self._drain()
        self._socket.sendall(self._frame(packet))

    def close(self) -> None:
        self._socket.close()

    def _drain(self) -> None:
        """Read what the receiver sends: a desk whose answers are not read closes the connection in the end."""
        self._socket.settimeout(0)
        try:
            for _ in range(_READS):
                if not self._socket.recv(65_536):
                    raise ConnectionResetError("the other end has closed the connection")
        except BlockingIOError:
            pass  # nothing more for now
        finally:
            self._socket.settimeout(STUCK_S)
