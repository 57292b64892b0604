"""Where streams meet clients: every event is encoded once and put into the outbox of each client that wants it.

Thread-safe, and it knows neither sockets nor event loops: pipelines publish from their threads, and each client's
writer empties its own outbox wherever it runs.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream_mer.ports import EventSink
from stream_mer.serve import messages as wire
from stream_mer.serve.codec import MessageEncoder, encode, kind_of
from stream_mer.serve.outbox import Outbox, Parcel
from stream_mer.types import StreamEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What one client gets: a union of subscriptions, of which each names streams (empty for all) and kinds."""

    subscriptions: tuple[wire.Subscription, ...]

    def covers(self, stream: str, kind: str) -> bool:
        """Tell whether a message of this stream and kind is wanted."""
        return any(
            kind in wanted.events and (not wanted.streams or stream in wanted.streams) for wanted in self.subscriptions
        )


DEFAULT_INTEREST = Interest(subscriptions=(wire.Subscription(events=wire.EVENT_KINDS),))
"""The events of a client that asks for nothing in particular: all kinds that are on by default, of every stream."""


def grant(asked: Iterable[wire.Subscription] | None) -> Interest:
    """Return what of a wish can be granted: kinds that this server does not have are left out.

    ``max_hz`` is granted as null: nothing is held back yet.
    """
    if asked is None:
        return DEFAULT_INTEREST
    granted = []
    for wish in asked:
        events = tuple(kind for kind in wire.EVENT_KINDS if not wish.events or kind in wish.events)
        if events:
            granted.append(wire.Subscription(streams=wish.streams, events=events))
    return Interest(subscriptions=tuple(granted))


class Hub:
    """Joins the streams of this process to its clients and remembers the last value of each stream and kind.

    Args:
        clock: Seconds, monotonic; only for the age of what is remembered.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.session = secrets.token_hex(4)
        self._clock = clock
        # One lock for all: a new client must see either the snapshot with an event or the event, never both or none.
        self._lock = threading.Lock()
        self._encoders: dict[str, MessageEncoder] = {}
        self._last: dict[tuple[str, str], Parcel] = {}
        self._clients: dict[Outbox, Interest] = {}

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams, in the order of their sinks."""
        with self._lock:
            return tuple(self._encoders)

    @property
    def has_frames(self) -> bool:
        """True once any stream has published an emotion."""
        with self._lock:
            return any(kind == "emotion" for _, kind in self._last)

    @property
    def client_count(self) -> int:
        """How many clients get events."""
        with self._lock:
            return len(self._clients)

    def sink(self, stream: str) -> EventSink:
        """Return where the pipeline of this stream publishes, from any thread; it never waits for a client."""
        with self._lock:
            self._encoders.setdefault(stream, MessageEncoder(stream))
        return _StreamSink(self, stream)

    def publish(self, stream: str, event: StreamEvent) -> None:
        """Send an event of a stream that has a sink to every client that wants it."""
        with self._lock:
            message = self._encoders[stream].message(event)
            parcel = Parcel(
                stream=stream,
                kind=kind_of(message),
                message=message,
                data=encode(message),
                published_at=self._clock(),
            )
            self._last[stream, parcel.kind] = parcel
            for outbox, interest in self._clients.items():
                if interest.covers(stream, parcel.kind):
                    outbox.put(parcel)

    def attach(self, outbox: Outbox, interest: Interest, *, client_id: str | None = None) -> None:
        """Send events to a client from now on; once more for a client that is there already changes its interest.

        First the client gets what is known: with a ``client_id`` as the snapshot in a ``ready`` message, without one
        as the plain messages. The last ``change`` is left out there, because an old cue must not fire again.
        """
        with self._lock:
            known = [parcel for key, parcel in self._last.items() if interest.covers(*key)]
            if client_id is None:
                for parcel in known:
                    if parcel.kind != "change":
                        outbox.put(parcel)
            else:
                now = self._clock()
                snapshot = tuple(
                    wire.SnapshotEntry(age_s=round(max(0.0, now - parcel.published_at), 3), message=parcel.message)
                    for parcel in known
                )
                ready = wire.Ready(client_id=client_id, granted=interest.subscriptions, snapshot=snapshot)
                outbox.put_ordered(encode(ready))
            self._clients[outbox] = interest

    def detach(self, outbox: Outbox) -> None:
        """Send nothing more to a client; idempotent."""
        with self._lock:
            self._clients.pop(outbox, None)


class _StreamSink:
    """The hub as one pipeline sees it."""

    def __init__(self, hub: Hub, stream: str) -> None:
        self._hub = hub
        self._stream = stream

    def publish(self, event: StreamEvent) -> None:
        self._hub.publish(self._stream, event)
