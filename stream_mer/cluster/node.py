"""A serving node: the events of all channels, fenced, into a hub as if they were computed here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import msgspec

from stream_mer.cluster.bus import LATEST, LINES, Bus, CoalescingQueue, end_tasks, run_together
from stream_mer.cluster.records import (
    EVENT_SUBJECTS,
    EVENT_TYPES,
    OVERRIDES,
    Entry,
    Envelope,
    Override,
    decode_override,
    encode,
    kind_of,
    name_of,
    split_subject,
    token_of,
    unseal,
    wanted_subject,
)
from stream_mer.cluster.state import ClusterState
from stream_mer.config import NatsSettings
from stream_mer.errors import ClusterError
from stream_mer.server.hub import Hub
from stream_mer.server.messages import OverridePart, override_values
from stream_mer.types import ControlCommand, EmotionFrame, SourceState, StreamEvent, StreamStatus
from stream_mer.utils.log_limit import LimitedLog
from stream_mer.utils.threads import in_thread

log = logging.getLogger(__name__)

SHARE_RETRY_S = 0.25


class SharedHub(Hub):
    """A hub whose operators' commands take effect here immediately and are shared with all other nodes.

    Args:
        history_messages: As in ``Hub``.
    """

    def __init__(self, *, history_messages: int) -> None:
        super().__init__(history_messages=history_messages)
        self.overrides: Overrides | None = None

    def control(self, command: ControlCommand, *, shown: EmotionFrame | None = None) -> None:
        """As in ``Hub``."""
        super().control(command, shown=shown)
        if self.overrides is not None:
            for stream in command.streams or self.streams:
                self.overrides.share(stream, command)

    def apply(self, command: ControlCommand, *, shown: EmotionFrame | None) -> None:
        """Carry out a command that an operator gave at another node."""
        super().control(command, shown=shown)


class Overrides:
    """Shares the commands given at this node, and applies those given at others.

    All nodes end up with the command that NATS received last. While NATS cannot be reached, those of this node count
    here: a blackout must not wait.

    Args:
        bus: The connection.
        hub: Carries the commands out.
    """

    def __init__(self, bus: Bus, hub: SharedHub) -> None:
        self._bus = bus
        self._hub = hub
        self._unshared: dict[str, Override] = {}
        self._queued = asyncio.Event()
        self._in_force: dict[str, bytes] = {}
        self._kept: dict[str, Entry] = {}
        self._limited = LimitedLog(log)
        self._loop = asyncio.get_running_loop()
        hub.overrides = self

    def share(self, stream: str, command: ControlCommand) -> None:
        """Send a command to the other nodes soon; from any thread."""
        frozen = command.action in {"freeze", "blackout"}
        values = msgspec.convert(command.override, OverridePart | None, from_attributes=True)
        override = Override(action=command.action, override=values, shown=self._hub.shown(stream) if frozen else None)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and this node with it
            self._loop.call_soon_threadsafe(self._queue, stream, override)

    def _queue(self, stream: str, override: Override) -> None:
        token = token_of(stream)
        self._unshared[token] = override
        if override.action == "resume":
            self._in_force.pop(token, None)
        else:
            self._in_force[token] = encode(override)
        self._queued.set()

    async def run(self) -> None:
        """Share and apply commands, forever."""
        await run_together(
            self._bus.follow(OVERRIDES, on_snapshot=self._on_snapshot, on_change=self._on_change),
            self._share_loop(),
        )

    def begin(self, stream: str) -> None:
        """Apply what is in force for a new stream."""
        token = token_of(stream)
        if token in self._kept:
            self._on_change(token, self._kept[token])

    async def _share_loop(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            for token, override in list(self._unshared.items()):
                try:
                    await self._store(token, override)
                except ClusterError as exc:
                    message = f"{override.action} of {token} is not shared with other nodes yet: {exc}"
                    self._limited.log(logging.WARNING, f"{token} unshared", message)
                    continue
                if self._unshared.get(token) is override:
                    del self._unshared[token]
            if self._unshared:
                await asyncio.sleep(SHARE_RETRY_S)
                self._queued.set()

    async def _store(self, token: str, override: Override) -> None:
        if override.action == "resume":
            await self._bus.remove(OVERRIDES, token)
            return
        ttl_s = override.override.ttl_s if override.override is not None else None
        await self._bus.put(OVERRIDES, token, encode(override), ttl_s=ttl_s)

    def _on_snapshot(self, entries: dict[str, Entry]) -> None:
        self._kept = {}
        for token in [token for token in self._in_force if token not in entries]:
            self._on_change(token, None)
        for token, entry in entries.items():
            self._on_change(token, entry)

    def _on_change(self, token: str, entry: Entry | None) -> None:
        if entry is None:
            self._kept.pop(token, None)
        else:
            self._kept[token] = entry
        stream = name_of(token)
        if token in self._unshared or stream is None or stream not in self._hub.streams:
            return  # our own command is newer, or the stream is not served here
        if entry is None:
            if self._in_force.pop(token, None) is not None:
                self._hub.apply(ControlCommand(action="resume", streams=(stream,)), shown=None)
            return
        if self._in_force.get(token) == entry.value:
            return
        self._in_force[token] = entry.value
        try:
            override = decode_override(entry.value)
            values = override_values(override.override)
            command = ControlCommand(action=override.action, streams=(stream,), override=values)
            self._hub.apply(command, shown=override.shown)
        except ClusterError as error:
            self._limited.log(logging.ERROR, stream, f"{stream}: {error}; ignoring it")
        except Exception as error:  # must not affect the other channels
            message = f"{stream}: a command of an operator at another node failed: {error}"
            self._limited.log(logging.ERROR, stream, message, error=error)


log = logging.getLogger(__name__)

STALLED_AFTER_S = 3.0
LOST_AFTER_S = 0.75
"""A channel that moves from one worker to the next has no owner for a moment, which is not reported."""

POLL_S = 0.25
WANTED_EVERY_S = 1.0
LOSSES_EVERY_S = 10.0
BATCH = 64
"""Events published before other tasks run, such as those that write to clients."""

EPOCH_AHEAD_S = 2.0
"""An event may arrive before its claim; an epoch that is ahead of the claim for longer is invalid."""

# Which events of a channel are accepted. Pure.


class Fence:
    """Accepts no event of a former owner, none twice, and no frame that goes back in time.

    Attributes:
        epoch: The newest known one; events of earlier epochs are rejected.
        counts: Events by verdict: ``admitted``, or rejected as ``outdated`` (of a former owner), ``repeated`` or
            ``backwards`` (a frame not later than the one before); and ``missing``: numbers that never arrived.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.counts: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._t1 = float("-inf")

    def raise_to(self, epoch: int) -> None:
        """Begin the epoch of a new owner, perhaps before its first event; an earlier epoch changes nothing."""
        if epoch > self.epoch:
            self.epoch = epoch
            self._numbers = {}

    def admit(self, envelope: Envelope[StreamEvent], *, stored: bool = False) -> bool:
        """Return whether to accept an event, and remember it if so.

        Args:
            envelope: The event.
            stored: It is what NATS keeps, and nothing else arrived yet. Then the last events of a former owner are the
                best that is known, until the current one publishes.
        """
        verdict = self._judge(envelope, stored=stored)
        self.counts[verdict] += 1
        return verdict == "admitted"

    def _judge(self, envelope: Envelope[StreamEvent], *, stored: bool) -> str:
        kind = kind_of(envelope.event)
        if envelope.epoch < self.epoch:
            return self._judge_time(envelope.event) if stored and kind not in self._numbers else "outdated"
        self.raise_to(envelope.epoch)
        before = self._numbers.get(kind, -1)
        if envelope.number <= before:
            return "repeated"
        if kind in self._numbers:  # a node that starts in the middle of an epoch has lost nothing
            self.counts["missing"] += envelope.number - before - 1
        self._numbers[kind] = envelope.number
        return self._judge_time(envelope.event)

    def _judge_time(self, event: StreamEvent) -> str:
        if isinstance(event, EmotionFrame):
            if event.t1 <= self._t1:
                return "backwards"
            self._t1 = event.t1
        return "admitted"


