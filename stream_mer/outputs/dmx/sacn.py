"""sACN (ANSI E1.31): the one room that knows the library ``sacn``.

Its packets are used, but not its sender, which keeps a thread and a clock of its own, binds the port on which a
receiver on the same machine listens, and cannot say that sending failed.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.clash import ClashWatch
from stream_mer.outputs.dmx.identity import source_id
from stream_mer.outputs.dmx.rig import SacnSettings

TERMINATIONS = 3
"""So often a source says that it ends (E1.31, 6.7.1)."""

DISCOVERY_S = 10.0
"""So often a source tells by multicast which universes it sends (E1.31, 4.3)."""

DISCOVERY_UNIVERSE = 64214

_TTL = 8
_PATIENCE_S = 0.5


class SacnLink:
    """Sends universes as sACN; a ``LightLink``.

    Args:
        settings: How.
        name: Source name: what consoles call it.
        universes: Their numbers.
        cid: The identity, 16 bytes; None for that of this machine and name.

    Raises:
        SettingError: The library is not installed.
    """

    def __init__(
        self, settings: SacnSettings, *, name: str, universes: Sequence[int], cid: bytes | None = None
    ) -> None:
        data, discovery = _library()
        self._settings = settings
        self._socket: socket.socket | None = None
        self._places: tuple[str, ...] = ()
        # The same identity after a restart: receivers take it up again, and do not mix two sources until one is lost.
        identity = tuple(source_id(name) if cid is None else cid)
        self._packets = {
            number: data.DataPacket(
                cid=identity, sourceName=name, universe=number, dmxData=(0,) * 512, priority=settings.priority
            )
            for number in universes
        }
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
        """Get a socket, on any port of this machine, and look up the receivers."""
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket = opened
        opened.settimeout(_PATIENCE_S)
        self._places = tuple(socket.gethostbyname(host) for host in self._settings.to)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
        if self._settings.interface:
            card = socket.inet_aton(self._settings.interface)
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, card)
        opened.bind(("", 0))
        self._watch.open(opened.getsockname()[1])

    def send(self, universe: int, channels: bytes) -> int:
        """Send the channels to every receiver."""
        packet = self._packets[universe]
        packet.dmxData = tuple(channels)
        return self._send(packet)

    def refresh(self, t: float) -> int:
        """Tell consoles by multicast which universes there are, every ten seconds, and look for others with our CID."""
        self._watch.look()
        if self._settings.to or (self._discovered_t is not None and t - self._discovered_t < DISCOVERY_S):
            return 0
        self._discovered_t = t
        for packet in self._discovery:
            self._send_to(self._group_of(DISCOVERY_UNIVERSE), bytes(packet.getBytes()))
        return len(self._discovery)

    def terminate(self) -> None:
        """Send Stream_Terminated for every universe."""
        for packet in self._packets.values():
            packet.option_StreamTerminated = True
            for _ in range(TERMINATIONS):
                self._send(packet)
            packet.option_StreamTerminated = False

    def close(self) -> None:
        """Let go of the sockets."""
        self._watch.close()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _send(self, packet: Any) -> int:
        data = bytes(packet.getBytes())
        packet.sequence_increase()
        places = self._places or (self._group_of(packet.universe),)
        for place in places:
            self._send_to(place, data)
        return len(places)

    def _send_to(self, place: str, data: bytes) -> None:
        assert self._socket is not None, "open comes first"  # noqa: S101 - a contract, not a check of input
        self._socket.sendto(data, (place, self._settings.port))


def _library() -> tuple[Any, Any]:
    try:
        from sacn.messages import data_packet, universe_discovery  # noqa: PLC0415 - an extra: who does without pays nothing
    except ImportError as error:
        raise SettingError("sACN needs the library sacn: pip install 'stream-mer[dmx]'") from error
    return data_packet, universe_discovery
