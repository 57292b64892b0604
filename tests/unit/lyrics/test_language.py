from __future__ import annotations

import numpy as np

from stream_mer.lyrics.language import LanguageLock, LanguageSettings
from stream_mer.lyrics.tracker import LyricTracker
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
