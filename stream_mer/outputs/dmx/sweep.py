"""Moves the channels of a rig one after another, so that people can check its addresses on the lamps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_mer.outputs.dmx.rig import EMITTERS, UNIVERSE_LENGTH, Fixture, Lamp, Rig, lamps_of, universes_of

STEP_S = 2.0
"""How long a channel takes to rise and fall, seconds."""

_TOP = 0.45
"""Share of a step after which a channel is at its highest; the rest of the second half is dark."""

_DARK_SHARE = 0.1

_LIGHT = frozenset({"dimmer", *EMITTERS})
"""Channels that are full while another one moves, so that its effect is seen."""

_HEAD = ("pan", "tilt")
_HEAD_REST, _HEAD_WAY = 0.5, 0.1
"""Moving heads stand in the middle, and move so far from there: a whole way would be too fast in one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStep:
    """One moment of a sweep.

    Attributes:
        lamp: The lamp that moves now.
        number: Which one of its fixture it is, from 1.
        channel: The function that moves.
        universes: 512 channels of each universe, by its number.
    """

    lamp: Lamp
    number: int
    channel: str
    universes: Mapping[int, bytes]


class ChannelSweep:
    """Every lamp in turn, and of each lamp every function; all other lamps are dark.

    A colour moves at full intensity, any other function in white light; moving heads turn a little from the middle.
    Numbers are sent as the rig gives them. Strobe channels stay at 0. A channel of 16 bits moves both of its bytes.

    Args:
        rig: The lamps.
    """

    def __init__(self, rig: Rig) -> None:
        self._lamps = lamps_of(rig.fixtures)
        self._turns: list[tuple[Lamp, int, str]] = []
        counts: dict[int, int] = {}
        for lamp in self._lamps:
            number = counts[id(lamp.fixture)] = counts.get(id(lamp.fixture), 0) + 1
            self._turns += [(lamp, number, name) for name in moving_channels(lamp.fixture)]

    @property
    def duration_s(self) -> float:
        """How long one round takes, seconds; 0 if no channel can be moved."""
        return STEP_S * len(self._turns)

    def update(self, t: float) -> SweepStep:
        """Return the step at ``t`` seconds after the start; after the last channel comes the first."""
        lamp, number, channel = self._turns[int(t // STEP_S) % len(self._turns)]
        share = t % STEP_S / STEP_S
        level = max(0.0, 1.0 - abs(share / _TOP - 1.0)) if share < 1.0 - _DARK_SHARE else 0.0
        return SweepStep(lamp=lamp, number=number, channel=channel, universes=self._universes(lamp, channel, level))

    def dark(self) -> Mapping[int, bytes]:
        """Return all universes with every lamp dark."""
        return self._universes(None, "", 0.0)

    def _universes(self, moving: Lamp | None, channel: str, level: float) -> dict[int, bytes]:
        universes = {number: bytearray(UNIVERSE_LENGTH) for number in universes_of(self._lamps)}
        for lamp in self._lamps:
            shares = _shares(channel, level) if lamp is moving else {}
            data = _encode(lamp.fixture, shares)
            for slot in lamp.slots:
                universes[slot.universe][slot.start : slot.start + len(data)] = data
        return {number: bytes(channels) for number, channels in universes.items()}


def moving_channels(fixture: Fixture) -> list[str]:
    """Return the functions of a lamp that are moved, in the order of its channels."""
    names = [channel for channel in fixture.channels if isinstance(channel, str)]
    return [name for name in names if name != "strobe" and not name.endswith(" fine")]


def _shares(channel: str, level: float) -> dict[str, float]:
    """Return how far each function is open, 0..1, while one of them moves."""
    lit = {"dimmer"} if channel in _LIGHT - {"dimmer"} else _LIGHT
    return dict.fromkeys(lit, 1.0) | {channel: _HEAD_REST + _HEAD_WAY * level if channel in _HEAD else level}


def _encode(fixture: Fixture, shares: Mapping[str, float]) -> bytes:
    shares = dict.fromkeys(_HEAD, _HEAD_REST) | dict(shares)
    data = bytearray(len(fixture.channels))
    for i, channel in enumerate(fixture.channels):
        if isinstance(channel, int):
            data[i] = channel
            continue
        value = round(65_535 * shares.get(channel.removesuffix(" fine"), 0.0))
        data[i] = value % 256 if channel.endswith(" fine") else value // 256
    return bytes(data)
