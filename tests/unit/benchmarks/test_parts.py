"""Timers around the parts of the live path."""

import sys
import types

import pytest

from benchmarks.parts import SEAMS, Seam, time_parts
from stream_mer.errors import StreamMerError


class Clock:
    """Counts the work of this thread."""

    now_ns = 0

    def work(self, ms):
        self.now_ns += ms * 1_000_000

    def thread_time_ns(self):
        return self.now_ns


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("benchmarks.parts.time", clock)
    return clock


@pytest.fixture
def module(monkeypatch, clock):
    """A module with a function that calls another one, and a generator that does."""
    module = types.ModuleType("timed_module")

    def inner():
        clock.work(20)
        return 1

    def outer():
        clock.work(3)
        return 1 + module.inner()

    def steps(n):
        for i in range(n):
            clock.work(5)
            yield i + module.inner()

    module.inner, module.outer, module.steps = inner, outer, steps
    monkeypatch.setitem(sys.modules, "timed_module", module)
    return module


def _seams(*names):
    return [Seam(f"timed_module:{name}", name) for name in names]


def test_the_time_of_an_inner_part_counts_once(module):
    with time_parts(_seams("outer", "inner")) as timers:
        assert module.outer() == 2
    assert timers.read_ms() == {"outer": 3, "inner": 20}
    assert timers.uncalled == []


def test_a_generator_is_timed_without_its_reader(module, clock):
    with time_parts(_seams("steps", "inner")) as timers:
        read = []
        for item in module.steps(2):
            clock.work(100)
            read.append(item)
    assert read == [1, 2]
    assert timers.read_ms() == {"steps": 10, "inner": 40}


def test_functions_are_put_back(module):
    before = vars(module).copy()
    with time_parts(_seams("outer", "inner", "steps")) as timers:
        assert vars(module) != before
    assert vars(module) == before
    assert timers.uncalled == ["timed_module:inner", "timed_module:outer", "timed_module:steps"]


@pytest.mark.parametrize("function", ["timed_module:gone", "timed_module:inner.gone", "no_such_module:function"])
@pytest.mark.usefixtures("module")
def test_a_function_that_is_gone_is_an_error(function):
    with pytest.raises(StreamMerError, match=f"{function} is gone"), time_parts([Seam(function, "part")]):
        pass


def test_every_function_of_the_live_path_is_there():
    with time_parts(SEAMS):
        pass
