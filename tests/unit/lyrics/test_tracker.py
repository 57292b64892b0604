from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.errors import SettingError
from stream_mer.lyrics.agreement import normalise
from stream_mer.lyrics.lines import split_lines
from stream_mer.lyrics.tracker import LanguageLock, LanguageSettings, LyricTracker, RollingAudio, TrackerSettings
from stream_mer.lyrics.transcript import Passage, Segment, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricLine, LyricWord, Samples

HOP = SAMPLE_RATE_HZ // 10
SETTINGS = TrackerSettings(step_s=2.0, buffer_s=12.0)


def drive(tracker: LyricTracker, recogniser: Any, audio: Any, duration_s: float) -> list[LyricLine]:
    lines: list[LyricLine] = []
    for start in range(0, round(duration_s * SAMPLE_RATE_HZ), HOP):
        tracker.feed(audio(start, start + HOP))
        job = tracker.due()
        if job is not None:
            tracker.accept(job, recogniser.transcribe(job.samples, language=job.language))
        lines += tracker.take_lines()
    tracker.finish()
    return lines + tracker.take_lines()


def committed_text(lines: list[LyricLine]) -> list[str]:
    return [one.text for line in lines if line.committed for one in line.words]


def test_every_word_of_a_song_is_committed_once_and_in_order(song_of: Any, oracle: Any, audio: Any) -> None:
    song = song_of(60.0)
    lines = drive(LyricTracker(SETTINGS), oracle(song), audio, 60.0)
    assert committed_text(lines) == [one.text for one in song]
    for line, said in zip((x for x in lines if x.committed), split_lines(song), strict=True):
        assert [one.text for one in line.words] == [one.text for one in said]
        np.testing.assert_allclose([one.t0 for one in line.words], [one.t0 for one in said], atol=1e-3)


def test_the_buffer_stays_bounded_and_is_cut_where_a_line_ended(song_of: Any, oracle: Any, audio: Any) -> None:
    song = song_of(60.0)
    recogniser = oracle(song)
    drive(LyricTracker(SETTINGS), recogniser, audio, 60.0)
    lengths = [(end - start) / SAMPLE_RATE_HZ for start, end, _ in recogniser.calls]
    assert max(lengths) <= SETTINGS.buffer_s + 1e-3
    ends = {round(line[-1].t1, 2) for line in split_lines(song)}
    starts = {round(start / SAMPLE_RATE_HZ, 2) for start, _, _ in recogniser.calls} - {0.0}
    assert starts
    assert starts <= ends


def test_one_decode_at_a_time_and_then_on_the_newest_audio(audio: Any) -> None:
    tracker = LyricTracker(SETTINGS)
    tracker.feed(audio(0, 5 * SAMPLE_RATE_HZ))
    job = tracker.due()
    assert job is not None
    assert job.end_sample == 5 * SAMPLE_RATE_HZ
    assert tracker.due() is None
    tracker.feed(audio(5 * SAMPLE_RATE_HZ, 11 * SAMPLE_RATE_HZ))
    assert tracker.due() is None
    assert tracker.lag_s == 11.0
    tracker.accept(job, Transcript())
    assert tracker.lag_s == 6.0
    later = tracker.due()
    assert later is not None
    assert later.end_sample == 11 * SAMPLE_RATE_HZ
    assert tracker.due() is None


def test_words_that_no_further_pass_can_hear_are_committed_though_passes_disagree(audio: Any) -> None:
    tracker = LyricTracker(replace(SETTINGS, language=LanguageSettings(fixed="en")))

    class Fickle:
        calls = 0

        def transcribe(self, samples: np.ndarray, *, language: str | None = None) -> Transcript:
            del samples
            self.calls += 1
            found = LyricWord(t0=0.5, t1=0.9, text=f"guess{self.calls}", probability=0.6)
            words = (found,) if self.calls < 7 else ()
            return Transcript(segments=(Segment(words=words),), language=language or "en")

    lines = drive(tracker, Fickle(), audio, 16.0)
    assert len(committed_text(lines)) == 1
    assert normalise(committed_text(lines)[0]) == "guess6"


