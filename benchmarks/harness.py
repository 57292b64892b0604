"""What every benchmark uses: common options, a checkpoint, child processes, tables, and the report."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import click
import numpy as np
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from stream_mer.config import DEFAULT_MODEL
from stream_mer.errors import SettingError, StreamMerError
from stream_mer.types import SAMPLE_RATE_HZ, Samples

ROOT = Path(__file__).parent.parent
DEMO_SONG = ROOT / "stream_mer" / "demo" / "demo.ogg"

Cell: TypeAlias = str | int | float | None
"""A label, a figure, or None where there is none."""

Row: TypeAlias = Mapping[str, Cell]
"""One row of a table; each key is a heading and names the unit."""

BUSY_LOAD_PER_CORE = 0.75
"""Load per core above which a report warns that other work ran beside it."""

_CHILD_TIMEOUT_S = 300.0


# Options that several benchmarks share.


def model_option() -> click.Option:
    """``--model``: the checkpoint; see ``find_checkpoint``."""
    return click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]")


def song_option() -> click.Option:
    """``--song``: the audio; the demo song without it."""
    path = click.Path(path_type=Path, exists=True, dir_okay=False)
    return click.Option(["--song"], type=path, default=DEMO_SONG, help="Audio to process.  [default: the demo song]")


def count_option(name: str, default: int, text: str, variable: str | None = None) -> click.Option:
    """An option that takes a number of at least 1."""
    names = [name] if variable is None else [name, variable]
    return click.Option(names, type=click.IntRange(min=1), default=default, show_default=True, help=text)


def hop_option() -> click.Option:
    """``--hop``: seconds between the frames of a stream."""
    return click.Option(["--hop", "hop_s"], type=float, default=0.5, show_default=True, help="Seconds between frames.")


def seconds_option(name: str, variable: str, default: float, text: str, *, least: float = 0.0) -> click.Option:
    """An option that takes seconds."""
    seconds = click.FloatRange(min=least)
    return click.Option([name, variable], type=seconds, default=default, show_default=True, help=text)


def path_option(name: str, text: str, envvar: str | None = None) -> click.Option:
    """An option that takes a path, or nothing."""
    path = click.Path(path_type=Path)
    return click.Option([name], type=path, envvar=envvar, show_envvar=True, metavar="PATH", help=text)


# Results.


class PeerMissingError(StreamMerError):
    """A system to compare with is not installed here. The message says what to do; the benchmark goes on without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures of one kind.

    Attributes:
        key: Field of the table in the JSON.
        title: Title for people.
        rows: From top to bottom; all have the same keys, which are the headings.
    """

    key: str
    title: str
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        for row in self.rows:
            if list(row) != list(self.rows[0]):
                raise ValueError(f"a row of the table {self.key} has the fields {list(row)}, not {list(self.rows[0])}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Result of a benchmark.

    Attributes:
        tables: Its figures.
        notes: Remarks for the reader, one sentence each.
        threads: CPU threads that the measured code was allowed.
    """

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    threads: int = 1


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile (0 to 100).

    Raises:
        StreamMerError: There are no values.
    """
    if not len(values):
        raise StreamMerError("nothing arrived within the time that is counted; give --seconds more")
    return float(np.percentile(values, percent))


def run_and_report(
    name: str, measure: Callable[[], Measurement], *, console: Console, json_file: Path | None = None
) -> dict[str, Any]:
    """Run a benchmark, show its tables, write its figures, and return them as they are written.

    Raises:
        SettingError: The file cannot be written; raised before measuring if its folder is missing.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise SettingError(f"cannot write {json_file}: there is no folder {json_file.parent}; create it first")
    machine: dict[str, Any] = {**describe_machine(), "load_before": load_average()}
    started = time.perf_counter()
    measured = measure()
    machine |= {
        "threads": measured.threads,
        "load_after": load_average(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - started, 1),
    }
    report = {
        "benchmark": name,
        "machine": machine,
        "notes": [*measured.notes, *_load_notes(machine)],
        "tables": {table.key: [dict(row) for row in table.rows] for table in measured.tables},
    }
    _show(console, report, measured.tables)
    if json_file is not None:
        _write(json_file, report)
    return report


def _load_notes(machine: Mapping[str, Any]) -> list[str]:
    load = max([0.0, *machine["load_before"][:1]])
    if load <= BUSY_LOAD_PER_CORE * machine["cores"]:
        return []
    return [f"Other work ran beside this (load {load:g} on {machine['cores']} cores): read the ratios, not the times."]


