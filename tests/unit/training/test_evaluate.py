"""What is counted is what was predicted, and each kind of clip has its own table."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, FoldResults, Predictions, cross_validate
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import COLUMNS, WORD_SCORES, FoldTable, confusion_matrices, fold_table
from stream_mer.training.fit import Recipe
from stream_mer.training.metrics import SCORES

Maker = Callable[..., ClipSet]
KINDS = tuple(condition.name for condition in STANDARD_CONDITIONS)


def perfect(data: ClipSet) -> Predictions:
    emotion, category, cluster = (x.numpy() for x in (data.labels.emotion, data.labels.category, data.labels.cluster))
    return Predictions(emotion=emotion.astype(np.float64), category=np.eye(4)[category], cluster=np.eye(5)[cluster])


def wrong(data: ClipSet) -> Predictions:
    right = perfect(data)
    return replace(right, emotion=-right.emotion, category=np.roll(right.category, 1, axis=1))


def results_of(clips: dict[str, Predictions], frames: Predictions) -> FoldResults:
    return FoldResults(clips=clips, frames=dict.fromkeys(KINDS, frames), members=dict.fromkeys(KINDS, ()), moments=())


def shown(table: FoldTable) -> str:
    file = io.StringIO()
    Console(file=file, width=200).print(*table.rendered())
    return file.getvalue()


def test_the_columns_are_the_conditions_that_are_measured_under() -> None:
    assert tuple(COLUMNS) == KINDS


def test_confusions_have_the_truth_in_rows_and_leave_unlabelled_clips_and_songs_out(clip_set: Maker) -> None:
    data = clip_set(20, songs=7)
    predictions = perfect(data)
    predictions.category[:] = np.eye(4)[2]  # all of it is sad
    data.labels.category[0] = -1
    matrices = confusion_matrices(data, predictions)
    assert matrices["category"] == [[0, 0, 4, 0], [0, 0, 5, 0], [0, 0, 5, 0], [0, 0, 5, 0]]
    assert matrices["cluster"] == (4 * np.eye(5, dtype=int)).tolist()


def test_perfect_predictions_have_perfect_figures_and_each_kind_of_text_its_own(clip_set: Maker) -> None:
    data = clip_set(40)
    clips = {kind: wrong(data) if kind == "printed" else perfect(data) for kind in KINDS}
    figures = fold_table(data, results_of(clips, wrong(data))).figures
    good, bad = figures["none"], figures["printed"]
    for name in ("quadrants_accuracy", "quadrants_f1", "clusters_f1", "valence_ccc", "arousal_r"):
        assert good[name].value == pytest.approx(1)
    assert good["frame_quadrants_f1"].value == 0
    assert bad["quadrants_f1"].value == bad["quadrants_accuracy"].value == 0
    assert bad["arousal_r"].value == pytest.approx(-1)
    assert figures["recognised"]["quadrants_f1"].value == pytest.approx(1)


def test_songs_of_words_alone_do_not_count_among_the_clips_and_have_a_table_of_their_own(clip_set: Maker) -> None:
    data = clip_set(20, songs=8)
    data.sets[24:] = "poems"
    given = perfect(data)
    for name in ("emotion", "category", "cluster"):
        getattr(given, name)[20:24] = getattr(wrong(data), name)[20:24]
    table = fold_table(data, results_of(dict.fromkeys(KINDS, given), given))
    assert all(table.figures[kind]["quadrants_f1"].value == 1 for kind in KINDS)
    assert all(table.figures[kind]["quadrants_f1"].n == 20 for kind in KINDS)
    assert list(table.words) == ["poems", "verses"]
    for figures in table.words.values():
        assert list(figures) == list(WORD_SCORES)
        assert {figure.n for figure in figures.values()} == {4}
    assert table.words["verses"]["quadrants_accuracy"].value == 0
    assert table.words["poems"]["quadrants_accuracy"].value == 1
    text = shown(table)
    assert "Words alone" in text
    assert "poems" in text


def test_without_songs_there_is_one_table(clip_set: Maker) -> None:
    data = clip_set(20)
    table = fold_table(data, results_of(dict.fromkeys(KINDS, perfect(data)), perfect(data)))
    assert table.words == {}
    assert len(list(table.rendered())) == 1
    assert "Words alone" not in shown(table)


def test_the_table_holds_every_figure_with_its_interval(clip_set: Maker, small_recipe: Recipe, tmp_path: Path) -> None:
    data = clip_set(40, songs=8)
    table = fold_table(data, cross_validate(data, replace(small_recipe, epochs=4), 0, tmp_path))
    assert list(table.figures) == list(COLUMNS)
    for figures in table.figures.values():
        assert list(figures) == list(SCORES)
        assert all(-1 <= f.low <= f.high <= 1 for name, f in figures.items() if not name.endswith("r2"))
        assert all(f.low <= f.value <= f.high <= 1 for name, f in figures.items() if name.endswith("r2"))
        assert figures["quadrants_f1"].n == 40
        assert figures["clusters_lyrics_f1"].n == 10
    told = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert told["none"]["arousal_r"]["n"] == 40
    assert told["verses"]["valence_ccc"]["n"] == 8
    clips_table, words_table = table.rendered()
    assert (clips_table.row_count, words_table.row_count) == (len(SCORES), 1)
    text = shown(table)
    assert all(title in text for title in SCORES.values())
    assert str(table.figures["printed"]["arousal_r"]) in text


RATINGS = {f"{what}_{kind}" for what in ("valence", "arousal") for kind in ("ccc", "r2", "r")}
QUADRANTS = {"quadrants_accuracy", "quadrants_f1", "frame_quadrants_f1"}


@pytest.mark.parametrize(
    ("what", "empty"),
    [
        ("quadrants", QUADRANTS | RATINGS),  # a tag teaches valence and arousal where there is a quadrant, too
        ("ratings", RATINGS),
        ("clusters", {"clusters_f1", "clusters_lyrics_f1"}),
        ("words", {"clusters_lyrics_f1"}),
    ],
)
def test_a_corpus_without_such_labels_has_a_table_with_dashes(what: str, empty: set[str], clip_set: Maker) -> None:
    data = clip_set(20)
    given = perfect(data)
    if what == "quadrants":
        data.labels.category.fill_(-1)
    if what in ("quadrants", "ratings"):
        data.labels.emotion.fill_(float("nan"))
    if what == "clusters":
        data.labels.cluster.fill_(-1)
    if what == "words":
        data._lines = {}
    table = fold_table(data, results_of(dict.fromkeys(KINDS, given), given))
    told = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert {name for name, figure in told["none"].items() if figure["value"] is None} == empty
    assert all(str(table.figures["none"][name]) == "-" for name in empty)
    assert next(iter(table.rendered())).row_count == len(SCORES)
