"""Compute of one hop on the live path, on one core.

For each hop length, context and number of lyric lines a real stream is opened (windower, log-mel, backbone, joint
model), filled with one context of audio, and then timed hop by hop. Two things are measured in the same run to compare
with:

floor  the log-mel spectrogram of the new hop alone: nothing that hears music does less;
naive  the spectrogram and one pass of the backbone over the whole last 3 s at every hop: what the same network costs
       if it is not run as a stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import click
import numpy as np

from benchmarks.checkpoints import open_checkpoint
from benchmarks.report import Column, Measurement, Table
from stream_mer.audio.features import LogMelStream
from stream_mer.audio.windowing import Windower
from stream_mer.config import WindowSettings
from stream_mer.emotion.backbone import TOKEN_STEPS, Backbone
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.emotion.streaming_backbone import BackboneStream, StreamingBackbone
from stream_mer.lyrics.reader import LINE_FEATURES
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EncodedLine, LyricState, Samples, Window, seconds

NAIVE_WINDOW_S = 3.0  # what the original network hears at once
LINES_AGE_S = 4.0  # between two lines of lyrics
_SEED = 20260422

OPTIONS = (
    click.Option(["--hop", "hops_s"], type=float, multiple=True, default=(0.1, 0.25, 0.5, 1.0), show_default=True),
    click.Option(["--context", "contexts_s"], type=float, multiple=True, default=(5, 10, 20, 40), show_default=True),
    click.Option(
        ["--lines", "line_counts"],
        type=click.IntRange(min=0),
        multiple=True,
        default=(0, 8),
        show_default=True,
        help="Lines of lyrics that each frame reads.",
    ),
    click.Option(
        ["--runs"], type=click.IntRange(min=1), default=3, show_default=True, help="Runs over the whole grid."
    ),
    click.Option(["--repeats"], type=click.IntRange(min=1), default=20, show_default=True, help="Hops timed a run."),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peers:
    """Floor and naive peer of one hop length in one run, medians, ms."""

    log_mel_ms: float
    naive_ms: float


class _Point(NamedTuple):
    """One point of the grid."""

    settings: WindowSettings
    n_lines: int


@dataclass(slots=True, kw_only=True)
class _Timings:
    """One point of the grid: the median of each run, and every single hop."""

    features_ms: list[float] = field(default_factory=list)
    model_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    over_floor: list[float] = field(default_factory=list)
    of_naive: list[float] = field(default_factory=list)
    each_ms: list[float] = field(default_factory=list)


def measure(
    *,
    hops_s: tuple[float, ...],
    contexts_s: tuple[float, ...],
    line_counts: tuple[int, ...],
    runs: int,
    repeats: int,
    model: str | None = None,
) -> Measurement:
    """Time the grid ``runs`` times.

    Raises:
        CheckpointError: The checkpoint that was named is not there.
        SettingError: A hop or context is out of range.
    """
    grid = [
        _Point(WindowSettings(hop_s=hop_s, context_s=context_s), n_lines)
        for hop_s in hops_s
        for context_s in contexts_s
        for n_lines in line_counts
    ]
    timings = [_Timings() for _ in grid]
    peers: dict[float, list[_Peers]] = {hop_s: [] for hop_s in hops_s}
    with open_checkpoint(model) as found:
        predictor = EmotionPredictor.load(found.folder, threads=1)
        for _ in range(runs):
            for hop_s in hops_s:
                peers[hop_s].append(_time_peers(predictor.checkpoint.backbone, hop_s, repeats))
            for point, timing in zip(grid, timings, strict=True):
                _time_stream(predictor, point, repeats, peers[point.settings.hop_s][-1], timing)
    return Measurement(
        tables=(_grid_table(grid, timings), _peer_table(peers)),
        notes=(
            found.note,
            f"Medians of {runs} runs of {repeats} hops each; ratios are taken within a run.",
            "Naive: spectrogram and backbone over the last 3 s at every hop, with the same weights and code.",
        ),
        threads=1,
    )


def _time_peers(backbone: Backbone, hop_s: float, repeats: int) -> _Peers:
    """Time the spectrogram of new hops, and the one pass over 3 s."""
    hop_samples = round(hop_s * SAMPLE_RATE_HZ)
    audio = _music(NAIVE_WINDOW_S + hop_s)
    streaming = LogMelStream()
    streaming.feed(audio)  # the first call is slower
    log_mel_ms = [_timed_ms(lambda: streaming.feed(audio[:hop_samples])) for _ in range(repeats)]
    naive_ms = [
        _timed_ms(_one_pass(backbone, audio[-round(NAIVE_WINDOW_S * SAMPLE_RATE_HZ) :])) for _ in range(repeats)
    ]
    return _Peers(log_mel_ms=median(log_mel_ms), naive_ms=median(naive_ms))


def _one_pass(backbone: Backbone, samples: Samples) -> Callable[[], object]:
    """What to time: one token from scratch. Building the filter bank is not part of it."""
    log_mel = LogMelStream()
    stream = BackboneStream(StreamingBackbone(backbone), context_steps=TOKEN_STEPS)

    def run() -> object:
        stream.feed(log_mel.feed(samples))
        return stream.tokens()

    return run


def _time_stream(predictor: EmotionPredictor, point: _Point, repeats: int, peers: _Peers, timing: _Timings) -> None:
    """Run one stream and add its run's medians to ``timing``."""
    settings, n_lines = point
    stream = predictor.open_stream(settings)
    features_ms, model_ms, total_ms = [], [], []
    for i, window in enumerate(_windows(settings, repeats)):
        lyrics = _lyrics(n_lines, seconds(window.end_sample))
        started = time.perf_counter()
        estimate = stream.predict(window, lyrics)
        if i == 0:  # this one filled the context
            continue
        total_ms.append(1e3 * (time.perf_counter() - started))
        features_ms.append(estimate.features_ms)
        model_ms.append(estimate.model_ms)
    timing.features_ms.append(median(features_ms))
    timing.model_ms.append(median(model_ms))
    timing.total_ms.append(median(total_ms))
    timing.over_floor.append(median(total_ms) / peers.log_mel_ms)
    timing.of_naive.append(median(features_ms) / peers.naive_ms)
    timing.each_ms.extend(total_ms)


