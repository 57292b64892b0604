"""Imports, time to the first frame, memory, and what stays unloaded.

Everything runs in fresh processes, once unmeasured to warm the disk cache, then several times in turn. The floors are
measured in the same run: an empty Python for the command, and `import torch` for everything that computes.
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

import numpy as np

from benchmarks.harness import (
    ROOT,
    Measurement,
    Row,
    Table,
    answer,
    count_option,
    find_checkpoint,
    last_line,
    memory_mib,
    model_option,
    run_child,
)
from stream_mer.errors import LyricsError, StreamMerError

WAV_S = 2.0
PROBE_TIMEOUT_S = 120.0
KEPT_OUT = ("librosa", "numba", "matplotlib", "sklearn", "scipy", "pyaudio")
"""Packages that the live path must not load: each costs seconds or wants a sound card."""

_FIRST_FRAME = "tag: first frame on stdout"
_IMPORTS = {
    "empty Python": "pass",
    "import torch": "import torch",
    "import stream_mer.cli": "import stream_mer.cli",
    "import the live path": "import benchmarks.startup as probe; probe.import_live_path()",
}

OPTIONS = (count_option("--runs", 5, "Starts of each."), model_option())


class _Started(NamedTuple):
    """One start: milliseconds from starting the process until its first line, and of the import alone."""

    ready_ms: float
    import_ms: float | None = None


def measure(*, runs: int, model: str | None = None) -> Measurement:
    """Start everything ``runs`` times."""
    found = find_checkpoint(model)
    with tempfile.TemporaryDirectory(prefix="stream-mer-benchmark-") as temporary:
        wav = Path(temporary) / "two-seconds.wav"
        write_wav(wav)
        starts: dict[str, list[_Started]] = {name: [] for name in (*_IMPORTS, _FIRST_FRAME)}
        for run in range(runs + 1):
            for name, started in _start_all(wav, found.folder).items():
                if run > 0:  # the first one warmed the disk cache
                    starts[name].append(started)
        probes = {
            "audio only": run_probe(wav, found.folder, lyrics=False),
            "with lyrics": run_probe(wav, found.folder, lyrics=True),
        }
    memory = [
        {
            "process": name,
            "torch_mib": probe["torch_mib"],
            "rest_mib": None if probe["lyrics_error"] else probe["rest_mib"],
            "peak_mib": None if probe["lyrics_error"] else probe["peak_mib"],
        }
        for name, probe in probes.items()
    ]
    loaded = [
        {"package": package}
        | {name.replace(" ", "_"): int(package in probe["loaded"]) for name, probe in probes.items()}
        for package in KEPT_OUT
    ]
    return Measurement(
        tables=(
            Table(key="starts", title="Starts of a fresh process", rows=_start_rows(starts)),
            Table(key="memory", title="Memory of one process with one stream", rows=memory),
            Table(key="loaded", title="Loaded by the live path (1: yes; all should be 0)", rows=loaded),
        ),
        notes=(
            found.note,
            f"Medians of {runs} starts; the first frame is of `stream-mer tag --no-lyrics` on a wav of {WAV_S:g} s.",
            "Memory of a process after one stream; with lyrics: Whisper base and the sentence encoder loaded too.",
            *(f"{name}: {probe['lyrics_error']}" for name, probe in probes.items() if probe["lyrics_error"]),
        ),
    )


def write_wav(path: Path) -> None:
    """Write a wav of a rising tone: 2 s, 16 bit, mono, 44.1 kHz."""
    rate_hz = 44_100
    t = np.arange(round(WAV_S * rate_hz)) / rate_hz
    samples = np.round(16_000 * np.sin(2 * np.pi * 440 * t) * t / WAV_S).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def run_probe(wav: Path, model: Path, *, lyrics: bool) -> dict[str, Any]:
    """Run one stream in a fresh process; return its memory and which packages it loaded."""
    arguments = [str(wav), str(model), "lyrics" if lyrics else "audio"]
    found: dict[str, Any] = run_child(["-m", "benchmarks.startup", *arguments], timeout_s=PROBE_TIMEOUT_S)
    return found


def _start_all(wav: Path, model: Path) -> dict[str, _Started]:
    started = {}
    for name, code in _IMPORTS.items():
        script = f"import time; t = time.perf_counter(); {code}; print(1e3 * (time.perf_counter() - t), flush=True)"
        ready_ms, line = _time_first_line(["-c", script])
        started[name] = _Started(ready_ms=ready_ms, import_ms=float(line))
    tag = ["-m", "stream_mer", "tag", "--no-lyrics", "--model", str(model), str(wav)]
    ready_ms, line = _time_first_line(tag)
    assert json.loads(line)["type"] == "emotion", line
    return started | {_FIRST_FRAME: _Started(ready_ms=ready_ms)}


def _time_first_line(arguments: list[str]) -> tuple[float, str]:
    """Milliseconds from starting Python until its first line, and that line."""
    begun = time.perf_counter()
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took_ms = 1e3 * (time.perf_counter() - begun)
        _, errors = process.communicate(timeout=PROBE_TIMEOUT_S)
    if process.returncode != 0 or not line:
        raise StreamMerError(f"python {' '.join(arguments)} failed: {last_line(errors)}")
    return took_ms, line


def _start_rows(starts: Mapping[str, list[_Started]]) -> list[Row]:
    floors = {name: median(one.ready_ms for one in starts[name]) for name in ("empty Python", "import torch")}
    rows: list[Row] = []
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
    return rows


# In the child process. The order of imports is what is measured.


def import_live_path() -> None:
    """Import everything that `stream-mer serve` needs before its first frame, torchaudio's transforms included."""
    import stream_mer.cli.serve  # noqa: PLC0415, F401 - measured
    from stream_mer.audio.features import LogMelStream  # noqa: PLC0415 - likewise

    LogMelStream()


def probe_stream(wav: str, model: str, *, lyrics: bool) -> dict[str, Any]:
    """Run one stream; return memory, MiB, and the packages of ``KEPT_OUT`` that were loaded."""
    import torch  # noqa: F401, PLC0415 - its memory is the floor

    torch_mib = memory_mib("VmRSS")
    import_live_path()
    from stream_mer.config import EngineSettings, LyricsSettings  # noqa: PLC0415 - measured
    from stream_mer.engine import Engine, configure_torch  # noqa: PLC0415 - measured
    from stream_mer.lyrics.text_features import SentenceEncoder  # noqa: PLC0415 - measured
    from stream_mer.lyrics.whisper import WhisperRecogniser  # noqa: PLC0415 - measured
    from stream_mer.sources.file import FileSource  # noqa: PLC0415 - measured

    class NullSink:
        def publish(self, event: object) -> None: ...

    configure_torch()
    engine = Engine(EngineSettings(model=model, lyrics=LyricsSettings(mode="off")))
    engine.pipeline(FileSource(wav), NullSink(), in_real_time=True).run()
    lyrics_error = ""
    if lyrics:  # loaded directly: a stream of a tone would not need the encoder
        try:
            recogniser, encoder = WhisperRecogniser(allow_download=False), SentenceEncoder()
            recogniser.load()
            encoder.encode("a line of words")
        except LyricsError as error:
            lyrics_error = str(error)
    return {
        "torch_mib": torch_mib,
        "rest_mib": memory_mib("VmRSS"),
        "peak_mib": memory_mib("VmHWM"),
        "loaded": [package for package in KEPT_OUT if package in sys.modules],
        "lyrics_error": lyrics_error,
    }


if __name__ == "__main__":
    answer(probe_stream(sys.argv[1], sys.argv[2], lyrics=sys.argv[3] == "lyrics"))
