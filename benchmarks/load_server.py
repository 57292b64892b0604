"""Runs in a fresh process for the benchmark ``load``: one server that publishes frames at a steady rate.

Arguments: KIND RATE_HZ, where KIND is ``ours`` (the hub and the server of stream_mer) or ``plain``
(``websockets.serve`` and ``websockets.broadcast`` of the same bytes). It says its port in a line of JSON, and for each
line that it reads what it cost so far; ``start`` and ``stop`` begin and end the publishing, and the end of the input
ends it all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.machine import memory_mib
from stream_mer.server.codec import MessageEncoder, encode
from stream_mer.server.examples import FRAME
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.settings import ServeSettings
from stream_mer.types import EmotionFrame

MOST_CLIENTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server that runs.

    Attributes:
        port: Where it listens.
        publish: Sends a frame to every client; called by another thread, as a pipeline does.
    """

    port: int
    publish: Callable[[EmotionFrame], None]


@asynccontextmanager
async def ours() -> AsyncIterator[Serving]:
    """The server of this package with its defaults, but for the number of clients."""
    hub = Hub()
    sink = hub.sink("main")
    async with Server(hub, ServeSettings(port=0, max_clients=MOST_CLIENTS)) as server:
        yield Serving(port=server.port, publish=sink.publish)


@asynccontextmanager
async def plain() -> AsyncIterator[Serving]:
    """What the documentation of websockets shows: a set of connections and a broadcast of the same bytes."""
    loop = asyncio.get_running_loop()
    connections: set[ServerConnection] = set()
    encoder = MessageEncoder("main")

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            connections.discard(connection)

    def publish(frame: EmotionFrame) -> None:
        data = encode(encoder.message(frame))
        loop.call_soon_threadsafe(lambda: broadcast(connections, data, text=True))

    server = await serve(handle, "127.0.0.1", 0, compression=None)
    try:
        yield Serving(port=int(server.sockets[0].getsockname()[1]), publish=publish)
    finally:
        for connection in connections:  # one that never reads would keep the server waiting for ever
            connection.transport.abort()
        server.close()
        await server.wait_closed()


KINDS: dict[str, Callable[[], AbstractAsyncContextManager[Serving]]] = {"ours": ours, "plain": plain}


class Publisher:
    """Publishes frames at a steady rate from a thread of its own, each with the time at which it was captured.

    Args:
        publish: Where they go.
        rate_hz: How many a second.
    """

    def __init__(self, publish: Callable[[EmotionFrame], None], rate_hz: float) -> None:
        self._publish = publish
        self._interval_s = 1.0 / rate_hz
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.published = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Publish no more; idempotent, and harmless before the start."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._ended.wait(max(0.0, begun + self.published * self._interval_s - time.monotonic())):
            captured_s = time.monotonic()
            self._publish(replace(FRAME, index=self.published, t1=captured_s))
            self.published += 1


async def run(kind: str, rate_hz: float) -> None:
    """Serve until the input ends."""
    async with KINDS[kind]() as serving:
        publisher = Publisher(serving.publish, rate_hz)
        _say({"port": serving.port})
        while (line := (await asyncio.to_thread(sys.stdin.readline)).strip()) != "":
            if line == "start":
                publisher.start()
            elif line == "stop":
                await asyncio.to_thread(publisher.stop)
            _say(
                {
                    "cpu_s": time.process_time(),
                    "at_s": time.monotonic(),
                    "memory_mib": memory_mib("VmRSS"),
                    "published": publisher.published,
                }
            )
        publisher.stop()


def _say(what: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], float(sys.argv[2])))
