"""Compute of one update on one core, beside VibeNet and MSD-MusiCNN.

For each hop length, context and number of lyric lines a real stream is opened (windower, both spectrograms, MusiCNN,
YAMNet, joint model), filled with one context of audio, and then timed hop by hop. For comparison, the same run times:

floor        the log-mel spectrogram of the new hop alone, which every method needs;
naive        a new stream over the whole last 3 s: the same networks without keeping anything;
MSD-MusiCNN  the published network, the origin of ours, on a window of 3 s (--musicnn);
VibeNet      0.1.0 on a window of 3 s, spectrogram included, in a process of its own (--vibenet-python).

Times are CPU times of the one thread that computes, so that other work on the machine counts as little as possible.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import click
import numpy as np

from benchmarks.harness import (
    Cell,
    Measurement,
    PeerMissingError,
    Row,
    Table,
    count_option,
    find_checkpoint,
    model_option,
    noisy_chord,
    path_option,
    percentile,
)
from benchmarks.parts import MODEL_SEAMS, PartTimers, time_parts
from benchmarks.taggers import MUSICNN, VIBENET, WINDOW_S, open_musicnn, open_vibenet
from stream_mer.audio.features import LogMelStream
from stream_mer.audio.windowing import Windower
from stream_mer.config import WindowSettings
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.types import NO_LYRICS, SAMPLE_RATE_HZ, AudioChunk, EncodedLine, LyricState, Window, seconds
from stream_mer.utils.blas import use_one_thread

LINES_AGE_S = 4.0  # between two lines of lyrics
PEER_WINDOW_S = 3.0  # what VibeNet and the naive way get at every hop
FLOOR, NAIVE = "floor", "naive"
_SEED = 20260422

OPTIONS = (
    click.Option(["--hop", "hops_s"], type=float, multiple=True, default=(0.1, 0.25, 0.5, 1.0), show_default=True),
    click.Option(["--context", "contexts_s"], type=float, multiple=True, default=(10,), show_default=True),
    click.Option(
        ["--lines", "line_counts"],
        type=click.IntRange(min=0),
        multiple=True,
        default=(0, 8),
        show_default=True,
        help="Lines of lyrics in each window.",
    ),
    count_option("--runs", 5, "Runs over the whole grid."),
    count_option("--repeats", 20, "Hops timed in each run."),
    model_option(),
    path_option("--musicnn", "Published tensors of MSD-MusiCNN (.npz).", "STREAM_MER_MUSICNN"),
    path_option("--vibenet-python", "Interpreter that has vibenet 0.1.0.", "STREAM_MER_VIBENET_PYTHON"),
)


_NOTES = (
    "A token comes every 0.5 s, whatever the hop. Features: cutting, both log-mel spectrograms.",
    "Fusion: the joint model, with the lyrics. Total: all of these, and handing the window over.",
    f"Naive, {VIBENET}: {PEER_WINDOW_S:g} s at every hop; {MUSICNN}: {WINDOW_S:.0f} s.",
)


class Point(NamedTuple):
    """One point of the grid."""

    settings: WindowSettings
    n_lines: int


@dataclass(slots=True, kw_only=True)
class Timings:
    """One point of the grid: means of each run, ms, by part; ratios to the peers by name; and every single hop."""

    parts: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    total_ms: list[float] = field(default_factory=list)
    each_ms: list[float] = field(default_factory=list)


def measure(
    *,
    hops_s: tuple[float, ...],
    contexts_s: tuple[float, ...],
    line_counts: tuple[int, ...],
    runs: int,
    repeats: int,
    model: str | None = None,
    musicnn: Path | None = None,
    vibenet_python: Path | None = None,
) -> Measurement:
    """Time the grid ``runs`` times, and what it is compared with as often."""
    grid = [
        Point(WindowSettings(hop_s=hop_s, context_s=context_s), n_lines)
        for hop_s in hops_s
        for n_lines in line_counts
        for context_s in contexts_s
    ]
    found = find_checkpoint(model)
    use_one_thread()
    predictor = EmotionPredictor.load(found.folder)
    with contextlib.ExitStack() as stack:
        ways = {_floor_name(hop_s): _floor(hop_s) for hop_s in hops_s}
        ways[NAIVE] = _naive(predictor)
        missing = _add_peers(ways, stack, musicnn, vibenet_python)
        timings, costs = time_grid(predictor, grid, ways, runs=runs, repeats=repeats)
    peers: list[Row] = [{"what": name, "cpu_ms": median(all_costs)} for name, all_costs in costs.items()]
    return Measurement(
        tables=(
            Table(key="grid", title="One update on the live path", rows=_grid_rows(grid, timings)),
            Table(key="peers", title="For comparison, same runs", rows=peers),
        ),
        notes=(
            found.note,
            *missing,
            f"CPU time of one thread; medians of {runs} runs, each the mean of {repeats} hops. Ratios within a run.",
            *_NOTES,
        ),
    )


def time_grid(
    predictor: EmotionPredictor,
    grid: Sequence[Point],
    ways: Mapping[str, Callable[[], float]],
    *,
    runs: int,
    repeats: int,
) -> tuple[list[Timings], dict[str, list[float]]]:
    """Return the timings of each point, and the costs of the other ways, CPU ms, one a run."""
    timings = [Timings() for _ in grid]
    costs: dict[str, list[float]] = {name: [] for name in ways}
    with time_parts(MODEL_SEAMS) as timers:
        for _ in range(runs):
            run = {name: way() for name, way in ways.items()}
            for name, cost in run.items():
                costs[name].append(cost)
            for point, timing in zip(grid, timings, strict=True):
                _time_stream(predictor, timers, point, repeats, timing)
                for name, cost in run.items():
                    timing.ratios.setdefault(name, []).append(timing.total_ms[-1] / cost)
    return timings, costs


def _time_stream(predictor: EmotionPredictor, timers: PartTimers, point: Point, repeats: int, timing: Timings) -> None:
    """Run one stream and add its means to ``timing``."""
    settings, n_lines = point
    stream = predictor.open_stream(settings)
    each_ms: list[float] = []
    before: Mapping[str, float] = {}
    for i, window in enumerate(_windows(settings, repeats)):
        lyrics = _lyrics(n_lines, seconds(window.end_sample))
        started = time.thread_time()
        stream.predict(window, lyrics)
        if i == 0:  # this one filled the context
            before = timers.read_ms()
        else:
            each_ms.append(1e3 * (time.thread_time() - started))
    for part, spent_ms in timers.read_ms().items():
        timing.parts.setdefault(part, []).append((spent_ms - before[part]) / repeats)
    timing.total_ms.append(fmean(each_ms))
    timing.each_ms.extend(each_ms)


def _windows(settings: WindowSettings, repeats: int) -> Iterator[Window]:
    """A window with the whole context, then ``repeats`` more, one hop apart, as the windower cuts them."""
    filled = -(-settings.context_samples // settings.hop_samples)
    audio = noisy_chord(seconds((filled + repeats) * settings.hop_samples))
    windows = Windower(settings).feed(AudioChunk(start_sample=0, samples=audio))
    yield from windows[filled - 1 :]


def _lyrics(n_lines: int, t1: float) -> LyricState:
    """The newest ``n_lines`` at ``t1`` seconds of a song that ends a line every ``LINES_AGE_S``."""
    newest = math.floor(t1 / LINES_AGE_S)
    return LyricState(lines=tuple(_line(i) for i in range(newest - n_lines + 1, newest + 1)), health="ok")


@functools.cache
def _line(number: int) -> EncodedLine:
    vector = np.random.default_rng([_SEED, abs(number)]).standard_normal(LINE_FEATURES).astype(np.float32)
    vector /= np.linalg.norm(vector)
    return EncodedLine(t1=LINES_AGE_S * number, vector=vector, reliability=0.8, n_words=7)


# What the live path is compared with; each function returns a way to measure it once, CPU ms.


def _floor_name(hop_s: float) -> str:
    return f"{FLOOR}: log-mel of a hop of {hop_s:g} s"


def _add_peers(
    ways: dict[str, Callable[[], float]],
    stack: contextlib.ExitStack,
    musicnn: Path | None,
    vibenet_python: Path | None,
) -> list[str]:
    """Add the peers that exist here; return a note on each of the others."""
    missing = []
    try:
        tagger = open_musicnn(musicnn, one_thread=True)
        samples = noisy_chord(WINDOW_S + 512 / SAMPLE_RATE_HZ)  # a little more than a whole window
        ways[MUSICNN] = lambda: median(_cpu_ms(lambda: tagger.features(samples)) for _ in range(3))
    except PeerMissingError as error:
        missing.append(f"{MUSICNN} was left out: {error}")
    try:
        vibenet = stack.enter_context(open_vibenet(vibenet_python))
        ways[VIBENET] = lambda: 1e3 * vibenet.cpu_s(PEER_WINDOW_S, repeats=3)
    except PeerMissingError as error:
        missing.append(f"{VIBENET} was left out: {error}")
    return missing


def _floor(hop_s: float) -> Callable[[], float]:
    hop, streaming = noisy_chord(hop_s), LogMelStream()
    return lambda: median(_cpu_ms(lambda: streaming.feed(hop)) for _ in range(20))


def _naive(predictor: EmotionPredictor) -> Callable[[], float]:
    settings = WindowSettings(context_s=PEER_WINDOW_S)
    (window,) = _windows(settings, repeats=0)
    return lambda: median(
        _cpu_ms(functools.partial(predictor.open_stream(settings).predict, window, NO_LYRICS)) for _ in range(5)
    )


def _cpu_ms(run: Callable[[], object]) -> float:
    started = time.thread_time()
    run()
    return 1e3 * (time.thread_time() - started)


def _grid_rows(grid: Sequence[Point], timings: Sequence[Timings]) -> list[Row]:
    return [
        {
            "hop_s": float(settings.hop_s),
            "context_s": float(settings.context_s),
            "lines": n_lines,
            **{f"{name}_ms": median(costs) for name, costs in timing.parts.items()},
            "total_ms": median(timing.total_ms),
            "total_p95_ms": percentile(timing.each_ms, 95),
            "real_time_percent": median(timing.total_ms) / settings.hop_s / 10,
            "total_over_floor": _ratio(timing, _floor_name(settings.hop_s)),
            "total_of_vibenet": _ratio(timing, VIBENET),
            "total_of_musicnn": _ratio(timing, MUSICNN),
        }
        for (settings, n_lines), timing in zip(grid, timings, strict=True)
    ]


def _ratio(timing: Timings, peer: str) -> Cell:
    return median(timing.ratios[peer]) if peer in timing.ratios else None
