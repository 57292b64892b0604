"""The lease of a worker: created, renewed, lost and created anew."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from stream_mer.cluster.bus import Bus, ConflictError
from stream_mer.cluster.records import WORKERS, Worker, encode
from stream_mer.errors import ClusterError

log = logging.getLogger(__name__)

RETRY_S = 0.1
RENEWALS = 5
"""Renewals within the time to live."""


class LeaseKeeper:
    """Keeps a row in the bucket of the workers while ``run`` runs.

    A *session* is one unbroken lease. When it was not renewed in time, NATS removes its row, and others may claim our
    channels: then a new session begins, in which every channel must be claimed again.

    NATS counts the time to live from the arrival of a renewal, the keeper from before it was sent. So the keeper gives
    up first, whatever the clocks show; they must only run at the same rate.

    Args:
        bus: The connection.
        describe: Returns the row.
        on_session: Called when a session begins.
        is_working: Returns whether this worker makes progress. While it does not, the lease is not renewed, so that
            others take over.
        clock: Seconds, monotonic.

    Attributes:
        session: Key of the row; empty before the first.
        offset_s: Server time minus monotonic clock, seconds; never too large.
    """

    def __init__(
        self,
        bus: Bus,
        describe: Callable[[], Worker],
        on_session: Callable[[], None],
        *,
        is_working: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._describe = describe
        self._on_session = on_session
        self._is_working = is_working
        self._clock = clock
        self._revision: int | None = None
        self._valid_until = float("-inf")
        self._lost_at = clock()
        self._renewing = asyncio.Lock()
        self._left = False
        self.session = ""
        self.offset_s = 0.0

    @property
    def is_held(self) -> bool:
        """Whether the lease cannot have expired for any other worker."""
        return self._clock() < self._valid_until

    @property
    def lost_for_s(self) -> float:
        """Time since the lease expired, seconds; 0 while it is held."""
        return 0.0 if self.is_held else self._clock() - self._lost_at

    async def run(self) -> None:
        """Create and renew the lease, forever."""
        while True:
            await self._bus.until_connected()
            if not self._is_working():
                if self.is_held:
                    log.error("this worker hangs: letting its lease expire, so that others take its channels")
                self._valid_until = float("-inf")
                await asyncio.sleep(self._bus.lease_s / RENEWALS)
                continue
            try:
                async with asyncio.timeout(self._bus.lease_s / 2):
                    await self.renew()
            except ConflictError:
                log.warning("the lease expired; beginning a new session")
                self._revision = None
                self._valid_until = float("-inf")
            except (ClusterError, TimeoutError) as exc:
                log.debug("the lease was not renewed: %s", exc)
                if not self.is_held:
                    self._bus.give_up("the lease could not be renewed")
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(self._bus.lease_s / RENEWALS)

    async def renew(self) -> None:
        """Create or renew the lease now, such as to publish a change of the row.

        Raises:
            ClusterError: NATS cannot be reached, or the lease expired.
        """
        async with self._renewing:
            if self._left:
                return
            sent_at, row = self._clock(), encode(self._describe())
            if self._revision is not None:
                self._revision = await self._bus.replace(WORKERS, self.session, row, self._revision)
                self._extend(sent_at)
                return
            session = secrets.token_hex(8)
            revision = await self._bus.create(WORKERS, session, row)
            self.offset_s = await self._bus.stored_at(WORKERS, revision) - self._clock()
            self.session, self._revision = session, revision
            self._extend(sent_at)
            self._on_session()

    async def release(self) -> None:
        """Give the lease up for good.

        Raises:
            ClusterError: NATS cannot be reached; the lease will expire.
        """
        self._left = True
        self._valid_until = float("-inf")
        if self.session:
            await self._bus.remove(WORKERS, self.session)

    def _extend(self, sent_at: float) -> None:
        self._valid_until = self._lost_at = sent_at + self._bus.lease_s
