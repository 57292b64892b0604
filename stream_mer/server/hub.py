"""Where streams meet clients: every event is encoded once and put into the outbox of each client that wants it.

Thread-safe, and it knows neither sockets nor event loops: pipelines publish from their threads, and each client's
writer empties its own outbox wherever it runs.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stream_mer.ports import EventSink, OnEvent
from stream_mer.server import messages as wire
from stream_mer.server.codec import MessageEncoder, encode, kind_of
from stream_mer.server.delivery import Delivery, Reader
from stream_mer.server.history import History
from stream_mer.server.hold import Hold
from stream_mer.server.interest import Interest
from stream_mer.server.outbox import Outbox, OutboxStatistics, Parcel, total
from stream_mer.server.settings import HISTORY_MESSAGES
from stream_mer.types import ControlCommand, EmotionFrame, StreamEvent
from stream_mer.utils.log_limit import LimitedLog

logger = logging.getLogger(__name__)

MOST_REMOVED = 64
"""The counts of so many removed streams are kept, so that ``seq`` goes on if one of them comes again."""


class Watcher(Protocol):
    """Somebody who looks at everything that is published, such as the metrics; called in the publishing thread."""

    def see(self, message: wire.EventMessage) -> None: ...


Forget = Callable[[str], None]
"""Told of a stream that was removed: nothing that belongs to it need be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    """Counts since the hub was made.

    Attributes:
        clients: How many get events now.
        published: Messages by stream and kind, of the streams that are here.
        outboxes: Of all clients together, those that have gone among them; ``waiting`` of those that are here.
    """

    clients: int
    published: dict[tuple[str, str], int]
    outboxes: OutboxStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """Somebody who gets events.

    Attributes:
        interest: What it wants.
        via: What brings it to the outbox; None for the publishing thread itself.
    """

    interest: Interest
    via: Delivery | None = None


