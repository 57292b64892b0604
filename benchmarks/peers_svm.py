"""Support vector machines on a peer's features: out-of-fold predictions on the folds that ours are judged on.

Everything that is learned for a fold, the scaling of the features and the choice of C included, is learned from the
other folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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

from benchmarks.peers_cache import Features, cached_predictions
from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.metrics import ccc
from stream_mer.training.progress import track
from stream_mer.types import CATEGORIES, CLUSTERS

COSTS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""What C is chosen from, by the figure that the machine is judged by: macro-F1 of classes, CCC of numbers."""

_UNCHOSEN_COST = 1.0  # where the training folds are too few to choose on
_EPSILON = 0.05  # of the regression: errors in valence and arousal, -1..1, that cost nothing
_CLASSES = {"category": len(CATEGORIES), "cluster": len(CLUSTERS)}

Labels = NDArray[np.float64]
"""One a clip; NaN where it has none."""


def judge_features(clips: Sequence[Clip], features: Features, cache: Path, title: str) -> Predictions:
    """``predict_out_of_fold``, kept in ``cache`` under a name that changes with features, labels, folds and method."""
    tasks, folds = _tasks(clips), _folds(clips)
    state = hashlib.sha256(repr([COSTS, _UNCHOSEN_COST, _EPSILON, sklearn.__version__, features.shape]).encode())
    for array in (features, folds, *tasks.values()):
        state.update(np.ascontiguousarray(array).tobytes())
    file = cache / f"machines-{state.hexdigest()[:12]}.npz"
    return cached_predictions(file, lambda: predict_out_of_fold(clips, features, title))


def predict_out_of_fold(clips: Sequence[Clip], features: Features, title: str) -> Predictions:
    """Train RBF machines on all folds but one and predict that one, for every fold and every label.

    A class that is predicted has the logit 1 and the others 0. Only clips that have a label are predicted for it; the
    others' rows are 0, and so are those of a fold beside which there is nothing to learn from.

    Args:
        clips: The clips.
        features: One row a clip, [n, d].
        title: Of the progress bar.
    """
    tasks, folds = _tasks(clips), _folds(clips)
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
    """A machine whose C did best on the training folds, each left out in turn."""
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
    """Stands for a machine where all that there is to learn from is of one class."""

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


def _folds(clips: Sequence[Clip]) -> NDArray[np.int_]:
    return np.array([clip.fold for clip in clips])


def _known(labels: Sequence[float | None]) -> Labels:
    return np.array([np.nan if label is None else label for label in labels], dtype=np.float64)


def _one_hot(classes: Labels, n: int) -> NDArray[np.float64]:
    """[n classes]; zeros where there is none."""
    return np.asarray(classes[:, None] == np.arange(n), dtype=np.float64)
