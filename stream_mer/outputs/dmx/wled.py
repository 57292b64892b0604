"""WLED's own protocol for light in real time (UDP): one small packet for a whole strip, whatever its length.

WLED takes sACN and Art-Net, too, pixel by pixel: that is for rigs. This wants no setup at the controller.
"""

from __future__ import annotations

import socket

from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.output import LightOutput
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import Fixture, Rig

PORT = 21324
"""Where WLED listens unless told otherwise."""

LEDS = 490
"""As many as one packet holds; WLED leaves out those that its strip does not have."""

_LAMPS = 14
"""Colours along the strip; each is on so many neighbouring LEDs."""

_DRGB = 2
_BACK_AFTER_S = 3
"""Without packets for so long WLED goes back to its own effect; everything is sent again each second."""


class WledLink:
    """Sends the lamps of a universe along one strip; a ``LightLink``.

    Args:
        host: Of the controller.
        port: Its port.
    """

    def __init__(self, host: str, port: int = PORT) -> None:
        self._host = host
        self._port = port
        self._place = (host, port)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Get a socket, and look up the controller."""
        self._place = (socket.gethostbyname(self._host), self._port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.5)

    def send(self, universe: int, channels: bytes) -> int:
        """Send the first channels, three for each lamp."""
        del universe  # there is one
        lamps = (channels[i : i + 3] for i in range(0, 3 * _LAMPS, 3))
        self._put(bytes([_DRGB, _BACK_AFTER_S]) + b"".join(lamp * (LEDS // _LAMPS) for lamp in lamps))
        return 1

    def refresh(self, t: float) -> int:
        """Do nothing: that everything is sent again every second is enough."""
        del t
        return 0

    def terminate(self) -> None:
        """Let WLED go back to its own effect at once."""
        self._put(bytes([_DRGB, 0]))

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _put(self, packet: bytes) -> None:
        assert self._socket is not None, "open comes first"  # noqa: S101 - a contract, not a check of input
        self._socket.sendto(packet, self._place)


def wled_output(host: str, port: int = PORT, *, stream: str) -> LightOutput:
    """Make the output for one controller: valence chooses the hue, arousal intensity and speed."""
    strip = Fixture(name="strip", channels=("red", "green", "blue"), count=_LAMPS, offset_step=1 / _LAMPS)
    rig = Rig(fixtures=(strip,), name="wled", rate_hz=30.0, look=Look())
    name = f"wled at {host}:{port}"
    return LightOutput(rig, WledLink(host, port), LightShow(rig), name=name, stream=stream, claims=[name])
