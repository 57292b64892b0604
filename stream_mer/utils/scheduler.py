"""Functions that are called at their time by an event loop, all by one timer."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tagging a file needs no event loop
    import asyncio

logger = logging.getLogger(__name__)

TICK_S = 0.02
"""Functions are called at multiples of this: at the nearest one to their time, half a tick early or late."""

MAX_INTERVAL_S = 0.2
"""Functions wait at most this long for others that are called together with them."""

MAX_TICKS = 64
"""Ticks that may wait, 1.3 s. Of a loop that stalls longer, the oldest are dropped."""

_ROUNDING = 0.01
"""Of a tick: timers may be early by the clock's resolution, and intervals are not exact."""


class TickScheduler:
    """Calls functions in an event loop when they are due, the oldest first.

    Waking a thread or a loop costs more than most of what it then does. So functions that are due at about the same
    time share one wake.

    Args:
        loop: The event loop; its clock is the one by which functions are due.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._lock = threading.Lock()  # of the attributes below
        self._ticks: dict[int, list[Callable[[], None]]] = {}
        self._wakes_at = math.inf  # the tick of the timer; minus infinity while a call is on its way

    def add(self, due: Iterable[tuple[float, Callable[[], None]]], *, interval_s: float = 0.0) -> None:
        """Call functions when they are due; from any thread, without waiting. Ignored once the loop is closed.

        Args:
            due: Times by the loop's clock, seconds, and functions. Those of one tick are called in the order in which
                they were added.
            interval_s: Time between two calls, seconds: functions wait for others that are due up to this much later,
                at most ``MAX_INTERVAL_S``. 0 for every tick.
        """
        step = max(1, int(min(interval_s, MAX_INTERVAL_S) / TICK_S + _ROUNDING))
        with self._lock:
            for at, function in due:
                tick = math.ceil(round(at / TICK_S) / step) * step
                self._ticks.setdefault(tick, []).append(function)
            while len(self._ticks) > MAX_TICKS:
                del self._ticks[min(self._ticks)]
            wakes = min(self._ticks, default=math.inf) < self._wakes_at
            if wakes:
                self._wakes_at = -math.inf
        if wakes:
            try:
                self._loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop is closed
                self._ticks.clear()

    def _run(self) -> None:
        """Call what is due, and set the timer for what is due next."""
        tick = math.floor(self._loop.time() / TICK_S + _ROUNDING)
        with self._lock:
            due = sorted(one for one in self._ticks if one <= tick)
            functions = [function for one in due for function in self._ticks.pop(one)]
        for function in functions:
            try:
                function()
            except Exception:  # must not affect the others
                logger.exception("a scheduled function failed")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            # After functions more are expected at once: a wake by another thread costs more than one in vain.
            self._wakes_at = min(self._ticks, default=tick + 1 if functions else math.inf)
            if self._wakes_at < math.inf:
                self._timer = self._loop.call_at(self._wakes_at * TICK_S, self._run)
