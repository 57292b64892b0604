"""Where in the universes each lamp is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.rig import MAX_UNIVERSE, UNIVERSE_LENGTH, Fixture


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where the channels of one pixel begin.

    Attributes:
        universe: 1..63999.
        start: From 0.
    """

    universe: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """One lamp: pixels that always show the same.

    Attributes:
        fixture: Its kind.
        number: Within the fixture, from 1.
        offset: Where it is on its way around, in rounds.
        slots: Where its pixels are, in order.
    """

    fixture: Fixture
    number: int
    offset: float
    slots: tuple[Slot, ...]


def lamps_of(fixtures: Iterable[Fixture]) -> tuple[Lamp, ...]:
    """Lay out the lamps of a rig. A pixel never lies across two universes: it begins the next one.

    Raises:
        SettingError: Two lie over one another, or there are not universes enough.
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
    """Return the numbers of all universes that are used, in order."""
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
    """Return how many channels of each universe are used."""
    used: dict[int, int] = {}
    for lamp in lamps:
        for slot in lamp.slots:
            used[slot.universe] = used.get(slot.universe, 0) + len(lamp.fixture.channels)
    return used
