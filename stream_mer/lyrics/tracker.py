"""The policy of lyrics recognition: when to decode what, and what becomes of the transcript. Pure.

No thread, no clock, no recogniser. A caller feeds audio, asks whether a decode is due, has it done, and passes the
transcript back::

    tracker.feed(chunk)
    job = tracker.due()          # at most one at a time
    if job is not None:
        tracker.accept(job, recogniser.transcribe(job.samples, language=job.language))
    lines = tracker.take_lines()

Threads that share a tracker hold a lock for each of these calls. ``due`` runs the gate, a network that takes
milliseconds; such callers run it between ``take_due``, which copies the audio, and ``admit``, which takes the answer.
Where a job has to wait for the recogniser, ``renew`` replaces its audio by the newest.

The buffer is longer than the step, so each word is transcribed several times with growing context, and committed when
two passes agree (``lyrics.agreement``). All times are seconds on the sample clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stream_mer.errors import SettingError
from stream_mer.lyrics.agreement import AgreementSettings, LocalAgreement
from stream_mer.lyrics.gate import LevelGate, is_inside
from stream_mer.lyrics.lines import LineBuilder, LineSettings
from stream_mer.lyrics.transcript import (
    EMPTY_TRANSCRIPT,
    FilterSettings,
    Passage,
    Transcript,
    VocalGate,
    filter_transcript,
    is_believable,
)
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricLine, LyricWord, Samples, seconds

_CUT_S = 0.3
"""A word that ends this soon after the start of the buffer is cut: the pass before transcribed it whole."""


class RollingAudio:
    """The newest audio of a stream on the sample clock.

    Snapshots share memory: each is a view of a buffer that is only appended to, and replaced when it is full.

    Args:
        capacity_samples: Largest length; the oldest samples are dropped.
    """

    def __init__(self, *, capacity_samples: int) -> None:
        if capacity_samples < 1:
            raise ValueError(f"capacity must be at least 1 sample, not {capacity_samples}")
        self._capacity = capacity_samples
        self._buffer: Samples = np.empty(2 * capacity_samples, np.float32)
        self._filled = 0
        self.start_sample = 0
        """Index of the oldest sample."""
        self.end_sample = 0
        """Index after the newest sample."""

    @property
    def length_samples(self) -> int:
        return self.end_sample - self.start_sample

    def feed(self, chunk: AudioChunk) -> None:
        """Append a chunk. After a skip of the sample clock, which follows silence, only the new audio is kept."""
        if chunk.start_sample != self.end_sample:
            self.start_sample = self.end_sample = chunk.start_sample
        samples = chunk.samples[-self._capacity :]
        if self._filled + len(samples) > len(self._buffer):
            kept = self.snapshot()
            self._buffer = np.empty_like(self._buffer)
            self._buffer[: len(kept)] = kept
            self._filled = len(kept)
        self._buffer[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)
        self.end_sample = chunk.end_sample
        self.drop_before(self.end_sample - self._capacity)

    def drop_before(self, sample: int) -> None:
        """Drop the audio before ``sample``."""
        self.start_sample = min(max(self.start_sample, sample), self.end_sample)

    def snapshot(self) -> Samples:
        """Return the audio, oldest first, shape ``[length_samples]``, read-only; it stays as it is."""
        samples = self._buffer[self._filled - self.length_samples : self._filled]
        samples.flags.writeable = False
        return samples


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSettings:
    """How the language is detected.

    A *trial* transcribes a passage alone and detects its language, if the pass over the whole buffer gave no confident
    word there. A trial separates lines of several seconds; over more audio than a line, detection names one of the
    languages or neither.

    Attributes:
        fixed: ISO 639-1 code to use throughout; empty detects it.
        sure: Probability from which a pass counts as a vote, 0..1.
        votes: Passes in a row that must name the same language before it is settled.
        recheck_s: A settled language is detected again after this time, during which a song in another language may be
            transcribed wrongly. Costs one more step of the decoder.
        max_failed: Passes in a row without a believable word after which the language is detected anew.
        doubt_s: Vocals at the end of a pass without a confident word for this long get a trial.
        doubt_max_s: Longest audio of a trial; the newest.
        doubt_probability: A word is confident from this probability on, 0..1.
        trial_probability: Mean word probability that a trial needs to change the language, 0..1.
        doubt_every_s: Pause after a trial that did not change the language.
    """

    fixed: str = ""
    sure: float = 0.6
    votes: int = 2
    recheck_s: float = 30.0
    max_failed: int = 5
    doubt_s: float = 2.0
    doubt_max_s: float = 4.0
    doubt_probability: float = 0.4
    trial_probability: float = 0.5
    doubt_every_s: float = 4.5


class LanguageLock:
    """Settles on a language, so that later passes skip the detection and cannot flicker.

    It opens again if the pass of every ``recheck_s`` detects another language with confidence, and after several passes
    in a row without a believable word. A trial replaces the language immediately.
    """

    def __init__(self, settings: LanguageSettings | None = None) -> None:
        self._settings = settings or LanguageSettings()
        self._candidate = ""
        self._votes = 0
        self._settled = ""
        self._failed = 0
        self._checked_s = 0.0
        self._next_trial_s = float("-inf")

    @property
    def settled(self) -> str:
        """The settled language; empty before."""
        return self._settings.fixed or self._settled

    def language_at(self, now_s: float) -> str | None:
        """Return the language for a pass that ends at ``now_s``; None to detect it."""
        if self._settings.fixed:
            return self._settings.fixed
        if not self._settled or now_s - self._checked_s >= self._settings.recheck_s:
            return None
        return self._settled

    def learn(self, now_s: float, *, language: str, probability: float, detected: bool, believable: bool) -> None:
        """Learn from a pass: the language, whether it was detected, and whether any word was believable."""
        if self._settings.fixed:
            return
        self._failed = 0 if believable else self._failed + 1
        if self._settled and self._failed >= self._settings.max_failed:
            self._open()
            return
        if not detected:
            return
        if self._settled:
            self._checked_s = now_s
            if believable and language != self._settled and probability >= self._settings.sure:
                self._open()
            else:
                return
        self._vote(now_s, language=language, counts=believable and probability >= self._settings.sure)

    def wants_trial(self, now_s: float, *, unclear_s: float) -> bool:
        """Return whether a trial is due.

        Args:
            now_s: End of the pass, seconds.
            unclear_s: Vocals at its end without a confident word, seconds.
        """
        if self._settings.fixed or not self._settled:
            return False
        return unclear_s >= self._settings.doubt_s and now_s >= self._next_trial_s

    def learn_trial(self, now_s: float, *, language: str, probability: float, believable: bool) -> bool:
        """Learn from a trial; return whether it changed the language."""
        if believable and language != self._settled and probability >= self._settings.sure:
            self._settled = language
            self._checked_s = now_s
            self._failed = 0
            return True
        self._next_trial_s = now_s + self._settings.doubt_every_s
        return False

    def _vote(self, now_s: float, *, language: str, counts: bool) -> None:
        if not counts:
            return
        self._votes = self._votes + 1 if language == self._candidate else 1
        self._candidate = language
        if self._votes >= self._settings.votes:
            self._settled = language
            self._checked_s = now_s

    def _open(self) -> None:
        self._settled = ""
        self._candidate = ""
        self._votes = 0
        self._failed = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """How the recogniser is used on a stream.

    The defaults measured best within half of real time; for the figures see docs/BENCHMARKS.md.

    Attributes:
        step_s: Audio between two decodes, 0.5..10 s.
        buffer_s: Longest audio of a decode, 5..30 s.
        keep_s: A full buffer is cut at the end of a committed line that leaves at least this much, seconds.
        overdue_s: A word this far behind the end of the audio is committed even if passes disagree, seconds.
        min_decode_s: Shortest audio of a decode, seconds.
        max_retry_s: Longest wait after failures in a row, seconds of audio.
        agreement: How passes are compared.
        filters: Which words are believed.
        lines: How words become lines.
        language: How the language is detected.
    """

    step_s: float = 1.5
    buffer_s: float = 12.0
    keep_s: float = 6.0
    overdue_s: float = 10.0
    min_decode_s: float = 1.0
    max_retry_s: float = 60.0
    agreement: AgreementSettings = field(default_factory=AgreementSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    lines: LineSettings = field(default_factory=LineSettings)
    language: LanguageSettings = field(default_factory=LanguageSettings)

    def __post_init__(self) -> None:
        if not 0.5 <= self.step_s <= 10.0:
            raise SettingError(f"lyric step must be 0.5 to 10 seconds, not {self.step_s:g}")
        if not 5.0 <= self.buffer_s <= 30.0:
            raise SettingError(f"lyric buffer must be 5 to 30 seconds, not {self.buffer_s:g}")
        if not 0 <= self.keep_s < self.buffer_s:
            raise SettingError(f"lyric buffer cannot keep {self.keep_s:g} of {self.buffer_s:g} seconds")
        if self.overdue_s <= self.step_s:
            raise SettingError(f"a word cannot be overdue after {self.overdue_s:g} s with a step of {self.step_s:g} s")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodeJob:
    """Audio that is due, and after ``admit`` the input of a decode.

    Attributes:
        start_sample: Index of the first sample; the transcript's times count from here.
        samples: Shape ``[n]``, read-only.
        trial_from_s: For a trial of the language, start of its passage, stream seconds; the audio is the newest part of
            it. None for a pass over the whole buffer.
        language: ISO 639-1 code; None detects it. Set by ``admit``.
        passages: Where vocals may be, stream seconds. Set by ``admit``.
    """

    start_sample: int
    samples: Samples
    trial_from_s: float | None = None
    language: str | None = None
    passages: tuple[Passage, ...] = ()

    @property
    def end_sample(self) -> int:
        return self.start_sample + len(self.samples)


class LyricTracker:
    """Turns a stream of audio and its transcripts into committed lines. For its use see the module.

    Args:
        settings: How the recogniser is used.
        gate: Finds the passages with vocals.
    """

    def __init__(self, settings: TrackerSettings | None = None, *, gate: VocalGate | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self.gate = gate or LevelGate()
        self._audio = RollingAudio(capacity_samples=round(self._settings.buffer_s * SAMPLE_RATE_HZ))
        self._agreement = LocalAgreement(self._settings.agreement)
        self._builder = LineBuilder(self._settings.lines)
        self._language = LanguageLock(self._settings.language)
        self._changed: list[LyricLine] = []
        self._line_ends_s: list[float] = []
        self._next_due: int | None = None
        self._decoded_sample: int | None = None
        self._waiting: DecodeJob | None = None
        self._trial: DecodeJob | None = None
        self._failures = 0
        self._finished = False

    @property
    def end_sample(self) -> int:
        """Index after the newest sample."""
        return self._audio.end_sample

    @property
    def next_due_sample(self) -> int | None:
        """Index after the sample that makes the next decode due; None before the first audio."""
        return self._next_due

    @property
    def is_due(self) -> bool:
        """Whether there is enough audio for the next decode."""
        return self._next_due is not None and self._audio.end_sample >= self._next_due

    @property
    def lag_s(self) -> float:
        """Audio that no decode covers yet, seconds."""
        if self._decoded_sample is None:
            return 0.0
        return seconds(self._audio.end_sample - self._decoded_sample)

    @property
    def failures(self) -> int:
        """Number of failures in a row."""
        return self._failures

    def feed(self, chunk: AudioChunk) -> None:
        """Take the next audio, of any length."""
        if self._next_due is None:
            self._decoded_sample = chunk.start_sample
            self._next_due = chunk.start_sample + self._step_samples
        self._audio.feed(chunk)

    def due(self) -> DecodeJob | None:
        """Return the decode to do now; None if it is too early or one is running.

        Runs the gate; ``take_due`` and ``admit`` do the same in two halves.
        """
        audio = self.take_due()
        return None if audio is None else self.admit(audio, self.gate.passages(audio.samples))

    def take_due(self) -> DecodeJob | None:
        """Return the audio that is due; None if it is too early, or before ``admit`` or ``reject``.

        A transcript may make a trial due: ask again after ``accept``.
        """
        if self._finished or self._waiting is not None or self._next_due is None:
            return None
        if self._trial is not None:
            return self._begin_trial()
        if not self.is_due:
            return None
        self._pass_due()
        return None if self._is_short() else self._begin_pass()

    def renew(self, job: DecodeJob) -> DecodeJob:
        """Return the newest audio in place of that of a job that had to wait for its decode; ``admit`` it anew.

        A trial that waited until a pass is due gives way to it. Returns the job itself if nothing newer is due.
        """
        if job is not self._waiting or self._next_due is None or self._is_short():
            return job
        newest = self._audio.end_sample
        if newest <= job.end_sample if job.trial_from_s is None else newest < self._next_due:
            return job
        self._pass_due()
        return self._begin_pass()

    def admit(self, audio: DecodeJob, passages: Sequence[Passage]) -> DecodeJob | None:
        """Take the gate's answer; return the decode to do, or None without vocals since the newest one.

        Args:
            audio: The newest return value of ``take_due``; anything else is ignored, as is everything after ``finish``.
            passages: Where vocals may be, seconds from the first of these samples.
        """
        if audio is not self._waiting:
            return None
        offset_s = seconds(audio.start_sample)
        job = replace(
            audio,
            language=None if audio.trial_from_s is not None else self._language.language_at(seconds(audio.end_sample)),
            passages=tuple(Passage(one.t0 + offset_s, one.t1 + offset_s) for one in passages),
        )
        if job.trial_from_s is not None:
            self._waiting = job if passages else None
            return self._waiting
        if not self._is_news(job):
            self._waiting = None
            self._skip(job)
            return None
        self._waiting = job
        return job

    def accept(self, job: DecodeJob, transcript: Transcript) -> None:
        """Take the transcript of the newest job. Ignored after ``finish``."""
        if job is not self._waiting:
            return
        self._waiting = None
        self._failures = 0
        if job.trial_from_s is not None:
            self._accept_trial(job, transcript, began_s=job.trial_from_s)
            return
        self._decoded_sample = job.end_sample
        self._process(job, transcript)

    def reject(self, job: DecodeJob) -> None:
        """Note that gate or recogniser failed; the next try waits longer with every failure in a row."""
        if job is not self._waiting:
            return
        self._waiting = None
        self._failures += 1
        wait_s = min(self._settings.step_s * 2.0**self._failures, self._settings.max_retry_s)
        self._next_due = self._audio.end_sample + round(wait_s * SAMPLE_RATE_HZ)

    def last_job(self) -> DecodeJob | None:
        """Return a last decode of the audio since the newest one, for callers that can wait before ``finish``.

        Its transcript may make a trial due: ask again until there is none.
        """
        if self._finished or self._waiting is not None:
            return None
        audio = self._begin_trial()
        if audio is None and self._decoded_sample not in {None, self._audio.end_sample}:
            audio = self._begin_pass()
        return None if audio is None else self.admit(audio, self.gate.passages(audio.samples))

    def finish(self) -> None:
        """Commit the words of the newest pass, and the open line."""
        if self._finished:
            return
        self._finished = True
        self._waiting = None
        self._add(self._agreement.commit_before(float("inf")))
        self._changed.extend(self._builder.finish())

    def take_lines(self) -> list[LyricLine]:
        """Return new and revised lines since the last call, oldest first."""
        taken, self._changed = self._changed, []
        return taken

    @property
    def _step_samples(self) -> int:
        return round(self._settings.step_s * SAMPLE_RATE_HZ)

    def _is_short(self) -> bool:
        return seconds(self._audio.length_samples) < self._settings.min_decode_s

    def _pass_due(self) -> None:
        """Move on to the next due position. They lie on a fixed grid, which does not depend on when this is called."""
        if self._next_due is not None and self._audio.end_sample >= self._next_due:
            steps = (self._audio.end_sample - self._next_due) // self._step_samples + 1
            self._next_due += steps * self._step_samples

    def _begin_pass(self) -> DecodeJob:
        self._waiting = DecodeJob(start_sample=self._audio.start_sample, samples=self._audio.snapshot())
        return self._waiting

    def _begin_trial(self) -> DecodeJob | None:
        self._waiting, self._trial = self._trial, None
        return self._waiting

    def _schedule_trial(self, job: DecodeJob, transcript: Transcript) -> None:
        """Schedule a trial of the vocals at the end of a pass without a confident word there.

        Repeated words count as confident, though not all of them are committed: a chorus is understood.
        """
        settings, filters = self._settings.language, self._settings.filters
        believed = (word for one in transcript.segments if is_believable(one, filters) for word in one.words)
        sure = [word.t1 for word in believed if word.probability >= settings.doubt_probability]
        start_s, end_s = seconds(job.start_sample), seconds(job.end_sample)
        last_s = max([start_s, self._agreement.committed_until_s, *(start_s + t_s for t_s in sure)])
        unclear = [Passage(max(one.t0, last_s), one.t1) for one in job.passages if one.t1 > last_s]
        if not unclear or not self._language.wants_trial(end_s, unclear_s=sum(one.t1 - one.t0 for one in unclear)):
            return
        newest_s = max(unclear[0].t0, unclear[-1].t1 - settings.doubt_max_s)
        first, last = (round(t_s * SAMPLE_RATE_HZ) for t_s in (newest_s, unclear[-1].t1))
        self._trial = DecodeJob(
            start_sample=first,
            samples=job.samples[first - job.start_sample : last - job.start_sample],
            trial_from_s=unclear[0].t0,
        )

    def _accept_trial(self, job: DecodeJob, transcript: Transcript, *, began_s: float) -> None:
        """Take the transcript of a trial. If it changes the language, the words before the passage are committed.

        Their audio leaves the buffer, because a pass has one language.
        """
        offset_s, end_s = seconds(job.start_sample), seconds(job.end_sample)
        least = max(self._settings.language.trial_probability, self._settings.filters.min_word_probability)
        words = filter_transcript(transcript, replace(self._settings.filters, min_word_probability=least))
        believable = any(is_inside(_in_stream(word, offset_s=offset_s, end_s=end_s), job.passages) for word in words)
        changed = self._language.learn_trial(
            end_s,
            language=transcript.language,
            probability=transcript.language_probability,
            believable=believable,
        )
        if not changed:
            return
        self._add(self._agreement.commit_before(began_s))
        self._changed.extend(self._builder.finish())
        self._audio.drop_before(round(began_s * SAMPLE_RATE_HZ))
        self._process(job, transcript)

    def _is_news(self, job: DecodeJob) -> bool:
        """Return whether there are vocals that the newest decode did not cover whole."""
        context_s = self._settings.agreement.sure_context_s
        covered_s = seconds(self._decoded_sample or 0) - context_s
        return any(one.t1 > covered_s for one in job.passages)

    def _skip(self, job: DecodeJob) -> None:
        """Commit the pending words: without vocals since the newest decode, another one would add nothing."""
        self._decoded_sample = job.end_sample
        self._add(self._agreement.commit_before(float("inf")))
        self._process(job, EMPTY_TRANSCRIPT)

    def _process(self, job: DecodeJob, transcript: Transcript) -> None:
        """Commit words and lines, then drop audio that is settled."""
        offset_s, end_s = seconds(job.start_sample), seconds(job.end_sample)
        words = [
            _in_stream(word, offset_s=offset_s, end_s=end_s)
            for word in filter_transcript(transcript, self._settings.filters)
        ]
        sung = [word for word in words if is_inside(word, job.passages)]
        if transcript is not EMPTY_TRANSCRIPT:
            self._language.learn(
                end_s,
                language=transcript.language,
                probability=transcript.language_probability,
                detected=job.language is None,
                believable=bool(sung),
            )
        refused = not sung and any(segment.words for segment in transcript.segments)
        if not refused:  # a pass without a believable word does not change pending ones
            language = transcript.language
            # After a long interval the audio of pending words may have left the buffer: this pass cannot confirm them.
            self._add(self._agreement.commit_before(offset_s + _CUT_S), language=language)
            self._add(self._agreement.update(sung, audio_until_s=end_s), language=language)
            self._add(self._agreement.commit_before(end_s - self._settings.overdue_s), language=language)
        pending = self._agreement.pending
        # The line stays open for words in the newest step that no pass has transcribed yet.
        quiet_until_s = min([end_s - self._settings.step_s, *(word.t0 for word in pending[:1])])
        self._commit(self._builder.close_by(quiet_until_s))
        self._changed.extend(self._builder.show(pending, language=transcript.language or self._language.settled))
        if job.language is not None and transcript is not EMPTY_TRANSCRIPT:
            self._schedule_trial(job, transcript)
        self._trim()

    def _add(self, words: list[LyricWord], *, language: str = "") -> None:
        self._commit(self._builder.add(words, language=language or self._language.settled))

    def _commit(self, lines: list[LyricLine]) -> None:
        self._line_ends_s = [*self._line_ends_s, *(line.t1 for line in lines)][-32:]
        self._changed.extend(lines)

    def _trim(self) -> None:
        """Cut a full buffer at the end of a committed line, so that no word is split."""
        if seconds(self._audio.length_samples) + self._settings.step_s <= self._settings.buffer_s:
            return
        latest_s = seconds(self._audio.end_sample) - self._settings.keep_s
        ends = [end_s for end_s in self._line_ends_s if end_s <= latest_s]
        if ends:
            self._audio.drop_before(round(max(ends) * SAMPLE_RATE_HZ))


def _in_stream(word: LyricWord, *, offset_s: float, end_s: float) -> LyricWord:
    """Return a word on the stream's clock, ending at ``end_s`` at the latest."""
    t0 = min(word.t0 + offset_s, end_s)
    return replace(word, t0=t0, t1=max(min(word.t1 + offset_s, end_s), t0))
