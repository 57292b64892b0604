"""What keeps light from doing harm: no jumps, no flashes that can hurt, no sudden dark. Pure: the time is given.

An *opposing change* is a turn of the light, up or down, by a step or more, measured from the lowest or highest that it
was since it last turned. Two of them are a flash (WCAG 2.3.1, general and red flash). WCAG allows three flashes in any
second; here it is fewer, and of red fewer still. `docs/decisions/0009-what-a-flash-is.md` says why it is counted so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]
"""Red, green and blue as linear light, 0..1."""

LUMINANCE_STEP = 0.1
"""Of relative luminance: a change by so much counts ..."""
DARK_BELOW = 0.8
"""... where the darker of both is below this."""
RED_STEP = 20 / 320
"""Of red less green and blue: WCAG 2.1 says 20 where pure red is 320."""
GENERAL_CHANGES = 3
"""So many opposing changes of luminance may fall into one window: one flash and a half."""
RED_CHANGES = 2
"""So many of red: one flash."""
URGENT_CHANGES = 1
"""So many more may an operator's blackout add, so that it never waits."""
WINDOW_S = 1.05
"""A second, and a little more for what a network and a lamp do to the times of what is sent."""

_TOO_CLOSE = 1e-9
"""A change this near to a step is not made: nobody could say whether it counts."""


class SlewLimit:
    """Lets a value move no faster than so much a second.

    Args:
        per_s: Largest change in one second, above 0.
    """

    def __init__(self, per_s: float) -> None:
        if not per_s > 0:
            raise ValueError(f"a slew limit is above 0 a second, not {per_s}")
        self._per_s = per_s
        self._last: tuple[float, float] | None = None

    def feed(self, t: float, wanted: float) -> float:
        """Return the value at ``t`` (seconds, rising) on the way to the one wanted; the first one is taken as it is."""
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
    """Counts how often one measure of the light turns, and tells whether it may turn once more.

    Attributes:
        step: A change of this size counts.
        most: So many may fall into a window.
        low: The lowest value since the last change that counted.
        high: The highest.
        rising: Which way that change went; None before the first one.
        times: When the changes were, newest last.
    """

    step: float
    most: int
    low: float = 0.0
    high: float = 0.0
    rising: bool | None = None
    times: deque[float] = field(default_factory=deque)

    def allows(self, t: float, value: float, *, more: int) -> bool:
        """Tell whether the measure may have this value at ``t``, with so many changes ``more`` than usual."""
        while self.times and t - self.times[0] >= WINDOW_S:
            self.times.popleft()
        change = self._opposing(value)
        if change < self.step - _TOO_CLOSE:
            return True
        return change > self.step + _TOO_CLOSE and len(self.times) < self.most + more

    def take(self, t: float, value: float) -> None:
        """Take note of the value that was sent."""
        if self._opposing(value) >= self.step:
            self.times.append(t)
            self.rising = value - self.low >= self.step if self.rising is None else not self.rising
            self.low = self.high = value
        else:
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _opposing(self, value: float) -> float:
        """How far the value lies from the extreme of the way that the measure went."""
        rise, fall = value - self.low, self.high - value
        if self.rising is None:
            return max(rise, fall)
        return fall if self.rising else rise


class FlashLimit:
    """Lets light change as it likes, but flash less often than could hurt; one for each light, which begins dark.

    A change that would be one too many is not made: the light stays as it is until it may go on.
    """

    def __init__(self) -> None:
        self._last: Rgb = (0.0, 0.0, 0.0)
        self._general = _Turns(step=LUMINANCE_STEP, most=GENERAL_CHANGES)
        self._red = _Turns(step=RED_STEP, most=RED_CHANGES)

    def feed(self, t: float, wanted: Rgb, *, urgent: bool = False) -> Rgb:
        """Return the light that may be sent at ``t``: the one wanted, or the last one again. See ``passes``."""
        if self.passes(t, wanted, urgent=urgent):
            self._last = wanted
        return self._last

    def passes(self, t: float, wanted: Rgb, *, urgent: bool = False) -> bool:
        """Tell whether a light may be sent at ``t``, and take it as sent; if not, the last one is to be sent again.

        Args:
            t: Seconds, rising from call to call.
            wanted: The light exactly as it would be sent, with every rounding on its way.
            urgent: Whether an operator wants it dark.
        """
        more = URGENT_CHANGES if urgent else 0
        general, red = general_measure(wanted), red_measure(wanted)
        if not (self._general.allows(t, general, more=more) and self._red.allows(t, red, more=more)):
            return False
        self._general.take(t, general)
        self._red.take(t, red)
        return True


class FailSafe:
    """What to do when audio or model are gone: hold, then fade slowly to a chosen look; never a sudden black.

    Args:
        hold_s: How long the last values stay as they are.
        fade_s: How long the way to the look takes, above 0.
        return_s: How long the way back takes, above 0.
    """

    def __init__(self, *, hold_s: float = 10.0, fade_s: float = 5.0, return_s: float = 1.0) -> None:
        if not (hold_s >= 0 and fade_s > 0 and return_s > 0):
            raise ValueError("hold_s is 0 or more, fade_s and return_s are above 0")
        self._hold_s = hold_s
        self._fade_s = fade_s
        self._return_s = return_s
        self._last_t: float | None = None
        self._lost_at: float | None = None
        self._share = 0.0

    def feed(self, t: float, *, alive: bool) -> float:
        """Return the share of the chosen look at ``t`` (seconds, rising): 0 is the music alone, 1 the look alone."""
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
    """Return luminance as far as its changes count: capped so that one between two light values never is a step."""
    return min(luminance(rgb), DARK_BELOW + LUMINANCE_STEP)


def red_measure(rgb: Rgb) -> float:
    """Return how much more red there is than all else, 0..1.

    WCAG looks at it only where red is at least 0.8 of the light; without that condition no red flash is missed, and
    nothing jumps at the limit.
    """
    return max(0.0, rgb[0] - rgb[1] - rgb[2])
