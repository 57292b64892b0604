"""Events become messages with every field in its place, and messages become the same events again."""

import json
from dataclasses import asdict, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.event_json import EventMessage, Message, MessageEncoder, encode, event_of, summary_message
from stream_mer.types import CATEGORIES, UNKNOWN, InputLevels, Interval, Latency
from tools.examples import CHANGE, FRAME, LINE, STATUS, SUMMARY, examples

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


def as_json(event):
    return json.loads(encode(MessageEncoder("hall").message(event)))


def test_emotion_carries_every_field():
    frame = replace(
        FRAME, hold="override", hold_left_s=7.5, dropped=3, raw=replace(FRAME.raw, degraded=("no_lyrics", "late"))
    )
    assert as_json(frame) == {
        "type": "emotion",
        "stream": "hall",
        "seq": 0,
        "index": 84,
        "t0": 32.5,
        "t1": 42.5,
        "valence": 0.4183,
        "arousal": 0.2957,
        "raw": {"valence": 0.4561, "arousal": 0.3312},
        "interval": {"valence": [0.1042, 0.7324], "arousal": [0.0511, 0.5403], "level": 0.8},
        "category": {
            "top": "happy",
            "probs": {"happy": 0.6127, "angry": 0.1205, "sad": 0.0901, "relaxed": 0.1767},
        },
        "clusters": {"C1": 0.31, "C2": 0.42, "C3": 0.12, "C4": 0.09, "C5": 0.06},
        "confidence": 0.6127,
        "modalities": ["audio", "text"],
        "text_age_s": 3.24,
        "degraded": ["no_lyrics", "late"],
        "audio_state": {"state": "music", "prob": 0.9871},
        "held": True,
        "hold": "override",
        "hold_left_s": 7.5,
        "latency_ms": {"capture": 20.1, "queue": 0.4, "features": 5.12, "model": 1.87, "total": 28.3},
        "dropped": 3,
    }


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (
            replace(LINE, words=LINE.words[:1]),
            {
                "type": "lyrics",
                "segment": 7,
                "revision": 2,
                "t0": 36.9,
                "t1": 39.26,
                "text": "and the morning comes again",
                "committed": True,
                "language": "en",
                "words": [{"t0": 36.9, "t1": 37.18, "text": "and"}],
                "settled_words": 5,
                "masked": None,
            },
        ),
        (CHANGE, {"type": "change", "t": 41.0, "from": "relaxed", "to": "happy", "dwell_s": 18.5}),
        (
            replace(STATUS, lost_samples=160),
            {
                "type": "status",
                "source": "live",
                "device": "USB Audio CODEC",
                "lyrics": "ok",
                "lag_s": 2.8,
                "lost_samples": 160,
                "clipping": False,
                "peak_db": -4.1,
                "rms_db": -17.6,
                "title": "Jóga",
                "artist": "Björk",
            },
        ),
        (LEVELS, {"type": "levels", "t": 12.34, "rms_db": -20.5, "peak_db": -3.2, "onset": 0.75}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_other_events_carry_every_field(event, fields):
    assert as_json(event) == {"stream": "hall", "seq": 0, **fields}


def test_seq_counts_each_kind_on_its_own():
    encoder = MessageEncoder("hall")
    events = [FRAME, LINE, FRAME, STATUS, FRAME, LINE, CHANGE]
    assert [encoder.message(event).seq for event in events] == [0, 0, 1, 0, 2, 1, 0]


def test_numbers_are_rounded_to_four_decimals_and_zero_has_no_sign():
    message = MessageEncoder("hall").message(replace(FRAME, valence=0.123456, arousal=-0.00001))
    assert message.valence == 0.1235
    assert b'"arousal":0.0,' in encode(message)


def test_numbers_of_numpy_are_plain_numbers_on_the_wire():
    raw = replace(
        FRAME.raw,
        valence=np.float32(0.25),
        interval=Interval(
            valence=(np.float32(0.0), np.float32(0.5)), arousal=(np.float64(0), np.float64(1)), level=0.9
        ),
        categories={name: np.float32(0.25) for name in FRAME.raw.categories},
    )
    probs = {name: np.float32(value) for name, value in FRAME.probs.items()}
    message = MessageEncoder("hall").message(replace(FRAME, raw=raw, probs=probs, confidence=np.float32(0.6127)))
    assert msgspec.json.decode(encode(message), type=EventMessage) == message
    assert message.raw.valence == 0.25
    assert message.category.probs.happy == 0.6127


def test_summary_is_one_line_of_the_file():
    message = summary_message("a.mp3", **asdict(replace(SUMMARY, duration_s=61.23456, lyrics="one\ntwo")))
    line = encode(message)
    assert b"\n" not in line
    assert json.loads(line) == {
        "type": "summary",
        "stream": "a.mp3",
        "duration_s": 61.2346,
        "valence": 0.3811,
        "arousal": 0.2204,
        "category": {"top": "happy", "probs": dict(FRAME.probs)},
        "clusters": dict(FRAME.raw.clusters),
        "lyrics": "one\ntwo",
    }


def test_every_kind_has_an_example_that_is_what_it_says():
    for kind, message in examples().items():
        assert isinstance(message, Message)
        assert json.loads(encode(message))["type"] == kind
