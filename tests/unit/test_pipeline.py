"""The pipeline with scripted parts: slow, late, dead. Events stand in for time, so nothing here sleeps."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer import pipeline as pipeline_module
from stream_mer.audio.levels import FLOOR_DBFS
from stream_mer.audio.windowing import Windower
from stream_mer.config import SmoothingSettings, WindowSettings
from stream_mer.emotion.smoothing import Smoother
from stream_mer.errors import SourceError
from stream_mer.lyrics.feeds import KnownLyrics, NoLyrics
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.pipeline import AUDIO_LOST, WAITING_LINES, WAITING_WINDOWS, Pipeline, StatusReporter
from stream_mer.ports import LyricFeed
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    NO_LYRICS,
    AudioChunk,
    AudioState,
    CategoryChange,
    EmotionEstimate,
    EmotionFrame,
    EncodedLine,
    Interval,
    Latency,
    LyricLine,
    LyricState,
    Samples,
    SourceState,
    StreamEvent,
    StreamStatus,
    TrackTitle,
    Window,
    seconds,
)

PATIENCE_S = 60.0  # only a broken pipeline makes a test wait so long
WINDOW = WindowSettings(hop_s=0.1, context_s=3.0)
HOP = WINDOW.hop_samples


def noise(length: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def cut(samples: Samples, lengths: Iterable[int]) -> list[AudioChunk]:
    """The samples as chunks of these lengths, the last one repeated to the end."""
    chunks, start, length = [], 0, len(samples)
    lengths = iter(lengths)
    while start < len(samples):
        length = next(lengths, length)
        chunks.append(AudioChunk(start_sample=start, samples=samples[start : start + length]))
        start += length
    return chunks


def hops(n: int, *, start: int = 0) -> list[AudioChunk]:
    return [AudioChunk(start_sample=(start + i) * HOP, samples=noise(HOP, seed=start + i)) for i in range(n)]


class ScriptedSource:
    """Yields what its script yields, and raises what it raises, until it is closed."""

    name = "scripted"

    def __init__(self, script: Iterable[AudioChunk], *, live: bool = False) -> None:
        self.live = live
        self.closed = threading.Event()
        self._script = script

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in self._script:
            if self.closed.is_set():
                return
            yield chunk

    def close(self) -> None:
        self.closed.set()


class ScriptedModel:
    """Says of a window what its samples say, so that a wrong window cannot go unseen."""

    def __init__(self, before: Callable[[Window], None] = lambda _: None) -> None:
        self.seen: list[tuple[Window, LyricState]] = []
        self._before = before

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        self._before(window)
        self.seen.append((window, lyrics))
        valence, arousal = float(np.tanh(window.samples.sum())), float(np.tanh(window.samples[-1]))
        shares = np.abs(window.samples[[0, len(window.samples) // 3, len(window.samples) // 2, -1]]) + 0.01
        return EmotionEstimate(
            valence=valence,
            arousal=arousal,
            interval=Interval(valence=(-1.0, 1.0), arousal=(-1.0, 1.0), level=0.8),
            categories=dict(zip(CATEGORIES, (shares / shares.sum()).tolist(), strict=True)),
            clusters=dict.fromkeys(CLUSTERS, 0.2),
            degraded=lyrics.degraded,
        )


class UnavailableLyrics(NoLyrics):
    def state(self) -> LyricState:
        return LyricState(health="unavailable", degraded=("lyrics_unavailable",))


class ScriptedLyrics(NoLyrics):
    """Shows each line once the audio has come to the sample that the script names.

    The state's ``lag_s`` carries how much audio the feed had heard: so a test sees how new a state is.
    """

    def __init__(self, lines: Iterable[tuple[int, str]] = (), *, at_end: Iterable[str] = ()) -> None:
        super().__init__()
        self._ahead = list(lines)
        self._at_end = list(at_end)
        self._shown: list[LyricLine] = []
        self._heard = 0
        self.closed = False

    def feed(self, chunk: AudioChunk) -> None:
        self._heard = chunk.end_sample
        while self._ahead and self._ahead[0][0] <= self._heard:
            self._show(self._ahead.pop(0)[1])

    def finish(self) -> None:
        for text in self._at_end:
            self._show(text)

    def state(self) -> LyricState:
        return LyricState(health="ok", lag_s=seconds(self._heard))

    def take_lines(self) -> list[LyricLine]:
        taken, self._shown = self._shown, []
        return taken

    def close(self) -> None:
        self.closed = True

    def _show(self, text: str) -> None:
        self._shown.append(LyricLine(segment=0, revision=0, t0=0, t1=0, text=text, committed=True))


class Collector:
    """Keeps every event, and does what a test wants done on it."""

    def __init__(self, on_event: Callable[[StreamEvent], None] = lambda _: None) -> None:
        self.events: list[StreamEvent] = []
        self._on_event = on_event

    def publish(self, event: StreamEvent) -> None:
        self.events.append(event)
        self._on_event(event)

    @property
    def frames(self) -> list[EmotionFrame]:
        return [event for event in self.events if isinstance(event, EmotionFrame)]

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, LyricLine)]

    @property
    def statuses(self) -> list[StreamStatus]:
        return [event for event in self.events if isinstance(event, StreamStatus)]

    @property
    def timeless(self) -> list[StreamEvent]:
        """Frames, lines and changes, without what a clock measured."""
        return [
            replace(event, latency=Latency()) if isinstance(event, EmotionFrame) else event
            for event in self.events
            if not isinstance(event, StreamStatus)
        ]


def build(
    source: ScriptedSource,
    *,
    sink: Collector,
    lyrics: LyricFeed | None = None,
    model: ScriptedModel | None = None,
    window: WindowSettings = WINDOW,
    words_alone: bool = False,
) -> Pipeline:
    return Pipeline(
        source=source,
        windower=Windower(window),
        lyrics=lyrics or NoLyrics(),
        emotion=model or ScriptedModel(),
        smoother=Smoother(SmoothingSettings(dwell_s=0.2)),
        sink=sink,
        words_alone=words_alone,
    )


def run(script: Iterable[AudioChunk], *, live: bool = False, **parts: object) -> Collector:
    sink = Collector()
    build(ScriptedSource(script, live=live), sink=sink, **parts).run()  # type: ignore[arg-type]
    return sink


# Lines that become known in the middle of a hop, at its very end, two at once, and after the audio.
LINES = [(1, "first"), (700, "mid"), (HOP, "edge"), (HOP, "edge too"), (HOP + 1, "past"), (9 * HOP + 5, "late")]


def run_cut(samples: Samples, lengths: Iterable[int]) -> list[StreamEvent]:
    return run(cut(samples, lengths), lyrics=ScriptedLyrics(LINES, at_end=["end"])).timeless


AUDIO = noise(13 * HOP + 411)
IN_ONE = run_cut(AUDIO, [len(AUDIO)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3 * HOP), min_size=1, max_size=12))
def test_frames_and_lines_and_their_order_do_not_depend_on_the_chunks(lengths: list[int]) -> None:
    assert run_cut(AUDIO, lengths) == IN_ONE


def test_the_reference_itself_holds_every_frame_and_every_line_where_it_belongs() -> None:
    order = [e.index if isinstance(e, EmotionFrame) else e.text for e in IN_ONE if not isinstance(e, CategoryChange)]
    expected = ["first", "mid", "edge", "edge too", 0, "past", 1, 2, 3, 4, 5, 6, 7, 8, "late", 9, 10, 11, 12, 13, "end"]
    assert order == expected


@pytest.mark.parametrize("length", [3, HOP, 4 * HOP])
def test_they_do_not_where_audio_is_missing(length: int) -> None:
    def around_a_gap(length: int) -> list[StreamEvent]:
        before, after = cut(noise(2 * HOP + 99), [length]), cut(noise(7 * HOP + 5, seed=1), [length])
        moved = [replace(chunk, start_sample=chunk.start_sample + 6 * HOP + 700) for chunk in after]
        return run([*before, *moved], lyrics=ScriptedLyrics(LINES, at_end=["end"])).timeless

    assert around_a_gap(length) == around_a_gap(100 * HOP)


@pytest.mark.parametrize("length", [1, 1000, 48_000])
def test_known_lyrics_come_with_the_frame_of_their_time(length: int) -> None:
    class Encoder:
        def encode(self, text: str) -> Samples:
            return np.full(512, len(text), np.float32)

    lyrics = KnownLyrics(parse_lyrics("[00:00.10]one\n[00:00.25]two\n[00:09.00]never"), Encoder())
    model = ScriptedModel()
    sink = run(cut(noise(5 * HOP), [length]), lyrics=lyrics, model=model)
    order = [
        e.index if isinstance(e, EmotionFrame) else e.text for e in sink.timeless if not isinstance(e, CategoryChange)
    ]
    assert order == ["one", 0, 1, "two", 2, 3, 4]
    assert [len(state.lines) for _, state in model.seen] == [1, 1, 2, 2, 2]


@pytest.mark.parametrize("length", [1, 999, 3 * HOP])
def test_lyrics_latched_to_a_window_are_never_newer_than_it(length: int) -> None:
    model = ScriptedModel()
    run(cut(noise(6 * HOP + 100), [length]), lyrics=ScriptedLyrics(), model=model)
    assert [lyrics.lag_s for _, lyrics in model.seen] == [seconds(window.end_sample) for window, _ in model.seen]


@pytest.mark.parametrize("gap", [HOP // 2, 3 * HOP, 100 * HOP])
def test_nor_where_audio_is_missing(gap: int) -> None:
    model = ScriptedModel()
    after = AudioChunk(start_sample=2 * HOP + gap, samples=noise(HOP + 7))
    run([*hops(2), after], lyrics=ScriptedLyrics(), model=model)
    assert len(model.seen) > 3
    for window, lyrics in model.seen:
        assert lyrics.lag_s <= seconds(window.end_sample)


@pytest.mark.parametrize("gap", [1, HOP // 2, 3 * HOP, WINDOW.context_samples])
def test_lyrics_get_silence_where_audio_is_missing(gap: int) -> None:
    fed: list[AudioChunk] = []

    class Recording(NoLyrics):
        def feed(self, chunk: AudioChunk) -> None:
            fed.append(chunk)

    first, second = hops(2)[1], AudioChunk(start_sample=2 * HOP + gap, samples=noise(HOP + 7))
    run([first, second], lyrics=Recording())
    assert all(before.end_sample == after.start_sample for before, after in itertools.pairwise(fed))
    audio = np.concatenate([chunk.samples for chunk in fed])
    np.testing.assert_array_equal(audio, np.concatenate([first.samples, np.zeros(gap), second.samples]))


def test_every_line_of_a_file_is_published_however_many_come_at_once() -> None:
    texts = [f"line {i}" for i in range(WAITING_LINES + 50)]
    sink = run(hops(2), lyrics=ScriptedLyrics([(1, text) for text in texts]))
    assert sink.lines == texts


def test_a_tail_shorter_than_a_hop_is_a_frame_that_ends_where_the_audio_ends() -> None:
    frames = run(cut(noise(2 * HOP + 1), [640])).frames
    assert [frame.t1 for frame in frames] == [0.1, 0.2, (2 * HOP + 1) / 16_000]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert {frame.t0 for frame in frames} == {0.0}


@pytest.mark.parametrize("script", [[], [AudioChunk(start_sample=0, samples=noise(0))]])
def test_no_audio_gives_no_frame(script: list[AudioChunk]) -> None:
    sink = run(script)
    assert sink.frames == []
    assert [status.source for status in sink.statuses] == ["ended"]


def test_a_live_source_with_a_stuck_model_loses_the_oldest_windows_and_counts_them() -> None:
    stuck, unstick = threading.Event(), threading.Event()

    def block(_: Window) -> None:
        stuck.set()
        assert unstick.wait(PATIENCE_S)

    def script() -> Iterator[AudioChunk]:
        yield from hops(1)
        assert stuck.wait(PATIENCE_S)
        yield from hops(6, start=1)
        unstick.set()

    frames = run(script(), live=True, model=ScriptedModel(block)).frames
    assert [frame.index for frame in frames] == [0, 5, 6]
    assert [frame.dropped for frame in frames] == [4, 4, 4]
    assert all(frame.latency.queue >= 0 for frame in frames)


def test_waiting_for_a_model_that_is_busy_with_other_streams_is_told_as_queue() -> None:
    """The scripted model takes no time of its own, so whatever passes until it answers was waiting."""
    waited_s = 0.05
    (frame,) = run(hops(1), model=ScriptedModel(lambda _: time.sleep(waited_s))).frames
    assert frame.latency.queue >= 1e3 * waited_s
    assert frame.latency.total >= frame.latency.queue


def test_a_file_waits_for_a_stuck_model_and_loses_nothing() -> None:
    stuck, unstick, ahead = threading.Event(), threading.Event(), threading.Event()
    yielded: list[int] = []

    def block(_: Window) -> None:
        stuck.set()
        assert unstick.wait(PATIENCE_S)

    def script() -> Iterator[AudioChunk]:
        for i, chunk in enumerate(hops(9)):
            yielded.append(i)
            if i == WAITING_WINDOWS + 1:  # this one's window finds the mailbox full
                assert stuck.wait(PATIENCE_S)
                ahead.set()
            yield chunk

    sink = Collector()
    pipeline = build(ScriptedSource(script()), sink=sink, model=ScriptedModel(block))
    running = threading.Thread(target=pipeline.run, daemon=True)
    running.start()
    assert ahead.wait(PATIENCE_S)
    assert max(yielded) == WAITING_WINDOWS + 1  # read no further than there is room
    unstick.set()
    running.join(PATIENCE_S)
    assert [frame.index for frame in sink.frames] == list(range(9))
    assert {frame.dropped for frame in sink.frames} == {0}


def test_dead_lyrics_say_so_in_every_frame_and_in_the_status_and_delay_nothing() -> None:
    sink = run(hops(4), lyrics=UnavailableLyrics())
    assert [frame.raw.degraded for frame in sink.frames] == [("lyrics_unavailable",)] * 4
    assert {status.lyrics for status in sink.statuses} == {"unavailable"}


def test_a_source_that_fails_is_told_after_what_it_gave() -> None:
    def script() -> Iterator[AudioChunk]:
        yield from hops(3)
        raise SourceError("the cable was pulled")

    sink = Collector()
    lyrics = ScriptedLyrics([(2 * HOP + 9, "sung")])
    pipeline = build(ScriptedSource(script()), sink=sink, lyrics=lyrics)
    with pytest.raises(SourceError, match="cable"):
        pipeline.run()
    assert [frame.index for frame in sink.frames] == [0, 1, 2]
    assert sink.lines == ["sung"]
    assert sink.statuses[-1].source == "ended"
    assert lyrics.closed


def test_audio_that_goes_back_is_an_error_of_the_source() -> None:
    sink = Collector()
    with pytest.raises(SourceError, match="went back"):
        build(ScriptedSource([*hops(2), *hops(1)]), sink=sink).run()
    assert len(sink.frames) == 2


def test_lyrics_that_raise_end_the_stream_with_their_error_and_not_in_silence() -> None:
    class Broken(ScriptedLyrics):
        def feed(self, chunk: AudioChunk) -> None:
            if chunk.start_sample >= 2 * HOP:
                raise ZeroDivisionError("a defect")
            super().feed(chunk)

    sink, lyrics = Collector(), Broken()
    with pytest.raises(ZeroDivisionError):
        build(ScriptedSource(hops(5)), sink=sink, lyrics=lyrics).run()
    assert [frame.index for frame in sink.frames] == [0, 1]
    assert lyrics.closed


@pytest.mark.parametrize("live", [True, False])
def test_a_model_that_raises_ends_the_stream_and_frees_its_source(live: bool) -> None:
    def fail(window: Window) -> None:
        if window.index >= 1:  # the first may be the only one that a live stream does not drop
            raise ValueError("a defect")

    def endless() -> Iterator[AudioChunk]:
        for i in range(10**6):
            yield from hops(1, start=i)

    source, lyrics = ScriptedSource(endless(), live=live), ScriptedLyrics()
    with pytest.raises(ValueError, match="a defect"):
        build(source, sink=Collector(), model=ScriptedModel(fail), lyrics=lyrics).run()
    assert source.closed.is_set()
    assert lyrics.closed


@pytest.mark.parametrize("live", [True, False])
def test_stop_from_another_thread_ends_an_endless_stream(live: bool) -> None:
    third = threading.Event()

    def endless() -> Iterator[AudioChunk]:
        for i in range(10**6):
            yield from hops(1, start=i)

    sink = Collector(lambda event: third.set() if isinstance(event, EmotionFrame) and event.index >= 2 else None)
    lyrics = ScriptedLyrics()
    pipeline = build(ScriptedSource(endless(), live=live), sink=sink, lyrics=lyrics)
    running = threading.Thread(target=pipeline.run, daemon=True)
    running.start()
    assert third.wait(PATIENCE_S)
    pipeline.stop()
    pipeline.stop()
    running.join(PATIENCE_S)
    assert not running.is_alive()
    assert sink.statuses[-1].source == "ended"
    assert lyrics.closed


def test_status_tells_life_silence_and_the_end_once_each() -> None:
    """Each passage is longer than what waits between the threads, so no state can be passed over unseen."""
    window = WindowSettings(hop_s=0.5, context_s=3.0)
    loud, quiet = noise(5 * 16_000), np.zeros(6 * 16_000, np.float32)
    sink = run(cut(np.concatenate([loud, quiet, loud]), [1600]), window=window)
    assert [status.source for status in sink.statuses] == ["live", "silent", "live", "ended"]
    assert {(status.device, status.lyrics, status.lost_samples) for status in sink.statuses} == {("scripted", "off", 0)}


def test_a_source_that_gives_nothing_for_a_while_is_stalled_until_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "STALLED_AFTER_S", 0.001)
    stalled = threading.Event()

    def script() -> Iterator[AudioChunk]:
        yield from hops(1)
        assert stalled.wait(PATIENCE_S)
        yield from hops(1, start=1)

    def note(event: StreamEvent) -> None:
        if isinstance(event, StreamStatus) and event.source == "stalled":
            stalled.set()

    sink = Collector(note)
    build(ScriptedSource(script(), live=True), sink=sink).run()
    assert [frame.index for frame in sink.frames] == [0, 1]
    states = [status.source for status in sink.statuses]
    assert "stalled" in states
    assert "live" in states[states.index("stalled") :]
    assert states[-1] == "ended"


def test_lost_samples_are_counted_and_the_time_stays_true() -> None:
    chunks = [*hops(2), AudioChunk(start_sample=3 * HOP + 250, samples=noise(2 * HOP - 250))]
    sink = run(chunks)
    assert sink.statuses[-1].lost_samples == HOP + 250
    assert [frame.t1 for frame in sink.frames] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert [AUDIO_LOST in frame.raw.degraded for frame in sink.frames] == [False, False, True, True, False]


def test_a_change_of_category_follows_its_frame() -> None:
    class Turning(ScriptedModel):
        def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
            top = "happy" if window.index < 10 else "sad"
            probs = {name: 0.97 if name == top else 0.01 for name in CATEGORIES}
            return replace(super().predict(window, lyrics), categories=probs)

    events = run(hops(40), model=Turning()).timeless
    changes = [i for i, event in enumerate(events) if isinstance(event, CategoryChange)]
    assert len(changes) == 1
    change, frame = events[changes[0]], events[changes[0] - 1]
    assert isinstance(change, CategoryChange)
    assert isinstance(frame, EmotionFrame)
    assert (change.before, change.after) == ("happy", "sad")
    assert (change.t, frame.category) == (frame.t1, "sad")


# --- the end


def test_a_source_that_hangs_is_left_behind_and_says_nothing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "END_WITHIN_S", 0.05)
    hangs, go_on = threading.Event(), threading.Event()

    def script() -> Iterator[AudioChunk]:
        yield from hops(1)
        hangs.set()
        assert go_on.wait(PATIENCE_S)
        yield from hops(3, start=1)

    sink, lyrics = Collector(), ScriptedLyrics()
    source = ScriptedSource(script())
    source.close = lambda: None  # type: ignore[method-assign]  # nothing reaches a read that hangs
    pipeline = build(source, sink=sink, lyrics=lyrics)
    running = threading.Thread(target=pipeline.run, daemon=True)
    running.start()
    assert hangs.wait(PATIENCE_S)
    pipeline.stop()
    running.join(PATIENCE_S)
    assert not running.is_alive()
    assert lyrics.closed
    assert sink.statuses[-1].source == "ended"
    told = len(sink.events)
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "capture scripted":
            thread.join(PATIENCE_S)
    assert len(sink.events) == told


def test_what_was_never_run_is_closed_as_well() -> None:
    source, lyrics = ScriptedSource(hops(1)), ScriptedLyrics()
    pipeline = build(source, sink=Collector(), lyrics=lyrics)
    pipeline.close()
    pipeline.close()
    assert source.closed.is_set()
    assert lyrics.closed


# --- where nothing sounds


class Singing(ScriptedLyrics):
    """One line was sung at the beginning, and stays."""

    def state(self) -> LyricState:
        line = EncodedLine(t1=1.0, vector=np.ones(3, np.float32), reliability=1.0, n_words=4)
        return LyricState(lines=(line,), health="ok")


class Reading(ScriptedModel):
    """Says that the words are happy, whatever the audio."""

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        probs = {name: 0.91 if name == "happy" else 0.03 for name in CATEGORIES}
        read = ("text",) if lyrics.lines else ()
        return replace(
            super().predict(window, lyrics), valence=0.8, arousal=0.6, categories=probs, modalities=("audio", *read)
        )


def seconds_of(audio: Samples, **parts: object) -> Collector:
    return run(cut(audio, [1600]), window=WindowSettings(hop_s=0.5, context_s=3.0), model=Reading(), **parts)


def test_silence_after_a_song_is_neutral_within_the_release_time_whatever_was_sung() -> None:
    sink = seconds_of(np.concatenate([noise(4 * 16_000), np.zeros(8 * 16_000, np.float32)]), lyrics=Singing())
    silent = [frame for frame in sink.frames if "silent" in frame.raw.degraded]
    assert [frame.t1 for frame in silent] == pytest.approx(np.arange(5.0, 12.1, 0.5))  # a second without sound
    for frame in silent:
        assert (frame.raw.modalities, frame.raw.text_age_s, frame.category) == (("audio",), None, "unknown")
        assert (frame.raw.valence, frame.raw.arousal) == (0, 0)
    for frame in silent[2:]:
        assert (frame.valence, frame.arousal) == (0, 0)
        assert frame.probs == pytest.approx(dict.fromkeys(CATEGORIES, 0.25))
    music = sink.frames[:8]
    assert {frame.category for frame in music} == {"happy"}
    assert {frame.raw.modalities for frame in music} == {("audio", "text")}
    assert not [event for event in sink.events if isinstance(event, CategoryChange)]


def test_in_silence_the_model_is_given_no_words_but_what_is_wrong_with_them() -> None:
    class Late(Singing):
        def state(self) -> LyricState:
            return replace(super().state(), degraded=("lyrics_lagging",))

    model = Reading()
    sink = run(cut(np.zeros(2 * HOP, np.float32), [HOP]), lyrics=Late(), model=model)
    assert [lyrics.lines for _, lyrics in model.seen] == [(), ()]
    assert [frame.raw.degraded for frame in sink.frames] == [("lyrics_lagging", "silent")] * 2


def test_the_same_song_after_silence_is_no_change() -> None:
    song, rest = noise(4 * 16_000), np.zeros(5 * 16_000, np.float32)
    sink = seconds_of(np.concatenate([rest, song, rest, song]))
    assert [name for name, _ in itertools.groupby(frame.category for frame in sink.frames)] == [
        "unknown", "happy", "unknown", "happy",
    ]  # fmt: skip
    assert not [event for event in sink.events if isinstance(event, CategoryChange)]


class Hearing(Reading):
    """Hears an announcer from the fourth second to the eighth, and music else."""

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        spoken = 4.0 < seconds(window.end_sample) <= 8.0
        state = AudioState(state="speech" if spoken else "music", prob=0.9)
        return replace(super().predict(window, lyrics), audio_state=state)


def test_an_announcement_between_two_songs_is_neutral_and_no_change() -> None:
    audio, window = noise(12 * 16_000), WindowSettings(hop_s=0.5, context_s=3.0)
    sink = run(cut(audio, [1600]), window=window, model=Hearing(), lyrics=Singing())
    spoken = [frame for frame in sink.frames if "no_music" in frame.raw.degraded]
    assert [frame.t1 for frame in spoken] == pytest.approx(np.arange(4.5, 8.1, 0.5))
    for frame in spoken:
        assert frame.raw.audio_state == AudioState(state="speech", prob=0.9)
        assert (frame.raw.valence, frame.raw.arousal, frame.category) == (0, 0, "unknown")
        assert frame.raw.text_age_s is None
    assert [(frame.valence, frame.arousal) for frame in spoken[2:]] == [(0, 0)] * 6
    assert [name for name, _ in itertools.groupby(frame.category for frame in sink.frames)] == [
        "happy", "unknown", "happy",
    ]  # fmt: skip
    assert not [event for event in sink.events if isinstance(event, CategoryChange)]


class SingingTwice(ScriptedLyrics):
    """A line that ended at 1 s, one at 9 s, and one without times."""

    def state(self) -> LyricState:
        ends = (0.0, 1.0, 9.0)
        vector = np.ones(3, np.float32)
        return LyricState(
            lines=tuple(EncodedLine(t1=t1, vector=vector, reliability=1.0, n_words=4) for t1 in ends), health="ok"
        )


class Listing(Hearing):
    """Keeps the ends of the lines that it was given, by the end of the window."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[float, tuple[float, ...]] = {}

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        self.given[seconds(window.end_sample)] = tuple(line.t1 for line in lyrics.lines)
        return super().predict(window, lyrics)


