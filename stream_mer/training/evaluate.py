"""The fold table: what cross-validation says of a recipe, in the figures of the field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from stream_mer.training.crossvalidation import FoldResults, Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import Figure, bootstrap, ccc, macro_f1, pearson
from stream_mer.types import CATEGORIES, CLUSTERS

FIGURES = {
    "quadrants_f1": "Quadrants macro-F1",
    "valence_ccc": "Valence CCC",
    "valence_r": "Valence r",
    "arousal_ccc": "Arousal CCC",
    "arousal_r": "Arousal r",
    "clusters_f1": "Clusters macro-F1",
    "clusters_lyrics_f1": "Clusters macro-F1, clips with printed lyrics",
    "frame_quadrants_f1": "Quadrants macro-F1, one frame, 10 s heard",
}
COLUMNS: dict[str, str] = {
    "none": "audio only",
    "recognised": "+ recognised lyrics",
    "printed": "+ printed lyrics",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTable:
    """Figures by kind of text, then by the names of ``FIGURES``."""

    figures: dict[str, dict[str, Figure]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows no NaN: a figure over no clips has null in its place."""
        return {
            kind: {
                name: asdict(f) if f.n else {"value": None, "low": None, "high": None, "n": 0}
                for name, f in row.items()
            }
            for kind, row in self.figures.items()
        }

    def rendered(self) -> Table:
        """For people."""
        table = Table(title="Five artist-disjoint folds; causal frames averaged over the clip; 95 % intervals")
        table.add_column("figure")
        table.add_column("clips", justify="right")
        for title in COLUMNS.values():
            table.add_column(title, justify="right")
        for name, title in FIGURES.items():
            figures = [self.figures[kind][name] for kind in COLUMNS]
            table.add_row(title, str(figures[0].n), *(str(figure) for figure in figures))
        return table


def fold_table(data: ClipSet, results: FoldResults) -> FoldTable:
    """Compute every figure for every kind of text."""
    return FoldTable(
        figures={kind: _figures(data, results.clips[kind], results.frames[kind]) for kind in COLUMNS},
    )


def _figures(data: ClipSet, clips: Predictions, frames: Predictions) -> dict[str, Figure]:
    emotion, category, cluster = (label.numpy() for label in data.labels)
    artists = np.array([clip.artist or clip.clip_id for clip in data.clips])
    with_lyrics = np.array([data.has_lines(row, "printed") for row in range(len(data))])
    rated = np.isfinite(emotion).all(1)

    def f1(rows: NDArray[np.bool_], truth: NDArray[np.int_], logits: NDArray[np.float64], n: int) -> Figure:
        t, p = truth[rows], logits[rows].argmax(1)
        return bootstrap(lambda i: macro_f1(t[i], p[i], n), artists[rows])

    def agreement(dimension: int) -> tuple[Figure, Figure]:
        t, p = emotion[rated, dimension].astype(np.float64), clips.emotion[rated, dimension]
        groups = artists[rated]
        return bootstrap(lambda i: ccc(t[i], p[i]), groups), bootstrap(lambda i: pearson(t[i], p[i]), groups)

    valence, arousal = agreement(0), agreement(1)
    return {
        "quadrants_f1": f1(category >= 0, category, clips.category, len(CATEGORIES)),
        "valence_ccc": valence[0],
        "valence_r": valence[1],
        "arousal_ccc": arousal[0],
        "arousal_r": arousal[1],
        "clusters_f1": f1(cluster >= 0, cluster, clips.cluster, len(CLUSTERS)),
        "clusters_lyrics_f1": f1((cluster >= 0) & with_lyrics, cluster, clips.cluster, len(CLUSTERS)),
        "frame_quadrants_f1": f1(category >= 0, category, frames.category, len(CATEGORIES)),
    }


def confusion_matrices(data: ClipSet, clips: Predictions) -> dict[str, list[list[int]]]:
    """Counts of clips, true class in rows, predicted class in columns, for ``category`` and ``cluster``."""
    matrices = {}
    for name, truth, logits in (
        ("category", data.labels.category.numpy(), clips.category),
        ("cluster", data.labels.cluster.numpy(), clips.cluster),
    ):
        rows = truth >= 0
        matrix = np.zeros((logits.shape[1], logits.shape[1]), int)
        np.add.at(matrix, (truth[rows], logits[rows].argmax(1)), 1)
        matrices[name] = matrix.tolist()
    return matrices
