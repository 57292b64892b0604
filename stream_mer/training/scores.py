"""The figures that accuracy is told in, as functions of the clips: ready for an interval or a paired comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import Figure, bootstrap, ccc, macro_f1, pearson, r_squared
from stream_mer.types import CATEGORIES, CLUSTERS

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
