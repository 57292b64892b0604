"""The hub gives each client what it asked for, encoded once, whatever the other clients do."""

import json
import sys
import threading
from dataclasses import replace

import pytest

from stream_mer.serve import codec
from stream_mer.serve import hub as hub_module
from stream_mer.serve import messages as wire
from stream_mer.serve.examples import CHANGE, FRAME, LINE, STATUS
from stream_mer.serve.hub import DEFAULT_INTEREST, Hub, Interest, grant
from stream_mer.serve.outbox import Outbox


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def hub(clock):
    return Hub(clock=clock)


def outbox(capacity: int = 64) -> Outbox:
    return Outbox(capacity=capacity, wake=lambda: None)


def drain(box: Outbox) -> list[dict]:
    return [json.loads(data) for data in iter(box.take, None)]


def brief(messages: list[dict]) -> list[tuple[str, str, int]]:
    return [(message["stream"], message["type"], message["seq"]) for message in messages]


def test_a_client_gets_all_default_events_of_every_stream(hub):
    box = outbox()
    hub.attach(box, DEFAULT_INTEREST)
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


def test_two_sinks_of_one_stream_share_its_count(hub):
    box = outbox()
    hub.attach(box, DEFAULT_INTEREST)
    hub.sink("main").publish(LINE)
    hub.sink("main").publish(LINE)
    assert [message["seq"] for message in drain(box)] == [0, 1]


def test_a_stuck_client_changes_nothing_for_the_others(hub):
    stuck, healthy = outbox(capacity=4), outbox(capacity=4)
    hub.attach(stuck, DEFAULT_INTEREST)
    hub.attach(healthy, DEFAULT_INTEREST)
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
        return codec.encode(message)

    monkeypatch.setattr(hub_module, "encode", counting)
    boxes = [outbox() for _ in range(5)]
    for box in boxes:
        hub.attach(box, DEFAULT_INTEREST)
    hub.sink("main").publish(FRAME)
    assert count == 1
    assert all(len(drain(box)) == 1 for box in boxes)


def test_a_client_that_says_nothing_first_gets_what_is_known_but_no_old_cue(hub):
    sink = hub.sink("main")
    for event in (STATUS, FRAME, CHANGE, LINE, replace(FRAME, index=85)):
        sink.publish(event)
    box = outbox()
    hub.attach(box, DEFAULT_INTEREST)
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
    hub.attach(box, DEFAULT_INTEREST, client_id="abc")
    (ready,) = drain(box)
    assert ready["type"] == "ready"
    assert ready["client_id"] == "abc"
    ages = {entry["message"]["type"]: entry["age_s"] for entry in ready["snapshot"]}
    assert ages == {"status": 2.75, "change": 0.25, "emotion": 0.25}
    assert ready["granted"] == [{"streams": [], "events": list(wire.EVENT_KINDS), "max_hz": None}]


def test_an_interest_in_one_stream_and_kind_gets_nothing_else(hub):
    box = outbox()
    interest = grant([wire.Subscription(streams=("two",), events=("change",))])
    hub.attach(box, interest, client_id="abc")
    drain(box)
    for stream in ("one", "two"):
        for event in (FRAME, LINE, CHANGE, STATUS):
            hub.sink(stream).publish(event)
    assert brief(drain(box)) == [("two", "change", 0)]


def test_subscriptions_add_up():
    interest = grant(
        [wire.Subscription(streams=("a",), events=("emotion",)), wire.Subscription(events=("status",), max_hz=4.0)]
    )
    assert interest.covers("a", "emotion")
    assert not interest.covers("b", "emotion")
    assert interest.covers("b", "status")
    assert all(granted.max_hz is None for granted in interest.subscriptions), "not applied, so not granted"


def test_kinds_that_do_not_exist_are_not_granted():
    assert grant([wire.Subscription(events=("levels", "dance"))]) == Interest(subscriptions=())
    assert grant([wire.Subscription(events=("levels", "emotion"))]).subscriptions[0].events == ("emotion",)
    assert grant([wire.Subscription()]) == DEFAULT_INTEREST
    assert grant(None) == DEFAULT_INTEREST
    assert grant([]) == Interest(subscriptions=())


def test_a_detached_client_gets_nothing_more(hub):
    box = outbox()
    hub.attach(box, DEFAULT_INTEREST)
    assert hub.client_count == 1
    hub.detach(box)
    hub.detach(box)
    hub.sink("main").publish(FRAME)
    assert drain(box) == []
    assert hub.client_count == 0


def test_it_has_frames_only_after_the_first_emotion(hub):
    sink = hub.sink("main")
    sink.publish(STATUS)
    assert not hub.has_frames
    sink.publish(FRAME)
    assert hub.has_frames


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
            hub.attach(box, DEFAULT_INTEREST)
            segments: list[int] = []
            while len(segments) < 20:
                segments += [message["segment"] for message in drain(box)]
            hub.detach(box)
            assert segments == list(range(segments[0], segments[0] + len(segments)))
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval_s)
