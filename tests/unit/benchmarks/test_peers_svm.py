"""No machine learns anything from the fold that it is judged on, and what was judged once is not judged again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV

from benchmarks import peers_svm
from benchmarks.peers_svm import judge_features, predict_out_of_fold
from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.metrics import ccc

N_CLIPS = 60
N_FOLDS = 3

Features = NDArray[np.float32]


@pytest.fixture
def clips() -> list[Clip]:
    rng = np.random.default_rng(1)
    made = []
    for i in range(N_CLIPS):
        category = int(rng.integers(4))
        made.append(
            Clip(
                clip_id=f"c{i}",
                audio=Path(f"c{i}.wav"),
                artist=f"artist {i % N_FOLDS} {i % 5}",
                fold=i % N_FOLDS,
                category=category,
                cluster=int(rng.integers(5)),
                valence=(0.5, -0.5, -0.5, 0.5)[category] + float(rng.normal(0, 0.1)),
                arousal=(0.5, 0.5, -0.5, -0.5)[category] + float(rng.normal(0, 0.1)),
            )
        )
    return made


@pytest.fixture
def telling(clips: list[Clip]) -> Features:
    """Features that tell valence and arousal, and chance."""
    told = [(clip.valence, clip.arousal) for clip in clips]
    noise = np.random.default_rng(2).normal(0, 1, (len(clips), 6))
    return np.hstack([np.array(told, dtype=np.float64), noise]).astype(np.float32)


@pytest.fixture
def one_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single C: quicker, where the choice is not what is tested."""
    monkeypatch.setattr(peers_svm, "COSTS", (1.0,))


