"""From a corpus to a checkpoint: measured on folds, calibrated on what they say, then trained on everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stream_mer.emotion.checkpoint import Calibration, Checkpoint, save_checkpoint
from stream_mer.emotion.musicnn import Backbone
from stream_mer.training.calibrate import (
    CalibrationReport,
    calibrate,
    earned_strength,
    measure_calibration,
    with_earned_strength,
)
from stream_mer.training.card import write_card
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, cross_validate
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import (
    FoldTable,
    StageReport,
    confusion_matrices,
    fold_table,
    stage_conditions,
    stage_report,
)
from stream_mer.training.fit import Recipe, fit
from stream_mer.training.metrics import LiveReport, live_report, show
from stream_mer.training.progress import announce
from stream_mer.version import __version__


def train(
    data: ClipSet,
    backbone: Backbone,
    recipe: Recipe,
    seed: int,
    *,
    out: Path,
    cache: Path,
    origin: str,
    corpora: Sequence[str] = ("CORPUS",),
    transcribed: bool = True,
) -> FoldTable:
    """Cross-validate, calibrate, train on all clips, and write the checkpoint with its card.

    Args:
        data: The corpus.
        backbone: The audio network that its tokens came from.
        recipe: How to train.
        seed: Of everything random.
        out: Folder of the checkpoint; its name becomes the model's.
        cache: Keeps finished folds, so that an interrupted run goes on.
        origin: For the card: where the clips come from.
        corpora: For the card: names of the folders that ``data`` came from.
        transcribed: For the card: whether clips without a transcript were transcribed.
    """
    found = _cross_validated(data, recipe, seed, cache)
    announce(f"Training on all {len(data)} clips, about as long as a fold")
    joint = fit(data, range(len(data)), recipe, seed=seed)
    about = {"version": __version__, "seed": seed, "corpora": list(corpora), "transcribed": transcribed}
    checkpoint = Checkpoint(
        name=out.name,
        backbone=backbone,
        joint=joint.to_model(),
        calibration=found.calibration,
        training=about | _history(data, recipe, found),
    )
    save_checkpoint(checkpoint, out)
    write_card(out, checkpoint, found.table, origin=origin, report=found.report, live=found.live, stage=found.stage)
    return found.table


class _CrossValidated(NamedTuple):
    """What the folds say of a recipe, and the calibration that follows from them."""

    table: FoldTable
    calibration: Calibration
    report: CalibrationReport
    live: LiveReport
    stage: StageReport
    confusions: dict[str, list[list[int]]]


def _cross_validated(data: ClipSet, recipe: Recipe, seed: int, cache: Path) -> _CrossValidated:
    bare = cross_validate(data, recipe, seed, cache, conditions=(*STANDARD_CONDITIONS, *stage_conditions(data)))
    results = with_earned_strength(data, bare, as_they_are=frozenset(data.sounds))
    strength = earned_strength(data, bare, np.ones(len(data), dtype=np.bool_))
    calibration = replace(calibrate(data, results), text_strength=strength)
    return _CrossValidated(
        table=fold_table(data, results),
        calibration=calibration,
        report=measure_calibration(data, results, calibration),
        live=live_report(data, [show(moments, calibration) for moments in results.moments]),
        stage=stage_report(data, results),
        confusions=confusion_matrices(data, results.clips["none"]),
    )


def _history(data: ClipSet, recipe: Recipe, found: _CrossValidated) -> dict[str, Any]:
    """What a checkpoint says of its training."""
    return {
        "members": recipe.model.members,
        "recipe": asdict(recipe),
        "clips": _counts(data),
        "stage_copies": len(data.tokens) - 1,
        "words": [name for name in dict.fromkeys(data.sets.tolist()) if name],
        "folds": found.table.to_dict(),
        "live": found.live.to_dict(),
        "calibration": found.report.to_dict(),
        "stage": found.stage.to_dict(),
        "confusions": found.confusions,
    }


def _counts(data: ClipSet) -> dict[str, int]:
    clips = np.flatnonzero(data.with_audio).tolist()
    return {
        "all": len(clips),
        "category": int((data.labels.category[clips] >= 0).sum()),
        "cluster": int((data.labels.cluster[clips] >= 0).sum()),
        "recognised": sum(data.has_lines(row, "recognised") for row in clips),
        "printed": sum(data.has_lines(row, "printed") for row in clips),
        "words alone": int((~data.with_audio).sum()),
    }
