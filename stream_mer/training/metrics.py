"""Metrics with 95 % intervals (bootstrap over artists), paired differences, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.types import CATEGORIES, CLUSTERS

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure over ``n`` clips with the 95 % interval of a bootstrap over artists; NaN over no clips."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "-"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def macro_f1(truth: NDArray[np.int_], prediction: NDArray[np.int_], n_classes: int) -> float:
    """Mean of the classes' F1; a class that neither side names counts as 0."""
    scores = []
    for c in range(n_classes):
        hits = float(np.sum((truth == c) & (prediction == c)))
        total = float(np.sum(truth == c) + np.sum(prediction == c))
        scores.append(2 * hits / total if total else 0.0)
    return float(np.mean(scores))


def ccc(truth: Floats, prediction: Floats) -> float:
    """Lin's concordance correlation coefficient."""
    covariance = float(np.mean((truth - truth.mean()) * (prediction - prediction.mean())))
    spread = float(truth.var() + prediction.var() + (truth.mean() - prediction.mean()) ** 2)
    return 2 * covariance / spread if spread else 0.0


def pearson(truth: Floats, prediction: Floats) -> float:
    """Pearson's correlation coefficient; 0 where one side does not vary."""
    covariance = float(np.mean((truth - truth.mean()) * (prediction - prediction.mean())))
    spread = float(truth.std() * prediction.std())
    return covariance / spread if spread else 0.0


def r_squared(truth: Floats, prediction: Floats) -> float:
    """Coefficient of determination, offset and scale included; 0 where the truth does not vary."""
    spread = float(truth.var())
    return 1.0 - float(np.mean((truth - prediction) ** 2)) / spread if spread else 0.0


def calibration_error(truth: NDArray[np.int_], probs: Floats, *, bins: int = 10) -> float:
    """Expected calibration error of the likeliest class; ``probs`` [n, classes]."""
    confidence, right = probs.max(1), probs.argmax(1) == truth
    places = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(places, weights=confidence - right)  # in each bin, its size times mean confidence less accuracy
    return float(np.abs(gaps).sum() / len(truth))


def bootstrap(
    statistic: Callable[[NDArray[np.int_]], float], groups: NDArray[np.str_], *, rounds: int = 1000, seed: int = 0
) -> Figure:
    """A statistic of row indices, with its interval over resampled groups: artists, whose clips stay together."""
    if len(groups) == 0:
        return Figure(value=float("nan"), low=float("nan"), high=float("nan"), n=0)
    rng = np.random.default_rng(seed)
    names, inverse = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(inverse == i) for i in range(len(names))]
    values = []
    for _ in range(rounds):
        chosen = rng.integers(len(names), size=len(names))
        values.append(statistic(np.concatenate([rows_of[i] for i in chosen])))
    low, high = np.percentile(values, [2.5, 97.5])
    value = statistic(np.arange(len(groups)))
    return Figure(value=value, low=float(low), high=float(high), n=len(groups))


def figure_as_json(figure: Figure) -> dict[str, float | int | None]:
    """A figure for JSON, which knows no NaN: one over no clips has null in its place."""
    if not figure.n:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n}


SCORES = {
    "quadrants_accuracy": "Quadrants accuracy",
    "quadrants_f1": "Quadrants macro-F1",
    "valence_ccc": "Valence CCC",
    "valence_r2": "Valence R2",
    "valence_r": "Valence r",
    "arousal_ccc": "Arousal CCC",
    "arousal_r2": "Arousal R2",
    "arousal_r": "Arousal r",
    "clusters_f1": "Clusters macro-F1",
    "clusters_lyrics_f1": "Clusters macro-F1, clips with printed lyrics",
    "frame_quadrants_f1": "Quadrants macro-F1, one frame, 10 s heard",
}

Rows = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """One figure over the clips that have its label.

    Attributes:
        statistic: The figure over a choice of those clips, given as indices.
        artists: Of those clips, [n].
    """

    statistic: Callable[[NDArray[np.int_]], float]
    artists: NDArray[np.str_]

    def figure(self) -> Figure:
        """The figure over all of them, with its interval over artists."""
        return bootstrap(self.statistic, self.artists)

    def difference(self, other: Score) -> Figure:
        """This figure minus another over the same clips, paired by clip, with its interval over artists."""
        return bootstrap(lambda rows: self.statistic(rows) - other.statistic(rows), self.artists)


