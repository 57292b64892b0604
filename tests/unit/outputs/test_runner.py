"""Outputs are driven at their rate, and none of them can harm the show."""

import logging
import math
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from helpers import FakeClock, wait_for
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.outputs import runner, values
from stream_mer.outputs.runner import Backoff, ShowRunner, Ticks
from stream_mer.server.hub import Hub
from stream_mer.types import ControlCommand, Spread
from tools.examples import FRAME, LEVELS, STATUS

PATIENCE_S = 60.0


class Recorder:
    """An output that keeps what it gets, and fails or hangs when asked to."""

    def __init__(self, name="recorder", *, stream="main", rate_hz=50.0, wants_levels=False):
        self.name, self.stream, self.rate_hz, self.wants_levels = name, stream, rate_hz, wants_levels
        self.claims = frozenset()
        self.calls: list[str] = []
        self.values = []
        self.times: list[float] = []
        self.trouble: Exception | None = None
        self.trouble_at_opening: Exception | None = None
        self.trouble_at_the_end: Exception | None = None
        self.free = threading.Event()
        self.free.set()

    def open(self):
        self.calls.append("open")
        if self.trouble_at_opening is not None:
            raise self.trouble_at_opening

    def send(self, t, values):
        self.free.wait(PATIENCE_S)
        if self.trouble is not None:
            raise self.trouble
        self.calls.append("send")
        self.times.append(t)
        self.values.append(values)
        return 3

    def finish(self):
        self.calls.append("finish")
        if self.trouble_at_the_end is not None:
            raise self.trouble_at_the_end

    def close(self):
        self.calls.append("close")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """However slow the machine is, values do not grow stale, and an output has the time to finish."""
    monkeypatch.setattr(values, "STALE_AFTER_S", math.inf)
    monkeypatch.setattr(runner, "FINISH_WITHIN_S", PATIENCE_S)


@pytest.fixture
def hub():
    hub = Hub()
    hub.sink("main")
    return hub


@contextmanager
def running(hub, *outputs, clock=time.monotonic):
    show = ShowRunner(outputs, clock=clock)
    show.start(hub)
    try:
        yield show
    finally:
        for output in outputs:
            output.free.set()
        show.stop()


def test_an_output_gets_the_newest_values_and_says_goodbye(hub):
    output = Recorder()
    with running(hub, output) as show:
        wait_for(lambda: output.values)
        assert not output.values[0].alive, "it is called before there is anything"
        hub.sink("main").publish(FRAME)
        wait_for(lambda: output.values[-1].alive)
        wait_for(lambda: show.statistics()[0].sent >= 6)
    assert output.values[-1].valence == FRAME.valence
    (statistics,) = show.statistics()
    assert (statistics.name, statistics.stream, statistics.up, statistics.errors) == ("recorder", "main", True, 0)
    assert statistics.sent == 3 * output.calls.count("send")
    assert output.calls[0] == "open"
    assert output.calls[-2:] == ["finish", "close"]
    assert output.times == sorted(set(output.times))


def test_stopping_twice_is_stopping_once_and_stopping_before_the_start_is_nothing(hub):
    output = Recorder()
    ShowRunner([output]).stop()
    with running(hub, output) as show:
        wait_for(lambda: output.values)
        show.stop()
    assert output.calls.count("finish") == 1


def test_each_output_follows_its_own_stream_and_takes_its_own_peaks(hub):
    hub.sink("foyer")
    one, other, foyer = Recorder("one", wants_levels=True), Recorder("other"), Recorder("foyer", stream="foyer")
    with running(hub, one, other, foyer):
        assert hub.is_wanted("main", "levels")
        hub.sink("main").publish(FRAME)
        hub.sink("main").publish(LEVELS)
        for output in (one, other):
            wait_for(lambda output=output: any(values.onset == LEVELS.onset for values in output.values))
        assert not any(values.alive for values in foyer.values)


def test_levels_are_measured_only_where_an_output_wants_them(hub):
    with running(hub, Recorder()):
        assert not hub.is_wanted("main", "levels")