def test_words_of_a_song_that_ended_do_not_count_for_the_next_one() -> None:
    model = Listing()
    run(
        cut(noise(12 * 16_000), [1600]),
        window=WindowSettings(hop_s=0.5, context_s=3.0),
        model=model,
        lyrics=SingingTwice(),
    )
    assert {model.given[t1] for t1 in (1.0, 4.0, 5.0, 6.0)} == {(0.0, 1.0, 9.0)}
    # Two seconds without music, from 4 s on, end the song.
    assert {model.given[t1] for t1 in (6.5, 8.0, 8.5, 12.0)} == {(0.0, 9.0)}


def test_another_title_ends_a_song_for_its_words_and_shows_in_the_status_at_once() -> None:
    def titled(t0: int, t1: int, title: TrackTitle | None) -> AudioChunk:
        return AudioChunk(start_sample=t0 * 16_000, samples=noise((t1 - t0) * 16_000, seed=t0), title=title)

    first, second = TrackTitle(title="Jóga", artist="Björk"), TrackTitle(title="second")
    script = [titled(0, 2, None), titled(2, 4, first), titled(4, 5, None), titled(5, 6, first), titled(6, 9, second)]
    model = ScriptedModel()
    sink = run(script, window=WindowSettings(hop_s=0.5, context_s=3.0), model=model, lyrics=SingingTwice())
    given = {seconds(window.end_sample): tuple(line.t1 for line in lyrics.lines) for window, lyrics in model.seen}
    assert {given[t1] for t1 in (2.0, 2.5, 4.0)} == {(0.0, 1.0, 9.0)}  # the first title ends nothing
    assert {given[t1] for t1 in (6.5, 9.0)} == {(0.0, 9.0)}
    said = [(status.title, status.artist) for status in sink.statuses]
    assert [one for one, _ in itertools.groupby(said)] == [(None, None), ("Jóga", "Björk"), ("second", None)]


