"""However often threads wake a loop, one call is on its way."""

import asyncio

from stream_mer.server.wake import LoopWaker


class StalledLoop:
    """A loop that takes calls and runs none until told."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, call):
        self.calls.append(call)


def test_a_stalled_loop_piles_up_one_call():
    loop = StalledLoop()
    waker = LoopWaker(loop)
    called = []
    for i in range(200):
        waker.wake(lambda i=i: called.append(i))
    assert len(loop.calls) == 1
    loop.calls.pop()()
    assert called == list(range(200))
    waker.wake(called.clear)
    assert len(loop.calls) == 1


def test_after_the_loop_is_closed_nothing_is_called_and_nothing_kept():
    loop = asyncio.new_event_loop()
    loop.close()
    waker, called = LoopWaker(loop), []
    assert not waker.is_closed
    for i in range(200):
        waker.wake(lambda i=i: called.append(i))
    assert waker.is_closed
    assert (called, waker._waiting) == ([], [])


def test_a_writer_that_fails_keeps_nobody_waiting(caplog):
    loop = StalledLoop()
    waker = LoopWaker(loop)
    called = []

    def fail():
        raise RuntimeError("broken")

    waker.wake(fail)
    waker.wake(lambda: called.append("the next one"))
    loop.calls.pop()()
    assert called == ["the next one"]
    assert "a writer failed" in caplog.text
