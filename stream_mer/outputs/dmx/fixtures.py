"""The lamps of a rig: where their channels are, the bytes that they get, and the light that these bytes make. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.rig import MAX_UNIVERSE, UNIVERSE_LENGTH, Fixture
from stream_mer.outputs.safety import Rgb

_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The first channel of one pixel.

    Attributes:
        universe: 1..63999.
        start: Index of the channel, from 0.
    """

    universe: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """One lamp: pixels that all show the same.

    Attributes:
        fixture: Kind of lamp.
        number: Within the fixture, from 1.
        offset: Where it is on its way around, rounds.
        slots: First channels of its pixels, in order.
    """

    fixture: Fixture
    number: int
    offset: float
    slots: tuple[Slot, ...]


def lamps_of(fixtures: Iterable[Fixture]) -> tuple[Lamp, ...]:
    """Lay out the lamps of a rig. A pixel that does not fit into a universe starts the next one.

    Raises:
        SettingError: Two fixtures overlap, or there are not enough universes.
    """
    lamps: list[Lamp] = []
    taken: dict[tuple[int, int], Fixture] = {}
    for fixture in fixtures:
        for lamp in _lay_out(fixture):
            lamps.append(lamp)
            for slot in lamp.slots:
                _take(taken, slot, fixture)
    return tuple(lamps)


def universes_of(lamps: Iterable[Lamp]) -> tuple[int, ...]:
    """Return the numbers of the universes that are used, in order."""
    return tuple(sorted({slot.universe for lamp in lamps for slot in lamp.slots}))


def _lay_out(fixture: Fixture) -> list[Lamp]:
    universe, start = fixture.universe, fixture.address - 1
    lamps = []
    for i in range(fixture.count):
        slots = []
        for _ in range(fixture.pixels):
            if start + len(fixture.channels) > UNIVERSE_LENGTH:
                universe, start = universe + 1, 0
                if universe > MAX_UNIVERSE:
                    raise SettingError(f"{fixture.name}: there is no universe {universe}")
            slots.append(Slot(universe=universe, start=start))
            start += fixture.spacing or len(fixture.channels)
        offset = fixture.offset + i * fixture.offset_step
        lamps.append(Lamp(fixture=fixture, number=i + 1, offset=offset, slots=tuple(slots)))
    return lamps


def _take(taken: dict[tuple[int, int], Fixture], slot: Slot, fixture: Fixture) -> None:
    for i in range(len(fixture.channels)):
        other = taken.setdefault((slot.universe, slot.start + i), fixture)
        if other is not fixture:
            place = f"channel {slot.start + i + 1} of universe {slot.universe}"
            raise SettingError(f"{other.name} and {fixture.name} both have {place}: give one another address")


def used_channels(lamps: Iterable[Lamp]) -> Mapping[int, int]:
    """Return how many channels of each universe are used, by number."""
    used: dict[int, int] = {}
    for lamp in lamps:
        for slot in lamp.slots:
            used[slot.universe] = used.get(slot.universe, 0) + len(lamp.fixture.channels)
    return used


class FixtureProfile:
    """Converts between light and the bytes of one kind of lamp.

    Intensity goes to the dimmer if the lamp has one, else into the colours. What red, green and blue have in common
    goes to the white channel if the lamp has one.

    Args:
        fixture: What the channels do.
    """

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        channels = fixture.channels
        places: dict[str, int] = {name: i for i, name in enumerate(channels) if isinstance(name, str)}
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
            colour: Linear light of the colour at its brightest, each part 0..1.
            intensity: Share of that light, 0..1.
            speed: 0..1.
            strobe: Send the fixture's value to strobe channels; else 0.
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
        """Return the linear light that these bytes make, with white and dimmer; black for a lamp without light."""
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