def test_a_gap_longer_than_the_context_ends_a_song() -> None:
    first = AudioChunk(start_sample=0, samples=noise(4 * 16_000))
    second = AudioChunk(start_sample=100 * 16_000, samples=noise(16_000))
    model = ScriptedModel()
    run([first, second], window=WindowSettings(hop_s=0.5, context_s=3.0), model=model, lyrics=Singing())
    lines = {seconds(window.end_sample): len(lyrics.lines) for window, lyrics in model.seen}
    assert [t for t in lines if t > 4] == [4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 100.5, 101.0]
    assert (lines[4.0], lines[100.5]) == (1, 0)


def test_silence_is_said_whatever_the_model_heard() -> None:
    sink = run(cut(np.zeros(2 * HOP, np.float32), [HOP]), model=Hearing())
    assert {frame.raw.audio_state for frame in sink.frames} == {AudioState(state="silence", prob=1.0)}
    assert {frame.raw.degraded for frame in sink.frames} == {("silent",)}


@pytest.mark.parametrize(("lyrics", "category"), [(Singing, "happy"), (NoLyrics, "unknown")])
def test_words_decide_alone_only_where_they_are_all_there_is(lyrics: type[LyricFeed], category: str) -> None:
    sink = Collector()
    source = ScriptedSource(cut(np.zeros(20 * HOP, np.float32), [HOP]))
    build(source, sink=sink, model=Reading(), lyrics=lyrics(), words_alone=True).run()
    assert {frame.category for frame in sink.frames} == {category}
    assert {frame.raw.degraded for frame in sink.frames} == {() if category == "happy" else ("silent",)}


