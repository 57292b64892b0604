"""The fold table: what cross-validation says of a recipe, in the figures of the field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from stream_mer.training.crossvalidation import FoldResults, Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import Figure, figure_as_json
from stream_mer.training.scores import SCORES, score

COLUMNS: dict[str, str] = {
    "none": "audio only",
    "recognised": "+ recognised lyrics",
    "printed": "+ printed lyrics",
}

_FOLDS = "Five artist-disjoint folds"

WORD_SCORES = ("quadrants_accuracy", "quadrants_f1", "valence_ccc", "arousal_ccc")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTable:
    """What cross-validation says.

    Attributes:
        figures: By kind of text, then by the names of ``SCORES``.
        words: Of songs without audio, by set, then by the names of ``WORD_SCORES``.
        title: Says who predicted the clips.
    """

    figures: dict[str, dict[str, Figure]]
    words: dict[str, dict[str, Figure]]
    title: str = _FOLDS

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows no NaN: a figure over no clips has null in its place."""
        return {
            kind: {name: figure_as_json(figure) for name, figure in row.items()}
            for kind, row in (self.figures | self.words).items()
        }

    def rendered(self) -> Iterator[Table]:
        """For people: the table of the clips, and that of songs that have words alone."""
        yield self._clips_table()
        if self.words:
            yield self._words_table()

    def _clips_table(self) -> Table:
        table = Table(title=f"{self.title}; causal frames averaged over the clip; 95 % intervals")
        table.add_column("figure")
        table.add_column("clips", justify="right")
        for title in COLUMNS.values():
            table.add_column(title, justify="right")
        for name, title in SCORES.items():
            figures = [self.figures[kind][name] for kind in COLUMNS]
            table.add_row(title, str(figures[0].n), *(str(figure) for figure in figures))
        return table

    def _words_table(self) -> Table:
        table = Table(title="Words alone: songs without audio, five folds; 95 % intervals")
        table.add_column("set")
        table.add_column("songs", justify="right")
        for name in WORD_SCORES:
            table.add_column(SCORES[name], justify="right")
        for title, figures in self.words.items():
            songs = max(figure.n for figure in figures.values())
            table.add_row(title, str(songs), *(str(figures[name]) for name in WORD_SCORES))
        return table


def fold_table(data: ClipSet, results: FoldResults, *, title: str = _FOLDS) -> FoldTable:
    """Compute every figure for every kind of text."""
    return FoldTable(
        title=title,
        figures={
            kind: {name: s.figure() for name, s in score(data, results.clips[kind], results.frames[kind]).items()}
            for kind in COLUMNS
        },
        words={
            str(name): {
                kind: scores[kind].figure()
                for scores in [score(data, results.clips["printed"], among=data.sets == name)]
                for kind in WORD_SCORES
            }
            for name in sorted(set(data.sets.tolist()) - {""})
        },
    )


def confusion_matrices(data: ClipSet, clips: Predictions) -> dict[str, list[list[int]]]:
    """Counts of clips, true class in rows, predicted class in columns, for ``category`` and ``cluster``."""
    matrices = {}
    for name, truth, logits in (
        ("category", data.labels.category.numpy(), clips.category),
        ("cluster", data.labels.cluster.numpy(), clips.cluster),
    ):
        rows = (truth >= 0) & data.with_audio
        matrix = np.zeros((logits.shape[1], logits.shape[1]), int)
        np.add.at(matrix, (truth[rows], logits[rows].argmax(1)), 1)
        matrices[name] = matrix.tolist()
    return matrices
