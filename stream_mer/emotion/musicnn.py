"""Reads the published MSD-MusiCNN weights into the backbone."""

from __future__ import annotations

import textwrap
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from stream_mer.emotion.backbone import Backbone
from stream_mer.errors import CheckpointError
from stream_mer.utils.model_files import MAX_WEIGHTS_BYTES, check_state

_EPSILON = 1e-3  # of every batch norm in the original


def load_musicnn(path: Path) -> Backbone:
    """Build the backbone from an ``.npz`` of the original's tensors, names kept (``conv2d_3/kernel``, ...).

    Raises:
        CheckpointError: The file is missing or is not of this network.
    """
    try:
        # Opened here, because numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _check_size(archive.zip)
            tensors = {name: torch.from_numpy(archive[name]) for name in archive.files}
    # Beyond the usual two: an empty file, a damaged archive, and an .npy file or one of other things than numbers.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
        raise CheckpointError(f"cannot read the MSD-MusiCNN weights {path}: {error}") from error
    backbone = Backbone()
    try:
        state = {"pooled": backbone.pooled, **{name: one.float() for name, one in _state(tensors).items()}}
        check_state(backbone, state)
        backbone.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise CheckpointError(f"{path} does not hold the tensors of MSD-MusiCNN: {reason}") from error
    return backbone.eval().requires_grad_(requires_grad=False)


def _check_size(archive: zipfile.ZipFile) -> None:
    """Refuse what would not fit into memory once unpacked, however small the file is."""
    if sum(member.file_size for member in archive.infolist()) > MAX_WEIGHTS_BYTES:
        raise ValueError("its arrays take more than 2 GiB")


def _state(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def norm(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        scale = tensors[f"{name}/gamma"] / torch.sqrt(tensors[f"{name}/moving_variance"] + _EPSILON)
        return scale, tensors[f"{name}/beta"] - tensors[f"{name}/moving_mean"] * scale

    state: dict[str, torch.Tensor] = {}
    state["input_scale"], state["input_offset"] = norm(0)
    layers = ["front.0", "front.1", "front.2", "front.3", "front.4", "middle.0", "middle.1", "middle.2"]
    for i, layer in enumerate(layers):
        name = f"conv2d_{i}" if i else "conv2d"
        kernel = tensors[f"{name}/kernel"]  # [steps, bands or channels, 1, filters]
        state[f"{layer}.linear.weight"] = kernel.permute(3, 0, 1, 2).flatten(1).contiguous()
        state[f"{layer}.linear.bias"] = tensors[f"{name}/bias"]
        state[f"{layer}.scale"], state[f"{layer}.offset"] = norm(i + 1)
    return state
