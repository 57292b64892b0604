"""Measures a trained checkpoint on labelled clips: no folds and no training, each clip causally as in a live stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from stream_mer.emotion.checkpoint import Checkpoint
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, FoldResults, predict_clip, results_of
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import FoldTable, fold_table
from stream_mer.training.live import LiveReport, live_report, show
from stream_mer.training.progress import track
from stream_mer.training.text_strength import with_strength

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
        """For JSON, which knows no NaN: a figure over no clips has null in its place."""
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
    model = checkpoint.joint.eval()
    rows = track(range(len(data)), "Clips", total=len(data))
    clips = [predict_clip(model, data, row, STANDARD_CONDITIONS) for row in rows]
    outputs = np.stack([clip.outputs for clip in clips], axis=3)
    bare = results_of(outputs, [clip.moments for clip in clips], STANDARD_CONDITIONS)
    return with_strength(bare, asdict(checkpoint.calibration.text_strength))
