"""What a serving node gets from the cluster: every channel's events, into the hub as if they were computed here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.coalescing import Coalescer
from stream_mer.cluster.envelope import KINDS, unseal
from stream_mer.cluster.fence import Fence
from stream_mer.cluster.holds import Holds, SharedHub
from stream_mer.cluster.names import SUBJECTS, split_subject, token_of, wanted_subject_of
from stream_mer.cluster.roster import Roster
from stream_mer.cluster.sight import Sight
from stream_mer.cluster.store import LATEST, LINES
from stream_mer.cluster.tables import follow_tables
from stream_mer.cluster.tasks import run_together
from stream_mer.errors import ClusterError
from stream_mer.server.wake import LoopWaker
from stream_mer.types import StreamStatus
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

LOOK_S = 0.25
WANT_S = 1.0
LOSSES_S = 10.0
BATCH = 64
"""Events published between two breaths, so that clients are written to while many channels come."""

EPOCH_AHEAD_S = 2.0
"""An event may come before NATS has told of its claim; an epoch that is ahead of the claim for longer is none."""


class Feed:
    """Feeds a hub from a cluster, for as long as ``run`` runs.

    Args:
        bus: The connection.
        hub: Where everything goes.
        only: Names of the channels to serve; none for all, those that will come too.
    """

    def __init__(self, bus: Bus, hub: SharedHub, *, only: Collection[str] = ()) -> None:
        self._bus = bus
        self._hub = hub
        self._only = frozenset(only)
        self._roster = Roster()
        self._sights: dict[str, Sight] = {}
        self._ids: dict[str, str] = {}
        self._holds = Holds(bus, hub)
        self._news = asyncio.Event()
        waker = LoopWaker(asyncio.get_running_loop())
        self._incoming: Coalescer[bytes] = Coalescer(wake=lambda: waker.wake(self._news.set))
        self._replayed = 0
        self._known = asyncio.Event()
        self._limited = LimitedLog(log)
        self._unreadable = 0
        self._unknown_values = 0
        self._failed = 0

    async def run(self) -> None:
        """Feed, for ever; goes on by itself whatever happens to NATS.

        Raises:
            ClusterError: NATS refuses from the start.
        """
        for token in [token_of(name) for name in self._only] or ["*"]:
            await self._bus.subscribe(f"{SUBJECTS}.{token}.*", self._sort)
        await run_together(
            follow_tables(self._bus, self._roster, self._note_roster),
            self._holds.run(),
            self._publish_always(),
            self._catch_up_always(),
            self._look_always(),
            self._want_always(),
            self._tell_losses_always(),
        )

    def losses(self) -> Counter[str]:
        """Return how much of what came was not published, or never came, by the reason; of all channels together."""
        total = Counter(
            {
                "replaced by newer": self._incoming.replaced,
                "too many": self._incoming.dropped,
                "no event": self._unreadable,
                "with unknown values": self._unknown_values,
                "failed to be published": self._failed,
            }
        )
        for sight in self._sights.values():
            counts = sight.fence.statistics()
            total["of past owners"] += counts.outdated
            total["repeated"] += counts.repeated
            total["back in time"] += counts.backwards
            total["lost on the way"] += counts.missing
        return total

    def _sort(self, subject: str, data: bytes) -> None:
        about = split_subject(subject)
        if about is not None and about[1] in KINDS:
            self._incoming.put(*about, data)

    def _note_roster(self) -> None:
        if not self._roster.complete:
            return
        names = {token: name for token, name in self._roster.names().items() if not self._only or name in self._only}
        for token, name in names.items():
            with self._contained(name):
                self._note_channel(token, name)
        for name in self._sights.keys() - set(names.values()):
            log.info("%s: was removed", name)
            del self._sights[name], self._ids[name]
            with self._contained(name):
                self._hub.publish(name, StreamStatus(source="ended", device=name, lyrics="off"))
            self._hub.remove(name)
        self._known.set()

    def _note_channel(self, token: str, name: str) -> None:
        identity = self._roster.channels.rows[token].record.id
        if self._ids.get(name) != identity:
            self._ids[name] = identity
            self._sights[name] = Sight(name, now=time.monotonic())
            self._hub.sink(name)
            self._holds.begin(name)
        self._note_epoch(token, self._sights[name])

    @contextlib.contextmanager
    def _contained(self, name: str) -> Iterator[None]:
        """Keep what goes wrong with one channel from all others: count it, and log it once a minute."""
        try:
            yield
        except Exception as error:
            self._failed += 1
            message = f"{name}: something that came from NATS could not be published: {error}"
            self._limited.log(logging.ERROR, f"{name} failed", message, error=error)

    def _note_epoch(self, token: str, sight: Sight) -> None:
        claim = self._roster.claims.rows.get(token)
        if claim is None:
            return
        if claim.revision < sight.fence.epoch:  # the bucket itself was begun anew: what NATS keeps is the truth
            log.warning("%s: NATS has forgotten its owners; beginning anew", sight.name)
            sight.fence = Fence()
        sight.fence.raise_to(claim.revision)

    async def _publish_always(self) -> None:
        published = 0
        while True:
            self._news.clear()
            waiting = self._incoming.take()
            if waiting is None:
                await self._news.wait()
                continue
            self._publish(*waiting)
            published += 1
            if published % BATCH == 0:
                await asyncio.sleep(0)

    def _publish(self, name: str, kind: str, data: bytes, *, stored: bool = False) -> None:
        sight = self._sights.get(name)
        if sight is None:
            return
        try:
            envelope = unseal(kind, data, on_unknown=lambda what: self._note_unknown(name, what))
        except ClusterError as error:
            self._unreadable += 1
            self._limited.log(logging.ERROR, f"{name} unreadable", f"{name}: {error}; it is left out")
            return
        with self._contained(name):
            if sight.fence.admit(envelope, stored=stored):
                for event in sight.hear(envelope.event, now=time.monotonic()):
                    self._hub.publish(name, event)

    def _note_unknown(self, name: str, what: str) -> None:
        self._unknown_values += 1
        message = f"{name}: its worker says what this version does not know ({what}); update this node"
        self._limited.log(logging.WARNING, f"{name} unknown", message)

    async def _catch_up_always(self) -> None:
        """After each new connection: what was last said, and what was missed of what is kept in order."""
        await self._known.wait()
        while True:
            await self._bus.until_connected()
            generation = self._bus.generation
            if generation == self._replayed:
                await asyncio.sleep(LOOK_S)
                continue
            first = self._replayed == 0

            def take(subject: str, data: bytes, first: bool = first) -> None:  # noqa: FBT001 - bound early
                about = split_subject(subject)
                # Whoever only just came must not fire cues of the past.
                if about is not None and not (first and about[1] == "change"):
                    self._publish(*about, data, stored=first)

            try:
                await self._bus.store.replay(LATEST, take)
                await self._bus.store.replay(LINES, take)
            except ClusterError as exc:
                log.debug("cannot catch up: %s", exc)
                await asyncio.sleep(LOOK_S)
            else:
                self._replayed = generation

    async def _look_always(self) -> None:
        await self._known.wait()
        while True:
            now, connected = time.monotonic(), self._bus.connected
            for sight in list(self._sights.values()):
                with self._contained(sight.name):
                    self._look(sight, now=now, connected=connected)
            await asyncio.sleep(LOOK_S)

    def _look(self, sight: Sight, *, now: float, connected: bool) -> None:
        token = token_of(sight.name)
        claim = self._roster.claims.rows.get(token)
        if claim is not None and sight.is_ahead_of(claim.revision, now=now, for_s=EPOCH_AHEAD_S):
            self._note_epoch(token, sight)
        owned = self._roster.owner(token) is not None
        for event in sight.look(now=now, connected=connected, owned=owned):
            self._hub.publish(sight.name, event)

    async def _want_always(self) -> None:
        while True:
            for name in list(self._sights):
                if self._hub.is_wanted(name, "levels"):
                    await self._bus.publish(wanted_subject_of(name, "levels"), b"")
            await asyncio.sleep(WANT_S)

    async def _tell_losses_always(self) -> None:
        told = self.losses()
        while True:
            await asyncio.sleep(LOSSES_S)
            losses = self.losses()
            grown = [
                f"{count - told.get(what, 0)} {what}" for what, count in losses.items() if count > told.get(what, 0)
            ]
            if grown:
                log.info("in the last %g s, of what came from NATS: %s", LOSSES_S, ", ".join(grown))
            told = losses
