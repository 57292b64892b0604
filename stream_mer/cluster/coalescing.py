"""What waits to be sent to NATS, or to be read from it: bounded, and of what moves only the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from stream_mer.server.messages import LATEST_WINS

T = TypeVar("T")

WAITING_IN_ORDER = 1024
"""Events of ordered kinds that may wait, of all channels together, before the oldest is dropped."""


class Coalescer(Generic[T]):
    """A mailbox for many channels: put by any thread, taken by one reader.

    Of kinds of which only the newest counts one event of each channel waits, in the place in line of the one that it
    replaces. All others wait in order; the oldest is dropped when there are too many.

    Args:
        wake: Called, from the putting thread, when something waits and the reader rests. Must not block.
        capacity: How many events of the other kinds may wait.
    """

    def __init__(self, wake: Callable[[], None], capacity: int = WAITING_IN_ORDER) -> None:
        self._wake = wake
        self._capacity = capacity
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str], T] = {}
        self._ordered: deque[tuple[str, str, T]] = deque()
        self._reader_rests = True
        self.replaced = 0
        self.dropped = 0

    def put(self, channel: str, kind: str, event: T) -> None:
        """Add an event."""
        with self._lock:
            if kind in LATEST_WINS:
                self.replaced += (channel, kind) in self._latest
                self._latest[channel, kind] = event
            else:
                if len(self._ordered) >= self._capacity:
                    self._ordered.popleft()
                    self.dropped += 1
                self._ordered.append((channel, kind, event))
            rested, self._reader_rests = self._reader_rests, False
        if rested:
            self._wake()

    def take(self) -> tuple[str, str, T] | None:
        """Return the next event with its channel and kind, ordered ones first; None when nothing waits."""
        with self._lock:
            if self._ordered:
                return self._ordered.popleft()
            if self._latest:
                channel, kind = key = next(iter(self._latest))
                return channel, kind, self._latest.pop(key)
            self._reader_rests = True
            return None

    def waits(self, channel: str) -> bool:
        """Tell whether anything waits of a channel."""
        with self._lock:
            return any(key[0] == channel for key in self._latest) or any(one[0] == channel for one in self._ordered)

    def forget(self, channel: str) -> None:
        """Drop what waits of a channel."""
        with self._lock:
            for key in [key for key in self._latest if key[0] == channel]:
                del self._latest[key]
            self._ordered = deque(one for one in self._ordered if one[0] != channel)
