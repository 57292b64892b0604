"""How far words may move each output: as far as they have earned on clips that the model did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import TextStrength
from stream_mer.training.crossvalidation import AUDIO_ONLY, PRINTED, RECOGNISED, FoldResults, Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import ccc

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""What is tried: 0 leaves audio alone, 1 is the model's own fusion, more goes beyond it."""

NAMES = tuple(field.name for field in fields(TextStrength))

Column = NDArray[np.float64]
_Rows = NDArray[np.bool_]


def earned_strength(data: ClipSet, results: FoldResults, rows: _Rows) -> TextStrength:
    """The strengths that do best on clips with words among ``rows`` [n]; ties go to the weaker."""
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    spoken = [
        (kind, rows & data.with_audio & np.array([data.has_lines(row, kind) for row in range(len(data))]))
        for kind in (RECOGNISED.text, PRINTED.text)
    ]
    audio = results.clips[AUDIO_ONLY.name]

    def loss(name: str, strength: float) -> float:
        parts = []
        for kind, counted in spoken:
            moved = blend(audio, results.clips[kind], dict.fromkeys(NAMES, strength))
            if name == "emotion":
                rated = counted & np.isfinite(emotion).all(1)
                pairs = [(emotion[rated, k].astype(np.float64), moved.emotion[rated, k]) for k in range(2)]
                parts += [1.0 - ccc(t, p) for t, p in pairs if len(t)]
            else:
                truth, logits = (category, moved.category) if name == "category" else (cluster, moved.cluster)
                labelled = counted & (truth >= 0)
                if labelled.any():
                    parts.append(_surprise(truth[labelled], logits[labelled]))
        return float(np.mean(parts)) if parts else strength

    return TextStrength(**{name: min(STRENGTHS, key=partial(loss, name)) for name in NAMES})


def blend(audio: Predictions, both: Predictions, strength: Mapping[str, Column | float]) -> Predictions:
    """Go from the result of audio alone towards that with words, and beyond where a strength is above 1.

    Args:
        audio: Of audio alone.
        both: With words.
        strength: By the names of ``TextStrength``, one for all rows or a column [n, 1].
    """
    return Predictions(
        emotion=np.clip(audio.emotion + strength["emotion"] * (both.emotion - audio.emotion), -1.0, 1.0),
        category=audio.category + strength["category"] * (both.category - audio.category),
        cluster=audio.cluster + strength["cluster"] * (both.cluster - audio.cluster),
    )


def with_earned_strength(
    data: ClipSet, results: FoldResults, *, as_they_are: frozenset[str] = frozenset()
) -> FoldResults:
    """The results as they are with the strength that the other folds chose for each fold.

    Args:
        data: The clips.
        results: Of the model's own fusion.
        as_they_are: Conditions that are left alone: those without audio, or with another sound than as recorded.
    """
    folds = np.array([clip.fold for clip in data.clips])
    chosen = {fold: asdict(earned_strength(data, results, folds != fold)) for fold in sorted(set(folds.tolist()))}
    strength: dict[str, Column | float] = {
        name: np.where(data.with_audio, [chosen[fold][name] for fold in folds.tolist()], 1.0)[:, None] for name in NAMES
    }
    return with_strength(results, strength, as_they_are=as_they_are)


def with_strength(
    results: FoldResults, strength: Mapping[str, Column | float], *, as_they_are: frozenset[str] = frozenset()
) -> FoldResults:
    """The results with words as strong as told; see ``blend`` and ``with_earned_strength``."""

    def moved(predictions: Mapping[str, Predictions]) -> dict[str, Predictions]:
        audio = predictions[AUDIO_ONLY.name]
        return {
            name: both if name in as_they_are else blend(audio, both, strength) for name, both in predictions.items()
        }

    members = [
        moved({name: of_all[i] for name, of_all in results.members.items()})
        for i in range(len(results.members[AUDIO_ONLY.name]))
    ]
    return FoldResults(
        clips=moved(results.clips),
        frames=moved(results.frames),
        members={name: tuple(member[name] for member in members) for name in results.members},
        moments=results.moments,
    )


def _surprise(truth: NDArray[np.int_], logits: NDArray[np.float64]) -> float:
    """Mean negative log likelihood of the labels."""
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -float(log_probs[np.arange(len(truth)), truth].mean())
