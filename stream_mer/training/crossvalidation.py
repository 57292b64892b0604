"""Cross-validation: predicts every clip with models that were not trained on its artist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.emotion.joint import OUTPUTS
from stream_mer.training.dataset import ClipSet
from stream_mer.training.fit import Recipe, fit
from stream_mer.training.network import Encoded, JointNetwork, time_scales
from stream_mer.training.progress import bars
from stream_mer.types import CATEGORIES, CLUSTERS

FRAME_TOKEN = 19  # the token that ends 10 s after the start: one frame with 10 s heard

_MOMENTS = 64  # of a clip, computed at a time

_EMOTION = slice(0, 2)
_CATEGORY = slice(2, 2 + len(CATEGORIES))
_CLUSTER = slice(2 + len(CATEGORIES), 2 + len(CATEGORIES) + len(CLUSTERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a model is given when it is measured.

    Attributes:
        name: Short, unique.
        text: A kind of text of the clip set; one that it lacks gives audio alone.
        delay_s: Time from the end of a line until it is known, seconds.
        audio: Whether it gets the audio too; False leaves words alone.
        sound: How the music sounds, one of the clip set's ``sounds``; empty for as it was recorded.
    """

    name: str
    text: str
    delay_s: float = 3.0
    audio: bool = True
    sound: str = ""


AUDIO_ONLY = Condition(name="none", text="none")
RECOGNISED = Condition(name="recognised", text="recognised")
PRINTED = Condition(name="printed", text="printed")
STANDARD_CONDITIONS = (AUDIO_ONLY, RECOGNISED, PRINTED)


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
    """What cross-validation gives, by the name of the condition; the members are averaged.

    Attributes:
        clips: Mean over all moments of a clip.
        frames: The one moment with 10 s heard.
        members: As ``clips``, for each member of the ensemble by itself.
        moments: What the audio alone gives at each moment of a clip, one array [moments, 11] a row of the set.
    """

    clips: dict[str, Predictions]
    frames: dict[str, Predictions]
    members: dict[str, tuple[Predictions, ...]]
    moments: tuple[NDArray[np.float32], ...]


def cross_validate(
    data: ClipSet,
    recipe: Recipe,
    seed: int,
    cache: Path,
    *,
    conditions: Sequence[Condition] = STANDARD_CONDITIONS,
    title: str = "Folds",
) -> FoldResults:
    """Train on all folds but one and predict that one, for every fold.

    Every finished fold is kept in ``cache``, so that an interrupted run goes on where it stopped; under a name that
    changes with the recipe and the data, so that no result outlives what it was measured on. A corpus may have fewer
    folds than five.
    """
    folder = cache / f"folds-{_fingerprint(data, recipe, seed, conditions)}"
    folder.mkdir(parents=True, exist_ok=True)
    folds = np.array([clip.fold for clip in data.clips])
    present = sorted(set(folds.tolist()))
    outputs = np.zeros((recipe.model.members, 2, len(conditions), len(data), OUTPUTS))
    moments: list[NDArray[np.float32]] = [np.zeros((0, OUTPUTS), np.float32)] * len(data)
    with bars() as progress:
        task = progress.add_task(title, total=len(present))
        for fold in present:
            rows = np.flatnonzero(folds == fold)
            path = folder / f"fold{fold}.npz"
            if not path.is_file():
                model = fit(data, np.flatnonzero(folds != fold).tolist(), recipe, seed=seed)
                clips = [predict_clip(model, data, int(row), conditions) for row in rows]
                part = path.with_suffix(".part.npz")
                np.savez(
                    part,
                    outputs=np.stack([clip.outputs for clip in clips], axis=3),
                    moments=np.concatenate([clip.moments for clip in clips]),
                    lengths=np.array([len(clip.moments) for clip in clips]),
                )
                part.replace(path)
            with np.load(path, allow_pickle=False) as kept:
                outputs[:, :, :, rows] = kept["outputs"]
                of_clips = np.split(kept["moments"], np.cumsum(kept["lengths"])[:-1])
            for row, of_clip in zip(rows.tolist(), of_clips, strict=True):
                moments[row] = of_clip
            progress.advance(task)
    return results_of(outputs, moments, conditions)


