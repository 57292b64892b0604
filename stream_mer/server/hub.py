"""Where streams meet clients: each event is encoded once and delivered to every client that subscribed to it.

Thread-safe, and it knows neither sockets nor event loops: pipelines publish from their threads, and a ``Dispatcher``
delivers in the event loop of the clients.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from stream_mer.config import HISTORY_MESSAGES
from stream_mer.event_json import MessageEncoder, encode, kind_of
from stream_mer.ports import EventSink, OnEvent
from stream_mer.server import messages as wire
from stream_mer.server.outbox import Dispatcher, Outbox, OutboxStatistics, QueuedMessage, Subscriber
from stream_mer.server.subscriptions import SubscriptionSet
from stream_mer.types import (
    CATEGORIES,
    CategoryChange,
    ControlAction,
    ControlCommand,
    EmotionFrame,
    HoldKind,
    OverrideValues,
    StreamEvent,
)
from stream_mer.utils.log_limit import LimitedLog

logger = logging.getLogger(__name__)

MAX_REMOVED = 64
"""``seq`` goes on if one of this many removed streams comes back."""

NOT_KEPT = frozenset({"levels"})
"""Kinds that are not kept in the history."""

OnRemove = Callable[[str], None]
Wanted = Callable[[str, str], bool]
"""Tells whether messages of a stream and a kind are wanted."""


class Override:
    """The override of one stream, whether one is in force or not: freeze, blackout, or other values.

    Overridden are the values of ``emotion`` and the cues of ``change``. The raw estimates (``EmotionFrame.raw``) go on
    meanwhile, so that ``resume`` shows live values again. A cue leads from one published category to another one;
    ``UNKNOWN`` is neither. The clock is given.
    """

    def __init__(self) -> None:
        self._kind: HoldKind | None = None
        self._until: float | None = None
        self._values: OverrideValues | None = None
        self._frozen: EmotionFrame | None = None
        self._live: EmotionFrame | None = None
        self._shown: EmotionFrame | None = None
        self._cued: str | None = None  # the category that was published last
        self._cued_since_t = 0.0  # and since when
        self._live_category: str | None = None  # the last one of the live frames
        self._touched = False  # until the first override, all cues are those of the pipeline

    @property
    def shown(self) -> EmotionFrame | None:
        """The newest published frame; None before the first."""
        return self._shown

    @property
    def until(self) -> float | None:
        """When it ends, by the clock of ``control``; None for never, or where none is in force."""
        return self._until

    def control(
        self,
        action: ControlAction,
        values: OverrideValues | None,
        *,
        now: float,
        shown: EmotionFrame | None = None,
    ) -> list[StreamEvent]:
        """Carry out a command.

        Args:
            action: What to do.
            values: The values for the action ``override``; None for all others.
            now: Any monotonic clock, seconds; the same one for all calls.
            shown: The frame to freeze; None for the newest published one.

        Returns:
            The events to publish now.
        """
        was = self._kind
        self._touched = True
        self._kind = None if action == "resume" else action
        self._values = values
        self._until = now + values.ttl_s if values is not None and values.ttl_s is not None else None
        self._frozen = (shown or self._shown) if action in {"freeze", "blackout"} else None
        if self._live is None or (was is None and self._kind is None):
            return []
        return self._show(self._live, now)

    def apply(self, event: StreamEvent, *, now: float) -> list[StreamEvent]:
        """Return the events to publish for an event of the pipeline."""
        match event:
            case EmotionFrame():
                self._live = event
                self._end_if_over(now)
                return self._show(event, now)
            case CategoryChange():
                return [] if self._kind is not None else self._pass_cue(event)
        return [event]

    def expire(self, *, now: float) -> list[StreamEvent]:
        """End an override whose time is over, though no frame comes; return the events to publish."""
        if not self._end_if_over(now) or self._live is None:
            return []
        return self._show(self._live, now)

    def _end_if_over(self, now: float) -> bool:
        is_over = self._until is not None and now >= self._until
        if is_over:
            self._kind = self._until = self._values = None
        return is_over

    def _pass_cue(self, event: CategoryChange) -> list[StreamEvent]:
        """Return the events to publish for a cue of the pipeline while no override is in force."""
        before = self._cued if self._touched and self._cued is not None else event.before
        if before == event.after or before not in CATEGORIES or event.after not in CATEGORIES:
            return []
        self._cued, self._cued_since_t = event.after, event.t
        return [event if before == event.before else replace(event, before=before)]

    def _show(self, live: EmotionFrame, now: float) -> list[StreamEvent]:
        last, frame = self._shown, self._overridden(live, now)
        self._shown = frame
        self._touched = self._touched or frame.hold is not None  # in a recording, by another operator
        live_before = self._live_category
        if live.category in CATEGORIES:
            self._live_category = live.category
        if frame.category not in CATEGORIES or frame.category == self._cued:
            return [frame]
        # The cues of live frames come from the pipeline, after them; only cues that an override makes are made here.
        is_live = frame.hold is None and (last is None or last.hold is None)
        if is_live and self._touched and live_before not in {None, self._live_category}:
            return [frame]
        before, since_t = self._cued, self._cued_since_t
        self._cued, self._cued_since_t = frame.category, live.t1
        if before is None or not self._touched:
            return [frame]
        dwell_s = max(0.0, live.t1 - since_t)
        return [frame, CategoryChange(t=live.t1, before=before, after=frame.category, dwell_s=dwell_s)]

    def _overridden(self, live: EmotionFrame, now: float) -> EmotionFrame:
        if self._kind is None:
            return live
        if self._values is not None:
            valence, arousal = self._values.valence, self._values.arousal
            category = quadrant(valence, arousal)
            return replace(
                live,
                valence=valence,
                arousal=arousal,
                category=category,
                confidence=1.0,
                probs={name: float(name == category) for name in CATEGORIES},
                hold=self._kind,
                hold_left_s=None if self._until is None else max(0.0, self._until - now),
            )
        if self._frozen is None:  # the command came before the first frame
            self._frozen = live
        return replace(
            live,
            valence=self._frozen.valence,
            arousal=self._frozen.arousal,
            category=self._frozen.category,
            confidence=self._frozen.confidence,
            probs=self._frozen.probs,
            hold=self._kind,
        )


def quadrant(valence: float, arousal: float) -> str:
    """Return the category whose quadrant a point lies in; zero counts as positive."""
    happy, angry, sad, relaxed = CATEGORIES
    if arousal >= 0:
        return happy if valence >= 0 else angry
    return relaxed if valence >= 0 else sad


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    """Counts since the hub was made.

    Attributes:
        clients: How many get events now.
        published: Messages by stream and kind, of the streams that exist.
        outboxes: Of all clients together, including those that have left; ``waiting`` without those.
    """

    clients: int
    published: dict[tuple[str, str], int]
    outboxes: OutboxStatistics


class History:
    """The newest messages of each stream and kind.

    Args:
        length: How many of each are kept, at least 1.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._kept: dict[tuple[str, str], deque[QueuedMessage]] = {}

    def add(self, message: QueuedMessage) -> None:
        """Keep a message, unless it is of a kind that is not kept."""
        if message.kind not in NOT_KEPT:
            self._kept.setdefault((message.stream, message.kind), deque(maxlen=self._length)).append(message)

    def remove(self, stream: str) -> None:
        """Drop all messages of a stream."""
        for key in [key for key in self._kept if key[0] == stream]:
            del self._kept[key]

    def newest(self, wanted: Wanted) -> list[QueuedMessage]:
        """Return the newest message of each wanted stream and kind."""
        return [kept[-1] for key, kept in self._kept.items() if wanted(*key)]

    def since(self, last_seq: Mapping[str, Mapping[str, int]], wanted: Wanted) -> tuple[list[QueuedMessage], bool]:
        """Return the messages after these numbers, of the streams and kinds that are named and wanted.

        Args:
            last_seq: The last ``seq`` that the client has seen, by stream and kind; -1 for none.
            wanted: Tells which messages the client wants.

        Returns:
            The messages in the order of publication, and whether they are complete: False where some is no longer
            kept, or the client claims to have seen what was never sent.
        """
        missed: list[QueuedMessage] = []
        complete = True
        for (stream, kind), kept in self._kept.items():
            last = last_seq.get(stream, {}).get(kind)
            if last is None or not wanted(stream, kind):
                continue
            missed.extend(message for message in kept if message.message.seq > last)
            oldest, newest = kept[0].message.seq, kept[-1].message.seq
            complete = complete and oldest <= max(last, -1) + 1 <= newest + 1
        missed.sort(key=lambda message: message.number)
        return missed, complete


