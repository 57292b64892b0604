from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_mer.lyrics.memory import LineMemory, MemorySettings, encode_line
from stream_mer.types import EncodedLine, LyricLine


def line(t1: float) -> EncodedLine:
    return EncodedLine(t1=t1, vector=np.zeros(512, dtype=np.float32), reliability=1.0, n_words=3)


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


def test_reliability_is_the_mean_probability_of_the_words(make_word: Any, encoder: Any) -> None:
    words = (make_word(0, 1, "so", 0.5), make_word(1, 2, "far", 1.0))
    said = LyricLine(segment=0, revision=0, t0=0, t1=2, text="so far", committed=True, words=words)
    encoded = encode_line(said, encoder)
    assert (encoded.reliability, encoded.n_words, encoded.t1) == (pytest.approx(0.75), 2, 2)
    assert encoder.texts == ["so far"]
