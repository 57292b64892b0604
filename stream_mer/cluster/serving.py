"""The serving half of a cluster: what fills a hub with the channels that workers compute."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from dataclasses import dataclass

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.feed import Feed
from stream_mer.cluster.holds import SharedHub
from stream_mer.cluster.roster import Roster
from stream_mer.cluster.settings import NatsSettings
from stream_mer.cluster.tables import read_tables
from stream_mer.cluster.tasks import end


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is there when a node begins to serve; channels may come and go later.

    Attributes:
        channels: Their names.
        window: Context and hop of their frames, seconds; None where no worker is there to say.
    """

    channels: tuple[str, ...]
    window: tuple[float, float] | None


async def look(nats: NatsSettings) -> Found:
    """Return what is there.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    async with Bus(nats, "stream-mer serve") as bus:
        roster = Roster()
        await read_tables(bus, roster)
        return Found(channels=tuple(roster.names().values()), window=roster.window)


class ClusterProducer:
    """Implements ``runner.EventProducer``: fills a hub from NATS, in a loop of its own.

    Args:
        nats: Where NATS is.
        hub: Takes everything.
        only: Names of the channels to serve; none for all.
    """

    def __init__(self, nats: NatsSettings, hub: SharedHub, *, only: Collection[str] = ()) -> None:
        self._nats = nats
        self._only = only
        self._hub = hub
        self._lock = threading.Lock()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def run(self) -> None:
        """Fill the hub until ``stop`` is called.

        Raises:
            ClusterError: NATS cannot be reached at first, or refuses.
        """
        asyncio.run(self._run())

    def stop(self) -> None:
        """End soon, from any thread; idempotent."""
        with self._lock:
            self._stopped = True
            if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stopping.set)

    def close(self) -> None:
        """Stop: nothing is open but while it runs."""
        self.stop()

    async def _run(self) -> None:
        stopping = asyncio.Event()
        with self._lock:
            self._loop, self._stopping = asyncio.get_running_loop(), stopping
            if self._stopped:
                return
        async with Bus(self._nats, "stream-mer serve") as bus:
            feeding = asyncio.create_task(Feed(bus, self._hub, only=self._only).run())
            asked = asyncio.create_task(stopping.wait())
            try:
                await asyncio.wait([feeding, asked], return_when=asyncio.FIRST_COMPLETED)
                if feeding.done():
                    feeding.result()
            finally:
                await end([feeding, asked])
