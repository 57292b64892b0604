"""sACN (ANSI E1.31). The only import of the library ``sacn``.

Its packets are used but not its sender, which keeps its own thread and clock, binds the port on which a receiver on the
same machine listens, and cannot report that sending failed.

A source has an identity (CID). Receivers take two sources with the same CID for one that contradicts itself, and lamps
flash. So the CID is made once and kept, is different on every machine, and a clash with another source is reported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.links import LightLink
from stream_mer.outputs.dmx.rig import SacnSettings
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

TERMINATIONS = 3
"""How often a source repeats that it ends (E1.31, 6.7.1)."""

DISCOVERY_S = 10.0
"""Interval of universe discovery, seconds (E1.31, 4.3)."""

DISCOVERY_UNIVERSE = 64214

_TTL = 8

MAX_GROUPS = 16
"""Multicast groups that are listened to; every source also sends to the group of discovery every ten seconds."""

_READS = 64
"""Packets read from a group at a time: a flood must not block sending."""

_ACN = b"ASC-E1.17\0\0\0"
_CID = slice(22, 38)
_OPTIONS, _TERMINATED = 112, 0x40

FILE = "sacn-identity"
MACHINE_ID = Path("/etc/machine-id")


class SacnLink(LightLink):
    """Sends universes as sACN.

    Args:
        settings: How.
        name: Source name, as consoles show it.
        universes: Their numbers.
        cid: The CID, 16 bytes; None for that of this machine and name.

    Raises:
        SettingError: The library is not installed.
    """

    def __init__(
        self, settings: SacnSettings, *, name: str, universes: Sequence[int], cid: bytes | None = None
    ) -> None:
        super().__init__()
        data, discovery, sync = _library()
        self._settings = settings
        self._places: tuple[str, ...] = ()
        # The same CID after a restart: receivers follow it at once, and do not merge two sources until one times out.
        identity = tuple(source_id(name) if cid is None else cid)
        self._packets = {
            number: data.DataPacket(
                cid=identity,
                sourceName=name,
                universe=number,
                dmxData=(0,) * 512,
                priority=settings.priority,
                sync_universe=settings.sync,
            )
            for number in universes
        }
        self._sync = sync.SyncPacket(cid=identity, syncAddr=settings.sync) if settings.sync else None
        self._discovery: list[Any] = discovery.UniverseDiscoveryPacket.make_multiple_uni_disc_packets(
            cid=identity, sourceName=name, universes=list(universes)
        )
        self._discovered_t: float | None = None
        self._group_of = data.calculate_multicast_addr
        self._watch = ClashWatch(
            bytes(identity),
            groups=() if settings.to else [self._group_of(n) for n in (DISCOVERY_UNIVERSE, *universes)],
            port=settings.port,
            interface=settings.interface,
        )

    def open(self) -> None:
        """Open a socket on any port, and look up the receivers."""
        opened = self._open_udp()
        self._places = tuple(socket.gethostbyname(host) for host in self._settings.to)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
        if self._settings.interface and not self._places:
            try:
                card = socket.inet_aton(self._settings.interface)
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, card)
            except OSError as error:
                message = f"no network card has the address {self._settings.interface} of sacn.interface"
                raise OSError(error.errno, message) from error
        opened.bind(("", 0))
        self._watch.open(opened.getsockname()[1])

    def send(self, universe: int, channels: bytes) -> int:
        """Send the channels to every receiver."""
        packet = self._packets[universe]
        packet.dmxData = tuple(channels)
        return self._send(packet)

    def synchronise(self) -> int:
        """Send a synchronisation packet, where the rig names a universe for them."""
        return 0 if self._sync is None else self._send_from(self._sync, self._settings.sync)

    def refresh(self, t: float) -> int:
        """Send universe discovery by multicast every ten seconds, and look for other sources with this CID."""
        self._watch.check()
        if self._settings.to or (self._discovered_t is not None and t - self._discovered_t < DISCOVERY_S):
            return 0
        self._discovered_t = t
        for packet in self._discovery:
            self._send_to(self._group_of(DISCOVERY_UNIVERSE), self._settings.port, bytes(packet.getBytes()))
        return len(self._discovery)

    def terminate(self) -> None:
        """Send Stream_Terminated for every universe."""
        for packet in self._packets.values():
            packet.option_StreamTerminated = True
            for _ in range(TERMINATIONS):
                self._send(packet)
            packet.option_StreamTerminated = False

    def close(self) -> None:
        """Close the sockets."""
        self._watch.close()
        super().close()

    def _send(self, packet: Any) -> int:
        return self._send_from(packet, packet.universe)

    def _send_from(self, packet: Any, universe: int) -> int:
        """Send a packet to every receiver, or to the multicast group of a universe."""
        data = bytes(packet.getBytes())
        packet.sequence_increase()
        places = self._places or (self._group_of(universe),)
        for place in places:
            self._send_to(place, self._settings.port, data)
        return len(places)


def _library() -> tuple[Any, Any, Any]:
    try:
        from sacn.messages import data_packet, sync_packet, universe_discovery  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SettingError("sACN needs the library sacn: pip install 'stream-mer[dmx]'") from error
    return data_packet, universe_discovery, sync_packet


def cid_of(packet: bytes) -> bytes | None:
    """Return the CID of a packet of E1.31; None for other packets, and for those that end a stream."""
    if packet[4:16] != _ACN or len(packet) < _CID.stop:
        return None
    is_data = packet[18:22] == b"\0\0\0\4"
    if is_data and len(packet) > _OPTIONS and packet[_OPTIONS] & _TERMINATED:
        return None
    return packet[_CID]


class ClashWatch:
    """Listens to multicast groups for packets of other sources with our CID.

    Args:
        cid: Our CID.
        groups: Addresses of the groups.
        port: UDP port.
        interface: Address of the network card; empty for the system's choice.
        limited: Where a clash is logged.
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
        """Start to listen, where the system allows it; ``own_port`` is the source port of our own packets."""
        self.close()
        self._own_port = own_port
        for group in self._groups:
            try:
                self._sockets.append(_joined(group, self._port, self._interface))
            except OSError as error:  # such as on Windows, which cannot bind to a group
                log.debug("cannot listen to %s for a clash of identities: %s", group, error)

    def check(self) -> None:
        """Read received packets; a clash is logged once a minute."""
        for bound in self._sockets:
            with contextlib.suppress(OSError):  # nothing more for now
                for _ in range(_READS):
                    packet, (host, port, *_) = bound.recvfrom(2048)
                    if cid_of(packet) == self._cid and not self._is_own(host, port):
                        self._report(host, port)

    def close(self) -> None:
        """Stop listening; idempotent."""
        for bound in self._sockets:
            bound.close()
        self._sockets = []

    def _is_own(self, host: str, port: int) -> bool:
        return port == self._own_port and host == _own_address(self._groups[0], self._port, self._interface)

    def _report(self, host: str, port: int) -> None:
        self._limited.log(
            logging.WARNING,
            host,
            f"another source at {host}:{port} sends sACN with our identity (CID): lamps may flash. Is the same rig "
            "running twice? If it is another machine, a copy of this one, delete the file stream_mer/sacn-identity in "
            "the state folder (~/.local/state) of one of them, and start it again",
        )


