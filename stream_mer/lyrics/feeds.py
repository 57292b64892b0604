"""The committed lines that the text branch may read (pure)."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from stream_mer.errors import LyricsError, SettingError
from stream_mer.lyrics.text_features import LineReader
from stream_mer.lyrics.tracker import DecodeJob, DueAudio, LyricTracker
from stream_mer.lyrics.transcript import Recogniser, TextEncoder
from stream_mer.types import (
    NO_LYRICS,
    SAMPLE_RATE_HZ,
    AudioChunk,
    EncodedLine,
    LyricLine,
    LyricsHealth,
    LyricState,
    seconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """How much of the words is remembered.

    Attributes:
        max_lines: Lines at most; the oldest go first.
        forget_s: Lines that ended this long ago are forgotten: in a long session the song has changed by then. Within
            this time the text branch itself lets a line count less as it ages.
    """

    max_lines: int = 64
    forget_s: float = 180.0


class LineMemory:
    """The newest committed lines, oldest first."""

    def __init__(self, settings: MemorySettings | None = None) -> None:
        self._settings = settings or MemorySettings()
        self._lines: deque[EncodedLine] = deque(maxlen=self._settings.max_lines)

    def add(self, line: EncodedLine) -> None:
        """Take a line that is newer than those before it."""
        self._lines.append(line)

    def lines(self, now_s: float) -> tuple[EncodedLine, ...]:
        """What is remembered at ``now_s``; a line that goes on then is given as ending then, so no age is negative."""
        recent = (line for line in self._lines if now_s - line.t1 <= self._settings.forget_s)
        return tuple(line if line.t1 <= now_s else replace(line, t1=now_s) for line in recent)


class NoLyrics:
    """A `LyricFeed` for those who want none."""

    def __init__(self) -> None:
        self._state = NO_LYRICS

    def feed(self, chunk: AudioChunk) -> None:
        """Ignore the audio."""

    def finish(self) -> None:
        """Nothing to commit."""

    def state(self) -> LyricState:
        return self._state

    def take_lines(self) -> list[LyricLine]:
        return []

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""


class UnavailableLyrics(NoLyrics):
    """A `LyricFeed` for those who want lyrics and cannot have them: every frame says so.

    Args:
        reason: Why, for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
        self._state = LyricState(health="unavailable", degraded=("lyrics_unavailable",))


_log = logging.getLogger(__name__)

NICER_BY = 5
"""Three of four parts of a core go to a thread of this process that gives no way and wants it as well."""
_NICEST = 19


def give_way() -> None:
    """Rank this thread, and those that it starts from now on, below others; elsewhere than on Linux nothing happens.

    Threads inherit the rank of the one that starts them; so call it before the recogniser, which has some, is loaded.
    """
    if sys.platform != "linux":  # elsewhere niceness is of the process, emotion frames and all
        return
    try:
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _NICEST))
    except OSError as error:
        _log.debug("the recogniser's threads keep their rank: %s", error)


_log = logging.getLogger(__name__)

