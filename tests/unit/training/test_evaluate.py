"""What is counted is what was predicted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stream_mer.training.crossvalidation import TEXT_KINDS, FoldResults, Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.evaluate import confusion_matrices, fold_table

Maker = Callable[..., ClipSet]


def perfect(data: ClipSet) -> Predictions:
    emotion, category, cluster = (label.numpy() for label in data.labels)
    return Predictions(emotion=emotion.astype(np.float64), category=np.eye(4)[category], cluster=np.eye(5)[cluster])


def test_confusions_have_the_truth_in_rows_and_leave_unlabelled_clips_out(clip_set: Maker) -> None:
    data = clip_set(20)
    predictions = perfect(data)
    predictions.category[:] = np.eye(4)[2]  # all of it is sad
    data.labels.category[0] = -1
    matrices = confusion_matrices(data, predictions)
    assert matrices["category"] == [[0, 0, 4, 0], [0, 0, 5, 0], [0, 0, 5, 0], [0, 0, 5, 0]]
    assert matrices["cluster"] == (4 * np.eye(5, dtype=int)).tolist()


def test_perfect_predictions_have_perfect_figures_and_each_kind_of_text_its_own(clip_set: Maker) -> None:
    data = clip_set(40)
    wrong = perfect(data)
    wrong.category[:] = np.roll(wrong.category, 1, axis=1)
    wrong.emotion[:] = -wrong.emotion
    clips = {kind: perfect(data) if kind != "printed" else wrong for kind in TEXT_KINDS}
    figures = fold_table(data, FoldResults(clips=clips, frames=dict.fromkeys(TEXT_KINDS, wrong))).figures
    good, bad = figures["none"], figures["printed"]
    for name in ("quadrants_f1", "clusters_f1", "valence_ccc", "arousal_r"):
        assert good[name].value == pytest.approx(1)
    assert good["frame_quadrants_f1"].value == 0
    assert bad["quadrants_f1"].value == 0
    assert bad["arousal_r"].value == pytest.approx(-1)
    assert figures["recognised"]["quadrants_f1"].value == pytest.approx(1)
