from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.errors import LyricsError
from stream_mer.lyrics.feeds import OfflineLyrics
from stream_mer.lyrics.tracker import LyricTracker, TrackerSettings
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricLine

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


def test_a_gap_in_a_file_is_silence_of_its_length() -> None:
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
    assert feed.reason == "the recogniser failed: broken"


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
