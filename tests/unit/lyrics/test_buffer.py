from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.lyrics.tracker import RollingAudio
from stream_mer.types import AudioChunk


def chunk(start: int, stop: int) -> AudioChunk:
    return AudioChunk(start_sample=start, samples=np.arange(start + 1, stop + 1, dtype=np.float32))


@given(st.lists(st.integers(0, 25), max_size=20), st.integers(1, 30), st.integers(0, 100))
def test_it_holds_the_newest_samples_however_they_came(sizes: list[int], capacity: int, start: int) -> None:
    audio = RollingAudio(capacity_samples=capacity)
    position = start
    for size in sizes:
        audio.feed(chunk(position, position + size))
        position += size
    kept = min(capacity, position - start)
    np.testing.assert_array_equal(audio.snapshot(), np.arange(position - kept + 1, position + 1, dtype=np.float32))
    if sizes:
        assert (audio.start_sample, audio.end_sample) == (position - kept, position)


@pytest.mark.parametrize("gap", [3, 10, 1_000_000_007])
def test_a_gap_becomes_silence_of_its_length(gap: int) -> None:
    audio = RollingAudio(capacity_samples=10)
    audio.feed(chunk(0, 8))
    audio.feed(chunk(8 + gap, 10 + gap))
    expected = [*range(1, 9), *[0] * min(gap, 20), 9 + gap, 10 + gap][-10:]
    np.testing.assert_array_equal(audio.snapshot(), np.array(expected, dtype=np.float32))
    assert audio.end_sample == 10 + gap


def test_samples_fed_twice_count_once() -> None:
    audio = RollingAudio(capacity_samples=10)
    audio.feed(chunk(0, 6))
    audio.feed(chunk(2, 8))
    audio.feed(chunk(0, 3))
    np.testing.assert_array_equal(audio.snapshot(), np.arange(1, 9, dtype=np.float32))


def test_what_is_dropped_stays_dropped() -> None:
    audio = RollingAudio(capacity_samples=10)
    audio.feed(chunk(0, 9))
    audio.drop_before(4)
    audio.drop_before(2)
    audio.feed(chunk(9, 11))
    np.testing.assert_array_equal(audio.snapshot(), np.arange(5, 12, dtype=np.float32))
    audio.drop_before(99)
    assert audio.length_samples == 0
    assert audio.end_sample == 11


def test_the_snapshot_is_a_copy_that_cannot_be_written() -> None:
    audio = RollingAudio(capacity_samples=4)
    audio.feed(chunk(0, 4))
    taken = audio.snapshot()
    audio.feed(chunk(4, 8))
    np.testing.assert_array_equal(taken, [1, 2, 3, 4])
    with pytest.raises(ValueError, match="read-only"):
        taken[0] = 0
