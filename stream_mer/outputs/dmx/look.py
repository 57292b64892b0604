"""Maps music to light: valence, arousal and category to colour, intensity and speed. Pure.

A ``Colour`` is as the eye and a screen count it: half is half as bright to look at. ``Rgb`` is linear light.
"""

from __future__ import annotations

import colorsys
import functools
import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from stream_mer.outputs.safety import Rgb
from stream_mer.outputs.values import ShowValues

Colour: TypeAlias = tuple[float, float, float]
"""Red, green and blue as seen, 0..1."""

GAMMA = 2.2
"""Linear light is the seen value to this power."""

HexColour: TypeAlias = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$", description='a colour such as "#ff9a4d"')]
Palette: TypeAlias = Annotated[
    tuple[HexColour, ...],
    Meta(min_length=1, max_length=1000, description='a list of colours, such as ["#ffb000", "#ff6a00"]'),
]
_Angle: TypeAlias = Annotated[float, Meta(ge=-720, le=720)]
_Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
_Angles: TypeAlias = Annotated[
    tuple[_Angle, _Angle], Meta(description="two angles from -720 to 720 degrees in brackets, such as [240, 400]")
]
_Shares: TypeAlias = Annotated[
    tuple[_Share, _Share], Meta(description="two numbers from 0 to 1 in brackets, such as [0.3, 1.0]")
]


class Palettes(Struct, frozen=True, kw_only=True):
    """Colours of each category."""

    happy: Palette = ("#ffb000", "#ff6a00", "#ffe27a")
    angry: Palette = ("#ff1a00", "#b3001e", "#ff5a00")
    sad: Palette = ("#1e3cff", "#4a6fa5", "#2a0a8c")
    relaxed: Palette = ("#00a86b", "#2ec4b6", "#7bd389")
    unknown: Palette = ("#c8a27a", "#9a86a8")


class Look(Struct, frozen=True, kw_only=True):
    """How light follows the music. Ranges give the values at both ends of valence or arousal.

    Attributes:
        colour: Where colours come from: ``mood`` (valence chooses the hue) or ``palette`` (the category chooses one of
            ``palettes``).
        hue: For ``mood``: degrees at valence -1 and 1; 0 red, 120 green, 240 blue, and on beyond 360.
        saturation: For ``mood``: at arousal -1 and 1, 0..1.
        wander: For ``mood``: how far hues wander to either side, degrees, 0..180. Those of ``palette`` wander through
            their palette.
        intensity: At arousal -1 and 1, as seen, 0..1.
        speed: At arousal -1 and 1, 0..1: of speed channels, and of the wandering.
        rounds_per_min: Rounds that colours wander in a minute at speed 1, 0..60.
        palettes: Colours of each category.
    """

    colour: Literal["mood", "palette"] = "mood"
    hue: _Angles = (240.0, 400.0)
    saturation: _Shares = (0.75, 1.0)
    wander: Annotated[float, Meta(ge=0, le=180)] = 15.0
    intensity: _Shares = (0.3, 1.0)
    speed: _Shares = (0.05, 1.0)
    rounds_per_min: Annotated[float, Meta(ge=0, le=60)] = 6.0
    palettes: Palettes = Palettes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target state of one lamp.

    Attributes:
        colour: At its brightest.
        intensity: As seen, 0..1.
        speed: 0..1.
        swing: Where moving heads are on their way from side to side, -1..1.
        lift: How high they point, 0..1.
    """

    colour: Colour
    intensity: float
    speed: float
    swing: float = 0.0
    lift: float = 0.5


def target(look: Look, values: ShowValues, position: float) -> Target:
    """Return the target state of a lamp.

    Args:
        look: How light follows the music.
        values: The music now.
        position: Where the lamp is on its way around, rounds; only the fraction matters.
    """
    arousal = _share(values.arousal)
    if look.colour == "palette":
        colour = _of_palette(getattr(look.palettes, values.category), position)
    else:
        hue = _at(look.hue, _share(values.valence)) + look.wander * _triangle(position)
        colour = of_hue(hue, _at(look.saturation, arousal))
    return Target(
        colour=colour,
        intensity=_at(look.intensity, arousal),
        speed=_at(look.speed, arousal),
        swing=math.sin(2 * math.pi * position),
        lift=_share(values.valence),
    )


def blend(one: Target, other: Target, share: float) -> Target:
    """Return the mixture of two targets, with ``share`` (0..1) of the other one, but for moving heads."""
    return replace(
        one,
        colour=mix(one.colour, other.colour, share),
        intensity=one.intensity + share * (other.intensity - one.intensity),
        speed=one.speed + share * (other.speed - one.speed),
    )


@functools.cache
def parse_colour(text: str) -> Colour:
    """Return the colour of ``#rrggbb``."""
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def hex_of(colour: Colour) -> str:
    """Return ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, part))):02x}" for part in colour)


def of_hue(hue_degrees: float, saturation: float) -> Colour:
    """Return a colour at its brightest: 0 degrees is red, 120 green, 240 blue; saturation 0..1."""
    return colorsys.hsv_to_rgb(hue_degrees / 360 % 1.0, min(1.0, max(0.0, saturation)), 1.0)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return the mixture of two colours, with ``share`` (0..1) of the other one."""
    red, green, blue = (a + share * (b - a) for a, b in zip(one, other, strict=True))
    return red, green, blue


def as_light(colour: Colour) -> Rgb:
    """Return the linear light of a colour."""
    red, green, blue = (part**GAMMA for part in colour)
    return red, green, blue


def as_seen(light: Rgb) -> Colour:
    """Return the colour of linear light."""
    red, green, blue = (min(1.0, part) ** (1 / GAMMA) for part in light)
    return red, green, blue


def _share(signed: float) -> float:
    return (min(1.0, max(-1.0, signed)) + 1) / 2


def _at(span: tuple[float, float], share: float) -> float:
    return span[0] + share * (span[1] - span[0])


def _triangle(position: float) -> float:
    """Go from 0 to 1, to -1 and back to 0 in one round, at constant speed."""
    return 1 - abs((4 * position + 1) % 4 - 2)


def _of_palette(palette: Palette, position: float) -> Colour:
    place = position % 1.0 * len(palette)
    first = int(place) % len(palette)
    one, other = parse_colour(palette[first]), parse_colour(palette[(first + 1) % len(palette)])
    return mix(one, other, place - int(place))
