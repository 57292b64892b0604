"""What keeps light from doing harm: no jumps, no flashes that can hurt, no sudden dark. Pure: the time is given.

A *flash* is a pair of opposing changes of relative luminance by a tenth or more, where the darker one is below 0.8, or
one to and from saturated red. WCAG 2.3.1 ("Three flashes or below threshold", general and red flash) allows three in
any second; here it is fewer than three, and fewer still of red ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]
"""Red, green and blue as linear light, 0..1."""

GENERAL_FLASHES_PER_S = 2
RED_FLASHES_PER_S = 1
LUMINANCE_STEP = 0.1
DARK_BELOW = 0.8
RED_STEP = 20 / 320
"""Of R - G - B: WCAG says 20 where white is 320."""
SATURATED_RED = 0.8
"""Share of red from which on a colour counts as saturated red."""

_WINDOW_S = 1.0
_SEARCH_STEPS = 12
_MARGIN = 0.98
"""Of a step: so far may a value move without counting, with room for rounding on its way to a lamp."""


def luminance(rgb: Rgb) -> float:
    """Return relative luminance, 0..1 (ITU-R BT.709 primaries)."""
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


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
class _Swings:
    """Counts how often one measure of the light turns, and tells whether it may turn once more.

    Attributes:
        step: A change of this size counts.
        most: So many changes within a second are allowed.
        turn: The value at the last turning point, and the largest excursion from there in the direction it went.
        rising: Which way it went last; None before it went anywhere.
        times: When it turned, newest last.
    """

    step: float
    most: int
    turn: float = 0.0
    rising: bool | None = None
    times: deque[float] = field(default_factory=deque)

    def allows(self, t: float, value: float) -> bool:
        """Tell whether the measure may have this value at ``t``."""
        while self.times and t - self.times[0] >= _WINDOW_S:
            self.times.popleft()
        return not self._counts(value) or len(self.times) < self.most

    def take(self, t: float, value: float) -> None:
        """Take note of the value that was sent."""
        if self._counts(value):
            self.times.append(t)
            self.rising = value > self.turn
            self.turn = value
        elif self.rising is not None and (value > self.turn) == self.rising:
            self.turn = value  # further in the same direction: one change, however long it takes

    def _counts(self, value: float) -> bool:
        change = value - self.turn
        return abs(change) >= _MARGIN * self.step and (self.rising is None or (change > 0) != self.rising)


class FlashLimit:
    """Lets light change as it likes, but flash less often than could hurt; one for each light.

    A change that would be one flash too many is left half done, as far as it does not count, until it may go on.
    """

    def __init__(self) -> None:
        self._last: Rgb = (0.0, 0.0, 0.0)
        self._general = _Swings(step=LUMINANCE_STEP, most=2 * GENERAL_FLASHES_PER_S)
        self._red = _Swings(step=RED_STEP, most=2 * RED_FLASHES_PER_S)

    def feed(self, t: float, wanted: Rgb) -> Rgb:
        """Return the light that may be sent at ``t``, seconds, rising."""
        sent = wanted if self._allows(t, wanted) else self._nearest(t, wanted)
        self._general.take(t, _general_measure(sent))
        self._red.take(t, _red_measure(sent))
        self._last = sent
        return sent

    def _allows(self, t: float, rgb: Rgb) -> bool:
        return self._general.allows(t, _general_measure(rgb)) and self._red.allows(t, _red_measure(rgb))

    def _nearest(self, t: float, wanted: Rgb) -> Rgb:
        """Return how far one may go from the last light towards the wanted one."""
        low, high = 0.0, 1.0
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2
            if self._allows(t, _mix(self._last, wanted, middle)):
                low = middle
            else:
                high = middle
        return _mix(self._last, wanted, low)


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


def _general_measure(rgb: Rgb) -> float:
    """Luminance, as far as its changes count: those above ``DARK_BELOW`` alone do not."""
    return min(luminance(rgb), DARK_BELOW + LUMINANCE_STEP)


def _red_measure(rgb: Rgb) -> float:
    """How much saturated red there is, 0..1."""
    total = sum(rgb)
    if total <= 0 or rgb[0] / total < SATURATED_RED:
        return 0.0
    return max(0.0, rgb[0] - rgb[1] - rgb[2])


def _mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return red, green, blue
