"""What is posted reaches every outbox in order: at once where nothing waits, and without the loop when it stalls."""

import asyncio
import itertools
import threading
from dataclasses import replace

import pytest

from stream_mer.event_json import MessageEncoder, encode
from stream_mer.server.hub import Hub
from stream_mer.server.outbox import MAX_POSTED, Dispatcher, Outbox, QueuedMessage, Subscriber
from stream_mer.server.subscriptions import DEFAULT_SUBSCRIPTIONS, SubscriptionSet
from tools.examples import FRAME, LINE


class Loop:
    """A loop that runs what it is asked to when the test says so."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, call):
        self.calls.append(call)

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Client:
    """An outbox whose client keeps up, or does not."""

    def __init__(self, dispatcher):
        self.written = []
        self.keeps_up = True
        self.wakes = 0
        self.outbox = Outbox(capacity=1000, wake=self.wake, write=self.write, dispatcher=dispatcher)

    def wake(self):
        self.wakes += 1

    def write(self, data: bytes) -> bool:
        if self.keeps_up:
            self.written.append(data)
        return self.keeps_up

    def drain(self):
        return list(iter(self.outbox.take, None))


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def dispatcher(loop):
    return Dispatcher(loop)


encoder = MessageEncoder("main")
numbers = itertools.count()


def queued(data: bytes, event=LINE) -> QueuedMessage:
    message = encoder.message(event)
    kind = message.__struct_config__.tag
    return QueuedMessage(number=next(numbers), stream="main", kind=kind, message=message, data=data, published_at=0.0)


def test_who_keeps_up_is_written_to_at_once_and_who_does_not_finds_it_in_the_outbox(loop, dispatcher):
    quick, slow = Client(dispatcher), Client(dispatcher)
    slow.keeps_up = False
    for client in (quick, slow):
        client.drain()  # the writer rests
    dispatcher.post(queued(b"one"), [Subscriber(quick.outbox, 0.0), Subscriber(slow.outbox, 0.0)])
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
    dispatcher.post(queued(b"event"), [Subscriber(client.outbox, 0.0)])
    loop.turn()
    assert client.written == []
    assert client.drain() == [b"answer", b"event"]


def test_a_rate_goes_through_the_outbox(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    for i in range(3):
        dispatcher.post(queued(b"%d" % i, FRAME), [Subscriber(client.outbox, 10.0)])
    loop.turn()
    assert client.written == []
    assert client.drain() == [b"2"]


def test_one_call_is_on_its_way_however_much_is_posted(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    for i in range(MAX_POSTED):
        dispatcher.post(queued(b"%d" % i), [Subscriber(client.outbox, 0.0)])
    assert len(loop.calls) == 1
    loop.turn()
    assert client.written == [b"%d" % i for i in range(MAX_POSTED)]


def test_a_stalled_loop_piles_up_little_and_loses_no_order(loop, dispatcher):
    client = Client(dispatcher)
    client.drain()
    for i in range(10 * MAX_POSTED):
        dispatcher.post(queued(b"%d" % i), [Subscriber(client.outbox, 0.0)])
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
            dispatcher.post(queued(b"%d" % i), [Subscriber(outbox, 0.0)])
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


def test_bytes_are_those_that_are_published(loop, dispatcher):
    hub = Hub()
    client = Client(dispatcher)
    hub.attach(client.outbox, DEFAULT_SUBSCRIPTIONS)
    client.drain()
    hub.sink("main").publish(FRAME)
    loop.turn()
    assert client.written == [encode(MessageEncoder("main").message(FRAME))]


def test_after_the_loop_is_closed_nothing_is_kept():
    closed = asyncio.new_event_loop()
    closed.close()
    dispatcher, hub = Dispatcher(closed), Hub()
    client = Client(dispatcher)
    hub.attach(client.outbox, DEFAULT_SUBSCRIPTIONS)
    for segment in range(3 * MAX_POSTED):
        hub.sink("main").publish(replace(LINE, segment=segment))
    assert len(dispatcher._posted) == 0
    assert client.drain() == []


def test_a_stalled_loop_holds_one_callback():
    loop = Loop()
    dispatcher = Dispatcher(loop)
    called = []
    for i in range(200):
        dispatcher.call_soon(lambda i=i: called.append(i))
    assert len(loop.calls) == 1
    loop.calls.pop()()
    assert called == list(range(200))
    dispatcher.call_soon(called.clear)
    assert len(loop.calls) == 1


def test_after_the_loop_is_closed_no_function_is_called_or_kept():
    loop = asyncio.new_event_loop()
    loop.close()
    dispatcher, called = Dispatcher(loop), []
    for i in range(200):
        dispatcher.call_soon(lambda i=i: called.append(i))
    assert (called, dispatcher._functions) == ([], [])


def test_a_writer_that_fails_keeps_nobody_waiting(caplog):
    loop = Loop()
    dispatcher = Dispatcher(loop)
    called = []

    def fail():
        raise RuntimeError("broken")

    dispatcher.call_soon(fail)
    dispatcher.call_soon(lambda: called.append("the next one"))
    loop.calls.pop()()
    assert called == ["the next one"]
    assert "callback of the event loop failed" in caplog.text


def test_a_client_that_fails_keeps_no_other_from_its_message(loop, dispatcher, caplog):
    broken, healthy = Client(dispatcher), Client(dispatcher)
    broken.outbox._write = None  # a bug
    called = []
    dispatcher.post(queued(b"one"), [Subscriber(broken.outbox, 0.0), Subscriber(healthy.outbox, 0.0)])
    dispatcher.call_soon(lambda: called.append("flushed"))
    loop.turn()
    assert (healthy.written, called) == ([b"one"], ["flushed"])
    assert "cannot send to a client" in caplog.text
