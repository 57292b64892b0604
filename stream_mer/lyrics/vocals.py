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
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.errors import CheckpointError
from stream_mer.types import SAMPLE_RATE_HZ, Samples
from stream_mer.utils.files import replacing
from stream_mer.utils.model_files import (
    check_state,
    find_packaged,
    on_meta,
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


class VocalNetwork(nn.Module):
    """Log-mel steps, shape ``[batch, n, 96]``, to logits of vocals, shape ``[batch, n]``."""

    def __init__(self, shape: VocalShape | None = None) -> None:
        super().__init__()
        self.shape = shape or VocalShape()
        self.register_buffer("mean", torch.zeros(MEL_BANDS))
        self.register_buffer("scale", torch.ones(MEL_BANDS))
        self.front = nn.Conv2d(1, self.shape.shapes, (FRONT_STEPS, FRONT_BANDS), stride=(1, FRONT_STRIDE))
        places = (MEL_BANDS - FRONT_BANDS) // FRONT_STRIDE + 1
        self.first = nn.Conv1d(self.shape.shapes * places, self.shape.width, 1)
        self.layers = nn.ModuleList(_Layer(self.shape, dilation) for dilation in self.shape.dilations)
        self.last = nn.Linear(self.shape.width, 1)

    mean: Tensor
    scale: Tensor

    def forward(self, log_mel: Tensor) -> Tensor:
        x = (log_mel - self.mean) * self.scale
        x = nn.functional.pad(x, (0, 0, FRONT_STEPS - 1, LOOKAHEAD_STEPS))
        x = torch.relu(self.front(x[:, None]))
        x = torch.relu(self.first(x.transpose(2, 3).flatten(1, 2)))
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.last(x[:, :, LOOKAHEAD_STEPS:].transpose(1, 2)).squeeze(-1)
        return logits


class _Layer(nn.Module):
    """A residual layer: depthwise convolution over the past, then pointwise convolution."""

    def __init__(self, shape: VocalShape, dilation: int) -> None:
        super().__init__()
        self._past = (shape.kernel - 1) * dilation
        self.filters = nn.Conv1d(shape.width, shape.width, shape.kernel, dilation=dilation, groups=shape.width)
        self.norm = nn.BatchNorm1d(shape.width)
        self.mixture = nn.Conv1d(shape.width, shape.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.filters(nn.functional.pad(x, (self._past, 0))))
        mixed: Tensor = x + torch.relu(self.mixture(y))
        return mixed


class VocalDetector:
    """Detects vocals and speech in a recording.

    Args:
        network: In eval mode.
    """

    def __init__(self, network: VocalNetwork) -> None:
        self._network = network

    @torch.inference_mode()
    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        """Return the probability of vocals at each step, shape ``[len(samples) // 256]``, 0..1.

        Args:
            samples: Mono audio at 16 kHz, -1..1, shape ``[n]``.
        """
        n = len(samples) // STEP_LENGTH
        if n == 0:
            return np.zeros(0, np.float32)
        log_mel = LogMelStream().feed(np.concatenate([samples, np.zeros(STEP_LENGTH, np.float32)]))[:n]
        found: NDArray[np.float32] = torch.sigmoid(self._network(log_mel[None]))[0].numpy()
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
        shape = record_of(config["shape"], VocalShape, where="shape")
        with on_meta():
            check_state(VocalNetwork(shape), tensors)
        network = VocalNetwork(shape)
        network.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"cannot read the vocal detector {folder}: {reason(error)}") from error
    network.eval().requires_grad_(requires_grad=False)
    return VocalDetector(network)


def save_detector(network: VocalNetwork, folder: Path, *, training: Mapping[str, object]) -> None:
    """Write ``vocals.safetensors`` and ``vocals.json``; ``training`` is information for readers."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"shape": asdict(network.shape), "training": dict(training)}
    # Both are complete before either replaces an older one.
    with replacing(folder / CONFIG) as config_file, replacing(folder / WEIGHTS) as weights:
        weights.write(save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}))
        config_file.write((json.dumps(config, indent=2) + "\n").encode())
