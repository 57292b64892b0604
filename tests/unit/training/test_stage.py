"""The folds heard under troubles of the sound: only what is heard changes, never what was learnt."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tolerance import LAYER

from stream_mer.emotion.joint import JointModelConfig
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training.crossvalidation import AUDIO_ONLY, Condition, cross_validate
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import AS_RECORDED, StageReport, stage_conditions, stage_report
from stream_mer.training.fit import Recipe

Maker = Callable[..., ClipSet]
SMALL = Recipe(
    epochs=6,
    batch_size=16,
    model=JointModelConfig(
        audio_features=1, text_features=LINE_FEATURES, members=1, width=16, heads=2, input_dropout=0
    ),
)


def measured(data: ClipSet, recipe: Recipe, cache: Path) -> StageReport:
    results = cross_validate(data, recipe, 0, cache, conditions=(AUDIO_ONLY, *stage_conditions(data)))
    return stage_report(data, results)


def test_a_trouble_that_swaps_the_sounds_is_told_as_what_it_costs(clip_set: Maker, tmp_path: Path) -> None:
    report = measured(clip_set(80, troubles=("swapped",)), replace(SMALL, epochs=12, learning_rate=1e-2), tmp_path)
    assert list(report.sounds) == [AS_RECORDED, "swapped"]
    recorded, swapped = (report.sounds[sound]["quadrants_f1"] for sound in report.sounds)
    assert recorded is not None
    assert swapped is not None
    assert recorded.figure.value > 0.8
    assert swapped.figure.value < 0.3  # the sound of the next quadrant is taken for the next quadrant
    assert recorded.difference.value == 0.0
    assert swapped.difference.value == pytest.approx(swapped.figure.value - recorded.figure.value)


def test_a_trouble_changes_what_is_heard_and_nothing_else(clip_set: Maker, tmp_path: Path) -> None:
    data = clip_set(40, troubles=("swapped",))
    alone = cross_validate(data, SMALL, 0, tmp_path, conditions=(AUDIO_ONLY,))
    both = cross_validate(
        data, SMALL, 0, tmp_path, conditions=(Condition(name="swapped", text="none", sound="swapped"), AUDIO_ONLY)
    )
    np.testing.assert_allclose(alone.clips["none"].emotion, both.clips["none"].emotion, rtol=0, atol=LAYER)
    assert not np.allclose(both.clips["swapped"].emotion, both.clips["none"].emotion)


def test_the_report_reads_as_a_table_and_as_json(clip_set: Maker, tmp_path: Path) -> None:
    report = measured(clip_set(40, troubles=("swapped",)), SMALL, tmp_path)
    text = io.StringIO()
    Console(width=200, file=text).print(*report.rendered())
    row = next(line for line in text.getvalue().splitlines() if "swapped" in line)
    cell = report.sounds["swapped"]["valence_ccc"]
    assert cell is not None
    assert f"{cell.figure.value:.3f} ({cell.difference.value:+.3f}" in row
    assert json.loads(json.dumps(report.to_dict()))["sounds"]["swapped"]["valence_ccc"]["figure"]["n"] == 40
