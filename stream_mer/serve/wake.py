"""The one door from the hub's threads into the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class LoopWaker:
    """Sets events of one loop from any thread, with at most one call on its way to the loop.

    ``call_soon_threadsafe`` alone is not bounded: a loop that stalls piles up a callback for each call. Here a stalled
    loop holds one callback and, because every outbox wakes its writer only once, one event for each client.

    Args:
        loop: Where the events are set.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._events: list[asyncio.Event] = []

    def wake(self, event: asyncio.Event) -> None:
        """Set the event soon; from any thread, without waiting. Does nothing once the loop is closed."""
        with self._lock:
            on_its_way = bool(self._events)
            self._events.append(event)
        if not on_its_way:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._set_all)

    def _set_all(self) -> None:
        with self._lock:
            events, self._events = self._events, []
        for event in events:
            event.set()
