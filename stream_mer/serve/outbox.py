"""What waits to be sent to one client: small, bounded, and nobody else's problem. No I/O, no event loop."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream_mer.serve import messages as wire
from stream_mer.serve.codec import encode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
    """A published message, encoded once and shared by all clients.

    Attributes:
        stream: Name of the stream.
        kind: The message's ``type``.
        message: The message.
        data: The same as JSON.
        published_at: The hub's clock, seconds.
    """

    stream: str
    kind: str
    message: wire.EventMessage
    data: bytes
    published_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStatistics:
    """Counts since the outbox was made.

    Attributes:
        waiting: Messages that wait now.
        taken: Messages handed to the writer.
        replaced: Latest-wins messages that a newer one replaced before they were taken.
        dropped: Ordered messages lost because too many waited.
    """

    waiting: int
    taken: int
    replaced: int
    dropped: int


class Outbox:
    """Messages for one client: put by any thread, taken by the one writer of the client.

    Of latest-wins kinds only the newest of each stream waits; it keeps the place in the line of the one that it
    replaces, so a busy stream cannot starve itself. All others wait in order, at most ``capacity`` of them; the oldest
    is dropped then, and the client is told by an ``error`` that is not fatal.

    Args:
        capacity: How many ordered messages may wait, at least 1.
        wake: Called, from the putting thread, when something waits and the writer rests: once until the writer has
            taken everything. Must not block.
    """

    def __init__(self, *, capacity: int, wake: Callable[[], None]) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._wake = wake
        self._lock = threading.Lock()
        self._places = itertools.count()
        self._ordered: deque[tuple[int, bytes]] = deque()
        # Dictionaries keep the order of insertion, and replacing a value keeps its place.
        self._latest: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._writer_rests = True
        self._taken = 0
        self._replaced = 0
        self._dropped = 0
        self._dropped_untold = 0

    def put(self, parcel: Parcel) -> None:
        """Add a message about a stream."""
        if parcel.kind in wire.LATEST_WINS:
            self._put_latest((parcel.stream, parcel.kind), parcel.data)
        else:
            self.put_ordered(parcel.data)

    def put_ordered(self, data: bytes) -> None:
        """Add a message for this client alone, in order."""
        with self._lock:
            if len(self._ordered) >= self._capacity:
                self._ordered.popleft()
                self._dropped += 1
                self._dropped_untold += 1
            self._ordered.append((next(self._places), data))
            wake = self._stop_rest()
        if wake:
            self._wake()

    def _put_latest(self, key: tuple[str, str], data: bytes) -> None:
        with self._lock:
            waiting = self._latest.get(key)
            if waiting is not None:
                self._replaced += 1
            self._latest[key] = (next(self._places) if waiting is None else waiting[0], data)
            wake = self._stop_rest()
        if wake:
            self._wake()

    def _stop_rest(self) -> bool:
        rested, self._writer_rests = self._writer_rests, False
        return rested

    def take(self) -> bytes | None:
        """Return the message whose turn it is; None when nothing waits, and then the next ``put`` wakes the writer."""
        with self._lock:
            data = self._next()
            if data is None:
                self._writer_rests = True
            else:
                self._taken += 1
            return data

    def _next(self) -> bytes | None:
        if self._dropped_untold:
            notice = _drop_notice(self._dropped_untold)
            self._dropped_untold = 0
            return notice
        key = next(iter(self._latest), None)
        if self._ordered and (key is None or self._ordered[0][0] < self._latest[key][0]):
            return self._ordered.popleft()[1]
        return None if key is None else self._latest.pop(key)[1]

    def statistics(self) -> OutboxStatistics:
        with self._lock:
            return OutboxStatistics(
                waiting=len(self._ordered) + len(self._latest),
                taken=self._taken,
                replaced=self._replaced,
                dropped=self._dropped,
            )


def _drop_notice(dropped: int) -> bytes:
    what = "1 message was" if dropped == 1 else f"{dropped} messages were"
    return encode(
        wire.Error(
            code=wire.CloseCode.TOO_SLOW,
            message=f"{what} dropped because this client reads too slowly; seq shows which.",
            fatal=False,
        )
    )
