"""Checkpoints: ``models/<name>/`` with ``weights.safetensors``, ``config.json`` and ``CARD.md``; never a pickle."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from msgspec import Meta
from safetensors.numpy import save

from stream_mer.audio.yamnet import EMBEDDING_SIZE
from stream_mer.emotion.joint import JointModel, JointModelConfig
from stream_mer.emotion.musicnn import Backbone, BackboneShape
from stream_mer.errors import CheckpointError, SettingError
from stream_mer.types import CATEGORIES, CLUSTERS
from stream_mer.utils.files import replacing
from stream_mer.utils.model_files import Tensors, read_config, read_weights, reason, record_of, short

FORMAT = 3
"""Increased whenever older checkpoints can no longer be read."""


Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Strength: TypeAlias = Annotated[float, Meta(ge=0, le=10)]
Temperature: TypeAlias = Annotated[float, Meta(ge=0.01, le=100)]
HalfWidth: TypeAlias = Annotated[float, Meta(ge=0, le=2)]
Coordinate: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
"""Ranges of the values in a checkpoint."""

Curve: TypeAlias = Annotated[tuple[tuple[Coordinate, Coordinate], ...], Meta(max_length=1000)]
"""A piecewise linear map: pairs of input and output, both rising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStrength:
    """Influence of text on each output, fitted on held-out clips.

    Attributes:
        emotion: Of valence and arousal: 0 ignores text, 1 is the model's own fusion, more goes beyond it.
        category: Of the category's logits.
        cluster: Of the cluster's logits.
    """

    emotion: Strength = 1.0
    category: Strength = 1.0
    cluster: Strength = 1.0

    @property
    def greatest(self) -> float:
        """The largest of the three."""
        return max(self.emotion, self.category, self.cluster)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionError:
    """Half widths of the prediction intervals after ``heard_s`` seconds of audio.

    Attributes:
        heard_s: Audio since the stream started, seconds.
        valence: A share ``Calibration.level`` of the published valences is within this of listeners' ratings.
        arousal: Likewise.
    """

    heard_s: Seconds
    valence: HalfWidth
    arousal: HalfWidth


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryLink:
    """Influence of valence and arousal on the category, so that both agree.

    The published probabilities are proportional to ``softmax(logits / category_temperature)`` times the probability
    that valence and arousal lie in the category's quadrant, to the power of ``weight``.

    Attributes:
        weight: 0 uses the category's own head alone.
        valence_sd: Standard deviation of the error of valence, for the link.
        arousal_sd: Likewise.
    """

    weight: Annotated[float, Meta(ge=0, le=10)] = 0.0
    valence_sd: Annotated[float, Meta(ge=0.01, le=2)] = 0.2
    arousal_sd: Annotated[float, Meta(ge=0.01, le=2)] = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Figures of the model's errors, from out-of-fold predictions.

    Attributes:
        errors: Half widths of the prediction intervals, by rising ``heard_s``; at least one.
        level: Coverage of the intervals, 0..1.
        category_temperature: Divides the category logits, so that probabilities match frequencies.
        cluster_temperature: Likewise for the clusters.
        category_accuracy: Expected accuracy of the likeliest category by its confidence: pairs of confidence and
            accuracy, both rising, each 0..1.
        category_link: Link of category and point.
        text_strength: Influence of text on each output.
        valence_spread: Map to the spread of the raters, for outputs that need the whole range; empty changes nothing.
            The published value is the best estimate, so its spread is smaller.
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
        """Return the half widths of the intervals of valence and arousal after ``heard_s`` seconds of audio."""
        last = self.errors[-1]
        if heard_s >= last.heard_s:  # almost always
            return last.valence, last.arousal
        at = [error.heard_s for error in self.errors]
        valence = np.interp(heard_s, at, [error.valence for error in self.errors])
        arousal = np.interp(heard_s, at, [error.arousal for error in self.errors])
        return float(valence), float(arousal)

    def confidence_for(self, accuracy: float) -> float:
        """Return the lowest confidence at which the likeliest category has this expected accuracy, 0..1.

        Raises:
            SettingError: No confidence gives it, or the checkpoint has no such figures.
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
                    return 0.0  # even the least confident clips reach it
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
        calibration: Figures of its errors.
        training: Settings, data and figures of its training; information for readers.
    """

    name: str
    backbone: Backbone
    joint: JointModel
    calibration: Calibration
    training: dict[str, Any] = field(default_factory=dict)


