"""The fold table: what cross-validation says of a recipe, in the figures of the field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from stream_mer.training.crossvalidation import FoldResults, Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import Figure
from stream_mer.training.scores import SCORES, score

COLUMNS: dict[str, str] = {
    "none": "audio only",
    "recognised": "+ recognised lyrics",
    "printed": "+ printed lyrics",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTable:
    """Figures by kind of text, then by the names of ``SCORES``."""

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
        for name, title in SCORES.items():
            figures = [self.figures[kind][name] for kind in COLUMNS]
            table.add_row(title, str(figures[0].n), *(str(figure) for figure in figures))
        return table


def fold_table(data: ClipSet, results: FoldResults) -> FoldTable:
    """Compute every figure for every kind of text."""
    return FoldTable(
        figures={
            kind: {name: s.figure() for name, s in score(data, results.clips[kind], results.frames[kind]).items()}
            for kind in COLUMNS
        },
    )


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
