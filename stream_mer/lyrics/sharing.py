"""Sharing of one recogniser among the streams of a process: who decodes next, how often, and what is done together.

``RecogniserShare`` grants turns, the earliest deadline first: the stream whose oldest audio has waited longest decodes
next. So with more streams than the recogniser can follow, the interval between two passes grows evenly for all.

Turns are granted to groups. The members of a group decode side by side, each in its own thread, and meet in
``DecodeGroup.meet`` for the steps that cost less together: generating text reads all weights for every token, whether
for one stream or for four.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from stream_mer.errors import SettingError

_log = logging.getLogger(__name__)

_SAY_EVERY_S = 60.0

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Slot:
    """What a member brings to a meeting, and takes from it."""

    item: Any
    result: Any = None
    error: Exception | None = None
    done: bool = False


class DecodeGroup:
    """Decodes that run side by side, and meet for the steps that are cheaper together.

    Args:
        size: Members, each a thread of its own that calls ``leave`` at its end.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        """Members at the start."""
        self._members = size
        self._changed = threading.Condition()
        self._waiting: list[_Slot] = []

    def meet(self, item: T, compute: Callable[[Sequence[T]], Sequence[R]]) -> R:
        """Wait until every other member is here or has left; one thread computes for all.

        Args:
            item: What this member brings.
            compute: Called with the items of all members; returns a result for each.

        Raises:
            Exception: Whatever ``compute`` raised, in every member.
        """
        slot = _Slot(item)
        batch: list[_Slot] = []
        with self._changed:
            self._waiting.append(slot)
            while not slot.done:
                if slot in self._waiting and len(self._waiting) == self._members:
                    batch, self._waiting = self._waiting, []
                    break
                self._changed.wait()
        if batch:
            self._compute(batch, compute)
        if slot.error is not None:
            raise slot.error
        result: R = slot.result
        return result

    def leave(self) -> None:
        """End this member's part; the others wait for it no longer."""
        with self._changed:
            self._members -= 1
            self._changed.notify_all()

    def _compute(self, batch: list[_Slot], compute: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        results: Sequence[Any] = ()
        error: Exception | None = None
        try:
            results = compute([slot.item for slot in batch])
        except Exception as raised:  # every member has to know
            error = raised
        with self._changed:
            for i, slot in enumerate(batch):
                slot.error, slot.result = error, None if error else results[i]
                slot.done = True
            self._changed.notify_all()


_current: ContextVar[DecodeGroup | None] = ContextVar("decode_group", default=None)


def current_group() -> DecodeGroup | None:
    """Return the group that this thread decodes in; None for a decode of its own."""
    return _current.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareSettings:
    """How streams share the recogniser.

    Attributes:
        lanes: Groups that decode side by side; as many as the recogniser has workers.
        max_group: Most streams of a group. A larger one costs less a stream, and each stream waits longer for it.
        max_cpu_share: Share of the time in which a lane decodes, above 0, at most 1. With 0.75, a lane rests a third of
            the duration of a decode after it, so that the emotion frames get their time.
    """

    lanes: int = 1
    max_group: int = 1
    max_cpu_share: float = 0.75

    def __post_init__(self) -> None:
        if not 0.0 < self.max_cpu_share <= 1.0:
            raise SettingError(
                f"the recogniser's share of the time must be above 0 and at most 1, not {self.max_cpu_share:g}"
            )
        if self.lanes < 1 or self.max_group < 1:
            raise SettingError(f"the recogniser needs a lane and a member, not {self.lanes} and {self.max_group}")

    def rest_s(self, decode_s: float) -> float:
        """Return how long to rest after a decode of ``decode_s`` seconds."""
        return decode_s * (1.0 / self.max_cpu_share - 1.0)


class Ticket:
    """A stream's place in the queue. Made by ``RecogniserShare.queue``."""

    def __init__(self, share: RecogniserShare, since_s: float) -> None:
        self._share = share
        self.since_s = since_s
        self.group: DecodeGroup | None = None
        self.lane: _Lane | None = None
        self.withdrawn = False

    def withdraw(self) -> None:
        """Give the place up, from any thread; a turn that was granted goes on."""
        self._share.withdraw(self)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait for the turn, and hold it within the block; False if the ticket was withdrawn before."""
        granted = self._share.wait(self)
        if not granted:
            yield False
            return
        token = _current.set(self.group)
        try:
            yield True
        finally:
            _current.reset(token)
            self._share.release(self)


@dataclass(slots=True, eq=False)
class _Lane:
    """A group at a time.

    Attributes:
        members: Those of the running group that have not finished.
        started_s: When it started.
        rests_until_s: No group starts before.
    """

    members: int = 0
    started_s: float = 0.0
    rests_until_s: float = field(default=float("-inf"))


class RecogniserShare:
    """Grants turns of the recogniser to streams, the earliest deadline first.

    Args:
        settings: Lanes, groups, rests.
        clock: Seconds, the same for all streams.
    """

    def __init__(self, settings: ShareSettings | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings or ShareSettings()
        self._clock = clock
        self._changed = threading.Condition()
        self._lanes = [_Lane() for _ in range(self._settings.lanes)]
        self._waiting: list[Ticket] = []
        self._lagging: set[object] = set()
        self._said_lagging = False
        self._said_s = float("-inf")

    def queue(self, *, waits_s: float) -> Ticket:
        """Queue a stream whose oldest audio that no decode covers came ``waits_s`` seconds ago."""
        with self._changed:
            ticket = Ticket(self, self._clock() - waits_s)
            self._waiting.append(ticket)
        return ticket

    def wait(self, ticket: Ticket) -> bool:
        """Wait until the ticket is granted; False if it is withdrawn."""
        with self._changed:
            while ticket.group is None and not ticket.withdrawn:
                self._grant()
                if ticket.group is None and not ticket.withdrawn:
                    self._changed.wait(self._next_rest_s())
            return ticket.group is not None

    def withdraw(self, ticket: Ticket) -> None:
        """See ``Ticket.withdraw``."""
        with self._changed:
            ticket.withdrawn = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._changed.notify_all()

    def release(self, ticket: Ticket) -> None:
        """End a turn. With the last of a group its lane rests."""
        if ticket.group is None or ticket.lane is None:
            return
        ticket.group.leave()
        with self._changed:
            lane = ticket.lane
            lane.members -= 1
            if not lane.members:
                now = self._clock()
                lane.rests_until_s = now + self._settings.rest_s(now - lane.started_s)
            self._changed.notify_all()

    def report(self, stream: object, *, lags: bool) -> None:
        """Note whether a stream lags. The log says when the first does and when none does any more, once a minute."""
        with self._changed:
            (self._lagging.add if lags else self._lagging.discard)(stream)
            now, count = self._clock(), len(self._lagging)
            if bool(count) == self._said_lagging or now - self._said_s < _SAY_EVERY_S:
                return
            self._said_lagging, self._said_s = bool(count), now
        if count:
            _log.warning("lyrics lag behind: more is sung at once than the recogniser can follow")
        else:
            _log.info("lyrics keep up again")

    def _grant(self) -> None:
        """Start groups in the lanes that are free; the lock is held."""
        now = self._clock()
        free = [lane for lane in self._lanes if not lane.members and lane.rests_until_s <= now]
        while free and self._waiting:
            size = min(-(-len(self._waiting) // len(free)), self._settings.max_group)
            self._waiting.sort(key=lambda ticket: ticket.since_s)
            members, self._waiting = self._waiting[:size], self._waiting[size:]
            lane, group = free.pop(), DecodeGroup(size)
            lane.members, lane.started_s = size, now
            for ticket in members:
                ticket.group, ticket.lane = group, lane
            self._changed.notify_all()

    def _next_rest_s(self) -> float | None:
        """Return how long the shortest rest lasts; None if no lane rests."""
        now = self._clock()
        rests = [lane.rests_until_s - now for lane in self._lanes if not lane.members]
        return max(min(rests), 0.0) if rests else None
