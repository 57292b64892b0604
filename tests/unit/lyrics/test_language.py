from __future__ import annotations

import numpy as np
import pytest

from stream_mer.lyrics.tracker import LanguageLock, LanguageSettings, LyricTracker
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricLine, LyricWord, Samples

SETTINGS = LanguageSettings(votes=2, recheck_s=60.0, max_failed=3)


def hear(lock: LanguageLock, now_s: float, language: str, probability: float = 0.9, *, believable: bool = True) -> None:
    detected = lock.wanted(now_s) is None
    lock.heard(now_s, language=language, probability=probability, detected=detected, believable=believable)


def test_a_fixed_language_is_told_from_the_start_and_stays() -> None:
    lock = LanguageLock(LanguageSettings(fixed="zh"))
    hear(lock, 2.0, "zh", believable=False)
    assert lock.wanted(1000.0) == "zh"


def test_it_settles_after_enough_sure_votes_in_a_row() -> None:
    lock = LanguageLock(SETTINGS)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "ja")
    assert lock.wanted(6.0) is None
    hear(lock, 6.0, "ja")
    assert lock.settled == lock.wanted(8.0) == "ja"


def test_unsure_passes_and_passes_without_words_do_not_vote() -> None:
    lock = LanguageLock(SETTINGS)
    for t in range(10):
        hear(lock, float(t), "en", probability=0.4)
        hear(lock, float(t), "nn", believable=False)
    assert lock.settled == ""


def test_a_settled_language_is_checked_again_and_can_change() -> None:
    lock = LanguageLock(SETTINGS)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "en")
    assert lock.wanted(63.0) == "en"
    assert lock.wanted(64.0) is None
    hear(lock, 64.0, "en")
    assert lock.wanted(66.0) == "en"
    hear(lock, 124.0, "es")
    assert lock.wanted(126.0) is None
    hear(lock, 126.0, "es")
    assert lock.wanted(128.0) == "es"


def test_passes_that_hear_nothing_believable_open_it_again() -> None:
    lock = LanguageLock(SETTINGS)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "en")
    for t in (6.0, 8.0):
        hear(lock, t, "en", believable=False)
    assert lock.settled == "en"
    hear(lock, 10.0, "en", believable=False)
    assert lock.wanted(12.0) is None


class Polyglot:
    """Hears songs one after the other, each in its language; told another one, it is as sure of nonsense."""

    SONGS = ((0.0, "en", "love"), (60.0, "es", "amor"), (130.0, "zh", "爱"))

    def __init__(self) -> None:
        self.told: list[tuple[float, str | None]] = []

    def transcribe(self, samples: Samples, *, language: str | None) -> Transcript:
        end_s = float(samples[-1])
        _, sung, text = next(song for song in reversed(self.SONGS) if end_s > song[0] + 1.0)
        self.told.append((end_s, language))
        start_s = end_s - len(samples) / SAMPLE_RATE_HZ
        spoken = language or sung
        right = text if spoken == sung else f"{text}?!-{spoken}"
        words = tuple(
            LyricWord(t0=at - start_s, t1=at + 0.4 - start_s, text=right, probability=0.9)
            for at in np.arange(0.5, end_s - 0.4, 0.8)
            if at >= start_s
        )
        return Transcript(
            segments=(Segment(words=words, avg_logprob=-0.3),),
            language=spoken,
            language_probability=0.9 if language is None else 1.0,
        )


