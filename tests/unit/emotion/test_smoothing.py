"""Steady values follow the closed form of an exponential, and categories do not flicker."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.audio.audio_state import without_emotion
from stream_mer.config import SmoothingSettings
from stream_mer.emotion.smoothing import Smoothed, Smoother
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN, EmotionEstimate, Interval

ATTACK_S, RELEASE_S = 0.3, 1.5
PLAIN = SmoothingSettings(attack_s=ATTACK_S, release_s=RELEASE_S)
AT_ONCE = SmoothingSettings(attack_s=0, release_s=0, margin=0.1, dwell_s=2.0, min_confidence=0.4)


def estimate(valence: float = 0.0, arousal: float = 0.0, probs: tuple[float, ...] = (0.25,) * 4) -> EmotionEstimate:
    return EmotionEstimate(
        valence=valence,
        arousal=arousal,
        interval=Interval(valence=(-1.0, 1.0), arousal=(-1.0, 1.0), level=0.8),
        categories=dict(zip(CATEGORIES, probs, strict=True)),
        clusters=dict.fromkeys(CLUSTERS, 0.2),
    )


def sure_of(name: str, probability: float = 0.7, second: str = "") -> EmotionEstimate:
    """An estimate with this category likeliest; what is left goes to the second, or to all others alike."""
    rest = 1 - probability
    probs = {other: (rest if other == second else 0.0) if second else rest / 3 for other in CATEGORIES}
    return estimate(probs=tuple((probs | {name: probability}).values()))


def after_a_step(start: EmotionEstimate, goal: EmotionEstimate, *, hop_s: float, duration_s: float = 3.0) -> Smoothed:
    smoother = Smoother(PLAIN)
    smoother.feed(0.0, start)
    hops = round(duration_s / hop_s)
    return [smoother.feed(hop_s * (i + 1), goal) for i in range(hops)][-1]


@pytest.mark.parametrize("hop_s", [0.1, 0.25, 0.5, 1.5, 3.0])
@pytest.mark.parametrize(
    ("start", "goal", "time_constant_s"),
    [
        ((0.1, -0.6), (0.9, 0.8), ATTACK_S),  # valence leaves neutral, arousal rises
        ((-0.1, -0.6), (-0.9, 0.8), ATTACK_S),  # on the dark side too
        ((0.9, 0.8), (0.1, -0.6), RELEASE_S),
        ((-0.9, 0.8), (-0.1, -0.6), RELEASE_S),
    ],
)
def test_values_follow_the_exponential_whatever_the_hop(
    start: tuple[float, float], goal: tuple[float, float], time_constant_s: float, hop_s: float
) -> None:
    smoothed = after_a_step(estimate(*start), estimate(*goal), hop_s=hop_s)
    left = math.exp(-3.0 / time_constant_s)
    assert smoothed.valence == pytest.approx(goal[0] + (start[0] - goal[0]) * left, abs=1e-9)
    assert smoothed.arousal == pytest.approx(goal[1] + (start[1] - goal[1]) * left, abs=1e-9)


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 3.0])
def test_probabilities_follow_the_slower_one(hop_s: float) -> None:
    smoothed = after_a_step(sure_of("happy", 1.0), sure_of("sad", 1.0), hop_s=hop_s)
    left = math.exp(-3.0 / RELEASE_S)
    assert smoothed.probs == pytest.approx({"happy": left, "angry": 0, "sad": 1 - left, "relaxed": 0})
    assert smoothed.confidence == smoothed.probs[smoothed.category]


def test_one_time_constant_covers_63_percent() -> None:
    smoother = Smoother(PLAIN)
    smoother.feed(0.0, estimate(0.0, 0.0))
    assert smoother.feed(ATTACK_S, estimate(1.0, 1.0)).arousal == pytest.approx(0.632, abs=1e-3)


def test_the_first_estimate_is_taken_as_it_is() -> None:
    smoothed = Smoother(PLAIN).feed(12.5, estimate(-0.4, 0.3, (0.1, 0.2, 0.3, 0.4)))
    assert (smoothed.valence, smoothed.arousal, smoothed.category) == (-0.4, 0.3, "relaxed")
    assert smoothed.change is None


def test_without_time_constants_nothing_is_smoothed() -> None:
    smoother = Smoother(AT_ONCE)
    smoother.feed(0.0, estimate(1.0, 1.0))
    smoothed = smoother.feed(0.1, estimate(-0.3, -0.7, (0.1, 0.2, 0.3, 0.4)))
    assert (smoothed.valence, smoothed.arousal) == pytest.approx((-0.3, -0.7))
    assert smoothed.probs == pytest.approx({"happy": 0.1, "angry": 0.2, "sad": 0.3, "relaxed": 0.4})


shares = st.tuples(*[st.floats(0.001, 1)] * 4).map(lambda s: tuple(x / sum(s) for x in s))
estimates = st.builds(estimate, st.floats(-1, 1), st.floats(-1, 1), shares)


@given(st.lists(st.tuples(st.floats(0.1, 5.0), estimates), min_size=1, max_size=30))
def test_what_comes_out_stays_in_its_ranges_and_between_what_went_in(
    steps: list[tuple[float, EmotionEstimate]],
) -> None:
    smoother, t = Smoother(PLAIN), 0.0
    arousals: list[float] = []
    for step_s, given_estimate in steps:
        t += step_s
        arousals.append(given_estimate.arousal)
        smoothed = smoother.feed(t, given_estimate)
        assert sum(smoothed.probs.values()) == pytest.approx(1.0)
        assert all(0 <= p <= 1 for p in smoothed.probs.values())
        likeliest = max(smoothed.probs.values())
        assert smoothed.confidence == smoothed.probs.get(smoothed.category, likeliest)
        assert -1 <= smoothed.valence <= 1
        assert min(arousals) - 1e-9 <= smoothed.arousal <= max(arousals) + 1e-9
        assert smoothed.category in (*CATEGORIES, UNKNOWN)


@given(st.lists(estimates, min_size=2, max_size=60), st.floats(0.1, 2.0))
def test_no_category_lasts_less_than_the_dwell_and_changes_tell_of_every_turn(
    given_estimates: list[EmotionEstimate], hop_s: float
) -> None:
    smoother = Smoother(AT_ONCE)
    shown, since_t = smoother.feed(0.0, given_estimates[0]).category, 0.0
    named, named_since_t = shown, 0.0
    for i, given_estimate in enumerate(given_estimates[1:], start=1):
        t = i * hop_s
        smoothed = smoother.feed(t, given_estimate)
        if smoothed.category != shown:
            assert t - since_t >= AT_ONCE.dwell_s
            shown, since_t = smoothed.category, t
        if shown in {UNKNOWN, named} or named == UNKNOWN:
            assert smoothed.change is None
        else:
            change = smoothed.change
            assert change is not None
            assert (change.t, change.before, change.after) == (t, named, shown)
            assert change.dwell_s == pytest.approx(t - named_since_t)
        if shown not in {UNKNOWN, named}:
            named, named_since_t = shown, t


def categories(*steps: EmotionEstimate, hop_s: float = 1.0, settings: SmoothingSettings = AT_ONCE) -> list[str]:
    smoother = Smoother(settings)
    return [smoother.feed(i * hop_s, step).category for i, step in enumerate(steps)]


def test_a_new_category_waits_for_the_dwell() -> None:
    happy, sad = sure_of("happy"), sure_of("sad")
    assert categories(happy, sad, sad, sad) == ["happy", "happy", "sad", "sad"]
    assert categories(happy, sad, happy, happy) == ["happy"] * 4


def test_a_new_category_must_be_likelier_by_the_margin() -> None:
    close = sure_of("sad", 0.54, second="happy")  # .54 against .46
    clear = sure_of("sad", 0.56, second="happy")  # .56 against .44
    assert categories(sure_of("happy"), *[close] * 5)[-1] == "happy"
    assert categories(sure_of("happy"), *[clear] * 5)[-1] == "sad"


def test_confidence_is_that_of_the_category_shown_though_another_is_likelier() -> None:
    smoother = Smoother(AT_ONCE)
    smoother.feed(0.0, sure_of("happy"))
    held = smoother.feed(0.5, sure_of("sad", 0.7, second="happy"))  # within the dwell
    assert (held.category, held.confidence) == ("happy", pytest.approx(0.3))
    unsure = Smoother(AT_ONCE).feed(0.0, estimate(probs=(0.10, 0.38, 0.26, 0.26)))
    assert (unsure.category, unsure.confidence) == (UNKNOWN, 0.38)


def test_below_the_confidence_it_is_unknown_and_comes_back_only_above_it() -> None:
    low, between, high = sure_of("happy", 0.29), sure_of("happy", 0.35), sure_of("happy", 0.41)
    assert categories(low) == [UNKNOWN]
    # .35 lies in the hysteresis: neither given up nor taken up there
    assert categories(high, *[between] * 3, *[low] * 2, *[between] * 3, high) == [
        *["happy"] * 4, *[UNKNOWN] * 2, *[UNKNOWN] * 3, "happy",
    ]  # fmt: skip


def test_a_category_that_loses_to_an_unsure_one_is_unknown() -> None:
    unsure = estimate(probs=(0.10, 0.38, 0.26, 0.26))
    assert categories(sure_of("happy"), *[unsure] * 3)[-1] == UNKNOWN


# --- where nothing sounds


SILENCE = without_emotion(estimate(), "silence")


def after_music(seconds_of_silence: float, *, hop_s: float = 0.5) -> Smoothed:
    smoother = Smoother(PLAIN)
    smoother.feed(10.0, replace(sure_of("happy", 0.9), valence=0.6, arousal=-0.4))
    return [smoother.feed(10.0 + hop_s * (i + 1), SILENCE) for i in range(round(seconds_of_silence / hop_s))][-1]


@pytest.mark.parametrize("hop_s", [0.1, 0.25, 0.5, 1.5])
def test_without_sound_all_is_neutral_within_the_release_time(hop_s: float) -> None:
    smoothed = after_music(RELEASE_S, hop_s=hop_s)
    assert (smoothed.valence, smoothed.arousal) == pytest.approx((0, 0), abs=1e-9)
    assert smoothed.probs == pytest.approx(dict.fromkeys(CATEGORIES, 0.25))
    assert smoothed.category == UNKNOWN
    assert after_music(60.0, hop_s=hop_s).valence == 0


@pytest.mark.parametrize("hop_s", [0.15, 0.25, 0.75])
def test_the_way_to_neutral_is_a_straight_line_whatever_the_hop(hop_s: float) -> None:
    halfway = after_music(RELEASE_S / 2, hop_s=hop_s)
    assert (halfway.valence, halfway.arousal) == pytest.approx((0.3, -0.2))
    assert halfway.probs["happy"] == pytest.approx((0.9 + 0.25) / 2)


def test_without_a_release_time_silence_is_neutral_at_once() -> None:
    smoother = Smoother(AT_ONCE)
    smoother.feed(0.0, estimate(0.6, -0.4))
    smoothed = smoother.feed(0.5, SILENCE)
    assert (smoothed.valence, smoothed.arousal, smoothed.category) == (0, 0, UNKNOWN)


def test_a_stream_that_begins_in_silence_is_neutral_and_unknown() -> None:
    smoothed = Smoother(PLAIN).feed(0.5, SILENCE)
    assert (smoothed.valence, smoothed.arousal, smoothed.category, smoothed.change) == (0, 0, UNKNOWN, None)


def changes(*steps: EmotionEstimate) -> list[tuple[float, str, str, float]]:
    smoother = Smoother(AT_ONCE)
    found = [smoother.feed(float(i), step).change for i, step in enumerate(steps)]
    return [(change.t, change.before, change.after, change.dwell_s) for change in found if change is not None]


def test_silence_is_unknown_at_once_and_neither_its_begin_nor_its_end_is_a_change() -> None:
    happy = sure_of("happy")
    assert categories(happy, SILENCE, SILENCE, SILENCE, happy) == ["happy", *[UNKNOWN] * 3, "happy"]
    assert changes(happy, happy, *[SILENCE] * 5, happy, happy) == []
    assert changes(*[SILENCE] * 5, happy, happy, *[SILENCE] * 5) == []


def test_another_song_after_silence_is_a_change_from_the_category_before_it() -> None:
    assert changes(sure_of("happy"), *[SILENCE] * 3, sure_of("sad")) == [(4.0, "happy", "sad", 4.0)]


def test_a_passage_below_the_confidence_is_no_change_either() -> None:
    unsure = estimate()
    happy, sad = [sure_of("happy")] * 3, [sure_of("sad")] * 3
    assert changes(*happy, *[unsure] * 3, *happy) == []
    assert changes(*happy, *[unsure] * 3, *sad) == [(6.0, "happy", "sad", 6.0)]


def test_music_after_silence_starts_from_neutral() -> None:
    smoother = Smoother(PLAIN)
    for i in range(8):
        smoother.feed(0.5 * i, SILENCE)
    smoothed = smoother.feed(4.0 - 0.5 + ATTACK_S, estimate(0.8, 0.8))
    assert (smoothed.valence, smoothed.arousal) == pytest.approx((0.8 * 0.632,) * 2, abs=1e-3)
    again = [smoother.feed(4.0 + 0.5 * i, SILENCE) for i in range(1, 9)][-1]  # a second silence falls anew
    assert (again.valence, again.arousal) == (0, 0)
