"""LedFx over its HTTP interface: it moves with the music by itself, and gets the colours and brightness of the mood."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable

from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.output import LightOutput
from stream_mer.outputs.dmx.render import LightShow
from stream_mer.outputs.dmx.rig import Fixture, Rig

PORT = 8888
"""Where LedFx listens unless told otherwise."""

EVERY_S = 2.0
"""No more often is it told anything but darkness: LedFx writes its settings to disk each time."""

_LAMPS = 3
"""Colours of the gradient."""

_CHANNELS = ("dimmer", "red", "green", "blue")
_BRIGHTNESS_STEPS = 20
_PATIENCE_S = 3.0


class LedFxLink:
    """Tells LedFx of the colours of three lamps, whose dimmer is its brightness; a ``LightLink``.

    Args:
        host: Of LedFx.
        port: Its port.
        clock: Seconds, monotonic.
    """

    def __init__(self, host: str, port: int = PORT, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._told: dict[str, object] = {}
        self._told_at = 0.0

    def open(self) -> None:
        """Ask whether it is there; it is told everything anew."""
        self._request("GET", "/api/info")
        self._told = {}

    def send(self, universe: int, channels: bytes) -> int:
        """Tell it what changed, if it is time."""
        del universe  # there is one
        wanted = _global_settings(channels)
        now = self._clock()
        is_dark = wanted["brightness"] == 0.0
        if wanted == self._told or (self._told and now - self._told_at < EVERY_S and not is_dark):
            return 0
        self._request("PUT", "/api/effects", {"action": "apply_global", **wanted})
        self._told, self._told_at = wanted, now
        return 1

    def refresh(self, t: float) -> int:
        """Do nothing: LedFx remembers."""
        del t
        return 0

    def terminate(self) -> None:
        """Do nothing: LedFx goes on as it is."""

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""

    def _request(self, method: str, path: str, body: object = None) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE_S)
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
    """Return what LedFx applies to all its effects: a gradient, and a brightness."""
    width = len(_CHANNELS)
    lamps = [channels[i * width : (i + 1) * width] for i in range(_LAMPS)]
    stops = ", ".join(
        f"rgb({lamp[1]}, {lamp[2]}, {lamp[3]}) {round(100 * i / (_LAMPS - 1))}%" for i, lamp in enumerate(lamps)
    )
    brightness = round(_BRIGHTNESS_STEPS * lamps[0][0] / 255) / _BRIGHTNESS_STEPS
    return {"gradient": f"linear-gradient(90deg, {stops})", "brightness": brightness}


def ledfx_output(host: str, port: int = PORT, *, stream: str) -> LightOutput:
    """Make the output for one LedFx: the category chooses the colours, arousal the brightness."""
    look = Look(colour="palette", rounds_per_min=0.0)
    lamps = Fixture(name="gradient", channels=_CHANNELS, count=_LAMPS, offset_step=1 / _LAMPS)
    rig = Rig(fixtures=(lamps,), name="ledfx", rate_hz=10.0, look=look)
    name = f"ledfx at {host}:{port}"
    return LightOutput(rig, LedFxLink(host, port), LightShow(rig), name=name, stream=stream, claims=[name])
