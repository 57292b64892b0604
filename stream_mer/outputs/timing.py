"""When an output is called, and when it is tried again after an error. Pure: the time is given."""

from __future__ import annotations

import math


class Ticks:
    """Absolute deadlines at a steady rate: no drift, and no catching up.

    Args:
        rate_hz: Deadlines in one second, above 0.
        start: The first one, seconds on any clock.
    """

    def __init__(self, rate_hz: float, *, start: float) -> None:
        if not (0 < rate_hz < math.inf):
            raise ValueError(f"a rate is above 0 a second, not {rate_hz}")
        self._rate_hz = rate_hz
        self._start = start
        self._next = 0
        self.skipped = 0
        """Deadlines that had passed before anybody could keep them."""

    def after(self, now: float) -> float:
        """Return the next deadline that has not been given yet; of those that lie before ``now`` none but the newest.

        So a deadline in the past means: at once.
        """
        newest = math.floor((now - self._start) * self._rate_hz)
        if newest > self._next:
            self.skipped += newest - self._next
            self._next = newest
        deadline = self._start + self._next / self._rate_hz
        self._next += 1
        return deadline


class Backoff:
    """How long to wait before the next try: longer after each failure, short again after a calm time.

    Args:
        first_s: The first wait.
        longest_s: No wait is longer.
        calm_s: What worked for so long fails for the first time again.
    """

    def __init__(self, *, first_s: float = 0.25, longest_s: float = 8.0, calm_s: float = 10.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._calm_s = calm_s
        self._wait_s = first_s

    def failed(self, worked_s: float) -> float:
        """Return the wait after a failure, seconds.

        Args:
            worked_s: How long it had worked before, seconds; 0 if it had not.
        """
        if worked_s >= self._calm_s:
            self._wait_s = self._first_s
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, self._longest_s)
        return wait_s
