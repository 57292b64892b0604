"""Age of a frame at a client, with the recogniser at work and without.

A server runs as users run it (``stream-mer serve --source -``), and gets audio at the pace of a sound card. The age of
a frame is measured twice: by the server itself in ``latency_ms.total`` (from the arrival of the last sample of the hop
until the frame is handed to the clients' outboxes), and from outside: from writing that sample into the pipe until a
websocket client on the same machine has received the message, on one clock.

Runs without and with the recogniser alternate, so that other work on the machine affects both alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from benchmarks.harness import (
    ROOT,
    Measurement,
    Row,
    Table,
    count_option,
    find_checkpoint,
    hop_option,
    model_option,
    percentile,
    process_cpu_s,
    read_song,
    seconds_option,
    song_option,
)
from stream_mer.errors import StreamMerError
from stream_mer.server.client import connect
from stream_mer.server.messages import Emotion, Lyrics
from stream_mer.types import SAMPLE_RATE_HZ

BLOCK_S = 0.02  # as a sound card delivers audio
STARTED_WITHIN_S = 120.0
WARM_S = 15.0  # comes first and does not count: the recogniser loads
PERCENTILES = (50, 95, 99)

OPTIONS = (
    seconds_option("--seconds", "duration_s", 60.0, "Counted in each run.", least=1),
    count_option("--runs", 2, "Runs without and with."),
    hop_option(),
    click.Option(["--no-lyrics"], is_flag=True, help="Only the runs without the recogniser."),
    song_option(),
    model_option(),
)


@dataclass(slots=True)
class Ages:
    """Ages of one kind of run, ms; and the cores that were busy."""

    reported: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    lines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What all runs have in common; ``pcm`` is 16 bit, mono, 16 kHz."""

    pcm: bytes
    hop_s: float
    duration_s: float
    model: str


def measure(
    *,
    duration_s: float,
    runs: int,
    hop_s: float,
    no_lyrics: bool,
    song: Path,
    model: str | None = None,
) -> Measurement:
    """Run servers without and with the recogniser in turn."""
    samples = read_song(song).clip(-1.0, 1.0)
    found: dict[str, Ages] = {"off": Ages()} | ({} if no_lyrics else {"on": Ages()})
    checkpoint = find_checkpoint(model)
    plan = _Plan(
        pcm=(samples * 32_767).astype("<i2").tobytes(),
        hop_s=hop_s,
        duration_s=duration_s,
        model=str(checkpoint.folder),
    )
    for _ in range(runs):
        for lyrics, ages in found.items():
            asyncio.run(_run(plan, ages, lyrics=lyrics == "on"))
    return Measurement(
        tables=(
            Table(key="ages", title="Age of a frame", rows=_age_rows(found)),
            Table(key="ratios", title="With the recogniser / without", rows=_ratio_rows(found)),
        ),
        notes=(
            checkpoint.note,
            f"{runs} runs of {duration_s:g} s each, without and with in turn; {song.name}, hop {hop_s:g} s.",
            "Reported: latency_ms.total. Outside: from writing the hop's last sample until a client has the frame.",
        ),
    )


async def _run(plan: _Plan, ages: Ages, *, lyrics: bool) -> None:
    """Serve, write audio and receive frames for as long as planned; add the figures to ``ages``."""
    async with _server(plan, lyrics=lyrics) as (process, url):
        written_at: dict[int, float] = {}
        feeding = asyncio.create_task(_feed(process, plan, written_at))
        try:
            async with connect(url, reconnect=False) as client, asyncio.timeout(None) as limit:
                begun = time.monotonic() + WARM_S
                cpu_s = None
                limit.reschedule(asyncio.get_running_loop().time() + WARM_S + plan.duration_s)
                async for message in client:
                    now = time.monotonic()
                    if now < begun:
                        continue
                    cpu_s = process_cpu_s(process.pid) if cpu_s is None else cpu_s
                    if isinstance(message, Lyrics):
                        ages.lines += message.committed
                    elif isinstance(message, Emotion):
                        end = round(message.t1 * SAMPLE_RATE_HZ)
                        ages.reported.append(message.latency_ms.total)
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
    """Start a server on standard input; yield it and its address."""
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
    raise StreamMerError("the server did not start; its errors are above")


async def _feed(process: asyncio.subprocess.Process, plan: _Plan, written_at: dict[int, float]) -> None:
    """Write blocks at the pace of a sound card, and note when each hop's last sample was written."""
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


def _age_rows(found: dict[str, Ages]) -> list[Row]:
    return [
        {
            "lyrics": lyrics,
            "how": how,
            "frames": len(values),
            **{f"p{p}_ms": percentile(values, p) for p in PERCENTILES},
            "cores": float(np.mean(ages.cores)),
            "lines": ages.lines,
        }
        for lyrics, ages in found.items()
        for how, values in (("reported", ages.reported), ("outside", ages.outside))
    ]


def _ratio_rows(found: dict[str, Ages]) -> list[Row]:
    """Ratios of the percentiles; None where the recogniser did not run."""
    off, on = found["off"], found.get("on")
    return [
        {"how": how}
        | {
            f"p{p}": None if on is None else percentile(getattr(on, how), p) / percentile(getattr(off, how), p)
            for p in PERCENTILES
        }
        for how in ("reported", "outside")
    ]
