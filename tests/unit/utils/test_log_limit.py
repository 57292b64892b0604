"""What happens again and again is one line a minute."""

from __future__ import annotations

import logging

import pytest
from helpers import FakeClock

from stream_mer.utils.log_limit import MAX_KEYS, LimitedLog

LOG = logging.getLogger("test.log_limit")


def test_each_subject_has_a_line_a_minute_that_counts_those_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(0.0)
    limited = LimitedLog(LOG, clock=clock)
    for second in range(121):
        clock.now = float(second)
        limited.log(logging.WARNING, "hall", "it does not fit")
        limited.log(logging.WARNING, "foyer", "nor does this")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "it does not fit",
        "nor does this",
        "it does not fit (and 59 more like it since the line before)",
        "nor does this (and 59 more like it since the line before)",
        "it does not fit (and 59 more like it since the line before)",
        "nor does this (and 59 more like it since the line before)",
    ]


def test_subjects_without_number_take_no_more_memory_than_some(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock(0.0)
    limited = LimitedLog(LOG, clock=clock)
    for number in range(10 * MAX_KEYS):
        limited.log(logging.WARNING, f"stream {number}", "it does not fit")
    assert len(limited._logged) == MAX_KEYS + 1
    assert len(caplog.records) == MAX_KEYS + 1, "those beyond share one line"
    clock.now = 61.0
    limited.log(logging.WARNING, "another", "it does not fit")
    assert len(limited._logged) == 1, "those of more than a minute ago are forgotten"