@dataclass(frozen=True, slots=True)
class StreamSink:
    """Where the pipeline of one stream publishes."""

    publish: Callable[[StreamEvent], None]


class _EventSubscriber(NamedTuple):
    on_event: OnEvent
    on_remove: OnRemove | None
    levels: bool


class Hub:
    """Joins the streams of this process to its clients, and keeps the last messages of each stream and kind.

    Args:
        clock: Seconds, monotonic; for the age of messages and for overrides with an end.
        history_messages: How many messages of each stream and kind are kept, at least 1.

    Attributes:
        session: Random name of this run; ``seq`` starts anew with it.
        on_timed_override: Called in the commanding thread after an override with an end, so that ``expire`` is called
            in time. Must not block.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        history_messages: int = HISTORY_MESSAGES,
    ) -> None:
        self.session = secrets.token_hex(4)
        self.on_timed_override: Callable[[], None] = lambda: None
        self._clock = clock
        self._event_subscribers: list[_EventSubscriber] = []
        self._failures = LimitedLog(logger, clock=clock)
        self._had_frames = False
        self._levels_subscribed = False
        # One lock for all: a new client must see either the snapshot with an event or the event, never both or none.
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._encoders: dict[str, MessageEncoder] = {}
        self._removed: OrderedDict[str, MessageEncoder] = OrderedDict()
        self._overrides: dict[str, Override] = {}
        self._history = History(history_messages)
        self._clients: dict[Outbox, SubscriptionSet] = {}
        # Computed once for each stream and kind, until the subscriptions of any client change.
        self._subscribers: dict[tuple[str, str], dict[Dispatcher | None, list[Subscriber]]] = {}
        self._published: Counter[tuple[str, str]] = Counter()
        self._of_gone_clients = OutboxStatistics()

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams, in the order of their sinks."""
        with self._lock:
            return tuple(self._overrides)

    @property
    def has_frames(self) -> bool:
        """True once any stream has published a frame."""
        with self._lock:
            return self._had_frames

    def statistics(self) -> HubStatistics:
        """Return the counts; from any thread."""
        with self._lock:
            outboxes, gone, published = list(self._clients), self._of_gone_clients, dict(self._published)
        total = sum((outbox.statistics() for outbox in outboxes), start=gone)  # a thousand must not block publishing
        return HubStatistics(clients=len(outboxes), published=published, outboxes=total)

    def subscribe(self, on_event: OnEvent, *, levels: bool = False, on_remove: OnRemove | None = None) -> None:
        """Have a function called with every event that is published from now on.

        Args:
            on_event: Called with the name of the stream and the event, in the publishing thread; must not block. An
                exception is logged and does not affect other subscribers.
            levels: Also have levels measured.
            on_remove: Called with the name of each stream that is removed, after its last event.
        """
        with self._lock:
            self._event_subscribers.append(_EventSubscriber(on_event, on_remove, levels))
            self._levels_subscribed = self._levels_subscribed or levels

    def unsubscribe(self, on_event: OnEvent) -> None:
        """Call a function of ``subscribe`` no more; idempotent."""
        with self._lock:
            self._event_subscribers = [one for one in self._event_subscribers if one.on_event != on_event]
            self._levels_subscribed = any(one.levels for one in self._event_subscribers)

    def sink(self, stream: str) -> EventSink:
        """Return the sink of a stream, to be used from any thread; the stream is added if it is new."""
        with self._lock:
            if stream not in self._encoders:
                self._encoders[stream] = self._removed.pop(stream, MessageEncoder(stream))
            self._overrides.setdefault(stream, Override())
        return StreamSink(lambda event: self.publish(stream, event))

    def remove(self, stream: str) -> None:
        """Remove a stream and all that belongs to it; later events of it are dropped. Idempotent."""
        with self._lock:
            encoder = self._encoders.pop(stream, None)
            if encoder is None:
                return
            self._removed[stream] = encoder
            if len(self._removed) > MAX_REMOVED:
                self._removed.popitem(last=False)
            del self._overrides[stream]
            self._history.remove(stream)
            for by_stream in (self._published, self._subscribers):
                for key in [key for key in by_stream if key[0] == stream]:
                    del by_stream[key]
            for subscriber in self._event_subscribers:
                if subscriber.on_remove is not None:
                    subscriber.on_remove(stream)

    def shown(self, stream: str) -> EmotionFrame | None:
        """Return the newest published frame of a stream; None before the first."""
        with self._lock:
            return self._overrides[stream].shown if stream in self._overrides else None

    def publish(self, stream: str, event: StreamEvent) -> None:
        """Publish an event to every client that subscribed to it; events of a stream without a sink are dropped."""
        with self._lock:
            override = self._overrides.get(stream)
            if override is not None:
                for shown in override.apply(event, now=self._clock()):
                    self._deliver(stream, shown)

    def control(self, command: ControlCommand, *, shown: EmotionFrame | None = None) -> None:
        """Carry out an operator's command; changes are published immediately. Unknown streams are ignored.

        Args:
            command: What to do.
            shown: The frame to freeze; None for the newest published frame of each stream.
        """
        with self._lock:
            for stream in command.streams or tuple(self._overrides):
                if stream in self._overrides:
                    override = self._overrides[stream]
                    for event in override.control(command.action, command.override, now=self._clock(), shown=shown):
                        self._deliver(stream, event)
        if command.override is not None and command.override.ttl_s is not None:
            self.on_timed_override()

    def expire(self) -> float | None:
        """End the overrides whose time is over, though no frame comes.

        Returns:
            Time until the next one ends, seconds; None where none has an end.
        """
        with self._lock:
            for stream, override in self._overrides.items():
                try:
                    for event in override.expire(now=self._clock()):
                        self._deliver(stream, event)
                except Exception as exc:  # the overrides of the other streams end all the same
                    message = f"cannot end the override of {stream!r}"
                    self._failures.log(logging.ERROR, "override", message, error=exc)
            ends = [override.until for override in self._overrides.values() if override.until is not None]
            return min(ends) - self._clock() if ends else None

    def is_wanted(self, stream: str, kind: str) -> bool:
        """Tell whether any client or subscriber wants messages of this kind now."""
        with self._lock:
            return (kind == "levels" and self._levels_subscribed) or bool(self._subscribers_of(stream, kind))

    def levels_interval_s(self, stream: str) -> float:
        """Return the least time between two levels messages that anyone wants now, seconds; 0 for all of them."""
        with self._lock:
            if self._levels_subscribed:
                return 0.0
            subscribers = self._subscribers_of(stream, "levels").values()
            return min((one.interval_s for some in subscribers for one in some), default=0.0)

    def attach(self, outbox: Outbox, subscriptions: SubscriptionSet) -> None:
        """Send events to a client from now on, or replace its subscriptions.

        The newest messages of what it had not subscribed to before come first, except ``change``: an old cue must not
        fire again.
        """
        with self._lock:
            before = self._clients.get(outbox, SubscriptionSet())
            self._join(outbox, subscriptions)
            newest = self._history.newest(lambda *key: subscriptions.wants(*key) and not before.wants(*key))
            outbox.put_answers(message.data for message in newest if message.kind != "change")

    def welcome(
        self,
        outbox: Outbox,
        subscriptions: SubscriptionSet,
        *,
        client_id: str,
        role: wire.Role,
        granted: Sequence[wire.Subscription],
        resume: wire.ResumePart | None = None,
    ) -> None:
        """Answer ``identify``: send ``ready`` with the newest messages, then what was missed, then every event."""
        with self._lock:
            self._join(outbox, subscriptions)
            last_seq = resume.last_seq if resume is not None and resume.session == self.session else {}
            missed, complete = self._history.since(last_seq, subscriptions.wants)
            missed_keys = {(message.stream, message.kind) for message in missed}
            now = self._clock()
            snapshot = tuple(
                wire.SnapshotEntry(age_s=round(max(0.0, now - message.published_at), 3), message=message.message)
                for message in self._history.newest(subscriptions.wants)
                if (message.stream, message.kind) not in missed_keys
            )
            ready = wire.Ready(
                client_id=client_id,
                role=role,
                granted=tuple(granted),
                snapshot=snapshot,
                resumed=None if resume is None else complete and resume.session == self.session,
            )
            outbox.put_answers([encode(ready), *(message.data for message in missed)])

    def detach(self, outbox: Outbox) -> None:
        """Send nothing more to a client; idempotent."""
        with self._lock:
            if self._clients.pop(outbox, None) is not None:
                self._subscribers.clear()
                self._of_gone_clients += replace(outbox.statistics(), waiting=0)

    def _join(self, outbox: Outbox, subscriptions: SubscriptionSet) -> None:
        if outbox.dispatcher is not None:
            outbox.dispatcher.settle()  # what was published before must not come after the answer
        self._clients[outbox] = subscriptions
        self._subscribers.clear()

    def _deliver(self, stream: str, event: StreamEvent) -> None:
        message = self._encoders[stream].message(event)
        queued = QueuedMessage(
            number=next(self._numbers),
            stream=stream,
            kind=kind_of(message),
            message=message,
            data=encode(message),
            published_at=self._clock(),
        )
        self._published[stream, queued.kind] += 1
        self._had_frames = self._had_frames or queued.kind == "emotion"
        self._history.add(queued)
        for dispatcher, subscribers in self._subscribers_of(stream, queued.kind).items():
            if dispatcher is not None:
                dispatcher.post(queued, subscribers)
                continue
            for outbox, interval_s in subscribers:
                outbox.put(queued, interval_s=interval_s)
        for subscriber in self._event_subscribers:
            on_event = subscriber.on_event
            try:
                on_event(stream, event)
            except Exception as exc:  # must not become the failure of the stream
                name = getattr(on_event, "__qualname__", type(on_event).__name__)
                self._failures.log(logging.ERROR, name, f"{name} failed with an event", error=exc)

    def _subscribers_of(self, stream: str, kind: str) -> dict[Dispatcher | None, list[Subscriber]]:
        key = (stream, kind)
        if key not in self._subscribers:
            subscribers: dict[Dispatcher | None, list[Subscriber]] = {}
            for outbox, subscriptions in self._clients.items():
                interval_s = subscriptions.interval_s(stream, kind)
                if interval_s is not None:
                    subscribers.setdefault(outbox.dispatcher, []).append(Subscriber(outbox, interval_s))
            self._subscribers[key] = subscribers
        return self._subscribers[key]
