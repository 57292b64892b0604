"""Each figure is over the clips that have its label, by its formula, ready for a paired comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import SCORES, Score, score

Maker = Callable[..., ClipSet]


def guessed(data: ClipSet, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    n = len(data)
    return Predictions(
        emotion=np.tanh(rng.standard_normal((n, 2))),
        category=rng.standard_normal((n, 4)),
        cluster=rng.standard_normal((n, 5)),
    )


def every(one: Score) -> float:
    return one.statistic(np.arange(len(one.artists)))


def f1(truth: list[int], prediction: list[int], n: int) -> float:
    """Macro-F1 by counting."""
    total = 0.0
    for c in range(n):
        hits = sum(t == p == c for t, p in zip(truth, prediction, strict=True))
        named = truth.count(c) + prediction.count(c)
        total += 2 * hits / named if named else 0.0
    return total / n


def test_every_figure_is_its_formula(clip_set: Maker) -> None:
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


def test_a_figure_counts_the_clips_that_have_its_label(clip_set: Maker) -> None:
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


def test_what_is_said_of_clips_without_the_label_has_no_effect(clip_set: Maker) -> None:
    data = clip_set(40)
    data.labels.category[::3] = data.labels.cluster[::3] = -1
    data.labels.emotion[::3] = float("nan")
    given, other = guessed(data), guessed(data)
    for name in ("emotion", "category", "cluster"):
        getattr(other, name)[::3] = np.roll(getattr(other, name)[::3], 1, axis=1)
    ours, theirs = score(data, given), score(data, other)
    assert all(every(ours[name]) == every(theirs[name]) for name in ours)


def test_songs_without_audio_count_only_where_they_are_asked_for(clip_set: Maker) -> None:
    data = clip_set(20, songs=12)
    given = guessed(data)
    n = [len(score(data, given, among=among)["quadrants_f1"].artists) for among in (None, data.sets == "verses")]
    assert n == [20, 12]
    assert every(score(data, given)["quadrants_f1"]) == pytest.approx(
        f1(data.labels.category[:20].tolist(), given.category[:20].argmax(1).tolist(), 4)
    )


def test_an_artist_is_drawn_with_all_clips_and_a_clip_without_one_by_itself(clip_set: Maker) -> None:
    data = clip_set(12)
    data.clips = tuple(replace(clip, artist="" if i < 4 else clip.artist) for i, clip in enumerate(data.clips))
    artists = score(data, guessed(data))["quadrants_f1"].artists.tolist()
    assert artists[:4] == ["m0", "m1", "m2", "m3"]
    assert artists[4:] == [f"artist {i // 2}" for i in range(4, 12)]


def test_a_difference_is_paired_by_clip(clip_set: Maker) -> None:
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


def test_without_frames_there_is_no_figure_of_them(clip_set: Maker) -> None:
    data = clip_set(8)
    assert set(SCORES) - set(score(data, guessed(data))) == {"frame_quadrants_f1"}