def test_a_pass_that_is_not_believed_changes_nothing(audio: Any) -> None:
    tracker = LyricTracker(SETTINGS)
    said = LyricWord(t0=0.5, t1=0.9, text="hello", probability=0.6)
    good = Transcript(segments=(Segment(words=(said,), avg_logprob=-0.2),), language="en")
    bad = Transcript(segments=(Segment(words=(said,), avg_logprob=-3.0),), language="en")
    answers = iter([good, bad, good])
    lines: list[LyricLine] = []
    for step in range(3):
        tracker.feed(audio(step * 2 * SAMPLE_RATE_HZ, (step + 1) * 2 * SAMPLE_RATE_HZ))
        job = tracker.due()
        assert job is not None
        tracker.accept(job, next(answers))
        lines += tracker.take_lines()
    assert [(line.text, line.settled_words) for line in lines] == [("hello", 0), ("hello", 1)]


def test_words_go_out_with_the_first_pass_and_settle_with_the_second(song_of: Any, oracle: Any, audio: Any) -> None:
    song = [replace(one, probability=0.5) for one in song_of(30.0)]
    tracker, recogniser = LyricTracker(SETTINGS), oracle(song)
    shown_s: dict[str, float] = {}
    settled_s: dict[str, float] = {}
    for step in range(1, 16):
        tracker.feed(audio((step - 1) * 2 * SAMPLE_RATE_HZ, step * 2 * SAMPLE_RATE_HZ))
        job = tracker.due()
        assert job is not None
        tracker.accept(job, recogniser.transcribe(job.samples, language=job.language))
        for line in tracker.take_lines():
            for place, one in enumerate(line.words):
                shown_s.setdefault(one.text, 2.0 * step)
                if place < line.settled_words:
                    settled_s.setdefault(one.text, 2.0 * step)
    early = [one for one in song if one.t1 < 24.0]
    assert all(settled_s[one.text] - one.t1 < 4.0 + 1e-6 for one in early)
    assert sum(shown_s[one.text] - one.t1 < 2.0 + 1e-6 for one in early) > 0.8 * len(early)


def test_a_stream_that_starts_late_on_the_clock_keeps_its_times(audio: Any) -> None:
    tracker = LyricTracker(SETTINGS)
    start = 100 * SAMPLE_RATE_HZ
    said = LyricWord(t0=0.5, t1=0.9, text="hello", probability=0.6)
    for step in range(2):
        tracker.feed(audio(start + step * 2 * SAMPLE_RATE_HZ, start + (step + 1) * 2 * SAMPLE_RATE_HZ))
        job = tracker.due()
        assert job is not None
        tracker.accept(job, Transcript(segments=(Segment(words=(said,)),), language="en"))
    assert {(line.t0, line.t1) for line in tracker.take_lines()} == {(100.5, 100.9)}


def test_a_failed_job_is_tried_again_later_each_time(audio: Any) -> None:
    tracker = LyricTracker(TrackerSettings(step_s=2.0, max_retry_s=10.0))
    asked: list[float] = []
    for step in range(500):
        tracker.feed(audio(step * HOP, (step + 1) * HOP))
        job = tracker.due()
        if job is not None:
            asked.append(job.end_sample / SAMPLE_RATE_HZ)
            tracker.reject(job)
    assert asked == [2.0, 6.0, 14.0, 24.0, 34.0, 44.0]
    assert tracker.failures == 6


def test_an_answer_that_comes_after_the_end_is_ignored(audio: Any) -> None:
    tracker = LyricTracker(SETTINGS)
    tracker.feed(audio(0, 4 * SAMPLE_RATE_HZ))
    job = tracker.due()
    assert job is not None
    tracker.finish()
    tracker.accept(job, Transcript(segments=(Segment(words=(LyricWord(t0=0.1, t1=0.5, text="late"),)),)))
    tracker.finish()
    assert tracker.take_lines() == []
    assert tracker.due() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrackerSettings(step_s=0.1),
        lambda: TrackerSettings(buffer_s=40.0),
        lambda: TrackerSettings(keep_s=20.0),
        lambda: TrackerSettings(overdue_s=1.0),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], TrackerSettings]) -> None:
    with pytest.raises(SettingError):
        make()


# --- the vocal gate


class Sung:
    """A gate that knows where somebody sings, in stream seconds: the first sample of the audio tells the time."""

    def __init__(self, *passages: tuple[float, float]) -> None:
        self._passages = passages

    def passages(self, samples: Any) -> tuple[Passage, ...]:
        start_s = float(samples[0]) * 1000
        end_s = start_s + len(samples) / SAMPLE_RATE_HZ
        inside = [(max(t0, start_s), min(t1, end_s)) for t0, t1 in self._passages]
        return tuple(Passage(t0 - start_s, t1 - start_s) for t0, t1 in inside if t0 < t1)


