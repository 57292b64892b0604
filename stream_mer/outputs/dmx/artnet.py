"""Art-Net 4: the packet ArtDmx, written by hand.

It is a header of 18 bytes, and the libraries for it either send a sequence number of 0 for ever and print their errors
(stupidArtnet), or want an event loop of their own (pyartnet).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.rig import ArtnetSettings

_OP_DMX = 0x5000
_PROTOCOL_VERSION = 14
_LAST_PORT_ADDRESS = 0x7FFF
_PATIENCE_S = 0.5


def art_dmx(port_address: int, sequence: int, channels: bytes) -> bytes:
    """Return the packet that sets the channels of a universe.

    Args:
        port_address: Net (7 bits), sub-net (4) and universe (4), 0..32767.
        sequence: 1..255; 0 would say that there are no sequence numbers.
        channels: An even number of them, 2..512.
    """
    header = struct.pack("<8sH", b"Art-Net\0", _OP_DMX) + struct.pack(">HBB", _PROTOCOL_VERSION, sequence, 0)
    return header + struct.pack("<H", port_address) + struct.pack(">H", len(channels)) + channels


class ArtnetLink:
    """Sends universes as Art-Net; a ``LightLink``.

    Args:
        settings: How, with an address.
        universes: Their numbers in the rig.

    Raises:
        SettingError: It is not said where to, or there is no such Art-Net universe.
    """

    def __init__(self, settings: ArtnetSettings, *, universes: Sequence[int]) -> None:
        if not settings.to:
            raise SettingError(
                'Art-Net is sent to an address: RIG@HOST on the command line, or to = "HOST" under [artnet]; '
                "255.255.255.255 for all of this network"
            )
        self._settings = settings
        self._port_addresses = {number: settings.first_universe + number - 1 for number in universes}
        if (last := max(self._port_addresses.values())) > _LAST_PORT_ADDRESS:
            raise SettingError(f"Art-Net has universes 0 to {_LAST_PORT_ADDRESS}, and the rig would need {last}")
        self._sequences = dict.fromkeys(universes, 0)
        self._socket: socket.socket | None = None
        self._place = settings.to

    @property
    def port_addresses(self) -> tuple[int, ...]:
        """The Art-Net universes that are sent."""
        return tuple(self._port_addresses.values())

    def open(self) -> None:
        """Get a socket that may broadcast, and look up the receiver."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE_S)
        self._place = socket.gethostbyname(self._settings.to)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def send(self, universe: int, channels: bytes) -> int:
        """Send the channels."""
        assert self._socket is not None, "open comes first"  # noqa: S101 - a contract, not a check of input
        sequence = self._sequences[universe] % 255 + 1
        self._sequences[universe] = sequence
        packet = art_dmx(self._port_addresses[universe], sequence, channels)
        self._socket.sendto(packet, (self._place, self._settings.port))
        return 1

    def refresh(self, t: float) -> int:
        """Do nothing: that everything is sent again every second is enough."""
        del t
        return 0

    def terminate(self) -> None:
        """Do nothing: Art-Net has no word for it."""

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None
