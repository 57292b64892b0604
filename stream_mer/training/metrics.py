"""The figures that accuracy is told in, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure over ``n`` clips with the 95 % interval of a bootstrap over artists; NaN over no clips."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "-"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def macro_f1(truth: NDArray[np.int_], prediction: NDArray[np.int_], n_classes: int) -> float:
    """Mean of the classes' F1; a class that neither side names counts as 0."""
    scores = []
    for c in range(n_classes):
        hits = float(np.sum((truth == c) & (prediction == c)))
        total = float(np.sum(truth == c) + np.sum(prediction == c))
        scores.append(2 * hits / total if total else 0.0)
    return float(np.mean(scores))


def ccc(truth: Floats, prediction: Floats) -> float:
    """Lin's concordance correlation coefficient."""
    covariance = float(np.mean((truth - truth.mean()) * (prediction - prediction.mean())))
    spread = float(truth.var() + prediction.var() + (truth.mean() - prediction.mean()) ** 2)
    return 2 * covariance / spread if spread else 0.0


def pearson(truth: Floats, prediction: Floats) -> float:
    """Pearson's correlation coefficient; 0 where one side does not vary."""
    covariance = float(np.mean((truth - truth.mean()) * (prediction - prediction.mean())))
    spread = float(truth.std() * prediction.std())
    return covariance / spread if spread else 0.0


def r_squared(truth: Floats, prediction: Floats) -> float:
    """Coefficient of determination, offset and scale included; 0 where the truth does not vary."""
    spread = float(truth.var())
    return 1.0 - float(np.mean((truth - prediction) ** 2)) / spread if spread else 0.0


def calibration_error(truth: NDArray[np.int_], probs: Floats, *, bins: int = 10) -> float:
    """Expected calibration error of the likeliest class; ``probs`` [n, classes]."""
    confidence, right = probs.max(1), probs.argmax(1) == truth
    places = np.clip((confidence * bins).astype(int), 0, bins - 1)
    gaps = np.bincount(places, weights=confidence - right)  # in each bin, its size times mean confidence less accuracy
    return float(np.abs(gaps).sum() / len(truth))


def bootstrap(
    statistic: Callable[[NDArray[np.int_]], float], groups: NDArray[np.str_], *, rounds: int = 1000, seed: int = 0
) -> Figure:
    """A statistic of row indices, with its interval over resampled groups: artists, whose clips stay together."""
    if len(groups) == 0:
        return Figure(value=float("nan"), low=float("nan"), high=float("nan"), n=0)
    rng = np.random.default_rng(seed)
    names, inverse = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(inverse == i) for i in range(len(names))]
    values = []
    for _ in range(rounds):
        chosen = rng.integers(len(names), size=len(names))
        values.append(statistic(np.concatenate([rows_of[i] for i in chosen])))
    low, high = np.percentile(values, [2.5, 97.5])
    value = statistic(np.arange(len(groups)))
    return Figure(value=value, low=float(low), high=float(high), n=len(groups))


def figure_as_json(figure: Figure) -> dict[str, float | int | None]:
    """A figure for JSON, which knows no NaN: one over no clips has null in its place."""
    if not figure.n:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n}
