"""Colours as people choose them, and as light. Pure."""

from __future__ import annotations

import colorsys
import re
from typing import TypeAlias

from stream_mer.errors import SettingError
from stream_mer.outputs.safety import Rgb

Colour: TypeAlias = tuple[float, float, float]
"""Red, green and blue as the eye and a screen count them, 0..1: half is half as bright to look at."""

GAMMA = 2.2
"""Light is what the eye sees to this power."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def parse_colour(text: str) -> Colour:
    """Read ``#rrggbb``.

    Raises:
        SettingError: It is none.
    """
    if not _HEX.fullmatch(text):
        raise SettingError(f'a colour is "#rrggbb", such as "#ff9a4d", not {text!r}')
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def hex_of(colour: Colour) -> str:
    """Return ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, part))):02x}" for part in colour)


def of_hue(hue_degrees: float, saturation: float) -> Colour:
    """Return a colour at its brightest: 0 degrees is red, 120 green, 240 blue; saturation 0..1."""
    return colorsys.hsv_to_rgb(hue_degrees / 360 % 1.0, min(1.0, max(0.0, saturation)), 1.0)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return the colour on the way from one to the other, ``share`` (0..1) of it behind."""
    red, green, blue = (a + share * (b - a) for a, b in zip(one, other, strict=True))
    return red, green, blue


def as_light(colour: Colour) -> Rgb:
    """Return the light that looks so."""
    red, green, blue = (part**GAMMA for part in colour)
    return red, green, blue


def as_seen(light: Rgb) -> Colour:
    """Return what light looks like."""
    red, green, blue = (min(1.0, part) ** (1 / GAMMA) for part in light)
    return red, green, blue
