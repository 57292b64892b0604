"""Limits that keep light harmless: slew limits, the flash limit, and the fade when the music is lost. Pure.

An *opposing change* is a reversal of the light by one step or more, up or down, measured from the lowest or highest
value since the last reversal. Two of them are a flash (WCAG 2.3.1, general and red flash). WCAG allows three flashes in
any second; this module allows fewer, and of red fewer still. See `docs/decisions/0009-what-a-flash-is.md`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]
"""Red, green and blue as linear light, 0..1."""

LUMINANCE_STEP = 0.1
"""A change of relative luminance by this counts ..."""
DARK_BELOW = 0.8
"""... where the darker of both values is below this."""
RED_STEP = 20 / 320
"""A change of red minus green and blue by this counts: WCAG 2.1 says 20 where pure red is 320."""
GENERAL_CHANGES = 3
"""Opposing changes of luminance allowed in one window: one flash and a half."""
RED_CHANGES = 2
"""Opposing changes of red allowed in one window: one flash."""
URGENT_CHANGES = 1
"""Further changes that an operator's blackout may add, so that it never waits."""
WINDOW_S = 1.05
"""Length of the window: a second, and a margin for the jitter of network and lamp."""

_TOO_CLOSE = 1e-9
"""A change this near to a step is not made: rounding would decide whether it counts."""


class SlewLimit:
    """Limits how fast a value moves.

    Args:
        per_s: Largest change per second, above 0.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._last: tuple[float, float] | None = None

    def update(self, t: float, wanted: float) -> float:
        """Return the value at ``t`` (seconds, rising) on the way to ``wanted``; the first call returns ``wanted``."""
        if self._last is None:
            self._last = (t, wanted)
            return wanted
        last_t, value = self._last
        most = self._per_s * max(0.0, t - last_t)
        value += min(most, max(-most, wanted - value))
        self._last = (t, value)
        return value


@dataclass(slots=True, kw_only=True)
class _Turns:
    """Counts the reversals of one measure of the light, and decides whether one more is allowed.

    Attributes:
        step: Smallest change that counts.
        most: Changes allowed in a window.
        low: The lowest value since the last change that counted.
        high: The highest.
        rising: Direction of that change; None before the first one.
        times: Times of the changes, newest last.
    """

    step: float
    most: int
    low: float = 0.0
    high: float = 0.0
    rising: bool | None = None
    times: deque[float] = field(default_factory=deque)

    def allows(self, t: float, value: float, *, more: int) -> bool:
        """Return whether the measure may take this value at ``t``, with ``more`` changes allowed than usual."""
        while self.times and t - self.times[0] >= WINDOW_S:
            self.times.popleft()
        change = self._opposing(value)
        if change < self.step - _TOO_CLOSE:
            return True
        return change > self.step + _TOO_CLOSE and len(self.times) < self.most + more

    def record(self, t: float, value: float) -> None:
        """Record the value that was sent."""
        if self._opposing(value) >= self.step:
            self.times.append(t)
            self.rising = value - self.low >= self.step if self.rising is None else not self.rising
            self.low = self.high = value
        else:
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _opposing(self, value: float) -> float:
        """How far the value lies from the extreme in the current direction."""
        rise, fall = value - self.low, self.high - value
        if self.rising is None:
            return max(rise, fall)
        return fall if self.rising else rise


class FlashLimit:
    """Keeps one light, which starts dark, below the number of flashes that can be harmful.

    A change that would be one too many is not made: the light stays as it is until the change is allowed.
    """

    def __init__(self) -> None:
        self._last: Rgb = (0.0, 0.0, 0.0)
        self._general = _Turns(step=LUMINANCE_STEP, most=GENERAL_CHANGES)
        self._red = _Turns(step=RED_STEP, most=RED_CHANGES)

    def update(self, t: float, wanted: Rgb, *, urgent: bool = False) -> Rgb:
        """Return the light to send at ``t``: ``wanted`` if it passes, else the last one. See ``passes``."""
        if self.passes(t, wanted, urgent=urgent):
            self._last = wanted
        return self._last

    def passes(self, t: float, wanted: Rgb, *, urgent: bool = False) -> bool:
        """Return whether a light may be sent at ``t``; if so it counts as sent, else the last one is to be sent again.

        Args:
            t: Seconds, rising from call to call.
            wanted: The light exactly as it would be sent, after all rounding.
            urgent: Whether an operator wants it dark.
        """
        more = URGENT_CHANGES if urgent else 0
        general, red = general_measure(wanted), red_measure(wanted)
        if not (self._general.allows(t, general, more=more) and self._red.allows(t, red, more=more)):
            return False
        self._general.record(t, general)
        self._red.record(t, red)
        return True


class FailSafe:
    """When audio or model are gone: hold, then fade slowly to a chosen look; never a sudden blackout.

    Args:
        hold_s: How long the last values stay, 0 or more.
        fade_s: How long the fade to the look takes, above 0.
        return_s: How long the fade back takes, above 0.
    """

    def __init__(self, *, hold_s: float = 10.0, fade_s: float = 5.0, return_s: float = 1.0) -> None:
        self._hold_s = hold_s
        self._fade_s = fade_s
        self._return_s = return_s
        self._last_t: float | None = None
        self._lost_at: float | None = None
        self._share = 0.0

    def update(self, t: float, *, alive: bool) -> float:
        """Return the share of the look at ``t`` (seconds, rising): 0 is only the music, 1 only the look."""
        step_s = 0.0 if self._last_t is None else max(0.0, t - self._last_t)
        self._last_t = t
        if alive:
            self._lost_at = None
            self._share = max(0.0, self._share - step_s / self._return_s)
            return self._share
        if self._lost_at is None:
            self._lost_at = t
        if t - self._lost_at > self._hold_s:
            self._share = min(1.0, self._share + step_s / self._fade_s)
        return self._share


def luminance(rgb: Rgb) -> float:
    """Return relative luminance, 0..1 (ITU-R BT.709 primaries)."""
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def general_measure(rgb: Rgb) -> float:
    """Return luminance, capped so that a change between two bright values is never a step."""
    return min(luminance(rgb), DARK_BELOW + LUMINANCE_STEP)


def red_measure(rgb: Rgb) -> float:
    """Return how much red exceeds green and blue, 0..1.

    WCAG counts it only where red is at least 0.8 of the light; without that condition no red flash is missed, and
    nothing jumps at the limit.
    """
    return max(0.0, rgb[0] - rgb[1] - rgb[2])
