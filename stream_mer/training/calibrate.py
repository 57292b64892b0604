"""What out-of-fold predictions say of the errors to expect: intervals and temperatures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Calibration
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet

LEVEL = 0.8
_TEMPERATURES = np.geomspace(0.3, 4.0, 60)


def calibrate(data: ClipSet, predictions: Predictions) -> Calibration:
    """Split-conformal half widths (Lei et al. 2018) and softmax temperatures (Guo et al. 2017), both out of fold.

    Args:
        data: The clips.
        predictions: Of single frames, since that is what a live listener gets.
    """
    emotion, category, cluster = (label.numpy() for label in data.labels)
    rated = np.isfinite(emotion).all(1)
    errors = np.abs(emotion[rated] - predictions.emotion[rated])
    return Calibration(
        valence_error=conformal_half_width(errors[:, 0], LEVEL),
        arousal_error=conformal_half_width(errors[:, 1], LEVEL),
        level=LEVEL,
        category_temperature=temperature(category, predictions.category),
        cluster_temperature=temperature(cluster, predictions.cluster),
    )


def conformal_half_width(errors: NDArray[np.float64], level: float) -> float:
    """The smallest half width that holds ``level`` of a new error, given exchangeable absolute errors [n].

    Without errors to go by it is 2, the whole range of valence and arousal.
    """
    n = len(errors)
    if n == 0:
        return 2.0
    rank = min(n, int(np.ceil((n + 1) * level)))
    return float(np.sort(errors)[rank - 1])


def temperature(truth: NDArray[np.int_], logits: NDArray[np.float64]) -> float:
    """The temperature that makes the labelled rows likeliest; 1 without any."""
    rows = truth >= 0
    if not rows.any():
        return 1.0

    def loss(t: float) -> float:
        scaled = logits[rows] / t
        scaled = scaled - scaled.max(1, keepdims=True)
        log_probs = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
        return -float(log_probs[np.arange(len(log_probs)), truth[rows]].mean())

    return float(min(_TEMPERATURES, key=loss))