def timed(start: int, end: int) -> AudioChunk:
    """Audio that tells its own time: a sample is its place in thousands of seconds."""
    samples = (np.arange(start, end) / SAMPLE_RATE_HZ / 1000).astype(np.float32)
    return AudioChunk(start_sample=start, samples=samples)


def jobs_of(tracker: LyricTracker, duration_s: float, answer: Callable[[Any], Transcript]) -> list[float]:
    """Where the audio of each decode ended, stream seconds."""
    asked = []
    for start in range(0, round(duration_s * SAMPLE_RATE_HZ), HOP):
        tracker.feed(timed(start, start + HOP))
        job = tracker.due()
        if job is not None:
            asked.append(job.end_sample / SAMPLE_RATE_HZ)
            tracker.accept(job, answer(job))
    return asked


def said(job: Any, *words: LyricWord) -> Transcript:
    """The words that lie in the job's audio, as a recogniser tells their times."""
    offset_s = job.start_sample / SAMPLE_RATE_HZ
    heard = tuple(
        replace(one, t0=one.t0 - offset_s, t1=one.t1 - offset_s)
        for one in words
        if one.t0 >= offset_s and one.t1 <= offset_s + len(job.samples) / SAMPLE_RATE_HZ
    )
    segment = Segment(words=heard, no_speech_prob=0.1, avg_logprob=-0.3, compression_ratio=1.0)
    return Transcript(segments=(segment,) if heard else (), language="en")


def test_where_nobody_sings_nothing_is_decoded_and_time_goes_on() -> None:
    tracker = LyricTracker(SETTINGS, gate=Sung((30.0, 40.0)))
    assert jobs_of(tracker, 30.0, said) == []
    assert tracker.lag_s < SETTINGS.step_s


def test_a_voice_that_was_heard_whole_is_not_decoded_again() -> None:
    tracker = LyricTracker(SETTINGS, gate=Sung((1.0, 3.0)))
    assert jobs_of(tracker, 12.0, said) == [2.0, 4.0]


def test_what_the_last_pass_heard_of_a_voice_settles_when_it_has_ended() -> None:
    words = [LyricWord(t0=3.0 + i / 2, t1=3.4 + i / 2, text=f"word{i}", probability=0.5) for i in range(2)]
    tracker = LyricTracker(SETTINGS, gate=Sung((2.5, 4.0)))
    jobs_of(tracker, 9.0, lambda job: said(job, *words))
    assert [line.text for line in tracker.take_lines() if line.committed] == ["word0 word1"]


def test_words_where_nobody_sings_are_not_believed() -> None:
    sung = LyricWord(t0=3.0, t1=3.4, text="sung")
    invented = LyricWord(t0=8.0, t1=8.4, text="invented")
    tracker = LyricTracker(SETTINGS, gate=Sung((2.0, 5.0), (10.0, 12.0)))
    jobs_of(tracker, 16.0, lambda job: said(job, sung, invented))
    tracker.finish()
    assert "invented" not in " ".join(line.text for line in tracker.take_lines())


def test_the_gate_can_be_asked_between_two_halves_and_late_answers_count_for_nothing(audio: Any) -> None:
    tracker = LyricTracker(SETTINGS)
    tracker.feed(audio(0, 3 * SAMPLE_RATE_HZ))
    taken = tracker.take_due()
    assert taken is not None
    assert (taken.start_sample, taken.end_sample) == (0, 3 * SAMPLE_RATE_HZ)
    tracker.feed(audio(3 * SAMPLE_RATE_HZ, 6 * SAMPLE_RATE_HZ))
    assert tracker.take_due() is None
    assert tracker.due() is None
    job = tracker.admit(taken, [Passage(1.0, 2.0)])
    assert job is not None
    assert (job.end_sample, job.passages) == (3 * SAMPLE_RATE_HZ, (Passage(1.0, 2.0),))
    assert tracker.admit(taken, [Passage(1.0, 2.0)]) is None
    tracker.accept(job, Transcript())
    unsung = tracker.take_due()
    assert unsung is not None
    assert tracker.admit(unsung, []) is None
    assert tracker.lag_s == 0.0
    tracker.feed(audio(6 * SAMPLE_RATE_HZ, 9 * SAMPLE_RATE_HZ))
    late = tracker.take_due()
    assert late is not None
    tracker.finish()
    assert tracker.admit(late, [Passage(0.0, 1.0)]) is None


