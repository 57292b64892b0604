"""Functions are called at the tick nearest to their time, by one timer of the event loop."""

import asyncio
import threading

import pytest

from stream_mer.utils.scheduler import LINGER_TICKS, MAX_TICKS, TICK_S, TickScheduler


class ManualLoop:
    """A loop whose clock the test turns."""

    def __init__(self):
        self.now = 100 * TICK_S
        self.wakes = 0
        self.timers = []

    def time(self):
        return self.now

    def call_soon_threadsafe(self, call):
        self.wakes += 1
        self.timers.append((self.now, call))

    def call_at(self, at, call):
        self.timers.append((at, call))

    def run_until(self, tick):
        while self.timers and self.timers[0][0] <= tick * TICK_S + 1e-9:
            assert len(self.timers) == 1
            ((at, call),) = self.timers
            self.timers.clear()
            self.now = max(self.now, at)
            call()
        self.now = tick * TICK_S


@pytest.fixture
def loop():
    return ManualLoop()


@pytest.fixture
def scheduler(loop):
    return TickScheduler(loop)


def test_each_is_called_at_the_tick_nearest_to_its_time_in_order(loop, scheduler):
    called = []

    def add(*ticks):
        scheduler.add(
            (tick * TICK_S, lambda tick=tick: called.append((tick, round(loop.now / TICK_S)))) for tick in ticks
        )

    add(101.4, 102.4, 103.4)
    add(101.6, 102.3)
    loop.run_until(110)
    assert called == [(101.4, 101), (102.4, 102), (101.6, 102), (102.3, 102), (103.4, 103)]


def test_all_share_one_timer_which_ends_when_nothing_comes_any_more(loop, scheduler):
    scheduler.add([(101 * TICK_S, lambda: None)])
    for tick in range(102, 110):
        scheduler.add([(tick * TICK_S, lambda: None)])
    assert loop.wakes == 1
    loop.run_until(109 + LINGER_TICKS - 1)
    scheduler.add([((loop.now / TICK_S + 1) * TICK_S, lambda: None)])
    assert loop.wakes == 1
    loop.run_until(200)
    assert loop.timers == []
    scheduler.add([(201 * TICK_S, lambda: None)])
    assert loop.wakes == 2


def test_what_is_overdue_is_called_next(loop, scheduler):
    called = []
    scheduler.add([(1.0, lambda: called.append("long ago")), (101 * TICK_S, lambda: called.append("then"))])
    loop.run_until(100)
    assert called == ["long ago"]


def test_a_loop_that_stalls_keeps_the_newest(loop, scheduler):
    called = []
    for tick in range(101, 101 + 2 * MAX_TICKS):
        scheduler.add([(tick * TICK_S, lambda tick=tick: called.append(tick))])
    loop.now = 1000 * TICK_S
    loop.run_until(1000)
    assert called == list(range(101 + MAX_TICKS, 101 + 2 * MAX_TICKS))


def test_one_that_fails_keeps_no_other_from_being_called(loop, scheduler, caplog):
    called = []

    def fail():
        raise RuntimeError("broken")

    scheduler.add(
        [(101 * TICK_S, fail), (101 * TICK_S, lambda: called.append(1)), (102 * TICK_S, lambda: called.append(2))]
    )
    loop.run_until(103)
    assert called == [1, 2]
    assert "a scheduled function failed" in caplog.text


def test_a_closed_loop_is_left_alone():
    closed = asyncio.new_event_loop()
    closed.close()
    scheduler = TickScheduler(closed)
    for _ in range(3):
        scheduler.add([(1.0, lambda: None)])
    assert len(scheduler._ticks) <= 1


async def test_functions_of_other_threads_are_called_in_the_loop():
    scheduler = TickScheduler(asyncio.get_running_loop())
    called = asyncio.get_running_loop().create_future()
    due = [(asyncio.get_running_loop().time() + TICK_S, lambda: called.set_result(threading.current_thread()))]
    threading.Thread(target=scheduler.add, args=(due,)).start()
    async with asyncio.timeout(60):
        assert await called is threading.current_thread()
