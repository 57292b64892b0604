"""The way to one receiver: UDP, or TCP that notices when the other end is gone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from stream_mer.outputs.osc.packets import with_length, with_slip
from stream_mer.outputs.osc.target import Transport

CONNECT_S = 3.0
STUCK_S = 1.0
"""A TCP receiver that takes nothing for so long is connected to anew: what it would get then is old."""

SEND_BUFFER_BYTES = 16_384
"""What the kernel may keep for a receiver that is slow: little, because old values are worth nothing."""


_READS = 16
"""So often at most is read before a packet is sent: who talks without end must not keep us from talking."""


class Link(Protocol):
    """An open way to a receiver."""

    def send(self, packet: bytes) -> None:
        """Send one packet.

        Raises:
            OSError: It cannot be sent, or the other end is gone.
        """

    def close(self) -> None: ...


def open_link(transport: Transport, host: str, port: int) -> Link:
    """Find the receiver and, with TCP, connect to it.

    Raises:
        OSError: The host is not known, or nobody takes the connection.
    """
    if transport == "udp":
        return UdpLink(host, port)
    return TcpLink(host, port, frame=with_length if transport == "tcp" else with_slip)


class UdpLink:
    """Sends datagrams; whether anybody takes them cannot be known.

    Raises:
        OSError: The host is not known.
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
    """Sends packets over one connection, and throws away what comes back.

    Args:
        host: Name or address.
        port: Its port.
        frame: Makes of a packet what goes over the wire.

    Raises:
        OSError: Nobody takes the connection.
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
        """Read what the receiver tells: a desk that nobody listens to gives up the connection in the end."""
        self._socket.settimeout(0)
        try:
            for _ in range(_READS):
                if not self._socket.recv(65_536):
                    raise ConnectionResetError("the other end has closed the connection")
        except BlockingIOError:
            pass  # nothing more for now
        finally:
            self._socket.settimeout(STUCK_S)
