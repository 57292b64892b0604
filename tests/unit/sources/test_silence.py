"""Silence as a source: zeros of a given length on the sample clock."""

from __future__ import annotations

import numpy as np
import pytest

from stream_mer.ports import AudioSource
from stream_mer.sources.file import SilenceSource
from stream_mer.types import SAMPLE_RATE_HZ


@pytest.mark.parametrize("duration_s", [1.0, 0.25, 2.5, 61.01])
def test_it_is_as_long_as_it_says_without_gap_or_sound(duration_s: float) -> None:
    source = SilenceSource("song.lrc", duration_s)
    position = 0
    for chunk in source.chunks():
        assert chunk.start_sample == position
        assert chunk.samples.dtype == np.float32
        assert len(chunk.samples) > 0
        assert not chunk.samples.any()
        position = chunk.end_sample
    assert position == duration_s * SAMPLE_RATE_HZ
    assert source.duration_s() == duration_s


def test_no_length_is_no_chunk() -> None:
    assert list(SilenceSource("nothing", 0.0).chunks()) == []


def test_hours_take_no_memory() -> None:
    longest = max(len(chunk.samples) for chunk in SilenceSource("a show", 3600.0).chunks())
    assert longest <= SAMPLE_RATE_HZ


def test_it_is_a_source_that_waits_for_its_reader() -> None:
    source: AudioSource = SilenceSource("song.lrc", 1.0)
    assert (source.name, source.live) == ("song.lrc", False)


def test_closing_ends_it_and_may_be_done_twice() -> None:
    source = SilenceSource("song.lrc", 60.0)
    chunks = source.chunks()
    assert next(chunks).start_sample == 0
    source.close()
    source.close()
    assert list(chunks) == []
