import time

import numpy as np
import pytest

from benchmarks.peers_result import Way
from benchmarks.peers_timing import noisy_chord, passes, time_in_turn, timed


def test_ways_are_run_in_turn_and_the_first_run_does_not_count() -> None:
    order: list[str] = []

    def way(name: str) -> Way:
        def cpu_s() -> float:
            order.append(name)
            return float(len(order))

        return Way(how=name, cpu_s=cpu_s)

    costs = time_in_turn([way("a"), way("b")], 2)
    assert order == ["a", "b"] * 3
    assert costs == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_the_cost_is_that_of_one_pass_for_a_second_of_music(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "process_time", lambda: clock[0])

    def compute() -> None:
        clock[0] += 6.0

    assert timed(compute, repeats=4, music_s=30.0) == pytest.approx(0.2)


def test_a_run_hears_about_half_a_clip_and_at_least_something() -> None:
    assert [passes(seconds) for seconds in (30.0, 10.0, 3.0)] == [1, 2, 5]


def test_what_is_heard_is_the_same_each_time_and_within_range() -> None:
    np.testing.assert_array_equal(noisy_chord(0.5), noisy_chord(0.5))
    assert len(noisy_chord(0.5)) == 8000
    assert np.abs(noisy_chord(0.5)).max() < 1
