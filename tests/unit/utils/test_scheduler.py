"""Functions are called at the tick nearest to their time, by one timer of the event loop."""

import asyncio
import threading

import pytest

from stream_mer.utils.scheduler import MAX_INTERVAL_S, MAX_TICKS, TICK_S, TickScheduler


def nothing():
    pass


class Timer:
    def __init__(self, at, call):
        self.at, self.call, self.is_cancelled = at, call, False

    def cancel(self):
        self.is_cancelled = True


class ManualLoop:
    """A loop whose clock the test turns."""

    def __init__(self):
        self.now = 100 * TICK_S
        self.wakes = 0
        self.calls = 0
        self._timers = []

    @property
    def timers(self):
        self._timers = [timer for timer in self._timers if not timer.is_cancelled]
        return self._timers

    def time(self):
        return self.now

    def call_soon_threadsafe(self, call):
        self.wakes += 1
        self.call_at(self.now, call)

    def call_at(self, at, call):
        self._timers.append(Timer(at, call))
        return self._timers[-1]

    def run_until(self, tick):
        while due := [timer for timer in self.timers if timer.at <= tick * TICK_S + 1e-9]:
            timer = min(due, key=lambda timer: timer.at)
            self._timers.remove(timer)
            self.now = max(self.now, timer.at)
            self.calls += 1
            timer.call()
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
    for _ in range(3):
        scheduler.add([(tick * TICK_S, nothing) for tick in (101, 102, 103)])
    assert loop.wakes == 1
    loop.run_until(103)
    assert loop.calls == 4
    scheduler.add([(104 * TICK_S, nothing)])
    assert (loop.wakes, len(loop.timers)) == (1, 1), "the next ones are expected"
    loop.run_until(200)
    assert (loop.calls, loop.timers) == (6, [])
    scheduler.add([(201 * TICK_S, nothing)])
    assert loop.wakes == 2


def test_what_is_wanted_less_often_is_called_together_and_no_tick_is_in_vain(loop, scheduler):
    called = []

    def add(*ticks, interval_s):
        functions = [lambda tick=tick: called.append((tick, round(loop.now / TICK_S))) for tick in ticks]
        scheduler.add(zip([tick * TICK_S for tick in ticks], functions, strict=True), interval_s=interval_s)

    add(*range(101, 111), interval_s=0.1)
    loop.run_until(110)
    assert called == [(tick, 105 if tick <= 105 else 110) for tick in range(101, 111)]
    assert loop.calls == 3
    add(*range(111, 115), interval_s=1e6)
    loop.run_until(120)
    assert called[10:] == [(tick, 120) for tick in range(111, 115)]
    assert called[-1][1] * TICK_S - 111 * TICK_S < MAX_INTERVAL_S


def test_one_that_is_due_earlier_than_all_others_sets_the_timer_anew(loop, scheduler):
    called = []
    scheduler.add([(110 * TICK_S, lambda: called.append("late"))])
    loop.run_until(101)
    scheduler.add([(103 * TICK_S, lambda: called.append("early"))])
    loop.run_until(103)
    assert called == ["early"]
    assert len(loop.timers) == 1
    loop.run_until(110)
    assert called == ["early", "late"]


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