def results_of(
    outputs: NDArray[np.float64], moments: Sequence[NDArray[np.float32]], conditions: Sequence[Condition]
) -> FoldResults:
    """Sort predictions by condition and output.

    Args:
        outputs: [members, 2 (mean over the clip, frame), conditions, clips, outputs].
        moments: As ``FoldResults.moments``.
        conditions: In the order of ``outputs``.
    """
    mean = outputs.mean(0)
    return FoldResults(
        clips={condition.name: _split(mean[0, i]) for i, condition in enumerate(conditions)},
        frames={condition.name: _split(mean[1, i]) for i, condition in enumerate(conditions)},
        members={
            condition.name: tuple(_split(member[0, i]) for member in outputs) for i, condition in enumerate(conditions)
        },
        moments=tuple(moments),
    )


class ClipPrediction(NamedTuple):
    """What a model says of one clip, causally.

    Attributes:
        outputs: [members, 2 (mean over the clip, frame), conditions, outputs].
        moments: [moments, outputs], the mean of the members by audio alone; of a song without audio, by its words.
    """

    outputs: NDArray[np.float64]
    moments: NDArray[np.float32]


@torch.inference_mode()
def predict_clip(model: JointNetwork, data: ClipSet, row: int, conditions: Sequence[Condition]) -> ClipPrediction:
    """Predict one clip under every condition. A song without audio has but one, its words, in every place."""
    if not data.with_audio[row] and len(conditions) > 1:
        alone = predict_clip(model, data, row, (PRINTED,))
        return alone._replace(outputs=alone.outputs.repeat(len(conditions), axis=2))
    weights = time_scales(data.ages(row), model.config)  # [moments, S, tokens]
    sounds = {
        sound: _pooled(model, data.clip_tokens(row, sound), weights, data.context_tokens)
        for sound in {"", *(condition.sound for condition in conditions)}
    }
    out = []
    for condition in conditions:
        text = data.heard_lines(row, condition.text, delay_s=condition.delay_s)
        text = text._replace(vectors=text.vectors.expand(len(weights), -1, -1))
        heard = weights if condition.audio else torch.zeros_like(weights)
        heads = model.fuse(sounds[condition.sound], heard, text).fused
        out.append(torch.cat(heads, dim=2).double().numpy())  # [E, moments, outputs]
    # Of a song without audio the one condition is its words.
    bare = torch.cat(model.combine(sounds[""], None), dim=2).numpy() if data.with_audio[row] else out[0]
    frame = min(FRAME_TOKEN, len(weights) - 1)
    return ClipPrediction(
        outputs=np.stack([np.stack([one.mean(1), one[:, frame]], axis=1) for one in out], axis=2),
        moments=bare.mean(0).astype(np.float32),
    )


def _pooled(model: JointNetwork, tokens: Tensor, weights: Tensor, context_tokens: int) -> list[Tensor]:
    """Pool the tokens [1, N, components] of a clip for each moment; a part of its moments at a time, for the memory.

    Args:
        model: Pools.
        tokens: Of the clip.
        weights: [moments, S, N], see ``time_scales``.
        context_tokens: Tokens that a moment knows at most.
    """
    encoded = model.encode_audio(tokens)
    parts = []
    for start in range(0, len(weights), _MOMENTS):
        end = min(start + _MOMENTS, len(weights))
        heard = slice(max(0, start - context_tokens + 1), end)
        of_part = Encoded(*(None if x is None else x[:, :, heard] for x in encoded))
        recording = torch.zeros(end - start, dtype=torch.long)
        parts.append(model.pool_audio(of_part, weights[start:end, :, heard], recording))
    return [torch.cat(of_branch, 1) for of_branch in zip(*parts, strict=True)]


def _fingerprint(data: ClipSet, recipe: Recipe, seed: int, conditions: Sequence[Condition]) -> str:
    state = [asdict(recipe), seed, [asdict(condition) for condition in conditions], data.fingerprint()]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:12]


def _split(rows: NDArray[np.float64]) -> Predictions:
    return Predictions(emotion=rows[:, _EMOTION], category=rows[:, _CATEGORY], cluster=rows[:, _CLUSTER])
