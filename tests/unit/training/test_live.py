"""What a listener is shown of a clip is what a live stream publishes, and its figures are their formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tolerance import LAYER

from stream_mer.config import SmoothingSettings
from stream_mer.emotion.checkpoint import Calibration, CategoryLink, PredictionError
from stream_mer.emotion.estimates import TextContext, estimate
from stream_mer.emotion.smoothing import Smoother
from stream_mer.training.dataset import ClipSet
from stream_mer.training.live import Shown, live_report, show
from stream_mer.types import NO_LYRICS, UNKNOWN

Maker = Callable[..., ClipSet]
CALIBRATION = Calibration(
    errors=(PredictionError(heard_s=0.0, valence=0.4, arousal=0.3),),
    category_temperature=1.5,
    category_link=CategoryLink(weight=0.5),
)
QUADRANTS = ("happy", "angry", "sad", "relaxed")


def outputs(n: int, seed: int = 0) -> NDArray[np.float32]:
    """A walk through the plane and the categories."""
    steps = np.random.default_rng(seed).standard_normal((n, 11)).cumsum(0)
    steps[:, :2] = np.tanh(0.3 * steps[:, :2])
    return steps.astype(np.float32)


@pytest.mark.parametrize(
    "smoothing", [SmoothingSettings(), SmoothingSettings(attack_s=0.0, release_s=0.0, dwell_s=0.0)]
)
def test_what_is_shown_is_what_a_stream_would_publish(smoothing: SmoothingSettings) -> None:
    moments = outputs(60)
    found, smoother, changes = show(moments, CALIBRATION, smoothing), Smoother(smoothing), 0
    for i, row in enumerate(moments):
        t = 0.5 * (i + 1)
        raw = estimate(row, TextContext(), NO_LYRICS, CALIBRATION, heard_s=t, words_alone=False, clock=(0.0, 0.0))
        steady = smoother.feed(t, raw)
        assert found.values[i].tolist() == pytest.approx([steady.valence, steady.arousal])
        assert found.probs[i].tolist() == pytest.approx([steady.probs[name] for name in QUADRANTS])
        assert found.categories[i] == steady.category
        changes += steady.change is not None
    assert found.changes == changes
    assert show(moments, CALIBRATION).values.shape == (60, 2)


def shown(values: NDArray[np.float64], *, probs: tuple[float, ...] = (0.7, 0.1, 0.1, 0.1), changes: int = 0) -> Shown:
    n = len(values)
    return Shown(
        values=values, probs=np.tile(probs, (n, 1)), categories=(QUADRANTS[int(np.argmax(probs))],) * n, changes=changes
    )


def test_the_error_over_time_is_a_root_mean_over_clips(clip_set: Maker) -> None:
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


def test_still_values_have_no_correlation_and_still_listeners_do_not_count(clip_set: Maker) -> None:
    data = clip_set(16, listeners=True)
    data.dynamic[0, :20] = data.dynamic[0, 0]
    still = [shown(np.zeros((24, 2))) for _ in range(16)]
    figure = live_report(data, still).figures["dynamic valence, mean r within a clip"]
    assert (figure.value, figure.n) == (0, 3)
    data.dynamic[:, :20] = 0.1  # nobody moves anywhere
    assert live_report(data, still).figures["dynamic valence, mean r within a clip"].n == 0


def test_agreement_counts_confident_frames_in_the_quadrant_named(clip_set: Maker) -> None:
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


def test_cues_are_told_by_the_minute(clip_set: Maker) -> None:
    data = clip_set(4, songs=2)  # 12 s each
    rows = [shown(np.zeros((24, 2)), changes=changes) for changes in (1, 0, 2, 1, 9, 9)]  # songs are not heard
    figure = live_report(data, rows).figures["cues a minute"]
    assert (figure.value, figure.n) == (pytest.approx(4 / 0.8), 4)


def test_quadrants_are_told_by_the_mean_and_by_the_frame_of_10_s(clip_set: Maker) -> None:
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


def test_without_continuous_ratings_and_quadrants_there_are_no_such_figures(clip_set: Maker) -> None:
    data = clip_set(4)
    data.labels.category.fill_(-1)
    told = live_report(data, [shown(np.zeros((24, 2))) for _ in range(4)]).to_dict()
    assert told["dynamic valence, RMSE"] == {"value": None, "low": None, "high": None, "n": 0}
    assert told["quadrants macro-F1, mean of a clip's frames"]["value"] is None
    assert told["cues a minute"]["n"] == 4