def score(
    data: ClipSet, clips: Predictions, frames: Predictions | None = None, *, among: Rows | None = None
) -> Mapping[str, Score]:
    """Score predictions against the labels of the clips.

    Args:
        data: The clips.
        clips: One prediction a clip.
        frames: One frame's prediction a clip; without it there is no ``frame_quadrants_f1``.
        among: Which clips count, [n]; unless told, all that have audio.

    Returns:
        Scores by the names of ``SCORES``.
    """
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    artists = np.array([clip.artist or clip.clip_id for clip in data.clips])
    counted = data.with_audio if among is None else among
    printed = np.array([data.has_lines(row, "printed") for row in range(len(data))])
    rated = counted & np.isfinite(emotion).all(1)

    def f1(rows: Rows, truth: NDArray[np.int_], logits: NDArray[np.float64], n: int) -> Score:
        t, p = truth[rows], logits[rows].argmax(1)
        return Score(statistic=lambda i: macro_f1(t[i], p[i], n), artists=artists[rows])

    def accuracy(rows: Rows, truth: NDArray[np.int_], logits: NDArray[np.float64]) -> Score:
        right = truth[rows] == logits[rows].argmax(1)
        return Score(statistic=lambda i: float(right[i].mean()), artists=artists[rows])

    def agreement(measure: Callable[[NDArray[np.float64], NDArray[np.float64]], float], dimension: int) -> Score:
        t, p = emotion[rated, dimension].astype(np.float64), clips.emotion[rated, dimension]
        return Score(statistic=lambda i: measure(t[i], p[i]), artists=artists[rated])

    with_category, with_cluster = counted & (category >= 0), counted & (cluster >= 0)
    scores = {
        "quadrants_accuracy": accuracy(with_category, category, clips.category),
        "quadrants_f1": f1(with_category, category, clips.category, len(CATEGORIES)),
        "valence_ccc": agreement(ccc, 0),
        "valence_r2": agreement(r_squared, 0),
        "valence_r": agreement(pearson, 0),
        "arousal_ccc": agreement(ccc, 1),
        "arousal_r2": agreement(r_squared, 1),
        "arousal_r": agreement(pearson, 1),
        "clusters_f1": f1(with_cluster, cluster, clips.cluster, len(CLUSTERS)),
        "clusters_lyrics_f1": f1(with_cluster & printed, cluster, clips.cluster, len(CLUSTERS)),
    }
    if frames is not None:
        scores["frame_quadrants_f1"] = f1(with_category, category, frames.category, len(CATEGORIES))
    return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of one row.

    Attributes:
        figure: Of the ensemble.
        difference: To the row of comparison, paired by clip.
        seeds: Of each member by itself: mean and standard deviation; None where members are not told apart.
    """

    figure: Figure
    difference: Figure
    seeds: tuple[float, float] | None = None


Cells = dict[str, Cell | None]
"""By the names of ``SCORES``; None where a figure means nothing."""


def compare(ours: Score, theirs: Score, members: Sequence[Score] = ()) -> Cell:
    """Our figure, its difference to theirs, and the figure of each member of our ensemble by itself."""
    alone = [member.statistic(np.arange(len(member.artists))) for member in members]
    return Cell(
        figure=ours.figure(),
        difference=ours.difference(theirs),
        seeds=(float(np.mean(alone)), float(np.std(alone))) if alone else None,
    )


def comparison_table(title: str, what: str, rows: Mapping[str, Cells], names: Sequence[str]) -> Table:
    """One row each; the first one is what the others are compared with.

    Args:
        title: Of the table.
        what: Heads the column of the rows' names.
        rows: Cells by the names of ``SCORES``, by the row's name.
        names: The columns.
    """
    table = Table(title=title)
    table.add_column(what)
    for name in names:
        table.add_column(SCORES[name], justify="right")
    for i, (row, cells) in enumerate(rows.items()):
        table.add_row(row, *(told(cells[name], compared=i > 0) for name in names))
    return table


def told(cell: Cell | None, *, compared: bool) -> str:
    """A cell in words: its figure with interval; or, ``compared``, its figure, and its difference with interval."""
    if cell is None or not cell.figure.n:
        return "-"
    seeds = f"\none by one {cell.seeds[0]:.3f} ± {cell.seeds[1]:.3f}" if cell.seeds else ""
    if not compared:
        return f"{cell.figure}{seeds}"
    d = cell.difference
    return f"{cell.figure.value:.3f} ({d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]){seeds}"