def _joined(group: str, port: int, interface: str) -> socket.socket:
    """Return a socket that receives multicast to a group, and no unicast to a receiver on this machine."""
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


def source_id(name: str, *, environ: Mapping[str, str] = os.environ, machine_id: Path = MACHINE_ID) -> bytes:
    """Return the CID of a source on this machine, 16 bytes.

    It depends on a kept random identity (machines of one image differ), on the machine's ID (machines that share a home
    folder differ), and on the name (each rig has its own).

    Args:
        name: Name of the source.
        environ: Says where the state is kept.
        machine_id: The file with the machine's ID.
    """
    try:
        machine = machine_id.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        machine = ""
    return uuid.uuid5(_kept(state_folder(environ), has_machine_id=bool(machine)), f"{machine}/{name}").bytes


def state_folder(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path | None:
    """Return the folder of the user's state; None for a user without a home."""
    base = environ.get("XDG_STATE_HOME") or (environ.get("LOCALAPPDATA") if platform == "win32" else None)
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "stream_mer"
    except RuntimeError:
        return None


def _kept(folder: Path | None, *, has_machine_id: bool) -> uuid.UUID:
    """Return the identity in the folder, or create it."""
    reason = "this user has no home folder"
    if folder is not None:
        try:
            return _read(folder / FILE) or _write(folder / FILE)
        except OSError as error:
            reason = f"{folder / FILE}: {error.strerror or error}"
    if has_machine_id:  # stable, but the same on every copy of the machine
        log.info("the sACN identity cannot be kept (%s); only the machine's ID is used", reason)
        return uuid.NAMESPACE_OID
    log.warning("the sACN identity cannot be kept (%s): it changes with every restart", reason)
    return uuid.uuid4()


def _read(path: Path) -> uuid.UUID | None:
    try:
        with path.open("rb") as file:
            return uuid.UUID(file.read(64).decode("ascii").strip())
    except (FileNotFoundError, ValueError):  # the latter if it is damaged: a new one is made
        return None


def _write(path: Path) -> uuid.UUID:
    """Create an identity; return that of another process that was faster, if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = uuid.uuid4()
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{FILE}-", delete=False, encoding="ascii") as file:
        file.write(f"{made}\n")
    Path(file.name).replace(path)
    return _read(path) or made
