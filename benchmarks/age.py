"""How old a frame is at a client, with the recogniser at work and without.

A server runs as its users run it (``stream-mer serve --source -``), and is fed audio at the pace of a sound card. The
age of a frame is told twice: by the server itself in ``latency_ms.total`` (from the last sample of the hop entering the
process until the frame is handed to the clients' outboxes), and as seen from outside: from the moment when that sample
was written into the pipe until a websocket client on the same machine has the message in its hands, on one clock.

Runs without and with the recogniser take turns, so that whatever else the machine does meets both alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from benchmarks.checkpoints import open_checkpoint
from benchmarks.machine import process_cpu_s
from benchmarks.report import Cell, Column, Measurement, Table
from stream_mer.errors import StreamMerError
from stream_mer.server.client import connect
from stream_mer.server.messages import Emotion, Lyrics
from stream_mer.sources.file import FileSource
from stream_mer.types import SAMPLE_RATE_HZ, Samples

ROOT = Path(__file__).parent.parent
BLOCK_S = 0.02  # as a sound card gives audio
STARTED_WITHIN_S = 120.0
PERCENTILES = (50, 95, 99)

OPTIONS = (
    click.Option(
        ["--seconds", "duration_s"],
        type=click.FloatRange(min=1),
        default=60.0,
        show_default=True,
        help="Counted a run.",
    ),
    click.Option(["--runs"], type=click.IntRange(min=1), default=2, show_default=True, help="Runs without and with."),
    click.Option(
        ["--warm", "warm_s"],
        type=click.FloatRange(min=0),
        default=15.0,
        show_default=True,
        help="Seconds that come before and do not count: the recogniser loads.",
    ),
    click.Option(["--hop", "hop_s"], type=float, default=0.5, show_default=True, help="Seconds between frames."),
    click.Option(["--no-lyrics"], is_flag=True, help="Only the runs without the recogniser."),
    click.Option(
        ["--song"],
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="What is heard, again and again.  [default: the demo song]",
    ),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)


@dataclass(slots=True)
class Ages:
    """What one kind of run found; milliseconds."""

    told: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    lines: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What every run has in common."""

    pcm: bytes
    hop_s: float
    duration_s: float
    warm_s: float
    model: str


def measure(
    *,
    duration_s: float,
    runs: int,
    warm_s: float,
    hop_s: float,
    no_lyrics: bool,
    song: Path | None,
    model: str | None = None,
) -> Measurement:
    """Run servers without and with the recogniser in turn.

    Raises:
        CheckpointError: The checkpoint that was named is not there.
        SourceError: The song cannot be decoded.
        StreamMerError: A server did not start or ended early.
    """
    heard = song or ROOT / "stream_mer" / "demo" / "demo.ogg"
    found: dict[str, Ages] = {"off": Ages()} | ({} if no_lyrics else {"on": Ages()})
    with open_checkpoint(model) as checkpoint:
        plan = _Plan(
            pcm=_pcm(np.concatenate([chunk.samples for chunk in FileSource(heard).chunks()])),
            hop_s=hop_s,
            duration_s=duration_s,
            warm_s=warm_s,
            model=str(checkpoint.folder.resolve()),
        )
        for _ in range(runs):
            for lyrics, ages in found.items():
                asyncio.run(_run(plan, ages, lyrics=lyrics == "on"))
        note = checkpoint.note
    return Measurement(
        tables=(_age_table(found), _ratio_table(found)),
        notes=(
            note,
            f"{runs} runs of {duration_s:g} s each, without and with in turn; {heard.name}, hop {hop_s:g} s.",
            "Told: latency_ms.total. Outside: from writing the hop's last sample until a client has the frame.",
        ),
        threads=1,
    )


def _pcm(samples: Samples) -> bytes:
    return (samples.clip(-1.0, 1.0) * 32_767).astype("<i2").tobytes()


