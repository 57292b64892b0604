from __future__ import annotations

import numpy as np

from stream_mer.lyrics.feeds import LineMemory, MemorySettings
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.types import EncodedLine


def line(t1: float) -> EncodedLine:
    return EncodedLine(t1=t1, vector=np.zeros(LINE_FEATURES, dtype=np.float32), reliability=1.0, n_words=3)


def test_it_keeps_the_newest_lines_oldest_first() -> None:
    memory = LineMemory(MemorySettings(max_lines=3))
    for t in range(5):
        memory.add(line(float(t)))
    assert [one.t1 for one in memory.lines(10.0)] == [2.0, 3.0, 4.0]


def test_old_lines_are_forgotten() -> None:
    memory = LineMemory(MemorySettings(forget_s=100.0))
    memory.add(line(10.0))
    memory.add(line(50.0))
    assert len(memory.lines(110.0)) == 2
    assert [one.t1 for one in memory.lines(120.0)] == [50.0]


def test_no_line_is_newer_than_now() -> None:
    memory = LineMemory()
    memory.add(line(10.0))
    assert memory.lines(8.0)[0].t1 == 8.0
    assert memory.lines(11.0)[0].t1 == 10.0
