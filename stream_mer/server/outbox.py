"""What waits to be sent to one client: small, bounded, and nobody else's problem. No I/O, no event loop."""

from __future__ import annotations

import itertools
import math
import operator
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from stream_mer.server import messages as wire
from stream_mer.server.codec import encode

AGE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper ends of the classes in which the ages of messages are counted; one more class holds what is older."""

PRUNE_AT_LEAST = 64
"""So many times of next messages are kept before those that have passed are looked for."""

EARLY_SHARE = 0.25
"""So much of its interval may a message come early, so that a stream with the very rate asked for is not thinned."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
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
        taken: Messages handed to the writer.
        replaced: Latest-wins messages that a newer one replaced before they were taken.
        dropped: Ordered messages lost because too many waited.
        ages: How many messages about a stream were taken at which age, by ``AGE_BOUNDS_S``.
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
            ages=tuple(one + another for one, another in zip(self.ages, other.ages, strict=True)),
            age_sum_s=self.age_sum_s + other.age_sum_s,
        )

    def without_waiting(self) -> OutboxStatistics:
        """Return the counts of a client that is gone: nothing waits for it any more."""
        return replace(self, waiting=0)


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """A message on its way out.

    Attributes:
        place: Its place in the line.
        data: What is sent.
        published_at: When it was published; None for what is no message about a stream.
        parcel: The message; None for what nothing can replace.
        merged: How many messages it stands for.
        interval_s: No two of its kind come closer together than this.
    """

    place: int
    data: bytes
    published_at: float | None = None
    parcel: Parcel | None = None
    merged: int = 1
    interval_s: float = 0.0


