"""Windows depend on the sample clock alone."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.audio.windowing import GapFiller, Windower
from stream_mer.config import WindowSettings
from stream_mer.errors import SourceError
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, Window

HOP_S, CONTEXT_S = 0.5, 3.0
HOP, CONTEXT = 8_000, 48_000
SETTINGS = WindowSettings(hop_s=HOP_S, context_s=CONTEXT_S)


def noise(length: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32)


def chunk(start: int, samples: Samples, captured_at: float = 0.0) -> AudioChunk:
    return AudioChunk(start_sample=start, samples=samples, captured_at=captured_at)


def cut(start: int, samples: Samples, edges: Iterable[int]) -> list[AudioChunk]:
    bounds = [0, *sorted(edges), len(samples)]
    return [chunk(start + a, samples[a:b]) for a, b in itertools.pairwise(bounds)]


def windows_of(chunks: Iterable[AudioChunk], window_settings: WindowSettings = SETTINGS) -> list[Window]:
    gap_filler, windower = GapFiller(window_settings), Windower(window_settings)
    windows = [window for piece in chunks for run in gap_filler.fill(piece) for window in windower.feed(run)]
    tail = windower.finish()
    return windows if tail is None else [*windows, tail]


def by_definition(runs: list[tuple[int, Samples]], hop: int, context: int) -> list[tuple[int, int, int, Samples]]:
    """(index, start, lost, samples) of each window, straight from the whole stream laid out in memory."""
    first, last = runs[0][0], runs[-1][0] + len(runs[-1][1])
    audio = np.zeros(last, np.float32)
    heard = np.zeros(last, bool)
    heard[:first] = True
    skipped: set[int] = set()
    position = first
    for start, samples in runs:
        filled = -(-(position + context) // hop)  # hops until then, the last one completed
        skipped.update(range(filled, start // hop))
        audio[start : start + len(samples)] = samples
        heard[start : start + len(samples)] = True
        position = start + len(samples)
    windows = []
    for index in range(first // hop, -(-last // hop)):
        end = min((index + 1) * hop, last)
        start = max(first, end - context)
        if index not in skipped:
            windows.append((index, start, int((~heard[index * hop : end]).sum()), audio[start:end]))
    return windows


def assert_same(windows: list[Window], expected: list[tuple[int, int, int, Samples]]) -> None:
    assert [(w.index, w.start_sample, w.lost_samples) for w in windows] == [e[:3] for e in expected]
    for window, (*_, samples) in zip(windows, expected, strict=True):
        assert window.samples.dtype == np.float32
        np.testing.assert_array_equal(window.samples, samples)


@given(
    length=st.integers(1, 5 * CONTEXT),
    edges=st.lists(st.integers(0, 5 * CONTEXT), max_size=40),
    start=st.sampled_from([0, 0, 1, HOP, 12_345]),
)
@settings(max_examples=60, deadline=None)
def test_the_same_windows_however_the_audio_is_cut(length: int, edges: list[int], start: int) -> None:
    samples = noise(length)
    chunks = cut(start, samples, [min(edge, length) for edge in edges])
    assert_same(windows_of(chunks), by_definition([(start, samples)], HOP, CONTEXT))


@given(
    runs=st.lists(
        st.tuples(
            st.one_of(st.integers(0, CONTEXT), st.sampled_from([0, HOP, CONTEXT, CONTEXT + 1, 3 * CONTEXT, 99_999])),
            st.integers(1, 2 * CONTEXT),
        ),
        min_size=1,
        max_size=6,
    ),
    piece=st.integers(700, 60_000),
    hop_s=st.sampled_from([0.1, 0.37, 0.5, 2.0]),
)
@settings(max_examples=60, deadline=None)
def test_gaps_are_silence_of_the_same_length(runs: list[tuple[int, int]], piece: int, hop_s: float) -> None:
    window_settings = WindowSettings(hop_s=hop_s, context_s=CONTEXT_S)
    position, laid = 0, []
    for number, (gap, length) in enumerate(runs):
        laid.append((position + gap, noise(length, seed=number)))
        position += gap + length
    chunks = [c for start, samples in laid for c in cut(start, samples, range(piece, len(samples), piece))]
    expected = by_definition(laid, window_settings.hop_samples, window_settings.context_samples)
    assert_same(windows_of(chunks, window_settings), expected)


def test_no_tail_where_nothing_is_left() -> None:
    windower = Windower(SETTINGS)
    assert windower.finish() is None
    windower = Windower(SETTINGS)
    assert len(windower.feed(chunk(0, noise(HOP)))) == 1
    assert windower.finish() is None


def test_finish_gives_the_tail_once_and_ends_the_stream() -> None:
    windower = Windower(SETTINGS)
    windower.feed(chunk(0, noise(10)))
    assert windower.finish() is not None
    assert windower.finish() is None
    with pytest.raises(RuntimeError, match="finished"):
        windower.feed(chunk(10, noise(10)))


def test_windows_are_read_only_and_stay_as_they_were() -> None:
    windower = Windower(SETTINGS)
    audio = noise(20 * CONTEXT)
    kept = [w for piece in cut(0, audio, range(1_000, len(audio), 1_000)) for w in windower.feed(piece)]
    for window in kept:
        assert not window.samples.flags.writeable
        np.testing.assert_array_equal(window.samples, audio[window.start_sample : window.end_sample])


def test_a_window_does_not_change_with_the_array_it_was_fed() -> None:
    windower = Windower(SETTINGS)
    audio = noise(HOP)
    (window,) = windower.feed(chunk(0, audio))
    before = window.samples.copy()
    audio[:] = 0
    np.testing.assert_array_equal(window.samples, before)


def test_captured_at_is_that_of_the_chunk_that_completed_the_window() -> None:
    windower = Windower(SETTINGS)
    assert windower.feed(chunk(0, noise(HOP - 1), captured_at=1.0)) == []
    (first,) = windower.feed(chunk(HOP - 1, noise(2), captured_at=2.0))
    assert first.captured_at == 2.0
    windower.feed(chunk(HOP + 1, noise(2), captured_at=3.0))
    tail = windower.finish()
    assert tail is not None
    assert tail.captured_at == 3.0


@pytest.mark.parametrize("start", [0, HOP - 1])
def test_audio_that_goes_back_is_refused_and_not_taken(start: int) -> None:
    gap_filler = GapFiller(SETTINGS)
    list(gap_filler.fill(chunk(0, noise(HOP))))
    with pytest.raises(SourceError, match=f"sample {HOP} to {start}"):
        list(gap_filler.fill(chunk(start, noise(10))))
    onward = chunk(HOP, noise(HOP))
    assert list(gap_filler.fill(onward)) == [onward]


def test_empty_chunks_change_nothing() -> None:
    empty = np.empty(0, np.float32)
    audio = noise(3 * HOP)
    plain = windows_of([chunk(7, audio)])
    mixed = windows_of([chunk(0, empty), *cut(7, audio, [5, 5, HOP]), chunk(0, empty)])
    assert_same(mixed, [(w.index, w.start_sample, w.lost_samples, w.samples) for w in plain])


def test_a_gap_of_hours_costs_neither_windows_nor_memory() -> None:
    day = 24 * 3600 * SAMPLE_RATE_HZ
    gap_filler, windower = GapFiller(SETTINGS), Windower(SETTINGS)
    for run in gap_filler.fill(chunk(0, noise(HOP + 100))):
        windower.feed(run)
    tracemalloc.start()
    try:
        windows = [w for run in gap_filler.fill(chunk(day + 100, noise(HOP))) for w in windower.feed(run)]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    *before, after = windows
    assert [w.index for w in before] == list(range(1, 2 + CONTEXT // HOP))
    assert [w.lost_samples for w in before] == [HOP - 100, *[HOP] * (CONTEXT // HOP)]
    assert not before[-1].samples.any()
    assert (after.index, after.lost_samples) == (day // HOP, 100)
    assert after.end_sample == day + HOP
    assert len(after.samples) == CONTEXT
    assert not after.samples[: CONTEXT - HOP + 100].any()
    # Two contexts of float32 and the chunk are 0.4 MB; a day of silence would be 5.5 GB.
    assert peak_bytes < 4_000_000


def test_memory_stays_bounded_over_a_long_stream() -> None:
    windower = Windower(SETTINGS)
    audio = noise(1_600)
    for k in range(100):
        windower.feed(chunk(k * 1_600, audio))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for k in range(100, 5_000):
            windower.feed(chunk(k * 1_600, audio))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One buffer (two contexts) may have been allocated while counting; ten minutes of audio would be 31 MB.
    assert after - before < 1_000_000
