"""Processor time of one frame by part, with one channel and with many.

Each run is a fresh process with that many whole pipelines, each of which decodes a file at the pace of real time, and
the server with one websocket client of all channels. Parts are measured by timers around their first functions
(``benchmarks/parts.py``), per thread and without the parts within them. Runs with and without timers alternate.

rest     what the process used beside the parts: starting and switching threads, the event loop, the interpreter
waiting  what it costs to wait: for the time of the next chunk, for the next window, for the batch
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.harness import (
    Measurement,
    Row,
    Table,
    answer,
    count_option,
    find_checkpoint,
    hop_option,
    model_option,
    open_child,
    read_song,
    seconds_option,
    song_option,
)
from benchmarks.load import SETTLE_S, Crowd
from benchmarks.parts import SEAMS, PartTimers, time_parts
from benchmarks.throughput import Job, open_engine, open_source, running
from stream_mer.config import ServeSettings
from stream_mer.engine import Engine
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.training.progress import track
from stream_mer.utils.scheduler import TickScheduler

OPTIONS = (
    count_option("--channels", 100, "Channels in one process, beside one alone."),
    click.Option(["--levels"], is_flag=True, help="Also with the levels of all channels subscribed to."),
    click.Option(["--max-hz"], type=float, help="Messages that the client wants a second; the page wants 10 levels."),
    count_option("--runs", 2, "Runs of each, with timers and without in turn."),
    seconds_option("--seconds", "duration_s", 10.0, "Counted in each run.", least=1),
    hop_option(),
    song_option(),
    model_option(),
)


Results = Mapping[Job, tuple[list[dict[str, Any]], list[dict[str, Any]]]]
"""Figures of the runs of each column, with timers and without."""


def measure(
    *,
    channels: int,
    levels: bool,
    max_hz: float | None = None,
    runs: int,
    duration_s: float,
    hop_s: float,
    song: Path,
    model: str | None = None,
) -> Measurement:
    """Run each column with timers and without, ``runs`` times in turn."""
    found = find_checkpoint(model)
    job = Job(
        channels=1,
        seconds=duration_s,
        hop_s=hop_s,
        model=str(found.folder),
        song=str(song.resolve()),
        decoded=True,
        max_hz=max_hz,
    )
    columns = [
        replace(job, channels=n, levels=wanted)
        for wanted in ((False, True) if levels else (False,))
        for n in dict.fromkeys((1, channels))
    ]
    results: Results = {column: ([], []) for column in columns}
    for column in track(columns * runs, "Processes", total=len(columns) * runs):
        for timers, those in zip(("timed", "plain"), results[column], strict=True):
            those.append(_run(column, timers))
    uncalled = set.intersection(*(set(run["uncalled"]) for timed, _ in results.values() for run in timed))
    return Measurement(
        tables=(
            Table(key="parts", title="Processor time of one frame", rows=_part_rows(results)),
            Table(key="totals", title="Of the whole process", rows=_total_rows(results)),
        ),
        notes=(
            found.note,
            f"Medians of {runs} runs of {duration_s:g} s; each channel decodes {song.name}, a frame every {hop_s:g} s.",
            *(f"Not called, so its part may be incomplete: {name}." for name in sorted(uncalled)),
        ),
    )


def _run(job: Job, timers: str) -> dict[str, Any]:
    """Start a process with a client, and return its figures; ``timers`` are ``timed`` or ``plain``."""
    with open_child("-m", "benchmarks.profile", timers, json.dumps(asdict(job))) as child:
        events = ("emotion", "levels") if job.levels else ("emotion",)
        crowd = Crowd(int(child.receive()["port"]), clients=1, events=events, max_hz=job.max_hz)
        try:
            child.send("start")
            crowd.read(time.monotonic() + job.warm_s + job.seconds + SETTLE_S)
            return child.receive()
        finally:
            crowd.close()


def _part_rows(results: Results) -> list[Row]:
    """Parts, the rest, and their sum; the share is that of the most channels without levels."""
    costs: dict[Job, dict[str, float]] = {}
    for job, (timed, _) in results.items():
        parts = {part: median(run["parts_ms"][part] for run in timed) for part in timed[0]["parts_ms"]}
        total = median(run["total_ms"] for run in timed)
        costs[job] = {**parts, "rest": total - sum(parts.values()), "total": total}
    shared = [cost for job, cost in costs.items() if not job.levels][-1]
    return [
        {
            "part": part,
            **{f"{_name(job)}_ms": cost[part] for job, cost in costs.items()},
            "share_percent": 100 * shared[part] / shared["total"],
        }
        for part in shared
    ]


def _name(job: Job) -> str:
    return f"{job.channels}_channel{'s' * (job.channels > 1)}{'_with_levels' * job.levels}"


def _total_rows(results: Results) -> list[Row]:
    return [
        {
            "channels": job.channels,
            "levels": "wanted" if job.levels else "off",
            "without_timers_ms": median(run["total_ms"] for run in plain),
            "timers_cost_percent": 100
            * (median(a["total_ms"] / b["total_ms"] for a, b in zip(timed, plain, strict=True)) - 1),
            "frames_of_due": median(run["frames_of_due"] for run in plain),
            "cores": median(run["cores"] for run in plain),
        }
        for job, (timed, plain) in results.items()
    ]


# In the child process.


async def serve(job: Job, timers: PartTimers) -> None:
    """Serve the channels of one run from the first line of stdin on; answer with the port, then with the figures."""
    hub, engine, audio = Hub(), open_engine(job), read_song(job.song)
    engine.warm_up()
    scheduler = TickScheduler(asyncio.get_running_loop())
    pipelines = [_pipeline(open_source(job, i, audio), hub, engine, scheduler) for i in range(job.channels)]
    async with Server(hub, ServeSettings(port=0)) as server:
        answer({"port": server.port})
        await asyncio.to_thread(sys.stdin.readline)
        answer(await asyncio.to_thread(_count, job, hub, pipelines, timers))


def _pipeline(source: AudioSource, hub: Hub, engine: Engine, scheduler: TickScheduler) -> Pipeline:
    """Build a pipeline as ``runner`` does."""
    interval_s = functools.partial(hub.levels_interval_s, source.name)
    return engine.pipeline(
        source,
        hub.sink(source.name),
        in_real_time=True,
        levels_wanted=functools.partial(hub.is_wanted, source.name, "levels"),
        levels_interval_s=interval_s,
        schedule_levels=lambda due: scheduler.add(due, interval_s=interval_s()),
    )


def _count(job: Job, hub: Hub, pipelines: Sequence[Pipeline], timers: PartTimers) -> dict[str, Any]:
    """Run the channels and count; times are a frame's."""
    with running(pipelines, warm_s=job.warm_s):
        before, cpu_before_s, begun_s, first = timers.read_ms(), time.process_time(), time.monotonic(), _frames(hub)
        time.sleep(job.seconds)
        after, cpu_s, took_s = timers.read_ms(), time.process_time() - cpu_before_s, time.monotonic() - begun_s
        frames = max(1, _frames(hub) - first)
    return {
        "parts_ms": {part: (after[part] - before[part]) / frames for part in timers.parts},
        "total_ms": 1e3 * cpu_s / frames,
        "cores": cpu_s / took_s,
        "frames_of_due": frames / (job.channels * took_s / job.hop_s),
        "uncalled": timers.uncalled,
    }


def _frames(hub: Hub) -> int:
    return sum(n for (_, kind), n in hub.statistics().published.items() if kind == "emotion")


if __name__ == "__main__":
    with time_parts(SEAMS if sys.argv[1] == "timed" else ()) as timers:
        asyncio.run(serve(Job(**json.loads(sys.argv[2])), timers))
    os._exit(0)  # threads that are still decoding must not delay it
