"""Metrics and their intervals."""

from dataclasses import replace

import numpy as np
import pytest
from tolerance import LAYER

from stream_mer.config import SmoothingSettings
from stream_mer.emotion.checkpoint import Calibration, CategoryLink, PredictionError
from stream_mer.emotion.estimates import TextContext, estimate
from stream_mer.emotion.smoothing import Smoother
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.metrics import (
    SCORES,
    Figure,
    Shown,
    bootstrap,
    calibration_error,
    ccc,
    live_report,
    macro_f1,
    pearson,
    r_squared,
    score,
    show,
)
from stream_mer.types import NO_LYRICS, UNKNOWN


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the extra 'train'")
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 60)
    guess = np.where(rng.random(60) < 0.6, truth, rng.integers(0, 4, 60))
    assert macro_f1(truth, guess, 4) == pytest.approx(sklearn.f1_score(truth, guess, average="macro"))


def test_macro_f1_counts_a_class_that_is_never_hit():
    truth = np.array([0, 0, 1, 1, 2])
    assert macro_f1(truth, truth, 3) == 1
    assert macro_f1(truth, np.zeros(5, int), 3) == pytest.approx((2 * 2 / 7) / 3)
    assert macro_f1(truth[:4], truth[:4], 3) == pytest.approx(2 / 3)  # nobody names the third


def test_correlations_by_their_definitions():
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert pearson(x, 2 * x - 5) == pytest.approx(1)
    assert ccc(x, x) == pytest.approx(1)
    assert ccc(x, x + 1) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))
    assert ccc(x, 2 * x) == pytest.approx(2 * 2.5 / (1.25 + 5 + 1.5**2))
    assert ccc(x, np.full(4, 1.5)) == 0
    assert ccc(np.ones(4), np.ones(4)) == 0


def test_pearson_is_numpys_and_nothing_where_nothing_varies():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 30))
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson(np.zeros(3), np.arange(3.0)) == 0
    assert pearson(np.ones(1), np.ones(1)) == 0


def test_r_squared_counts_offset_and_scale():
    x = np.array([0.0, 1.0, 2.0, 3.0])  # variance 1.25
    assert r_squared(x, x) == 1
    assert r_squared(x, np.full(4, 1.5)) == pytest.approx(0)
    assert r_squared(x, x + 1) == pytest.approx(1 - 1 / 1.25)
    assert r_squared(x, 3 - x) == pytest.approx(1 - 5 / 1.25)
    assert r_squared(np.ones(3), np.arange(3.0)) == 0


def test_a_figure_over_nothing_is_a_dash():
    figure = bootstrap(lambda _: 1.0, np.array([], dtype=str))
    assert (figure.n, str(figure)) == (0, "-")


def test_calibration_error_of_known_cases():
    right = np.array([0, 0, 0, 0, 1])  # four of five right, at a confidence of .8
    probs = np.tile([0.8, 0.2], (5, 1))
    assert calibration_error(right, probs) == pytest.approx(0)
    assert calibration_error(np.ones(5, int), probs) == pytest.approx(0.8)
    sure = np.tile([1.0, 0.0], (5, 1))
    assert calibration_error(right, sure) == pytest.approx(0.2)


def test_the_bootstrap_finds_the_interval_of_a_mean():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    groups = np.array([f"g{i}" for i in range(400)])
    figure = bootstrap(lambda rows: float(x[rows].mean()), groups)
    assert figure.n == 400
    assert figure.value == pytest.approx(x.mean())
    width = 1.96 * x.std() / 20
    assert figure.high - figure.value == pytest.approx(width, rel=0.15)
    assert figure.value - figure.low == pytest.approx(width, rel=0.15)


def test_clips_of_one_artist_are_drawn_together():
    x = np.repeat(np.random.default_rng(0).standard_normal(40), 10)  # ten equal clips an artist
    alone = bootstrap(lambda rows: float(x[rows].mean()), np.array([f"g{i}" for i in range(400)]))
    together = bootstrap(lambda rows: float(x[rows].mean()), np.array([f"g{i // 10}" for i in range(400)]))
    assert together.high - together.low > 2.5 * (alone.high - alone.low)  # the square root of 10, about


def test_the_same_seed_gives_the_same_interval():
    x = np.arange(20.0)
    groups = np.array([f"g{i}" for i in range(20)])
    a, b = (bootstrap(lambda rows: float(x[rows].mean()), groups, rounds=50) for _ in range(2))
    assert a == b


def test_a_figure_reads_as_value_and_interval():
    assert str(Figure(value=0.6789, low=0.6, high=0.75, n=9)) == "0.679 [0.600, 0.750]"


# --- Each figure is over the clips that have its label, by its formula, ready for a paired comparison


def guessed(data, seed=0):
    rng = np.random.default_rng(seed)
    n = len(data)
    return Predictions(
        emotion=np.tanh(rng.standard_normal((n, 2))),
        category=rng.standard_normal((n, 4)),
        cluster=rng.standard_normal((n, 5)),
    )


def every(one):
    return one.statistic(np.arange(len(one.artists)))


