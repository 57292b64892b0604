"""Predicts every clip with models that never heard its artist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream_mer.emotion.model import JointModel
from stream_mer.training.dataset import ClipSet, TextKind
from stream_mer.training.fit import Recipe, fit
from stream_mer.training.progress import bars
from stream_mer.types import CATEGORIES, CLUSTERS

TEXT_KINDS: tuple[TextKind, ...] = ("none", "recognised", "printed")
FRAME_TOKEN = 19  # the block that ends 9.92 s after the start: one frame with 10 s heard

_EMOTION = slice(0, 2)
_CATEGORY = slice(2, 2 + len(CATEGORIES))
_CLUSTER = slice(2 + len(CATEGORIES), 2 + len(CATEGORIES) + len(CLUSTERS))
_WIDTH = _CLUSTER.stop


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Out-of-fold predictions, one row a clip in the set's order.

    Attributes:
        emotion: Valence and arousal, [n, 2].
        category: Logits, [n, 4].
        cluster: Logits, [n, 5].
    """

    emotion: NDArray[np.float64]
    category: NDArray[np.float64]
    cluster: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldResults:
    """What cross-validation gives, by kind of text.

    Attributes:
        clips: Mean over all moments of a clip.
        frames: The one moment with 10 s heard.
    """

    clips: dict[TextKind, Predictions]
    frames: dict[TextKind, Predictions]


def cross_validate(data: ClipSet, recipe: Recipe, seeds: Sequence[int], cache: Path) -> FoldResults:
    """Train on four folds and predict the fifth, for every fold and seed; seeds are averaged as an ensemble.

    Every finished fold is kept in ``cache``, so that an interrupted run goes on where it stopped; under a name that
    changes with the recipe and the data, so that no result outlives what it was measured on. A corpus may have fewer
    folds than five.
    """
    key = hashlib.sha256(json.dumps([asdict(recipe), data.fingerprint()], sort_keys=True).encode()).hexdigest()[:12]
    folder = cache / f"folds-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    total = np.zeros((2, len(TEXT_KINDS), len(data), _WIDTH))
    folds = np.array([clip.fold for clip in data.clips])
    present = sorted(set(folds.tolist()))
    with bars() as progress:
        task = progress.add_task("Folds", total=len(seeds) * len(present))
        for seed in seeds:
            for fold in present:
                rows = np.flatnonzero(folds == fold)
                path = folder / f"seed{seed}-fold{fold}.npy"
                if not path.is_file():
                    model = fit(data, np.flatnonzero(folds != fold).tolist(), recipe, seed=seed)
                    part = path.with_suffix(".part.npy")
                    np.save(part, np.stack([_predict(model, data, int(row)) for row in rows], axis=2))
                    part.replace(path)
                total[:, :, rows] += np.load(path, allow_pickle=False) / len(seeds)
                progress.advance(task)
    clips, frames = ({kind: _split(total[i, k]) for k, kind in enumerate(TEXT_KINDS)} for i in range(2))
    return FoldResults(clips=clips, frames=frames)


@torch.inference_mode()
def _predict(model: JointModel, data: ClipSet, row: int) -> NDArray[np.float64]:
    """One clip with every kind of text: [2 (clip, frame), kinds, outputs]."""
    out = np.zeros((2, len(TEXT_KINDS), _WIDTH))
    for k, kind in enumerate(TEXT_KINDS):
        if k > 0 and not data.has_lines(row, kind):
            out[:, k] = out[:, 0]  # no words: the same as audio alone
            continue
        batch = data.moments(row, kind)
        heads = model(batch.audio, batch.text).fused
        moments = torch.cat([heads.emotion, heads.category, heads.cluster], dim=1).double().numpy()
        out[0, k] = moments.mean(0)
        out[1, k] = moments[min(FRAME_TOKEN, len(moments) - 1)]
    return out


def _split(rows: NDArray[np.float64]) -> Predictions:
    return Predictions(emotion=rows[:, _EMOTION], category=rows[:, _CATEGORY], cluster=rows[:, _CLUSTER])