def test_whether_it_still_works_shows_with_and_without_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "STALLED_AFTER_S", 0.01)
    seen: list[float] = []

    def script() -> Iterator[AudioChunk]:
        yield from hops(1)
        while len(set(seen)) < 3:  # turns without audio
            seen.append(pipeline.turned_at)

    pipeline = build(ScriptedSource(script()), sink=Collector())
    pipeline.run()
    assert seen == sorted(seen)


STEP = 8_000


def square(
    start: int, length: int, *, amplitude: float = 0.5, source: SourceState = "live", clipped: int = 0
) -> AudioChunk:
    samples = np.full(length, 0.0 if source != "live" else amplitude, np.float32)
    samples[::2] *= -1
    return AudioChunk(start_sample=start, samples=samples, source=source, clipped_samples=clipped)


def test_level_and_clipping_of_late_are_told_but_a_new_level_alone_is_not() -> None:
    sink = Collector()
    reporter = StatusReporter("desk", sink)
    reporter.report(NO_LYRICS)
    for k, amplitude in enumerate([0.5, 0.25, 0.1]):
        reporter.measure(square(k * STEP, STEP, amplitude=amplitude))
        reporter.report(NO_LYRICS)
    assert [(s.peak_db, s.rms_db, s.clipping) for s in sink.statuses] == [(None, None, False)]
    reporter.measure(square(3 * STEP, STEP, amplitude=0.1, clipped=3))
    reporter.report(NO_LYRICS)
    status = sink.statuses[-1]
    assert (status.peak_db, status.clipping) == (-6.0, True)
    assert status.rms_db == pytest.approx(10 * np.log10(np.mean([0.25, 0.0625, 0.01, 0.01])), abs=0.06)
    for k in range(4, 12):
        reporter.measure(square(k * STEP, STEP, amplitude=0.0))
        reporter.report(NO_LYRICS)
    assert [(s.source, s.clipping) for s in sink.statuses[2:]] == [("silent", True), ("silent", False)]
    assert (sink.statuses[-1].peak_db, sink.statuses[-1].rms_db) == (FLOOR_DBFS, FLOOR_DBFS)