def rows(predictions: Predictions, which: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.hstack([predictions.emotion, predictions.category, predictions.cluster])[which]


def relabelled(clips: Sequence[Clip], fold: int) -> list[Clip]:
    """Every label of one fold is another one."""
    return [
        replace(
            clip,
            category=(clip.category + 1) % 4,
            cluster=(clip.cluster + 2) % 5,
            valence=-clip.valence,
            arousal=-clip.arousal,
        )
        if clip.fold == fold
        and clip.category is not None
        and clip.cluster is not None
        and clip.valence is not None
        and clip.arousal is not None
        else clip
        for clip in clips
    ]


def test_a_fold_is_predicted_without_its_labels_and_teaches_the_others(clips: list[Clip], telling: Features) -> None:
    before = predict_out_of_fold(clips, telling, "t")
    after = predict_out_of_fold(relabelled(clips, 1), telling, "t")
    tested = np.array([clip.fold == 1 for clip in clips])
    np.testing.assert_array_equal(rows(before, tested), rows(after, tested))
    assert (rows(before, ~tested)[:, :2] != rows(after, ~tested)[:, :2]).all()


@pytest.mark.usefixtures("one_choice")
def test_a_clip_is_predicted_without_the_features_of_its_fold(clips: list[Clip], telling: Features) -> None:
    before = predict_out_of_fold(clips, telling, "t")
    strange = telling.copy()
    strange[1] = 1000.0  # would move mean and deviation of every feature
    after = predict_out_of_fold(clips, strange, "t")
    others = np.array([clip.fold == 1 for clip in clips]) & (np.arange(len(clips)) != 1)
    np.testing.assert_array_equal(rows(before, others), rows(after, others))
    assert not np.array_equal(rows(before, ~others), rows(after, ~others))


def test_c_is_chosen_on_the_training_folds_alone(
    clips: list[Clip], telling: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = GridSearchCV.fit
    seen: list[tuple[int, frozenset[int]]] = []

    def spy(search: object, features: Features, labels: object, *, groups: NDArray[np.int_]) -> object:
        seen.append((len(features), frozenset(groups.tolist())))
        return fit(search, features, labels, groups=groups)

    monkeypatch.setattr(GridSearchCV, "fit", spy)
    predict_out_of_fold(clips, telling, "t")
    folds = set(range(N_FOLDS))
    left_out = {(2 * N_CLIPS // N_FOLDS, frozenset(folds - {fold})) for fold in folds}
    assert set(seen) == left_out
    assert len(seen) == 4 * N_FOLDS  # category, cluster, valence, arousal


def test_what_the_features_tell_is_learned(clips: list[Clip], telling: Features) -> None:
    predictions = predict_out_of_fold(clips, telling, "t")
    truth = np.array([(clip.valence, clip.arousal) for clip in clips], dtype=np.float64)
    right = predictions.category.argmax(1) == [clip.category for clip in clips]
    assert right.mean() > 0.8
    assert min(ccc(truth[:, k], predictions.emotion[:, k]) for k in range(2)) > 0.8
    assert (predictions.category.sum(1) == 1).all()
    guessed = predictions.cluster.argmax(1) == [clip.cluster for clip in clips]
    assert guessed.mean() < 0.5  # they tell nothing of the cluster


@pytest.mark.usefixtures("one_choice")
def test_clips_without_a_label_are_neither_learned_from_nor_predicted(clips: list[Clip], telling: Features) -> None:
    bare = [replace(clip, category=None, valence=None, arousal=None) if i < 6 else clip for i, clip in enumerate(clips)]
    predictions = predict_out_of_fold(bare, telling, "t")
    assert not predictions.category[:6].any()
    assert not predictions.emotion[:6].any()
    assert (predictions.cluster.sum(1) == 1).all()
    without = predict_out_of_fold(bare[6:], telling[6:], "t")
    np.testing.assert_array_equal(predictions.category[6:], without.category)
    np.testing.assert_array_equal(predictions.emotion[6:], without.emotion)


def test_ratings_of_a_single_tag_are_not_learned_from(clips: list[Clip], telling: Features) -> None:
    coarse = [replace(clip, category=None, cluster=None) for clip in clips]
    assert not predict_out_of_fold(coarse, telling, "t").emotion.any()
    rated = [replace(clip, rated_by="listeners") for clip in coarse]
    assert predict_out_of_fold(rated, telling, "t").emotion.all()


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        pytest.param([0] * 12, [0] * 12, id="one class is all that there is"),
        # Fold 0 knows of class 1 alone, folds 1 and 2 of class 0: leaving one out may leave one class.
        pytest.param([1, 0, 0] * 4, None, id="each fold has its own"),
    ],
)
def test_classes_too_few_to_choose_on_are_no_error(categories: list[int], expected: list[int] | None) -> None:
    few = [
        Clip(clip_id=f"c{i}", audio=Path("a.wav"), artist=f"a{i}", fold=i % 3, category=category)
        for i, category in enumerate(categories)
    ]
    features = np.random.default_rng(0).normal(0, 1, (12, 3)).astype(np.float32)
    found = predict_out_of_fold(few, features, "t").category
    assert (found.sum(1) == 1).all()
    if expected is not None:
        assert found.argmax(1).tolist() == expected


def test_a_label_that_one_fold_alone_has_is_not_predicted() -> None:
    few = [
        Clip(clip_id=f"c{i}", audio=Path("a.wav"), artist=f"a{i}", fold=i % 2, category=i if i % 2 == 0 else None)
        for i in range(4)
    ]
    assert not predict_out_of_fold(few, np.zeros((4, 2), np.float32), "t").category.any()


@pytest.mark.usefixtures("one_choice")
def test_what_was_judged_is_kept_until_features_labels_or_folds_change(
    clips: list[Clip], telling: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = judge_features(clips, telling, tmp_path, "t")
    calls = _counted(monkeypatch)
    again = judge_features(clips, telling, tmp_path, "t")
    np.testing.assert_array_equal(rows(first, np.ones(N_CLIPS, bool)), rows(again, np.ones(N_CLIPS, bool)))
    assert calls() == 0
    judge_features(clips, telling + np.float32(1), tmp_path, "t")
    assert calls() == 1
    judge_features(relabelled(clips, 2), telling, tmp_path, "t")
    assert calls() == 2
    judge_features([replace(clip, fold=(clip.fold + 1) % N_FOLDS) for clip in clips], telling, tmp_path, "t")
    assert calls() == 3
    monkeypatch.setattr(peers_svm, "COSTS", (3.0,))
    judge_features(clips, telling, tmp_path, "t")
    assert calls() == 4


def _counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    real, calls = predict_out_of_fold, []

    def counting(clips: Sequence[Clip], features: Features, title: str) -> Predictions:
        calls.append(title)
        return real(clips, features, title)

    monkeypatch.setattr(peers_svm, "predict_out_of_fold", counting)
    return lambda: len(calls)
