"""A bounded hand-off between two threads that counts what it drops."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")

WhenFull: TypeAlias = Literal["drop_oldest", "block"]


class MailboxClosed(Exception):  # noqa: N818 - it ends an iteration, as StopIteration does
    """The mailbox was closed, and (when reading) is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStatistics:
    """Counts since the mailbox was made."""

    waiting: int
    accepted: int
    dropped: int


class Mailbox(Generic[T]):
    """A bounded first-in first-out queue that either drops its oldest item or makes the writer wait.

    Args:
        capacity: How many items may wait, at least 1; with ``size``, no more come while those that wait have this size.
        when_full: ``"drop_oldest"`` for live input (the writer never waits), ``"block"`` for files (nothing is lost).
        size: Size of an item, above 0; 1 by default.
    """

    def __init__(self, *, capacity: float, when_full: WhenFull, size: Callable[[T], float] = lambda _: 1) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._size = size
        self._waiting: float = 0
        self._blocks = when_full == "block"
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._accepted = 0
        self._dropped = 0

    def set_when_full(self, when_full: WhenFull) -> None:
        """Change what happens from now on where the mailbox is full."""
        with self._changed:
            self._blocks = when_full == "block"
            self._changed.notify_all()

    def put(self, item: T) -> None:
        """Add an item.

        Raises:
            MailboxClosed: The mailbox was closed before or while waiting.
        """
        with self._changed:
            while self._blocks and not self._closed and self._waiting >= self._capacity:
                self._changed.wait()
            if self._closed:
                raise MailboxClosed
            if self._waiting >= self._capacity:
                self._waiting -= self._size(self._items.popleft())
                self._dropped += 1
            self._items.append(item)
            self._waiting += self._size(item)
            self._accepted += 1
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest item, waiting for one.

        Raises:
            MailboxClosed: Closed, and everything put before was taken.
            TimeoutError: Nothing came within ``timeout_s`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError
            if not self._items:
                raise MailboxClosed
            item = self._items.popleft()
            self._waiting = self._waiting - self._size(item) if self._items else 0
            self._changed.notify_all()
            return item

    @property
    def waiting(self) -> float:
        """Size of what waits."""
        return self._waiting

    def close(self) -> None:
        """Accept no more items; readers still get the queued ones. Idempotent, from any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                yield self.get()
            except MailboxClosed:
                return

    def statistics(self) -> MailboxStatistics:
        with self._changed:
            return MailboxStatistics(waiting=len(self._items), accepted=self._accepted, dropped=self._dropped)
