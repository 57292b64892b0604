"""Notices another source of sACN that has our identity (CID): receivers take both for one, and lamps flash."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Sequence

from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

MAX_GROUPS = 16
"""Multicast groups that are listened to; sources are heard on the group of discovery anyway, every ten seconds."""

_READS = 64
"""Packets read of a group at a time: who floods it must not keep us from sending."""

_ACN = b"ASC-E1.17\0\0\0"
_CID = slice(22, 38)
_OPTIONS, _TERMINATED = 112, 0x40


def cid_of(packet: bytes) -> bytes | None:
    """Return the identity of who sent a packet of E1.31; None where it is none, or says that its stream ends."""
    if packet[4:16] != _ACN or len(packet) < _CID.stop:
        return None
    is_data = packet[18:22] == b"\0\0\0\4"
    if is_data and len(packet) > _OPTIONS and packet[_OPTIONS] & _TERMINATED:
        return None
    return packet[_CID]


class ClashWatch:
    """Listens to multicast groups for packets with our identity that are not ours.

    Args:
        cid: Ours.
        groups: Addresses of the groups.
        port: UDP port.
        interface: Address of the network card; empty for the system's choice.
        limited: Where a clash is told.
    """

    def __init__(
        self, cid: bytes, *, groups: Sequence[str], port: int, interface: str, limited: LimitedLog | None = None
    ) -> None:
        self._cid = cid
        self._groups = tuple(groups)[:MAX_GROUPS]
        self._port = port
        self._interface = interface
        self._limited = limited or LimitedLog(log)
        self._own_port = 0
        self._sockets: list[socket.socket] = []

    def open(self, own_port: int) -> None:
        """Begin to listen, where the system lets us; ``own_port`` is what our own packets come from."""
        self.close()
        self._own_port = own_port
        for group in self._groups:
            try:
                self._sockets.append(_joined(group, self._port, self._interface))
            except OSError as error:  # such as on Windows, which binds to no group: then nobody notices
                log.debug("cannot listen to %s for a clash of identities: %s", group, error)

    def look(self) -> None:
        """Read what came; a clash is told once a minute."""
        for bound in self._sockets:
            with contextlib.suppress(OSError):  # nothing more for now
                for _ in range(_READS):
                    packet, (host, port, *_) = bound.recvfrom(2048)
                    if cid_of(packet) == self._cid and not self._is_own(host, port):
                        self._tell(host, port)

    def close(self) -> None:
        """Listen no more; idempotent."""
        for bound in self._sockets:
            bound.close()
        self._sockets = []

    def _is_own(self, host: str, port: int) -> bool:
        return port == self._own_port and host == _own_address(self._groups[0], self._port, self._interface)

    def _tell(self, host: str, port: int) -> None:
        self._limited.log(
            logging.WARNING,
            host,
            f"another source at {host}:{port} sends sACN with our identity (CID): lamps may flash. Is the same rig "
            "running twice? If it is another machine, a copy of this one, delete the file stream_mer/sacn-identity in "
            "the state folder (~/.local/state) of one of them, and start it again",
        )


def _joined(group: str, port: int, interface: str) -> socket.socket:
    """Return a socket that gets what is sent to a group, and nothing that is meant for a receiver on this machine."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT") and sys.platform != "linux":  # where SO_REUSEADDR is enough
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((group, port))
        card = socket.inet_aton(interface or "0.0.0.0")  # noqa: S104 - the system's choice, of a group
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + card)
        bound.settimeout(0)
    except OSError:
        bound.close()
        raise
    return bound


def _own_address(group: str, port: int, interface: str) -> str:
    if interface:
        return interface
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((group, port))
        return str(probe.getsockname()[0])
    return ""
