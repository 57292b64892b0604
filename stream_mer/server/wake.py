"""The one door from the hub's threads into the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class LoopWaker:
    """Calls functions in one loop, asked from any thread, with at most one call on its way to the loop.

    ``call_soon_threadsafe`` alone is not bounded: a loop that stalls piles up a callback for each call. Here a stalled
    loop holds one callback and, because every outbox wakes its writer only once, one function for each client.

    Args:
        loop: Where the functions are called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """True once a call found the loop closed: nothing is called any more, and nothing kept."""
        return self._closed

    def wake(self, function: Callable[[], None]) -> None:
        """Have the function called soon; from any thread, without waiting. Does nothing once the loop is closed."""
        with self._lock:
            if self._closed:
                return
            on_its_way = bool(self._waiting)
            self._waiting.append(function)
        if not on_its_way:
            try:
                self._loop.call_soon_threadsafe(self._call_all)
            except RuntimeError:  # the loop is closed
                with self._lock:
                    self._closed = True
                    self._waiting.clear()

    def _call_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for function in waiting:
            try:
                function()
            except Exception:  # one client's trouble must not become that of those behind it
                logger.exception("a writer failed")
