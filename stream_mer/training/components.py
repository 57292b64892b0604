"""Principal components of audio tokens: what is computed of them once, before any label is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.emotion.audio_branch import YAMNET
from stream_mer.emotion.joint import PrincipalComponents
from stream_mer.utils.file_writing import replacing

MUSICNN_COMPONENTS, YAMNET_COMPONENTS = 200, 250
"""Components of each network's part of a token: more of them change no figure on the folds."""

_TOKENS = 6000  # that they are computed of; more change nothing
_SMALLEST_SPREAD = 1e-2  # relative to the mean of all features: a constant one stays small


def audio_components(tokens: Sequence[NDArray[np.float16]], cache: Path) -> PrincipalComponents:
    """The components of MusiCNN's and of YAMNet's part of the audio tokens, after each other.

    They are computed over all clips, without labels; the folds share them.

    Args:
        tokens: Of each clip, [n, token_features].
        cache: A folder; keeps them under a name that changes with the tokens.

    Returns:
        All components scaled alike, to a variance of 1 on average. Scaled one by one, the many that hold next to
        nothing would be as loud as those that matter.
    """
    sample = _sample(tokens)
    n_features = sample.shape[1]
    path = cache / f"components-{hashlib.sha256(sample.numpy().tobytes()).hexdigest()[:12]}.npz"
    if not path.is_file():
        of_yamnet = YAMNET.embedding_size
        parts = [
            _components(sample[:, : n_features - of_yamnet], MUSICNN_COMPONENTS),
            _components(sample[:, n_features - of_yamnet :], YAMNET_COMPONENTS),
        ]
        basis = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
        basis /= ((sample - sample.mean(0)) @ basis).square().mean().sqrt()
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, mean=sample.mean(0).numpy(), basis=basis.numpy())
    with np.load(path, allow_pickle=False) as kept:
        found = PrincipalComponents(*kept["basis"].shape)
        found.mean.copy_(torch.from_numpy(kept["mean"]))
        found.basis.copy_(torch.from_numpy(kept["basis"]))
    return found


def of_yamnet(components: PrincipalComponents) -> Tensor:
    """Which components are of YAMNet's part of the tokens, [components]; a small corpus gives fewer than usual."""
    found: Tensor = (components.basis[-YAMNET.embedding_size :] != 0).any(0)
    return found


@torch.inference_mode()
def reduce(tokens: NDArray[np.float16], components: PrincipalComponents) -> NDArray[np.float16]:
    """Tokens [n, token_features] as their components [n, components]."""
    reduced: NDArray[np.float16] = components(torch.from_numpy(tokens).float()).half().numpy()
    return reduced


def _sample(tokens: Iterable[NDArray[np.float16]]) -> Tensor:
    """Some of all tokens, [n, token_features], the same ones for the same clips."""
    of_clips = list(tokens)
    step = max(1, sum(map(len, of_clips)) // _TOKENS)
    return torch.from_numpy(np.concatenate(of_clips)[::step]).float()


def _components(sample: Tensor, n: int) -> Tensor:
    """Basis [features, n] of the largest principal components of standardised features."""
    n = min(n, *sample.shape)
    spread = sample.std(0)
    scale = 1.0 / (spread + _SMALLEST_SPREAD * spread.mean() + 1e-12)
    torch.manual_seed(0)  # the algorithm is a randomised one
    _, _, directions = torch.svd_lowrank((sample - sample.mean(0)) * scale, q=n, niter=2)
    return scale[:, None] * directions