class Hub:
    """Joins the streams of this process to its clients and remembers the last messages of each stream and kind.

    Args:
        clock: Seconds, monotonic; for the age of what is remembered and for what an operator holds for a time.
        history_messages: How many messages of each stream and kind are remembered, at least 1.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        history_messages: int = HISTORY_MESSAGES,
    ) -> None:
        self.session = secrets.token_hex(4)
        self._clock = clock
        self._watchers: list[tuple[Watcher, Forget | None]] = []
        self._subscribers: list[tuple[OnEvent, Callable[[str], None] | None]] = []
        self._failures = LimitedLog(logger, clock=clock)
        self._had_frames = False
        self._levels_watched = False
        # One lock for all: a new client must see either the snapshot with an event or the event, never both or none.
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._encoders: dict[str, MessageEncoder] = {}
        self._removed: OrderedDict[str, MessageEncoder] = OrderedDict()
        self._holds: dict[str, Hold] = {}
        self._history = History(history_messages)
        self._clients: dict[Outbox, _Client] = {}
        # Who gets what, how often and in what way, worked out once for each stream and kind until somebody's interest
        # changes.
        self._readers: dict[tuple[str, str], dict[Delivery | None, list[Reader]]] = {}
        self._published: Counter[tuple[str, str]] = Counter()
        self._of_gone_clients = OutboxStatistics()

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams, in the order of their sinks."""
        with self._lock:
            return tuple(self._holds)

    @property
    def has_frames(self) -> bool:
        """True once any stream has published an emotion."""
        with self._lock:
            return self._had_frames

    @property
    def client_count(self) -> int:
        """How many clients get events."""
        with self._lock:
            return len(self._clients)

    def statistics(self) -> HubStatistics:
        with self._lock:
            outboxes = total(self._clients) + self._of_gone_clients
            return HubStatistics(clients=len(self._clients), published=dict(self._published), outboxes=outboxes)

    def watch(self, watcher: Watcher, *, levels: bool = False, forget: Forget | None = None) -> None:
        """Let somebody look at everything that is published from now on.

        Args:
            watcher: Called with each message; if it fails, that is logged, and everybody else gets the message.
            levels: Have levels measured, too.
            forget: Called with the name of each stream that is removed, after its last message.
        """
        with self._lock:
            self._watchers.append((watcher, forget))
            self._levels_watched = self._levels_watched or levels

    def subscribe(
        self, on_event: OnEvent, *, levels: bool = False, on_remove: Callable[[str], None] | None = None
    ) -> None:
        """Have a function called with every event that is published from now on.

        Args:
            on_event: Called with the name of the stream and the event, in the publishing thread; must not block. An
                exception is logged and affects nobody else.
            levels: Also have levels measured.
            on_remove: Called with the name of each stream that is removed, after its last event.
        """
        with self._lock:
            self._subscribers.append((on_event, on_remove))
            self._levels_watched = self._levels_watched or levels

    def sink(self, stream: str) -> EventSink:
        """Return where the pipeline of this stream publishes, from any thread; it never waits for a client."""
        with self._lock:
            if stream not in self._encoders:
                self._encoders[stream] = self._removed.pop(stream, MessageEncoder(stream))
            self._holds.setdefault(stream, Hold())
        return _StreamSink(self, stream)

    def remove(self, stream: str) -> None:
        """Forget a stream and all that belongs to it; idempotent.

        What is published to it from now on is dropped. Of the last ``MOST_REMOVED`` removed streams the counts are
        kept: should one of them come again, its ``seq`` goes on.
        """
        with self._lock:
            encoder = self._encoders.pop(stream, None)
            if encoder is None:
                return
            self._removed[stream] = encoder
            if len(self._removed) > MOST_REMOVED:
                self._removed.popitem(last=False)
            del self._holds[stream]
            self._history.forget(stream)
            for by_stream in (self._published, self._readers):
                for key in [key for key in by_stream if key[0] == stream]:
                    del by_stream[key]
            for _, forget in (*self._watchers, *self._subscribers):
                if forget is not None:
                    forget(stream)

    def shown(self, stream: str) -> EmotionFrame | None:
        """Return the frame of a stream that everybody sees now; None before the first."""
        with self._lock:
            return self._holds[stream].shown if stream in self._holds else None

    def publish(self, stream: str, event: StreamEvent) -> None:
        """Send an event of a stream that has a sink to every client that wants it; of another one it is dropped."""
        with self._lock:
            hold = self._holds.get(stream)
            if hold is None:  # removed, while its thread had something more to say
                return
            for shown in hold.pass_on(event, now=self._clock()):
                self._send(stream, shown)

    def control(self, command: ControlCommand, *, shown: EmotionFrame | None = None) -> None:
        """Let an operator hold the values of streams, or give them back; what changes is published at once.

        Names of streams that are not there are passed over.

        Args:
            command: What to do.
            shown: What to freeze at; None for what each stream shows now.
        """
        with self._lock:
            for stream in command.streams or tuple(self._holds):
                if stream in self._holds:
                    hold = self._holds[stream]
                    for event in hold.control(command.action, command.override, now=self._clock(), shown=shown):
                        self._send(stream, event)

    def expire(self) -> None:
        """End the overrides whose time is over; to be called again and again, for streams from which nothing comes."""
        with self._lock:
            for stream, hold in self._holds.items():
                try:
                    for event in hold.expire(now=self._clock()):
                        self._send(stream, event)
                except Exception as exc:  # the overrides of the other streams end all the same
                    self._failures.log(logging.ERROR, "hold", f"the override of {stream!r} could not end", error=exc)

    def is_wanted(self, stream: str, kind: str) -> bool:
        """Tell whether any client, or a watcher, wants such messages now."""
        with self._lock:
            return (kind == "levels" and self._levels_watched) or bool(self._readers_of(stream, kind))

    def attach(self, outbox: Outbox, interest: Interest, *, via: Delivery | None = None) -> None:
        """Send events to a client from now on, or others than before.

        First it gets the newest messages of everything that it did not want before, but of ``change``: an old cue must
        not fire again.
        """
        with self._lock:
            known = self._clients.get(outbox)
            before = Interest() if known is None else known.interest
            self._join(outbox, interest, via)
            news = self._history.newest(lambda *key: interest.wants(*key) and not before.wants(*key))
            outbox.put_all(parcel.data for parcel in news if parcel.kind != "change")

    def welcome(
        self,
        outbox: Outbox,
        interest: Interest,
        *,
        client_id: str,
        role: wire.Role,
        granted: Sequence[wire.Subscription],
        resume: wire.ResumePart | None = None,
        via: Delivery | None = None,
    ) -> None:
        """Answer ``identify``: send ``ready`` with the newest of everything, then what was missed, then every event."""
        with self._lock:
            self._join(outbox, interest, via)
            last_seq = resume.last_seq if resume is not None and resume.session == self.session else {}
            missed = self._history.missed(last_seq, interest.wants)
            now = self._clock()
            snapshot = tuple(
                wire.SnapshotEntry(age_s=round(max(0.0, now - parcel.published_at), 3), message=parcel.message)
                for parcel in self._history.newest(interest.wants)
                if (parcel.stream, parcel.kind) not in missed.keys
            )
            ready = wire.Ready(
                client_id=client_id,
                role=role,
                granted=tuple(granted),
                snapshot=snapshot,
                resumed=None if resume is None else missed.complete and resume.session == self.session,
            )
            outbox.put_all([encode(ready), *(parcel.data for parcel in missed.parcels)])

    def detach(self, outbox: Outbox) -> None:
        """Send nothing more to a client; idempotent."""
        with self._lock:
            if self._clients.pop(outbox, None) is not None:
                self._readers.clear()
                self._of_gone_clients += outbox.statistics().without_waiting()

    def _join(self, outbox: Outbox, interest: Interest, via: Delivery | None) -> None:
        if via is not None:
            via.settle()  # what was published before must not come after the answer
        self._clients[outbox] = _Client(interest=interest, via=via)
        self._readers.clear()

    def _send(self, stream: str, event: StreamEvent) -> None:
        message = self._encoders[stream].message(event)
        parcel = Parcel(
            number=next(self._numbers),
            stream=stream,
            kind=kind_of(message),
            message=message,
            data=encode(message),
            published_at=self._clock(),
        )
        self._published[stream, parcel.kind] += 1
        self._had_frames = self._had_frames or parcel.kind == "emotion"
        self._history.remember(parcel)
        for delivery, readers in self._readers_of(stream, parcel.kind).items():
            if delivery is not None:
                delivery.post(parcel, readers)
                continue
            for outbox, interval_s in readers:
                outbox.put(parcel, interval_s=interval_s)
        for on_event, _ in self._subscribers:
            try:
                on_event(stream, event)
            except Exception as exc:  # its trouble must not become that of the stream
                name = getattr(on_event, "__qualname__", type(on_event).__name__)
                self._failures.log(logging.ERROR, name, f"{name} failed with an event", error=exc)
        for watcher, _ in self._watchers:
            try:
                watcher.see(message)
            except Exception as exc:  # its trouble must not become that of the stream
                name = type(watcher).__name__
                self._failures.log(logging.ERROR, name, f"{name} failed with a message", error=exc)

    def _readers_of(self, stream: str, kind: str) -> dict[Delivery | None, list[Reader]]:
        key = (stream, kind)
        if key not in self._readers:
            readers: dict[Delivery | None, list[Reader]] = {}
            for outbox, client in self._clients.items():
                interval_s = client.interest.interval_s(stream, kind)
                if interval_s is not None:
                    readers.setdefault(client.via, []).append(Reader(outbox, interval_s))
            self._readers[key] = readers
        return self._readers[key]


class _StreamSink:
    """The hub as one pipeline sees it."""

    def __init__(self, hub: Hub, stream: str) -> None:
        self._hub = hub
        self._stream = stream

    def publish(self, event: StreamEvent) -> None:
        self._hub.publish(self._stream, event)
