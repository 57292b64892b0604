"""The live policy on a sample clock, with recognisers of any speed."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.lyrics_paced import PacedLyrics
from benchmarks.word_scoring import final_words
from stream_mer.lyrics.feeds import LiveSettings
from stream_mer.lyrics.tracker import LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricWord, Samples, seconds

SONG_S = 60.0
STEP_S = 1.5
ANSWERED_S = SONG_S - STEP_S  # the decode that begins with the song's last sample is never answered
WORDS = [LyricWord(t0=at, t1=at + 0.4, text=f"w{at}", probability=0.5) for at in np.arange(0.5, SONG_S - 1, 0.75)]
IN_TIME = [word.text for word in WORDS if word.t1 <= ANSWERED_S]


class Machine:
    """A clock, and a recogniser that hears every word of the song right, but takes its time."""

    def __init__(self, *decodes_s: float) -> None:
        self.now_s = 0.0
        self.heard_until_s: list[float] = []
        self._decodes_s = decodes_s

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        end_s = float(samples[-1])
        start_s = end_s - seconds(len(samples))
        self.now_s += self._decodes_s[len(self.heard_until_s) % len(self._decodes_s)]
        self.heard_until_s.append(end_s)
        words = tuple(
            LyricWord(t0=one.t0 - start_s, t1=one.t1 - start_s, text=one.text, probability=0.5)
            for one in WORDS
            if one.t0 >= start_s and one.t1 <= end_s
        )
        return Transcript(segments=(Segment(words=words),) if words else (), language=language or "en")

    def encode(self, text: str) -> NDArray[np.float32]:
        return np.full(512, len(text), np.float32)


def play(machine: Machine, *, share: float = 0.75, hop_s: float = 0.5) -> tuple[PacedLyrics, list[float]]:
    """Play the song; return the feed and its lag at every hop. Each sample tells its own time."""
    tracker = LyricTracker(TrackerSettings(step_s=STEP_S, buffer_s=12.0))
    settings = LiveSettings(max_cpu_share=share)
    feed = PacedLyrics(machine, machine, tracker=tracker, settings=settings, clock=lambda: machine.now_s)
    hop, lags_s = round(hop_s * SAMPLE_RATE_HZ), []
    for start in range(0, round(SONG_S * SAMPLE_RATE_HZ), hop):
        times = np.arange(start + 1, start + hop + 1, dtype=np.float32) / SAMPLE_RATE_HZ
        feed.feed(AudioChunk(start_sample=start, samples=times))
        lags_s.append(feed.state().lag_s)
    feed.finish()
    return feed, lags_s


def test_a_fast_recogniser_decodes_every_step_and_its_answers_come_when_they_are_done() -> None:
    feed, lags_s = play(Machine(0.4))
    np.testing.assert_allclose([one.heard_until_s for one in feed.decodes], np.arange(1, 41) * STEP_S, atol=0.051)
    assert max(lags_s) <= STEP_S + 0.5
    words = final_words(feed.heard)
    assert [word.text for word in words] == IN_TIME
    settled = [word.settled_s - word.t1 for word in words if word.settled_s is not None and word.t1 is not None]
    assert max(settled) <= 2 * STEP_S + 0.051


@pytest.mark.parametrize(("decode_s", "share"), [(3.0, 0.75), (3.0, 1.0), (5.0, 0.5), (11.0, 0.75)])
def test_a_slow_recogniser_gets_the_newest_audio_and_its_lag_stays_bounded(decode_s: float, share: float) -> None:
    feed, lags_s = play(Machine(decode_s), share=share)
    period_s = decode_s / share
    ends = [one.heard_until_s for one in feed.decodes]
    for before, after in pairwise(ends):  # no queue: one after the other, each with a rest, skipping what fell due
        assert period_s - 1e-6 <= after - before <= period_s + STEP_S + 0.1
    half = len(lags_s) // 2
    assert max(lags_s[half:]) <= period_s + decode_s + STEP_S + 0.1
    assert max(lags_s[half:]) <= max(lags_s[:half]) + STEP_S
    busy_s = sum(one.took_s for one in feed.decodes)
    assert busy_s <= share * SONG_S + decode_s


def test_one_slow_decode_delays_the_next_and_is_made_up_for() -> None:
    feed, lags_s = play(Machine(*([0.4] * 8), 6.0, *([0.4] * 100)))
    ends = [one.heard_until_s for one in feed.decodes]
    gaps = [after - before for before, after in pairwise(ends)]
    assert [gap > STEP_S + 0.1 for gap in gaps].count(True) == 1
    assert max(gaps) == pytest.approx(8.0, abs=STEP_S)
    assert lags_s[-1] <= STEP_S + 0.5
    assert [word.text for word in final_words(feed.heard)] == IN_TIME


def test_the_cut_of_the_audio_makes_no_difference() -> None:
    fine, _ = play(Machine(0.7), hop_s=0.05)
    coarse, _ = play(Machine(0.7), hop_s=2.0)
    assert [one.line for one in fine.heard] == [one.line for one in coarse.heard]
    assert fine.decodes == coarse.decodes