def find_model(name: str) -> Path:
    """Find a checkpoint: a folder's path, or a name in the package or the repository.

    Raises:
        CheckpointError: There is none; the message lists the installed ones.
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


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: A file is missing or damaged, or does not match this version of stream_mer.
    """
    try:
        config = read_config(folder / "config.json")
        tensors = read_weights(folder / "weights.safetensors")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read the model {folder}: {reason(error)}") from error
    try:
        _check_names(tensors)
        shape, joint_config, calibration, training = _parts(config)
        backbone = Backbone.from_tensors(shape, _of_part(tensors, "backbone"))
        joint = JointModel(joint_config, _of_part(tensors, "joint"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the model {folder} does not match this version of stream_mer: {reason(error)}"
        ) from error
    return Checkpoint(
        name=folder.resolve().name, backbone=backbone, joint=joint, calibration=calibration, training=training
    )


def _check_names(tensors: Tensors) -> None:
    if unknown := [name for name in tensors if not name.startswith(("backbone.", "joint."))]:
        raise ValueError(f"{len(unknown)} tensors belong to no part of it, such as {short(unknown[0])}")


def _of_part(tensors: Tensors, part: str) -> Tensors:
    """Return the tensors of a part, by their names within it."""
    return {name.removeprefix(f"{part}."): one for name, one in tensors.items() if name.startswith(f"{part}.")}


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write ``weights.safetensors`` and ``config.json``; the card is written by training."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"backbone": checkpoint.backbone.tensors(), "joint": checkpoint.joint.tensors}
    tensors = {f"{part}.{name}": np.ascontiguousarray(one) for part, of in parts.items() for name, one in of.items()}
    config = {
        "format": FORMAT,
        "categories": CATEGORIES,
        "clusters": CLUSTERS,
        "backbone": checkpoint.backbone.shape.to_dict(),
        "joint": checkpoint.joint.config.to_dict(),
        "calibration": asdict(checkpoint.calibration),
        "training": checkpoint.training,
    }
    # Both are complete before either replaces an older one.
    with replacing(folder / "config.json") as config_file, replacing(folder / "weights.safetensors") as weights:
        weights.write(save(tensors))
        config_file.write((json.dumps(config, indent=2) + "\n").encode())


def _parts(config: Any) -> tuple[BackboneShape, JointModelConfig, Calibration, dict[str, Any]]:
    """Return shape, joint model, calibration and training of a config, validated."""
    if not isinstance(config, dict):
        raise ValueError(f"config.json holds {short(config)} in place of a table")  # noqa: TRY004 - of a file
    if config["format"] != FORMAT:
        raise ValueError(f"it has format {short(config['format'])}, and this version reads {FORMAT}")
    if config["categories"] != list(CATEGORIES) or config["clusters"] != list(CLUSTERS):
        raise ValueError("it was trained on other categories or clusters")
    shape = record_of(config["backbone"], BackboneShape, where="backbone")
    joint = record_of(config["joint"], JointModelConfig, where="joint")
    token_features = shape.token_features + EMBEDDING_SIZE
    if joint.audio_features != token_features:
        raise ValueError(
            f"it reads tokens of {joint.audio_features} features, but its audio branch makes {token_features}"
        )
    if joint.audio_components > joint.audio_features:
        raise ValueError(f"{joint.audio_components} components cannot come of {joint.audio_features} features")
    training = config.get("training", {})
    return shape, joint, _calibration(config["calibration"]), training if isinstance(training, dict) else {}


_RECORDS: dict[str, type] = {"text_strength": TextStrength, "category_link": CategoryLink}


def _calibration(config: Any) -> Calibration:
    if isinstance(config, dict):  # checked one by one, since msgspec ignores unknown fields of nested records
        for name in _RECORDS.keys() & config.keys():
            record_of(config[name], _RECORDS[name], where=f"calibration.{name}")
        if isinstance(config.get("errors"), list):
            for error in config["errors"][:1000]:
                record_of(error, PredictionError, where="calibration.errors")
    found = record_of(config, Calibration, where="calibration")
    curves = {name: getattr(found, name) for name in ("category_accuracy", "valence_spread", "arousal_spread")}
    for name, pairs in {**curves, "errors": [(error.heard_s,) for error in found.errors]}.items():
        for rising in zip(*pairs, strict=True):
            if list(rising) != sorted(rising):
                raise ValueError(f"calibration.{name} does not rise")
    return found
