"""Models with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.joint import JointModel, JointModelConfig, joint_tensors
from stream_mer.emotion.musicnn import Backbone, BackboneShape, backbone_tensors
from stream_mer.utils.model_files import Tensors


def random_tensors(wanted: Tensors, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return tensors of these names and shapes: scales near 1, offsets near 0, matrices that keep the level."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, one in wanted.items():
        if one.dtype.kind == "i":
            found[name] = np.zeros(one.shape, one.dtype)
            continue
        values = rng.standard_normal(one.shape).astype(np.float32)
        if name.endswith(("scale", "norm.weight", "running_var")):
            found[name] = 1 + values / 5
        elif one.ndim >= 2 and name.endswith(("weight", "basis")):
            inputs = one.shape[-2] if one.ndim == 3 or name.endswith("basis") else one.shape[1]
            found[name] = values / np.float32(inputs) ** 0.5
        else:
            found[name] = values / 10
        if name.endswith("running_var"):
            found[name] = np.abs(found[name])
    return found


def random_backbone(shape: BackboneShape, seed: int = 5) -> Backbone:
    """Return a backbone that pools randomly chosen channels."""
    tensors = random_tensors(backbone_tensors(shape), seed)
    chosen = np.random.default_rng(seed).permutation(shape.channels)[: shape.pooled]
    return Backbone.from_tensors(shape, {**tensors, "pooled": np.sort(chosen)})


def random_joint(config: JointModelConfig, seed: int = 5) -> JointModel:
    """Return a joint model."""
    return JointModel(config, random_tensors(joint_tensors(config), seed))
