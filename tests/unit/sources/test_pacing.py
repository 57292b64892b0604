"""Never ahead of the clock, never later than needed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.cluster.channel_task import ResumedSource
from stream_mer.config import EngineSettings, LyricsSettings, WindowSettings
from stream_mer.engine import Engine
from stream_mer.ports import ChunkableSource
from stream_mer.sources.file import CHUNK_SAMPLES, FileSource
from stream_mer.sources.pacing import (
    COARSE_CHUNK_SAMPLES,
    FINE_CHUNK_SAMPLES,
    LYRICS_CHUNK_SAMPLES,
    HopChunker,
    Pacer,
    set_chunker,
)
from stream_mer.sources.remote import RemoteSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, InputLevels, StreamEvent, seconds


class Clock:
    """Time that passes only by waiting, a little less than asked for each time, as timers may."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, wait_s: float) -> bool:
        self.waits.append(wait_s)
        self.now += wait_s if wait_s < 1e-3 else wait_s * 0.9
        return False


def test_audio_is_held_until_it_would_have_been_captured() -> None:
    clock = Clock()
    pacer = Pacer(threading.Event(), clock=clock, wait=clock.wait)
    for k in range(1, 20):
        assert pacer.hold(k * 1_600)
        assert clock.now >= 100.0 + k * 0.1


def test_a_slow_reader_catches_up_without_waiting() -> None:
    clock = Clock()
    pacer = Pacer(threading.Event(), clock=clock, wait=clock.wait)
    pacer.hold(1_600)
    clock.now += 5.0
    clock.waits.clear()
    for k in range(2, 50):
        assert pacer.hold(k * 1_600)
    assert clock.waits == []


def test_the_wait_ends_when_told() -> None:
    stop = threading.Event()
    stop.set()
    assert not Pacer(stop).hold(16_000 * 3_600)


HOP = SAMPLE_RATE_HZ // 2


@given(
    hop_s=st.floats(0.1, 2.0),
    longest=st.sampled_from([LYRICS_CHUNK_SAMPLES, COARSE_CHUNK_SAMPLES]),
    start=st.integers(0, 10**9),
    fine=st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_every_hop_ends_where_a_piece_does(hop_s: float, longest: int, start: int, fine: list[bool]) -> None:
    hop = WindowSettings(hop_s=hop_s).hop_samples
    wishes = iter(fine)
    chunker = HopChunker(hop_samples=hop, longest_samples=longest, fine=lambda: next(wishes))
    for wanted_finely in fine:
        end = chunker(start)
        assert start < end <= (start // hop + 1) * hop
        assert end - start <= (FINE_CHUNK_SAMPLES if wanted_finely else longest)
        start = end


def ends(source: FileSource) -> list[int]:
    return [chunk.end_sample for chunk in source.chunks()]


@pytest.fixture
def song(tmp_path: Path, music, write_wav) -> Path:  # type: ignore[no-untyped-def]
    return write_wav(tmp_path / "song.wav", music(1.3))


@pytest.mark.usefixtures("never_waits")
def test_a_paced_file_is_cut_as_whoever_listens_asks_for(song: Path) -> None:
    source = FileSource(song, paced=True)
    assert len(ends(source)) == 65
    set_chunker(source, HopChunker(hop_samples=HOP, longest_samples=COARSE_CHUNK_SAMPLES, fine=lambda: False))
    assert [seconds(end) for end in ends(source)] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.3]


def test_a_file_that_is_tagged_keeps_its_chunks(song: Path) -> None:
    source = FileSource(song)
    set_chunker(source, lambda start: start + 1)
    assert {end % CHUNK_SAMPLES for end in ends(source)} == {0}


@pytest.mark.usefixtures("never_waits")
def test_pieces_become_short_and_long_again_while_a_file_is_heard(song: Path) -> None:
    watched = False
    source = FileSource(song, paced=True)
    set_chunker(source, HopChunker(hop_samples=HOP, longest_samples=COARSE_CHUNK_SAMPLES, fine=lambda: watched))
    heard = []
    for chunk in source.chunks():
        heard.append(chunk)
        watched = 0.25 <= seconds(chunk.end_sample) < 0.75
    lengths = [len(chunk.samples) for chunk in heard]
    to_the_hop = [*[FINE_CHUNK_SAMPLES] * 12, FINE_CHUNK_SAMPLES // 2]
    assert lengths == [COARSE_CHUNK_SAMPLES, *to_the_hop, *[FINE_CHUNK_SAMPLES] * 13, 3_840, COARSE_CHUNK_SAMPLES, 800]
    assert all(one.end_sample == other.start_sample for one, other in itertools.pairwise(heard))
    whole = np.concatenate([chunk.samples for chunk in FileSource(song).chunks()])
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in heard]), whole)


