"""WLED and LedFx, each over its own protocol: they need no rig file.

WLED also takes sACN and Art-Net pixel by pixel, with a rig. Its own UDP protocol for realtime light is one small packet
for a whole strip of any length, and needs no setup at the controller. LedFx moves with the music by itself; over its
HTTP interface it gets the colours and the brightness.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable

from stream_mer.outputs.dmx.link import LightLink
from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.output import LightOutput
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import ChannelName, Fixture, Rig

WLED_PORT = 21324
"""WLED's default UDP port."""

LEDFX_PORT = 8888
"""LedFx's default HTTP port."""

LEDS = 490
"""LEDs in one packet; WLED ignores those that its strip does not have."""

LEDFX_EVERY_S = 2.0
"""Shortest time between two requests, except for darkness: LedFx writes its settings to disk each time."""

_STRIP_LAMPS = 14
"""Colours along a strip; each is on several neighbouring LEDs."""

_DRGB = 2
_BACK_AFTER_S = 3
"""WLED goes back to its own effect after this time without packets; everything is sent again each second."""

_GRADIENT_LAMPS = 3
"""Colours of a gradient."""

_GRADIENT_CHANNELS: tuple[ChannelName, ...] = ("dimmer", "red", "green", "blue")
_BRIGHTNESS_STEPS = 20
_REQUEST_TIMEOUT_S = 3.0


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
        lamps = (channels[i : i + 3] for i in range(0, 3 * _STRIP_LAMPS, 3))
        colours = b"".join(lamp * (LEDS // _STRIP_LAMPS) for lamp in lamps)
        self._send_to(self._address, self._port, bytes([_DRGB, _BACK_AFTER_S]) + colours)
        return 1

    def terminate(self) -> None:
        """Let WLED go back to its own effect at once."""
        self._send_to(self._address, self._port, bytes([_DRGB, 0]))


def wled_output(host: str, port: int, stream: str) -> LightOutput:
    """Make the output for one controller: valence chooses the hue, arousal intensity and speed."""
    strip = Fixture(name="strip", channels=("red", "green", "blue"), count=_STRIP_LAMPS, offset_step=1 / _STRIP_LAMPS)
    rig = Rig(fixtures=(strip,), name="wled", rate_hz=30.0, look=Look())
    name = f"wled at {host}:{port}"
    return LightOutput(rig, WledLink(host, port), LightShow(rig), name=name, stream=stream, claims=[name])


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
        """Check that LedFx is there; everything is sent again."""
        self._request("GET", "/api/info")
        self._sent = {}

    def send(self, universe: int, channels: bytes) -> int:
        """Send what changed, if it is time."""
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
            said = answer.read(65_536)
        except http.client.HTTPException as error:
            raise OSError(f"what answers at {self._host}:{self._port} is not LedFx") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"LedFx answers {answer.status} to {method} {path}")
        if b'"failed"' in said:
            raise OSError(f"LedFx refuses {method} {path}: {said.decode(errors='replace')[:200]}")


def _global_settings(channels: bytes) -> dict[str, object]:
    """Return what LedFx applies to all its effects: a gradient and a brightness."""
    width, last = len(_GRADIENT_CHANNELS), _GRADIENT_LAMPS - 1
    lamps = [channels[i * width : (i + 1) * width] for i in range(_GRADIENT_LAMPS)]
    stops = ", ".join(f"rgb({lamp[1]}, {lamp[2]}, {lamp[3]}) {round(100 * i / last)}%" for i, lamp in enumerate(lamps))
    brightness = round(_BRIGHTNESS_STEPS * lamps[0][0] / 255) / _BRIGHTNESS_STEPS
    return {"gradient": f"linear-gradient(90deg, {stops})", "brightness": brightness}


def ledfx_output(host: str, port: int, stream: str) -> LightOutput:
    """Make the output for one LedFx: the category chooses the colours, arousal the brightness."""
    look = Look(colour="palette", rounds_per_min=0.0)
    lamps = Fixture(
        name="gradient", channels=_GRADIENT_CHANNELS, count=_GRADIENT_LAMPS, offset_step=1 / _GRADIENT_LAMPS
    )
    rig = Rig(fixtures=(lamps,), name="ledfx", rate_hz=10.0, look=look)
    name = f"ledfx at {host}:{port}"
    return LightOutput(rig, LedFxLink(host, port), LightShow(rig), name=name, stream=stream, claims=[name])
