"""Lyrics of a live stream: a worker thread around the tracker, which the caller never waits for.

The thread takes the newest audio whenever it is free, so audio never queues up behind a slow recogniser: decodes that
fell due meanwhile are skipped. The tracker keeps the continuous audio itself. After each decode the thread rests in
proportion, so that a recogniser slower than real time leaves the processor to the emotion frames now and then. Whether
the recogniser keeps up is measured in audio: how much of it no answer covers yet.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream_mer.errors import LyricsError, SettingError
from stream_mer.lyrics.memory import LineMemory, MemorySettings
from stream_mer.lyrics.priority import give_way
from stream_mer.lyrics.reader import LineReader
from stream_mer.lyrics.tracker import DecodeJob, DueAudio, LyricTracker
from stream_mer.lyrics.transcript import Recogniser, TextEncoder
from stream_mer.types import AudioChunk, LyricLine, LyricsHealth, LyricState, seconds

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