async def _run(plan: _Plan, ages: Ages, *, lyrics: bool) -> None:
    """Serve, feed and listen for as long as planned; add what was seen to ``ages``."""
    async with _server(plan, lyrics=lyrics) as (process, url):
        written_at: dict[int, float] = {}
        feeding = asyncio.create_task(_feed(process, plan, written_at))
        try:
            async with connect(url, reconnect=False) as client, asyncio.timeout(None) as limit:
                begun = time.monotonic() + plan.warm_s
                cpu_s = None
                limit.reschedule(asyncio.get_running_loop().time() + plan.warm_s + plan.duration_s)
                async for message in client:
                    now = time.monotonic()
                    if now < begun:
                        continue
                    cpu_s = process_cpu_s(process.pid) if cpu_s is None else cpu_s
                    if isinstance(message, Lyrics):
                        ages.lines += message.committed
                    elif isinstance(message, Emotion):
                        end = round(message.t1 * SAMPLE_RATE_HZ)
                        ages.told.append(message.latency_ms.total)
                        ages.outside.append(1e3 * (now - written_at[end]))
        except TimeoutError:
            ages.cores.append((process_cpu_s(process.pid) - (cpu_s or 0.0)) / plan.duration_s)
        else:
            raise StreamMerError("the server closed the connection; start it by hand to see why")
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await feeding


@contextlib.asynccontextmanager
async def _server(plan: _Plan, *, lyrics: bool) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server that hears its standard input, and its address."""
    options = ["--source", "-", "--rate", str(SAMPLE_RATE_HZ), "--port", "0", "--hop", str(plan.hop_s)]
    words = [] if lyrics else ["--no-lyrics"]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "stream_mer", "serve", *options, *words, "--model", plan.model],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield process, await asyncio.wait_for(_address(process), STARTED_WITHIN_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        found = re.search(r"wss?://\S+", line.decode())
        if found:
            return found.group()
    raise StreamMerError("the server did not start; what it said is above")


async def _feed(process: asyncio.subprocess.Process, plan: _Plan, written_at: dict[int, float]) -> None:
    """Write blocks as a sound card gives them, and note when each hop's last sample went in."""
    assert process.stdin is not None
    block, hop = round(BLOCK_S * SAMPLE_RATE_HZ), round(plan.hop_s * SAMPLE_RATE_HZ)
    started, position = time.monotonic(), 0
    while True:
        end = position + block
        await asyncio.sleep(max(0.0, started + end / SAMPLE_RATE_HZ - time.monotonic()))
        at = 2 * position % (len(plan.pcm) - 2 * block)
        process.stdin.write(plan.pcm[at : at + 2 * block])
        now = time.monotonic()
        written_at.update((sample, now) for sample in range(end - end % hop, position, -hop))
        await process.stdin.drain()
        position = end


def _age_table(found: dict[str, Ages]) -> Table:
    rows: list[dict[str, Cell]] = []
    for lyrics, ages in found.items():
        for how, values in (("told", ages.told), ("outside", ages.outside)):
            rows.append(
                {
                    "lyrics": lyrics,
                    "how": how,
                    "frames": len(values),
                    **{f"p{p}_ms": _percentile(values, p) for p in PERCENTILES},
                    "cores": float(np.mean(ages.cores)),
                    "lines": ages.lines,
                }
            )
    return Table(
        key="ages",
        title="Age of a frame",
        columns=(
            Column(key="lyrics", title="recogniser"),
            Column(key="how", title="measured"),
            Column(key="frames", title="frames"),
            *(Column(key=f"p{p}_ms", title=f"p{p} ms", digits=1) for p in PERCENTILES),
            Column(key="cores", title="cores busy"),
            Column(key="lines", title="lines of lyrics"),
        ),
        rows=tuple(rows),
    )


def _ratio_table(found: dict[str, Ages]) -> Table:
    """What the recogniser does to it; empty values where it did not run."""
    off, on = found["off"], found.get("on")
    return Table(
        key="ratios",
        title="With the recogniser / without",
        columns=(
            Column(key="how", title="measured"),
            *(Column(key=f"p{p}", title=f"p{p}") for p in PERCENTILES),
        ),
        rows=tuple(
            {"how": how}
            | {
                f"p{p}": None if on is None else _percentile(getattr(on, how), p) / _percentile(getattr(off, how), p)
                for p in PERCENTILES
            }
            for how in ("told", "outside")
        ),
    )


def _percentile(values: Sequence[float], percent: float) -> float:
    if not values:
        raise StreamMerError("no frame came within the time that is counted; give --seconds more")
    return float(np.percentile(values, percent))