def test_a_concert_in_several_languages_is_followed_and_every_line_says_its_own() -> None:
    tracker, recogniser = LyricTracker(), Polyglot()
    lines: list[LyricLine] = []
    for start in range(0, 200 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ // 2):
        times = np.arange(start + 1, start + SAMPLE_RATE_HZ // 2 + 1, dtype=np.float32) / SAMPLE_RATE_HZ
        tracker.feed(AudioChunk(start_sample=start, samples=times))
        job = tracker.due()
        if job is not None:
            tracker.accept(job, recogniser.transcribe(job.samples, language=job.language))
        lines += tracker.take_lines()
    committed = [line for line in lines if line.committed]
    recheck_s, settle_s = LanguageSettings().recheck_s, 15.0  # the buffer holds two songs so long
    for (begin_s, language, text), end_s in zip(Polyglot.SONGS, (60.0, 130.0, 200.0), strict=True):
        sure_from_s = begin_s + (recheck_s + settle_s if begin_s else 0.0)
        sung = [line for line in committed if line.t0 > sure_from_s and line.t1 < end_s - settle_s]
        assert len(sung) >= 2
        assert {line.language for line in sung} == {language}
        assert {word.text for line in sung for word in line.words} == {text}
    told = [language for _, language in recogniser.told]
    assert told.count(None) < len(told) / 5  # it is told what is settled, for detecting costs time


def test_a_passage_in_doubt_is_tried_now_and_then_once_the_language_is_settled() -> None:
    settings = LanguageSettings(votes=1, doubt_s=2.0, doubt_every_s=4.5)
    lock = LanguageLock(settings)
    assert not lock.doubts(10.0, unheard_s=3.0)
    hear(lock, 10.0, "en")
    assert not lock.doubts(12.0, unheard_s=1.9)
    assert lock.doubts(12.0, unheard_s=2.0)
    assert not lock.judge(12.0, language="en", probability=0.9, believable=True)
    assert not lock.doubts(16.0, unheard_s=3.0)
    assert lock.doubts(16.5, unheard_s=3.0)
    assert not lock.judge(16.5, language="fr", probability=0.59, believable=True)
    assert not lock.judge(21.0, language="fr", probability=0.9, believable=False)
    assert lock.settled == "en"
    assert lock.judge(25.5, language="fr", probability=0.6, believable=True)
    assert lock.settled == lock.wanted(27.0) == "fr"
    assert lock.doubts(27.0, unheard_s=2.0)  # the way back is open at once
    assert not LanguageLock(LanguageSettings(fixed="en")).doubts(12.0, unheard_s=9.0)


def words_of(language: str, line: int) -> list[str]:
    return [f"{language}{line}{letter}" for letter in "abcdef"]


class TakingTurns:
    """Lines of 4 s, each in its language; where a pass is told another one, its words are guesses.

    A sample is its own time. Without a language it detects that of the audio, for sure only within one line.
    """

    def __init__(self, languages: str) -> None:
        self.lines = languages.split()
        self.detected = ""
        self.probability = 0.9

    def transcribe(self, samples: Samples, *, language: str | None) -> Transcript:
        start_s, end_s = float(samples[0]), float(samples[-1])
        spoken: dict[int, list[tuple[float, str]]] = {}
        for i, sung in enumerate(self.lines):
            times = i * 4.0 + 0.1 + 0.6 * np.arange(6)
            inside = [
                (float(at), text)
                for at, text in zip(times, words_of(sung, i), strict=True)
                if at >= start_s and at + 0.4 <= end_s
            ]
            if inside:
                spoken[i] = inside
        found = language or self.detected or self.lines[min(spoken, default=0)]
        sure = self.probability if len({self.lines[i] for i in spoken}) == 1 else 0.4
        segments = [self._segment(said, right=self.lines[i] == found, start_s=start_s) for i, said in spoken.items()]
        return Transcript(segments=tuple(segments), language=found, language_probability=1.0 if language else sure)

    def _segment(self, said: list[tuple[float, str]], *, right: bool, start_s: float) -> Segment:
        words = tuple(
            LyricWord(t0=at - start_s, t1=at + 0.4 - start_s, text=text, probability=0.9 if right else 0.2)
            for at, text in said
        )
        return Segment(words=words, avg_logprob=-0.3 if right else -1.5)


def sing(recogniser: TakingTurns, duration_s: float, *, hop_s: float = 0.5) -> list[LyricLine]:
    """Committed lines of a feed that asks again after each answer, as the feeds do."""
    tracker = LyricTracker()
    hop = round(hop_s * SAMPLE_RATE_HZ)
    for start in range(0, round(duration_s * SAMPLE_RATE_HZ), hop):
        times = np.arange(start + 1, start + hop + 1, dtype=np.float32) / SAMPLE_RATE_HZ
        tracker.feed(AudioChunk(start_sample=start, samples=times))
        while (job := tracker.due()) is not None:
            tracker.accept(job, recogniser.transcribe(job.samples, language=job.language))
    while (job := tracker.last_job()) is not None:
        tracker.accept(job, recogniser.transcribe(job.samples, language=job.language))
    tracker.finish()
    return [line for line in tracker.take_lines() if line.committed]


def test_lines_in_two_languages_in_turn_are_all_heard_in_their_own() -> None:
    recogniser = TakingTurns("en en fr en fr fr en")
    lines = sing(recogniser, 28.0)
    words = [(word.text, line.language) for line in lines for word in line.words]
    sung = [(text, language) for i, language in enumerate(recogniser.lines) for text in words_of(language, i)]
    assert words == sung
    starts = [word.t0 for line in lines for word in line.words]
    right = [i * 4.0 + 0.1 + 0.6 * k for i in range(7) for k in range(6)]
    # The first word after a line that a pause ended is moved behind that pause, by up to so much.
    np.testing.assert_allclose(starts, right, atol=0.35)


@pytest.mark.parametrize(
    ("detected", "probability"), [("en", 0.9), ("cy", 0.59)], ids=["the same language", "not sure of another"]
)
def test_a_passage_that_nobody_understands_changes_nothing_and_costs_little(detected: str, probability: float) -> None:
    calls: list[str | None] = []

    class Mumbled(TakingTurns):
        def transcribe(self, samples: Samples, *, language: str | None) -> Transcript:
            if language is None and "en" in calls:
                self.detected, self.probability = detected, probability
            calls.append(language)
            return super().transcribe(samples, language=language)

    recogniser = Mumbled("en en ?? ?? ?? en en")
    lines = sing(recogniser, 28.0)
    words = [(word.text, line.language) for line in lines for word in line.words]
    assert words == [(text, "en") for i in (0, 1, 5, 6) for text in words_of("en", i)]
    trials = calls[calls.index("en") :].count(None)
    assert 1 <= trials <= 12.0 / LanguageSettings().doubt_every_s + 1
