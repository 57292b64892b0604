"""Imports, time to the first frame, memory, what stays unloaded.

Everything happens in fresh processes, once unmeasured to warm the disk's cache, then several times in turn. The floors
are measured in the same run: an empty Python for the command, and `import torch` for everything that computes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np

from benchmarks.checkpoints import open_checkpoint
from benchmarks.report import Cell, Column, Measurement, Table
from stream_mer.errors import StreamMerError

ROOT = Path(__file__).parent.parent
WAV_S = 2.0
PROBE_TIMEOUT_S = 120.0
KEPT_OUT = ("librosa", "numba", "matplotlib", "sklearn", "scipy", "pyaudio")
"""Packages that must not be loaded by the live path: each costs seconds or wants a sound card."""

_IMPORTS = {
    "empty Python": "pass",
    "import torch": "import torch",
    "import stream_mer.cli": "import stream_mer.cli",
    "import the live path": "import benchmarks.startup_probe as probe; probe.import_live_path()",
}

OPTIONS = (
    click.Option(["--runs"], type=click.IntRange(min=1), default=5, show_default=True, help="Times each is started."),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)


class _Started(NamedTuple):
    """One start: milliseconds from starting the process until it said that it was there, and of the import alone."""

    ready_ms: float
    import_ms: float | None = None


def measure(*, runs: int, model: str | None = None) -> Measurement:
    """Start everything ``runs`` times.

    Raises:
        CheckpointError: The checkpoint that was named is not there.
        StreamMerError: A process failed; the message holds the last line that it said.
    """
    with open_checkpoint(model) as found, tempfile.TemporaryDirectory(prefix="stream-mer-benchmark-") as temporary:
        wav = Path(temporary) / "two-seconds.wav"
        write_wav(wav)
        starts: dict[str, list[_Started]] = {name: [] for name in (*_IMPORTS, "tag: first frame on stdout")}
        for run in range(runs + 1):
            for name, started in _start_all(wav, found.folder).items():
                if run > 0:  # the first one warmed the disk's cache
                    starts[name].append(started)
        probes = {
            "audio only": run_probe(wav, found.folder, lyrics=False),
            "with lyrics": run_probe(wav, found.folder, lyrics=True),
        }
    return Measurement(
        tables=(_start_table(starts), _memory_table(probes), _unloaded_table(probes)),
        notes=(
            found.note,
            f"Medians of {runs} starts; the first frame is of `stream-mer tag --no-lyrics` on a wav of {WAV_S:g} s.",
            "Memory of a process after one stream; with lyrics: Whisper base and the sentence encoder loaded too.",
            *(f"{name}: {probe['lyrics_error']}" for name, probe in probes.items() if probe["lyrics_error"]),
        ),
        threads=1,
    )


def write_wav(path: Path) -> None:
    """Write a wav of a tone that swells: 2 s, 16 bit, mono, 44.1 kHz."""
    rate_hz = 44_100
    t = np.arange(round(WAV_S * rate_hz)) / rate_hz
    samples = np.round(16_000 * np.sin(2 * np.pi * 440 * t) * t / WAV_S).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def run_probe(wav: Path, model: Path, *, lyrics: bool) -> dict[str, Any]:
    """Run ``benchmarks.startup_probe`` in a fresh process; what it found.

    Raises:
        StreamMerError: It failed.
    """
    arguments = [str(wav.resolve()), str(model.resolve()), *KEPT_OUT, *(["--lyrics"] if lyrics else [])]
    output = _run([sys.executable, "-m", "benchmarks.startup_probe", *arguments])
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _start_all(wav: Path, model: Path) -> dict[str, _Started]:
    started = {name: _time_import(code) for name, code in _IMPORTS.items()}
    started["tag: first frame on stdout"] = _time_first_frame(wav, model)
    return started


def _time_import(code: str) -> _Started:
    script = f"import time; t = time.perf_counter(); {code}; print(1e3 * (time.perf_counter() - t), flush=True)"
    ready_ms, line = _time_first_line([sys.executable, "-c", script])
    return _Started(ready_ms=ready_ms, import_ms=float(line))


def _time_first_frame(wav: Path, model: Path) -> _Started:
    ready_ms, line = _time_first_line(
        [sys.executable, "-m", "stream_mer", "tag", "--no-lyrics", "--model", str(model.resolve()), str(wav)]
    )
    assert json.loads(line)["type"] == "emotion", line
    return _Started(ready_ms=ready_ms)


def _time_first_line(command: list[str]) -> tuple[float, str]:
    """Milliseconds from starting a command until its first line, and that line; then its end is waited for."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took_ms = 1e3 * (time.perf_counter() - begun)
        _, errors = process.communicate(timeout=PROBE_TIMEOUT_S)
    if process.returncode != 0 or not line:
        raise StreamMerError(f"{_shown(command)} failed: {_last_line(errors)}")
    return took_ms, line


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise StreamMerError(f"{_shown(command)} failed: {_last_line(done.stderr)}")
    return done.stdout


def _shown(command: list[str]) -> str:
    return " ".join(["python", *command[1:]])


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _start_table(starts: Mapping[str, list[_Started]]) -> Table:
    floors = {name: median(one.ready_ms for one in starts[name]) for name in ("empty Python", "import torch")}
    rows: list[dict[str, Cell]] = []
    for name, runs in starts.items():
        ready_ms = [one.ready_ms for one in runs]
        import_ms = [one.import_ms for one in runs if one.import_ms is not None]
        rows.append(
            {
                "step": name,
                "import_ms": median(import_ms) if import_ms else None,
                "ready_ms": median(ready_ms),
                "ready_min_ms": min(ready_ms),
                "ready_max_ms": max(ready_ms),
                "over_empty_python": median(ready_ms) / floors["empty Python"],
                "over_import_torch": median(ready_ms) / floors["import torch"],
            }
        )
    return Table(
        key="starts",
        title="Starts of a fresh process",
        columns=(
            Column(key="step", title="what"),
            Column(key="import_ms", title="import alone ms", digits=0),
            Column(key="ready_ms", title="from process start ms", digits=0),
            Column(key="ready_min_ms", title="min", digits=0),
            Column(key="ready_max_ms", title="max", digits=0),
            Column(key="over_empty_python", title="/ empty Python", digits=1),
            Column(key="over_import_torch", title="/ import torch"),
        ),
        rows=tuple(rows),
    )


def _memory_table(probes: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        key="memory",
        title="Memory of one process with one stream",
        columns=(
            Column(key="process", title="process"),
            Column(key="torch_mib", title="after import torch MiB", digits=0),
            Column(key="rest_mib", title="at rest MiB", digits=0),
            Column(key="peak_mib", title="peak MiB", digits=0),
        ),
        rows=tuple(
            {
                "process": name,
                "torch_mib": probe["torch_mib"],
                "rest_mib": None if probe["lyrics_error"] else probe["rest_mib"],
                "peak_mib": None if probe["lyrics_error"] else probe["peak_mib"],
            }
            for name, probe in probes.items()
        ),
    )


def _unloaded_table(probes: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        key="loaded",
        title="Loaded by the live path (serve imported, a stream run): 0 is what must be",
        columns=(
            Column(key="package", title="package"),
            *(Column(key=name.replace(" ", "_"), title=name) for name in probes),
        ),
        rows=tuple(
            {"package": package}
            | {name.replace(" ", "_"): int(package in probe["loaded"]) for name, probe in probes.items()}
            for package in KEPT_OUT
        ),
    )
