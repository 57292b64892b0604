from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stream_mer.errors import LyricsError, SettingError
from stream_mer.lyrics.feeds import LAGGING, LOADING, UNAVAILABLE, LiveLyrics, LiveSettings
from stream_mer.lyrics.tracker import LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import Passage
from stream_mer.types import SAMPLE_RATE_HZ, LyricLine

SECOND = SAMPLE_RATE_HZ
PATIENCE_S = 30.0
"""How long a test waits for the worker before it calls it dead; never reached when all is well."""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for another thread without caring how long it takes."""
    pause = threading.Event()
    for _ in range(round(PATIENCE_S / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it never came about")


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
            eventually(lambda end=(second + 1) * SECOND: recogniser.calls and recogniser.calls[-1][1] >= end)
            eventually(lambda: feed.state().lag_s == 0.0)
        lines += feed.take_lines()
    return lines


def test_it_commits_a_song_as_it_goes_and_encodes_each_line_once(
    song_of: Any, oracle: Any, audio: Any, encoder: Any
) -> None:
    song = song_of(30.0)
    recogniser = oracle(song)
    with opened(recogniser, encoder) as feed:
        eventually(lambda: feed.state().health == "ok")
        lines = play(feed, recogniser, audio, 0, 30)
        feed.finish()
        lines += feed.take_lines()
        committed = [line for line in lines if line.committed]
        assert [one.text for line in committed for one in line.words] == [one.text for one in song]
        eventually(lambda: len(feed.state().lines) == len(committed))
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
        eventually(lambda: feed.state().health == "ok")
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
        eventually(lambda: feed.state().health == "ok")
        eventually(lambda: len(recogniser.calls) == 2)
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
    settings = LiveSettings(max_cpu_share=0.75)
    feed = LiveLyrics(recogniser, encoder, tracker=tracker, settings=settings, clock=lambda: now[0])
    feed.feed(audio(0, 2 * SECOND))
    eventually(lambda: recogniser.calls and feed.state().lag_s == 0.0)
    for second in range(2, 9):  # the rest lasts until 8.0; this clock stands still at 6.0
        feed.feed(audio(second * SECOND, (second + 1) * SECOND))
    assert feed.state().lag_s == 7.0
    now[0] = 8.0
    feed.feed(audio(9 * SECOND, 9 * SECOND + 10))
    eventually(lambda: len(recogniser.calls) == 2 and feed.state().lag_s == 0.0)
    assert [end for _, end, _ in recogniser.calls] == [2 * SECOND, 9 * SECOND + 10]
    assert now[0] == 14.0
    feed.close()


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1])
def test_a_share_of_the_time_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="share"):
        LiveSettings(max_cpu_share=share)


def test_a_hanging_recogniser_holds_up_nobody(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(10.0))
    recogniser.gate = threading.Event()
    tracker = LyricTracker(TrackerSettings(step_s=2.0))
    feed = LiveLyrics(recogniser, encoder, tracker=tracker, settings=LiveSettings(close_s=0.05))
    feed.feed(audio(0, 3 * SECOND))
    assert recogniser.started.wait(PATIENCE_S)
    feed.feed(audio(3 * SECOND, 6 * SECOND))
    feed.finish()
    assert feed.take_lines() == []
    feed.close()
    assert feed._worker.is_alive()
    recogniser.gate.set()
    feed._worker.join(PATIENCE_S)
    assert not feed._worker.is_alive()


def test_missing_weights_are_told_and_the_worker_ends(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(10.0))
    recogniser.load_error = LyricsError("no weights on this machine; install some")
    with opened(recogniser, encoder) as feed:
        eventually(lambda: feed.state().health == "unavailable")
        assert feed.state().degraded == (UNAVAILABLE,)
        assert feed.reason == "no weights on this machine; install some"
        feed.feed(audio(0, 10 * SECOND))
        eventually(lambda: not feed._worker.is_alive())
        assert recogniser.calls == []
        feed.finish()


def test_a_recogniser_that_dies_is_told_and_asked_again(song_of: Any, oracle: Any, audio: Any, encoder: Any) -> None:
    recogniser = oracle(song_of(30.0))
    recogniser.error = RuntimeError("CUDA went away")
    with opened(recogniser, encoder) as feed:
        feed.feed(audio(0, 2 * SECOND))
        eventually(lambda: feed.state().health == "unavailable")
        assert feed.reason == "the recogniser failed: CUDA went away"
        recogniser.error = None
        for second in range(2, 6):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        eventually(lambda: feed.state().health == "ok")
        assert [end for _, end, _ in recogniser.calls] == [2 * SECOND, 6 * SECOND]
        assert feed.reason == ""


def test_an_encoder_that_is_missing_is_told(song_of: Any, oracle: Any, encoder: Any) -> None:
    encoder.error = LyricsError("no encoder")
    with opened(oracle(song_of(5.0)), encoder) as feed:
        eventually(lambda: feed.state().health == "unavailable")
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
            eventually(lambda: feed.state().lag_s < 2.0)
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
        eventually(lambda: feed.state().health == "unavailable")
        parts.passages = asked  # type: ignore[method-assign]
        for second in range(2, 6):
            feed.feed(audio(second * SECOND, (second + 1) * SECOND))
        eventually(lambda: feed.state().health == "ok")
    finally:
        feed.close()
