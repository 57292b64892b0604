"""From the publication of a frame until a client has it, in one process and through NATS; for the benchmark `scale`."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.cluster import NatsServer, Process, ServingNode
from benchmarks.report import Cell
from stream_mer.cluster.bus import Bus
from stream_mer.cluster.envelope import unseal
from stream_mer.cluster.names import SUBJECTS
from stream_mer.cluster.settings import NatsSettings
from stream_mer.cluster.worker import ChannelWorker, WorkerSettings
from stream_mer.ports import EventSink
from stream_mer.server import messages as wire
from stream_mer.server.client import connect
from stream_mer.server.examples import FRAME, STATUS
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.settings import ServeSettings
from stream_mer.types import AudioChunk, EmotionFrame

PATHS = ("one process", "NATS alone", "NATS and serve")
PER_CHANNEL_HZ = 2
WARM_UP_S = 2.0


class FramePipeline:
    """In place of a pipeline: publishes frames whose ``t1`` is the moment of their publication.

    Args:
        sink: Takes them.
        offset_s: Of the first, so that not all channels publish at once.
    """

    def __init__(self, sink: EventSink, offset_s: float) -> None:
        self._sink = sink
        self._offset_s = offset_s
        self._stopped = threading.Event()

    def run(self) -> None:
        self._sink.publish(STATUS)
        due = time.monotonic() + self._offset_s
        for index in itertools.count():
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                return
            now = time.monotonic()
            self._sink.publish(replace(FRAME, index=index, t0=now - 10, t1=now))
            due += 1 / PER_CHANNEL_HZ

    def stop(self) -> None:
        self._stopped.set()


class _NoSource:
    name, live = "nothing", True

    def chunks(self) -> Any:
        yield AudioChunk

    def close(self) -> None:
        pass


def measure_path(path: str, rate_hz: int, seconds: float, folder: Path) -> dict[str, Cell]:
    """Measure one way at one rate; see ``PATHS``."""
    channels = rate_hz // PER_CHANNEL_HZ
    cores: dict[str, float] = {}
    if path == "one process":
        ages = asyncio.run(_in_one_process(channels, seconds))
    else:
        nats = NatsServer(folder)
        try:
            nats.add_channels([f"channel {i:03}" for i in range(channels)], "demo")
            ages, cores = _through_nats(path, nats, channels, seconds, folder)
        finally:
            nats.process.end()
    cuts = quantiles(ages, n=100)
    return {
        "path": path,
        "rate_hz": rate_hz,
        "arrived_hz": len(ages) / seconds,
        "p50_ms": 1e3 * median(ages),
        "p99_ms": 1e3 * cuts[98],
        "nats_cores": cores.get("nats"),
        "serve_cores": cores.get("serve"),
    }


def _through_nats(
    path: str, nats: NatsServer, channels: int, seconds: float, folder: Path
) -> tuple[list[float], dict[str, float]]:
    node = ServingNode(nats.url, folder, listen=False) if path == "NATS and serve" else None
    parts: dict[str, Process] = {"nats": nats.process} | ({} if node is None else {"serve": node.process})
    used: dict[str, float] = {}

    def begin() -> None:
        used.update({part: process.cpu_s() for part, process in parts.items()})

    try:
        ages = asyncio.run(_from_worker(nats.url, channels, seconds, node, begin))
        cores = {part: (process.cpu_s() - used[part]) / seconds for part, process in parts.items()}
    finally:
        if node is not None:
            node.end()
    return ages, cores


async def _in_one_process(channels: int, seconds: float) -> list[float]:
    hub = Hub()
    pipelines = [FramePipeline(hub.sink(f"channel {i:03}"), i / channels / PER_CHANNEL_HZ) for i in range(channels)]
    async with Server(hub, ServeSettings(port=0)) as server:
        threads = [threading.Thread(target=one.run, daemon=True) for one in pipelines]
        for thread in threads:
            thread.start()
        try:
            return await _collect(server.stream_url, seconds, lambda: None)
        finally:
            for one in pipelines:
                one.stop()
            for thread in threads:
                await asyncio.to_thread(thread.join)


async def _from_worker(
    url: str, channels: int, seconds: float, node: ServingNode | None, begin: Callable[[], None]
) -> list[float]:
    async with _worker(url, channels):
        if node is not None:
            return await _collect(node.url, seconds, begin)
        return await _collect_raw(url, seconds, begin)


@asynccontextmanager
async def _worker(url: str, channels: int) -> AsyncIterator[None]:
    """A worker of this process that takes all channels and computes nothing."""
    stopping = asyncio.Event()
    counter = itertools.count()

    def build(source: object, sink: EventSink, levels_wanted: object) -> Any:
        del source, levels_wanted
        return FramePipeline(sink, next(counter) / channels / PER_CHANNEL_HZ)

    async with Bus(NatsSettings(url=url), "benchmark") as bus:
        worker = ChannelWorker(bus, WorkerSettings(max_channels=channels), lambda _: _NoSource(), build)
        working = asyncio.create_task(worker.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await working


class _Ages:
    """How old frames were that came between two moments."""

    def __init__(self, seconds: float, begin: Callable[[], None]) -> None:
        self._begins = time.monotonic() + WARM_UP_S
        self._ends = self._begins + seconds
        self._begin: Callable[[], None] | None = begin
        self.ages: list[float] = []
        self.done = asyncio.Event()

    def note(self, t1: float) -> None:
        now = time.monotonic()
        if now >= self._ends:
            self.done.set()
        elif now >= self._begins:
            if self._begin is not None:
                self._begin()
                self._begin = None
            self.ages.append(now - t1)


async def _collect(url: str, seconds: float, begin: Callable[[], None]) -> list[float]:
    async with connect(url) as client:
        ages: _Ages | None = None
        async for message in client:
            if isinstance(message, wire.Emotion):
                ages = ages or _Ages(seconds, begin)
                ages.note(message.t1)
                if ages.done.is_set():
                    break
    return [] if ages is None else ages.ages


async def _collect_raw(url: str, seconds: float, begin: Callable[[], None]) -> list[float]:
    async with Bus(NatsSettings(url=url), "benchmark") as bus:
        ages = _Ages(seconds, begin)

        def take(subject: str, data: bytes) -> None:
            event = unseal(subject.rpartition(".")[2], data).event
            if isinstance(event, EmotionFrame):
                ages.note(event.t1)

        await bus.subscribe(f"{SUBJECTS}.*.emotion", take)
        await ages.done.wait()
        return ages.ages
