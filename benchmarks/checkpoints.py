"""The checkpoint that a benchmark computes with: the default one, or a random one of the same shape."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from stream_mer.emotion.backbone import TOKEN_FEATURES, Backbone
from stream_mer.emotion.checkpoint import (
    DEFAULT_MODEL,
    Calibration,
    Checkpoint,
    find_model,
    load_checkpoint,
    save_checkpoint,
)
from stream_mer.emotion.model import JointModel, JointModelConfig
from stream_mer.errors import CheckpointError


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
                f"No model {DEFAULT_MODEL} was found: random weights of the default shape (one joint model). "
                "The times are those of one trained model of this shape; the emotions mean nothing.",
            )
        return
    ensemble = len(load_checkpoint(folder).joint)
    yield FoundCheckpoint(folder, f"Model {folder.resolve().name}, an ensemble of {ensemble}.")


def save_random_checkpoint(folder: Path, *, ensemble: int = 1) -> None:
    """Write a checkpoint of the default shape with random weights; the same ones each time."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        config = JointModelConfig(audio_features=TOKEN_FEATURES)
        joint = nn.ModuleList(JointModel(config) for _ in range(ensemble))
        checkpoint = Checkpoint(
            name=folder.name,
            backbone=Backbone(),
            joint=joint,
            calibration=Calibration(valence_error=0.5, arousal_error=0.5),
        )
        save_checkpoint(checkpoint, folder)
    finally:
        torch.set_rng_state(state)
