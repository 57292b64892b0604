"""The hub gives each client what it asked for, encoded once, whatever the other clients do."""

import json
import sys
import threading
from dataclasses import replace

import pytest
from helpers import FakeClock

from stream_mer.event_json import encode
from stream_mer.server import hub as hub_module
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub, Override, quadrant
from stream_mer.server.outbox import PRUNE_AT_LEAST, Outbox
from stream_mer.server.subscriptions import DEFAULT_SUBSCRIPTIONS, SubscriptionSet, grant
from stream_mer.types import CategoryChange, ControlCommand, EmotionFrame, OverrideValues
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def hub(clock):
    return Hub(clock=clock)


def outbox(capacity: int = 64) -> Outbox:
    return Outbox(capacity=capacity, wake=lambda: None)


def drain(box: Outbox) -> list[dict]:
    return [json.loads(data) for data in iter(box.take, None)]


def brief(messages: list[dict]) -> list[tuple[str, str, int]]:
    return [(message["stream"], message["type"], message["seq"]) for message in messages]


def welcome(hub: Hub, box: Outbox, subscribe=None, resume: wire.ResumePart | None = None) -> None:
    granted = grant(subscribe)
    hub.welcome(box, SubscriptionSet.of(granted), client_id="abc", role="viewer", granted=granted, resume=resume)


def test_a_client_gets_all_default_events_of_every_stream(hub):
    box = outbox()
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    one, two = hub.sink("one"), hub.sink("two")
    for event in (STATUS, FRAME, LINE, CHANGE):
        one.publish(event)
    two.publish(FRAME)
    assert brief(drain(box)) == [
        ("one", "status", 0),
        ("one", "emotion", 0),
        ("one", "lyrics", 0),
        ("one", "change", 0),
        ("two", "emotion", 0),
    ]
    assert hub.streams == ("one", "two")


def test_a_stuck_client_changes_nothing_for_the_others(hub):
    stuck, healthy = outbox(capacity=4), outbox(capacity=4)
    hub.attach(stuck, DEFAULT_SUBSCRIPTIONS)
    hub.attach(healthy, DEFAULT_SUBSCRIPTIONS)
    sink = hub.sink("main")
    got = []
    for i in range(300):
        sink.publish(replace(FRAME, index=i))
        sink.publish(replace(LINE, segment=i))
        got += drain(healthy)
    assert [message["index"] for message in got if message["type"] == "emotion"] == list(range(300))
    assert [message["segment"] for message in got if message["type"] == "lyrics"] == list(range(300))
    assert stuck.statistics().waiting == 5, "four ordered ones and the newest emotion"
    late = drain(stuck)
    assert [m["segment"] for m in late if m["type"] == "lyrics"] == [296, 297, 298, 299]
    assert [m["index"] for m in late if m["type"] == "emotion"] == [299]


def test_each_event_is_encoded_once_and_not_once_a_client(hub, monkeypatch):
    count = 0

    def counting(message):
        nonlocal count
        count += 1
        return encode(message)

    monkeypatch.setattr(hub_module, "encode", counting)
    boxes = [outbox() for _ in range(5)]
    for box in boxes:
        hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    hub.sink("main").publish(FRAME)
    assert count == 1
    assert all(len(drain(box)) == 1 for box in boxes)


def test_a_client_that_says_nothing_first_gets_what_is_known_but_no_old_cue(hub):
    sink = hub.sink("main")
    for event in (STATUS, FRAME, CHANGE, LINE, replace(FRAME, index=85)):
        sink.publish(event)
    box = outbox()
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    first = drain(box)
    assert {message["type"] for message in first} == {"status", "emotion", "lyrics"}
    assert next(message for message in first if message["type"] == "emotion")["index"] == 85


def test_ready_carries_the_snapshot_with_ages(hub, clock):
    sink = hub.sink("main")
    sink.publish(STATUS)
    clock.now += 2.5
    sink.publish(CHANGE)
    sink.publish(FRAME)
    clock.now += 0.25
    box = outbox()
    welcome(hub, box)
    (ready,) = drain(box)
    assert ready["type"] == "ready"
    assert ready["client_id"] == "abc"
    assert ready["role"] == "viewer"
    assert ready["resumed"] is None
    ages = {entry["message"]["type"]: entry["age_s"] for entry in ready["snapshot"]}
    assert ages == {"status": 2.75, "change": 0.25, "emotion": 0.25}
    assert ready["granted"] == [{"streams": [], "events": list(wire.DEFAULT_KINDS), "max_hz": None}]


