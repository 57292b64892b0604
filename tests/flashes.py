"""Judges of light by WCAG 2.3.1, written apart from ``outputs.safety``, for tests of what is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]
Seen: TypeAlias = list[tuple[float, Rgb]]
"""Linear light over time, seconds."""


def brightness(rgb: Rgb) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def redness(rgb: Rgb) -> float:
    return max(0.0, rgb[0] - rgb[1] - rgb[2])


def is_general(one: Rgb, other: Rgb) -> bool:
    """WCAG 2.3.1, general flash: a tenth of luminance, the darker one below 0.8."""
    dark, light = sorted((brightness(one), brightness(other)))
    return light - dark >= 0.1 and dark < 0.8


def is_red(one: Rgb, other: Rgb) -> bool:
    """WCAG 2.3.1, red flash: one of both is saturated red, and red less green and blue changes by more than 20/320."""
    saturated = any(sum(rgb) > 0 and rgb[0] / sum(rgb) >= 0.8 for rgb in (one, other))
    return saturated and abs(redness(one) - redness(other)) > 20 / 320


def is_reddish(one: Rgb, other: Rgb) -> bool:
    """The same where red need not be saturated: every red flash is one of these."""
    return abs(redness(one) - redness(other)) >= 20 / 320


def turns(seen: Seen, measure: Callable[[Rgb], float], counts: Callable[[Rgb, Rgb], bool]) -> list[float]:
    """Times of opposing changes, from extreme to extreme over the whole show, found by looking at it afterwards."""
    times, rising = [], None
    low = high = seen[0][1]
    for t, rgb in seen:
        up = counts(low, rgb) and measure(rgb) > measure(low)
        down = counts(high, rgb) and measure(rgb) < measure(high)
        if (rising is not True and up) or (rising is not False and down):
            times.append(t)
            rising, low, high = (not rising if rising is not None else up), rgb, rgb
        low, high = min(low, rgb, key=measure), max(high, rgb, key=measure)
    return times


def most_in_a_second(times: list[float]) -> int:
    return max((sum(start <= t < start + 1.0 for t in times) for start in times), default=0)


def assert_does_not_flash(seen: Seen) -> None:
    """Fail where any second has more opposing changes than the limit allows."""
    assert most_in_a_second(turns(seen, brightness, is_general)) <= 3, "a flash and a half"
    assert most_in_a_second(turns(seen, redness, is_reddish)) <= 2, "one red flash"
