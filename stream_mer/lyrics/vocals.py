"""Detection of vocals from the log-mel spectrogram: a small network that gives a probability every 16 ms.

A stack of dilated depthwise-separable convolutions, as in Bai, Kolter and Koltun, "An empirical evaluation of generic
convolutional and recurrent networks for sequence modeling" (2018). It is causal but for ``LOOKAHEAD_STEPS``. Its
weights come from ``stream_mer.training.vocals``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from safetensors.numpy import save

from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.errors import CheckpointError
from stream_mer.types import SAMPLE_RATE_HZ, Floats, Samples
from stream_mer.utils.files import replacing
from stream_mer.utils.model_files import (
    Tensors,
    check_tensors,
    find_packaged,
    like,
    read_config,
    read_weights,
    reason,
    record_of,
)

STEPS_PER_S = SAMPLE_RATE_HZ / STEP_LENGTH
"""Steps per second: 62.5."""

LOOKAHEAD_STEPS = 16
"""Look-ahead of a step: 0.256 s. After the end of the audio it is silence."""

FRONT_STEPS, FRONT_BANDS, FRONT_STRIDE = 5, 9, 3
WEIGHTS, CONFIG = "vocals.safetensors", "vocals.json"
SHIPPED = "vocals-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class VocalShape:
    """Size of the network, with the ranges that a file may have.

    Attributes:
        shapes: Filters of the front, each over 5 steps and 9 bands, at every pitch.
        width: Channels.
        kernel: Steps in a filter.
        dilations: Distance between these steps, one a layer.
    """

    shapes: Annotated[int, Meta(ge=1, le=1024)] = 16
    width: Annotated[int, Meta(ge=1, le=1024)] = 128
    kernel: Annotated[int, Meta(ge=1, le=64)] = 9
    dilations: Annotated[tuple[Annotated[int, Meta(ge=1, le=512)], ...], Meta(min_length=1, max_length=32)] = (
        1,
        2,
        4,
        8,
        16,
        32,
    )


class VocalDetector:
    """Detects vocals and speech in a recording.

    Args:
        shape: Size of the network.
        tensors: Its weights, by the names of ``vocal_tensors``.

    Raises:
        ValueError: The weights are not of this shape.
    """

    def __init__(self, shape: VocalShape, tensors: Tensors) -> None:
        check_tensors(tensors, vocal_tensors(shape))
        # The standardised input is padded with zeros behind, which the front has to see as such: not to be folded.
        self._mean, self._scale = tensors["mean"], tensors["scale"]
        self._front = tensors["front.weight"].reshape(shape.shapes, -1).T.copy(), tensors["front.bias"]
        # Its inputs are [shapes, places] in the file, [places, shapes] here.
        first = tensors["first.weight"].reshape(shape.width, shape.shapes, _places())
        self._first = first.transpose(2, 1, 0).reshape(-1, shape.width).copy(), tensors["first.bias"]
        self._layers = [_Layer(tensors, f"layers.{i}", dilation) for i, dilation in enumerate(shape.dilations)]
        self._last = tensors["last.weight"][0], tensors["last.bias"]

    def probabilities(self, samples: Samples) -> Floats:
        """Return the probability of vocals at each step, shape ``[len(samples) // 256]``, 0..1.

        Args:
            samples: Mono audio at 16 kHz, -1..1, shape ``[n]``.
        """
        n = len(samples) // STEP_LENGTH
        if n == 0:
            return np.zeros(0, np.float32)
        log_mel = LogMelStream().feed(np.concatenate([samples, np.zeros(STEP_LENGTH, np.float32)]))[:n]
        found: Floats = np.float32(1) / (np.float32(1) + np.exp(-self.logits(log_mel)))
        return found

    def logits(self, log_mel: Floats) -> Floats:
        """Return the logits of vocals, shape ``[n]``, of log-mel steps, shape ``[n, 96]``."""
        x = np.pad((log_mel - self._mean) * self._scale, ((FRONT_STEPS - 1, LOOKAHEAD_STEPS), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (FRONT_STEPS, FRONT_BANDS))[:, ::FRONT_STRIDE]
        steps, places = windows.shape[:2]
        x = _rectified(windows.reshape(steps * places, -1) @ self._front[0], self._front[1])
        x = _rectified(x.reshape(steps, -1) @ self._first[0], self._first[1])
        for layer in self._layers:
            x = layer(x)
        weight, bias = self._last
        logits: Floats = x[LOOKAHEAD_STEPS:] @ weight + bias
        return logits


class _Layer:
    """A residual layer, ``[n, width]`` to ``[n, width]``: filters over the past, normalisation, mixture of channels.

    The normalisation is part of the mixture.
    """

    def __init__(self, tensors: Tensors, name: str, dilation: int) -> None:
        self._dilation = dilation
        self._filters = tensors[f"{name}.filters.weight"][:, 0].T.copy()  # [kernel, width]
        variance: Floats = tensors[f"{name}.norm.running_var"]
        scale: Floats = tensors[f"{name}.norm.weight"] / np.sqrt(variance + np.float32(1e-5))
        centre = tensors[f"{name}.filters.bias"] - tensors[f"{name}.norm.running_mean"]
        mixture = tensors[f"{name}.mixture.weight"][:, :, 0].T  # [width, width]
        self._mixture: Floats = scale[:, None] * mixture
        self._bias: Floats = tensors[f"{name}.mixture.bias"] + (centre * scale + tensors[f"{name}.norm.bias"]) @ mixture

    def __call__(self, x: Floats) -> Floats:
        n, past = len(x), (len(self._filters) - 1) * self._dilation
        padded = np.concatenate([np.zeros((past, x.shape[1]), np.float32), x])
        filtered = np.zeros_like(x)
        for i, weight in enumerate(self._filters):
            start = i * self._dilation
            filtered += padded[start : start + n] * weight
        mixed: Floats = filtered @ self._mixture
        return x + _rectified(mixed, self._bias)


def _rectified(x: Floats, bias: Floats) -> Floats:
    """Return the rectified sum; ``x`` is overwritten."""
    x += bias
    return np.maximum(x, 0, out=x)


def _places() -> int:
    """Return how many pitches the front's filters lie at."""
    return (MEL_BANDS - FRONT_BANDS) // FRONT_STRIDE + 1


def vocal_tensors(shape: VocalShape) -> Tensors:
    """Return what a file holds of a detector: arrays of the right shapes and types that take no memory."""
    width = shape.width
    found: dict[str, NDArray[Any]] = {
        "mean": like(MEL_BANDS),
        "scale": like(MEL_BANDS),
        "front.weight": like(shape.shapes, 1, FRONT_STEPS, FRONT_BANDS),
        "front.bias": like(shape.shapes),
        "first.weight": like(width, shape.shapes * _places(), 1),
        "first.bias": like(width),
        "last.weight": like(1, width),
        "last.bias": like(1),
    }
    for i in range(len(shape.dilations)):
        layer: dict[str, NDArray[Any]] = {
            "filters.weight": like(width, 1, shape.kernel),
            "mixture.weight": like(width, width, 1),
            "norm.num_batches_tracked": np.broadcast_to(np.int64(0), ()),
            **{f"{name}.bias": like(width) for name in ("filters", "norm", "mixture")},
            **{f"norm.{name}": like(width) for name in ("weight", "running_mean", "running_var")},
        }
        found |= {f"layers.{i}.{name}": one for name, one in layer.items()}
    return found


def find_shipped() -> Path:
    """Return the folder of the packaged detector.

    Raises:
        CheckpointError: It is missing.
    """
    return find_packaged(SHIPPED, CONFIG)


def load_detector(folder: Path) -> VocalDetector:
    """Read a detector's weights.

    Raises:
        CheckpointError: A file is missing, damaged or out of range.
    """
    try:
        config, tensors = read_config(folder / CONFIG), read_weights(folder / WEIGHTS)
        return VocalDetector(record_of(config["shape"], VocalShape, where="shape"), tensors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read the vocal detector {folder}: {reason(error)}") from error


def save_detector(shape: VocalShape, tensors: Tensors, folder: Path, *, training: Mapping[str, object]) -> None:
    """Write ``vocals.safetensors`` and ``vocals.json``; ``training`` is information for readers."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"shape": asdict(shape), "training": dict(training)}
    # Both are complete before either replaces an older one.
    with replacing(folder / CONFIG) as config_file, replacing(folder / WEIGHTS) as weights:
        weights.write(save({name: np.asarray(one, order="C") for name, one in tensors.items()}))
        config_file.write((json.dumps(config, indent=2) + "\n").encode())
