from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from stream_mer.errors import LyricsError
from stream_mer.lyrics.feeds import LAGGING, LOADING, UNAVAILABLE
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.lyrics.known import AHEAD_LINES, KnownLyrics, LiveKnownLyrics
from stream_mer.lyrics.text_features import LineReader
from stream_mer.types import SAMPLE_RATE_HZ

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


def test_plain_text_is_known_from_the_start_and_bounded(audio: Any, encoder: Any) -> None:
    feed = KnownLyrics(parse_lyrics("\n".join(f"line {i}" for i in range(100))), encoder)
    feed.feed(audio(0, 100))
    assert len(feed.take_lines()) == 100
    assert len(feed.state().lines) == 64


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
        eventually(lambda: beside.state().health == "ok")
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
        eventually(lambda: feed._closed)
        stopped.let_all()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert not feed._worker.is_alive()
        assert stopped.asked == ["ready", "line 9999", "line 9998", "line 9997"]


def test_an_encoder_that_hangs_does_not_keep_a_live_stream_from_closing(stopped: StoppedEncoder) -> None:
    feed = LiveKnownLyrics(parse_lyrics("one"), stopped, close_s=0.05)
    stopped.wait_asked(1)
    feed.close()
    assert feed._worker.is_alive()
    stopped.let_all()
    feed._worker.join(PATIENCE_S)
    assert not feed._worker.is_alive()
    assert stopped.asked == ["ready"]


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
        eventually(lambda: feed.state().health == "ok")
        assert len(feed.state().lines) == 2
        assert "a line of lyrics is skipped: the encoder failed: out of memory" in caplog.text
