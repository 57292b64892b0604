"""Words move an output as far as they have earned, on clips that nothing was learnt from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest

from stream_mer.training import calibrate as text_strength
from stream_mer.training.calibrate import NAMES, STRENGTHS, blend, earned_strength, with_earned_strength
from stream_mer.training.crossvalidation import FoldResults, Predictions
from stream_mer.training.dataset import ClipSet

Maker = Callable[..., ClipSet]


def predictions(data: ClipSet, quality: float, *, seed: int = 0) -> Predictions:
    """Noise, and so much of the truth; the noise is that of the seed, whatever the quality."""
    rng = np.random.default_rng(seed)
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    n = len(data)
    return Predictions(
        emotion=np.clip(0.3 * rng.standard_normal((n, 2)) + quality * emotion, -1, 1),
        category=rng.standard_normal((n, 4)) + 2 * quality * np.eye(4)[category],
        cluster=rng.standard_normal((n, 5)) + 2 * quality * np.eye(5)[cluster],
    )


def only_where_spoken(data: ClipSet, audio: Predictions, both: Predictions, kind: str) -> Predictions:
    """A clip without words is told what its audio says."""
    spoken = np.array([data.has_lines(row, kind) for row in range(len(data))])[:, None]
    return Predictions(**{name: np.where(spoken, getattr(both, name), getattr(audio, name)) for name in NAMES})


def results(data: ClipSet, *, words: float, audio: float = 0.4) -> FoldResults:
    """Audio of this quality, which words raise or lower to theirs."""
    alone, both = predictions(data, audio), predictions(data, words)
    by_kind = {"none": alone} | {kind: only_where_spoken(data, alone, both, kind) for kind in ("recognised", "printed")}
    return FoldResults(
        clips=by_kind, frames=dict(by_kind), members={kind: (p, p) for kind, p in by_kind.items()}, moments=()
    )


def everywhere(data: ClipSet) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.ones(len(data), bool)


def test_harmful_words_have_earned_nothing_and_useful_ones_something(clip_set: Maker) -> None:
    data = clip_set(120)
    harmful, useful = (earned_strength(data, results(data, words=q), everywhere(data)) for q in (-0.6, 1.0))
    assert asdict(harmful) == dict.fromkeys(NAMES, 0.0)
    assert all(value >= 1.0 for value in asdict(useful).values())


def test_each_output_earns_its_own(clip_set: Maker) -> None:
    data = clip_set(120)
    good, bad = results(data, words=1.0), results(data, words=-0.6)
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


def test_words_that_say_nothing_new_earn_nothing(clip_set: Maker) -> None:
    data = clip_set(40)
    assert asdict(earned_strength(data, results(data, words=0.4), everywhere(data))) == dict.fromkeys(NAMES, 0.0)


def test_without_a_clip_that_has_words_and_a_label_they_earn_nothing(clip_set: Maker) -> None:
    data = clip_set(40)
    useful = results(data, words=1.0)
    none = np.zeros(40, bool)
    assert asdict(earned_strength(data, useful, none)) == dict.fromkeys(NAMES, 0.0)
    data.labels.category.fill_(-1)
    assert earned_strength(data, useful, everywhere(data)).category == 0
    data._lines = {}
    assert asdict(earned_strength(data, useful, everywhere(data))) == dict.fromkeys(NAMES, 0.0)


def test_the_strength_is_the_best_of_those_that_are_tried(clip_set: Maker) -> None:
    data = clip_set(120)
    given = results(data, words=0.9)
    category = data.labels.category.numpy()
    spoken = {kind: np.array([data.has_lines(row, kind) for row in range(120)]) for kind in ("recognised", "printed")}

    def surprise(strength: float) -> float:
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


def test_songs_without_audio_do_not_decide(clip_set: Maker) -> None:
    data = clip_set(60, songs=200)
    useful = results(data, words=1.0)
    spoiled = results(data, words=-1.0)
    mixed = {}
    for kind, clips in useful.clips.items():
        rows = data.with_audio[:, None]
        other = spoiled.clips[kind]
        mixed[kind] = Predictions(
            **{name: np.where(rows, getattr(clips, name), getattr(other, name)) for name in NAMES}
        )
    given = FoldResults(clips=mixed, frames=mixed, members={}, moments=())
    assert earned_strength(data, given, everywhere(data)) == earned_strength(data, useful, everywhere(data))


def test_a_blend_goes_from_audio_towards_both_and_beyond() -> None:
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


def test_the_strength_of_a_fold_is_chosen_on_the_others(clip_set: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip_set(80)
    folds = np.array([clip.fold for clip in data.clips])
    asked: list[set[int]] = []
    chosen = earned_strength

    def noted(d: ClipSet, r: FoldResults, rows: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> object:
        asked.append(set(folds[rows].tolist()))
        return chosen(d, r, rows)

    monkeypatch.setattr(text_strength, "earned_strength", noted)
    with_earned_strength(data, results(data, words=1.0))
    assert asked == [set(range(5)) - {fold} for fold in range(5)]


def test_a_fold_whose_words_alone_are_useful_gains_nothing_by_them(clip_set: Maker) -> None:
    data = clip_set(120)
    inside = np.array([clip.fold == 2 for clip in data.clips])
    good, bad = results(data, words=1.0), results(data, words=-0.6)
    mixed = {
        kind: Predictions(
            **{
                name: np.where(inside[:, None], getattr(good.clips[kind], name), getattr(bad.clips[kind], name))
                for name in NAMES
            }
        )
        for kind in good.clips
    }
    given = FoldResults(clips=mixed, frames=mixed, members={kind: (p,) for kind, p in mixed.items()}, moments=())
    assert asdict(earned_strength(data, given, inside))["category"] > 0
    moved = with_earned_strength(data, given)
    for part in (moved.clips, moved.frames, {kind: members[0] for kind, members in moved.members.items()}):
        for kind in ("recognised", "printed"):
            np.testing.assert_allclose(part[kind].category[inside], mixed["none"].category[inside])


def test_each_fold_is_blended_with_its_strength_everywhere(clip_set: Maker) -> None:
    data = clip_set(80)
    folds = np.array([clip.fold for clip in data.clips])
    given = results(data, words=0.9)
    moved = with_earned_strength(data, given)
    for fold in range(5):
        inside = folds == fold
        strength = asdict(earned_strength(data, given, ~inside))
        for kind in ("none", "recognised", "printed"):
            expected = blend(given.clips["none"], given.clips[kind], strength)
            for part in (moved.clips[kind], moved.frames[kind], *moved.members[kind]):
                np.testing.assert_allclose(part.category[inside], expected.category[inside])
                np.testing.assert_allclose(part.emotion[inside], expected.emotion[inside])


def test_what_has_no_audio_or_another_sound_is_left_as_it_is(clip_set: Maker) -> None:
    data = clip_set(40, songs=10)
    harmful = results(data, words=-0.6)
    clips = harmful.clips | {"read": predictions(data, 0.2, seed=5)}
    given = FoldResults(clips=clips, frames=clips, members={kind: (p,) for kind, p in clips.items()}, moments=())
    moved = with_earned_strength(data, given, as_they_are=frozenset({"read"}))
    assert np.array_equal(moved.clips["read"].category, clips["read"].category)
    songs = ~data.with_audio
    np.testing.assert_allclose(moved.clips["printed"].category[songs], clips["printed"].category[songs])
    np.testing.assert_allclose(moved.clips["printed"].category[~songs], clips["none"].category[~songs])
