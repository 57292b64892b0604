"""The lease of a worker at work: made, renewed, lost and made anew."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.lease import RENEWALS, Lease
from stream_mer.cluster.records import WORKERS, Worker, encode
from stream_mer.cluster.store import ConflictError
from stream_mer.errors import ClusterError

log = logging.getLogger(__name__)

RETRY_S = 0.1


class LeaseHolder:
    """Keeps a row in the bucket of the workers for as long as ``run`` runs.

    A session is one unbroken lease. Once it was not renewed in time, NATS has removed its row, and others may have our
    channels: then a new session begins, under which nothing is ours until it has been claimed again.

    Args:
        bus: Where.
        tell: Returns what the row is to say.
        changed: Called when a session begins.
        works: Tells whether this worker does anything. While it does not, the lease is not renewed: others take over.

    Attributes:
        session: Key of the row; empty before the first.
        offset_s: What to add to the monotonic clock to get that of NATS, seconds; never too much.
    """

    def __init__(
        self,
        bus: Bus,
        tell: Callable[[], Worker],
        changed: Callable[[], None],
        works: Callable[[], bool] = lambda: True,
    ) -> None:
        self._bus = bus
        self._tell = tell
        self._changed = changed
        self._works = works
        self._lease = Lease()
        self._revision: int | None = None
        self._lost_at = time.monotonic()
        self._turn = asyncio.Lock()
        self._left = False
        self.session = ""
        self.offset_s = 0.0

    @property
    def holds(self) -> bool:
        """Whether nobody can have taken anything from us."""
        return self._lease.holds

    @property
    def lost_for_s(self) -> float:
        """For how long it has not held, seconds; 0 while it does."""
        return 0.0 if self._lease.holds else time.monotonic() - self._lost_at

    async def run(self) -> None:
        """Make and renew, for ever."""
        while True:
            await self._bus.until_connected()
            if not self._works():
                if self._lease.holds:
                    log.error("this worker hangs: its lease is left to run out, so that others take its channels")
                self._lease.lose()
                await asyncio.sleep(self._bus.lease_s / RENEWALS)
                continue
            try:
                async with asyncio.timeout(self._bus.lease_s / 2):
                    await self._renew()
            except ConflictError:
                log.warning("the lease ran out; beginning a new session")
                self._revision = None
                self._lease.lose()
            except (ClusterError, TimeoutError) as exc:
                log.debug("the lease was not renewed: %s", exc)
                if not self._lease.holds:
                    self._bus.suspect("the lease could not be renewed")
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(self._bus.lease_s / RENEWALS)

    async def renew_now(self) -> None:
        """Renew at once, such as to tell that something has changed.

        Raises:
            ClusterError: It could not be.
        """
        await self._renew()

    async def leave(self) -> None:
        """Give the lease up.

        Raises:
            ClusterError: NATS cannot be reached; it will run out.
        """
        self._left = True
        self._lease.lose()
        if self.session:
            await self._bus.store.remove(WORKERS, self.session)

    async def _renew(self) -> None:
        async with self._turn:
            if not self._left:
                await self._renew_in_turn()

    async def _renew_in_turn(self) -> None:
        sent_at, row = time.monotonic(), encode(self._tell())
        if self._revision is not None:
            self._revision = await self._bus.store.replace(WORKERS, self.session, row, self._revision)
            self._note(sent_at)
            return
        session = secrets.token_hex(8)
        revision = await self._bus.store.create(WORKERS, session, row)
        self.offset_s = await self._bus.store.stored_at(WORKERS, revision) - time.monotonic()
        self.session, self._revision = session, revision
        self._note(sent_at)
        self._changed()

    def _note(self, sent_at: float) -> None:
        self._lease.renewed(sent_at, self._bus.lease_s)
        self._lost_at = sent_at + self._bus.lease_s