# What clients see while no events arrive. Pure: the clock is passed in.

Outage: TypeAlias = Literal["broker_lost", "worker_lost", "worker_silent"]
"""In ``degraded`` of a frame that is repeated because no newer one arrives: the reason."""

_STATES: dict[Outage, SourceState] = {
    "broker_lost": "reconnecting",
    "worker_lost": "reconnecting",
    "worker_silent": "stalled",
}


class ChannelView:
    """One channel as this node sees it.

    Args:
        name: Of the channel.
        now: Monotonic time, seconds; the same clock for all calls.

    Attributes:
        fence: Which of its events are accepted.
    """

    def __init__(self, name: str, *, now: float) -> None:
        self.name = name
        self.fence = Fence()
        self._frame: EmotionFrame | None = None
        self._status: StreamStatus | None = None
        self._frame_at = now
        self._outage: Outage | None = None
        self._unowned_since: float | None = None
        self._ahead_since: float | None = None

    def is_ahead_of(self, revision: int, *, now: float, for_s: float) -> bool:
        """Return whether the fence's epoch has been ahead of the channel's claim for this long."""
        if self.fence.epoch <= revision:
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead_since = now
        return self._ahead_since is not None and now - self._ahead_since >= for_s

    def on_event(self, event: StreamEvent, *, now: float) -> list[StreamEvent]:
        """Take an accepted event; return what to publish."""
        if isinstance(event, StreamStatus):
            self._status = event
        if not isinstance(event, EmotionFrame):
            return [event]
        self._frame, self._frame_at = event, now
        was_out, self._outage = self._outage is not None, None
        return [self._status, event] if was_out and self._status is not None else [event]

    def check(self, *, now: float, connected: bool, owned: bool) -> list[StreamEvent]:
        """Look for an outage; return what to publish of it.

        Args:
            now: Monotonic time, seconds.
            connected: Whether there is a connection to NATS.
            owned: Whether a live worker owns the channel, as far as is known.
        """
        if owned or not connected:
            self._unowned_since = None
        elif self._unowned_since is None:
            self._unowned_since = now
        outage = self._find_outage(now, connected=connected)
        if outage is None or outage == self._outage:
            return []  # an outage is over with the next frame, not as soon as its reason is gone
        if self._outage is not None and outage == "worker_silent":
            return []  # its reason was published
        self._outage = outage
        status = self._status or StreamStatus(source="stalled", device=self.name, lyrics="off")
        events: list[StreamEvent] = [replace(status, source=_STATES[outage])]
        if self._frame is not None:
            raw = self._frame.raw
            events.append(replace(self._frame, raw=replace(raw, degraded=(*raw.degraded, outage))))
        return events

    def _find_outage(self, now: float, *, connected: bool) -> Outage | None:
        if self._status is not None and self._status.source == "ended":
            return None
        if not connected:
            return "broker_lost"
        if self._unowned_since is not None and now - self._unowned_since >= LOST_AFTER_S:
            return "worker_lost"
        return "worker_silent" if now - self._frame_at >= STALLED_AFTER_S else None


