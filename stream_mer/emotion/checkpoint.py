"""Checkpoints: ``models/<name>/`` with ``weights.safetensors``, ``config.json`` and ``CARD.md``; never a pickle."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from stream_mer.emotion.backbone import Backbone, BackboneShape
from stream_mer.emotion.model import JointModel, JointModelConfig
from stream_mer.errors import CheckpointError, SettingError
from stream_mer.file_writing import replacing
from stream_mer.types import CATEGORIES, CLUSTERS

FORMAT = 2
"""Raised whenever a checkpoint of before cannot be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStrength:
    """How far words may move each output from what audio alone says; what they earned on clips never learnt from.

    Attributes:
        emotion: Of valence and arousal: 0 ignores words, 1 is the model's own fusion, more goes beyond it.
        category: Of the category's logits.
        cluster: Of the cluster's logits.
    """

    emotion: float = 1.0
    category: float = 1.0
    cluster: float = 1.0

    @property
    def greatest(self) -> float:
        """How far words may move the output that they may move furthest."""
        return max(self.emotion, self.category, self.cluster)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What out-of-fold predictions say of the model's errors.

    Attributes:
        valence_error: Half width of the prediction interval: ``level`` of the absolute errors are at most this.
        arousal_error: Likewise.
        level: 0..1.
        category_temperature: Divides the category logits, so that probabilities match frequencies.
        cluster_temperature: Likewise for the clusters.
        category_accuracy: How often the likeliest category is right at a confidence: pairs of confidence and expected
            accuracy, both rising, each 0..1. Empty in checkpoints of before 0.2.
        text_strength: How far words may move each output.
    """

    valence_error: float
    arousal_error: float
    level: float = 0.8
    category_temperature: float = 1.0
    cluster_temperature: float = 1.0
    category_accuracy: tuple[tuple[float, float], ...] = ()
    text_strength: TextStrength = field(default_factory=TextStrength)

    def confidence_for(self, accuracy: float) -> float:
        """The lowest confidence at which the likeliest category is expected to be right so often (0..1).

        Raises:
            SettingError: No confidence gives that, or nothing is known of it.
        """
        if not self.category_accuracy:
            raise SettingError(
                "this model does not tell how often it is right at which confidence; "
                "set a minimum confidence in place of an accuracy, or train it again"
            )
        below = (0.0, 0.0)
        for confidence, expected in self.category_accuracy:
            if expected >= accuracy:
                if below == (0.0, 0.0):
                    return 0.0  # even the least sure clips were right so often
                share = (accuracy - below[1]) / (expected - below[1])
                return below[0] + share * (confidence - below[0])
            below = (confidence, expected)
        raise SettingError(
            f"this model is nowhere expected to be right in {accuracy:.0%} of the cases; "
            f"ask for at most {int(100 * below[1]) / 100:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A trained model, ready to predict.

    Attributes:
        name: Its folder's name.
        backbone: The streaming audio network.
        joint: The joint model; the outputs of its members are averaged.
        calibration: See there.
        training: How it was trained: settings, data, figures. For people; nothing reads it.
    """

    name: str
    backbone: Backbone
    joint: JointModel
    calibration: Calibration
    training: dict[str, Any] = field(default_factory=dict)


def find_model(name: str) -> Path:
    """Find a checkpoint: a folder's path, or a name in the package or the repository.

    Raises:
        CheckpointError: There is none; the message lists those that there are.
    """
    package = Path(__file__).parent.parent
    places = (package / "models", package.parent / "models")
    candidates = [Path(name), *(place / name for place in places)]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
    known = sorted({path.parent.name for place in places for path in place.glob("*/config.json")})
    raise CheckpointError(
        f"no model {name!r}: give the path of a folder with config.json and weights.safetensors, "
        f"or one of: {', '.join(known) or '(none is installed)'}"
    )


def load_checkpoint(folder: Path, *, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: A file is missing or damaged, or does not match this version of stream_mer.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "weights.safetensors", device=device)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the model {folder}: {error}") from error
    try:
        _check(config)
        backbone, joint = Backbone(_shape(config)), JointModel(JointModelConfig(**config["joint"]))
        modules = nn.ModuleDict({"backbone": backbone, "joint": joint})
        modules.load_state_dict(tensors)
        calibration = _calibration(config["calibration"])
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:  # torch asserts some shapes
        reason = textwrap.shorten(str(error), 300)  # torch lists every tensor, one a line
        raise CheckpointError(f"the model {folder} does not match this version of stream_mer: {reason}") from error
    modules.to(device).eval().requires_grad_(requires_grad=False)
    return Checkpoint(
        name=folder.resolve().name,
        backbone=backbone,
        joint=joint,
        calibration=calibration,
        training=config.get("training", {}),
    )


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write ``weights.safetensors`` and ``config.json``; the card is written by training."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = nn.ModuleDict({"backbone": checkpoint.backbone, "joint": checkpoint.joint})
    tensors = {name: tensor.contiguous() for name, tensor in modules.state_dict().items()}
    config = {
        "format": FORMAT,
        "categories": CATEGORIES,
        "clusters": CLUSTERS,
        "backbone": checkpoint.backbone.shape.to_dict(),
        "joint": checkpoint.joint.config.to_dict(),
        "calibration": asdict(checkpoint.calibration),
        "training": checkpoint.training,
    }
    # Both are complete before either takes the place of an older one.
    with replacing(folder / "config.json") as told, replacing(folder / "weights.safetensors") as weights:
        weights.write(save(tensors))
        told.write((json.dumps(config, indent=2) + "\n").encode())


def _calibration(told: dict[str, Any]) -> Calibration:
    found = Calibration(**told)
    pairs = tuple((float(confidence), float(accuracy)) for confidence, accuracy in found.category_accuracy)
    strength = TextStrength(**told["text_strength"]) if "text_strength" in told else TextStrength()
    return replace(found, category_accuracy=pairs, text_strength=strength)


def _check(config: dict[str, Any]) -> None:
    if config["format"] != FORMAT:
        raise ValueError(f"it has format {config['format']}, and this version reads {FORMAT}")
    if tuple(config["categories"]) != CATEGORIES or tuple(config["clusters"]) != CLUSTERS:
        raise ValueError("it was trained on other categories or clusters")
    read, made = config["joint"]["audio_features"], _shape(config).token_features
    if read != made:
        raise ValueError(f"it reads tokens of {read} features, but its backbone makes {made}")


def _shape(config: dict[str, Any]) -> BackboneShape:
    told = config["backbone"]
    return BackboneShape(filters=tuple(told["filters"]), pooled=told["pooled"])
