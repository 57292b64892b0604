"""The checkpoint that a benchmark computes with: the default one, or a random one of the same shape."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from stream_mer.config import DEFAULT_MODEL
from stream_mer.emotion.audio_branch import token_features
from stream_mer.emotion.backbone import Backbone
from stream_mer.emotion.checkpoint import (
    Calibration,
    Checkpoint,
    PredictionError,
    find_model,
    load_checkpoint,
    save_checkpoint,
)
from stream_mer.emotion.joint import JointModel, JointModelConfig
from stream_mer.errors import CheckpointError
from stream_mer.lyrics.text_features import LINE_FEATURES


class FoundCheckpoint(NamedTuple):
    """Where the checkpoint is, and a sentence on it for the report."""

    folder: Path
    note: str


@contextlib.contextmanager
def open_checkpoint(name: str | None = None) -> Iterator[FoundCheckpoint]:
    """Find a checkpoint; without a name the default one, or a random one where that is not trained yet.

    Raises:
        CheckpointError: The one that was named is not there.
    """
    try:
        folder = find_model(name or DEFAULT_MODEL)
    except CheckpointError:
        if name is not None:
            raise
        with tempfile.TemporaryDirectory(prefix="stream-mer-benchmark-") as temporary:
            folder = Path(temporary) / "random"
            save_random_checkpoint(folder)
            yield FoundCheckpoint(
                folder,
                f"No model {DEFAULT_MODEL} was found: random weights of the whole backbone and of one joint model. "
                "The times are those of a trained model of this shape; the emotions mean nothing.",
            )
        return
    joint = load_checkpoint(folder).joint
    yield FoundCheckpoint(folder, f"Model {folder.resolve().name}, an ensemble of {joint.config.members}.")


def save_random_checkpoint(folder: Path, *, members: int = 1) -> None:
    """Write a checkpoint of the default shape with random weights; the same ones each time."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        backbone = Backbone()
        config = JointModelConfig(audio_features=token_features(backbone), text_features=LINE_FEATURES, members=members)
        checkpoint = Checkpoint(
            name=folder.name,
            backbone=backbone,
            joint=JointModel(config),
            calibration=Calibration(errors=(PredictionError(heard_s=0.0, valence=0.5, arousal=0.5),)),
        )
    save_checkpoint(checkpoint, folder)