@pytest.mark.parametrize("when", ["trouble", "trouble_at_opening"])
@pytest.mark.parametrize("error", [OSError(101, "Network is unreachable"), ZeroDivisionError("a bug")])
def test_an_error_is_logged_once_and_tried_again_until_it_works(hub, caplog, when, error):
    output = Recorder()
    setattr(output, when, error)
    with caplog.at_level(logging.INFO), running(hub, output) as show:
        wait_for(lambda: show.statistics()[0].errors >= 2)
        assert not show.statistics()[0].up
        setattr(output, when, None)
        wait_for(lambda: show.statistics()[0].up)
    logged = [record for record in caplog.records if record.name == runner.__name__]
    assert [record.getMessage() for record in logged] == [
        f"recorder cannot be sent to: {error.args[-1]}; trying again",
        "recorder is sent to",
    ]
    assert (logged[0].exc_info is None) == isinstance(error, OSError), "a traceback for unexpected errors alone"
    assert output.calls.count("open") == output.calls.count("close") >= 3
    assert output.calls.count("finish") == 1


def test_what_never_worked_gets_no_finish(hub):
    output = Recorder()
    output.trouble_at_opening = ConnectionRefusedError()
    with running(hub, output) as show:
        wait_for(lambda: show.statistics()[0].errors)
    assert set(output.calls) == {"open", "close"}


def test_a_failing_finish_harms_nobody(hub, caplog):
    output = Recorder()
    output.trouble_at_the_end = BrokenPipeError()
    with caplog.at_level(logging.WARNING), running(hub, output):
        wait_for(lambda: output.values)
    assert output.calls[-2:] == ["finish", "close"]
    assert not caplog.records


def test_an_output_that_hangs_holds_up_neither_the_hub_nor_the_others_nor_the_end(hub, caplog, monkeypatch):
    monkeypatch.setattr(runner, "FINISH_WITHIN_S", 0.05)
    stuck, healthy = Recorder("stuck"), Recorder("healthy")
    stuck.free.clear()
    with running(hub, stuck, healthy) as show:
        for i in range(50):
            hub.sink("main").publish(replace(FRAME, index=i))
        wait_for(lambda: len(healthy.values) > 5)
        assert stuck.values == []
        show.stop()
        assert "stuck does not end" in caplog.text
        wait_for(lambda: healthy.calls[-1] == "close")


def test_what_a_slow_output_missed_is_left_out_and_counted(hub):
    output = Recorder()
    with running(hub, output) as show:
        wait_for(lambda: output.values)
        output.free.clear()
        hub.sink("main").publish(FRAME)
        count = len(output.values)
        time.sleep(0.3)  # a lower bound: at 50 Hz some fifteen calls pass by
        output.free.set()
        wait_for(lambda: len(output.values) > count + 1)
    assert show.statistics()[0].skipped >= 5
    assert output.values[-1].alive


@pytest.mark.parametrize("rate_hz", [0.0, 51.0])
def test_a_rate_that_cannot_be_is_refused(rate_hz):
    with pytest.raises(ValueError, match="at most 50"):
        ShowRunner([Recorder(rate_hz=rate_hz)])


def test_deadlines_do_not_drift_however_late_each_one_is_kept():
    ticks = Ticks(50.0, start=7.0)
    now = 7.0
    for i in range(10_000):
        now = ticks.after(now)
        assert now == pytest.approx(7.0 + i / 50)
        now += 0.013
    assert ticks.skipped == 0


def test_what_was_missed_is_passed_over():
    ticks = Ticks(10.0, start=0.0)
    assert ticks.after(0.0) == 0.0
    assert ticks.after(1.05) == 1.0, "at once"
    assert ticks.skipped == 9
    assert ticks.after(1.06) == pytest.approx(1.1)