def test_a_detached_client_gets_nothing_more(hub):
    box = outbox()
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    assert hub.statistics().clients == 1
    hub.detach(box)
    hub.detach(box)
    hub.sink("main").publish(FRAME)
    assert drain(box) == []
    assert hub.statistics().clients == 0


def test_it_has_frames_only_after_the_first_emotion(hub):
    sink = hub.sink("main")
    sink.publish(STATUS)
    assert not hub.has_frames
    sink.publish(FRAME)
    hub.remove("main")
    assert hub.has_frames, "also when their stream is gone"


def test_a_client_that_joins_amid_events_sees_no_gap_and_nothing_twice(hub):
    sink = hub.sink("main")
    stop = threading.Event()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def publish() -> None:
        segment = 0
        while not stop.is_set():
            sink.publish(replace(LINE, segment=segment))
            segment += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(20):
            box = outbox(capacity=100_000)
            hub.attach(box, DEFAULT_SUBSCRIPTIONS)
            segments: list[int] = []
            while len(segments) < 20:
                segments += [message["segment"] for message in drain(box)]
            hub.detach(box)
            assert segments == list(range(segments[0], segments[0] + len(segments)))
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval_s)


def test_levels_are_sent_to_those_alone_who_ask(hub):
    everything, levels = outbox(), outbox()
    hub.attach(everything, DEFAULT_SUBSCRIPTIONS)
    sink = hub.sink("main")
    assert not hub.is_wanted("main", "levels")
    hub.attach(levels, SubscriptionSet.of(grant([wire.Subscription(events=("levels",))])))
    assert hub.is_wanted("main", "levels")
    sink.publish(LEVELS)
    assert drain(everything) == []
    assert brief(drain(levels)) == [("main", "levels", 0)]
    hub.detach(levels)
    assert not hub.is_wanted("main", "levels")


def test_levels_are_due_as_often_as_the_client_that_wants_the_most_wants_them(hub):
    def wants(box, max_hz):
        hub.attach(box, SubscriptionSet.of(grant([wire.Subscription(events=("levels",), max_hz=max_hz)])))

    hub.sink("main")
    first, second = outbox(), outbox()
    assert hub.levels_interval_s("main") == 0.0
    wants(first, 10.0)
    assert hub.levels_interval_s("main") == pytest.approx(0.1)
    wants(second, 25.0)
    assert hub.levels_interval_s("main") == pytest.approx(0.04)
    hub.detach(second)
    assert hub.levels_interval_s("main") == pytest.approx(0.1)
    hub.subscribe(print, levels=True)
    assert hub.levels_interval_s("main") == 0.0
    hub.unsubscribe(print)
    wants(first, None)
    assert hub.levels_interval_s("main") == 0.0


def test_more_interest_brings_the_newest_of_what_is_new_and_of_nothing_else(hub):
    sink = hub.sink("main")
    for event in (STATUS, FRAME, CHANGE, LINE):
        sink.publish(event)
    box = outbox()
    interest = SubscriptionSet.of(grant([wire.Subscription(events=("emotion",))]))
    hub.attach(box, interest)
    drain(box)
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    assert {message["type"] for message in drain(box)} == {"status", "lyrics"}


def resume(hub: Hub, **seqs: int) -> wire.ResumePart:
    return wire.ResumePart(session=hub.session, last_seq={"main": seqs})


def test_who_comes_back_gets_all_that_was_missed_in_order(hub):
    sink = hub.sink("main")
    for i in range(4):
        sink.publish(replace(LINE, segment=i))
        sink.publish(replace(FRAME, index=i))
        sink.publish(CHANGE)
    box = outbox(capacity=1)
    welcome(hub, box, resume=resume(hub, lyrics=1, emotion=2, change=3))
    ready, *missed = drain(box)
    assert ready["resumed"] is True
    assert [(m["type"], m["seq"]) for m in missed] == [("lyrics", 2), ("lyrics", 3), ("emotion", 3)]
    assert {entry["message"]["type"] for entry in ready["snapshot"]} == {"change"}, "what follows is not told twice"


