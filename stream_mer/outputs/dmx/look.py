"""What light the music wants: colour, intensity and speed from valence, arousal and category. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.colour import Colour, mix, of_hue, parse_colour
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES, UNKNOWN

Range: TypeAlias = tuple[float, float]
"""The value at -1 and the value at 1."""

Palette: TypeAlias = tuple[Colour, ...]


def _palette(*colours: str) -> Palette:
    return tuple(parse_colour(colour) for colour in colours)


PALETTES: Mapping[str, Palette] = MappingProxyType(
    {
        "happy": _palette("#ffb000", "#ff6a00", "#ffe27a"),
        "angry": _palette("#ff1a00", "#b3001e", "#ff5a00"),
        "sad": _palette("#1e3cff", "#4a6fa5", "#2a0a8c"),
        "relaxed": _palette("#00a86b", "#2ec4b6", "#7bd389"),
        UNKNOWN: _palette("#c8a27a", "#9a86a8"),
    }
)
"""Colours of each category, unless a rig has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How light follows the music. Ranges are from the lowest to the highest value of what they follow.

    Attributes:
        colour: Where colours come from: ``mood`` (valence chooses the hue) or ``palette`` (the category chooses one of
            ``palettes``).
        hue: Of ``mood``: degrees at valence -1 and 1; 0 red, 120 green, 240 blue, and on beyond 360.
        saturation: Of ``mood``: at arousal -1 and 1, 0..1.
        wander: Of ``mood``: so far hues wander to either side, degrees, 0..180. Those of ``palette`` wander through
            their palette.
        intensity: At arousal -1 and 1, as seen, 0..1.
        speed: At arousal -1 and 1, 0..1: of speed channels, and of the wandering.
        rounds_per_min: How often colours wander around in a minute at speed 1, 0..60.
        palettes: Colours of each category.
    """

    colour: Literal["mood", "palette"] = "mood"
    hue: Range = (240.0, 400.0)
    saturation: Range = (0.75, 1.0)
    wander: float = 15.0
    intensity: Range = (0.3, 1.0)
    speed: Range = (0.05, 1.0)
    rounds_per_min: float = 6.0
    palettes: Mapping[str, Palette] = field(default_factory=lambda: PALETTES)

    def __post_init__(self) -> None:
        for name in ("saturation", "intensity", "speed"):
            if not all(0 <= end <= 1 for end in getattr(self, name)):
                raise SettingError(f"look.{name} is two numbers from 0 to 1, not {list(getattr(self, name))}")
        if not all(-720 <= end <= 720 for end in self.hue):
            raise SettingError(f"look.hue is two angles from -720 to 720 degrees, not {list(self.hue)}")
        if not 0 <= self.wander <= 180:
            raise SettingError(f"look.wander is 0 to 180 degrees, not {self.wander:g}")
        if not 0 <= self.rounds_per_min <= 60:
            raise SettingError(f"look.rounds_per_min is 0 to 60, not {self.rounds_per_min:g}")
        if missing := {*CATEGORIES, UNKNOWN} - self.palettes.keys():
            raise SettingError(f"look.palettes has nothing for {', '.join(sorted(missing))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one lamp is to show.

    Attributes:
        colour: At its brightest.
        intensity: As seen, 0..1.
        speed: 0..1.
    """

    colour: Colour
    intensity: float
    speed: float


def wish(look: Look, values: ShowValues, position: float) -> Wish:
    """Return what a lamp is to show.

    Args:
        look: How.
        values: The music now.
        position: Where the lamp is on its way around, in rounds; the whole ones do not matter.
    """
    arousal = _share(values.arousal)
    if look.colour == "palette":
        colour = _of_palette(look.palettes[values.category], position)
    else:
        hue = _at(look.hue, _share(values.valence)) + look.wander * _triangle(position)
        colour = of_hue(hue, _at(look.saturation, arousal))
    return Wish(colour=colour, intensity=_at(look.intensity, arousal), speed=_at(look.speed, arousal))


def blend(one: Wish, other: Wish, share: float) -> Wish:
    """Return what is between two wishes, ``share`` (0..1) of the way behind."""
    return Wish(
        colour=mix(one.colour, other.colour, share),
        intensity=one.intensity + share * (other.intensity - one.intensity),
        speed=one.speed + share * (other.speed - one.speed),
    )


def _share(signed: float) -> float:
    return (min(1.0, max(-1.0, signed)) + 1) / 2


def _at(span: Range, share: float) -> float:
    return span[0] + share * (span[1] - span[0])


def _triangle(position: float) -> float:
    """Go from 0 to 1, to -1 and back to 0 in one round, at one pace."""
    return 1 - abs((4 * position + 1) % 4 - 2)


def _of_palette(palette: Palette, position: float) -> Colour:
    place = position % 1.0 * len(palette)
    first = int(place) % len(palette)
    return mix(palette[first], palette[(first + 1) % len(palette)], place - int(place))
