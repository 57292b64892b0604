"""Events become messages, and those the same events again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.event_json import MessageEncoder, encode, event_of
from stream_mer.server.examples import CHANGE, FRAME, LINE, STATUS
from stream_mer.types import CATEGORIES, UNKNOWN, InputLevels, Interval, Latency

LEVELS = InputLevels(t=12.34, rms_db=-20.5, peak_db=-3.2, onset=0.75)
HELD = replace(FRAME, hold="override", hold_left_s=7.5, dropped=3, category=UNKNOWN)
BARE = replace(FRAME, raw=replace(FRAME.raw, text_age_s=None, modalities=("audio",), degraded=("late", "no_lyrics")))
EVENTS = (FRAME, HELD, BARE, LINE, replace(LINE, words=(), settled_words=0, committed=False), CHANGE, STATUS, LEVELS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_round_trip_changes_no_message(event):
    message = MessageEncoder("hall").message(event)
    assert encode(MessageEncoder("hall").message(event_of(message))) == encode(message)


numbers = st.floats(-1, 1)
times = st.floats(0, 1e6)


@given(st.tuples(numbers, numbers), st.tuples(times, times), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_no_number_drifts_however_often_it_is_recorded(point, span, probs):
    (valence, arousal), (t0, t1) = point, span
    interval = Interval(valence=(-1.0, valence), arousal=(arousal, 1.0), level=0.8)
    frame = replace(
        FRAME,
        valence=valence,
        arousal=arousal,
        t0=t0,
        t1=t1,
        raw=replace(FRAME.raw, interval=interval, valence=arousal, arousal=valence),
        probs=dict(zip(CATEGORIES, probs, strict=True)),
        latency=Latency(capture=t0, queue=t1, features=1 / 3, model=2 / 3, total=t0),
    )
    message = MessageEncoder("hall").message(frame)
    for _ in range(3):
        again = MessageEncoder("hall").message(event_of(message))
        assert again == message
        message = again
