"""Connections to lamps: Art-Net, WLED and LedFx. sACN, which has a library, is in ``sacn``.

The libraries for Art-Net always send sequence number 0 and print their errors (stupidArtnet), or need their own event
loop (pyartnet); here it is one packet, ArtDmx of Art-Net 4. WLED and LedFx need no rig file: WLED's UDP protocol for
realtime light is one packet for a whole strip and needs no setup. LedFx follows the music by itself; its HTTP
interface gets colours and brightness.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.rig import ArtnetSettings, ChannelName

_TIMEOUT_S = 0.5


class LightLink(ABC):
    """Sends the universes of a rig. Used from one thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    @abstractmethod
    def open(self) -> None:
        """Open a socket, and look up the receivers.

        Raises:
            OSError: There is no socket, or a receiver is not there.
        """

    @abstractmethod
    def send(self, universe: int, channels: bytes) -> int:
        """Send the 512 channels of a universe of the rig; return how many packets that were.

        Raises:
            OSError: Sending failed.
        """

    def refresh(self, t: float) -> int:
        """Send the periodic packets of the protocol at ``t``, seconds; return how many packets that were.

        Nothing by default: ``LightOutput`` repeats all channels each second.
        """
        del t
        return 0

    def synchronise(self) -> int:
        """Tell the receivers to show all universes that were sent since; return how many packets that were.

        Nothing by default: receivers show each universe when it arrives.

        Raises:
            OSError: Sending failed.
        """
        return 0

    def terminate(self) -> None:  # noqa: B027 - optional
        """Tell the receivers that nothing follows, if the protocol can.

        Raises:
            OSError: Sending failed.
        """

    def close(self) -> None:
        """Close the socket; idempotent."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _open_udp(self) -> socket.socket:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(_TIMEOUT_S)
        return self._socket

    def _send_to(self, host: str, port: int, packet: bytes) -> None:
        assert self._socket is not None, "open comes first"  # noqa: S101 - a contract, not a check of input
        self._socket.sendto(packet, (host, port))


_OP_DMX, _OP_SYNC = 0x5000, 0x5200
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


def art_sync() -> bytes:
    """Return the packet that makes nodes show all universes that they got."""
    return struct.pack("<8sH", b"Art-Net\0", _OP_SYNC) + struct.pack(">HBB", _PROTOCOL_VERSION, 0, 0)


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
        self._address = settings.to

    @property
    def port_addresses(self) -> tuple[int, ...]:
        """Port addresses of the universes that are sent."""
        return tuple(self._port_addresses.values())

    def open(self) -> None:
        """Open a socket that may broadcast, and look up the receiver."""
        opened = self._open_udp()
        self._address = socket.gethostbyname(self._settings.to)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def send(self, universe: int, channels: bytes) -> int:
        """Send the channels."""
        self._sequences[universe] = sequence = self._sequences[universe] % 255 + 1
        packet = art_dmx(self._port_addresses[universe], sequence, channels)
        self._send_to(self._address, self._settings.port, packet)
        return 1

    def synchronise(self) -> int:
        """Send ArtSync, where the rig asks for it."""
        if not self._settings.sync:
            return 0
        self._send_to(self._address, self._settings.port, art_sync())
        return 1


WLED_PORT = 21324
"""WLED's default UDP port."""

LEDS = 490
"""LEDs in one packet; WLED ignores those that its strip does not have."""

STRIP_LAMPS = 14
"""Colours along a strip; each is on several neighbouring LEDs."""

_DRGB = 2
_BACK_AFTER_S = 3
"""WLED returns to its own effect after this time without packets; everything is sent again each second."""


class WledLink(LightLink):
    """Sends the lamps of a universe along one strip.

    Args:
        host: Name or address of the controller.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._address = host

    def open(self) -> None:
        """Open a socket, and look up the controller."""
        self._address = socket.gethostbyname(self._host)
        self._open_udp()

    def send(self, universe: int, channels: bytes) -> int:
        """Send the first channels, three for each lamp."""
        del universe  # there is one
        lamps = (channels[i : i + 3] for i in range(0, 3 * STRIP_LAMPS, 3))
        colours = b"".join(lamp * (LEDS // STRIP_LAMPS) for lamp in lamps)
        self._send_to(self._address, self._port, bytes([_DRGB, _BACK_AFTER_S]) + colours)
        return 1

    def terminate(self) -> None:
        """Let WLED return to its own effect immediately."""
        self._send_to(self._address, self._port, bytes([_DRGB, 0]))


LEDFX_PORT = 8888
"""LedFx's default HTTP port."""

LEDFX_EVERY_S = 2.0
"""Shortest time between two requests, except for darkness: LedFx writes its settings to disk each time."""

GRADIENT_LAMPS = 3
"""Colours of a gradient."""

GRADIENT_CHANNELS: tuple[ChannelName, ...] = ("dimmer", "red", "green", "blue")
_BRIGHTNESS_STEPS = 20
_REQUEST_TIMEOUT_S = 3.0


class LedFxLink(LightLink):
    """Sets LedFx's gradient to the colours of three lamps, and its brightness to their dimmer.

    Args:
        host: Name or address of LedFx.
        port: Its port.
        clock: Seconds, monotonic.
    """

    def __init__(self, host: str, port: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._host = host
        self._port = port
        self._clock = clock
        self._sent: dict[str, object] = {}
        self._sent_at = 0.0

    def open(self) -> None:
        """Check that LedFx answers; everything is sent again."""
        self._request("GET", "/api/info")
        self._sent = {}

    def send(self, universe: int, channels: bytes) -> int:
        """Send changed settings, at most once in ``LEDFX_EVERY_S`` unless dark."""
        del universe  # there is one
        wanted = _global_settings(channels)
        now = self._clock()
        is_dark = wanted["brightness"] == 0.0
        if wanted == self._sent or (self._sent and now - self._sent_at < LEDFX_EVERY_S and not is_dark):
            return 0
        self._request("PUT", "/api/effects", {"action": "apply_global", **wanted})
        self._sent, self._sent_at = wanted, now
        return 1

    def _request(self, method: str, path: str, body: object = None) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_REQUEST_TIMEOUT_S)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            body_read = answer.read(65_536)
        except http.client.HTTPException as error:
            raise OSError(f"what answers at {self._host}:{self._port} is not LedFx") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"LedFx answers {answer.status} to {method} {path}")
        if b'"failed"' in body_read:
            raise OSError(f"LedFx refuses {method} {path}: {body_read.decode(errors='replace')[:200]}")


def _global_settings(channels: bytes) -> dict[str, object]:
    """Return the settings that LedFx applies to all its effects: a gradient and a brightness."""
    width, last = len(GRADIENT_CHANNELS), GRADIENT_LAMPS - 1
    lamps = [channels[i * width : (i + 1) * width] for i in range(GRADIENT_LAMPS)]
    stops = ", ".join(f"rgb({lamp[1]}, {lamp[2]}, {lamp[3]}) {round(100 * i / last)}%" for i, lamp in enumerate(lamps))
    brightness = round(_BRIGHTNESS_STEPS * lamps[0][0] / 255) / _BRIGHTNESS_STEPS
    return {"gradient": f"linear-gradient(90deg, {stops})", "brightness": brightness}
