"""Evaluation: the table of the folds, of a trained checkpoint on labelled clips, and of degraded sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from stream_mer.emotion.checkpoint import Checkpoint
from stream_mer.training.calibrate import with_strength
from stream_mer.training.crossvalidation import (
    AUDIO_ONLY,
    STANDARD_CONDITIONS,
    Condition,
    FoldResults,
    Predictions,
    predict_clip,
    results_of,
)
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import (
    SCORES,
    Cells,
    Figure,
    LiveReport,
    as_json,
    compare,
    comparison_table,
    live_report,
    score,
    show,
)
from stream_mer.training.network import JointNetwork
from stream_mer.training.progress import track

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
        """For JSON."""
        return as_json(self.figures | self.words)

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


FEW_CLIPS = 30
"""With fewer clips than this, figures say next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a checkpoint does on some clips.

    Attributes:
        model: Name of the checkpoint.
        clips: How many clips there are.
        table: The mean over each clip, and one frame of it, as in cross-validation.
        live: What a listener is shown.
    """

    model: str
    clips: int
    table: FoldTable
    live: LiveReport

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"model": self.model, "clips": self.clips, **self.table.to_dict(), "live": self.live.to_dict()}

    def rendered(self) -> Iterator[Table]:
        """For people."""
        yield from self.table.rendered()
        yield from self.live.rendered()


def measure(data: ClipSet, checkpoint: Checkpoint) -> Measured:
    """Predict every clip with a checkpoint, and compare with the labels; shows a progress bar.

    Args:
        data: The clips; their tokens are of the checkpoint's networks and components.
        checkpoint: Its calibration decides how far words move the result, and what a listener is shown.
    """
    results = predict_all(data, checkpoint)
    return Measured(
        model=checkpoint.name,
        clips=len(data),
        table=fold_table(data, results, title=f"{checkpoint.name} as it is, no training"),
        live=live_report(data, [show(moments, checkpoint.calibration) for moments in results.moments]),
    )


def predict_all(data: ClipSet, checkpoint: Checkpoint) -> FoldResults:
    """What a checkpoint says of every clip, with words as strong as its calibration lets them be."""
    model = JointNetwork.from_model(checkpoint.joint)
    rows = track(range(len(data)), "Clips", total=len(data))
    clips = [predict_clip(model, data, row, STANDARD_CONDITIONS) for row in rows]
    outputs = np.stack([clip.outputs for clip in clips], axis=3)
    bare = results_of(outputs, [clip.moments for clip in clips], STANDARD_CONDITIONS)
    return with_strength(bare, asdict(checkpoint.calibration.text_strength))


STAGE_SCORES = ("quadrants_f1", "valence_ccc", "arousal_ccc", "clusters_f1")
AS_RECORDED = "as recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """Audio alone, by the sound's name and then by ``STAGE_SCORES``; the first row is the clips as recorded."""

    sounds: dict[str, Cells]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return as_json(self)

    def rendered(self) -> Iterator[Table]:
        """For people."""
        title = "Sound: audio only, the same folds; difference to the recording, paired by clip"
        yield comparison_table(title, "heard", self.sounds, list(STAGE_SCORES))


def stage_conditions(data: ClipSet) -> tuple[Condition, ...]:
    """To measure under beside the standard ones: each of the set's ``sounds``, without words."""
    return tuple(Condition(name=sound, text="none", sound=sound) for sound in data.sounds)


def stage_report(data: ClipSet, results: FoldResults) -> StageReport:
    """Compare what the clips of each fold were taken for under each sound; ``results`` have ``stage_conditions``."""
    clean = score(data, results.clips[AUDIO_ONLY.name])
    heard = {AS_RECORDED: clean} | {sound: score(data, results.clips[sound]) for sound in data.sounds}
    return StageReport(
        sounds={
            sound: {name: compare(scores[name], clean[name]) for name in STAGE_SCORES}
            for sound, scores in heard.items()
        }
    )
