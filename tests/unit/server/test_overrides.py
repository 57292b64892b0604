"""An operator's hand: what everybody sees is what it holds, until it lets go."""

from dataclasses import replace

import pytest

from stream_mer.server.hub import Override, quadrant
from stream_mer.types import CategoryChange, EmotionFrame, OverrideValues
from tools.examples import CHANGE, FRAME, LINE, STATUS

SAD = OverrideValues(valence=-0.5, arousal=-0.25)


def frame(index: int, *, valence: float = 0.5, category: str = "happy") -> EmotionFrame:
    return replace(FRAME, index=index, t1=0.5 * (index + 1), valence=valence, category=category)


@pytest.fixture
def hold():
    return Override()


def test_without_a_hand_everything_passes_as_it_is(hold):
    for event in (FRAME, LINE, CHANGE, STATUS):
        assert hold.apply(event, now=0.0) == [event]


def test_freeze_keeps_the_values_while_time_and_estimates_go_on(hold):
    hold.apply(frame(0, valence=0.1), now=0.0)
    (at_once,) = hold.control("freeze", None, now=0.0)
    assert (at_once.index, at_once.valence, at_once.hold) == (0, 0.1, "freeze")
    (later,) = hold.apply(frame(7, valence=0.9, category="angry"), now=1.0)
    assert (later.index, later.t1, later.valence, later.category) == (7, 4.0, 0.1, "happy")
    assert later.raw == FRAME.raw
    assert hold.apply(CHANGE, now=1.0) == [], "no cue for what nobody sees"
    assert hold.apply(LINE, now=1.0) == [LINE]


def test_letting_go_shows_what_is_live_and_cues_the_change(hold):
    hold.apply(frame(0), now=0.0)
    hold.control("freeze", None, now=0.0)
    hold.apply(frame(1, category="angry", valence=-0.4), now=0.5)
    live, change = hold.control("resume", None, now=0.6)
    assert (live.valence, live.hold) == (-0.4, None)
    assert (change.before, change.after, change.t, change.dwell_s) == ("happy", "angry", 1.0, 0.5)
    assert hold.apply(frame(2, category="angry"), now=1.0) == [frame(2, category="angry")]


def test_override_replaces_the_values_and_their_category(hold):
    hold.apply(frame(0), now=0.0)
    shown, change = hold.control("override", SAD, now=0.0)
    assert (shown.valence, shown.arousal, shown.category, shown.confidence) == (-0.5, -0.25, "sad", 1.0)
    assert shown.probs == {"happy": 0.0, "angry": 0.0, "sad": 1.0, "relaxed": 0.0}
    assert (change.before, change.after) == ("happy", "sad")
    (next_one,) = hold.apply(frame(1), now=0.5)
    assert (next_one.valence, next_one.hold, next_one.hold_left_s) == (-0.5, "override", None)


def test_an_override_ends_when_its_time_is_over(hold):
    hold.apply(frame(0), now=10.0)
    hold.control("override", OverrideValues(valence=-0.5, arousal=-0.25, ttl_s=2.0), now=10.0)
    assert hold.apply(frame(1), now=11.5)[0].hold_left_s == 0.5
    assert hold.apply(frame(1), now=11.9)[0].hold == "override"
    live, change = hold.apply(frame(2), now=12.0)
    assert (live.hold, live.hold_left_s) == (None, None)
    assert (change.before, change.after) == ("sad", "happy")


def test_an_override_ends_without_a_frame_too(hold):
    assert hold.expire(now=0.0) == []
    hold.apply(frame(0), now=10.0)
    hold.control("override", OverrideValues(valence=-0.5, arousal=-0.25, ttl_s=2.0), now=10.0)
    assert hold.expire(now=11.9) == []
    live, change = hold.expire(now=12.0)
    assert (live.index, live.hold, live.category, change.after) == (0, None, "happy", "happy")
    assert hold.expire(now=12.1) == []
    hold.control("freeze", None, now=13.0)
    assert hold.expire(now=1e9) == [], "a freeze has no end of its own"


def test_an_override_of_a_stream_without_a_single_frame_ends(hold):
    hold.control("override", OverrideValues(valence=-0.5, arousal=-0.25, ttl_s=2.0), now=10.0)
    assert hold.expire(now=12.0) == []
    assert hold.apply(frame(0), now=12.1) == [frame(0)]


