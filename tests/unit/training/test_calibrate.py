"""Intervals hold what they promise, and the temperature is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Calibration
from stream_mer.errors import SettingError
from stream_mer.training import calibrate as calibrate_module
from stream_mer.training import metrics
from stream_mer.training.calibrate import (
    CONFIDENCES,
    LEVEL,
    calibrate,
    conformal_half_width,
    coverage,
    equal_bins,
    expected_accuracy,
    measure_calibration,
    scale_by_other_folds,
    softmax,
    temperature,
)
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet


@pytest.fixture(autouse=True)
def quick_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 samples in place of 1,000: what an interval is, the tests of ``metrics`` say."""
    monkeypatch.setattr(calibrate_module, "bootstrap", partial(metrics.bootstrap, rounds=30))


def overconfident(n: int, *, by: float = 2.0, seed: int = 3) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Classes drawn from honest probabilities, and logits that claim them ``by`` times too loudly."""
    rng = np.random.default_rng(seed)
    honest = 1.5 * rng.standard_normal((n, 4))
    truth = (softmax(honest).cumsum(1) > rng.random((n, 1))).argmax(1)
    return truth, honest * by


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
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
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


# --- whether it holds on clips that it did not see


def test_coverage_is_measured_with_the_half_width_of_the_other_folds() -> None:
    errors = np.array([[0.1, 1.0], [0.2, 1.0], [0.3, 1.0], [0.4, 1.0], [5.0, 0.5], [0.35, 2.0]])
    folds = np.array([0, 0, 0, 0, 1, 1])
    # Fold 1 is held to the third of [.1 .2 .3 .4], as ceil(5 * .6) = 3; fold 0 to the second of two, ceil(3 * .6) = 2.
    held = coverage(errors, folds, 0.6)
    assert held[:, 0].tolist() == [True, True, True, True, False, False]
    assert held[:, 1].tolist() == [True, True, True, True, True, False]


def test_coverage_of_like_folds_is_the_level() -> None:
    rng = np.random.default_rng(4)
    held = coverage(np.abs(rng.standard_normal((5000, 2))), np.arange(5000) % 5, LEVEL)
    assert held.mean(0) == pytest.approx([LEVEL, LEVEL], abs=0.02)  # three standard errors are .017


def test_a_fold_that_is_harder_than_the_others_shows() -> None:
    rng = np.random.default_rng(4)
    folds = np.arange(1000) % 5
    errors = np.abs(rng.standard_normal((1000, 1))) * np.where(folds == 0, 5.0, 1.0)[:, None]
    held = coverage(errors, folds, LEVEL)
    assert held[folds == 0].mean() < 0.5 < LEVEL <= held[folds != 0].mean()


def test_each_fold_is_scaled_by_what_the_others_say() -> None:
    truth, logits = overconfident(6000)
    folds = np.arange(6000) % 2
    logits[folds == 1] /= 2.0  # fold 1 is honest, fold 0 twice too loud
    probs = scale_by_other_folds(truth, logits, folds)
    assert probs.sum(1) == pytest.approx(1)
    assert probs[folds == 0] == pytest.approx(softmax(logits[folds == 0], 1.0), abs=0.03)
    assert probs[folds == 1] == pytest.approx(softmax(logits[folds == 1], 2.0), abs=0.03)


def test_the_report_of_overconfident_predictions(clip_set: Callable[..., ClipSet]) -> None:
    data = clip_set(400)
    n = len(data)
    truth, logits = overconfident(n, by=4.0)
    logits = np.roll(logits, 1, axis=0)
    emotion = data.labels.emotion.numpy()
    category = data.labels.category.numpy()
    # The made-up labels are what they are, so the columns of the logits are moved to where each truth should be.
    shift = (category - np.roll(truth, 1)) % 4
    moved = np.stack([np.roll(row, by) for row, by in zip(logits, shift, strict=True)])
    rng = np.random.default_rng(5)
    predictions = Predictions(
        emotion=emotion + 0.3 * rng.standard_normal((n, 2)), category=moved, cluster=np.zeros((n, 5))
    )
    report = measure_calibration(data, predictions)
    assert report.level == LEVEL
    for figure in (report.valence_coverage, report.arousal_coverage):
        assert figure.value == pytest.approx(LEVEL, abs=0.06)  # three standard errors of 400 clips
        assert figure.n == n
        assert figure.low <= figure.value <= figure.high
    assert report.category.before.value > 0.15
    assert report.category.after.value < report.category.before.value / 2
    assert [one.confidence for one in report.category.bins] == sorted(one.confidence for one in report.category.bins)
    assert sum(one.accuracy.n for one in report.category.bins) == n
    assert tuple(row.confidence for row in report.unknown) == CONFIDENCES
    shares = [row.share for row in report.unknown]
    assert shares == sorted(shares, reverse=True)
    assert all(row.kept.n == round(row.share * n) for row in report.unknown)
    assert report.unknown[-1].kept.value > report.unknown[0].kept.value
    assert report.unknown[-1].expected > report.unknown[0].expected
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert told["category"]["after"]["value"] == report.category.after.value


def test_songs_of_words_alone_do_not_count(clip_set: Callable[..., ClipSet]) -> None:
    data, fewer = clip_set(60), clip_set(40)  # the first 40 clips of both are the same
    data.with_audio[40:] = False
    rng = np.random.default_rng(8)
    emotion, category, cluster = rng.random((60, 2)), 3 * rng.random((60, 4)), 3 * rng.random((60, 5))
    category[40:] = 50 * np.eye(4)[0]  # sure, and mostly wrong
    predictions = Predictions(emotion=emotion, category=category, cluster=cluster)
    of_clips = Predictions(emotion=emotion[:40], category=category[:40], cluster=cluster[:40])
    assert calibrate(data, predictions) == calibrate(fewer, of_clips)
    assert measure_calibration(data, predictions).to_dict() == measure_calibration(fewer, of_clips).to_dict()


def test_a_corpus_without_such_labels_has_a_report_without_figures(clip_set: Callable[..., ClipSet]) -> None:
    data = clip_set(10)
    data.labels.category.fill_(-1)
    data.labels.emotion.fill_(float("nan"))
    predictions = Predictions(emotion=np.zeros((10, 2)), category=np.zeros((10, 4)), cluster=np.zeros((10, 5)))
    assert calibrate(data, predictions).category_accuracy == ()
    report = measure_calibration(data, predictions)
    assert (report.valence_coverage.n, report.category.after.n, report.category.bins, report.unknown) == (0, 0, (), ())
    assert report.cluster.after.n == 10
    assert report.to_dict()["valence_coverage"] == {"value": None, "low": None, "high": None, "n": 0}
    json.dumps(report.to_dict(), allow_nan=False)


# --- which confidence gives which accuracy


def test_honest_probabilities_are_expected_to_be_right_as_often_as_they_say() -> None:
    truth, logits = overconfident(8000, by=1.0)
    for confidence, accuracy in expected_accuracy(truth, softmax(logits)):
        assert accuracy == pytest.approx(confidence, abs=0.05)  # three standard errors of 1,000 clips


def test_expected_accuracy_never_falls_and_never_promises_everything() -> None:
    rng = np.random.default_rng(6)
    for seed in range(20):
        probs = softmax(3 * np.random.default_rng(seed).standard_normal((200, 4)))
        truth = np.where(rng.random(200) < 0.5, probs.argmax(1), rng.integers(0, 4, 200))
        confidence, accuracy = np.array(expected_accuracy(truth, probs)).T
        assert (np.diff(confidence) > 0).all()
        assert (np.diff(accuracy) > 0).all()
        assert accuracy.min() > 0
        assert accuracy.max() < 1
    always_right = softmax(3 * rng.standard_normal((200, 4)))
    ((_, accuracy),) = expected_accuracy(always_right.argmax(1), always_right)
    assert accuracy == pytest.approx(208 / 216, abs=1e-4)  # one hit and one miss more in each of eight bins


def test_bins_are_of_equal_size_and_hold_every_clip_once() -> None:
    values = np.random.default_rng(7).random(205)
    bins = equal_bins(values)
    assert [len(rows) for rows in bins] == [26] * 5 + [25] * 3
    assert sorted(np.concatenate(bins).tolist()) == list(range(205))
    assert all(values[low].max() <= values[high].min() for low, high in zip(bins, bins[1:], strict=False))  # noqa: RUF007 - reads as meant
    assert [len(equal_bins(values[:n])) for n in (0, 1, 30, 45)] == [0, 1, 1, 2]


def test_the_confidence_for_an_accuracy_is_where_the_table_reaches_it() -> None:
    table = ((0.4, 0.5), (0.6, 0.6), (0.8, 0.9))
    found = Calibration(valence_error=0.4, arousal_error=0.3, category_accuracy=table)
    assert found.confidence_for(0.0) == found.confidence_for(0.5) == 0.0
    assert found.confidence_for(0.55) == pytest.approx(0.5)
    assert found.confidence_for(0.6) == pytest.approx(0.6)
    assert found.confidence_for(0.75) == pytest.approx(0.7)
    assert found.confidence_for(0.9) == pytest.approx(0.8)
    with pytest.raises(SettingError, match=r"right in 95% of the cases; ask for at most 0.9"):
        found.confidence_for(0.95)
    with pytest.raises(SettingError, match="set a minimum confidence in place of an accuracy"):
        Calibration(valence_error=0.4, arousal_error=0.3).confidence_for(0.5)