LOADING, LAGGING, UNAVAILABLE = "lyrics_loading", "lyrics_lagging", "lyrics_unavailable"
"""Codes in `LyricState.degraded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """Limits of a live feed.

    Attributes:
        max_lag_s: Audio that no answer covers yet from which the recogniser counts as lagging: decodes of up to 3 s
            stay below it, though they stretch the steps.
        close_s: How long ``close`` waits for a decode under way, which cannot be interrupted; the thread dies with the
            process after that.
        max_lines: Line revisions kept for ``take_lines``; the oldest go first.
        max_cpu_share: How much of the time a decode may be under way, above 0, at most 1. Of three quarters a decode
            notices nothing that takes less than three quarters of a step.
    """

    max_lag_s: float = 7.0
    close_s: float = 10.0
    max_lines: int = 256
    max_cpu_share: float = 0.75

    def __post_init__(self) -> None:
        if not 0.0 < self.max_cpu_share <= 1.0:
            raise SettingError(
                f"the recogniser's share of the time must be above 0 and at most 1, not {self.max_cpu_share:g}"
            )

    def rest_s(self, decode_s: float) -> float:
        """How long to rest after a decode that took ``decode_s`` seconds."""
        return decode_s * (1.0 / self.max_cpu_share - 1.0)


class LiveLyrics:
    """A `LyricFeed` whose every call returns at once, except ``close``.

    Weights are loaded in the worker, so a stream starts without them. A recogniser that fails is asked again later,
    each time after a longer stretch of audio; one whose weights are missing is not.

    Args:
        recogniser: Turns audio into words.
        encoder: Turns committed lines into vectors.
        tracker: The policy.
        settings: Limits.
        memory: How much is remembered.
        clock: Seconds, for how long decodes take.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        *,
        tracker: LyricTracker | None = None,
        settings: LiveSettings | None = None,
        memory: MemorySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recogniser = recogniser
        self._reader = LineReader(encoder)
        self._tracker = tracker or LyricTracker()
        self._settings = settings or LiveSettings()
        self._memory = LineMemory(memory)
        self._clock = clock
        self._rests_until = float("-inf")
        self._lines: deque[LyricLine] = deque(maxlen=self._settings.max_lines)
        self._to_encode: deque[LyricLine] = deque(maxlen=self._settings.max_lines)
        # Guards all of the above. It is held to copy audio and to note answers: the gate, the recogniser and the
        # encoder compute and load outside of it, in the worker.
        self._changed = threading.Condition()
        self._loading = True
        self._reason = ""
        self._lagged = False
        self._finished = False
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="lyrics", daemon=True)
        self._worker.start()

    @property
    def reason(self) -> str:
        """Why there are no lyrics, for people; empty when all is well."""
        with self._changed:
            return self._reason

    def feed(self, chunk: AudioChunk) -> None:
        with self._changed:
            if self._closed or self._finished:
                return
            self._tracker.feed(chunk)
            self._changed.notify_all()

    def finish(self) -> None:
        """The audio ended: what the newest pass heard is committed now, without another decode."""
        with self._changed:
            self._finished = True
            self._tracker.finish()
            self._collect()
            self._changed.notify_all()

    def state(self) -> LyricState:
        with self._changed:
            lag_s = self._tracker.lag_s
            health, degraded = self._health(lag_s)
            lines = self._memory.lines(seconds(self._tracker.end_sample))
        return LyricState(lines=lines, health=health, degraded=degraded, lag_s=lag_s)

    def take_lines(self) -> list[LyricLine]:
        with self._changed:
            taken = list(self._lines)
            self._lines.clear()
        return taken

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join(self._settings.close_s)

    def _health(self, lag_s: float) -> tuple[LyricsHealth, tuple[str, ...]]:
        if self._reason:
            return "unavailable", (UNAVAILABLE,)
        if self._loading:
            return "lagging", (LOADING,)
        if not self._finished and lag_s > self._settings.max_lag_s:
            return "lagging", (LAGGING,)
        return "ok", ()

    def _work(self) -> None:
        """Body of the worker thread."""
        give_way()
        try:
            self._recogniser.load()
            self._reader.prepare()
        except Exception as error:
            # Whatever it is, it must end in the state that listeners see, not in a dead thread that nobody looks at.
            self._fail(error)
            return
        with self._changed:
            self._loading = False
        while self._round():
            pass

    def _round(self) -> bool:
        """Wait for work and do one piece of it; False when closed."""
        work = self._next_work()
        if work is None:
            return False
        waiting: DueAudio | DecodeJob | None = None if isinstance(work, LyricLine) else work
        try:
            if isinstance(work, LyricLine):
                self._encode(work)
            else:
                job = self._admit(work)
                if job is not None:
                    waiting = job
                    self._decode(job)
        except Exception as error:
            self._fail(error, waiting)
            return not isinstance(error, LyricsError)
        return True

    def _next_work(self) -> LyricLine | DueAudio | None:
        """Wait for a line to encode, or for audio that is due; None when closed."""
        with self._changed:
            while not self._closed:
                if self._to_encode:
                    return self._to_encode.popleft()
                rest_s = self._rests_until - self._clock()
                if rest_s > 0:
                    self._changed.wait(rest_s)
                    continue
                audio = self._tracker.take_due()
                if audio is not None:
                    return audio
                self._changed.wait()
        return None

    def _encode(self, line: LyricLine) -> None:
        encoded = self._reader.read(line)
        with self._changed:
            self._memory.add(encoded)

    def _admit(self, audio: DueAudio) -> DecodeJob | None:
        """Ask the gate. Audio that it holds back needs no recogniser, and may itself commit lines."""
        passages = self._tracker.gate.passages(audio.samples)
        with self._changed:
            job = self._tracker.admit(audio, passages)
            self._collect()
        return job

    def _decode(self, job: DecodeJob) -> None:
        started = self._clock()
        transcript = self._recogniser.transcribe(job.samples, language=job.language)
        ended = self._clock()
        with self._changed:
            self._rests_until = ended + self._settings.rest_s(ended - started)
            lagged = self._tracker.lag_s > self._settings.max_lag_s
            self._tracker.accept(job, transcript)
            self._collect()
            recovered, self._reason = bool(self._reason), ""
            turned = lagged != self._lagged
            self._lagged = lagged
        if recovered:
            _log.info("the recogniser works again")
        if turned:
            _log.warning("lyrics lag behind") if lagged else _log.info("lyrics keep up again")

    def _fail(self, error: Exception, job: DueAudio | DecodeJob | None = None) -> None:
        reason = str(error) or type(error).__name__
        if not isinstance(error, LyricsError):
            reason = f"the recogniser failed: {reason}"
        with self._changed:
            news = not self._reason
            self._reason = reason
            self._loading = False
            if job is not None:
                self._tracker.reject(job)
        if news:
            _log.warning("no lyrics: %s", reason)
            _log.debug("no lyrics", exc_info=error)

    def _collect(self) -> None:
        """Take what the tracker has to tell; the lock is held."""
        for line in self._tracker.take_lines():
            self._lines.append(line)
            if line.committed:
                self._to_encode.append(line)


