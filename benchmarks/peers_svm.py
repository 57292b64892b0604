"""Support vector machines on a peer's features, out of fold, on the same folds as ours.

The scaling of the features and the choice of C are learned from the training folds, too. Features and predictions are
cached in files, so that an interrupted run can continue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.metrics import ccc
from stream_mer.training.progress import track
from stream_mer.training.tokens import audio_fingerprint
from stream_mer.types import CATEGORIES, CLUSTERS

Features = NDArray[np.float32]

COSTS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Candidates for C, chosen by the figure that is reported: macro-F1 of classes, CCC of numbers."""

_UNCHOSEN_COST = 1.0  # where the training folds are too few to choose on
_EPSILON = 0.05  # of the regression: errors in valence and arousal, -1..1, that cost nothing
_CLASSES = {"category": len(CATEGORIES), "cluster": len(CLUSTERS)}

Labels = NDArray[np.float64]
"""One for each clip; NaN where it has none."""


def cached_features(
    clips: Sequence[Clip], folder: Path, compute: Callable[[Clip], Features], title: str
) -> list[Features]:
    """Return the features of every clip, in order; those in ``folder`` are not computed again.

    Args:
        clips: The clips.
        folder: Holds one file for each clip, its name a fingerprint of the audio. The folder's name must change with
            everything else that ``compute`` depends on.
        compute: Called for each clip that ``folder`` lacks.
        title: Title of the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{clip.clip_id}-{audio_fingerprint(clip.audio, clip.middle_s)}.npy" for clip in clips]
    todo = [(clip, file) for clip, file in zip(clips, files, strict=True) if not file.is_file()]
    for clip, file in track(todo, title, total=len(todo)) if todo else ():
        part = file.with_suffix(".part.npy")
        np.save(part, compute(clip))
        part.replace(file)  # atomic
    return [np.load(file, allow_pickle=False) for file in files]


def judge_features(clips: Sequence[Clip], features: Features, cache: Path, title: str) -> Predictions:
    """``predict_out_of_fold``, cached under a fingerprint of features, labels, folds and method."""
    tasks, folds = _tasks(clips), np.array([clip.fold for clip in clips])
    state = hashlib.sha256(repr([COSTS, _UNCHOSEN_COST, _EPSILON, sklearn.__version__, features.shape]).encode())
    for array in (features, folds, *tasks.values()):
        state.update(np.ascontiguousarray(array).tobytes())
    file = cache / f"machines-{state.hexdigest()[:12]}.npz"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        made = predict_out_of_fold(clips, features, title)
        part = file.with_suffix(".part.npz")
        np.savez(part, emotion=made.emotion, category=made.category, cluster=made.cluster)
        part.replace(file)  # atomic
    with np.load(file, allow_pickle=False) as kept:
        return Predictions(emotion=kept["emotion"], category=kept["category"], cluster=kept["cluster"])


def predict_out_of_fold(clips: Sequence[Clip], features: Features, title: str) -> Predictions:
    """Train RBF machines on all folds but one and predict that one, for every fold and every label.

    The predicted class has the logit 1 and the others 0. Only clips that have a label are predicted for it; the rows of
    the others are 0, as are those of a fold that leaves no training clips.

    Args:
        clips: The clips.
        features: One row a clip, [n, d].
        title: Of the progress bar.
    """
    tasks, folds = _tasks(clips), np.array([clip.fold for clip in clips])
    jobs = [(task, fold) for task in tasks for fold in sorted(set(folds.tolist()))]
    out = {task: np.full(len(clips), np.nan) for task in tasks}
    for task, fold in track(jobs, title, total=len(jobs)):
        known = np.isfinite(tasks[task])
        train, test = known & (folds != fold), known & (folds == fold)
        if test.any() and train.any():
            machine = _fitted(features[train], tasks[task][train], folds[train], classes=task in _CLASSES)
            out[task][test] = machine.predict(features[test])
    return Predictions(
        emotion=np.nan_to_num(np.stack([out["valence"], out["arousal"]], axis=1)),
        **{task: _one_hot(out[task], n) for task, n in _CLASSES.items()},
    )


def _fitted(features: Features, labels: Labels, folds: NDArray[np.int_], *, classes: bool) -> Any:
    """A machine whose C scored best on the training folds, each left out in turn."""
    if classes and len(set(labels.tolist())) < 2:
        return _Constant(labels[0])
    machine = SVC(C=_UNCHOSEN_COST) if classes else SVR(C=_UNCHOSEN_COST, epsilon=_EPSILON)
    pipeline = make_pipeline(StandardScaler(), machine)
    present = sorted(set(folds.tolist()))
    if len(present) < 2 or (classes and any(len(set(labels[folds != fold].tolist())) < 2 for fold in present)):
        return pipeline.fit(features, labels)
    search = GridSearchCV(
        pipeline,
        {f"{type(machine).__name__.lower()}__C": COSTS},
        scoring="f1_macro" if classes else make_scorer(ccc),
        cv=LeaveOneGroupOut(),
    )
    return search.fit(features, labels, groups=folds)


class _Constant:
    """Replaces a machine where all training clips are of one class."""

    def __init__(self, label: float) -> None:
        self._label = label

    def predict(self, features: Features) -> Labels:
        return np.full(len(features), self._label)


def _tasks(clips: Sequence[Clip]) -> Mapping[str, Labels]:
    return {
        "category": _known([clip.category for clip in clips]),
        "cluster": _known([clip.cluster for clip in clips]),
        "valence": _known([clip.valence if clip.teaches_emotion else None for clip in clips]),
        "arousal": _known([clip.arousal if clip.teaches_emotion else None for clip in clips]),
    }


def _known(labels: Sequence[float | None]) -> Labels:
    return np.array([np.nan if label is None else label for label in labels], dtype=np.float64)


def _one_hot(classes: Labels, n: int) -> NDArray[np.float64]:
    """[n classes]; zeros where there is none."""
    return np.asarray(classes[:, None] == np.arange(n), dtype=np.float64)