class Node:
    """Fills a hub from a cluster while ``run`` runs.

    Args:
        bus: The connection.
        hub: Takes everything.
        only: Names of the channels to serve; empty for all, including those that are added later.
    """

    def __init__(self, bus: Bus, hub: SharedHub, *, only: Collection[str] = ()) -> None:
        self._bus = bus
        self._hub = hub
        self._only = frozenset(only)
        self._state = ClusterState()
        self._views: dict[str, ChannelView] = {}
        self._ids: dict[str, str] = {}
        self._overrides = Overrides(bus, hub)
        self._queued = asyncio.Event()
        self._incoming: CoalescingQueue[bytes] = CoalescingQueue(wake=self._queued.set)  # filled by this loop itself
        self._replayed_generation = 0
        self._ready = asyncio.Event()
        self._limited = LimitedLog(log)
        self._counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Fill the hub, forever; continues by itself whatever happens to NATS.

        Raises:
            ClusterError: NATS refuses.
        """
        for token in [token_of(name) for name in self._only] or ["*"]:
            await self._bus.subscribe(f"{EVENT_SUBJECTS}.{token}.*", self._on_message)
        await run_together(
            self._state.follow(self._bus, self._on_state_change),
            self._overrides.run(),
            self._publish_loop(),
            self._catch_up_loop(),
            self._check_loop(),
            self._request_loop(),
            self._log_losses_loop(),
        )

    def losses(self) -> Counter[str]:
        """Return the events that were not published, or never arrived, by reason; of all channels together."""
        total = self._counts + Counter(
            {"replaced by newer": self._incoming.replaced, "too many": self._incoming.dropped}
        )
        for view in self._views.values():
            counts = view.fence.counts
            total["of former owners"] += counts["outdated"]
            total["repeated"] += counts["repeated"]
            total["back in time"] += counts["backwards"]
            total["lost on the way"] += counts["missing"]
        return total

    # Channels come and go

    def _on_state_change(self) -> None:
        if not self._state.complete:
            return
        names = {token: name for token, name in self._state.names().items() if not self._only or name in self._only}
        for token, name in names.items():
            with self._contained(name):
                self._begin_or_update(token, name)
        for name in self._views.keys() - set(names.values()):
            log.info("%s: was removed", name)
            del self._views[name], self._ids[name]
            with self._contained(name):
                self._hub.publish(name, StreamStatus(source="ended", device=name, lyrics="off"))
            self._hub.remove(name)
        self._ready.set()

    def _begin_or_update(self, token: str, name: str) -> None:
        channel_id = self._state.channels.rows[token].record.id
        if self._ids.get(name) != channel_id:
            self._ids[name] = channel_id
            self._views[name] = ChannelView(name, now=time.monotonic())
            self._hub.sink(name)
            self._overrides.begin(name)
        claim = self._state.claims.rows.get(token)
        if claim is not None:
            self._views[name].fence.raise_to(claim.revision)

    @contextlib.contextmanager
    def _contained(self, name: str) -> Iterator[None]:
        """Keep an unexpected error of one channel from affecting others: count it, and log it once a minute."""
        try:
            yield
        except Exception as error:
            self._counts["failed to be published"] += 1
            message = f"{name}: an event from NATS could not be published: {error}"
            self._limited.log(logging.ERROR, f"{name} failed", message, error=error)

    # Events arrive

    def _on_message(self, subject: str, data: bytes) -> None:
        found = split_subject(subject)
        if found is not None and found[1] in EVENT_TYPES:
            self._incoming.put(*found, data)

    async def _publish_loop(self) -> None:
        published = 0
        while True:
            self._queued.clear()
            queued = self._incoming.get()
            if queued is None:
                await self._queued.wait()
                continue
            self._publish(*queued)
            published += 1
            if published % BATCH == 0:
                await asyncio.sleep(0)

    def _publish(self, name: str, kind: str, data: bytes, *, stored: bool = False) -> None:
        view = self._views.get(name)
        if view is None:
            return

        def on_unknown(what: str) -> None:
            self._counts["with unknown values"] += 1
            message = f"{name}: its worker sends values that this version does not know ({what}); update this node"
            self._limited.log(logging.WARNING, f"{name} unknown", message)

        try:
            envelope = unseal(kind, data, on_unknown=on_unknown)
        except ClusterError as error:
            self._counts["invalid"] += 1
            self._limited.log(logging.ERROR, f"{name} invalid", f"{name}: {error}; ignoring it")
            return
        with self._contained(name):
            if view.fence.admit(envelope, stored=stored):
                for event in view.on_event(envelope.event, now=time.monotonic()):
                    self._hub.publish(name, event)

    async def _catch_up_loop(self) -> None:
        """After each new connection: the last values, and the lyrics and changes that were missed."""
        await self._ready.wait()
        while True:
            await self._bus.until_connected()
            generation = self._bus.generation
            if generation != self._replayed_generation:
                try:
                    await self._catch_up(first=self._replayed_generation == 0)
                    self._replayed_generation = generation
                    continue
                except ClusterError as exc:
                    log.debug("cannot catch up: %s", exc)
            await asyncio.sleep(POLL_S)

    async def _catch_up(self, *, first: bool) -> None:
        def replay(subject: str, data: bytes) -> None:
            found = split_subject(subject)
            if found is not None and not (first and found[1] == "change"):  # a new node must not fire cues of the past
                self._publish(*found, data, stored=first)

        await self._bus.replay(LATEST, replay)
        await self._bus.replay(LINES, replay)

    # Once in a while

    async def _check_loop(self) -> None:
        await self._ready.wait()
        while True:
            now, connected = time.monotonic(), self._bus.connected
            for view in list(self._views.values()):
                with self._contained(view.name):
                    self._check(view, now=now, connected=connected)
            await asyncio.sleep(POLL_S)

    def _check(self, view: ChannelView, *, now: float, connected: bool) -> None:
        token = token_of(view.name)
        claim = self._state.claims.rows.get(token)
        newest = 0 if claim is None else claim.revision
        known = newest if connected and claim is not None else view.fence.epoch  # without a connection, it may be old
        if view.is_ahead_of(known, now=now, for_s=EPOCH_AHEAD_S):
            # The bucket was created anew, or has lost its last writes.
            log.warning("%s: its claim is older than its events; accepting events of that claim", view.name)
            view.fence = Fence()
            view.fence.raise_to(newest)
        owned = self._state.owner(token) is not None
        for event in view.check(now=now, connected=connected, owned=owned):
            self._hub.publish(view.name, event)

    async def _request_loop(self) -> None:
        while True:
            for name in list(self._views):
                if self._hub.is_wanted(name, "levels"):
                    await self._bus.publish(wanted_subject(name, "levels"), b"")
            await asyncio.sleep(WANTED_EVERY_S)

    async def _log_losses_loop(self) -> None:
        before = self.losses()
        while True:
            await asyncio.sleep(LOSSES_EVERY_S)
            now = self.losses()
            grown = [f"{count} {reason}" for reason, count in (now - before).items()]
            if grown:
                log.info("events from NATS not published in the last %g s: %s", LOSSES_EVERY_S, ", ".join(grown))
            before = now


async def read_state(nats: NatsSettings) -> ClusterState:
    """Return the channels, claims and workers that exist now.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    async with Bus(nats, "stream-mer serve") as bus:
        state = ClusterState()
        await state.read(bus)
        return state


class ClusterProducer:
    """Implements ``runner.EventProducer``: runs a node in an event loop of its own.

    Args:
        nats: Where NATS is.
        hub: Takes everything.
        only: Names of the channels to serve; empty for all.
    """

    def __init__(self, nats: NatsSettings, hub: SharedHub, *, only: Collection[str] = ()) -> None:
        self._nats = nats
        self._hub = hub
        self._only = only
        self._stopped = threading.Event()

    def run(self) -> None:
        """Fill the hub until ``stop`` is called.

        Raises:
            ClusterError: NATS cannot be reached at first, or refuses.
        """
        asyncio.run(self._run())

    def stop(self) -> None:
        """End soon, from any thread; idempotent."""
        self._stopped.set()

    def close(self) -> None:
        """As ``stop``: nothing is open unless it runs."""
        self.stop()

    async def _run(self) -> None:
        if self._stopped.is_set():
            return
        async with Bus(self._nats, "stream-mer serve") as bus:
            running = asyncio.create_task(Node(bus, self._hub, only=self._only).run())
            either: list[asyncio.Future[Any]] = [running, in_thread(self._stopped.wait, name="stop the node")]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
            finally:
                await end_tasks([running])