def f1(truth, prediction, n):
    """Macro-F1 by counting."""
    total = 0.0
    for c in range(n):
        hits = sum(t == p == c for t, p in zip(truth, prediction, strict=True))
        named = truth.count(c) + prediction.count(c)
        total += 2 * hits / named if named else 0.0
    return total / n


def test_every_figure_is_its_formula(clip_set):
    data = clip_set(40)
    clips, frames = guessed(data), guessed(data, 1)
    scores = score(data, clips, frames)
    assert list(scores) == list(SCORES)
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    truth, said = category.tolist(), clips.category.argmax(1).tolist()
    assert every(scores["quadrants_accuracy"]) == np.mean([t == p for t, p in zip(truth, said, strict=True)])
    assert every(scores["quadrants_f1"]) == pytest.approx(f1(truth, said, 4))
    assert every(scores["frame_quadrants_f1"]) == pytest.approx(f1(truth, frames.category.argmax(1).tolist(), 4))
    assert every(scores["clusters_f1"]) == pytest.approx(f1(cluster.tolist(), clips.cluster.argmax(1).tolist(), 5))
    for k, name in enumerate(("valence", "arousal")):
        t, p = emotion[:, k].astype(float), clips.emotion[:, k]
        covariance = np.cov(t, p, bias=True)[0, 1]
        assert every(scores[f"{name}_r"]) == pytest.approx(np.corrcoef(t, p)[0, 1])
        expected = 2 * covariance / (t.var() + p.var() + (t.mean() - p.mean()) ** 2)
        assert every(scores[f"{name}_ccc"]) == pytest.approx(expected)
        assert every(scores[f"{name}_r2"]) == pytest.approx(1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum())


def test_a_figure_counts_the_clips_that_have_its_label(clip_set):
    data = clip_set(40)
    given = guessed(data)
    data.labels.category[:3] = -1
    data.labels.cluster[:5] = -1  # of these, clips 0 and 4 have printed words
    data.labels.emotion[7, 0] = float("nan")
    n = {name: len(one.artists) for name, one in score(data, given).items()}
    assert n == {
        "quadrants_accuracy": 37,
        "quadrants_f1": 37,
        **dict.fromkeys((f"{what}_{kind}" for what in ("valence", "arousal") for kind in ("ccc", "r2", "r")), 39),
        "clusters_f1": 35,
        "clusters_lyrics_f1": 8,
    }


def test_what_is_said_of_clips_without_the_label_has_no_effect(clip_set):
    data = clip_set(40)
    data.labels.category[::3] = data.labels.cluster[::3] = -1
    data.labels.emotion[::3] = float("nan")
    given, other = guessed(data), guessed(data)
    for name in ("emotion", "category", "cluster"):
        getattr(other, name)[::3] = np.roll(getattr(other, name)[::3], 1, axis=1)
    ours, theirs = score(data, given), score(data, other)
    assert all(every(ours[name]) == every(theirs[name]) for name in ours)


def test_songs_without_audio_count_only_where_they_are_asked_for(clip_set):
    data = clip_set(20, songs=12)
    given = guessed(data)
    n = [len(score(data, given, among=among)["quadrants_f1"].artists) for among in (None, data.sets == "verses")]
    assert n == [20, 12]
    assert every(score(data, given)["quadrants_f1"]) == pytest.approx(
        f1(data.labels.category[:20].tolist(), given.category[:20].argmax(1).tolist(), 4)
    )


def test_an_artist_is_drawn_with_all_clips_and_a_clip_without_one_by_itself(clip_set):
    data = clip_set(12)
    data.clips = tuple(replace(clip, artist="" if i < 4 else clip.artist) for i, clip in enumerate(data.clips))
    artists = score(data, guessed(data))["quadrants_f1"].artists.tolist()
    assert artists[:4] == ["m0", "m1", "m2", "m3"]
    assert artists[4:] == [f"artist {i // 2}" for i in range(4, 12)]


def test_a_difference_is_paired_by_clip(clip_set):
    data = clip_set(40)
    ours, theirs = (score(data, guessed(data, seed))["quadrants_accuracy"] for seed in (0, 1))
    found = ours.difference(theirs)
    assert found.value == pytest.approx(every(ours) - every(theirs))
    assert found.n == 40
    assert found.low < found.value < found.high
    back = theirs.difference(ours)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    none = ours.difference(ours)  # the same clips are drawn for both sides
    assert (none.value, none.low, none.high) == (0, 0, 0)
    figure = ours.figure()
    assert figure.value == every(ours)
    assert figure.low < figure.value < figure.high


def test_without_frames_there_is_no_figure_of_them(clip_set):
    data = clip_set(8)
    assert set(SCORES) - set(score(data, guessed(data))) == {"frame_quadrants_f1"}


# --- published frames: as in a live stream, and their figures by their formulas


CALIBRATION = Calibration(
    errors=(PredictionError(heard_s=0.0, valence=0.4, arousal=0.3),),
    category_temperature=1.5,
    category_link=CategoryLink(weight=0.5),
)
QUADRANTS = ("happy", "angry", "sad", "relaxed")


