"""What leaves a worker: the events of its channels, each under the claim by which the channel is ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.envelope import kind_of, seal
from stream_mer.cluster.names import subject_of
from stream_mer.cluster.run import Outgoing, Run
from stream_mer.server.wake import LoopWaker
from stream_mer.types import StreamEvent

LOOK_S = 0.05
PATIENCE_S = 0.5


class Sender:
    """Sends what pipelines publish, for as long as ``run`` runs.

    Args:
        bus: The connection.
        may_send: Tells whether what we have is ours now; while it is not, the newest waits.

    Attributes:
        outgoing: Where pipelines put their events, from any thread.
    """

    def __init__(self, bus: Bus, may_send: Callable[[], bool]) -> None:
        self._bus = bus
        self._may_send = may_send
        self._news = asyncio.Event()
        waker = LoopWaker(asyncio.get_running_loop())
        self.outgoing: Outgoing = Outgoing(wake=lambda: waker.wake(self._news.set))

    def put(self, run: Run, event: StreamEvent) -> None:
        """Add what the worker itself has to say of a channel."""
        self.outgoing.put(run.name, kind_of(event), (run, event))

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            self._news.clear()
            if not self._may_send():
                await asyncio.sleep(LOOK_S)
                continue
            waiting = self.outgoing.take()
            if waiting is None:
                await self._news.wait()
                continue
            name, kind, (run, event) = waiting
            data = seal(event, epoch=run.epoch, number=run.next_number(kind))
            await self._bus.publish(subject_of(name, kind), data)

    async def until_sent(self, run: Run) -> None:
        """Wait until what a channel had to say is on its way; not for ever."""
        for _ in range(round(PATIENCE_S / LOOK_S)):
            if not self.outgoing.waits(run.name):
                return
            await asyncio.sleep(LOOK_S)