def test_a_live_change_in_the_very_moment_of_letting_go_is_cued_once(hold):
    hold.apply(frame(0), now=0.0)
    hold.control("override", OverrideValues(valence=-0.5, arousal=-0.25, ttl_s=1.0), now=0.0)
    angry = frame(2, category="angry")
    _, change = hold.apply(angry, now=1.0)
    assert (change.before, change.after) == ("sad", "angry")
    assert hold.apply(CategoryChange(t=angry.t1, before="happy", after="angry", dwell_s=1.0), now=1.0) == []


def silence(index: int) -> EmotionFrame:
    return frame(index, valence=0.0, category="unknown")


def cues(events) -> list[tuple[str, str]]:
    return [(event.before, event.after) for event in events if isinstance(event, CategoryChange)]


def test_letting_go_in_silence_is_no_cue_and_the_category_after_it_is_one(hold):
    hold.apply(frame(0), now=0.0)
    hold.control("override", SAD, now=0.0)
    hold.apply(silence(1), now=0.5)
    assert cues(hold.control("resume", None, now=0.6)) == []
    assert cues(hold.apply(silence(2), now=1.0)) == []
    # The pipeline has no cue: its own last category was happy, too. Everybody saw sad.
    assert cues(hold.apply(frame(3), now=1.5)) == [("sad", "happy")]
    assert cues(hold.apply(frame(4), now=2.0)) == []


def test_a_cue_after_a_hand_leads_from_what_everybody_saw(hold):
    hold.apply(frame(0), now=0.0)
    hold.control("override", SAD, now=0.0)
    hold.control("resume", None, now=0.1)
    hold.control("override", SAD, now=0.2)
    hold.apply(silence(1), now=0.5)
    hold.control("resume", None, now=0.6)
    angry = frame(2, category="angry")
    assert hold.apply(angry, now=1.0) == [angry]
    assert cues(hold.apply(CategoryChange(t=1.5, before="happy", after="angry", dwell_s=1.0), now=1.0)) == [
        ("sad", "angry")
    ]


def test_a_hand_laid_on_in_silence_cues_from_the_category_before_it(hold):
    hold.apply(frame(0), now=0.0)
    hold.apply(silence(1), now=0.5)
    assert cues(hold.control("override", SAD, now=0.6)) == [("happy", "sad")]


@pytest.mark.parametrize(("before", "after"), [("unknown", "happy"), ("happy", "unknown"), ("happy", "serene")])
def test_a_cue_that_names_no_category_is_not_passed_on(before, after, hold):
    """Such as a worker or a recording of another version may have."""
    hold.apply(frame(0, category="sad"), now=0.0)
    assert hold.apply(CategoryChange(t=0.5, before=before, after=after, dwell_s=0.5), now=0.5) == []


def test_freezing_an_override_keeps_the_override(hold):
    hold.apply(frame(0), now=0.0)
    hold.control("override", SAD, now=0.0)
    (still,) = hold.control("freeze", None, now=0.0)
    assert (still.valence, still.hold) == (-0.5, "freeze")


def test_blackout_says_so_and_keeps_the_values(hold):
    hold.apply(frame(0, valence=0.3), now=0.0)
    (dark,) = hold.control("blackout", None, now=0.0)
    assert (dark.valence, dark.hold) == (0.3, "blackout")


def test_a_hand_may_be_laid_on_before_there_is_anything(hold):
    assert hold.control("freeze", None, now=0.0) == []
    assert hold.apply(frame(0, valence=0.2), now=0.5)[0].valence == 0.2
    assert hold.apply(frame(1, valence=0.9), now=1.0)[0].valence == 0.2


def test_letting_go_of_nothing_publishes_nothing(hold):
    hold.apply(frame(0), now=0.0)
    assert hold.control("resume", None, now=0.0) == []


@pytest.mark.parametrize(
    ("valence", "arousal", "category"),
    [(0.5, 0.5, "happy"), (-0.5, 0.5, "angry"), (-0.5, -0.5, "sad"), (0.5, -0.5, "relaxed"), (0.0, 0.0, "happy")],
)
def test_a_category_is_the_quadrant_of_its_point(valence, arousal, category):
    assert quadrant(valence, arousal) == category


def test_it_can_freeze_at_what_is_shown_elsewhere(hold):
    hold.apply(frame(3, valence=0.9), now=0.0)
    still, change = hold.control("freeze", None, now=0.0, shown=frame(1, valence=-0.3, category="sad"))
    assert (still.index, still.valence, still.category, still.hold) == (3, -0.3, "sad", "freeze")
    assert (change.before, change.after) == ("happy", "sad")
    assert hold.shown == still
