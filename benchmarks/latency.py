"""Compute of one update on one core, beside VibeNet and MSD-MusiCNN.

For each hop length, context and number of lyric lines a real stream is opened (windower, both spectrograms, MusiCNN,
YAMNet, joint model), filled with one context of audio, and then timed hop by hop. In the same run are measured, to
compare with:

floor        the log-mel spectrogram of the new hop alone: nothing that hears music does less;
naive        the spectrogram and one pass of our backbone over the whole last 3 s: the same network, not as a stream;
MSD-MusiCNN  the published network, from which ours descends, on a window of 3 s (--musicnn);
VibeNet      0.1.0 on a window of 3 s, spectrogram and all, in a process of its own (--vibenet-python).

Times are processor time of the one thread that computes, so that other work on the machine counts as little as it can.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import click
import numpy as np

from benchmarks.checkpoints import open_checkpoint
from benchmarks.latency_peers import FLOOR, MUSICNN, TITLES, Peers, floor_name, open_peers
from benchmarks.peers_timing import noisy_chord
from benchmarks.peers_vibenet import SYSTEM as VIBENET
from benchmarks.report import Cell, Column, Measurement, Table
from stream_mer.audio.windowing import Windower
from stream_mer.config import WindowSettings
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.types import AudioChunk, EncodedLine, LyricState, Window, seconds

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
        ["--runs"], type=click.IntRange(min=1), default=5, show_default=True, help="Runs over the whole grid."
    ),
    click.Option(["--repeats"], type=click.IntRange(min=1), default=20, show_default=True, help="Hops timed a run."),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
    click.Option(
        ["--musicnn"],
        type=click.Path(path_type=Path),
        envvar="STREAM_MER_MUSICNN",
        help="Published tensors of MSD-MusiCNN (.npz).",
    ),
    click.Option(
        ["--vibenet-python"],
        type=click.Path(path_type=Path),
        envvar="STREAM_MER_VIBENET_PYTHON",
        help="Interpreter that has vibenet 0.1.0.",
    ),
)


class _Point(NamedTuple):
    """One point of the grid."""

    settings: WindowSettings
    n_lines: int


@dataclass(slots=True, kw_only=True)
class _Timings:
    """One point of the grid: means of each run, ms, by stage; ratios to the peers by name; and every single hop."""

    stages: dict[str, list[float]] = field(default_factory=dict)
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
    """Time the grid ``runs`` times.

    Raises:
        CheckpointError: The checkpoint that was named is not there.
        SettingError: A hop or context is out of range.
    """
    grid = [
        _Point(WindowSettings(hop_s=hop_s, context_s=context_s), n_lines)
        for hop_s in hops_s
        for n_lines in line_counts
        for context_s in contexts_s
    ]
    timings = [_Timings() for _ in grid]
    with open_checkpoint(model) as found, contextlib.ExitStack() as stack:
        predictor = EmotionPredictor.load(found.folder, threads=1)
        backbone = predictor.checkpoint.backbone
        peers = open_peers(stack, backbone=backbone, hops_s=hops_s, musicnn=musicnn, vibenet_python=vibenet_python)
        stages = Stages(predictor)
        for _ in range(runs):
            costs = peers.time_all()
            for point, timing in zip(grid, timings, strict=True):
                _time_stream(stages, point, repeats, costs, timing)
    return Measurement(
        tables=(_grid_table(grid, timings), _context_table(grid, timings), _peer_table(peers, hops_s)),
        notes=(
            found.note,
            *peers.missing,
            f"Processor time of one thread; medians of {runs} runs, each the mean of {repeats} hops.",
            "Ratios are taken within a run.",
            "A token comes every 0.5 s, whatever the hop. Features: cutting, both log-mel spectrograms.",
            "Joint: principal components, private and shared layers of audio. Text: those of words.",
            "Fusion: self-attention and the heads. Total: all of these and what surrounds them.",
        ),
        threads=1,
    )


class Stages:
    """Clocks around the parts of a predictor.

    Args:
        predictor: Its parts are replaced by clocked ones.
    """

    NAMES = ("features", "musicnn", "yamnet", "joint", "text", "fusion")
    _NETWORKS = ("musicnn", "yamnet")

    def __init__(self, predictor: EmotionPredictor) -> None:
        self.predictor = predictor
        self._spent_s = dict.fromkeys(self.NAMES, 0.0)
        audio, joint = predictor.audio, predictor.joint
        audio.yamnet.load()
        audio.yamnet = copy.copy(audio.yamnet)  # others share the one that was there
        for part, method, stage in (
            (audio, "feed", "features"),
            (audio.backbone, "feed", "musicnn"),
            (audio.backbone, "tokens", "musicnn"),
            (audio.yamnet, "run", "yamnet"),
            (joint.components, "forward", "joint"),
            (joint, "encode_audio", "joint"),
            (joint, "pool_audio", "joint"),
            (joint, "encode_text", "text"),
            (joint, "combine", "fusion"),
        ):
            setattr(part, method, self._clocked(getattr(part, method), stage))

    def _clocked(self, run: Callable[..., object], stage: str) -> Callable[..., object]:
        def clocked(*args: object) -> object:
            networks_s, started = self._networks_s(), time.thread_time()
            result = run(*args)
            spent_s = time.thread_time() - started
            if stage == "features":  # what the audio branch spends apart from its networks
                spent_s -= self._networks_s() - networks_s
            self._spent_s[stage] += spent_s
            return result

        return clocked

    def _networks_s(self) -> float:
        return sum(self._spent_s[name] for name in self._NETWORKS)

    def take_ms(self) -> dict[str, float]:
        """What each stage has cost since this was asked last."""
        told = {name: 1e3 * self._spent_s[name] for name in self.NAMES}
        self._spent_s = dict.fromkeys(self._spent_s, 0.0)
        return told


def _time_stream(stages: Stages, point: _Point, repeats: int, costs: dict[str, float], timing: _Timings) -> None:
    """Run one stream and add its run's means to ``timing``."""
    settings, n_lines = point
    stream = stages.predictor.open_stream(settings)
    each_ms: list[float] = []
    of_stages: dict[str, list[float]] = {name: [] for name in Stages.NAMES}
    for i, window in enumerate(_windows(settings, repeats)):
        lyrics = _lyrics(n_lines, seconds(window.end_sample))
        stages.take_ms()
        started = time.thread_time()
        stream.predict(window, lyrics)
        if i == 0:  # this one filled the context
            continue
        each_ms.append(1e3 * (time.thread_time() - started))
        for name, cost in stages.take_ms().items():
            of_stages[name].append(cost)
    total_ms = fmean(each_ms)
    for name, all_costs in of_stages.items():
        timing.stages.setdefault(name, []).append(fmean(all_costs))
    for name, cost in {**costs, FLOOR: costs[floor_name(settings.hop_s)]}.items():
        timing.ratios.setdefault(name, []).append(total_ms / cost)
    timing.total_ms.append(total_ms)
    timing.each_ms.extend(each_ms)