def test_a_chunk_tells_whether_the_source_turned() -> None:
    reporter = StatusReporter("desk", Collector())
    states: list[SourceState] = ["live", "stalled", "stalled", "reconnecting", "live"]
    turned = [reporter.measure(square(k * STEP, STEP if k else 0, source=state)) for k, state in enumerate(states)]
    assert turned == [False, True, False, True, True]


def test_gaps_and_silence_in_place_of_audio_are_lost_samples_and_no_silent_input() -> None:
    sink = Collector()
    reporter = StatusReporter("desk", sink)
    reporter.measure(square(0, 100))
    reporter.measure(square(150, 10))
    reporter.measure(square(160, 100 * STEP, source="reconnecting"))
    reporter.report(NO_LYRICS)
    assert sink.statuses[0].lost_samples == 50 + 100 * STEP
    assert sink.statuses[0].source == "reconnecting"
    reporter.measure(square(160 + 100 * STEP, 10, amplitude=0.0))
    assert reporter.source_state == "live"


def test_a_lag_that_breathes_is_no_news_and_one_that_grows_is() -> None:
    sink = Collector()
    reporter = StatusReporter("desk", sink)
    for lag_s in (2.0, 2.9, 1.1, 2.0, 3.0, 3.9, 3.0, 1.9):
        reporter.report(LyricState(health="ok", lag_s=lag_s))
    assert [status.lag_s for status in sink.statuses] == [2.0, 3.0, 1.9]
    reporter.report(LyricState(health="lagging", lag_s=2.0))
    assert sink.statuses[-1].lag_s == 2.0, "with other news the lag is that of now"


