"""The bytes of a lamp, and the light that these bytes make. Pure."""

from __future__ import annotations

from stream_mer.outputs.dmx.rig import Fixture
from stream_mer.outputs.safety import Rgb

_COLOURS = ("red", "green", "blue")


class Personality:
    """How one kind of lamp is spoken to.

    Colour times intensity goes to the dimmer where there is one, else into the colours. What red, green and blue have
    in common goes to a white channel where there is one.

    Args:
        fixture: What the channels do.
    """

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        channels = fixture.channels
        places = {name: i for i, name in enumerate(channels) if isinstance(name, str)}
        self._places = {
            name: (place, places.get(f"{name} fine"))
            for name, place in places.items()
            if name != "strobe" and not name.endswith(" fine")
        }
        self._strobe = places.get("strobe")
        self._fixed = bytes(channel if isinstance(channel, int) else 0 for channel in channels)
        self._has_dimmer = "dimmer" in places
        self._has_white = "white" in places
        self._has_colours = any(name in places for name in _COLOURS)

    def encode(self, colour: Rgb, intensity: float, speed: float, *, strobe: bool = True) -> bytes:
        """Return the bytes of one lamp or pixel.

        Args:
            colour: Light of the colour at its brightest, each part 0..1.
            intensity: Share of it, as light, 0..1.
            speed: 0..1.
            strobe: Whether strobe channels get what the fixture says; else 0.
        """
        left = 1.0 if self._has_dimmer else intensity
        red, green, blue = (part * left for part in colour)
        white = 0.0
        if self._has_white:
            white = min(red, green, blue) if self._has_colours else left
            red, green, blue = red - white, green - white, blue - white
        data = bytearray(self._fixed)
        for name, share in (("dimmer", intensity), ("red", red), ("green", green), ("blue", blue), ("white", white)):
            self._put(data, name, max(0.0, share) ** (1 / self._fixture.response))
        self._put(data, "speed", speed)
        if self._strobe is not None and strobe:
            data[self._strobe] = self._fixture.strobe
        return bytes(data)

    def light(self, data: bytes) -> Rgb:
        """Return the light that these bytes make: linear, with white and dimmer; black where it has no light."""
        dimmer = self._emitted(data, "dimmer") if self._has_dimmer else 1.0
        white = self._emitted(data, "white")
        if not self._has_colours and not self._has_white:
            white = 1.0 if self._has_dimmer else 0.0
        red, green, blue = (min(1.0, dimmer * (self._emitted(data, name) + white)) for name in _COLOURS)
        return red, green, blue

    def _put(self, data: bytearray, name: str, share: float) -> None:
        if name not in self._places:
            return
        coarse, fine = self._places[name]
        share = min(1.0, max(0.0, share))
        if fine is None:
            data[coarse] = round(255 * share)
        else:
            data[coarse], data[fine] = divmod(round(65535 * share), 256)

    def _emitted(self, data: bytes, name: str) -> float:
        if name not in self._places:
            return 0.0
        coarse, fine = self._places[name]
        share = data[coarse] / 255 if fine is None else (256 * data[coarse] + data[fine]) / 65535
        return float(share**self._fixture.response)
