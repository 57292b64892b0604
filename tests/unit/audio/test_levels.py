"""How loud, and whether it clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.audio.levels import FLOOR_DBFS, OVERLOAD_RUN, Level, OverloadCounter, measure


def test_a_full_scale_sine_has_a_peak_of_0_and_3_less_on_average() -> None:
    level = measure(np.sin(np.arange(16_000) * 0.1).astype(np.float32))
    assert level.peak_dbfs == pytest.approx(0.0, abs=0.02)
    assert level.rms_dbfs == pytest.approx(-3.01, abs=0.02)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros((10, 2)), np.full(4, np.nan)])
def test_nothing_to_hear_is_the_floor(samples: np.ndarray) -> None:
    assert measure(samples.astype(np.float32)) == Level(peak_dbfs=FLOOR_DBFS, rms_dbfs=FLOOR_DBFS)


def test_peaks_that_just_fit_do_not_clip() -> None:
    samples = np.zeros((100, 1), np.float32)
    samples[::3] = 1.0
    samples[1::3] = -1.0
    assert OverloadCounter().feed(samples) == 0


def test_a_run_at_either_end_of_the_scale_clips_on_its_channel_alone() -> None:
    samples = np.zeros((100, 2), np.float32)
    samples[10 : 10 + OVERLOAD_RUN, 0] = [1.0, 1.2, 0.9995]
    samples[50:60, 1] = -1.0
    assert OverloadCounter().feed(samples) == 1 + 8


@given(st.lists(st.integers(0, 20), max_size=20))
def test_the_count_does_not_depend_on_the_blocks(lengths: list[int]) -> None:
    full = np.random.default_rng(5).uniform(size=(200, 2)) < 0.7
    samples = full.astype(np.float32)
    counter, start, count = OverloadCounter(), 0, 0
    for length in [*lengths, 200]:
        count += counter.feed(samples[start : start + length])
        start += length
    assert count == OverloadCounter().feed(samples)