def test_what_is_no_longer_known_is_told(clock):
    hub = Hub(clock=clock, history_messages=3)
    sink = hub.sink("main")
    for i in range(9):
        sink.publish(replace(LINE, segment=i))
    box = outbox()
    welcome(hub, box, resume=resume(hub, lyrics=2))
    ready, *missed = drain(box)
    assert ready["resumed"] is False
    assert [message["segment"] for message in missed] == [6, 7, 8]


@pytest.mark.parametrize(
    ("last_seq", "resumed", "sent"),
    [
        ({"main": {"lyrics": 2}}, True, 0),
        ({"main": {"lyrics": -1}}, True, 3),
        ({"main": {"lyrics": -(10**30)}}, True, 3),
        ({"main": {"lyrics": 3}}, False, 0),
        ({"main": {"lyrics": 10**30}}, False, 0),
        ({"main": {"levels": 7, "dance": 7}, "nowhere": {"lyrics": 7}}, True, 0),
        ({}, True, 0),
    ],
    ids=["up to date", "nothing seen", "less than nothing", "the future", "far future", "of no account", "empty"],
)
def test_what_was_never_sent_cannot_have_been_seen(hub, last_seq, resumed, sent):
    sink, box = hub.sink("main"), outbox()
    for segment in range(3):
        sink.publish(replace(LINE, segment=segment))
    welcome(hub, box, resume=wire.ResumePart(session=hub.session, last_seq=last_seq))
    ready, *missed = drain(box)
    assert (ready["resumed"], len(missed)) == (resumed, sent)
    assert [entry["message"]["seq"] for entry in ready["snapshot"]] == ([] if sent else [2])


def test_another_session_cannot_be_resumed(hub):
    hub.sink("main").publish(LINE)
    box = outbox()
    welcome(hub, box, resume=wire.ResumePart(session="older", last_seq={"main": {"lyrics": -1}}))
    (ready,) = drain(box)
    assert ready["resumed"] is False
    assert len(ready["snapshot"]) == 1


def test_an_operator_holds_the_values_for_everybody_at_once(hub):
    box = outbox()
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    for stream in ("one", "two"):
        hub.sink(stream).publish(FRAME)
    drain(box)
    override = OverrideValues(valence=-0.5, arousal=-0.25)
    hub.control(ControlCommand(action="override", streams=("two", "three"), override=override))
    emotion, change = drain(box)
    assert (emotion["stream"], emotion["valence"], emotion["held"], emotion["hold"]) == ("two", -0.5, True, "override")
    assert (change["type"], change["from"], change["to"]) == ("change", "happy", "sad")
    hub.sink("one").publish(FRAME)
    assert drain(box)[0]["held"] is False


def test_statistics_count_those_that_have_gone(hub):
    box = outbox(capacity=1)
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    sink = hub.sink("main")
    for _ in range(3):
        sink.publish(FRAME)
        sink.publish(LINE)
    drain(box)
    hub.detach(box)
    counted = hub.statistics()
    assert counted.clients == 0
    assert counted.published == {("main", "emotion"): 3, ("main", "lyrics"): 3}
    assert (counted.outboxes.replaced, counted.outboxes.dropped, counted.outboxes.waiting) == (2, 2, 0)
    assert counted.outboxes.taken == 3, "the notice, a line and a frame"
    assert sum(counted.outboxes.ages) == 2


def test_a_stream_that_is_removed_is_forgotten_and_counts_on_when_it_comes_again(hub):
    removed = hub.sink("one")
    removed.publish(FRAME)
    hub.sink("two").publish(FRAME)
    hub.remove("one")
    hub.remove("one")
    removed.publish(FRAME)  # is dropped
    assert hub.streams == ("two",)
    assert hub.shown("one") is None
    assert hub.shown("two") == FRAME
    box = outbox()
    welcome(hub, box)
    (ready,) = drain(box)
    assert [entry["message"]["stream"] for entry in ready["snapshot"]] == ["two"]
    hub.sink("one").publish(FRAME)
    assert brief(drain(box)) == [("one", "emotion", 1)]