def _show(console: Console, report: Mapping[str, Any], tables: tuple[Table, ...]) -> None:
    machine = report["machine"]
    loads = ["/".join(f"{load:g}" for load in machine[when]) or "unknown" for when in ("load_before", "load_after")]
    head = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['platform']}; numpy {machine['numpy']}, threads "
        f"{machine['threads']}; load {loads[0]} before, {loads[1]} after; took {machine['took_s']:g} s"
    )
    console.print(Text(f"{report['benchmark']}  {machine['date']}", style="bold"))
    console.print(Text(head, style="dim"))
    for table in tables:
        shown = RichTable(title=table.title, title_justify="left", title_style="italic")
        for key in table.rows[0] if table.rows else ():
            is_text = any(isinstance(row[key], str) for row in table.rows)
            shown.add_column(key.replace("_", " "), justify="left" if is_text else "right")
        for row in table.rows:
            shown.add_row(*(Text(_as_text(cell)) for cell in row.values()))
        console.print()
        console.print(shown)
    for note in report["notes"]:
        console.print(Text(f"* {note}"))


def _as_text(cell: Cell) -> str:
    """Three significant digits of a float, without an exponent."""
    if cell is None:
        return "-"
    if not isinstance(cell, float) or not math.isfinite(cell):
        return str(cell)
    digits = 2 if cell == 0 else min(4, max(0, 2 - math.floor(math.log10(abs(cell)))))
    return f"{cell:,.{digits}f}"


def _write(path: Path, report: Mapping[str, Any]) -> None:
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"cannot write {path}: {error.strerror or error}; the tables above hold all figures"
        ) from error


# The machine.


def describe_machine() -> dict[str, str | int]:
    """Return the machine's name and the versions that matter; imports nothing heavy."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "stream_mer": _version("stream-mer"),
    }


def load_average() -> list[float]:
    """Return the mean number of busy processes over 1, 5 and 15 minutes; empty where the system does not say."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else []


def memory_mib(field: str, pid: int | str = "self") -> float:
    """Return a field of Linux's account of a process, such as ``VmRSS``, MiB; 0 where the system does not say.

    ``ru_maxrss`` would not do: a forked process begins with the peak of its parent.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def process_cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all threads; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


# What is computed with: a checkpoint and audio.


class FoundCheckpoint(NamedTuple):
    """Folder of a checkpoint, and a sentence on it for the report."""

    folder: Path
    note: str


def find_checkpoint(name: str | None = None) -> FoundCheckpoint:
    """Find a checkpoint; without a name the default one.

    Raises:
        CheckpointError: It does not exist.
    """
    from stream_mer.emotion.checkpoint import find_model, load_checkpoint  # noqa: PLC0415 - loads the models' runtime

    folder = find_model(name or DEFAULT_MODEL).resolve()
    members = load_checkpoint(folder).joint.config.members
    return FoundCheckpoint(folder, f"Model {folder.name}, an ensemble of {members}.")


def noisy_chord(duration_s: float) -> Samples:
    """Return audio that is the same each time, 16 kHz, [n]; the cost of inference depends on its length alone."""
    n = round(duration_s * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    chord = np.sum([np.sin(2 * np.pi * f * t) for f in (110.0, 277.2, 329.6)], axis=0)
    return np.asarray(0.1 * chord + 0.05 * np.random.default_rng(0).standard_normal(n), dtype=np.float32)


def read_song(path: Path | str) -> Samples:
    """Decode a file, 16 kHz mono, [n]; gaps become silence.

    Raises:
        SourceError: It cannot be decoded.
    """
    from stream_mer.sources.file import FileSource  # noqa: PLC0415 - imports FFmpeg

    chunks = list(FileSource(path).chunks())
    samples = np.zeros(chunks[-1].end_sample, np.float32)
    for chunk in chunks:
        samples[chunk.start_sample : chunk.end_sample] = chunk.samples
    return samples


# Child processes.


def run_child(command: Sequence[str], *, timeout_s: float = _CHILD_TIMEOUT_S) -> Any:
    """Run ``python ARGUMENTS`` from the repository root; return the JSON on the last line of its output.

    Raises:
        StreamMerError: It failed or took too long; the message holds the last line of its errors.
    """
    try:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired as error:
        raise StreamMerError(f"python {' '.join(command)} took longer than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise StreamMerError(f"python {' '.join(command)} failed: {last_line(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])


def last_line(text: str) -> str:
    """Return the last line of a process's output."""
    return (text.strip().splitlines() or ["no output"])[-1]


class Child:
    """A process that answers lines with lines of JSON; see ``open_child``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer.

        Raises:
            StreamMerError: The process has ended.
        """
        self.send(line)
        return self.receive()

    def send(self, line: str) -> None:
        """Send a line, which will be answered."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except OSError as error:
            raise StreamMerError(f"the process under test ended early: {error}") from error

    def receive(self) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            StreamMerError: The process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise StreamMerError("the process under test ended early; its errors are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def open_child(
    *arguments: str, python: Path | str = sys.executable, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Start ``PYTHON ARGUMENTS``; close its input at the end, and kill it if it does not end then."""
    process = subprocess.Popen(
        [str(python), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
    )
    with process:
        try:
            yield Child(process)
            with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                process.communicate(timeout=30.0)
        finally:
            process.kill()


def answer(value: Mapping[str, Any]) -> None:
    """In a child: write one answer."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
