"""Steady deadlines, and patience after errors."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.outputs.timing import Backoff, Ticks


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


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_that_cannot_be_is_refused(rate_hz):
    with pytest.raises(ValueError, match="above 0"):
        Ticks(rate_hz, start=0.0)


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_calm_time():
    backoff = Backoff(first_s=0.5, longest_s=3.0, calm_s=10.0)
    assert [backoff.failed(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.failed(9.0) == 3.0, "it works for moments only"
    assert [backoff.failed(10.0), backoff.failed(0.0)] == [0.5, 1.0]
