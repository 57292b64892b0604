"""An outbox is bounded, keeps order where order matters, and wakes its writer once."""

import json
import threading

import pytest

from stream_mer.serve.codec import encode
from stream_mer.serve.examples import examples
from stream_mer.serve.outbox import Outbox, Parcel


def parcel(kind: str, data: str, stream: str = "main") -> Parcel:
    return Parcel(stream=stream, kind=kind, message=examples()["status"], data=data.encode(), published_at=0.0)


def drain(outbox: Outbox) -> list[str]:
    return [data.decode() for data in iter(outbox.take, None)]


class Wakes:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


@pytest.fixture
def wakes():
    return Wakes()


def test_the_newest_emotion_replaces_the_one_that_waits(wakes):
    outbox = Outbox(capacity=4, wake=wakes)
    for i in range(5):
        outbox.put(parcel("emotion", f"e{i}"))
    assert drain(outbox) == ["e4"]
    assert outbox.statistics().replaced == 4
    assert outbox.statistics().dropped == 0


def test_latest_wins_is_kept_apart_for_each_stream_and_kind(wakes):
    outbox = Outbox(capacity=4, wake=wakes)
    for stream, kind, data in [("a", "emotion", "ae0"), ("b", "emotion", "be0"), ("a", "levels", "al0")]:
        outbox.put(parcel(kind, data, stream))
    outbox.put(parcel("emotion", "ae1", "a"))
    assert drain(outbox) == ["ae1", "be0", "al0"]


def test_other_kinds_keep_their_order_among_themselves_and_around_emotion(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    outbox.put(parcel("lyrics", "l0"))
    outbox.put(parcel("emotion", "e0"))
    outbox.put(parcel("change", "c0"))
    outbox.put(parcel("emotion", "e1"))
    outbox.put(parcel("status", "s0"))
    assert drain(outbox) == ["l0", "e1", "c0", "s0"]


def test_a_busy_stream_does_not_push_its_own_emotion_back(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    outbox.put(parcel("emotion", "e0"))
    for i in range(3):
        outbox.put(parcel("lyrics", f"l{i}"))
        outbox.put(parcel("emotion", f"e{i + 1}"))
    assert outbox.take() == b"e3"


def test_ordered_messages_are_bounded_and_the_client_is_told_what_it_lost(wakes):
    outbox = Outbox(capacity=2, wake=wakes)
    for i in range(5):
        outbox.put(parcel("lyrics", f"l{i}"))
    notice, *rest = drain(outbox)
    assert rest == ["l3", "l4"]
    told = json.loads(notice)
    assert (told["type"], told["code"], told["fatal"]) == ("error", 4410, False)
    assert "3 messages were dropped" in told["message"]
    assert outbox.statistics().dropped == 3
    outbox.put(parcel("lyrics", "l5"))
    assert drain(outbox) == ["l5"], "it is told once"


def test_the_writer_is_woken_once_until_it_has_taken_everything(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    for i in range(6):
        outbox.put(parcel("lyrics", f"l{i}"))
    assert wakes.count == 1
    outbox.take()
    outbox.put(parcel("lyrics", "more"))
    assert wakes.count == 1, "the writer is still at it"
    drain(outbox)
    outbox.put(parcel("lyrics", "next"))
    assert wakes.count == 2


def test_statistics_count(wakes):
    outbox = Outbox(capacity=3, wake=wakes)
    outbox.put(parcel("emotion", "e"))
    outbox.put(parcel("lyrics", "l"))
    assert outbox.statistics().waiting == 2
    outbox.take()
    assert (outbox.statistics().waiting, outbox.statistics().taken) == (1, 1)


def test_a_capacity_below_one_cannot_be(wakes):
    with pytest.raises(ValueError, match="at least 1"):
        Outbox(capacity=0, wake=wakes)


def test_nothing_is_lost_or_doubled_between_threads():
    ready = threading.Event()
    outbox = Outbox(capacity=10_000, wake=ready.set)
    total, got = 4 * 500, []

    def put(writer: int) -> None:
        for i in range(500):
            outbox.put(parcel("lyrics", f"{writer}:{i}"))

    threads = [threading.Thread(target=put, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    while len(got) < total:
        assert ready.wait(timeout=20), "a wake was lost"
        ready.clear()
        got += drain(outbox)
    for thread in threads:
        thread.join()
    for writer in range(4):
        mine = [text for text in got if text.startswith(f"{writer}:")]
        assert mine == [f"{writer}:{i}" for i in range(500)]


def test_messages_of_the_client_alone_go_in_order_too(wakes):
    outbox = Outbox(capacity=4, wake=wakes)
    outbox.put_ordered(encode(examples()["pong"]))
    outbox.put(parcel("lyrics", "l0"))
    assert json.loads(outbox.take())["type"] == "pong"
    assert outbox.take() == b"l0"