def test_nothing_is_kept_of_streams_that_come_and_go(hub, clock):
    boxes = [Outbox(capacity=64, wake=lambda: None, clock=clock) for _ in range(3)]
    for box in boxes:
        hub.attach(box, SubscriptionSet.of(grant([wire.Subscription(events=wire.EVENT_KINDS, max_hz=5)])))
    hub.sink("stays").publish(FRAME)

    def sizes() -> dict[str, int]:
        kept = {name: len(value) for name, value in vars(hub).items() if hasattr(value, "__len__")}
        kept["history"] = len(hub._history._kept)
        kept["paces"] = max(len(box._not_before) for box in boxes) // (2 * PRUNE_AT_LEAST)
        return kept

    def come_and_go(numbers: range) -> None:
        for i in numbers:
            for event in (STATUS, FRAME, LINE, CHANGE, LEVELS):
                hub.sink(f"s{i}").publish(event)
            for box in boxes:
                drain(box)
            hub.remove(f"s{i}")
            clock.now += 1.0

    come_and_go(range(hub_module.MAX_REMOVED + 64))
    after_many = sizes()
    come_and_go(range(1000, 1400))
    assert sizes() == after_many
    assert hub.streams == ("stays",)
    assert set(hub.statistics().published) == {("stays", "emotion")}


def test_a_subscriber_that_fails_costs_nobody_else_an_event_and_is_logged_once_a_minute(hub, clock, caplog):
    def broken(_stream, _event):
        raise ValueError("a bug")

    seen, removed = [], []
    hub.subscribe(broken)
    hub.subscribe(lambda *event: seen.append(event), levels=True, on_remove=removed.append)
    box = outbox()
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    for _ in range(5):
        hub.sink("main").publish(STATUS)
    assert (seen, len(drain(box))) == ([("main", STATUS)] * 5, 5)
    assert hub.is_wanted("main", "levels")
    assert caplog.text.count("broken failed with an event") == 1
    clock.now += 61
    hub.sink("main").publish(STATUS)
    assert "4 more like it since the line before" in caplog.text
    hub.remove("main")
    assert removed == ["main"]


def test_who_ends_overrides_is_told_of_each_with_an_end_and_until_when_to_wait(hub, clock):
    told = []
    hub.on_timed_override = lambda: told.append(clock.now)
    for stream in ("one", "two"):
        hub.sink(stream).publish(FRAME)
    hub.control(ControlCommand(action="freeze"))
    assert (told, hub.expire()) == ([], None), "a freeze has no end of its own"
    for stream, ttl_s in (("one", 5), ("two", 3)):
        override = OverrideValues(valence=0.1, arousal=0.1, ttl_s=ttl_s)
        hub.control(ControlCommand(action="override", streams=(stream,), override=override))
    assert len(told) == 2
    assert hub.expire() == pytest.approx(3)
    clock.now += 4
    assert hub.expire() == pytest.approx(1)
    assert [hub.shown(stream).hold for stream in ("one", "two")] == ["override", None]
    clock.now += 2
    assert hub.expire() is None


def test_one_override_that_cannot_be_ended_leaves_the_others_to_end(hub, clock, caplog, monkeypatch):
    for stream in ("one", "two"):
        hub.sink(stream).publish(FRAME)
    hub.control(ControlCommand(action="override", override=OverrideValues(valence=0.1, arousal=0.1, ttl_s=5)))

    def fail(**_):
        raise ValueError("a bug")

    monkeypatch.setattr(hub._overrides["one"], "expire", fail)
    clock.now += 6
    hub.expire()
    hub.expire()
    assert hub.shown("two").hold is None
    assert hub.shown("one").hold == "override"
    assert caplog.text.count("cannot end the override of 'one'") == 1


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
    for action in ("freeze", "blackout"):
        (still,) = hold.control(action, None, now=0.6)
        assert (still.valence, still.hold) == (-0.5, action), "they keep what is shown"


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


def test_a_hand_may_be_laid_on_before_there_is_anything(hold):
    hold.control("override", replace(SAD, ttl_s=2.0), now=-3.0)
    assert hold.expire(now=-1.0) == []
    assert hold.control("freeze", None, now=0.0) == []
    assert hold.apply(frame(0, valence=0.2), now=0.5)[0].valence == 0.2
    assert hold.apply(frame(1, valence=0.9), now=1.0)[0].valence == 0.2
    hold.control("resume", None, now=1.0)
    assert hold.control("resume", None, now=1.0) == [], "there is nothing to resume from"


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
