"""The taggers that ours is compared with: MSD-MusiCNN as published, and VibeNet 0.1.0.

VibeNet is under the GPL-3. It is no dependency, and nothing here imports it: it runs in a process and a virtual
environment of its own, given by ``--vibenet-python``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Child, PeerMissingError, last_line, open_child
from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.emotion.musicnn import TEMPORAL_STEPS, TIMBRAL_BANDS, TIMBRAL_STEPS, Backbone, Layer, load_musicnn
from stream_mer.errors import CheckpointError, StreamMerError
from stream_mer.training.corpus import Clip
from stream_mer.types import SAMPLE_RATE_HZ, Samples

# MSD-MusiCNN: windows of 3 s side by side, every mel position, its own dense layers.

MUSICNN = "MSD-MusiCNN"
WINDOW_STEPS = 187
WINDOW_S = WINDOW_STEPS * STEP_LENGTH / SAMPLE_RATE_HZ  # 2.99

_EPSILON = 1e-3  # of every batch norm
_DENSE = ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")


def open_musicnn(tensors: Path | None, *, one_thread: bool = False) -> MusicnnTagger:
    """Load the tagger for a comparison; ``one_thread`` limits torch for the whole process."""
    if tensors is None:
        raise PeerMissingError("give its published tensors, an .npz, with --musicnn PATH")
    if one_thread:
        torch.set_num_threads(1)
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
        self._input = torch.from_numpy(backbone.input_scale), torch.from_numpy(backbone.input_offset)
        self._banks, self._middle = ([_layer(one) for one in layers] for layers in (backbone.front, backbone.middle))
        self._tensors = tensors
        self._pooled_norm = _folded_norm(tensors, 9)
        self._embedding_norm = _folded_norm(tensors, 10)

    @classmethod
    def load(cls, path: Path) -> MusicnnTagger:
        """Read the published tensors from an ``.npz``."""
        backbone = load_musicnn(path)
        with np.load(path, allow_pickle=False) as archive:  # ``load_musicnn`` has validated it
            tensors = {name: torch.from_numpy(archive[name]) for name in archive.files}
        missing = [name for name in (*_DENSE, *_norm_names(9), *_norm_names(10)) if name not in tensors]
        if missing:
            raise CheckpointError(f"{path} lacks the dense layers of MSD-MusiCNN: {', '.join(missing)}")
        return cls(backbone, tensors)

    @torch.inference_mode()
    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Penultimate layer and tags of each whole window of 16 kHz audio, [n, 250]; a shorter clip is one window."""
        log_mel = torch.from_numpy(LogMelStream().feed(samples))
        log_mel = functional.pad(log_mel, (0, 0, 0, max(0, WINDOW_STEPS - len(log_mel))))
        starts = range(0, len(log_mel) - WINDOW_STEPS + 1, WINDOW_STEPS)
        windows = [self._classify(self._channels(log_mel[start : start + WINDOW_STEPS])) for start in starts]
        return np.asarray(torch.stack(windows).numpy(), dtype=np.float32)

    def _front(self, log_mel: Tensor) -> list[Tensor]:
        """Per filter bank its steps, [n, filters], the window's ends padded with zeros."""
        scale, offset = self._input
        x = log_mel * scale + offset
        padded = functional.pad(x, (0, 0, TIMBRAL_STEPS // 2, TIMBRAL_STEPS // 2))
        out = []
        for layer, bands in zip(self._banks, TIMBRAL_BANDS, strict=False):
            rows = padded.unfold(0, TIMBRAL_STEPS, 1).unfold(1, bands, 1).reshape(-1, TIMBRAL_STEPS * bands)
            out.append(layer(rows).view(len(x), MEL_BANDS - bands + 1, -1).amax(1))
        for layer, steps in zip(self._banks[len(TIMBRAL_BANDS) :], TEMPORAL_STEPS, strict=True):
            padded = functional.pad(x, (0, 0, (steps - 1) // 2, steps // 2))
            out.append(layer(padded.unfold(0, steps, 1).reshape(-1, steps)).view(len(x), MEL_BANDS, -1).amax(1))
        return out

    def _channels(self, log_mel: Tensor) -> Tensor:
        """All channels of one window, [187, 753]."""
        x = torch.cat(self._front(log_mel), dim=1)
        channels = [x]
        for i, layer in enumerate(self._middle):
            y = _over_time(layer, x)
            x = y + x if i > 0 else y
            channels.append(x)
        return torch.cat(channels, dim=1)

    def _classify(self, channels: Tensor) -> Tensor:
        """Penultimate layer and tags of one window, [250]."""
        tensors, (scale, offset) = self._tensors, self._pooled_norm
        pooled = torch.stack([channels.amax(0), channels.mean(0)], dim=1).flatten() * scale + offset
        hidden = torch.relu(pooled @ tensors["dense/kernel"] + tensors["dense/bias"])
        scale, offset = self._embedding_norm
        embedding = hidden * scale + offset
        tags = torch.sigmoid(embedding @ tensors["dense_1/kernel"] + tensors["dense_1/bias"])
        return torch.cat([embedding, tags])


def _layer(layer: Layer) -> Callable[[Tensor], Tensor]:
    """Return a layer over unfolded rows, [n, rows] to [n, filters]: linear map, ReLU and batch norm."""
    weight, bias, scale, offset = map(torch.from_numpy, (layer.weight, layer.bias, layer.scale, layer.offset))
    return lambda rows: torch.relu(functional.linear(rows, weight, bias)) * scale + offset


def _over_time(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A middle layer over [n, channels], its ends padded with zeros: [n, 64]."""
    padded = functional.pad(x, (0, 0, TIMBRAL_STEPS // 2, TIMBRAL_STEPS // 2))
    return layer(padded.unfold(0, TIMBRAL_STEPS, 1).transpose(1, 2).flatten(1))


def _norm_names(index: int) -> list[str]:
    return [f"batch_normalization_{index}/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance")]


def _folded_norm(tensors: dict[str, Tensor], index: int) -> tuple[Tensor, Tensor]:
    gamma, beta, mean, variance = (tensors[name] for name in _norm_names(index))
    scale = gamma / torch.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


# VibeNet.

VIBENET_VERSION = "0.1.0"
VIBENET = f"VibeNet {VIBENET_VERSION}"
VIBENET_HIDDEN = 256  # units of its last hidden layer
_WORKER = Path(__file__).with_name("vibenet_worker.py")
_NEEDED = (
    "import importlib.metadata as m, onnx, vibenet; "
    f"assert m.version('vibenet') == '{VIBENET_VERSION}', m.version('vibenet')"
)
_RECIPE = (
    f"python -m venv DIR && DIR/bin/pip install vibenet=={VIBENET_VERSION} onnx, then --vibenet-python DIR/bin/python"
)


class Vibenet:
    """A running VibeNet. See ``open_vibenet``.

    Attributes:
        names: Names of its outputs.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self.names: tuple[str, ...] = tuple(child.receive()["names"])

    def features(self, clip: Clip, *, first_s: float | None = None) -> NDArray[np.float32]:
        """Return the last hidden layer and the outputs for a clip or its first seconds, [256 + 7]."""
        found = self._ask(audio=str(clip.audio), middle_s=clip.middle_s, first_s=first_s)
        return np.array([*found["hidden"], *found["outputs"]], dtype=np.float32)

    def cpu_s(self, duration_s: float, *, repeats: int) -> float:
        """Return the CPU seconds of one pass over decoded audio of this length; one thread."""
        return float(self._ask(time_s=duration_s, repeats=repeats)["cpu_s"])

    def _ask(self, **question: Any) -> dict[str, Any]:
        found = self._child.ask(json.dumps(question))
        if "error" in found:
            raise StreamMerError(f"VibeNet failed: {found['error']}")
        return found


@contextlib.contextmanager
def open_vibenet(python: Path | None) -> Iterator[Vibenet]:
    """Start VibeNet with an interpreter that has it, else with this one."""
    if python is None and importlib.util.find_spec("vibenet") is not None:
        python = Path(sys.executable)
    if python is None:
        raise PeerMissingError(f"give an interpreter that has it with --vibenet-python PATH ({_RECIPE})")
    try:
        done = subprocess.run([str(python), "-c", _NEEDED], capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"{python} cannot run it: {error} ({_RECIPE})") from error
    if done.returncode:
        raise PeerMissingError(f"{python} cannot run it: {last_line(done.stderr)} ({_RECIPE})")
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with open_child(str(_WORKER), python=python, environment=one_thread) as child:
        yield Vibenet(child)