def test_frames_go_on_through_an_outage_and_say_that_their_audio_was_lost() -> None:
    outage: list[AudioChunk] = [
        AudioChunk(start_sample=4 * STEP, samples=np.empty(0, np.float32), source="stalled"),
        *(square(4 * STEP + k * 800, 800, source="stalled") for k in range(10)),
        *(square(5 * STEP + k * 800, 800, source="reconnecting") for k in range(25)),
    ]
    script = [
        *(square(k * STEP, STEP) for k in range(4)),
        *outage,
        *(square(7 * STEP + 4_000 + k * STEP, STEP) for k in range(4)),
    ]
    sink = run(script, lyrics=UnavailableLyrics(), window=WindowSettings())
    frames = sink.frames
    assert [frame.index for frame in frames] == list(range(12))
    lost = [frame.index for frame in frames if {"lyrics_unavailable", AUDIO_LOST} <= {*frame.raw.degraded}]
    assert lost == [4, 5, 6, 7]
    assert [frame.index for frame in frames if "silent" in frame.raw.degraded] == [5, 6]  # a second and more
    told = [state for state, _ in itertools.groupby(status.source for status in sink.statuses)]
    assert told[-4:] == ["stalled", "reconnecting", "live", "ended"]
    assert sink.statuses[-1].lost_samples == 3 * STEP + 4_000