@pytest.mark.usefixtures("never_waits")
def test_a_continued_channel_is_cut_on_its_own_clock(song: Path) -> None:
    source = ResumedSource(FileSource(song, paced=True), 3 * HOP - 1_000)
    set_chunker(source, HopChunker(hop_samples=HOP, longest_samples=COARSE_CHUNK_SAMPLES, fine=lambda: False))
    found = [chunk.end_sample for chunk in source.chunks()]
    assert found[:4] == [3 * HOP, 3 * HOP + COARSE_CHUNK_SAMPLES, 4 * HOP, 4 * HOP + COARSE_CHUNK_SAMPLES]


def test_what_the_world_paces_is_not_divided() -> None:
    live = RemoteSource()
    assert not isinstance(live, ChunkableSource)
    set_chunker(live, lambda _: pytest.fail("it was asked"))
    continued = ResumedSource(live, 0)
    set_chunker(continued, lambda _: pytest.fail("it was asked"))


class Sink:
    def __init__(self) -> None:
        self.events: list[StreamEvent] = []

    def publish(self, event: StreamEvent) -> None:
        self.events.append(event)


class WatchedFile(FileSource):
    """Knows how far it was heard."""

    heard_s = 0.0

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in super().chunks():
            self.heard_s = seconds(chunk.end_sample)
            yield chunk


@pytest.mark.usefixtures("never_waits")
def test_levels_begin_and_end_while_a_stream_runs_with_no_gap_in_them(song: Path, tiny_model: Path) -> None:
    window = WindowSettings(hop_s=0.1)
    engine = Engine(EngineSettings(model=str(tiny_model), window=window, lyrics=LyricsSettings(mode="off")))
    source, sink = WatchedFile(song, paced=True), Sink()
    engine.pipeline(source, sink, in_real_time=True, levels_wanted=lambda: 0.3 <= source.heard_s < 0.8).run()
    frames = [event.index for event in sink.events if isinstance(event, EmotionFrame)]
    levels = [event.t for event in sink.events if isinstance(event, InputLevels)]
    assert frames == list(range(13))
    # Wanted when the piece from 0.2 s on had come, and no more when the one before 0.8 s was there.
    assert levels == pytest.approx([0.22 + 0.02 * i for i in range(29)])


@pytest.mark.parametrize(
    ("lyrics", "wanted", "length"),
    [
        ("off", False, COARSE_CHUNK_SAMPLES),
        ("off", True, FINE_CHUNK_SAMPLES),
        ("recognise", False, LYRICS_CHUNK_SAMPLES),
    ],
)
def test_an_engine_asks_for_what_its_stream_needs(
    song: Path, tiny_model: Path, lyrics: str, wanted: bool, length: int
) -> None:
    settings = LyricsSettings(mode=lyrics, model="no such weights", allow_download=False)  # type: ignore[arg-type]
    engine = Engine(EngineSettings(model=str(tiny_model), lyrics=settings))
    source = FileSource(song, paced=True)
    pipeline = engine.pipeline(source, Sink(), in_real_time=True, levels_wanted=lambda: wanted)
    assert len(next(iter(source.chunks())).samples) == length
    pipeline.stop()


@pytest.fixture
def never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_mer.sources.pacing.Pacer.hold", lambda _self, _end_sample: True)