_log = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Failures in a row after which a recogniser is not asked again: a file cannot wait for it to recover."""


class OfflineLyrics:
    """A `LyricFeed` that decodes inside ``feed``. The result does not depend on how the audio was cut into chunks.

    Args:
        recogniser: Turns audio into words.
        encoder: Turns committed lines into vectors.
        tracker: The policy.
        decode_s: How long after the end of its audio a decode's answer becomes visible, seconds of audio: what a live
            decode would have taken.
        memory: How much is remembered.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        *,
        tracker: LyricTracker | None = None,
        decode_s: float = 1.0,
        memory: MemorySettings | None = None,
    ) -> None:
        self._recogniser = recogniser
        self._reader = LineReader(encoder)
        self._tracker = tracker or LyricTracker()
        self._decode_samples = round(decode_s * SAMPLE_RATE_HZ)
        self._memory = LineMemory(memory)
        self._hidden: deque[tuple[int, LyricLine]] = deque()
        self._visible: list[LyricLine] = []
        self._reason = ""
        self._gave_up = False
        self._finished = False

    @property
    def reason(self) -> str:
        """Why there are no lyrics, for people; empty when all is well."""
        return self._reason

    def feed(self, chunk: AudioChunk) -> None:
        for piece in self._pieces(chunk):
            self._tracker.feed(piece)
            if not self._gave_up:
                while not self._gave_up and (job := self._tracker.due()) is not None:
                    self._decode(job)
                self._hide(self._tracker.take_lines(), until_sample=piece.end_sample + self._decode_samples)
            self._reveal(self._tracker.end_sample)

    def finish(self) -> None:
        """Decode what is left and commit it; all of it is visible now."""
        if self._finished:
            return
        self._finished = True
        while not self._gave_up and (job := self._tracker.last_job()) is not None:
            self._decode(job)
        self._tracker.finish()
        end = self._tracker.end_sample
        self._hide(self._tracker.take_lines(), until_sample=end)
        self._reveal(end + self._decode_samples)

    def state(self) -> LyricState:
        lines = self._memory.lines(seconds(self._tracker.end_sample))
        health: LyricsHealth = "unavailable" if self._reason else "ok"
        return LyricState(
            lines=lines,
            health=health,
            degraded=("lyrics_unavailable",) if self._reason else (),
            lag_s=self._tracker.lag_s,
        )

    def take_lines(self) -> list[LyricLine]:
        taken, self._visible = self._visible, []
        return taken

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""

    def _pieces(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        """Cut a chunk, and the gap before it, wherever a decode falls due."""
        position = chunk.start_sample if self._tracker.next_due_sample is None else self._tracker.end_sample
        yield AudioChunk(start_sample=position, samples=chunk.samples[:0])
        while position < chunk.end_sample:
            next_due = self._tracker.next_due_sample
            end = chunk.end_sample if next_due is None or next_due <= position else min(next_due, chunk.end_sample)
            if position < chunk.start_sample:
                end = min(end, chunk.start_sample)
                samples = np.zeros(end - position, dtype=np.float32)
            else:
                samples = chunk.samples[position - chunk.start_sample : end - chunk.start_sample]
            yield AudioChunk(start_sample=position, samples=samples)
            position = end

    def _decode(self, job: DecodeJob) -> None:
        try:
            transcript = self._recogniser.transcribe(job.samples, language=job.language)
        except LyricsError as error:
            self._tracker.reject(job)
            self._fail(str(error), final=True)
        except Exception as error:
            self._tracker.reject(job)
            _log.debug("recogniser failed", exc_info=True)
            reason = f"the recogniser failed: {str(error) or type(error).__name__}"
            self._fail(reason, final=self._tracker.failures >= MAX_FAILURES)
        else:
            self._tracker.accept(job, transcript)
            self._reason = ""

    def _fail(self, reason: str, *, final: bool) -> None:
        if not self._reason:
            _log.warning("no lyrics: %s", reason)
        self._reason = reason
        self._gave_up = final

    def _hide(self, lines: list[LyricLine], *, until_sample: int) -> None:
        self._hidden.extend((until_sample, line) for line in lines)

    def _reveal(self, now_sample: int) -> None:
        while self._hidden and self._hidden[0][0] <= now_sample:
            _, line = self._hidden.popleft()
            self._visible.append(line)
            if line.committed:
                self._remember(line)

    def _remember(self, line: LyricLine) -> None:
        try:
            self._memory.add(self._reader.read(line))
        except LyricsError as error:
            self._fail(str(error), final=True)