@given(st.floats(0.5, 50), st.lists(st.floats(0, 3), max_size=60))
def test_calls_are_never_more_than_the_rate_allows(rate_hz, lateness):
    ticks = Ticks(rate_hz, start=0.0)
    now, deadlines = 0.0, []
    for late_s in lateness:
        deadline = ticks.after(now)
        assert deadline > now - 1 / rate_hz - 1e-9, "only the newest of those that passed"
        deadlines.append(deadline)
        now = max(now, deadline) + late_s
    assert deadlines == sorted(set(deadlines))
    assert len(deadlines) + ticks.skipped <= math.floor(now * rate_hz + 1e-6) + 1


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_calm_time():
    backoff = Backoff(first_s=0.5, longest_s=3.0, calm_s=10.0)
    assert [backoff.failed(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.failed(9.0) == 3.0, "it works for moments only"
    assert [backoff.failed(10.0), backoff.failed(0.0)] == [0.5, 1.0]


def test_outputs_come_and_go_while_the_others_are_sent_to(hub):
    first, second = Recorder("first"), Recorder("second", wants_levels=True)
    with running(hub, first) as show:
        hub.sink("main").publish(FRAME)
        wait_for(lambda: first.values)
        show.add(second)
        hub.sink("main").publish(FRAME)
        wait_for(lambda: second.values and second.values[-1].alive)
        assert hub.is_wanted("main", "levels")
        show.remove(second)
        assert second.calls[-2:] == ["finish", "close"]
        assert not hub.is_wanted("main", "levels")
        n = len(first.values)
        wait_for(lambda: len(first.values) > n)
        assert [one.name for one in show.statistics()] == ["first"]


def test_an_output_that_drives_what_another_one_drives_is_refused(hub):
    first, second = Recorder("first"), Recorder("second")
    first.claims = second.claims = frozenset({"universe 1"})
    with running(hub, first) as show:
        with pytest.raises(SettingError, match="universe 1 is driven by first"):
            show.add(second)
        assert [one.name for one in show.statistics()] == ["first"]
        show.remove(first)
        show.add(second)
        wait_for(lambda: second.values)
        show.remove(second)


def test_a_test_pattern_shows_every_quadrant_and_then_the_values_again(hub, monkeypatch):
    clock = FakeClock()

    class Ticking(Recorder):
        def send(self, t, values):
            clock.now += 1 / self.rate_hz
            return super().send(t, values)

    monkeypatch.setattr(runner, "TEST_S", 0.4)
    monkeypatch.setattr(values, "TEST_STEP_S", 0.1)
    output = Ticking()
    with running(hub, output, clock=clock) as show:
        hub.sink("main").publish(FRAME)
        wait_for(lambda: output.values and output.values[-1].alive)
        show.test(output)
        assert show.statistics_of(output).testing
        wait_for(lambda: not show.statistics_of(output).testing)
        n = len(output.values)
        wait_for(lambda: len(output.values) > n + 1)
    shown = [one.category for one in output.values if one.line.startswith("test: ")]
    assert list(dict.fromkeys(shown)) == ["happy", "angry", "sad", "relaxed"]
    assert {one.changes for one in output.values} == {0}, "a test fires no cue"
    assert output.values[-1].valence == FRAME.valence


def test_what_cannot_be_sent_to_is_not_tested_and_a_blackout_stays_dark(hub):
    output = Recorder()
    output.trouble = OSError(101, "Network is unreachable")
    with running(hub, output) as show:
        wait_for(lambda: show.statistics_of(output).last_error)
        with pytest.raises(SettingError, match="Network is unreachable"):
            show.test(output)
        output.trouble = None
        wait_for(lambda: show.statistics_of(output).up)
        hub.sink("main").publish(FRAME)
        hub.control(ControlCommand(action="blackout"))
        wait_for(lambda: output.values[-1].hold == "blackout")
        with pytest.raises(SettingError, match="blackout"):
            show.test(output)


def test_the_spread_of_a_stream_can_change(hub):
    output = Recorder()
    spread = Spread(valence=((-1.0, -1.0), (0.0, 0.5), (1.0, 1.0)))
    with running(hub, output) as show:
        hub.sink("main").publish(replace(STATUS, spread=spread))
        hub.sink("main").publish(FRAME)
        wait_for(lambda: output.values and output.values[-1].alive)
        assert output.values[-1].valence > FRAME.valence
        show.set_spread("main", spread=False)
        hub.sink("main").publish(FRAME)
        wait_for(lambda: output.values[-1].valence == FRAME.valence)
