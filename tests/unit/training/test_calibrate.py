"""Intervals hold what they promise, temperatures are found, and words move what they have earned."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from stream_mer.emotion.checkpoint import Calibration, CategoryLink, PredictionError
from stream_mer.errors import SettingError
from stream_mer.training.calibrate import (
    CONFIDENCES,
    HEARD_S,
    LEVEL,
    NAMES,
    STRENGTHS,
    blend,
    calibrate,
    conformal_half_width,
    coverage,
    earned_strength,
    equal_bins,
    expected_accuracy,
    fit_link,
    linked_probabilities,
    measure_calibration,
    scale_by_other_folds,
    softmax,
    spread_map,
    temperature,
    with_earned_strength,
)
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, FoldResults, Predictions

ERRORS = (PredictionError(heard_s=0.0, valence=0.4, arousal=0.3),)
CALIBRATION = Calibration(errors=ERRORS)
LONGEST_S = 12.0  # of the clips that ``results`` makes


def results(predictions, *, tokens=24):
    """The same under all conditions and at each moment."""
    names = [condition.name for condition in STANDARD_CONDITIONS]
    rows = np.concatenate([predictions.emotion, predictions.category, predictions.cluster], axis=1)
    return FoldResults(
        clips=dict.fromkeys(names, predictions),
        frames=dict.fromkeys(names, predictions),
        members=dict.fromkeys(names, ()),
        moments=tuple(np.tile(row, (tokens, 1)).astype(np.float32) for row in rows),
    )


def overconfident(n, *, by=2.0, seed=3):
    """Classes drawn from honest probabilities, and logits that claim them ``by`` times too loudly."""
    rng = np.random.default_rng(seed)
    honest = 1.5 * rng.standard_normal((n, 4))
    truth = (softmax(honest).cumsum(1) > rng.random((n, 1))).argmax(1)
    return truth, honest * by


@pytest.mark.parametrize(("n", "level"), [(9, 0.8), (50, 0.5), (400, 0.95)])
def test_a_new_error_lies_within_the_half_width_as_often_as_promised(n, level):
    rng = np.random.default_rng(0)
    hits = [bool(e[0] <= conformal_half_width(e[1:], level)) for e in np.abs(rng.standard_normal((4000, n + 1)))]
    # At least the level, at most one rank more; and three standard errors of 4,000 trials.
    slack = 3 * np.sqrt(0.25 / 4000)
    assert level - slack <= np.mean(hits) <= level + 1 / (n + 1) + slack or (n + 1) * level > n


def test_the_half_width_is_the_rank_of_the_formula():
    errors = np.array([0.5, 0.1, 0.4, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
    assert conformal_half_width(errors, 0.8) == 0.8  # ceil(10 * .8) = 8th of nine
    assert conformal_half_width(errors, 0.85) == 0.9  # ceil(8.5); without the one for the new clip it were the 8th
    assert conformal_half_width(errors, 0.5) == 0.5
    assert conformal_half_width(errors, 0.99) == 0.9


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(true_temperature):
    rng = np.random.default_rng(1)
    honest = 2 * rng.standard_normal((20_000, 4))
    probs = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    truth = (probs.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    assert temperature(truth, honest * true_temperature) == pytest.approx(true_temperature, rel=0.06)


def test_unlabelled_rows_do_not_count():
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((200, 4)) * 3
    truth = np.where(rng.random(200) < 0.7, logits.argmax(1), rng.integers(0, 4, 200))
    more = np.concatenate([logits, 100 * rng.standard_normal((50, 4))])
    assert temperature(np.concatenate([truth, np.full(50, -1)]), more) == temperature(truth, logits)


def test_calibration_of_a_set_uses_its_rated_clips(clip_set):
    data = clip_set(40)
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    offset = np.linspace(-0.4, 0.4, 40)[:, None] * [1.0, 0.5]
    predictions = Predictions(emotion=emotion + offset, category=4.0 * np.eye(4)[category], cluster=np.zeros((40, 5)))
    found = calibrate(data, results(predictions))
    assert found.level == LEVEL
    expected = conformal_half_width(np.abs(offset[:, 0]), LEVEL)
    assert [error.heard_s for error in found.errors] == [1.0, 2.0, 5.0, 10.0]  # no clip has 30 s
    for error in found.errors:
        assert (error.valence, error.arousal) == pytest.approx((expected, expected / 2), abs=1e-6)
    assert found.category_temperature < 1  # always right: it may be surer
    assert len(cluster) == 40


def test_without_anything_to_go_by_it_promises_nothing():
    assert conformal_half_width(np.zeros(0), 0.8) == 2.0
    assert temperature(np.full(3, -1), np.ones((3, 4))) == 1.0


# --- whether it holds on clips that it did not see


def test_coverage_is_measured_with_the_half_width_of_the_other_folds():
    errors = np.array([[0.1, 1.0], [0.2, 1.0], [0.3, 1.0], [0.4, 1.0], [5.0, 0.5], [0.35, 2.0]])
    folds = np.array([0, 0, 0, 0, 1, 1])
    # Fold 1 is held to the third of [.1 .2 .3 .4], as ceil(5 * .6) = 3; fold 0 to the second of two, ceil(3 * .6) = 2.
    held = coverage(errors, folds, 0.6)
    assert held[:, 0].tolist() == [True, True, True, True, False, False]
    assert held[:, 1].tolist() == [True, True, True, True, True, False]


def test_each_fold_is_scaled_by_what_the_others_say():
    truth, logits = overconfident(6000)
    folds = np.arange(6000) % 2
    logits[folds == 1] /= 2.0  # fold 1 is honest, fold 0 twice too loud
    probs = scale_by_other_folds(truth, logits, folds)
    assert probs.sum(1) == pytest.approx(1)
    assert probs[folds == 0] == pytest.approx(softmax(logits[folds == 0], 1.0), abs=0.03)
    assert probs[folds == 1] == pytest.approx(softmax(logits[folds == 1], 2.0), abs=0.03)


def test_the_report_of_overconfident_predictions(clip_set):
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
    report = measure_calibration(data, results(predictions), CALIBRATION)
    assert report.level == LEVEL
    assert [row.heard_s for row in report.coverage] == [heard_s for heard_s in HEARD_S if heard_s <= LONGEST_S]
    for figure in (figure for row in report.coverage for figure in (row.valence, row.arousal)):
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


def test_songs_of_words_alone_do_not_count(clip_set):
    data, fewer = clip_set(60), clip_set(40)  # the first 40 clips of both are the same
    data.with_audio[40:] = False
    rng = np.random.default_rng(8)
    emotion, category, cluster = rng.random((60, 2)), 3 * rng.random((60, 4)), 3 * rng.random((60, 5))
    category[40:] = 50 * np.eye(4)[0]  # sure, and mostly wrong
    predictions = Predictions(emotion=emotion, category=category, cluster=cluster)
    of_clips = Predictions(emotion=emotion[:40], category=category[:40], cluster=cluster[:40])
    assert calibrate(data, results(predictions)) == calibrate(fewer, results(of_clips))
    assert (
        measure_calibration(data, results(predictions), CALIBRATION).to_dict()
        == measure_calibration(fewer, results(of_clips), CALIBRATION).to_dict()
    )


def test_a_corpus_without_such_labels_has_a_report_without_figures(clip_set):
    data = clip_set(10)
    data.labels.category.fill_(-1)
    data.labels.emotion.fill_(float("nan"))
    predictions = Predictions(emotion=np.zeros((10, 2)), category=np.zeros((10, 4)), cluster=np.zeros((10, 5)))
    assert calibrate(data, results(predictions)).category_accuracy == ()
    report = measure_calibration(data, results(predictions), CALIBRATION)
    assert (report.coverage, report.category.after.n, report.category.bins, report.unknown) == ((), 0, (), ())
    assert report.cluster.after.n == 10
    assert report.to_dict()["category"]["after"] == {"value": None, "low": None, "high": None, "n": 0}
    json.dumps(report.to_dict(), allow_nan=False)


# --- which confidence gives which accuracy


def test_honest_probabilities_are_expected_to_be_right_as_often_as_they_say():
    truth, logits = overconfident(8000, by=1.0)
    for confidence, accuracy in expected_accuracy(truth, softmax(logits)):
        assert accuracy == pytest.approx(confidence, abs=0.05)  # three standard errors of 1,000 clips


def test_expected_accuracy_never_falls_and_never_promises_everything():
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


def test_bins_are_of_equal_size_and_hold_every_clip_once():
    values = np.random.default_rng(7).random(205)
    bins = equal_bins(values)
    assert [len(rows) for rows in bins] == [26] * 5 + [25] * 3
    assert sorted(np.concatenate(bins).tolist()) == list(range(205))
    assert all(values[low].max() <= values[high].min() for low, high in zip(bins, bins[1:], strict=False))  # noqa: RUF007 - reads as meant
    assert [len(equal_bins(values[:n])) for n in (0, 1, 30, 45)] == [0, 1, 1, 2]


def test_the_confidence_for_an_accuracy_is_where_the_table_reaches_it():
    table = ((0.4, 0.5), (0.6, 0.6), (0.8, 0.9))
    found = Calibration(errors=ERRORS, category_accuracy=table)
    assert found.confidence_for(0.0) == found.confidence_for(0.5) == 0.0
    assert found.confidence_for(0.55) == pytest.approx(0.5)
    assert found.confidence_for(0.6) == pytest.approx(0.6)
    assert found.confidence_for(0.75) == pytest.approx(0.7)
    assert found.confidence_for(0.9) == pytest.approx(0.8)
    with pytest.raises(SettingError, match=r"right in 95% of the cases; ask for at most 0.9"):
        found.confidence_for(0.95)
    with pytest.raises(SettingError, match="set a minimum confidence in place of an accuracy"):
        Calibration(errors=ERRORS).confidence_for(0.5)


# --- intervals by the seconds heard


def test_intervals_are_of_what_is_published_after_so_many_seconds(clip_set):
    """The first 4 s are wrong by .4, later ones right: smoothing brings the error down step by step."""
    data = clip_set(40)
    emotion = data.labels.emotion.numpy()
    given = results(Predictions(emotion=emotion, category=np.zeros((40, 4)), cluster=np.zeros((40, 5))))
    for of_clip in given.moments:
        of_clip[:8, :2] += 0.4
    errors = {error.heard_s: error for error in calibrate(data, given).errors}
    assert errors[1.0].valence == pytest.approx(0.4, abs=1e-5)
    assert errors[2.0].arousal == pytest.approx(0.4, abs=1e-5)
    assert 0.4 > errors[5.0].arousal > errors[10.0].arousal > 0.0  # a bare frame after 4 s would be right at once


def test_intervals_ask_the_rating_of_the_moment_where_there_is_one(clip_set):
    data = clip_set(40)
    emotion = data.labels.emotion.numpy()
    given = results(Predictions(emotion=emotion, category=np.zeros((40, 4)), cluster=np.zeros((40, 5))))
    data.dynamic[:, 3] = data.labels.emotion + torch.tensor([0.1, -0.2])  # what is said after 2 s
    errors = {error.heard_s: error for error in calibrate(data, given).errors}
    assert (errors[2.0].valence, errors[2.0].arousal) == pytest.approx((0.1, 0.2), abs=1e-5)
    assert (errors[5.0].valence, errors[5.0].arousal) == pytest.approx((0.0, 0.0), abs=1e-5)


# --- the link of category and point


def contradicting(n=400):
    """Heads that name a quadrant by chance in a third of the rows, and points that lie where the truth is."""
    rng = np.random.default_rng(9)
    truth = rng.integers(0, 4, n)
    points = np.array([(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)])[truth]
    named = np.where(rng.random(n) < 0.33, rng.integers(0, 4, n), truth)
    predictions = Predictions(
        emotion=points + 0.1 * rng.standard_normal((n, 2)), category=3.0 * np.eye(4)[named], cluster=np.zeros((n, 5))
    )
    return truth, predictions, points.astype(np.float32)


def test_the_link_makes_point_and_category_agree():
    truth, frames, emotion = contradicting()
    link, t = fit_link(truth, frames, emotion, results(frames).moments)
    assert link.weight > 0
    assert (link.valence_sd, link.arousal_sd) == pytest.approx((0.1, 0.1), abs=0.015)
    probs = linked_probabilities(frames, t, link)
    assert probs.sum(1) == pytest.approx(1)
    confident = probs.max(1) >= 0.6
    assert np.mean(probs.argmax(1)[confident] == truth[confident]) >= 0.9


def test_no_link_is_made_where_both_agree_already():
    truth, frames, emotion = contradicting()
    agreeing = Predictions(emotion=frames.emotion, category=3.0 * np.eye(4)[truth], cluster=frames.cluster)
    link, t = fit_link(truth, agreeing, emotion, results(agreeing).moments)
    assert link.weight == 0
    np.testing.assert_allclose(linked_probabilities(agreeing, t, link), softmax(agreeing.category, t))


def test_a_link_of_weight_one_is_the_product_with_the_probability_of_the_quadrant():
    frames = Predictions(
        emotion=np.array([[0.2, -0.1]]), category=np.log([[0.4, 0.3, 0.2, 0.1]]), cluster=np.zeros((1, 5))
    )
    link = CategoryLink(weight=1.0, valence_sd=0.2, arousal_sd=0.1)
    above = 0.8413447  # of a standard normal variable, below 1
    quadrants = np.array([above * (1 - above), (1 - above) ** 2, (1 - above) * above, above**2])
    expected = quadrants * [0.4, 0.3, 0.2, 0.1]
    np.testing.assert_allclose(linked_probabilities(frames, 1.0, link)[0], expected / expected.sum(), atol=1e-6)


# --- the map to the raters' spread


def test_the_map_gives_predictions_the_spread_of_the_ratings():
    rng = np.random.default_rng(10)
    ratings = np.clip(0.33 * rng.standard_normal(2000), -1, 1).astype(np.float32)
    predictions = 0.4 * ratings.astype(np.float64)
    at, to = np.array(spread_map(predictions, ratings)).T
    assert (np.diff(at) > 0).all()
    assert (np.diff(to) >= 0).all()
    assert (at[0], at[-1], to[0], to[-1]) == (-1, 1, -1, 1)
    inside = np.abs(ratings) < 0.6
    np.testing.assert_allclose(np.interp(predictions, at, to)[inside], ratings[inside], atol=0.03)


@pytest.mark.parametrize("kind", ["alike", "two values", "at the ends"])
def test_the_map_rises_whatever_the_predictions_are(kind):
    ratings = np.linspace(-1, 1, 100).astype(np.float32)
    predictions = {
        "alike": np.full(100, 0.2),
        "two values": np.where(ratings > 0, 0.3, -0.3),
        "at the ends": np.sign(ratings).astype(np.float64),
    }[kind]
    at, to = np.array(spread_map(predictions, ratings)).T
    assert (np.diff(at) > 0).all()
    assert (np.diff(to) >= 0).all()


def test_no_point_is_mapped_into_another_quadrant():
    ratings = np.linspace(-1, 1, 1000).astype(np.float32)
    at, to = np.array(spread_map(0.3 * ratings.astype(np.float64) + 0.1, ratings)).T
    assert np.interp(0.0, at, to) == 0
    assert (np.sign(np.interp([-0.15, -0.01, 0.01, 0.3], at, to)) == [-1, -1, 1, 1]).all()


def test_without_ratings_there_is_no_map():
    assert spread_map(np.zeros(100), np.full(100, np.nan, np.float32)) == ()


# --- Words move an output as far as they have earned, on clips that nothing was learnt from


def predictions(data, quality, *, seed=0):
    """Noise, and so much of the truth; the noise is that of the seed, whatever the quality."""
    rng = np.random.default_rng(seed)
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    n = len(data)
    return Predictions(
        emotion=np.clip(0.3 * rng.standard_normal((n, 2)) + quality * emotion, -1, 1),
        category=rng.standard_normal((n, 4)) + 2 * quality * np.eye(4)[category],
        cluster=rng.standard_normal((n, 5)) + 2 * quality * np.eye(5)[cluster],
    )


def only_where_spoken(data, audio, both, kind):
    """A clip without words is told what its audio says."""
    spoken = np.array([data.has_lines(row, kind) for row in range(len(data))])[:, None]
    return Predictions(**{name: np.where(spoken, getattr(both, name), getattr(audio, name)) for name in NAMES})


def fold_results(data, *, words, audio=0.4):
    """Audio of this quality, which words raise or lower to theirs."""
    alone, both = predictions(data, audio), predictions(data, words)
    by_kind = {"none": alone} | {kind: only_where_spoken(data, alone, both, kind) for kind in ("recognised", "printed")}
    return FoldResults(
        clips=by_kind, frames=dict(by_kind), members={kind: (p, p) for kind, p in by_kind.items()}, moments=()
    )


def everywhere(data):
    return np.ones(len(data), bool)


def test_harmful_words_have_earned_nothing_and_useful_ones_something(clip_set):
    data = clip_set(120)
    harmful, useful = (earned_strength(data, fold_results(data, words=q), everywhere(data)) for q in (-0.6, 1.0))
    assert asdict(harmful) == dict.fromkeys(NAMES, 0.0)
    assert all(value >= 1.0 for value in asdict(useful).values())


def test_each_output_earns_its_own(clip_set):
    data = clip_set(120)
    good, bad = fold_results(data, words=1.0), fold_results(data, words=-0.6)
    mixed = {
        kind: Predictions(
            emotion=good.clips[kind].emotion, category=bad.clips[kind].category, cluster=good.clips[kind].cluster
        )
        for kind in good.clips
    }
    found = earned_strength(data, FoldResults(clips=mixed, frames=mixed, members={}, moments=()), everywhere(data))
    assert found.category == 0
    assert found.emotion > 0
    assert found.cluster > 0
    assert found.greatest == max(found.emotion, found.cluster)


def test_words_that_say_nothing_new_earn_nothing(clip_set):
    data = clip_set(40)
    assert asdict(earned_strength(data, fold_results(data, words=0.4), everywhere(data))) == dict.fromkeys(NAMES, 0.0)


def test_without_a_clip_that_has_words_and_a_label_they_earn_nothing(clip_set):
    data = clip_set(40)
    useful = fold_results(data, words=1.0)
    none = np.zeros(40, bool)
    assert asdict(earned_strength(data, useful, none)) == dict.fromkeys(NAMES, 0.0)
    data.labels.category.fill_(-1)
    assert earned_strength(data, useful, everywhere(data)).category == 0
    data._lines = {}
    assert asdict(earned_strength(data, useful, everywhere(data))) == dict.fromkeys(NAMES, 0.0)


def test_the_strength_is_the_best_of_those_that_are_tried(clip_set):
    data = clip_set(120)
    given = fold_results(data, words=0.9)
    category = data.labels.category.numpy()
    spoken = {kind: np.array([data.has_lines(row, kind) for row in range(120)]) for kind in ("recognised", "printed")}

    def surprise(strength):
        losses = []
        for kind, rows in spoken.items():
            logits = blend(given.clips["none"], given.clips[kind], dict.fromkeys(NAMES, strength)).category[rows]
            probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            losses.append(-np.log(probs[np.arange(len(probs)), category[rows]]).mean())
        return float(np.mean(losses))

    assert (
        earned_strength(data, given, everywhere(data)).category
        == STRENGTHS[int(np.argmin([surprise(strength) for strength in STRENGTHS]))]
    )


def test_songs_without_audio_do_not_decide(clip_set):
    data = clip_set(60, songs=200)
    useful = fold_results(data, words=1.0)
    spoiled = fold_results(data, words=-1.0)
    mixed = {}
    for kind, clips in useful.clips.items():
        rows = data.with_audio[:, None]
        other = spoiled.clips[kind]
        mixed[kind] = Predictions(
            **{name: np.where(rows, getattr(clips, name), getattr(other, name)) for name in NAMES}
        )
    given = FoldResults(clips=mixed, frames=mixed, members={}, moments=())
    assert earned_strength(data, given, everywhere(data)) == earned_strength(data, useful, everywhere(data))


def test_a_blend_goes_from_audio_towards_both_and_beyond():
    rng = np.random.default_rng(0)
    audio, both = (
        Predictions(
            emotion=0.3 * rng.standard_normal((6, 2)).clip(-1, 1),
            category=rng.standard_normal((6, 4)),
            cluster=rng.standard_normal((6, 5)),
        )
        for _ in range(2)
    )
    nothing, all_of_it, beyond = (blend(audio, both, dict.fromkeys(NAMES, s)) for s in (0.0, 1.0, 2.0))
    for name in NAMES:
        a, b = getattr(audio, name), getattr(both, name)
        np.testing.assert_allclose(getattr(nothing, name), a)
        np.testing.assert_allclose(getattr(all_of_it, name), b)
        np.testing.assert_allclose(getattr(beyond, name), 2 * b - a if name != "emotion" else (2 * b - a).clip(-1, 1))
    by_row = blend(audio, both, {name: np.array([[0.0], [1.0]] * 3) for name in NAMES})
    np.testing.assert_allclose(by_row.category[::2], audio.category[::2])
    np.testing.assert_allclose(by_row.category[1::2], both.category[1::2])
    far = blend(audio, both, dict.fromkeys(NAMES, 100.0)).emotion
    assert np.abs(far).max() == 1


def test_each_fold_is_blended_with_its_strength_everywhere(clip_set):
    data = clip_set(80)
    folds = np.array([clip.fold for clip in data.clips])
    given = fold_results(data, words=0.9)
    moved = with_earned_strength(data, given)
    for fold in range(5):
        inside = folds == fold
        strength = asdict(earned_strength(data, given, ~inside))
        for kind in ("none", "recognised", "printed"):
            expected = blend(given.clips["none"], given.clips[kind], strength)
            for part in (moved.clips[kind], moved.frames[kind], *moved.members[kind]):
                np.testing.assert_allclose(part.category[inside], expected.category[inside])
                np.testing.assert_allclose(part.emotion[inside], expected.emotion[inside])


def test_what_has_no_audio_or_another_sound_is_left_as_it_is(clip_set):
    data = clip_set(40, songs=10)
    harmful = fold_results(data, words=-0.6)
    clips = harmful.clips | {"read": predictions(data, 0.2, seed=5)}
    given = FoldResults(clips=clips, frames=clips, members={kind: (p,) for kind, p in clips.items()}, moments=())
    moved = with_earned_strength(data, given, as_they_are=frozenset({"read"}))
    assert np.array_equal(moved.clips["read"].category, clips["read"].category)
    songs = ~data.with_audio
    np.testing.assert_allclose(moved.clips["printed"].category[songs], clips["printed"].category[songs])
    np.testing.assert_allclose(moved.clips["printed"].category[~songs], clips["none"].category[~songs])
