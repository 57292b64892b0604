"""What a listener is shown of each clip while it plays: estimates, link and smoothing as in a live stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from stream_mer.config import SmoothingSettings
from stream_mer.emotion.checkpoint import Calibration
from stream_mer.emotion.estimates import TextContext, estimate
from stream_mer.emotion.smoothing import Smoother
from stream_mer.training.dataset import TOKEN_S, ClipSet
from stream_mer.training.metrics import Figure, bootstrap, figure_as_json, macro_f1
from stream_mer.types import CATEGORIES, NO_LYRICS, UNKNOWN

CONFIDENT = 0.6
"""Probability from which a frame counts as confident."""

_QUADRANT_OF_SIGNS = {(True, True): 0, (False, True): 1, (False, False): 2, (True, False): 3}
_FRAME_PLACE = round(10.0 / TOKEN_S) - 1  # the frame with 10 s heard


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """The published values of one clip, a row a frame every half second.

    Attributes:
        values: Smoothed valence and arousal, [n, 2].
        probs: Smoothed probabilities of the categories, [n, 4].
        categories: What was named, [n]; ``UNKNOWN`` where nothing was.
        changes: Cues that were sent.
    """

    values: NDArray[np.float64]
    probs: NDArray[np.float64]
    categories: tuple[str, ...]
    changes: int


def show(moments: NDArray[np.float32], calibration: Calibration, smoothing: SmoothingSettings | None = None) -> Shown:
    """Publish the model's outputs at each moment of a clip, [n, 11], as a live stream does."""
    smoother = Smoother(smoothing or SmoothingSettings())
    values, probs, categories, changes = [], [], [], 0
    for i, outputs in enumerate(moments):
        t = TOKEN_S * (i + 1)
        raw = estimate(outputs, TextContext(), NO_LYRICS, calibration, heard_s=t, words_alone=False, clock=(0.0, 0.0))
        smoothed = smoother.feed(t, raw)
        values.append((smoothed.valence, smoothed.arousal))
        probs.append([smoothed.probs[name] for name in CATEGORIES])
        categories.append(smoothed.category)
        changes += smoothed.change is not None
    return Shown(values=np.array(values), probs=np.array(probs), categories=tuple(categories), changes=changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """How well the published frames do.

    Attributes:
        figures: Figures by their title.
    """

    figures: dict[str, Figure]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows no NaN: a figure over no clips has null in its place."""
        return {title: figure_as_json(figure) for title, figure in self.figures.items()}

    def rendered(self) -> Iterator[Table]:
        """For people."""
        table = Table(title="What a listener is shown (linked, smoothed, a frame every half second); audio only")
        table.add_column("figure")
        table.add_column("clips", justify="right")
        table.add_column("", justify="right")
        for title, figure in self.figures.items():
            table.add_row(title, str(figure.n), str(figure))
        yield table


def live_report(data: ClipSet, shown: Sequence[Shown]) -> LiveReport:
    """Measure what was shown of each row of the set; rows without audio do not count. Intervals are over artists."""
    artists = np.array([clip.artist or clip.clip_id for clip in data.clips])
    figures: dict[str, Figure] = {}
    frames = {row: _rated_frames(data, row, shown[row]) for row in _rows(data)}
    rated = np.array([row for row, (_, ratings) in frames.items() if len(ratings)], dtype=np.int64)
    for k, name in enumerate(("valence", "arousal")):
        pairs = [(frames[row][0][:, k], frames[row][1][:, k]) for row in rated.tolist()]
        errors = np.array([np.mean((p - t) ** 2) for p, t in pairs])
        within = np.array([_correlation(p, t) for p, t in pairs])
        moved = np.isfinite(within)
        figures[f"dynamic {name}, RMSE"] = bootstrap(partial(_root_mean, errors), artists[rated])
        figures[f"dynamic {name}, mean r within a clip"] = bootstrap(
            partial(_mean, within[moved]), artists[rated[moved]]
        )
    figures |= _quadrant_figures(data, shown, artists)
    figures |= _agreement(data, shown, artists)
    return LiveReport(figures=figures)


def _rows(data: ClipSet) -> list[int]:
    rows: list[int] = np.flatnonzero(data.with_audio).tolist()
    return rows


def _rated_frames(data: ClipSet, row: int, shown: Shown) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Published values and ratings of the frames that have both, each [n, 2]."""
    ratings = data.dynamic[row, : len(shown.values)].double().numpy()
    there = np.isfinite(ratings).all(1)
    return shown.values[there], ratings[there]


def _correlation(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Pearson's r; NaN where listeners did not move, 0 where we did not."""
    if truth.std() == 0:
        return float("nan")
    if prediction.std() == 0:
        return 0.0
    return float(np.corrcoef(prediction, truth)[0, 1])


def _quadrant_figures(data: ClipSet, shown: Sequence[Shown], artists: NDArray[np.str_]) -> dict[str, Figure]:
    """Macro-F1 of the quadrants from the published probabilities."""
    truth = data.labels.category.numpy()
    rows = np.array([row for row in _rows(data) if truth[row] >= 0], dtype=np.int64)
    means = np.array([shown[row].probs.mean(0).argmax() for row in rows])
    frames = np.array([shown[row].probs[min(_FRAME_PLACE, len(shown[row].probs) - 1)].argmax() for row in rows])
    return {
        f"quadrants macro-F1, {what}": bootstrap(partial(_f1, truth[rows], prediction), artists[rows])
        for what, prediction in (("mean of a clip's frames", means), ("one frame with 10 s heard", frames))
    }


def _f1(truth: NDArray[np.int_], prediction: NDArray[np.int_], rows: NDArray[np.int_]) -> float:
    return macro_f1(truth[rows], prediction[rows], len(CATEGORIES))


def _mean(values: NDArray[np.float64], rows: NDArray[np.int_]) -> float:
    return float(values[rows].mean())


def _root_mean(squares: NDArray[np.float64], rows: NDArray[np.int_]) -> float:
    return float(np.sqrt(squares[rows].mean()))


def _agreement(data: ClipSet, shown: Sequence[Shown], artists: NDArray[np.str_]) -> dict[str, Figure]:
    """Share of the confident frames whose point lies in the quadrant named, and cues a minute."""
    rows = _rows(data)
    counts = np.array([agreeing(shown[row]) for row in rows], dtype=np.float64)
    minutes = np.array([len(shown[row].values) * TOKEN_S / 60 for row in rows])
    changes = np.array([shown[row].changes for row in rows], dtype=np.float64)
    named = np.array([sum(name != UNKNOWN for name in shown[row].categories) for row in rows], dtype=np.float64)
    frames = np.array([len(shown[row].categories) for row in rows], dtype=np.float64)
    of_rows = artists[rows]
    return {
        "point in the quadrant named, confident frames": bootstrap(
            lambda i: float(counts[i, 0].sum() / max(1.0, counts[i, 1].sum())), of_rows
        ),
        "frames with a category": bootstrap(lambda i: float(named[i].sum() / frames[i].sum()), of_rows),
        "cues a minute": bootstrap(lambda i: float(changes[i].sum() / minutes[i].sum()), of_rows),
    }


def agreeing(shown: Shown) -> tuple[int, int]:
    """Confident frames whose point lies in the quadrant named, and all confident frames."""
    agreeing = confident = 0
    for (valence, arousal), probs, category in zip(shown.values, shown.probs, shown.categories, strict=True):
        if category == UNKNOWN or probs[CATEGORIES.index(category)] < CONFIDENT:
            continue
        confident += 1
        agreeing += _QUADRANT_OF_SIGNS[valence >= 0, arousal >= 0] == CATEGORIES.index(category)
    return agreeing, confident
