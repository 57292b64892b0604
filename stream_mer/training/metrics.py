"""Metrics with 95 % intervals (bootstrap over artists), paired differences, and the metrics of published frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from stream_mer.config import SmoothingSettings
from stream_mer.emotion.checkpoint import Calibration
from stream_mer.emotion.estimates import TextContext, estimate
from stream_mer.emotion.smoothing import Smoother
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import TOKEN_S, ClipSet
from stream_mer.types import CATEGORIES, CLUSTERS, NO_LYRICS, UNKNOWN

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


def as_json(report: Any) -> dict[str, Any]:
    """A report for JSON: dataclasses become objects, and NaN, which JSON lacks, becomes null."""
    found: dict[str, Any] = _plain(asdict(report) if is_dataclass(report) and not isinstance(report, type) else report)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Figure):
        value = asdict(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value


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
        among: Which clips count, [n]; by default, all that have audio.

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
        seeds: Of each member by itself: mean and standard deviation; None where members are not compared.
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
        table.add_row(row, *(cell_text(cells[name], compared=i > 0) for name in names))
    return table


def cell_text(cell: Cell | None, *, compared: bool) -> str:
    """A cell in words: its figure with interval; or, ``compared``, its figure, and its difference with interval."""
    if cell is None or not cell.figure.n:
        return "-"
    seeds = f"\none by one {cell.seeds[0]:.3f} ± {cell.seeds[1]:.3f}" if cell.seeds else ""
    if not compared:
        return f"{cell.figure}{seeds}"
    d = cell.difference
    return f"{cell.figure.value:.3f} ({d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]){seeds}"


# What is published of each clip while it plays: estimates, link and smoothing as in a live stream.

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

    values: Floats
    probs: Floats
    categories: tuple[str, ...]
    changes: int


def show(moments: NDArray[np.float32], calibration: Calibration) -> Shown:
    """Publish the model's outputs at each moment of a clip, [n, 11], as a live stream does."""
    smoother = Smoother(SmoothingSettings())
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
        """For JSON."""
        return as_json(self.figures)

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
        within = np.array([pearson(t, p) if t.std() else np.nan for p, t in pairs])  # NaN: listeners did not move
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


def _rated_frames(data: ClipSet, row: int, shown: Shown) -> tuple[Floats, Floats]:
    """Published values and ratings of the frames that have both, each [n, 2]."""
    ratings = data.dynamic[row, : len(shown.values)].double().numpy()
    there = np.isfinite(ratings).all(1)
    return shown.values[there], ratings[there]


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


def _mean(values: Floats, rows: NDArray[np.int_]) -> float:
    return float(values[rows].mean())


def _root_mean(squares: Floats, rows: NDArray[np.int_]) -> float:
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
