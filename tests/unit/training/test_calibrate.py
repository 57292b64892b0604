"""Intervals hold what they promise, and the temperature is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stream_mer.training.calibrate import LEVEL, calibrate, conformal_half_width, temperature
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet


@pytest.mark.parametrize("n", [9, 50, 400])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_a_new_error_lies_within_the_half_width_as_often_as_promised(n: int, level: float) -> None:
    rng = np.random.default_rng(0)
    hits = [bool(e[0] <= conformal_half_width(e[1:], level)) for e in np.abs(rng.standard_normal((4000, n + 1)))]
    # At least the level, at most one rank more; and three standard errors of 4,000 trials.
    slack = 3 * np.sqrt(0.25 / 4000)
    assert level - slack <= np.mean(hits) <= level + 1 / (n + 1) + slack or (n + 1) * level > n


def test_the_half_width_is_the_rank_of_the_formula() -> None:
    errors = np.array([0.5, 0.1, 0.4, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
    assert conformal_half_width(errors, 0.8) == 0.8  # ceil(10 * .8) = 8th of nine
    assert conformal_half_width(errors, 0.85) == 0.9  # ceil(8.5); without the one for the new clip it were the 8th
    assert conformal_half_width(errors, 0.5) == 0.5
    assert conformal_half_width(errors, 0.99) == 0.9


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(true_temperature: float) -> None:
    rng = np.random.default_rng(1)
    honest = 2 * rng.standard_normal((20_000, 4))
    probs = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    truth = (probs.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    assert temperature(truth, honest * true_temperature) == pytest.approx(true_temperature, rel=0.06)


def test_unlabelled_rows_do_not_count() -> None:
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((200, 4)) * 3
    truth = np.where(rng.random(200) < 0.7, logits.argmax(1), rng.integers(0, 4, 200))
    more = np.concatenate([logits, 100 * rng.standard_normal((50, 4))])
    assert temperature(np.concatenate([truth, np.full(50, -1)]), more) == temperature(truth, logits)


def test_calibration_of_a_set_uses_its_rated_clips(clip_set: Callable[..., ClipSet]) -> None:
    data = clip_set(40)
    emotion, category, cluster = (label.numpy() for label in data.labels)
    offset = np.linspace(-0.4, 0.4, 40)[:, None] * [1.0, 0.5]
    predictions = Predictions(emotion=emotion + offset, category=4.0 * np.eye(4)[category], cluster=np.zeros((40, 5)))
    found = calibrate(data, predictions)
    assert found.level == LEVEL
    assert found.valence_error == pytest.approx(conformal_half_width(np.abs(offset[:, 0]), LEVEL), abs=1e-6)
    assert found.arousal_error == pytest.approx(found.valence_error / 2, abs=1e-6)
    assert found.category_temperature < 1  # always right: it may be surer
    assert len(cluster) == 40


def test_without_anything_to_go_by_it_promises_nothing() -> None:
    assert conformal_half_width(np.zeros(0), 0.8) == 2.0
    assert temperature(np.full(3, -1), np.ones((3, 4))) == 1.0