class LyricsOfOneLine(ScriptedLyrics):
    """Shows a line at once and holds another one back until it is finished."""

    def __init__(self, text: str) -> None:
        super().__init__([(1, text)], at_end=[f"{text}, the end"])


def changed_between(
    before: list[AudioChunk], change: Callable[[Pipeline], None], after: list[AudioChunk], **parts: object
) -> tuple[list[StreamEvent], Pipeline]:
    """The events of a stream that is changed between two chunks."""

    def script() -> Iterator[AudioChunk]:
        yield from before
        change(pipeline)
        yield from after

    collector = Collector()
    wanted = {
        "windower": Windower(WINDOW),
        "lyrics": NoLyrics(),
        "emotion": ScriptedModel(),
        "smoother": Smoother(SmoothingSettings()),
    }
    pipeline = Pipeline(source=ScriptedSource(script()), sink=collector, **(wanted | parts))
    pipeline.run()
    return collector.events, pipeline


def frames_of(events: list[StreamEvent]) -> list[EmotionFrame]:
    return [event for event in events if isinstance(event, EmotionFrame)]


@pytest.mark.parametrize("factor", [0.5, 2, 3])
def test_index_and_time_go_on_where_the_hop_changes(factor):
    new_hop = round(factor * HOP)
    events, _ = changed_between(hops(12), lambda pipeline: pipeline.set_hop(new_hop), hops(12, start=12))
    frames = frames_of(events)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    ends = [round(frame.t1 * 16_000) for frame in frames]
    assert ends == [*range(HOP, 12 * HOP + 1, HOP), *range(12 * HOP + new_hop, 24 * HOP + 1, new_hop)]
    assert {frame.t0 for frame in frames} == {0.0}, "the context stays"


