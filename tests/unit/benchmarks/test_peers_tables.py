"""Every figure stands in its own cell, and every difference is to ours that heard as much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.peers_result import CLIP, FIGURES, FRAME, Judged, Way
from benchmarks.peers_tables import Scored, accuracy_table, cost_table, interval_table, score_all
from benchmarks.report import Cell, Table
from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.metrics import ccc, macro_f1, pearson

COSTS = {"ours live": [0.001, 0.004, 0.002], "theirs": [0.003, 0.004, 0.010]}
N_CLIPS = 40


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    rng = np.random.default_rng(3)
    return [
        Clip(
            clip_id=f"c{i}",
            audio=Path("none.wav"),
            artist=f"artist {i // 2}",
            fold=i % 5,
            category=i % 4 if i < 30 else None,
            cluster=i % 5 if i >= 20 else None,
            valence=float(rng.uniform(-1, 1)),
            arousal=float(rng.uniform(-1, 1)),
        )
        for i in range(N_CLIPS)
    ]


def guessed(seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    return Predictions(
        emotion=rng.uniform(-1, 1, (N_CLIPS, 2)),
        category=rng.normal(size=(N_CLIPS, 4)),
        cluster=rng.normal(size=(N_CLIPS, 5)),
    )


def perfect(clips: list[Clip]) -> Predictions:
    return Predictions(
        emotion=np.array([(clip.valence, clip.arousal) for clip in clips], dtype=np.float32).astype(np.float64),
        category=np.array([np.arange(4) == clip.category for clip in clips], dtype=np.float64),
        cluster=np.array([np.arange(5) == clip.cluster for clip in clips], dtype=np.float64),
    )


def row(table: Table, **wanted: Cell) -> Mapping[str, Cell]:
    (found,) = [row for row in table.rows if all(row[key] == value for key, value in wanted.items())]
    return found


@pytest.fixture(scope="module")
def judged(clips: list[Clip]) -> list[Judged]:
    return [
        Judged(system="ours", heard=CLIP, predictions=guessed(1), how="ours live", is_base=True),
        Judged(system="ours, words", heard=CLIP, predictions=guessed(2), how="ours live"),
        Judged(system="ours", heard=FRAME, predictions=guessed(3), how="ours live", is_base=True),
        Judged(system="peer", heard=CLIP, predictions=perfect(clips), how="theirs"),
        Judged(system="peer", heard=FRAME, predictions=guessed(3), how="theirs"),
        Judged(system="raw", heard=CLIP, predictions=guessed(4), how="theirs", told=frozenset({"valence_r"})),
    ]


@pytest.fixture(scope="module")
def scored(clips: list[Clip], judged: list[Judged]) -> list[Scored]:
    return score_all(clips, judged)


def truth_of(clips: list[Clip], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if getattr(clip, name) is None else getattr(clip, name) for clip in clips], dtype=float)


def test_accuracy_has_each_figure_over_the_clips_that_have_its_label(
    clips: list[Clip], judged: list[Judged], scored: list[Scored]
) -> None:
    table = accuracy_table(scored, COSTS)
    assert [(row["system"], row["heard"]) for row in table.rows] == [(one.system, one.heard) for one in judged]
    found, given = row(table, system="ours", heard=CLIP), guessed(1)
    category, cluster = truth_of(clips, "category"), truth_of(clips, "cluster")
    rated = ~np.isnan(category)  # single-tag ratings count only beside a quadrant
    emotion = np.stack([truth_of(clips, "valence"), truth_of(clips, "arousal")], axis=1)
    clustered = ~np.isnan(cluster)
    expected = {
        "quadrants_f1": macro_f1(category[rated].astype(int), given.category[rated].argmax(1), 4),
        "valence_r": pearson(emotion[rated, 0], given.emotion[rated, 0]),
        "valence_ccc": ccc(emotion[rated, 0], given.emotion[rated, 0]),
        "arousal_r": pearson(emotion[rated, 1], given.emotion[rated, 1]),
        "arousal_ccc": ccc(emotion[rated, 1], given.emotion[rated, 1]),
        "clusters_f1": macro_f1(cluster[clustered].astype(int), given.cluster[clustered].argmax(1), 5),
    }
    assert {name: found[name] for name in FIGURES} == pytest.approx(expected, abs=1e-6)
    peer = row(table, system="peer", heard=CLIP)
    assert {name: peer[name] for name in FIGURES} == pytest.approx(dict.fromkeys(FIGURES, 1.0), abs=1e-6)


def test_accuracy_stands_beside_the_median_cost_of_hearing_so(scored: list[Scored]) -> None:
    table = accuracy_table(scored, COSTS)
    assert {(one["system"], one["cpu_ms"]) for one in table.rows} == {
        ("ours", 2.0),
        ("ours, words", 2.0),
        ("peer", 4.0),
        ("raw", 4.0),
    }


def test_what_cannot_be_told_is_empty(scored: list[Scored]) -> None:
    raw = row(accuracy_table(scored, COSTS), system="raw")
    assert [name for name in FIGURES if raw[name] is not None] == ["valence_r"]
    assert [row["figure"] for row in interval_table(scored).rows if row["system"] == "raw"] == ["V r"]


def test_a_corpus_without_clusters_has_no_such_figure(clips: list[Clip]) -> None:
    nothing = Predictions(emotion=np.zeros((20, 2)), category=np.zeros((20, 4)), cluster=np.zeros((20, 5)))
    peer = Judged(system="peer", heard=CLIP, predictions=nothing, how="theirs")
    scored = score_all(clips[:20], [peer])
    assert row(accuracy_table(scored, COSTS), system="peer")["clusters_f1"] is None
    assert {row["figure"] for row in interval_table(scored).rows} == set(FIGURES.values()) - {"clusters F1"}


def test_differences_are_to_ours_that_heard_as_much(scored: list[Scored]) -> None:
    table, accuracy = interval_table(scored), accuracy_table(scored, COSTS)
    for one in table.rows:
        (name,) = [name for name, title in FIGURES.items() if title == one["figure"]]
        own = row(accuracy, system=one["system"], heard=one["heard"])[name]
        base = row(accuracy, system="ours", heard=one["heard"])[name]
        assert one["value"] == own
        assert one["low"] <= one["value"] <= one["high"]  # type: ignore[operator]
        if one["system"] == "ours":
            assert one["minus_ours_value"] is one["minus_ours_low"] is one["minus_ours_high"] is None
        else:
            assert one["minus_ours_value"] == pytest.approx(own - base)  # type: ignore[operator]
            assert one["minus_ours_low"] <= one["minus_ours_value"] <= one["minus_ours_high"]  # type: ignore[operator]


def test_the_same_predictions_differ_by_nothing_because_clips_are_paired(scored: list[Scored]) -> None:
    rows = [row for row in interval_table(scored).rows if row["system"] == "peer"]
    same = [one for one in rows if one["heard"] == FRAME]
    assert len(same) == len(FIGURES)
    for one in same:
        assert one["minus_ours_low"] == one["minus_ours_value"] == one["minus_ours_high"] == 0
        assert one["low"] < one["high"]  # type: ignore[operator]
    assert {one["clips"] for one in same} == {30, 20}


def test_without_ours_there_are_figures_but_no_differences(clips: list[Clip], judged: list[Judged]) -> None:
    rows = interval_table(score_all(clips, judged[3:])).rows
    assert len(rows) == 2 * len(FIGURES) + 1
    assert {one["minus_ours_value"] for one in rows} == {None}


def test_cost_ratios_are_taken_within_a_run() -> None:
    ways = [Way(how="ours live", cpu_s=float, is_base=True), Way(how="theirs", cpu_s=float)]
    table = cost_table(ways, COSTS)
    assert row(table, how="theirs") == {
        "how": "theirs",
        "cpu_ms": 4.0,
        "cpu_min_ms": 3.0,
        "cpu_max_ms": 10.0,
        "over_ours": 3.0,  # of 3, 1 and 5; the ratio of the medians is 2
    }
    assert row(table, how="ours live")["over_ours"] == 1.0
    assert row(cost_table(ways[1:], COSTS), how="theirs")["over_ours"] is None
