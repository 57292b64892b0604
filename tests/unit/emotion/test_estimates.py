"""From outputs to estimates: category and point agree as far as the link asks, intervals narrow as more is heard."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stream_mer.emotion.checkpoint import Calibration, CategoryLink, PredictionError
from stream_mer.emotion.estimates import WARM_AFTER_S, WARMING_UP, TextContext, estimate, linked
from stream_mer.types import CATEGORIES, NO_LYRICS, EmotionEstimate, EncodedLine, LyricState

ERRORS = (
    PredictionError(heard_s=1.0, valence=0.6, arousal=0.5),
    PredictionError(heard_s=5.0, valence=0.4, arousal=0.2),
    PredictionError(heard_s=15.0, valence=0.3, arousal=0.1),
)
CALIBRATION = Calibration(errors=ERRORS)
OUTPUTS = np.array([0.1, -0.2, *np.linspace(-1, 1, 4), *np.linspace(1, -1, 5)], np.float32)

POINTS = {"happy": (0.7, 0.6), "angry": (-0.7, 0.6), "sad": (-0.7, -0.6), "relaxed": (0.7, -0.6)}
"""One in the quadrant of each category."""


def judged(
    calibration: Calibration = CALIBRATION,
    *,
    outputs: np.ndarray = OUTPUTS,
    heard_s: float = 60.0,
    words: TextContext | None = None,
    words_alone: bool = False,
    lyrics: LyricState = NO_LYRICS,
) -> EmotionEstimate:
    return estimate(
        outputs,
        words or TextContext(),
        lyrics,
        calibration,
        heard_s=heard_s,
        words_alone=words_alone,
        clock=(1.0, 2.0),
    )


# --- category and point


@pytest.mark.parametrize("probabilities", [(0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.1, 0.1), (0.0, 1.0, 0.0, 0.0)])
def test_a_link_of_weight_0_changes_nothing(probabilities: tuple[float, ...]) -> None:
    assert linked(probabilities, 0.9, 0.9, CategoryLink(weight=0.0)) == list(probabilities)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_link_moves_probability_to_the_quadrant_of_the_point(category: str) -> None:
    before = [0.1, 0.2, 0.3, 0.4]
    at = CATEGORIES.index(category)
    found = [linked(before, *POINTS[category], CategoryLink(weight=weight)) for weight in (0.0, 0.1, 0.5, 2.0)]
    of_quadrant = [probabilities[at] for probabilities in found]
    assert of_quadrant == sorted(of_quadrant)
    assert of_quadrant[0] < of_quadrant[1] < of_quadrant[3]
    assert of_quadrant[3] == pytest.approx(1, abs=0.02)
    for probabilities in found:
        assert sum(probabilities) == pytest.approx(1)
        assert all(0 <= probability <= 1 for probability in probabilities)


def test_a_link_weighs_each_category_by_the_chance_that_the_point_lies_there() -> None:
    link = CategoryLink(weight=1.5, valence_sd=0.2, arousal_sd=0.4)
    pleasant, lively = (0.5 * (1 + math.erf(z / math.sqrt(2))) for z in (0.1 / 0.2, -0.2 / 0.4))
    quadrants = [pleasant * lively, (1 - pleasant) * lively, (1 - pleasant) * (1 - lively), pleasant * (1 - lively)]
    assert sum(quadrants) == pytest.approx(1)
    weighed = [p * q**1.5 for p, q in zip([0.1, 0.2, 0.3, 0.4], quadrants, strict=True)]
    expected = [p / sum(weighed) for p in weighed]
    assert linked([0.1, 0.2, 0.3, 0.4], 0.1, -0.2, link) == pytest.approx(expected)


@pytest.mark.parametrize("point", [(1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)])
def test_the_surest_point_under_the_strongest_link_gives_probabilities(point: tuple[float, float]) -> None:
    link = CategoryLink(weight=10.0, valence_sd=0.01, arousal_sd=0.01)
    found = linked([1.0, 0.0, 0.0, 0.0], *point, link)
    assert found == pytest.approx([1, 0, 0, 0])


def test_an_estimate_is_linked_by_its_own_point_and_one_of_words_alone_is_not() -> None:
    link = CategoryLink(weight=1.0)
    calibration = replace(CALIBRATION, category_link=link)
    free, held = judged(), judged(calibration)
    expected = linked([*free.categories.values()], free.valence, free.arousal, link)
    assert [*held.categories.values()] == pytest.approx(expected)
    assert [*held.categories.values()] != pytest.approx([*free.categories.values()], abs=1e-2)
    assert (held.valence, held.arousal, held.clusters) == (free.valence, free.arousal, free.clusters)
    said = TextContext(gate=0.5, age_s=1.0)
    alone = judged(calibration, words=said, words_alone=True)
    assert alone.categories == judged(words=said, words_alone=True).categories == free.categories


# --- intervals, and warming up


@pytest.mark.parametrize(
    ("heard_s", "valence", "arousal"),
    [(0.0, 0.6, 0.5), (1.0, 0.6, 0.5), (2.0, 0.55, 0.425), (5.0, 0.4, 0.2), (10.0, 0.35, 0.15), (1e5, 0.3, 0.1)],
)
def test_half_widths_are_interpolated_over_what_was_heard(heard_s: float, valence: float, arousal: float) -> None:
    assert CALIBRATION.half_widths(heard_s) == pytest.approx((valence, arousal))
    found = judged(heard_s=heard_s)
    assert found.interval.valence == pytest.approx((found.valence - valence, found.valence + valence))
    assert found.interval.arousal == pytest.approx((found.arousal - arousal, found.arousal + arousal))
    assert found.interval.level == CALIBRATION.level


def test_an_interval_stays_in_the_range() -> None:
    outputs = OUTPUTS.copy()
    outputs[:2] = 0.9, -0.95
    found = judged(outputs=outputs, heard_s=0.0)
    assert found.interval.valence == pytest.approx((0.3, 1.0))
    assert found.interval.arousal == pytest.approx((-1.0, -0.45))


@pytest.mark.parametrize(("heard_s", "cold"), [(0.0, True), (WARM_AFTER_S - 0.01, True), (WARM_AFTER_S, False)])
def test_a_stream_that_has_heard_little_is_said_to_warm_up(heard_s: float, *, cold: bool) -> None:
    missing = LyricState(health="unavailable", degraded=("lyrics_unavailable",))
    assert judged(heard_s=heard_s).degraded == (WARMING_UP,) * cold
    assert judged(heard_s=heard_s, lyrics=missing).degraded == ("lyrics_unavailable", *(WARMING_UP,) * cold)


def test_words_alone_need_no_warming_up() -> None:
    said = TextContext(gate=0.5, age_s=1.0)
    assert judged(heard_s=0.0, words=said, words_alone=True).degraded == ()


# --- words


def test_words_are_their_weighted_mean_and_move_as_far_as_they_are_worth() -> None:
    lines = [
        EncodedLine(t1=t1, vector=np.full(3, value, np.float32), reliability=reliability, n_words=3)
        for t1, value, reliability in ((0.0, 1.0, 1.0), (10.0, 4.0, 0.5), (12.0, np.nan, 0.0))
    ]
    found = TextContext.from_lines(LyricState(lines=tuple(lines), health="ok"), 10.0, half_life_s=10.0, half_lines=2.0)
    assert found.lines == tuple(lines[:2])
    assert found.mean() == pytest.approx(np.full(3, 2.5))  # weights .5 and .5: the first one has aged by a half-life
    assert (found.gate, found.age_s) == (pytest.approx(1 / 3), 0.0)


@pytest.mark.parametrize("reliability", [None, 0.0], ids=["no lines", "lines of weight 0"])
def test_there_are_no_words_where_no_line_counts(reliability: float | None) -> None:
    lines = () if reliability is None else (EncodedLine(t1=1.0, vector=np.ones(3), reliability=0.0, n_words=3),)
    found = TextContext.from_lines(LyricState(lines=lines, health="ok"), 2.0, half_life_s=10.0, half_lines=2.0)
    assert (found.lines, found.gate, found.age_s) == ((), 0.0, None)