def test_a_job_that_waited_gets_the_newest_audio(audio: Any) -> None:
    tracker = LyricTracker(SETTINGS)
    tracker.feed(audio(0, 3 * SAMPLE_RATE_HZ))
    job = tracker.due()
    assert job is not None
    assert tracker.renew(job) is job  # nothing is newer
    tracker.feed(audio(3 * SAMPLE_RATE_HZ, 7 * SAMPLE_RATE_HZ))
    newest = tracker.renew(job)
    assert (newest.start_sample, newest.end_sample) == (0, 7 * SAMPLE_RATE_HZ)
    assert tracker.renew(job) is job  # it is the tracker's no more
    admitted = tracker.admit(newest, [Passage(1.0, 7.0)])
    assert admitted is not None
    tracker.accept(job, Transcript())
    assert tracker.lag_s == 7.0
    tracker.accept(admitted, Transcript())
    assert tracker.lag_s == 0.0
    assert tracker.due() is None
    assert tracker.next_due_sample == 8 * SAMPLE_RATE_HZ


def test_a_trial_that_waited_until_a_pass_is_due_gives_way_to_it() -> None:
    language = LanguageSettings(votes=1, doubt_s=2.0)
    tracker = LyricTracker(replace(SETTINGS, language=language), gate=Sung((0.0, 60.0)))
    clear = LyricWord(t0=0.5, t1=0.9, text="clear", probability=0.9)
    jobs_of(tracker, 3.0, lambda job: said(job, clear))
    for start in range(3 * SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ, HOP):
        tracker.feed(timed(start, start + HOP))
    unclear = tracker.due()
    assert unclear is not None
    tracker.accept(unclear, said(unclear, clear))
    trial = tracker.due()
    assert trial is not None
    assert trial.trial_from_s is not None
    tracker.feed(timed(4 * SAMPLE_RATE_HZ, 4 * SAMPLE_RATE_HZ + HOP))
    assert tracker.renew(trial) is trial
    tracker.feed(timed(4 * SAMPLE_RATE_HZ + HOP, 7 * SAMPLE_RATE_HZ))
    later = tracker.renew(trial)
    assert later.trial_from_s is None
    assert later.end_sample == 7 * SAMPLE_RATE_HZ


def test_words_whose_audio_left_the_buffer_between_two_passes_are_kept() -> None:
    """The recogniser comes round every seven seconds: half of the words are in one pass alone, and cut at the start."""
    settings = TrackerSettings(step_s=1.0, buffer_s=10.0, language=LanguageSettings(fixed="en"))
    tracker = LyricTracker(settings)
    words = [LyricWord(t0=i + 0.1, t1=i + 0.8, text=f"word{i}", probability=0.5) for i in range(34)]
    for i, start in enumerate(range(0, 42 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)):
        tracker.feed(timed(start, start + SAMPLE_RATE_HZ))
        job = tracker.due() if i % 7 == 6 else None
        if job is not None:
            tracker.accept(job, said(job, *words))
    tracker.finish()
    assert committed_text(tracker.take_lines()) == [one.text for one in words]


def chunk(start: int, stop: int) -> AudioChunk:
    return AudioChunk(start_sample=start, samples=np.arange(start + 1, stop + 1, dtype=np.float32))


@given(st.lists(st.integers(0, 25), max_size=20), st.integers(1, 30), st.integers(0, 100))
def test_it_holds_the_newest_samples_however_they_came(sizes: list[int], capacity: int, start: int) -> None:
    audio = RollingAudio(capacity_samples=capacity)
    position = start
    for size in sizes:
        audio.feed(chunk(position, position + size))
        position += size
    kept = min(capacity, position - start)
    np.testing.assert_array_equal(audio.snapshot(), np.arange(position - kept + 1, position + 1, dtype=np.float32))
    if sizes:
        assert (audio.start_sample, audio.end_sample) == (position - kept, position)


def test_after_a_skip_of_the_clock_only_the_new_audio_is_kept() -> None:
    audio = RollingAudio(capacity_samples=10)
    audio.feed(chunk(0, 8))
    audio.feed(chunk(100, 103))
    np.testing.assert_array_equal(audio.snapshot(), [101, 102, 103])
    assert (audio.start_sample, audio.end_sample) == (100, 103)


