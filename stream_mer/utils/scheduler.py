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
"""Time between two calls of the timer. What is due is called at the nearest tick: half a tick early or late."""

MAX_TICKS = 64
"""Ticks that may wait, 1.3 s. Of a loop that stalls longer, the oldest are dropped."""

LINGER_TICKS = 8
"""The timer goes on for this many ticks without a call: starting it again from another thread costs more."""


class TickScheduler:
    """Calls functions in an event loop when they are due, the oldest first.

    Waking a thread or a loop costs more than most of what it then does. So functions that are due at about the same
    time share one wake.

    Args:
        loop: The event loop; its clock is the one by which functions are due.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()  # of the attributes below
        self._ticks: dict[int, list[Callable[[], None]]] = {}
        self._is_running = False
        self._idle_ticks = 0

    def add(self, due: Iterable[tuple[float, Callable[[], None]]]) -> None:
        """Call functions, each at its time by the loop's clock, seconds; from any thread, without waiting.

        Those of one tick are called in the order in which they were added. Ignored once the loop is closed.
        """
        with self._lock:
            for at, function in due:
                self._ticks.setdefault(round(at / TICK_S), []).append(function)
            while len(self._ticks) > MAX_TICKS:
                del self._ticks[min(self._ticks)]
            starts, self._is_running = not self._is_running, True
        if starts:
            try:
                self._loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop is closed
                with self._lock:
                    self._ticks.clear()

    def _run(self) -> None:
        """Call what is due, and set the timer for the next tick."""
        tick = math.floor(self._loop.time() / TICK_S + 0.01)  # a timer may be early by the clock's resolution
        for function in self._take(tick):
            try:
                function()
            except Exception:  # must not affect the others
                logger.exception("a scheduled function failed")
        with self._lock:
            self._is_running = bool(self._ticks) or self._idle_ticks < LINGER_TICKS
            if self._is_running:
                self._loop.call_at((tick + 1) * TICK_S, self._run)

    def _take(self, tick: int) -> list[Callable[[], None]]:
        """Return the functions of all ticks up to this one."""
        with self._lock:
            due = sorted(one for one in self._ticks if one <= tick)
            self._idle_ticks = 0 if due else self._idle_ticks + 1
            return [function for one in due for function in self._ticks.pop(one)]
