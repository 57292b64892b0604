"""How many channels one process keeps in time, and what each takes.

Each row is a fresh process that runs so many whole pipelines, each over audio of its own that comes as real time would
bring it, as ``stream-mer serve`` with as many sources does: from memory, which shows what a channel costs without its
source, or decoded by each channel from a file. In time means: of the frames that were due, at most one in
two hundred is missing, and 99 of 100 are out before the next is due.

With lyrics, one recogniser serves all channels in turn: what falls behind is the words, and the frames say so.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import click

from benchmarks.checkpoints import open_checkpoint
from benchmarks.report import Cell, Column, Measurement, Table
from benchmarks.throughput_probe import Job, encode
from stream_mer.errors import StreamMerError
from stream_mer.training.progress import track

ROOT = Path(__file__).parent.parent
IN_TIME_SHARE = 0.995
_TIMEOUT_S = 300.0

OPTIONS = (
    click.Option(
        ["--channels", "counts"],
        type=click.IntRange(min=1),
        multiple=True,
        default=(1, 10, 50, 100, 200),
        show_default=True,
        help="Without lyrics.",
    ),
    click.Option(
        ["--channels-decoded", "decoded_counts"],
        type=click.IntRange(min=1),
        multiple=True,
        default=(10, 50, 100),
        show_default=True,
        help="Without lyrics, each decoding a file of its own.",
    ),
    click.Option(
        ["--channels-with-lyrics", "lyric_counts"],
        type=click.IntRange(min=1),
        multiple=True,
        default=(1, 2, 4, 8),
        show_default=True,
    ),
    click.Option(["--no-decoding"], is_flag=True, help="Leave the rows with decoding out."),
    click.Option(["--no-lyrics"], is_flag=True, help="Leave the rows with lyrics out."),
    click.Option(
        ["--seconds", "duration_s"],
        type=click.FloatRange(min=1),
        default=20.0,
        show_default=True,
        help="Counted a row.",
    ),
    click.Option(["--hop", "hop_s"], type=float, default=0.5, show_default=True, help="Seconds between frames."),
    click.Option(["--device"], default="cpu", show_default=True, help="cpu, cuda or cuda:N, for the emotion model."),
    click.Option(
        ["--song"],
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="What the channels hear.  [default: the demo song]",
    ),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)


def measure(
    *,
    counts: tuple[int, ...],
    decoded_counts: tuple[int, ...],
    lyric_counts: tuple[int, ...],
    no_decoding: bool,
    no_lyrics: bool,
    duration_s: float,
    hop_s: float,
    device: str,
    song: Path | None,
    model: str | None = None,
) -> Measurement:
    """Run each number of channels in a process of its own.

    Raises:
        CheckpointError: The checkpoint that was named is not there.
        StreamMerError: A process failed; the message holds the last line that it said.
    """
    heard = song or ROOT / "stream_mer" / "demo" / "demo.ogg"
    rows: list[dict[str, Cell]] = []
    with open_checkpoint(model) as found:
        for title, series in (
            ("Channels", counts),
            ("Decoded", () if no_decoding else decoded_counts),
            ("With lyrics", () if no_lyrics else lyric_counts),
        ):
            for channels in track(sorted(series), title, total=len(series)):
                job = Job(
                    channels=channels,
                    seconds=duration_s,
                    hop_s=hop_s,
                    model=str(found.folder.resolve()),
                    device=device,
                    lyrics=title == "With lyrics",
                    decoded=title == "Decoded",
                    song=str(heard),
                )
                rows.append(_row(job, run_probe(job)))
    return Measurement(
        tables=(_table(rows),),
        notes=(
            found.note,
            f"Each row: {duration_s:g} s of {heard.name} in every channel, one frame every {hop_s:g} s, on {device}.",
            "Age: from the last sample of a frame's hop entering the process until the frame is handed on.",
        ),
        threads=1,
    )


def run_probe(job: Job) -> dict[str, float]:
    """Run ``benchmarks.throughput_probe`` in a fresh process; what it found.

    Raises:
        StreamMerError: It failed.
    """
    command = [sys.executable, "-m", "benchmarks.throughput_probe", encode(job)]
    timeout_s = _TIMEOUT_S + job.seconds
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=timeout_s)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StreamMerError(f"{job.channels} channels failed: {last}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(job: Job, found: dict[str, float]) -> dict[str, Cell]:
    in_time = found["frames_of_due"] >= IN_TIME_SHARE and found["age_p99_ms"] <= 1e3 * job.hop_s
    told = {name: None if math.isnan(value) else value for name, value in found.items()}
    what: dict[str, Cell] = {
        "channels": job.channels,
        "audio": "decoded" if job.decoded else "in memory",
        "lyrics": "on" if job.lyrics else "off",
        "in_time": int(in_time),
    }
    return what | told


def _table(rows: list[dict[str, Cell]]) -> Table:
    return Table(
        key="channels",
        title="Channels in one process",
        columns=(
            Column(key="channels", title="channels"),
            Column(key="audio", title="audio"),
            Column(key="lyrics", title="lyrics"),
            Column(key="in_time", title="in time"),
            Column(key="frames_of_due", title="frames / due", digits=3),
            Column(key="age_p50_ms", title="age p50 ms", digits=1),
            Column(key="age_p99_ms", title="p99 ms", digits=1),
            Column(key="cores", title="cores busy"),
            Column(key="cpu_ms_a_frame", title="CPU ms a frame"),
            Column(key="threads", title="threads", digits=0),
            Column(key="mib_a_channel", title="MiB a channel"),
            Column(key="lines_a_minute", title="lines a minute", digits=1),
            Column(key="lagging", title="words lagging"),
        ),
        rows=tuple(rows),
    )
