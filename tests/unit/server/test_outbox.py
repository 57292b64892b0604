"""An outbox is bounded, keeps order where order matters, and wakes its writer once."""

import json
import threading

import pytest
from helpers import FakeClock

from stream_mer.event_json import encode
from stream_mer.server import messages as wire
from stream_mer.server.outbox import PRUNE_AT_LEAST, Outbox, QueuedMessage, merge_levels
from tools.examples import examples


def queued(kind: str, data: str, stream: str = "main") -> QueuedMessage:
    return QueuedMessage(stream=stream, kind=kind, message=examples()["status"], data=data.encode(), published_at=0.0)


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
        outbox.put(queued("emotion", f"e{i}"))
    assert drain(outbox) == ["e4"]
    assert outbox.statistics().replaced == 4
    assert outbox.statistics().dropped == 0


def test_latest_wins_is_kept_apart_for_each_stream_and_kind(wakes):
    outbox = Outbox(capacity=4, wake=wakes)
    for stream, kind, data in [("a", "emotion", "ae0"), ("b", "emotion", "be0"), ("a", "levels", "al0")]:
        outbox.put(queued(kind, data, stream))
    outbox.put(queued("emotion", "ae1", "a"))
    assert drain(outbox) == ["ae1", "be0", "al0"]


def test_other_kinds_keep_their_order_among_themselves_and_around_emotion(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    outbox.put(queued("lyrics", "l0"))
    outbox.put(queued("emotion", "e0"))
    outbox.put(queued("change", "c0"))
    outbox.put(queued("emotion", "e1"))
    outbox.put(queued("status", "s0"))
    assert drain(outbox) == ["l0", "e1", "c0", "s0"]


def test_a_busy_stream_does_not_push_its_own_emotion_back(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    outbox.put(queued("emotion", "e0"))
    for i in range(3):
        outbox.put(queued("lyrics", f"l{i}"))
        outbox.put(queued("emotion", f"e{i + 1}"))
    assert outbox.take() == b"e3"


def test_ordered_messages_are_bounded_and_the_client_is_told_what_it_lost(wakes):
    outbox = Outbox(capacity=2, wake=wakes)
    for i in range(5):
        outbox.put(queued("lyrics", f"l{i}"))
    notice, *rest = drain(outbox)
    assert rest == ["l3", "l4"]
    told = json.loads(notice)
    assert (told["type"], told["code"], told["fatal"]) == ("error", 4410, False)
    assert "3 messages were dropped" in told["message"]
    assert outbox.statistics().dropped == 3
    outbox.put(queued("lyrics", "l5"))
    assert drain(outbox) == ["l5"], "it is told once"


def test_the_writer_is_woken_once_until_it_has_taken_everything(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    for i in range(6):
        outbox.put(queued("lyrics", f"l{i}"))
    assert wakes.count == 1
    outbox.take()
    outbox.put(queued("lyrics", "more"))
    assert wakes.count == 1, "the writer is still at it"
    drain(outbox)
    outbox.put(queued("lyrics", "next"))
    assert wakes.count == 2


def test_statistics_count(wakes):
    outbox = Outbox(capacity=3, wake=wakes)
    outbox.put(queued("emotion", "e"))
    outbox.put(queued("lyrics", "l"))
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
            outbox.put(queued("lyrics", f"{writer}:{i}"))

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
    outbox.put_answers([encode(examples()["pong"])])
    outbox.put(queued("lyrics", "l0"))
    assert json.loads(outbox.take())["type"] == "pong"
    assert outbox.take() == b"l0"


@pytest.fixture
def clock():
    return FakeClock(50.0)


def test_answers_are_never_dropped_and_keep_their_turn(wakes):
    outbox = Outbox(capacity=1, wake=wakes)
    outbox.put(queued("lyrics", "l0"))
    outbox.put_answers([b"ready", b"m0", b"m1"])
    outbox.put(queued("emotion", "e0"))
    assert drain(outbox) == ["l0", "ready", "m0", "m1", "e0"]
    outbox.put_answers([b"ready", b"m0"])
    outbox.put(queued("lyrics", "l1"))
    outbox.put(queued("lyrics", "l2"))
    assert drain(outbox)[1:] == ["ready", "m0", "l2"]
    assert outbox.statistics().dropped == 1


def test_a_rate_lets_the_newest_through_when_its_time_has_come(wakes, clock):
    outbox = Outbox(capacity=4, wake=wakes, clock=clock)
    outbox.put(queued("emotion", "e0"), interval_s=1.0)
    assert drain(outbox) == ["e0"]
    assert outbox.alarm_at is None
    clock.now += 0.1
    outbox.put(queued("emotion", "e1"), interval_s=1.0)
    assert drain(outbox) == []
    assert 50.5 < outbox.alarm_at <= 51.0
    clock.now += 0.1
    outbox.put(queued("emotion", "e2"), interval_s=1.0)
    clock.now = outbox.alarm_at
    assert drain(outbox) == ["e2"]


def test_a_rate_is_kept_over_any_time(clock):
    outbox = Outbox(capacity=4, wake=lambda: None, clock=clock)
    sent = 0
    for i in range(1000):  # 50 a second for 20 s
        outbox.put(queued("levels", f"l{i}"), interval_s=0.1)
        sent += len(drain(outbox))
        clock.now += 0.02
    assert 195 <= sent <= 201


def test_a_stream_with_the_very_rate_asked_for_is_not_thinned(clock):
    outbox = Outbox(capacity=4, wake=lambda: None, clock=clock)
    sent = 0
    for i in range(200):  # two a second, now late, now early by 50 ms
        clock.now = 50.0 + 0.5 * i + (0.05 if i % 3 else 0.0)
        outbox.put(queued("emotion", f"e{i}"), interval_s=0.5)
        sent += len(drain(outbox))
    assert sent == 200


def test_a_message_that_has_to_wait_holds_nothing_else_up(wakes, clock):
    outbox = Outbox(capacity=4, wake=wakes, clock=clock)
    outbox.put(queued("emotion", "e0"), interval_s=10.0)
    drain(outbox)
    outbox.put(queued("emotion", "e1"), interval_s=10.0)
    outbox.put(queued("emotion", "other", "foyer"))
    outbox.put(queued("lyrics", "l0"))
    assert drain(outbox) == ["other", "l0"]


def test_a_writer_with_an_alarm_is_not_woken_for_each_message_that_is_too_early(wakes, clock):
    outbox = Outbox(capacity=4, wake=wakes, clock=clock)
    outbox.put(queued("levels", "l0"), interval_s=1.0)
    drain(outbox)
    outbox.put(queued("levels", "l1"), interval_s=1.0)
    drain(outbox)
    before = wakes.count
    for i in range(9):
        outbox.put(queued("levels", f"later {i}"), interval_s=1.0)
    assert wakes.count == before
    outbox.put(queued("lyrics", "now"))
    assert wakes.count == before + 1


def levels(seq: int, *, rms_db: float, peak_db: float, onset: float) -> wire.Levels:
    return wire.Levels(stream="main", seq=seq, t=0.02 * seq, rms_db=rms_db, peak_db=peak_db, onset=onset)


def test_peaks_survive_what_is_passed_over(wakes):
    outbox = Outbox(capacity=4, wake=wakes)
    for message in (
        levels(0, rms_db=-20.0, peak_db=-3.0, onset=0.1),
        levels(1, rms_db=-20.0, peak_db=-9.0, onset=0.9),
        levels(2, rms_db=-120.0, peak_db=-120.0, onset=0.0),
    ):
        outbox.put(QueuedMessage(stream="main", kind="levels", message=message, data=encode(message), published_at=0.0))
    (told,) = drain(outbox)
    told = json.loads(told)
    assert (told["seq"], told["peak_db"], told["onset"]) == (2, -3.0, 0.9)
    assert told["rms_db"] == pytest.approx(-21.76, abs=0.01)  # two thirds of the energy of -20 dB


def test_the_mean_of_energies_weighs_every_passage_alike():
    loud, silent = (levels(i, rms_db=db, peak_db=db, onset=0.0) for i, db in enumerate((0.0, -120.0)))
    assert merge_levels(loud, silent, merged=1).rms_db == pytest.approx(-3.01, abs=0.01)
    assert merge_levels(loud, silent, merged=9).rms_db == pytest.approx(-0.46, abs=0.01)


def test_ages_are_counted_where_messages_are_taken(clock):
    outbox = Outbox(capacity=4, wake=lambda: None, clock=clock)
    message = examples()["status"]
    outbox.put(QueuedMessage(stream="main", kind="status", message=message, data=b"s", published_at=clock.now))
    outbox.put_answers([b"pong"])
    clock.now += 0.03
    drain(outbox)
    counted = outbox.statistics()
    assert counted.age_sum_s == pytest.approx(0.03)
    assert counted.ages[5] == sum(counted.ages) == 1, "between 25 and 50 ms; an answer has no age"


def test_times_of_messages_long_sent_are_not_kept(wakes):
    now = 0.0
    outbox = Outbox(capacity=4, wake=wakes, clock=lambda: now)
    for i in range(1000):
        outbox.put(queued("emotion", "e", stream=f"s{i}"), interval_s=0.5)
        assert drain(outbox) == ["e"]
        now += 1.0
    assert len(outbox._not_before) <= PRUNE_AT_LEAST
    outbox.put(queued("emotion", "early", stream="s999"), interval_s=5000.0)
    outbox.put(queued("emotion", "e2", stream="s999"), interval_s=5000.0)
    assert drain(outbox) == ["e2"]
    outbox.put(queued("emotion", "too early", stream="s999"), interval_s=5000.0)
    assert drain(outbox) == [], "what is still to come is kept"


def test_a_flush_stops_at_a_client_without_room_and_goes_on_where_it_stopped(wakes):
    room, written = 1, []

    def write(data: bytes) -> bool:
        if len(written) < room:
            written.append(data)
            return True
        return False

    outbox = Outbox(capacity=4, wake=wakes, write=write)
    for i in range(3):
        outbox.put(queued("lyrics", f"l{i}"))
    outbox.flush()
    assert (written, outbox.unsent) == ([b"l0"], b"l1")
    room = 9
    outbox.send(queued("lyrics", "l3"))
    outbox.flush()
    assert written == [b"l0"], "nothing overtakes the message that is waited for"
    written.append(outbox.unsent)
    outbox.unsent = None
    outbox.flush()
    assert written == [b"l0", b"l1", b"l2", b"l3"]
    assert (outbox.statistics().taken, outbox.statistics().waiting) == (4, 0)


def test_a_closed_outbox_writes_nothing(wakes):
    written = []
    outbox = Outbox(capacity=4, wake=wakes, write=lambda data: not written.append(data))
    outbox.send(queued("lyrics", "l0"))
    outbox.close()
    outbox.send(queued("lyrics", "l1"))
    outbox.flush()
    assert written == [b"l0"]