def test_values_go_on_where_the_smoothing_changes():
    held = SmoothingSettings(attack_s=1e6, release_s=1e6)
    events, _ = changed_between(
        hops(10),
        lambda pipeline: pipeline.set_smoothing(held),
        hops(15, start=10),
        smoother=Smoother(SmoothingSettings(attack_s=0, release_s=0)),
    )
    frames = frames_of(events)
    assert frames[3].valence == frames[3].raw.valence
    assert abs(frames[-1].valence - frames[-10].valence) < 1e-4


def test_lines_go_on_counting_where_the_lyrics_change():
    first, second = LyricsOfOneLine("one"), LyricsOfOneLine("two")
    events, pipeline = changed_between(
        hops(3), lambda pipeline: pipeline.set_lyrics(second), hops(3, start=3), lyrics=first
    )
    lines = [event for event in events if isinstance(event, LyricLine)]
    assert [line.text for line in lines] == ["one", "one, the end", "two", "two, the end"]
    assert [line.segment for line in lines] == [0, 0, 1, 1]
    assert second.closed
    deadline = time.monotonic() + PATIENCE_S
    while not first.closed:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert pipeline._processor.lyrics is second


class Reopened:
    """Opens new parts, and keeps them."""

    def __init__(self) -> None:
        self.models = []
        self.feeds = []

    def emotion(self):
        self.models.append(ScriptedModel())
        return self.models[-1]

    def lyrics(self):
        self.feeds.append(ScriptedLyrics([(1, "again")]))
        return self.feeds[-1]


NO_SAMPLES = np.empty(0, np.float32)


def of_new_source(at: int, name: str = "second") -> AudioChunk:
    return AudioChunk(start_sample=at, samples=NO_SAMPLES, new_source=name)


def test_another_source_begins_a_context_of_its_own_and_its_gap_is_told():
    reopen, first = Reopened(), ScriptedModel()
    gap = HOP // 4
    second = [replace(chunk, start_sample=chunk.start_sample + gap) for chunk in hops(6, start=12)]
    events, _ = changed_between(
        [*hops(12), of_new_source(12 * HOP), *second], lambda _: None, [], emotion=first, reopen=reopen
    )
    frames = frames_of(events)
    assert [frame.index for frame in frames[:18]] == list(range(18))
    assert len(first.seen) == 12
    (model,) = reopen.models
    assert model.seen[0][0].start_sample == 12 * HOP
    assert AUDIO_LOST in frames[12].raw.degraded
    statuses = [event for event in events if isinstance(event, StreamStatus)]
    assert [status.device for status in statuses if status.device == "second"]
    assert statuses[-1].lost_samples == gap
    assert not reopen.feeds, "the lyrics go on"


def test_a_stream_goes_on_after_the_end_of_a_source():
    reopen = Reopened()
    ended = AudioChunk(start_sample=3 * HOP + 100, samples=NO_SAMPLES, source="ended")
    tail = AudioChunk(start_sample=3 * HOP, samples=noise(100))
    late = 3 * HOP + 400
    second = [replace(chunk, start_sample=chunk.start_sample + late) for chunk in hops(4)]
    events, _ = changed_between(
        [*hops(3), tail, ended], lambda _: None, [of_new_source(3 * HOP + 100), *second],
        lyrics=ScriptedLyrics([(1, "first")]), reopen=reopen,
    )  # fmt: skip
    frames = frames_of(events)
    indices = [frame.index for frame in frames]
    assert indices[:4] == [0, 1, 2, 3]
    assert round(frames[3].t1 * 16_000) == 3 * HOP + 100
    assert indices == sorted(set(indices))
    assert [event.segment for event in events if isinstance(event, LyricLine)] == [0, 1]
    sources = [event.source for event in events if isinstance(event, StreamStatus)]
    assert sources.index("ended") < len(sources) - 1
