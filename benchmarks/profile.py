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
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

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
from stream_mer.pipeline import Pipeline
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.training.progress import track

OPTIONS = (
    count_option("--channels", 100, "Channels in one process, beside one alone."),
    click.Option(["--levels"], is_flag=True, help="Also with the levels of all channels subscribed to."),
    count_option("--runs", 2, "Runs of each, with timers and without in turn."),
    seconds_option("--seconds", "duration_s", 10.0, "Counted in each run.", least=1),
    hop_option(),
    song_option(),
    model_option(),
)


class Column(NamedTuple):
    """One column: so many channels, and whether their levels are wanted."""

    channels: int
    levels: bool

    @property
    def name(self) -> str:
        plural = "" if self.channels == 1 else "s"
        return f"{self.channels}_channel{plural}{'_with_levels' if self.levels else ''}"


def measure(
    *, channels: int, levels: bool, runs: int, duration_s: float, hop_s: float, song: Path, model: str | None = None
) -> Measurement:
    """Run each column with timers and without, ``runs`` times in turn."""
    found = find_checkpoint(model)
    counts = dict.fromkeys((1, channels))
    columns = [Column(n, with_levels) for with_levels in ((False, True) if levels else (False,)) for n in counts]
    turns = [(column, timed) for _ in range(runs) for column in columns for timed in (True, False)]
    results: dict[tuple[Column, bool], list[dict[str, Any]]] = {}
    for column, timed in track(turns, "Processes", total=len(turns)):
        job = Job(
            channels=column.channels,
            seconds=duration_s,
            hop_s=hop_s,
            model=str(found.folder),
            song=str(song.resolve()),
            decoded=True,
        )
        results.setdefault((column, timed), []).append(_run(job, column, timed=timed))
    uncalled = set.intersection(*(set(run["uncalled"]) for column in columns for run in results[column, True]))
    return Measurement(
        tables=(
            Table(key="parts", title="Processor time of one frame", rows=_part_rows(columns, results)),
            Table(key="totals", title="Of the whole process", rows=_total_rows(columns, results)),
        ),
        notes=(
            found.note,
            f"Medians of {runs} runs of {duration_s:g} s; each channel decodes {song.name}, a frame every {hop_s:g} s.",
            *(f"Not called, so its part may be incomplete: {name}." for name in sorted(uncalled)),
        ),
    )


def _run(job: Job, column: Column, *, timed: bool) -> dict[str, Any]:
    """Start a process with a client, and return its figures."""
    timers = "timed" if timed else "plain"
    with open_child("-m", "benchmarks.profile", timers, json.dumps(asdict(job))) as child:
        events = ("emotion", "levels") if column.levels else ("emotion",)
        crowd = Crowd(int(child.receive()["port"]), clients=1, events=events)
        try:
            child.send("start")
            crowd.read(time.monotonic() + job.warm_s + job.seconds + SETTLE_S)
            return child.receive()
        finally:
            crowd.close()


def _part_rows(columns: Sequence[Column], results: Mapping[tuple[Column, bool], list[dict[str, Any]]]) -> list[Row]:
    """Parts, the rest, and their sum; the share is that of the last column without levels."""
    shared = [column for column in columns if not column.levels][-1]
    costs: dict[Column, dict[str, float]] = {}
    for column in columns:
        runs = results[column, True]
        parts = {part: median(run["parts_ms"][part] for run in runs) for part in runs[0]["parts_ms"]}
        total = median(run["total_ms"] for run in runs)
        costs[column] = {**parts, "rest": total - sum(parts.values()), "total": total}
    return [
        {
            "part": part,
            **{f"{column.name}_ms": costs[column][part] for column in columns},
            "share_percent": 100 * costs[shared][part] / costs[shared]["total"],
        }
        for part in costs[shared]
    ]


def _total_rows(columns: Sequence[Column], results: Mapping[tuple[Column, bool], list[dict[str, Any]]]) -> list[Row]:
    rows: list[Row] = []
    for column in columns:
        timed, plain = results[column, True], results[column, False]
        pairs = zip(timed, plain, strict=True)
        rows.append(
            {
                "channels": column.channels,
                "levels": "wanted" if column.levels else "off",
                "without_timers_ms": median(run["total_ms"] for run in plain),
                "timers_cost_percent": 100 * (median(a["total_ms"] / b["total_ms"] for a, b in pairs) - 1),
                "frames_of_due": median(run["frames_of_due"] for run in plain),
                "cores": median(run["cores"] for run in plain),
            }
        )
    return rows


# In the child process.


async def serve(job: Job, timers: PartTimers) -> None:
    """Serve the channels of one run from the first line of stdin on; answer with the port, then with the figures."""
    hub, engine, audio = Hub(), open_engine(job), read_song(job.song)
    engine.warm_up()
    pipelines = []
    for i in range(job.channels):
        source = open_source(job, i, audio)
        wanted = functools.partial(hub.is_wanted, source.name, "levels")
        pipelines.append(engine.pipeline(source, hub.sink(source.name), in_real_time=True, levels_wanted=wanted))
    async with Server(hub, ServeSettings(port=0)) as server:
        answer({"port": server.port})
        await asyncio.to_thread(sys.stdin.readline)
        answer(await asyncio.to_thread(_count, job, hub, pipelines, timers))


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