class Outbox:
    """Messages for one client: put by any thread, taken by the one writer of the client.

    Of latest-wins kinds only the newest of each stream waits; it keeps the place in the line of the one that it
    replaces, so a busy stream cannot starve itself. With an interval it waits until its time has come. All others wait
    in order, at most ``capacity`` of them; the oldest is dropped then, and the client is told by an ``error`` that is
    not fatal. Answers to what the client asked for wait apart and are never dropped: whoever asks is held to a rate.

    Args:
        capacity: How many ordered messages may wait, at least 1.
        wake: Called, from the putting thread, when something waits and the writer rests: once until the writer has
            taken everything. Must not block.
        write_now: Sends a message past the outbox, for ``hand_over``; False if it cannot be sent at once.
        clock: Seconds, monotonic: that of the hub and of the writer's loop.
    """

    def __init__(
        self,
        *,
        capacity: int,
        wake: Callable[[], None],
        write_now: Callable[[bytes], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._wake = wake
        self._write_now = write_now
        self._clock = clock
        self._lock = threading.Lock()
        self._places = itertools.count()
        self._ordered: deque[_Waiting] = deque()
        self._asked: deque[_Waiting] = deque()
        # Dictionaries keep the order of insertion, and replacing a value keeps its place.
        self._latest: dict[tuple[str, str], _Waiting] = {}
        self._not_before: dict[tuple[str, str], float] = {}
        self._prune_at = PRUNE_AT_LEAST
        self._writer_rests = True
        self._alarm_at = math.inf
        self._taken = 0
        self._replaced = 0
        self._dropped = 0
        self._dropped_untold = 0
        self._ages = [0] * (len(AGE_BOUNDS_S) + 1)
        self._age_sum_s = 0.0

    def put(self, parcel: Parcel, *, interval_s: float = 0.0) -> None:
        """Add a message about a stream; of latest-wins kinds no two are taken closer together than ``interval_s``."""
        if parcel.kind in wire.LATEST_WINS:
            self._put_latest(parcel, interval_s)
        else:
            self._put_ordered(parcel)

    def hand_over(self, parcel: Parcel, *, interval_s: float = 0.0) -> None:
        """Send a message at once if nothing waits and the client keeps up; else put it. In the writer's thread only."""
        if interval_s == 0.0 and self._is_empty() and self._writer_rests and self._write_now(parcel.data):
            self._count(parcel.published_at)
        else:
            self.put(parcel, interval_s=interval_s)

    def put_all(self, messages: Iterable[bytes]) -> None:
        """Add messages for this client alone, in order, of which none is ever dropped: what it asked for."""
        with self._lock:
            self._asked.extend(_Waiting(place=next(self._places), data=data) for data in messages)
            wake = self._stop_rest()
        if wake:
            self._wake()

    def _put_ordered(self, parcel: Parcel) -> None:
        with self._lock:
            if len(self._ordered) >= self._capacity:
                self._ordered.popleft()
                self._dropped += 1
                self._dropped_untold += 1
            self._ordered.append(_Waiting(place=next(self._places), data=parcel.data, published_at=parcel.published_at))
            wake = self._stop_rest()
        if wake:
            self._wake()

    def _put_latest(self, parcel: Parcel, interval_s: float) -> None:
        key = (parcel.stream, parcel.kind)
        with self._lock:
            waiting = self._latest.get(key)
            if waiting is None:
                self._latest[key] = _Waiting(
                    place=next(self._places),
                    data=parcel.data,
                    published_at=parcel.published_at,
                    parcel=parcel,
                    interval_s=interval_s,
                )
            else:
                self._replaced += 1
                _replace(waiting, parcel, interval_s)
            # Whoever rests with an alarm for this message need not be woken for every one that replaces it.
            early = interval_s > 0 and self._not_before.get(key, -math.inf) >= self._alarm_at
            wake = not early and self._stop_rest()
        if wake:
            self._wake()

    def _stop_rest(self) -> bool:
        rested, self._writer_rests = self._writer_rests, False
        return rested

    def take(self) -> bytes | None:
        """Return the message whose turn it is; None when nothing is due.

        After None, and after the last message, the writer is at rest and the next ``put`` wakes it.
        """
        with self._lock:
            if self._dropped_untold:
                self._taken += 1
                notice = _drop_notice(self._dropped_untold)
                self._dropped_untold = 0
                return notice
            waiting = self._next(self._clock())
            if waiting is None:
                self._writer_rests = True
                self._alarm_at = min((self._not_before[key] for key in self._latest), default=math.inf)
                return None
            if self._is_empty():
                self._writer_rests, self._alarm_at = True, math.inf
            self._count(waiting.published_at)
            return waiting.data

    def _is_empty(self) -> bool:
        return not (self._latest or self._ordered or self._asked or self._dropped_untold)

    def _count(self, published_at: float | None) -> None:
        """Count a message that goes out now; only the writer's thread counts."""
        self._taken += 1
        if published_at is not None:
            age_s = self._clock() - published_at
            self._ages[bisect_left(AGE_BOUNDS_S, age_s)] += 1
            self._age_sum_s += age_s

    @property
    def is_at_rest(self) -> bool:
        """True if nothing is due and the next ``put`` wakes the writer: it need not ask again."""
        return self._writer_rests

    @property
    def alarm_at(self) -> float | None:
        """When the writer that found nothing is to look again though nobody wakes it, by the clock; None for never."""
        return None if math.isinf(self._alarm_at) else self._alarm_at

    def _next(self, now: float) -> _Waiting | None:
        key = self._due(now)
        line = self._ordered
        if self._asked and (not line or self._asked[0].place < line[0].place):
            line = self._asked
        if line and (key is None or line[0].place < self._latest[key].place):
            return line.popleft()
        if key is None:
            return None
        waiting = self._latest.pop(key)
        if waiting.interval_s > 0:
            planned = self._not_before.get(key, -math.inf)
            self._not_before[key] = max(planned, now - EARLY_SHARE * waiting.interval_s) + waiting.interval_s
            if len(self._not_before) >= self._prune_at:
                # What is due already says nothing more; without this, every stream that ever was would leave an entry.
                self._not_before = {one: due_at for one, due_at in self._not_before.items() if due_at > now}
                self._prune_at = max(PRUNE_AT_LEAST, 2 * len(self._not_before))
        return waiting

    def _due(self, now: float) -> tuple[str, str] | None:
        """Return the first latest-wins message whose time has come."""
        for key, waiting in self._latest.items():
            if waiting.interval_s == 0 or self._not_before.get(key, -math.inf) <= now:
                return key
        return None

    def statistics(self) -> OutboxStatistics:
        return total([self])


def total(outboxes: Iterable[Outbox]) -> OutboxStatistics:
    """Return the counts of many outboxes together; one pass, for a thousand must not hold up what is published."""
    waiting = taken = replaced = dropped = 0
    ages = [0] * (len(AGE_BOUNDS_S) + 1)
    age_sum_s = 0.0
    for outbox in outboxes:
        waiting += len(outbox._ordered) + len(outbox._asked) + len(outbox._latest)  # noqa: SLF001 - of this module
        taken += outbox._taken  # noqa: SLF001 - of this module
        replaced += outbox._replaced  # noqa: SLF001 - of this module
        dropped += outbox._dropped  # noqa: SLF001 - of this module
        ages = list(map(operator.add, ages, outbox._ages))  # noqa: SLF001 - of this module
        age_sum_s += outbox._age_sum_s  # noqa: SLF001 - of this module
    return OutboxStatistics(
        waiting=waiting, taken=taken, replaced=replaced, dropped=dropped, ages=tuple(ages), age_sum_s=age_sum_s
    )


def _replace(waiting: _Waiting, parcel: Parcel, interval_s: float) -> None:
    """Put a newer message in the place of one that waits; of levels the peaks survive."""
    message, old = parcel.message, waiting.parcel.message if waiting.parcel is not None else None
    if isinstance(message, wire.Levels) and isinstance(old, wire.Levels):
        merged = merge_levels(old, message, merged=waiting.merged)
        parcel = replace(parcel, message=merged, data=encode(merged))
        waiting.merged += 1
    waiting.parcel, waiting.data = parcel, parcel.data
    waiting.published_at, waiting.interval_s = parcel.published_at, interval_s


def merge_levels(older: wire.Levels, newer: wire.Levels, *, merged: int) -> wire.Levels:
    """Return the newer levels with what must not be lost of the older ones, which stand for ``merged`` messages."""
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
    return encode(
        wire.Error(
            code=wire.CloseCode.TOO_SLOW,
            message=f"{what} dropped because this client reads too slowly; seq shows which.",
            fatal=False,
        )
    )
