"""Hours of service in minutes: does memory grow with the messages?

One process holds the server and a pipeline that publishes events of all kinds without pause, many times faster than any
stream; another one is a changing population of clients: they subscribe, unsubscribe, resume, send nonsense, vanish with
and without a word, and some never read. Memory, tasks and open files of the server are read every second; the line
through the memory, after a warm-up, says what a million messages cost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from benchmarks.load_clients import raise_file_limit
from benchmarks.report import Cell, Column, Measurement, Table
from benchmarks.soak_clients import Deeds, Population
from stream_mer.errors import StreamMerError

ROOT = Path(__file__).parent.parent
SAMPLE_EVERY_S = 1.0
WARM_UP_SHARE = 0.3
"""Of the time, in which histories, caches and the allocator fill; the line is drawn through what follows."""

END_TIMEOUT_S = 30.0
EVENTS_A_SECOND_LIVE = 53.0
"""Of one live stream: 50 levels, 2 emotions, and about one line, change or status."""

OPTIONS = (
    click.Option(["--seconds", "duration_s"], type=click.FloatRange(5), default=180.0, show_default=True),
    click.Option(["--clients"], type=click.IntRange(4, 5000), default=25, show_default=True, help="At once, about."),
    click.Option(
        ["--events-per-s"], type=click.IntRange(10), default=2000, show_default=True, help="Published at most."
    ),
    click.Option(["--seed"], type=int, default=1, show_default=True, help="Of what the clients do."),
)


class Sample(NamedTuple):
    """What the server told of itself at one time, since the start of the process."""

    at_s: float
    published: int
    sent: int
    memory_mib: float
    tasks: int
    files: int
    clients: int


def measure(*, duration_s: float, clients: int, events_per_s: int, seed: int) -> Measurement:
    """Let a population use a server for a while.

    Raises:
        StreamMerError: The server ended by itself.
    """
    samples, deeds, rest = soak(duration_s=duration_s, clients=clients, events_per_s=events_per_s, seed=seed)
    settled = [sample for sample in samples if sample.at_s >= samples[0].at_s + WARM_UP_SHARE * duration_s]
    published, sent = samples[-1].published - samples[0].published, samples[-1].sent - samples[0].sent
    pace = published / duration_s / EVENTS_A_SECOND_LIVE
    return Measurement(
        tables=(_slope_table(settled), _range_table(settled, rest), _deed_table(deeds)),
        notes=(
            f"{published:,} events, {pace:.0f} times the pace of one live stream; {sent:,} messages to clients.",
            "Slopes by least squares through what follows the warm-up; a 95 % interval that holds 0 shows no growth.",
            "Neighbouring samples are alike, so the true intervals are wider.",
            "At rest: after all clients have gone.",
        ),
        threads=1,
    )


def soak(*, duration_s: float, clients: int, events_per_s: int, seed: int) -> tuple[list[Sample], Deeds, Sample]:
    """Return the samples, what the clients did, and the state once they have gone.

    Raises:
        StreamMerError: The server ended by itself.
    """
    raise_file_limit(2 * clients + 200)
    command = [sys.executable, "-m", "benchmarks.soak_server", str(events_per_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            port = int(_read(process)["port"])
            population = Population(port, clients=clients, seed=seed)
            samples = [_sample(process)]
            ends_s = time.monotonic() + duration_s
            while (now_s := time.monotonic()) < ends_s:
                population.live(min(now_s + SAMPLE_EVERY_S, ends_s))
                samples.append(_sample(process))
            population.leave()
            rest = _at_rest(process)
            process.communicate(timeout=END_TIMEOUT_S)
        finally:
            process.kill()
    return samples, population.deeds, rest


def _sample(process: subprocess.Popen[str]) -> Sample:
    assert process.stdin is not None
    process.stdin.write("state\n")
    process.stdin.flush()
    return Sample(**_read(process))  # type: ignore[arg-type]  # counts are whole numbers in JSON too


def _read(process: subprocess.Popen[str]) -> Mapping[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise StreamMerError("the server ended by itself; what it said stands above")
    told: dict[str, float] = json.loads(line)
    return told


def _at_rest(process: subprocess.Popen[str]) -> Sample:
    """Wait until the server has noticed that everybody left, and return what is left then."""
    ends_s = time.monotonic() + END_TIMEOUT_S
    while _sample(process).clients and time.monotonic() < ends_s:
        time.sleep(0.2)
    time.sleep(SAMPLE_EVERY_S)
    return _sample(process)


class Slope(NamedTuple):
    """A line's slope with its 95 % interval."""

    value: float
    low: float
    high: float


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Return the slope of the line through points, by least squares, with a normal 95 % interval.

    Raises:
        StreamMerError: There are too few points.
    """
    if len(x) < 3 or min(x) == max(x):
        raise StreamMerError("too few samples for a slope: measure for longer")
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    dx = xs - xs.mean()
    value = float(dx @ (ys - ys.mean()) / (dx @ dx))
    residuals = ys - ys.mean() - value * dx
    error = float(np.sqrt(residuals @ residuals / (len(xs) - 2) / (dx @ dx)))
    return Slope(value, value - 1.96 * error, value + 1.96 * error)


def _slope_table(samples: Sequence[Sample]) -> Table:
    memory = [sample.memory_mib for sample in samples]
    lines = {
        "MiB a million events": slope([sample.published / 1e6 for sample in samples], memory),
        "MiB a million messages sent": slope([sample.sent / 1e6 for sample in samples], memory),
        "MiB an hour of this": slope([sample.at_s / 3600 for sample in samples], memory),
    }
    return Table(
        key="slopes",
        title="Growth of the server's memory",
        columns=(
            Column(key="what", title="what"),
            Column(key="slope", title="slope"),
            Column(key="low", title="from"),
            Column(key="high", title="to"),
        ),
        rows=tuple({"what": what, "slope": one.value, "low": one.low, "high": one.high} for what, one in lines.items()),
    )


def _range_table(samples: Sequence[Sample], rest: Sample) -> Table:
    rows: list[dict[str, Cell]] = []
    for name in ("memory_mib", "tasks", "files", "clients"):
        values = [float(getattr(sample, name)) for sample in samples]
        first, last = np.array_split(values, 2)
        rows.append(
            {
                "what": name.replace("_mib", " MiB"),
                "first_half": float(np.median(first)),
                "second_half": float(np.median(last)),
                "most": max(values),
                "at_rest": float(getattr(rest, name)),
            }
        )
    return Table(
        key="state",
        title="What the server holds",
        columns=(
            Column(key="what", title="what"),
            Column(key="first_half", title="median, first half", digits=1),
            Column(key="second_half", title="second half", digits=1),
            Column(key="most", title="most", digits=1),
            Column(key="at_rest", title="at rest", digits=1),
        ),
        rows=tuple(rows),
    )


def _deed_table(deeds: Deeds) -> Table:
    return Table(
        key="deeds",
        title="What the clients did",
        columns=(Column(key="deed", title="deed"), Column(key="times", title="times")),
        rows=tuple({"deed": name, "times": times} for name, times in sorted(deeds.items())),
    )
