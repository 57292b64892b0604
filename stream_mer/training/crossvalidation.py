"""Predicts every clip with models that never heard its artist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.emotion.model import Encoded, JointModel
from stream_mer.training.dataset import ClipSet
from stream_mer.training.fit import Recipe, fit
from stream_mer.training.progress import bars
from stream_mer.types import CATEGORIES, CLUSTERS

FRAME_TOKEN = 19  # the block that ends 9.92 s after the start: one frame with 10 s heard

_EMOTION = slice(0, 2)
_CATEGORY = slice(2, 2 + len(CATEGORIES))
_CLUSTER = slice(2 + len(CATEGORIES), 2 + len(CATEGORIES) + len(CLUSTERS))
_WIDTH = _CLUSTER.stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a model is given when it is measured.

    Attributes:
        name: Short, unique.
        text: A kind of text of the clip set; one that it lacks gives audio alone.
        delay_s: Time from the end of a line until it is known, seconds.
        audio: Whether it hears the music too; False leaves words alone.
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
    """

    clips: dict[str, Predictions]
    frames: dict[str, Predictions]
    members: dict[str, tuple[Predictions, ...]]


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
    outputs = np.zeros((recipe.model.members, 2, len(conditions), len(data), _WIDTH))
    with bars() as progress:
        task = progress.add_task(title, total=len(present))
        for fold in present:
            rows = np.flatnonzero(folds == fold)
            path = folder / f"fold{fold}.npy"
            if not path.is_file():
                model = fit(data, np.flatnonzero(folds != fold).tolist(), recipe, seed=seed)
                part = path.with_suffix(".part.npy")
                np.save(part, np.stack([predict_clip(model, data, int(row), conditions) for row in rows], axis=3))
                part.replace(path)
            outputs[:, :, :, rows] = np.load(path, allow_pickle=False)
            progress.advance(task)
    mean = outputs.mean(0)
    return FoldResults(
        clips={condition.name: _split(mean[0, i]) for i, condition in enumerate(conditions)},
        frames={condition.name: _split(mean[1, i]) for i, condition in enumerate(conditions)},
        members={
            condition.name: tuple(_split(member[0, i]) for member in outputs) for i, condition in enumerate(conditions)
        },
    )


@torch.inference_mode()
def predict_clip(model: JointModel, data: ClipSet, row: int, conditions: Sequence[Condition]) -> NDArray[np.float64]:
    """One clip under every condition, causally: [members, 2 (mean over the clip, frame), conditions, outputs].

    A song without audio has but one condition, its words; it stands in every place.
    """
    if not data.with_audio[row] and len(conditions) > 1:
        return predict_clip(model, data, row, (PRINTED,)).repeat(len(conditions), axis=2)
    places, mask = data.contexts(row)
    sounds = {
        sound: _each(model.encode_audio(data.clip_tokens(row, sound)), lambda x: x[:, 0][:, places])
        for sound in {condition.sound for condition in conditions}
    }  # each [E, moments, context, D]
    out = []
    for condition in conditions:
        text = data.heard_lines(row, condition.text, delay_s=condition.delay_s)
        heard = mask if condition.audio else torch.zeros_like(mask)
        heads = model.fuse(
            sounds[condition.sound], heard, text._replace(vectors=text.vectors.expand(len(places), -1, -1))
        ).fused
        moments = torch.cat(heads, dim=2).double().numpy()  # [E, moments, outputs]
        out.append(np.stack([moments.mean(1), moments[:, min(FRAME_TOKEN, len(places) - 1)]], axis=1))
    return np.stack(out, axis=2)


def _each(encoded: Encoded, function: Callable[[Tensor], Tensor]) -> Encoded:
    return Encoded(*(None if part is None else function(part) for part in encoded))


def _fingerprint(data: ClipSet, recipe: Recipe, seed: int, conditions: Sequence[Condition]) -> str:
    told = [asdict(recipe), seed, [asdict(condition) for condition in conditions], data.fingerprint()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _split(rows: NDArray[np.float64]) -> Predictions:
    return Predictions(emotion=rows[:, _EMOTION], category=rows[:, _CATEGORY], cluster=rows[:, _CLUSTER])