def outputs(n, seed=0):
    """A walk through the plane and the categories."""
    steps = np.random.default_rng(seed).standard_normal((n, 11)).cumsum(0)
    steps[:, :2] = np.tanh(0.3 * steps[:, :2])
    return steps.astype(np.float32)


def test_what_is_shown_is_what_a_stream_would_publish():
    moments = outputs(60)
    found, smoother, changes = show(moments, CALIBRATION), Smoother(SmoothingSettings()), 0
    for i, row in enumerate(moments):
        t = 0.5 * (i + 1)
        raw = estimate(row, TextContext(), NO_LYRICS, CALIBRATION, heard_s=t, words_alone=False, clock=(0.0, 0.0))
        steady = smoother.feed(t, raw)
        assert found.values[i].tolist() == pytest.approx([steady.valence, steady.arousal])
        assert found.probs[i].tolist() == pytest.approx([steady.probs[name] for name in QUADRANTS])
        assert found.categories[i] == steady.category
        changes += steady.change is not None
    assert found.changes == changes
    assert found.values.shape == (60, 2)


def shown(values, *, probs=(0.7, 0.1, 0.1, 0.1), changes=0):
    n = len(values)
    return Shown(
        values=values, probs=np.tile(probs, (n, 1)), categories=(QUADRANTS[int(np.argmax(probs))],) * n, changes=changes
    )


def test_the_error_over_time_is_a_root_mean_over_clips(clip_set):
    data = clip_set(16, listeners=True)  # clips 0, 4, 8 and 12 are rated from moment to moment
    by_row = [shown(of_clip.nan_to_num(0.0).double().numpy()) for of_clip in data.dynamic]
    report = live_report(data, by_row)
    assert report.figures["dynamic valence, RMSE"].value == pytest.approx(0, abs=LAYER)
    assert report.figures["dynamic valence, RMSE"].n == 4
    assert report.figures["dynamic arousal, mean r within a clip"].value == pytest.approx(1, abs=1e-4)
    off = [
        replace(one, values=one.values + np.array([0.0, 0.3 if row == 0 else 0.0])) for row, one in enumerate(by_row)
    ]
    report = live_report(data, off)
    assert report.figures["dynamic arousal, RMSE"].value == pytest.approx(np.sqrt(0.09 / 4), abs=1e-4)
    assert report.figures["dynamic arousal, mean r within a clip"].value == pytest.approx(1, abs=1e-4)


def test_still_values_have_no_correlation_and_still_listeners_do_not_count(clip_set):
    data = clip_set(16, listeners=True)
    data.dynamic[0, :20] = data.dynamic[0, 0]
    still = [shown(np.zeros((24, 2))) for _ in range(16)]
    figure = live_report(data, still).figures["dynamic valence, mean r within a clip"]
    assert (figure.value, figure.n) == (0, 3)
    data.dynamic[:, :20] = 0.1  # nobody moves anywhere
    assert live_report(data, still).figures["dynamic valence, mean r within a clip"].n == 0


def test_agreement_counts_confident_frames_in_the_quadrant_named(clip_set):
    data = clip_set(4)
    happy, sad = np.full((24, 2), 0.3), np.full((24, 2), -0.3)
    rows = [
        shown(happy),
        shown(sad),
        shown(sad, probs=(0.55, 0.15, 0.15, 0.15)),  # not confident
        replace(shown(sad), categories=(UNKNOWN,) * 24),
    ]
    figures = live_report(data, rows).figures
    assert figures["point in the quadrant named, confident frames"].value == pytest.approx(0.5)
    assert figures["frames with a category"].value == pytest.approx(0.75)


def test_cues_are_told_by_the_minute(clip_set):
    data = clip_set(4, songs=2)  # 12 s each
    rows = [shown(np.zeros((24, 2)), changes=changes) for changes in (1, 0, 2, 1, 9, 9)]  # songs are not heard
    figure = live_report(data, rows).figures["cues a minute"]
    assert (figure.value, figure.n) == (pytest.approx(4 / 0.8), 4)


def test_quadrants_are_told_by_the_mean_and_by_the_frame_of_10_s(clip_set):
    data = clip_set(8)
    truth = data.labels.category.numpy()
    rows = []
    for row in range(8):
        one = shown(np.zeros((24, 2)), probs=tuple(np.eye(4)[truth[row]]))
        one.probs[19] = np.roll(one.probs[19], 1)
        rows.append(one)
    figures = live_report(data, rows).figures
    assert figures["quadrants macro-F1, mean of a clip's frames"].value == pytest.approx(1)
    assert figures["quadrants macro-F1, one frame with 10 s heard"].value == 0


def test_without_continuous_ratings_and_quadrants_there_are_no_such_figures(clip_set):
    data = clip_set(4)
    data.labels.category.fill_(-1)
    told = live_report(data, [shown(np.zeros((24, 2))) for _ in range(4)]).to_dict()
    assert told["dynamic valence, RMSE"] == {"value": None, "low": None, "high": None, "n": 0}
    assert told["quadrants macro-F1, mean of a clip's frames"]["value"] is None
    assert told["cues a minute"]["n"] == 4
