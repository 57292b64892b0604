"""Checkpoints: ``models/<name>/`` with ``weights.safetensors``, ``config.json`` and ``CARD.md``; never a pickle."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import numpy as np
from msgspec import Meta
from safetensors.torch import save
from torch import Tensor, nn

from stream_mer.emotion.audio_branch import YAMNET
from stream_mer.emotion.joint import JointModel, JointModelConfig
from stream_mer.emotion.musicnn import Backbone, BackboneShape
from stream_mer.errors import CheckpointError, SettingError
from stream_mer.types import CATEGORIES, CLUSTERS
from stream_mer.utils.files import replacing
from stream_mer.utils.model_files import check_state, on_meta, read_config, read_weights, reason, record_of, short

FORMAT = 3
"""Raised whenever a checkpoint of before cannot be read any more."""


Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Strength: TypeAlias = Annotated[float, Meta(ge=0, le=10)]
Temperature: TypeAlias = Annotated[float, Meta(ge=0.01, le=100)]
HalfWidth: TypeAlias = Annotated[float, Meta(ge=0, le=2)]
Coordinate: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
"""What a checkpoint may hold; valence and arousal are 2 wide."""

Curve: TypeAlias = Annotated[tuple[tuple[Coordinate, Coordinate], ...], Meta(max_length=1000)]
"""A piecewise linear map: pairs of a value and what becomes of it, both rising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStrength:
    """How far words may move each output from what audio alone says; what they earned on clips never learnt from.

    Attributes:
        emotion: Of valence and arousal: 0 ignores words, 1 is the model's own fusion, more goes beyond it.
        category: Of the category's logits.
        cluster: Of the cluster's logits.
    """

    emotion: Strength = 1.0
    category: Strength = 1.0
    cluster: Strength = 1.0

    @property
    def greatest(self) -> float:
        """How far words may move the output that they may move furthest."""
        return max(self.emotion, self.category, self.cluster)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionError:
    """Half widths of the prediction intervals where ``heard_s`` seconds of audio were heard.

    Attributes:
        heard_s: Seconds since the stream began.
        valence: ``Calibration.level`` of the published valences are at most this far from what listeners say.
        arousal: Likewise.
    """

    heard_s: Seconds
    valence: HalfWidth
    arousal: HalfWidth


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryLink:
    """How much the point in the plane has to say in the category, so that a viewer sees both agree.

    The published probabilities are proportional to ``softmax(logits / category_temperature)`` times the probability
    that valence and arousal lie in the category's quadrant, to the power of ``weight``.

    Attributes:
        weight: 0 leaves the category to its own head.
        valence_sd: Standard deviation of the error of valence, as the link sees it.
        arousal_sd: Likewise.
    """

    weight: Annotated[float, Meta(ge=0, le=10)] = 0.0
    valence_sd: Annotated[float, Meta(ge=0.01, le=2)] = 0.2
    arousal_sd: Annotated[float, Meta(ge=0.01, le=2)] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What out-of-fold predictions say of the model's errors.

    Attributes:
        errors: Half widths of the prediction intervals, by rising ``heard_s``; at least one.
        level: Share of the values that the intervals hold, 0..1.
        category_temperature: Divides the category logits, so that probabilities match frequencies.
        cluster_temperature: Likewise for the clusters.
        category_accuracy: How often the likeliest category is right at a confidence: pairs of confidence and expected
            accuracy, both rising, each 0..1.
        category_link: How category and point are held together.
        text_strength: How far words may move each output.
        valence_spread: Map to the spread of the raters, for outputs that want the whole range; empty changes nothing.
            The published value itself is the best estimate, and so its spread is smaller.
        arousal_spread: Likewise.
    """

    errors: Annotated[tuple[PredictionError, ...], Meta(min_length=1, max_length=1000)]
    level: Share = 0.8
    category_temperature: Temperature = 1.0
    cluster_temperature: Temperature = 1.0
    category_accuracy: Annotated[tuple[tuple[Share, Share], ...], Meta(max_length=1000)] = ()
    category_link: CategoryLink = field(default_factory=CategoryLink)
    text_strength: TextStrength = field(default_factory=TextStrength)
    valence_spread: Curve = ()
    arousal_spread: Curve = ()

    def half_widths(self, heard_s: float) -> tuple[float, float]:
        """Half widths of the intervals of valence and arousal once ``heard_s`` seconds were heard."""
        at = [error.heard_s for error in self.errors]
        valence = np.interp(heard_s, at, [error.valence for error in self.errors])
        arousal = np.interp(heard_s, at, [error.arousal for error in self.errors])
        return float(valence), float(arousal)

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
        if os.path.isfile(candidate / "config.json"):  # noqa: PTH113 - Path.is_file raises where a name is too long
            return candidate
    known = sorted({path.parent.name for place in places for path in place.glob("*/config.json")})
    raise CheckpointError(
        f"no model {short(name)}: give the path of a folder with config.json and weights.safetensors, "
        f"or one of: {', '.join(known) or '(none is installed)'}"
    )


def load_checkpoint(folder: Path, *, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: A file is missing or damaged, or does not match this version of stream_mer.
    """
    try:
        config = read_config(folder / "config.json")
        tensors = read_weights(folder / "weights.safetensors", device=device)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read the model {folder}: {reason(error)}") from error
    try:
        shape, joint_config, calibration, training = _parts(config)
        with on_meta():  # a config of a million filters takes no memory: it is refused before anything is built
            check_state(_modules(shape, joint_config), tensors)
        modules = _modules(shape, joint_config)
        modules.load_state_dict(tensors)
        _check_places(tensors["backbone.pooled"], shape)
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:  # torch asserts some shapes
        raise CheckpointError(
            f"the model {folder} does not match this version of stream_mer: {reason(error)}"
        ) from error
    modules.to(device).eval().requires_grad_(requires_grad=False)
    return Checkpoint(
        name=folder.resolve().name,
        backbone=cast("Backbone", modules["backbone"]),
        joint=cast("JointModel", modules["joint"]),
        calibration=calibration,
        training=training,
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


def _modules(shape: BackboneShape, config: JointModelConfig) -> nn.ModuleDict:
    return nn.ModuleDict({"backbone": Backbone(shape), "joint": JointModel(config)})


def _parts(config: Any) -> tuple[BackboneShape, JointModelConfig, Calibration, dict[str, Any]]:
    """Return what a config says of shape, joint model, calibration and training, all of it within its ranges."""
    if not isinstance(config, dict):
        raise ValueError(f"config.json holds {short(config)} in place of a table")  # noqa: TRY004 - of a file
    if config["format"] != FORMAT:
        raise ValueError(f"it has format {short(config['format'])}, and this version reads {FORMAT}")
    if config["categories"] != list(CATEGORIES) or config["clusters"] != list(CLUSTERS):
        raise ValueError("it was trained on other categories or clusters")
    shape = record_of(config["backbone"], BackboneShape, where="backbone")
    joint = record_of(config["joint"], JointModelConfig, where="joint")
    made = shape.token_features + YAMNET.embedding_size
    if joint.audio_features != made:
        raise ValueError(f"it reads tokens of {joint.audio_features} features, but its audio branch makes {made}")
    if joint.audio_components > joint.audio_features:
        raise ValueError(f"{joint.audio_components} components cannot come of {joint.audio_features} features")
    training = config.get("training", {})
    return shape, joint, _calibration(config["calibration"]), training if isinstance(training, dict) else {}


_RECORDS: dict[str, type] = {"text_strength": TextStrength, "category_link": CategoryLink}


def _calibration(told: Any) -> Calibration:
    if isinstance(told, dict):
        for name in _RECORDS.keys() & told.keys():  # their unknown settings would pass
            record_of(told[name], _RECORDS[name], where=f"calibration.{name}")
        if isinstance(told.get("errors"), list):
            for error in told["errors"][:1000]:
                record_of(error, PredictionError, where="calibration.errors")
    found = record_of(told, Calibration, where="calibration")
    curves = {name: getattr(found, name) for name in ("category_accuracy", "valence_spread", "arousal_spread")}
    for name, pairs in {**curves, "errors": [(error.heard_s,) for error in found.errors]}.items():
        for rising in zip(*pairs, strict=True):
            if list(rising) != sorted(rising):
                raise ValueError(f"calibration.{name} does not rise")
    return found


def _check_places(pooled: Tensor, shape: BackboneShape) -> None:
    if not bool(((pooled >= 0) & (pooled < shape.channels)).all()):
        raise ValueError(f"backbone.pooled names channels that are not among the {shape.channels} that there are")