def _windows(settings: WindowSettings, repeats: int) -> Iterator[Window]:
    """A window with the whole context, then ``repeats`` more, one hop apart, as the windower cuts them."""
    filled = -(-settings.context_samples // settings.hop_samples)
    audio = noisy_chord(seconds((filled + repeats) * settings.hop_samples))
    windows = Windower(settings).feed(AudioChunk(start_sample=0, samples=audio))
    yield from windows[filled - 1 :]


def _lyrics(n_lines: int, t1: float) -> LyricState:
    """``n_lines`` committed lines, the newest 1 s old."""
    rng = np.random.default_rng(_SEED)
    lines = []
    for i in reversed(range(n_lines)):
        vector = rng.standard_normal(LINE_FEATURES).astype(np.float32)
        vector /= np.linalg.norm(vector)
        lines.append(EncodedLine(t1=t1 - 1.0 - LINES_AGE_S * i, vector=vector, reliability=0.8, n_words=7))
    return LyricState(lines=tuple(lines), health="ok")


def _grid_table(grid: Sequence[_Point], timings: Sequence[_Timings]) -> Table:
    return Table(
        key="grid",
        title="One update on the live path",
        columns=(
            Column(key="hop_s", title="hop s"),
            Column(key="context_s", title="context s", digits=0),
            Column(key="lines", title="lyric lines"),
            *(Column(key=f"{name}_ms", title=f"{name} ms") for name in Stages.NAMES),
            Column(key="total_ms", title="total ms"),
            Column(key="total_p95_ms", title="p95 ms"),
            Column(key="real_time_percent", title="% of real time"),
            Column(key="total_over_floor", title="/ floor", digits=1),
            Column(key="total_of_vibenet", title="/ VibeNet"),
            Column(key="total_of_musicnn", title="/ MusiCNN", digits=3),
        ),
        rows=tuple(
            {
                "hop_s": float(settings.hop_s),
                "context_s": float(settings.context_s),
                "lines": n_lines,
                **{f"{name}_ms": median(costs) for name, costs in timing.stages.items()},
                "total_ms": median(timing.total_ms),
                "total_p95_ms": float(np.percentile(timing.each_ms, 95)),
                "real_time_percent": median(timing.total_ms) / settings.hop_s / 10,
                "total_over_floor": median(timing.ratios[FLOOR]),
                "total_of_vibenet": _ratio(timing, VIBENET),
                "total_of_musicnn": _ratio(timing, MUSICNN),
            }
            for (settings, n_lines), timing in zip(grid, timings, strict=True)
        ),
    )


def _ratio(timing: _Timings, peer: str) -> Cell:
    return median(timing.ratios[peer]) if peer in timing.ratios else None


def _context_table(grid: Sequence[_Point], timings: Sequence[_Timings]) -> Table:
    """What the longest context costs beside the shortest, within each run."""
    contexts = [point.settings.context_s for point in grid]
    short, long = min(contexts), max(contexts)
    found = {(p.settings.hop_s, p.n_lines, p.settings.context_s): t for p, t in zip(grid, timings, strict=True)}
    return Table(
        key="contexts",
        title=f"A context of {long:g} s beside one of {short:g} s",
        columns=(
            Column(key="hop_s", title="hop s"),
            Column(key="lines", title="lyric lines"),
            Column(key="long_over_short", title=f"{long:g} s / {short:g} s"),
        ),
        rows=tuple(
            {
                "hop_s": float(hop_s),
                "lines": n_lines,
                "long_over_short": median(
                    one / other
                    for one, other in zip(
                        found[hop_s, n_lines, long].total_ms, found[hop_s, n_lines, short].total_ms, strict=True
                    )
                ),
            }
            for hop_s, n_lines in sorted({(hop_s, n_lines) for hop_s, n_lines, _ in found})
        ),
    )


def _peer_table(peers: Peers, hops_s: Sequence[float]) -> Table:
    titles = {floor_name(hop_s): TITLES[FLOOR].format(hop_s=hop_s) for hop_s in hops_s} | TITLES
    return Table(
        key="peers",
        title="To compare with, same runs",
        columns=(Column(key="what", title="what"), Column(key="cpu_ms", title="ms")),
        rows=tuple({"what": titles[name], "cpu_ms": median(costs)} for name, costs in peers.costs.items()),
    )
