"""An outbox is bounded, keeps order where order matters, and wakes its writer once."""

import asyncio
import itertools
import json
import threading
from dataclasses import replace

import pytest
from helpers import FakeClock, wait_for

from stream_mer.event_json import MessageEncoder, encode
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.outbox import (
    MAX_POSTED,
    PRUNE_AT_LEAST,
    Dispatcher,
    Outbox,
    QueuedMessage,
    Subscriber,
    merge_levels,
)
from stream_mer.server.subscriptions import DEFAULT_SUBSCRIPTIONS, SubscriptionSet
from tools.examples import FRAME, LINE, examples


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


def test_other_kinds_keep_their_order_among_themselves_and_around_emotion(wakes):
    outbox = Outbox(capacity=8, wake=wakes)
    outbox.put(queued("lyrics", "l0"))
    outbox.put(queued("emotion", "e0"))
    outbox.put(queued("change", "c0"))
    outbox.put(queued("emotion", "another stream", "b"))
    outbox.put(queued("emotion", "e1"))
    outbox.put(queued("status", "s0"))
    assert outbox.statistics().waiting == 5
    assert drain(outbox) == ["l0", "e1", "c0", "another stream", "s0"]


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

    def write(messages: list[bytes]) -> bool:
        if len(written) < room:
            written.extend(messages)
            return True
        return False

    outbox = Outbox(capacity=4, wake=wakes, write=write)
    for i in range(3):
        outbox.put(queued("lyrics", f"l{i}"))
    outbox.flush()
    assert (written, outbox.unsent) == ([b"l0"], b"l1")
    room = 9
    outbox.send([queued("lyrics", "l3")])
    outbox.flush()
    assert written == [b"l0"], "nothing overtakes the message that is waited for"
    written.append(outbox.unsent)
    outbox.unsent = None
    outbox.flush()
    assert written == [b"l0", b"l1", b"l2", b"l3"]
    assert (outbox.statistics().taken, outbox.statistics().waiting) == (4, 0)


def test_a_closed_outbox_writes_nothing(wakes):
    written = []
    outbox = Outbox(capacity=4, wake=wakes, write=lambda messages: not written.extend(messages))
    outbox.send([queued("lyrics", "l0")])
    outbox.close()
    outbox.send([queued("lyrics", "l1")])
    outbox.flush()
    assert written == [b"l0"]


class ManualLoop:
    """A loop that runs what it is asked to when the test says so."""

    def __init__(self):
        self.calls = []
        self.wakes = 0

    def call_soon_threadsafe(self, call):
        self.calls.append(call)
        self.wakes += 1

    def call_soon(self, call):
        self.calls.append(call)

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Client:
    """An outbox whose client keeps up, or does not."""

    def __init__(self, dispatcher):
        self.written = []
        self.writes = 0
        self.keeps_up = True
        self.wakes = 0
        self.outbox = Outbox(capacity=1000, wake=self.wake, write=self.write, dispatcher=dispatcher)

    def wake(self):
        self.wakes += 1

    def write(self, messages: list[bytes]) -> bool:
        if self.keeps_up:
            self.written += messages
            self.writes += 1
        return self.keeps_up

    def drain(self):
        return list(iter(self.outbox.take, None))


@pytest.fixture
def loop():
    return ManualLoop()


@pytest.fixture
def dispatcher(loop):
    return Dispatcher(loop)


encoder = MessageEncoder("main")
numbers = itertools.count()


def posted(data: bytes, event=LINE) -> QueuedMessage:
    message = encoder.message(event)
    kind = message.__struct_config__.tag
    return QueuedMessage(number=next(numbers), stream="main", kind=kind, message=message, data=data, published_at=0.0)


def test_who_keeps_up_is_written_to_at_once_and_who_does_not_finds_it_in_the_outbox(loop, dispatcher):
    quick, slow = Client(dispatcher), Client(dispatcher)
    slow.keeps_up = False
    for client in (quick, slow):
        client.drain()  # the writer rests
    dispatcher.post(posted(b"one"), [Subscriber(quick.outbox, 0.0), Subscriber(slow.outbox, 0.0)])
    assert quick.written == [], "the publishing thread writes to nobody"
    loop.turn()
    assert quick.written == [b"one"]
    assert quick.drain() == []
    assert quick.outbox.statistics().taken == 1
    assert (slow.wakes, slow.drain()) == (1, [b"one"])


