"""OSC output: sends the values of a stream to one receiver, over UDP or TCP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from stream_mer.outputs.osc.composer import OscComposer, OscMessage
from stream_mer.outputs.osc.packets import encode, with_length, with_slip
from stream_mer.outputs.osc.targets import OscTarget, Transport
from stream_mer.outputs.values import ShowValues

CONNECT_S = 3.0
STUCK_S = 1.0
"""A TCP receiver that takes nothing for this time is connected to again: what it would get by then is old."""

SEND_BUFFER_BYTES = 16_384
"""What the kernel may buffer for a slow receiver: little, because old values are useless."""


_READS = 16
"""Reads at most before a packet is sent: a receiver that talks without end must not block sending."""


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
        OSError: The host is unknown, or nobody accepts the connection.
    """
    if transport == "udp":
        return UdpLink(host, port)
    return TcpLink(host, port, frame=with_length if transport == "tcp" else with_slip)


class UdpLink:
    """Sends datagrams; whether anybody receives them is unknown.

    Raises:
        OSError: The host is unknown.
    """

    def __init__(self, host: str, port: int) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        # "localhost" may be ::1 first, where hardly any receiver of OSC listens; UDP would not tell.
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
    """Sends packets over one connection, and discards what comes back.

    Args:
        host: Name or address.
        port: Its port.
        frame: Frames a packet for the wire.

    Raises:
        OSError: Nobody accepts the connection.
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
        """Read what the receiver sends: a desk whose answers nobody reads closes the connection in the end."""
        self._socket.settimeout(0)
        try:
            for _ in range(_READS):
                if not self._socket.recv(65_536):
                    raise ConnectionResetError("the other end has closed the connection")
        except BlockingIOError:
            pass  # nothing more for now
        finally:
            self._socket.settimeout(STUCK_S)


class OscOutput:
    """Sends the values of a stream to one receiver; a ``ShowOutput``.

    Args:
        target: The receiver, and what it gets.
        stream: The stream.
    """

    def __init__(self, target: OscTarget, *, stream: str) -> None:
        self.name = f"osc {target.name} at {target.place}"
        self.stream = stream
        self.rate_hz = target.rate_hz
        self.wants_levels = target.mapping.wants_levels
        addresses = (field.address_of(stream) for field in target.mapping.sent)
        self.claims = frozenset(f"{address} at {target.place}" for address in addresses)
        self._target = target
        self._composer = OscComposer(target.mapping, stream=stream)
        self._link: Link | None = None

    def open(self) -> None:
        """Find the receiver and, with TCP, connect to it; it gets everything again.

        Raises:
            OSError: The receiver cannot be reached.
        """
        self._link = open_link(self._target.transport, self._target.host, self._target.port)
        self._composer.reset()

    def send(self, t: float, values: ShowValues) -> int:
        """Send what changed, and everything once a second.

        Raises:
            OSError: A message cannot be sent.
        """
        return self._send(self._composer.update(t, values))

    def finish(self) -> None:
        """Tell the receiver that the stream is not alive any more; all other values stay."""
        self._send(self._composer.last_messages())

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _send(self, messages: list[OscMessage]) -> int:
        if self._link is None:
            raise OSError("not open")
        for message in messages:
            self._link.send(encode(message.address, message.argument))
        return len(messages)
