from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.lyrics_peers import hear_windows, words_at
from stream_mer.types import SAMPLE_RATE_HZ, Samples


class Plain:
    """Hears the same two words in each window, and takes its time over it."""

    def __init__(self, took_s: float) -> None:
        self.now_s = 0.0
        self.lengths: list[int] = []
        self._took_s = took_s

    def transcribe(self, window: Samples) -> tuple[list[SimpleNamespace], None]:
        self.now_s += self._took_s
        self.lengths.append(len(window))
        return [SimpleNamespace(start=1.0, end=3.0, text=" la love")], None


@pytest.mark.parametrize(("took_s", "ready_s"), [(1.0, [6.0, 11.0, 13.0]), (6.0, [11.0, 17.0, 23.0])])
def test_a_window_is_there_when_its_decode_and_those_before_are_done(took_s: float, ready_s: list[float]) -> None:
    model = Plain(took_s)
    windows = hear_windows(model, np.zeros(12 * SAMPLE_RATE_HZ, np.float32), clock=lambda: model.now_s)
    assert model.lengths == [5 * SAMPLE_RATE_HZ, 5 * SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ]
    assert [one.end_s for one in windows] == [5.0, 10.0, 12.0]
    assert [one.ready_s for one in windows] == ready_s


def test_words_are_spread_over_their_segment_on_the_clock_of_the_song() -> None:
    model = Plain(1.0)
    windows = hear_windows(model, np.zeros(10 * SAMPLE_RATE_HZ, np.float32), clock=lambda: model.now_s)
    words = words_at(windows, lambda one: one.end_s)
    assert [(one.text, one.t0, one.t1) for one in words] == [
        ("la", 1.0, 2.0), ("love", 2.0, 3.0), ("la", 6.0, 7.0), ("love", 7.0, 8.0)
    ]  # fmt: skip
    assert [one.settled_s for one in words] == [5.0, 5.0, 10.0, 10.0]
    assert [one.settled_s for one in words_at(windows, lambda one: one.ready_s)] == [6.0, 6.0, 11.0, 11.0]
