"""Finds workers whose process was killed before their lease expires.

The kernel closes the connections of a killed process at once. Each worker subscribes to a subject of its own, and NATS
answers a message to a subject without subscribers immediately with "no responders". So a worker whose subject has no
subscriber for a while, and whose lease is not renewed meanwhile, is gone, and its lease is removed.

A worker that is stopped, hangs, or is behind a network that is cut still has its connection, as far as NATS knows.
There, only the lease counts.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from stream_mer.cluster.bus import Bus, ConflictError
from stream_mer.cluster.records import PRESENCE_SUBJECTS, WORKERS, Worker, presence_subject
from stream_mer.cluster.state import ClusterState, Row
from stream_mer.errors import ClusterError
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

ASKS_PER_LEASE = 12
"""Questions to the next worker within the time to live of a lease."""

GONE_PER_LEASE = 3
"""A worker without connection and renewal for one part in so many of a lease is gone. One that lives renews it more
often, and connects again within milliseconds."""

REFUSED_AFTER_LEASES = 10
"""A subscription without its own message for so many leases is not permitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A worker without a subscriber.

    Attributes:
        session: Its lease.
        revision: Of the lease at that time.
        since: Monotonic time, seconds.
    """

    session: str
    revision: int
    since: float


def next_worker(workers: dict[str, Row[Worker]], me: str) -> str | None:
    """Return the session of the worker that a worker asks: the next by session, of those that can be asked.

    So each is asked by one, and the cost of a cluster grows with its size alone.
    """
    sessions = sorted(session for session, row in workers.items() if row.record.presence and session != me)
    return next((session for session in sessions if session > me), sessions[0] if sessions else None)


class FailureDetector:
    """Asks the next worker whether it is connected, and removes its lease if it is gone, while ``run`` runs.

    Args:
        bus: The connection.
        state: Of the cluster.
        session: Returns the session of this worker while its lease is held; otherwise None.
        clock: Seconds, monotonic; that of ``bus.connected_at``.
    """

    def __init__(
        self,
        bus: Bus,
        state: ClusterState,
        session: Callable[[], str | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._state = state
        self._session = session
        self._clock = clock
        self._own = secrets.token_hex(8)
        self._asked_generation = 0
        self._heard_generation = 0
        self._suspicion: Suspicion | None = None
        self._limited = LimitedLog(log)
        self._is_refused = False

    @property
    def presence(self) -> str:
        """What the row of this worker says; empty until its subscription is known to work."""
        return self._own if self._heard_generation else ""

    async def run(self) -> None:
        """Ask, forever.

        Raises:
            ClusterError: NATS refuses the subscription.
        """
        await self._bus.announce(presence_subject(self._own), self._on_message)
        while True:
            asked_at = self._clock()
            try:
                await self.ask()
            except ClusterError as exc:
                log.debug("cannot ask other workers now: %s", exc)
            except Exception as error:  # the lease still counts
                self._limited.log(logging.ERROR, "all", f"asking other workers failed: {error}", error=error)
            await asyncio.sleep(max(0.0, asked_at + self._interval_s - self._clock()))

    @property
    def _interval_s(self) -> float:
        return self._bus.lease_s / ASKS_PER_LEASE

    def _on_message(self, subject: str, data: bytes) -> None:
        """A worker asks; that there is a subscriber is the answer."""
        del subject, data
        self._heard_generation = self._bus.generation

    async def ask(self) -> None:
        """Ask the next worker once; remove its lease if it is gone.

        Raises:
            ClusterError: NATS cannot be reached, or refuses.
        """
        me = self._session()
        if not await self._may_ask() or me is None or not self._state.complete:
            self._suspicion = None
            return
        workers, asked_at = self._state.workers.rows, self._clock()
        session = next_worker(workers, me)
        if session is None or await self._is_connected(workers[session].record):
            self._suspicion = None
            return
        row = workers.get(session)
        if row is None:
            self._suspicion = None
        elif self._suspicion is None or (self._suspicion.session, self._suspicion.revision) != (session, row.revision):
            self._suspicion = Suspicion(session=session, revision=row.revision, since=asked_at)
        elif asked_at - self._suspicion.since >= self._bus.lease_s / GONE_PER_LEASE:
            self._suspicion = None
            await self._remove(session, row)
            return
        others = [row.record for key, row in workers.items() if key not in {me, session} and row.record.presence]
        if not all(await asyncio.gather(*map(self._is_connected, others))):
            # Rather the server to which they were connected than several processes: they may connect to another.
            self._suspicion = None

    async def _may_ask(self) -> bool:
        """Return whether the answers count: NATS permits the subject, and it was not itself that went away just now."""
        generation = self._bus.generation
        if self._asked_generation != generation and await self._bus.publish(presence_subject(self._own), b""):
            self._asked_generation = generation
        connected_s = self._clock() - self._bus.connected_at
        if self._heard_generation != generation:
            if connected_s >= REFUSED_AFTER_LEASES * self._bus.lease_s and not self._is_refused:
                self._is_refused = True
                message = "NATS does not permit %s.>: killed workers are found when their leases expire"
                log.warning(message, PRESENCE_SUBJECTS)
            return False
        return connected_s >= self._bus.lease_s

    async def _is_connected(self, worker: Worker) -> bool:
        return await self._bus.has_subscriber(presence_subject(worker.presence), within_s=self._interval_s)

    async def _remove(self, session: str, row: Row[Worker]) -> None:
        try:
            await self._bus.remove(WORKERS, session, row.revision)
        except ConflictError:
            log.debug("%s: has renewed its lease", row.record.name)
        else:
            log.warning("%s: its process is gone; removed its lease", row.record.name)
