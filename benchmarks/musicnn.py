"""MSD-MusiCNN as published: windows of 3 s side by side, every mel position, its own dense layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness import PeerMissingError
from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.emotion.musicnn import TEMPORAL_STEPS, TIMBRAL_BANDS, TIMBRAL_STEPS, Backbone, load_musicnn
from stream_mer.errors import CheckpointError
from stream_mer.types import SAMPLE_RATE_HZ, Samples

SYSTEM = "MSD-MusiCNN"
WINDOW_STEPS = 187
WINDOW_S = WINDOW_STEPS * STEP_LENGTH / SAMPLE_RATE_HZ  # 2.99
FEATURES = 200 + 50  # the penultimate layer and the tags

_EPSILON = 1e-3  # of every batch norm
_DENSE = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")


def open_musicnn(tensors: Path | None) -> MusicnnTagger:
    """Load the tagger for a comparison.

    Raises:
        PeerMissingError: There are no tensors, or they are not its own.
    """
    if tensors is None:
        raise PeerMissingError("give its published tensors, an .npz, with --musicnn PATH")
    try:
        return MusicnnTagger.load(tensors)
    except (CheckpointError, OSError) as error:
        raise PeerMissingError(str(error)) from error


class MusicnnTagger:
    """The tagger of Pons & Serra (2019) with its published weights.

    Args:
        backbone: Its convolutions.
        tensors: Its dense layers and their batch norms, under the original's names.
    """

    def __init__(self, backbone: Backbone, tensors: dict[str, Tensor]) -> None:
        self._backbone = backbone
        self._tensors = tensors
        self._pooled_norm = _folded_norm(tensors, 9)
        self._embedding_norm = _folded_norm(tensors, 10)

    @classmethod
    def load(cls, path: Path) -> MusicnnTagger:
        """Read the published tensors from an ``.npz``.

        Raises:
            CheckpointError: The file is missing or is not of this network.
        """
        backbone = load_musicnn(path)
        with np.load(path, allow_pickle=False) as archive:  # ``load_musicnn`` has validated it
            tensors = {name: torch.from_numpy(archive[name]) for name in archive.files}
        missing = [name for name in (*_DENSE, *_norm_names(9), *_norm_names(10)) if name not in tensors]
        if missing:
            raise CheckpointError(f"{path} lacks the dense layers of MSD-MusiCNN: {', '.join(missing)}")
        return cls(backbone, tensors)

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Penultimate layer and tags of each whole window of 16 kHz audio, [n, 250]; a shorter clip is one window."""
        return self.window_features(LogMelStream().feed(samples))

    @torch.inference_mode()
    def window_features(self, log_mel: Tensor) -> NDArray[np.float32]:
        """As ``features``, from log-mel steps [n, 96]."""
        log_mel = functional.pad(log_mel, (0, 0, 0, max(0, WINDOW_STEPS - len(log_mel))))
        starts = range(0, len(log_mel) - WINDOW_STEPS + 1, WINDOW_STEPS)
        windows = [self.classify(self.channels(log_mel[start : start + WINDOW_STEPS])) for start in starts]
        return np.asarray(torch.stack(windows).numpy(), dtype=np.float32)

    def front(self, log_mel: Tensor) -> list[Tensor]:
        """Per filter bank its steps, [n, filters], the window's ends padded with zeros."""
        net = self._backbone
        x = log_mel * net.input_scale + net.input_offset
        padded = functional.pad(x, (0, 0, TIMBRAL_STEPS // 2, TIMBRAL_STEPS // 2))
        out = []
        for layer, bands in zip(net.front, TIMBRAL_BANDS, strict=False):
            rows = padded.unfold(0, TIMBRAL_STEPS, 1).unfold(1, bands, 1).reshape(-1, TIMBRAL_STEPS * bands)
            out.append(layer(rows).view(len(x), MEL_BANDS - bands + 1, -1).amax(1))
        for layer, steps in zip(net.front[len(TIMBRAL_BANDS) :], TEMPORAL_STEPS, strict=True):
            padded = functional.pad(x, (0, 0, (steps - 1) // 2, steps // 2))
            out.append(layer(padded.unfold(0, steps, 1).reshape(-1, steps)).view(len(x), MEL_BANDS, -1).amax(1))
        return out

    def channels(self, log_mel: Tensor) -> Tensor:
        """All channels of one window, [187, 753]."""
        x = torch.cat(self.front(log_mel), dim=1)
        channels = [x]
        for i, layer in enumerate(self._backbone.middle):
            y = _over_time(layer, x)
            x = y + x if i > 0 else y
            channels.append(x)
        return torch.cat(channels, dim=1)

    def classify(self, channels: Tensor) -> Tensor:
        """Penultimate layer and tags of one window, [250]."""
        tensors, (scale, offset) = self._tensors, self._pooled_norm
        pooled = torch.stack([channels.amax(0), channels.mean(0)], dim=1).flatten() * scale + offset
        hidden = torch.relu(pooled @ tensors["dense/kernel"] + tensors["dense/bias"])
        scale, offset = self._embedding_norm
        embedding = hidden * scale + offset
        tags = torch.sigmoid(embedding @ tensors["dense_1/kernel"] + tensors["dense_1/bias"])
        return torch.cat([embedding, tags])


def _over_time(layer: nn.Module, x: Tensor) -> Tensor:
    """A middle layer over [n, channels], its ends padded with zeros: [n, 64]."""
    padded = functional.pad(x, (0, 0, TIMBRAL_STEPS // 2, TIMBRAL_STEPS // 2))
    out: Tensor = layer(padded.unfold(0, TIMBRAL_STEPS, 1).transpose(1, 2).flatten(1))
    return out


def _norm_names(index: int) -> list[str]:
    return [f"batch_normalization_{index}/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance")]


def _folded_norm(tensors: dict[str, Tensor], index: int) -> tuple[Tensor, Tensor]:
    gamma, beta, mean, variance = (tensors[name] for name in _norm_names(index))
    scale = gamma / torch.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale
