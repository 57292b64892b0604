"""No clip is judged by a model that heard its artist, and finished folds are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_mer.emotion.backbone import TOKEN_FEATURES
from stream_mer.emotion.model import JointModel, JointModelConfig
from stream_mer.training import crossvalidation
from stream_mer.training.crossvalidation import TEXT_KINDS, FoldResults, cross_validate
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import COLUMNS, FIGURES, fold_table
from stream_mer.training.fit import Recipe, fit

RECIPE = Recipe(epochs=1, batch_size=16, model=JointModelConfig(audio_features=TOKEN_FEATURES, width=16, heads=2))

Maker = Callable[..., ClipSet]
Calls = list[tuple[int, list[int]]]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Seed and rows of every training."""
    calls: Calls = []

    def noted(data: ClipSet, rows: Sequence[int], recipe: Recipe, *, seed: int) -> JointModel:
        calls.append((seed, list(rows)))
        return fit(data, rows, recipe, seed=seed)

    monkeypatch.setattr(crossvalidation, "fit", noted)
    return calls


def same(a: FoldResults, b: FoldResults) -> bool:
    pairs = [(x[kind], y[kind]) for x, y in ((a.clips, b.clips), (a.frames, b.frames)) for kind in TEXT_KINDS]
    return all(
        np.array_equal(getattr(p, name), getattr(q, name))
        for p, q in pairs
        for name in ("emotion", "category", "cluster")
    )


def test_every_fold_is_predicted_by_models_of_the_others(clip_set: Maker, tmp_path: Path, fits: Calls) -> None:
    data = clip_set(20)
    cross_validate(data, RECIPE, [0, 1], tmp_path)
    assert [seed for seed, _ in fits] == [0] * 5 + [1] * 5
    for i, (_, rows) in enumerate(fits):
        left_out = set(range(20)) - set(rows)
        assert {data.clips[row].fold for row in left_out} == {i % 5}
        assert not {data.clips[row].artist for row in rows} & {data.clips[row].artist for row in left_out}


def test_an_interrupted_run_goes_on_where_it_stopped(
    clip_set: Maker, tmp_path: Path, fits: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clip_set(20)
    whole = cross_validate(data, RECIPE, [0], tmp_path / "whole")
    fits.clear()

    noted = crossvalidation.fit

    def interrupted(*args: object, **kwargs: object) -> JointModel:
        if len(fits) == 3:
            raise KeyboardInterrupt
        return noted(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(crossvalidation, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(data, RECIPE, [0], tmp_path / "cut")
    resumed = cross_validate(data, RECIPE, [0], tmp_path / "cut")
    assert len(fits) == 5
    assert same(resumed, whole)
    assert same(cross_validate(data, RECIPE, [0], tmp_path / "cut"), whole)
    assert len(fits) == 5


def test_another_recipe_is_computed_anew(clip_set: Maker, tmp_path: Path, fits: Calls) -> None:
    data = clip_set(20)
    cross_validate(data, RECIPE, [0], tmp_path)
    cross_validate(data, replace(RECIPE, learning_rate=2e-3), [0], tmp_path)
    assert len(fits) == 10


@pytest.mark.parametrize("what", ["tokens", "labels", "folds", "words"])
def test_other_data_are_computed_anew(what: str, clip_set: Maker, tmp_path: Path, fits: Calls) -> None:
    cross_validate(clip_set(20), RECIPE, [0], tmp_path)
    changed = clip_set(20)
    if what == "tokens":
        changed.tokens += 1
    elif what == "labels":
        changed.labels.category[3] = 0
    elif what == "folds":
        changed.clips = tuple(replace(clip, fold=(clip.fold + 1) % 5) for clip in changed.clips)
    else:
        changed._lines["printed"][0] = changed._lines["printed"][1]
    cross_validate(changed, RECIPE, [0], tmp_path)
    assert len(fits) == 10


def test_seeds_are_averaged(clip_set: Maker, tmp_path: Path) -> None:
    data = clip_set(20)
    zero, one, both = (cross_validate(data, RECIPE, seeds, tmp_path).clips["none"] for seeds in ([0], [1], [0, 1]))
    np.testing.assert_allclose(both.category, (zero.category + one.category) / 2)


def test_clips_without_words_are_judged_by_audio_alone(clip_set: Maker, tmp_path: Path) -> None:
    data = clip_set(20)
    clips = cross_validate(data, RECIPE, [0], tmp_path).clips
    for kind in ("recognised", "printed"):
        with_words = np.array([data.has_lines(row, kind) for row in range(20)])
        moved = (clips[kind].category != clips["none"].category).any(1)
        assert np.array_equal(moved, with_words)


def test_a_corpus_of_fewer_folds_is_measured_on_those_it_has(clip_set: Maker, tmp_path: Path, fits: Calls) -> None:
    data = clip_set(12)
    data.clips = tuple(replace(clip, fold=clip.fold % 2) for clip in data.clips)
    results = cross_validate(data, RECIPE, [0], tmp_path)
    assert len(fits) == 2
    assert (results.clips["none"].category != 0).all()


def test_the_table_holds_every_figure_with_its_interval(clip_set: Maker, tmp_path: Path) -> None:
    data = clip_set(40)
    table = fold_table(data, cross_validate(data, replace(RECIPE, epochs=4), [0], tmp_path))
    assert list(table.figures) == list(COLUMNS)
    for figures in table.figures.values():
        assert list(figures) == list(FIGURES)
        assert all(-1 <= f.low <= f.high <= 1 for f in figures.values())
        assert figures["quadrants_f1"].n == 40
        assert figures["clusters_lyrics_f1"].n == 10
    assert table.to_dict()["none"]["arousal_r"]["n"] == 40
    assert table.rendered().row_count == len(FIGURES)


def without(data: ClipSet, what: str) -> ClipSet:
    if what == "quadrants":  # and with them valence and arousal, which such clips alone teach
        data.labels.category[:] = -1
        data.labels.emotion[:] = float("nan")
    elif what == "ratings":
        data.labels.emotion[:] = float("nan")
    elif what == "clusters":
        data.labels.cluster[:] = -1
    else:
        for lines in data._lines.values():
            lines[:] = [lines[1]] * len(lines)  # clip 1 has none
    return data


@pytest.mark.parametrize("what", ["quadrants", "ratings", "clusters", "words"])
def test_a_corpus_that_lacks_a_kind_of_label_has_a_table_all_the_same(
    what: str, clip_set: Maker, tmp_path: Path
) -> None:
    data = without(clip_set(20), what)
    table = fold_table(data, cross_validate(data, RECIPE, [0], tmp_path))
    empty = {name for name, figure in table.figures["none"].items() if figure.n == 0}
    assert (
        empty
        == {
            "quadrants": {"quadrants_f1", "frame_quadrants_f1", "valence_ccc", "valence_r", "arousal_ccc", "arousal_r"},
            "ratings": {"valence_ccc", "valence_r", "arousal_ccc", "arousal_r"},
            "clusters": {"clusters_f1", "clusters_lyrics_f1"},
            "words": {"clusters_lyrics_f1"},
        }[what]
    )
    assert all(str(table.figures["none"][name]) == "-" for name in empty)
    assert table.rendered().row_count == len(FIGURES)
