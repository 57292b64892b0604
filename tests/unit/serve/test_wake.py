"""However often threads wake a loop, one call is on its way."""

import asyncio

from stream_mer.serve.wake import LoopWaker


class StalledLoop:
    """A loop that takes calls and runs none until told."""

    def __init__(self):
        self.calls = []

    def call_soon_threadsafe(self, call):
        self.calls.append(call)


def test_a_stalled_loop_piles_up_one_call():
    loop = StalledLoop()
    waker = LoopWaker(loop)
    events = [asyncio.Event() for _ in range(200)]
    for event in events:
        waker.wake(event)
    assert len(loop.calls) == 1
    loop.calls.pop()()
    assert all(event.is_set() for event in events)
    waker.wake(events[0])
    assert len(loop.calls) == 1


def test_a_closed_loop_is_no_error():
    loop = asyncio.new_event_loop()
    loop.close()
    LoopWaker(loop).wake(asyncio.Event())
