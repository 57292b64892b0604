"""Art-Net 4: the packet ArtDmx, without a library.

The packet has a header of 18 bytes. The libraries for it always send sequence number 0 and print their errors
(stupidArtnet), or need their own event loop (pyartnet).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.link import LightLink
from stream_mer.outputs.dmx.rig import ArtnetSettings

_OP_DMX = 0x5000
_PROTOCOL_VERSION = 14
_LAST_PORT_ADDRESS = 0x7FFF


def art_dmx(port_address: int, sequence: int, channels: bytes) -> bytes:
    """Return the packet that sets the channels of a universe.

    Args:
        port_address: Net (7 bits), sub-net (4) and universe (4), 0..32767.
        sequence: 1..255; 0 would disable sequence numbers.
        channels: 2..512 channels, an even number.
    """
    header = struct.pack("<8sH", b"Art-Net\0", _OP_DMX) + struct.pack(">HBB", _PROTOCOL_VERSION, sequence, 0)
    return header + struct.pack("<H", port_address) + struct.pack(">H", len(channels)) + channels


class ArtnetLink(LightLink):
    """Sends universes as Art-Net.

    Args:
        settings: How, with an address.
        universes: Their numbers in the rig.

    Raises:
        SettingError: There is no address to send to, or no such Art-Net universe.
    """

    def __init__(self, settings: ArtnetSettings, *, universes: Sequence[int]) -> None:
        super().__init__()
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
        self._place = settings.to

    @property
    def port_addresses(self) -> tuple[int, ...]:
        """Port addresses of the universes that are sent."""
        return tuple(self._port_addresses.values())

    def open(self) -> None:
        """Open a socket that may broadcast, and look up the receiver."""
        opened = self._open_udp()
        self._place = socket.gethostbyname(self._settings.to)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def send(self, universe: int, channels: bytes) -> int:
        """Send the channels."""
        sequence = self._sequences[universe] % 255 + 1
        self._sequences[universe] = sequence
        packet = art_dmx(self._port_addresses[universe], sequence, channels)
        self._send_to(self._place, self._settings.port, packet)
        return 1
