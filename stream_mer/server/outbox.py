"""From the publishing thread to the socket of one client.

``Dispatcher`` brings messages into the event loop, ``Outbox`` sends them or queues them for a client that is slow.
With a thousand clients, queueing each message for every client in the publishing thread costs more than sending it. So
the publishing thread hands over the message and its subscribers once; the loop writes it to every client that keeps up
and queues it for the others.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
import time
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stream_mer.event_json import encode
from stream_mer.server import messages as wire

logger = logging.getLogger(__name__)

AGE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the histogram of message ages, seconds; one more class holds older messages."""

PRUNE_AT_LEAST = 64
"""Times of next messages are pruned when there are this many, or twice as many as after the last pruning."""

EARLY_SHARE = 0.25
"""A message may be early by this share of its interval, so that a stream with exactly that rate is not thinned."""

MAX_POSTED = 32
"""Messages that may wait for the event loop. When it stalls longer, the publishing thread queues them itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueuedMessage:
    """A published message, encoded once and shared by all clients.

    Attributes:
        number: Counts the messages of the hub, over all streams and kinds.
        stream: Name of the stream.
        kind: The message's ``type``.
        message: The message.
        data: The same as JSON.
        published_at: The hub's clock, seconds.
    """

    number: int = 0
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
        taken: Messages handed to the socket.
        replaced: Latest-wins messages that a newer one replaced before they were taken.
        dropped: Ordered messages dropped because too many waited.
        ages: Number of messages about a stream by age when taken; classes end at ``AGE_BOUNDS_S``.
        age_sum_s: Sum of those ages, seconds.
    """

    waiting: int = 0
    taken: int = 0
    replaced: int = 0
    dropped: int = 0
    ages: tuple[int, ...] = (0,) * (len(AGE_BOUNDS_S) + 1)
    age_sum_s: float = 0.0

    def __add__(self, other: OutboxStatistics) -> OutboxStatistics:
        return OutboxStatistics(
            waiting=self.waiting + other.waiting,
            taken=self.taken + other.taken,
            replaced=self.replaced + other.replaced,
            dropped=self.dropped + other.dropped,
            ages=tuple(map(sum, zip(self.ages, other.ages, strict=True))),
            age_sum_s=self.age_sum_s + other.age_sum_s,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class _Entry:
    """A message in the queue.

    Attributes:
        data: What is sent.
        published: The message about a stream; None for an answer.
        merged: Number of levels messages that it stands for.
        interval_s: Minimum time between two messages of its stream and kind, seconds.
        ordered: True for a message that may be dropped when too many wait.
    """

    data: bytes
    published: QueuedMessage | None = None
    merged: int = 1
    interval_s: float = 0.0
    ordered: bool = False


class Outbox:
    """Messages for one client: put from any thread, written in the thread of the event loop.

    Of latest-wins kinds only the newest message of each stream waits, in the place of the one that it replaces; with an
    interval it waits until it is due. All other events keep their order, at most ``capacity`` of them; then the oldest
    is dropped, and an ``error`` that is not fatal says so. Answers to requests are never dropped: requests are limited
    in rate.

    Args:
        capacity: How many ordered messages may wait, at least 1.
        wake: Called, in the thread that puts, when something waits and the writer is idle: once until the queue is
            empty. Must not block.
        write: Writes messages to the socket; returns False, and writes nothing, if the client has no room.
        dispatcher: Delivers what the hub publishes; None to put it in the publishing thread.
        clock: Seconds, monotonic: that of the hub and of the event loop.

    Attributes:
        dispatcher: As above.
        unsent: The message for which the client had no room, while ``flush`` waits for it.

    Raises:
        ValueError: ``capacity`` is below 1.
    """

    def __init__(
        self,
        *,
        capacity: int,
        wake: Callable[[], None],
        write: Callable[[Sequence[bytes]], bool] = lambda _: False,
        dispatcher: Dispatcher | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.dispatcher = dispatcher
        self.unsent: bytes | None = None
        self._capacity = capacity
        self._wake = wake
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        # In order; a key whose value is replaced keeps its place. Keys are (stream, kind) for latest-wins messages,
        # numbers for all others. (A plain dictionary would get slow when items are removed from its front.)
        self._queue: OrderedDict[tuple[str, str] | int, _Entry] = OrderedDict()
        self._numbers = itertools.count()
        self._ordered = 0
        self._not_before: dict[tuple[str, str] | int, float] = {}
        self._prune_at = PRUNE_AT_LEAST
        self._idle = True
        self._alarm_at = math.inf
        self._taken = self._replaced = self._dropped = self._unreported = 0
        self._ages = [0] * (len(AGE_BOUNDS_S) + 1)
        self._age_sum_s = 0.0

    def send(self, messages: Sequence[QueuedMessage], *, interval_s: float = 0.0) -> None:
        """Write messages at once if nothing waits and the client has room; else put them. In the loop's thread only."""
        idle = interval_s == 0.0 and self.unsent is None and self._idle and not self._queue and not self._unreported
        if idle and self._write([message.data for message in messages]):
            for message in messages:
                self._count(message)
        else:
            for message in messages:
                self.put(message, interval_s=interval_s)

    def put(self, message: QueuedMessage, *, interval_s: float = 0.0) -> None:
        """Queue a message about a stream; from any thread.

        Args:
            message: The message.
            interval_s: Minimum time between two messages of its stream and kind, seconds; for latest-wins kinds.
        """
        with self._lock:
            early = False
            if message.kind in wire.LATEST_WINS:
                early = self._put_latest(message, interval_s)
            else:
                self._put_ordered(message)
            # A writer with an alarm for this message need not be woken for every one that replaces it.
            wake = not early and self._stop_idling()
        if wake:
            self._wake()

    def put_answers(self, answers: Iterable[bytes]) -> None:
        """Queue messages that this client requested, in order; none is ever dropped. From any thread."""
        with self._lock:
            for data in answers:
                self._queue[next(self._numbers)] = _Entry(data=data)
            wake = self._stop_idling()
        if wake:
            self._wake()

    def flush(self) -> None:
        """Write what is due until the client has no room; then ``unsent`` is set. In the loop's thread only."""
        while self.unsent is None and (data := self.take()) is not None:
            if not self._write([data]):
                self.unsent = data
            elif self._idle:
                return

    def close(self) -> None:
        """Write nothing any more."""
        self._write = lambda _: False

    def take(self) -> bytes | None:
        """Return the next message that is due; None if there is none.

        After None, and after the last message, the writer counts as idle and the next ``put`` wakes it.
        """
        with self._lock:
            if self._unreported:
                self._taken += 1
                notice, self._unreported = _drop_notice(self._unreported), 0
                return notice
            entry = self._next(self._clock())
            if entry is None:
                self._idle = True
                self._alarm_at = min((self._not_before[key] for key in self._queue), default=math.inf)
                return None
            if not self._queue:
                self._idle, self._alarm_at = True, math.inf
            self._count(entry.published)
            return entry.data

    @property
    def alarm_at(self) -> float | None:
        """When to call ``flush`` again though nothing wakes the writer, by the clock; None for never."""
        return None if math.isinf(self._alarm_at) else self._alarm_at

    def statistics(self) -> OutboxStatistics:
        """Return the counts; from any thread."""
        return OutboxStatistics(
            waiting=len(self._queue),
            taken=self._taken,
            replaced=self._replaced,
            dropped=self._dropped,
            ages=tuple(self._ages),
            age_sum_s=self._age_sum_s,
        )

    def _put_latest(self, message: QueuedMessage, interval_s: float) -> bool:
        """Queue a latest-wins message; return True if it is due no earlier than the writer's alarm."""
        key = (message.stream, message.kind)
        entry = self._queue.get(key)
        if entry is None:
            self._queue[key] = _Entry(data=message.data, published=message, interval_s=interval_s)
        else:
            self._replaced += 1
            _replace(entry, message, interval_s)
        return interval_s > 0 and self._not_before.get(key, -math.inf) >= self._alarm_at

    def _put_ordered(self, message: QueuedMessage) -> None:
        if self._ordered >= self._capacity:
            del self._queue[next(key for key, entry in self._queue.items() if entry.ordered)]
            self._ordered -= 1
            self._dropped += 1
            self._unreported += 1
        self._queue[next(self._numbers)] = _Entry(data=message.data, published=message, ordered=True)
        self._ordered += 1

    def _stop_idling(self) -> bool:
        was_idle, self._idle = self._idle, False
        return was_idle

    def _next(self, now: float) -> _Entry | None:
        for key, entry in self._queue.items():
            if entry.interval_s == 0 or self._not_before.get(key, -math.inf) <= now:
                break
        else:
            return None
        del self._queue[key]
        self._ordered -= entry.ordered
        if entry.interval_s > 0:
            planned = self._not_before.get(key, -math.inf)
            self._not_before[key] = max(planned, now - EARLY_SHARE * entry.interval_s) + entry.interval_s
            if len(self._not_before) >= self._prune_at:  # else every stream that ever was would leave an entry
                self._not_before = {one: due_at for one, due_at in self._not_before.items() if due_at > now}
                self._prune_at = max(PRUNE_AT_LEAST, 2 * len(self._not_before))
        return entry

    def _count(self, published: QueuedMessage | None) -> None:
        """Count a message that is sent now; in the loop's thread only."""
        self._taken += 1
        if published is not None:
            age_s = self._clock() - published.published_at
            self._ages[bisect_left(AGE_BOUNDS_S, age_s)] += 1
            self._age_sum_s += age_s


def _replace(entry: _Entry, message: QueuedMessage, interval_s: float) -> None:
    """Put a newer message in the place of one that waits; the peaks of levels are kept."""
    newer, older = message.message, entry.published.message if entry.published is not None else None
    if isinstance(newer, wire.Levels) and isinstance(older, wire.Levels):
        merged = merge_levels(older, newer, merged=entry.merged)
        message = replace(message, message=merged, data=encode(merged))
        entry.merged += 1
    entry.data, entry.published, entry.interval_s = message.data, message, interval_s


def merge_levels(older: wire.Levels, newer: wire.Levels, *, merged: int) -> wire.Levels:
    """Return the newer levels with the peaks and the energy of the older ones, which stand for ``merged`` messages."""
    energy = (merged * 10 ** (older.rms_db / 10) + 10 ** (newer.rms_db / 10)) / (merged + 1)
    return wire.Levels(
        stream=newer.stream,
        seq=newer.seq,
        t=newer.t,
        rms_db=round(10 * math.log10(energy), 2),
        peak_db=max(older.peak_db, newer.peak_db),
        onset=max(older.onset, newer.onset),
    )


def _drop_notice(dropped: int) -> bytes:
    what = "1 message was" if dropped == 1 else f"{dropped} messages were"
    message = f"{what} dropped because this client reads too slowly; seq shows which."
    return encode(wire.Error(code=wire.CloseCode.TOO_SLOW, message=message, fatal=False))


class Subscriber(NamedTuple):
    """A client that gets a message.

    Attributes:
        outbox: Its outbox.
        interval_s: As in ``Outbox.put``.
    """

    outbox: Outbox
    interval_s: float


class Dispatcher:
    """Runs deliveries and other functions in one event loop, requested from any thread.

    ``call_soon_threadsafe`` alone is not bounded: a loop that stalls would pile up a callback for each message. Here a
    stalled loop holds one callback, ``MAX_POSTED`` messages, and one function for each outbox.

    Args:
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()  # of the three attributes below
        self._functions: list[Callable[[], None]] = []
        self._scheduled = False
        self._closed = False
        self._posted: deque[tuple[QueuedMessage, Sequence[Subscriber]]] = deque()
        # Held while messages are delivered, so that a later one cannot overtake them in another thread.
        self._turn = threading.Lock()
        self._loop_thread: int | None = None

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function in the loop soon; from any thread, without waiting. Ignored once the loop is closed."""
        with self._lock:
            if self._closed:
                return
            self._functions.append(function)
        self._schedule()

    def post(self, message: QueuedMessage, subscribers: Sequence[Subscriber]) -> None:
        """Deliver a message soon; from any thread, but one at a time. Ignored once the loop is closed."""
        if self._closed:
            return
        self._posted.append((message, subscribers))
        if len(self._posted) <= MAX_POSTED:
            self._schedule()
        elif self._is_in_loop():
            self._send_posted()
        else:
            self.settle()

    def settle(self) -> None:
        """Queue everything that was posted now; from any thread."""
        while self._posted:
            with self._turn:
                for messages, subscribers in self._pop():
                    for message in messages:
                        for outbox, interval_s in subscribers:
                            outbox.put(message, interval_s=interval_s)

    def _schedule(self) -> None:
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        try:
            if self._is_in_loop():  # which need not be woken
                self._loop.call_soon(self._run)
            else:
                self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:  # the loop is closed
            with self._lock:
                self._closed = True
                self._functions.clear()
                self._posted.clear()

    def _is_in_loop(self) -> bool:
        return threading.get_ident() == self._loop_thread

    def _run(self) -> None:
        self._loop_thread = threading.get_ident()
        with self._lock:
            self._scheduled = False
            functions, self._functions = self._functions, []
        self._send_posted()
        for function in functions:
            try:
                function()
            except Exception:
                logger.exception("a callback of the event loop failed")

    def _send_posted(self) -> None:
        while self._posted:
            with self._turn:
                for messages, subscribers in self._pop():
                    for outbox, interval_s in subscribers:
                        try:
                            outbox.send(messages, interval_s=interval_s)
                        except Exception:  # one client's failure must not affect those behind it
                            logger.exception("cannot send to a client")

    def _pop(self) -> Iterable[tuple[list[QueuedMessage], Sequence[Subscriber]]]:
        """Return the next message and its subscribers, or several together that have few."""
        if not self._posted:  # the other thread has taken it in the meantime
            return ()
        message, subscribers = self._posted.popleft()
        n_sent = len(subscribers)
        if not self._posted or n_sent + len(self._posted[0][1]) > MAX_POSTED:
            return [([message], subscribers)]
        together = {subscriber: [message] for subscriber in subscribers}
        while self._posted and (n_sent := n_sent + len(self._posted[0][1])) <= MAX_POSTED:
            message, subscribers = self._posted.popleft()
            for subscriber in subscribers:
                together.setdefault(subscriber, []).append(message)
        return [(messages, [subscriber]) for subscriber, messages in together.items()]