def test_nothing_overtakes_what_waits(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    client.outbox.put_answers([b"answer"])
    dispatcher.post(posted(b"event"), [Subscriber(client.outbox, 0.0)])
    loop.turn()
    assert client.written == []
    assert client.drain() == [b"answer", b"event"]


def test_a_rate_goes_through_the_outbox(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    for i in range(3):
        dispatcher.post(posted(b"%d" % i, FRAME), [Subscriber(client.outbox, 10.0)])
    loop.turn()
    assert client.written == []
    assert client.drain() == [b"2"]


def test_one_call_is_on_its_way_however_much_is_posted(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    for i in range(MAX_POSTED):
        dispatcher.post(posted(b"%d" % i), [Subscriber(client.outbox, 0.0)])
    assert len(loop.calls) == 1
    loop.turn()
    assert client.written == [b"%d" % i for i in range(MAX_POSTED)]


def test_messages_that_wait_together_are_written_at_once_and_queued_for_who_is_slow(loop, dispatcher):
    quick, slow = Client(dispatcher), Client(dispatcher)
    slow.keeps_up = False
    for client in (quick, slow):
        client.drain()
    for i in range(4):
        dispatcher.post(posted(b"%d" % i), [Subscriber(quick.outbox, 0.0), Subscriber(slow.outbox, 0.0)])
    loop.turn()
    assert (quick.written, quick.writes) == ([b"0", b"1", b"2", b"3"], 1)
    assert quick.outbox.statistics().taken == 4
    assert (slow.written, slow.drain()) == ([], [b"0", b"1", b"2", b"3"])


def test_a_message_to_many_clients_is_delivered_alone(loop, dispatcher):
    clients = [Client(dispatcher) for _ in range(MAX_POSTED)]
    for client in clients:
        client.drain()
    for i in range(2):
        dispatcher.post(posted(b"%d" % i), [Subscriber(client.outbox, 0.0) for client in clients])
    loop.turn()
    assert all((client.written, client.writes) == ([b"0", b"1"], 2) for client in clients)


def test_what_the_loop_publishes_itself_needs_no_wake_and_is_not_queued(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    dispatcher.call_soon(lambda: None)
    loop.turn()
    wakes = loop.wakes
    for i in range(2 * MAX_POSTED):
        dispatcher.post(posted(b"%d" % i), [Subscriber(client.outbox, 0.0)])
    loop.turn()
    assert client.written == [b"%d" % i for i in range(2 * MAX_POSTED)]
    assert (loop.wakes, client.writes) == (wakes, 3)
    threading.Thread(target=dispatcher.call_soon, args=(lambda: None,)).start()
    wait_for(lambda: loop.wakes == wakes + 1)


def test_a_stalled_loop_piles_up_little_and_loses_no_order(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    for i in range(10 * MAX_POSTED):
        dispatcher.post(posted(b"%d" % i), [Subscriber(client.outbox, 0.0)])
    assert len(dispatcher._posted) <= MAX_POSTED
    loop.turn()
    assert client.written + client.drain() == [b"%d" % i for i in range(10 * MAX_POSTED)]


def test_the_order_holds_while_the_loop_and_a_publisher_work_at_once(loop, dispatcher):
    client = Client(dispatcher)
    client.keeps_up = False
    count = 20_000
    outbox = client.outbox = Outbox(capacity=count, wake=client.wake, write=client.write)
    ended = threading.Event()

    def publish():
        for i in range(count):
            dispatcher.post(posted(b"%d" % i), [Subscriber(outbox, 0.0)])
        ended.set()

    thread = threading.Thread(target=publish)
    thread.start()
    while not ended.is_set():
        loop.turn()
    thread.join()
    loop.turn()
    assert client.drain() == [b"%d" % i for i in range(count)]


def test_who_joins_after_a_message_gets_it_in_the_snapshot_and_not_again(loop, dispatcher):
    hub = Hub()
    sink = hub.sink("main")
    client = Client(dispatcher)
    hub.attach(client.outbox, DEFAULT_SUBSCRIPTIONS)
    client.drain()
    sink.publish(LINE)  # posted, and the loop has not come to it
    hub.welcome(client.outbox, DEFAULT_SUBSCRIPTIONS, client_id="x", role="viewer", granted=())
    loop.turn()
    line, ready = client.drain()
    assert b'"type":"lyrics"' in line[:20]
    assert b'"type":"ready"' in ready[:20]
    assert client.written == []


def test_who_leaves_gets_what_was_published_before_its_answer_and_nothing_after(loop, dispatcher):
    hub = Hub()
    sink = hub.sink("main")
    client = Client(dispatcher)
    hub.attach(client.outbox, DEFAULT_SUBSCRIPTIONS)
    client.drain()
    sink.publish(LINE)
    hub.attach(client.outbox, SubscriptionSet())
    client.outbox.put_answers([b"result"])
    sink.publish(LINE)
    loop.turn()
    assert client.drain()[1:] == [b"result"]


def test_after_the_loop_is_closed_nothing_is_kept():
    closed = asyncio.new_event_loop()
    closed.close()
    dispatcher, hub = Dispatcher(closed), Hub()
    client = Client(dispatcher)
    hub.attach(client.outbox, DEFAULT_SUBSCRIPTIONS)
    for segment in range(3 * MAX_POSTED):
        hub.sink("main").publish(replace(LINE, segment=segment))
        dispatcher.call_soon(hub.expire)
    assert (len(dispatcher._posted), dispatcher._functions) == (0, [])
    assert client.drain() == []


def test_a_function_that_fails_keeps_none_waiting_and_a_stalled_loop_holds_one_callback(loop, dispatcher, caplog):
    called = []

    def fail():
        raise RuntimeError("broken")

    dispatcher.call_soon(fail)
    for i in range(200):
        dispatcher.call_soon(lambda i=i: called.append(i))
    assert len(loop.calls) == 1
    loop.turn()
    assert called == list(range(200))
    assert "callback of the event loop failed" in caplog.text


def test_a_client_that_fails_keeps_no_other_from_its_message(loop, dispatcher, caplog):
    broken, healthy = Client(dispatcher), Client(dispatcher)
    broken.outbox._write = None  # a bug
    called = []
    dispatcher.post(posted(b"one"), [Subscriber(broken.outbox, 0.0), Subscriber(healthy.outbox, 0.0)])
    dispatcher.call_soon(lambda: called.append("flushed"))
    loop.turn()
    assert (healthy.written, called) == ([b"one"], ["flushed"])
    assert "cannot send to a client" in caplog.text