def test_what_is_dropped_stays_dropped() -> None:
    audio = RollingAudio(capacity_samples=10)
    audio.feed(chunk(0, 9))
    audio.drop_before(4)
    audio.drop_before(2)
    audio.feed(chunk(9, 11))
    np.testing.assert_array_equal(audio.snapshot(), np.arange(5, 12, dtype=np.float32))
    audio.drop_before(99)
    assert audio.length_samples == 0
    assert audio.end_sample == 11


def test_a_snapshot_stays_as_it_is_and_cannot_be_written() -> None:
    audio = RollingAudio(capacity_samples=4)
    audio.feed(chunk(0, 4))
    taken = audio.snapshot()
    for start in range(4, 40, 3):
        audio.feed(chunk(start, start + 3))
    audio.feed(chunk(100, 109))
    np.testing.assert_array_equal(taken, [1, 2, 3, 4])
    with pytest.raises(ValueError, match="read-only"):
        taken[0] = 0


def test_a_decode_is_due_at_the_end_of_each_step() -> None:
    tracker = LyricTracker(TrackerSettings(step_s=1.5))
    due = []
    for start in range(0, 48_000, 320):
        tracker.feed(chunk(start, start + 320))
        due.append(tracker.is_due)
        tracker.take_due()
    assert [320 * (i + 1) for i, is_due in enumerate(due) if is_due] == [24_000, 48_000]


LANGUAGE = LanguageSettings(votes=2, recheck_s=60.0, max_failed=3)


def hear(lock: LanguageLock, now_s: float, language: str, probability: float = 0.9, *, believable: bool = True) -> None:
    detected = lock.language_at(now_s) is None
    lock.learn(now_s, language=language, probability=probability, detected=detected, believable=believable)


def test_a_fixed_language_is_told_from_the_start_and_stays() -> None:
    lock = LanguageLock(LanguageSettings(fixed="zh"))
    hear(lock, 2.0, "zh", believable=False)
    assert lock.language_at(1000.0) == "zh"


def test_it_settles_after_enough_sure_votes_in_a_row() -> None:
    lock = LanguageLock(LANGUAGE)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "ja")
    assert lock.language_at(6.0) is None
    hear(lock, 6.0, "ja")
    assert lock.settled == lock.language_at(8.0) == "ja"


def test_unsure_passes_and_passes_without_words_do_not_vote() -> None:
    lock = LanguageLock(LANGUAGE)
    for t in range(10):
        hear(lock, float(t), "en", probability=0.4)
        hear(lock, float(t), "nn", believable=False)
    assert lock.settled == ""


def test_a_settled_language_is_checked_again_and_can_change() -> None:
    lock = LanguageLock(LANGUAGE)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "en")
    assert lock.language_at(63.0) == "en"
    assert lock.language_at(64.0) is None
    hear(lock, 64.0, "en")
    assert lock.language_at(66.0) == "en"
    hear(lock, 124.0, "es")
    assert lock.language_at(126.0) is None
    hear(lock, 126.0, "es")
    assert lock.language_at(128.0) == "es"


def test_passes_that_hear_nothing_believable_open_it_again() -> None:
    lock = LanguageLock(LANGUAGE)
    hear(lock, 2.0, "en")
    hear(lock, 4.0, "en")
    for t in (6.0, 8.0):
        hear(lock, t, "en", believable=False)
    assert lock.settled == "en"
    hear(lock, 10.0, "en", believable=False)
    assert lock.language_at(12.0) is None


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
    assert not lock.wants_trial(10.0, unclear_s=3.0)
    hear(lock, 10.0, "en")
    assert not lock.wants_trial(12.0, unclear_s=1.9)
    assert lock.wants_trial(12.0, unclear_s=2.0)
    assert not lock.learn_trial(12.0, language="en", probability=0.9, believable=True)
    assert not lock.wants_trial(16.0, unclear_s=3.0)
    assert lock.wants_trial(16.5, unclear_s=3.0)
    assert not lock.learn_trial(16.5, language="fr", probability=0.59, believable=True)
    assert not lock.learn_trial(21.0, language="fr", probability=0.9, believable=False)
    assert lock.settled == "en"
    assert lock.learn_trial(25.5, language="fr", probability=0.6, believable=True)
    assert lock.settled == lock.language_at(27.0) == "fr"
    assert lock.wants_trial(27.0, unclear_s=2.0)  # the way back is open at once
    assert not LanguageLock(LanguageSettings(fixed="en")).wants_trial(12.0, unclear_s=9.0)


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
