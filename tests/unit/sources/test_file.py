"""Files as sources: what every format shares, tried on WAV. Codecs and damage are in tests/integration."""

from __future__ import annotations

import itertools
import os
import threading
import wave
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.cluster.channel_task import ResumedSource
from stream_mer.config import EngineSettings, LyricsSettings, WindowSettings
from stream_mer.engine import Engine
from stream_mer.errors import SourceError
from stream_mer.ports import ChunkableSource
from stream_mer.sources import decoding, file
from stream_mer.sources.decoding import DecodedAudio, cut_out
from stream_mer.sources.file import (
    CHUNK_SAMPLES,
    COARSE_CHUNK_SAMPLES,
    FINE_CHUNK_SAMPLES,
    LYRICS_CHUNK_SAMPLES,
    FileSource,
    HopChunker,
    Pacer,
    SilenceSource,
    set_chunker,
    set_preview,
)
from stream_mer.sources.remote import RemoteSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, InputLevels, StreamEvent, seconds


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 16_000) -> Path:
    """Samples of int16, shape [n] or [n, channels]."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(samples.astype("<i2").tobytes())
    return path


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-20_000, 20_000, n, dtype=np.int16)


def joined(chunks: list[AudioChunk]) -> np.ndarray:
    assert chunks[0].start_sample == 0
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample == before.end_sample
    return np.concatenate([chunk.samples for chunk in chunks])


def test_the_samples_are_those_of_the_file(tmp_path: Path) -> None:
    audio = noise(20_000)
    chunks = list(FileSource(write_wav(tmp_path / "a.wav", audio)).chunks())
    np.testing.assert_array_equal(joined(chunks), audio.astype(np.float32) / 32_768)
    assert {len(chunk.samples) for chunk in chunks[:-1]} == {CHUNK_SAMPLES}
    assert len(chunks[-1].samples) == 20_000 % CHUNK_SAMPLES


def test_the_same_chunks_every_time(tmp_path: Path) -> None:
    source = FileSource(write_wav(tmp_path / "a.wav", noise(30_000), 44_100))
    np.testing.assert_array_equal(joined(list(source.chunks())), joined(list(source.chunks())))


@pytest.mark.parametrize("run_s", [0.0, 0.3, 100.0])
def test_how_much_is_decoded_at_a_time_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_s: float
) -> None:
    path = write_wav(tmp_path / "a.wav", np.stack([noise(88_200), noise(88_200)[::-1]], axis=1), 44_100)
    expected = joined(list(FileSource(path).chunks()))
    monkeypatch.setattr(decoding, "RUN_S", run_s)
    lengths_s = [len(run.samples) / run.rate_hz for run in decoding.decode_file(path)]
    assert sum(lengths_s) == pytest.approx(2.0)
    assert min(lengths_s[:-1], default=run_s) >= run_s
    np.testing.assert_array_equal(joined(list(FileSource(path).chunks())), expected)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_loop_has_no_seam(tmp_path: Path, rate_hz: int) -> None:
    # 441 whole periods of a tone: joined end to start it goes on as if it had no end.
    n = rate_hz // 10
    period = np.round(10_000 * np.sin(2 * np.pi * 441 * np.arange(n) / n)).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", period, rate_hz)
    long = write_wav(tmp_path / "long.wav", np.tile(period, 7), rate_hz)
    looped = FileSource(path, loop=True)
    heard = joined(list(itertools.islice(looped.chunks(), 6)))
    np.testing.assert_array_equal(heard, joined(list(FileSource(long).chunks()))[: len(heard)])


def test_close_ends_a_loop(tmp_path: Path) -> None:
    source = FileSource(write_wav(tmp_path / "a.wav", noise(100)), loop=True)
    chunks = source.chunks()
    next(chunks)
    source.close()
    source.close()
    assert list(chunks) == []
    assert list(source.chunks()) == []


def test_close_ends_the_wait_of_a_paced_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()

    class WatchedPacer(Pacer):
        def hold(self, end_sample: int) -> bool:
            waiting.set()
            return super().hold(end_sample)

    monkeypatch.setattr("stream_mer.sources.file.Pacer", WatchedPacer)
    monkeypatch.setattr("stream_mer.sources.file.FINE_CHUNK_SAMPLES", 16_000 * 600)  # due in ten minutes
    source = FileSource(write_wav(tmp_path / "a.wav", np.zeros(4_000 * 600, np.int16), 4_000), paced=True)
    heard: list[AudioChunk] = []
    thread = threading.Thread(target=lambda: heard.extend(source.chunks()), daemon=True)
    thread.start()
    assert waiting.wait(60)
    source.close()
    thread.join(60)
    assert not thread.is_alive()
    assert heard == []


@pytest.mark.parametrize("paced", [True, False])
def test_only_a_paced_file_is_held_until_the_end_of_each_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paced: bool
) -> None:
    held: list[int] = []

    class WatchedPacer(Pacer):
        def hold(self, end_sample: int) -> bool:
            held.append(end_sample)
            return True

    monkeypatch.setattr("stream_mer.sources.file.Pacer", WatchedPacer)
    ends = []
    for chunk in FileSource(write_wav(tmp_path / "a.wav", noise(8_000)), paced=paced).chunks():
        ends.append(chunk.end_sample)
        assert held == (ends if paced else [])


def test_its_name_and_length(tmp_path: Path) -> None:
    source = FileSource(write_wav(tmp_path / "song.wav", noise(32_000)))
    assert (source.name, source.live, source.duration_s()) == ("song.wav", False, 2.0)


@pytest.mark.parametrize(
    ("name", "says"), [("gone.wav", r"no such file: .*gone\.wav"), ("", "is a folder"), ("a.mp3", "is empty")]
)
def test_what_is_no_file_with_audio_is_refused_at_once(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "a.mp3").touch()
    with pytest.raises(SourceError, match=says):
        FileSource(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(100))
    path.chmod(0)
    with pytest.raises(SourceError, match="not permitted"):
        next(FileSource(path).chunks())


def test_a_file_that_vanished_after_it_was_named(tmp_path: Path) -> None:
    source = FileSource(write_wav(tmp_path / "a.wav", noise(100)))
    (tmp_path / "a.wav").unlink()
    with pytest.raises(SourceError, match="no such file"):
        next(source.chunks())


def test_a_name_is_never_read_as_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "a.wav", noise(1_600))
    odd = write_wav(tmp_path / "concat:a.wav", noise(320))
    monkeypatch.chdir(tmp_path)
    assert len(joined(list(FileSource(odd.name).chunks()))) == 320


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes here")
def test_a_pipe_that_somebody_writes_to_comes_as_it_comes(tmp_path: Path) -> None:
    pipe, audio = tmp_path / "pipe.wav", write_wav(tmp_path / "a.wav", noise(16_000))
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(audio.read_bytes()), daemon=True).start()
    source = FileSource(pipe, paced=True)
    set_chunker(source, lambda start_sample: start_sample + 16_000)
    assert {len(chunk.samples) for chunk in itertools.islice(source.chunks(), 10)} == {FINE_CHUNK_SAMPLES}


def test_a_missing_song_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file.resources, "files", lambda _package: tmp_path)
    with pytest.raises(SourceError, match="install stream-mer again"):
        file.DemoSource()


def test_the_song_is_there_and_plays() -> None:
    source = file.DemoSource()
    duration_s = source.duration_s()
    assert duration_s is not None
    assert duration_s >= 60
    chunk = next(source.chunks())
    assert (source.name, source.live, chunk.start_sample, len(chunk.samples)) == ("demo", False, 0, 320)


@pytest.mark.parametrize("duration_s", [0.0, 0.25, 1.0, 61.01])
def test_it_is_as_long_as_it_says_without_gap_or_sound(duration_s: float) -> None:
    source = SilenceSource("song.lrc", duration_s)
    assert (source.name, source.live, source.duration_s()) == ("song.lrc", False, duration_s)
    position = 0
    for chunk in source.chunks():
        assert chunk.start_sample == position
        assert chunk.samples.dtype == np.float32
        assert 0 < len(chunk.samples) <= SAMPLE_RATE_HZ
        assert not chunk.samples.any()
        position = chunk.end_sample
    assert position == duration_s * SAMPLE_RATE_HZ


def test_closing_ends_it_and_may_be_done_twice() -> None:
    source = SilenceSource("song.lrc", 60.0)
    chunks = source.chunks()
    assert next(chunks).start_sample == 0
    source.close()
    source.close()
    assert list(chunks) == []


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
)
def test_every_hop_ends_where_a_piece_does(hop_s: float, longest: int, start: int) -> None:
    hop = WindowSettings(hop_s=hop_s).hop_samples
    chunker = HopChunker(hop_samples=hop, longest_samples=longest)
    for _ in range(40):
        end = chunker(start)
        assert start < end <= (start // hop + 1) * hop
        assert end - start <= longest
        start = end


def ends(source: FileSource) -> list[int]:
    return [chunk.end_sample for chunk in source.chunks()]


@pytest.fixture
def song(tmp_path: Path, music, write_wav) -> Path:  # type: ignore[no-untyped-def]
    return write_wav(tmp_path / "song.wav", music(1.3))


def test_a_file_that_is_tagged_keeps_its_chunks(song: Path) -> None:
    source = FileSource(song)
    set_chunker(source, lambda start: start + 1)
    assert {end % CHUNK_SAMPLES for end in ends(source)} == {0}


@pytest.mark.usefixtures("never_waits")
def test_each_piece_is_shown_before_it_is_heard(song: Path) -> None:
    source = FileSource(song, paced=True)
    set_chunker(source, HopChunker(hop_samples=HOP, longest_samples=HOP // 2))
    seen: list[tuple[int, np.ndarray, float, Callable[[], bool]]] = []
    set_preview(source, lambda *shown: seen.append(shown), lambda: True)
    heard, began_at = [], None
    for chunk in source.chunks():
        heard.append(chunk)
        start, samples, due_at, is_closed = seen.pop()
        assert start == chunk.start_sample
        assert samples is chunk.samples
        began_at = began_at or due_at
        assert due_at == pytest.approx(began_at + seconds(start))
        assert not is_closed()
    source.close()
    assert is_closed()
    assert [len(chunk.samples) for chunk in heard] == [*[HOP // 2] * 5, 800]
    assert all(one.end_sample == other.start_sample for one, other in itertools.pairwise(heard))
    whole = np.concatenate([chunk.samples for chunk in FileSource(song).chunks()])
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in heard]), whole)


@pytest.mark.usefixtures("never_waits")
def test_a_continued_channel_is_cut_on_its_own_clock(song: Path) -> None:
    source = ResumedSource(FileSource(song, paced=True), 3 * HOP - 1_000)
    set_chunker(source, HopChunker(hop_samples=HOP, longest_samples=HOP // 2))
    found = [chunk.end_sample for chunk in source.chunks()]
    assert found[:4] == [3 * HOP, 3 * HOP + HOP // 2, 4 * HOP, 4 * HOP + HOP // 2]


@pytest.mark.usefixtures("never_waits")
def test_a_continued_channel_is_shown_on_its_own_clock(song: Path) -> None:
    source, shown = ResumedSource(FileSource(song, paced=True), 3 * HOP), []
    set_preview(source, lambda start, samples, *_: shown.append((start, start + len(samples))), lambda: True)
    assert [(chunk.start_sample, chunk.end_sample) for chunk in source.chunks()] == shown
    assert shown[0][0] == 3 * HOP


def test_what_the_world_paces_is_not_divided() -> None:
    live = RemoteSource()
    assert not isinstance(live, ChunkableSource)
    set_chunker(live, lambda _: pytest.fail("it was asked"))
    continued = ResumedSource(live, 0)
    set_chunker(continued, lambda _: pytest.fail("it was asked"))
    for source in (live, continued):
        set_preview(source, lambda *_: pytest.fail("it was shown"), lambda: True)


class Sink:
    def __init__(self) -> None:
        self.events: list[StreamEvent] = []

    def publish(self, event: StreamEvent) -> None:
        self.events.append(event)


class Scheduler:
    """Calls everything immediately, and remembers it."""

    def __init__(self) -> None:
        self.called: list[tuple[float, Callable[[], None]]] = []

    def add(self, due: Iterable[tuple[float, Callable[[], None]]]) -> None:
        for at, function in due:
            function()
            self.called.append((at, function))


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
    scheduler, wanted = Scheduler(), lambda: 0.3 <= source.heard_s < 0.8
    engine.pipeline(source, sink, in_real_time=True, levels_wanted=wanted, schedule_levels=scheduler.add).run()
    for _, publish in scheduler.called:
        publish()  # nothing: the source is closed now
    frames = [event.index for event in sink.events if isinstance(event, EmotionFrame)]
    levels = [event.t for event in sink.events if isinstance(event, InputLevels)]
    assert frames == list(range(13))
    # Wanted when the piece from 0.2 s on had come; the one before 0.8 s was shown before it was heard.
    assert levels == pytest.approx([0.22 + 0.02 * i for i in range(30)])
    assert np.diff([at for at, _ in scheduler.called]) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("lyrics", "wanted", "length"),
    [
        ("off", False, COARSE_CHUNK_SAMPLES),
        ("off", True, COARSE_CHUNK_SAMPLES),
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
    monkeypatch.setattr("stream_mer.sources.file.Pacer.hold", lambda _self, _end_sample: True)


def test_an_excerpt_is_cut_to_the_sample_and_shortens_gaps() -> None:
    def run(start: int, n: int, gap_s: float = 0.0) -> DecodedAudio:
        samples = np.arange(start, start + n, dtype=np.float32).reshape(-1, 1)
        return DecodedAudio(samples=samples, rate_hz=10, gap_s=gap_s)

    runs = [run(0, 10), run(10, 10), run(20, 10, gap_s=2.0), run(30, 10)]  # 0..2 s, 4..6 s
    parts = list(cut_out(runs, start_s=1.5, duration_s=3.0))
    assert [(part.samples[:, 0].tolist(), part.gap_s) for part in parts] == [
        ([15, 16, 17, 18, 19], 0.0),
        ([20, 21, 22, 23, 24], 2.0),
    ]
    (late, last) = cut_out(runs, start_s=3.0)
    assert (late.gap_s, len(late.samples), len(last.samples)) == (1.0, 10, 10)
    assert list(cut_out(runs, start_s=7.0)) == []
    assert sum(len(part.samples) for part in cut_out(runs)) == 40