def _windows(settings: WindowSettings, repeats: int) -> Iterator[Window]:
    """A window with the whole context, then ``repeats`` more, one hop apart, as the windower cuts them."""
    filled = -(-settings.context_samples // settings.hop_samples)
    audio = _music(seconds((filled + repeats) * settings.hop_samples))
    windows = Windower(settings).feed(AudioChunk(start_sample=0, samples=audio))
    yield from windows[filled - 1 :]


def _music(duration_s: float) -> Samples:
    """A chord in noise, the same each time. The cost depends on the length alone, so it need not be a song."""
    n = round(duration_s * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    chord = sum(np.sin(2 * np.pi * f * t) for f in (110.0, 277.2, 329.6, 1760.0))
    noise = np.random.default_rng(_SEED).standard_normal(n)
    return (0.1 * chord + 0.05 * noise).astype(np.float32)


def _lyrics(n_lines: int, t1: float) -> LyricState:
    """``n_lines`` committed lines, the newest 1 s old."""
    rng = np.random.default_rng(_SEED)
    lines = []
    for i in reversed(range(n_lines)):
        vector = rng.standard_normal(LINE_FEATURES).astype(np.float32)
        vector /= np.linalg.norm(vector)
        lines.append(EncodedLine(t1=t1 - 1.0 - LINES_AGE_S * i, vector=vector, reliability=0.8, n_words=7))
    return LyricState(lines=tuple(lines), health="ok")


def _timed_ms(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)


def _grid_table(grid: list[_Point], timings: list[_Timings]) -> Table:
    return Table(
        key="grid",
        title="One hop on the live path",
        columns=(
            Column(key="hop_s", title="hop s"),
            Column(key="context_s", title="context s", digits=0),
            Column(key="lines", title="lyric lines"),
            Column(key="features_ms", title="features + backbone ms"),
            Column(key="model_ms", title="joint model ms"),
            Column(key="total_ms", title="total ms"),
            Column(key="total_p95_ms", title="p95 ms"),
            Column(key="real_time_percent", title="% of real time", digits=1),
            Column(key="total_over_floor", title="total / floor", digits=1),
            Column(key="features_of_naive", title="features / naive"),
        ),
        rows=tuple(
            {
                "hop_s": float(settings.hop_s),
                "context_s": float(settings.context_s),
                "lines": n_lines,
                "features_ms": median(timing.features_ms),
                "model_ms": median(timing.model_ms),
                "total_ms": median(timing.total_ms),
                "total_p95_ms": float(np.percentile(timing.each_ms, 95)),
                "real_time_percent": median(timing.total_ms) / settings.hop_s / 10,
                "total_over_floor": median(timing.over_floor),
                "features_of_naive": median(timing.of_naive),
            }
            for (settings, n_lines), timing in zip(grid, timings, strict=True)
        ),
    )


def _peer_table(peers: dict[float, list[_Peers]]) -> Table:
    return Table(
        key="peers",
        title="Floor and naive peer, same runs",
        columns=(
            Column(key="hop_s", title="hop s"),
            Column(key="log_mel_ms", title="floor: log-mel of the hop ms"),
            Column(key="naive_ms", title="naive: backbone over 3 s ms"),
            Column(key="naive_percent", title="naive, % of real time", digits=1),
        ),
        rows=tuple(
            {
                "hop_s": float(hop_s),
                "log_mel_ms": median(run.log_mel_ms for run in runs),
                "naive_ms": median(run.naive_ms for run in runs),
                "naive_percent": median(run.naive_ms for run in runs) / hop_s / 10,
            }
            for hop_s, runs in peers.items()
        ),
    )
