"""Lyrics of a file: decoded in place on the sample clock, so that a file gives the same result at any speed.

A live listener waits for the recogniser. Here its answer is there at once, but stays hidden until the audio has moved
on by a fixed allowance: after audio up to T was fed, nothing shows that a live listener could not have had at T.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator

import numpy as np

from stream_mer.errors import LyricsError
from stream_mer.lyrics.memory import LineMemory, MemorySettings
from stream_mer.lyrics.reader import LineReader
from stream_mer.lyrics.tracker import DecodeJob, LyricTracker
from stream_mer.lyrics.transcript import Recogniser, TextEncoder
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricLine, LyricsHealth, LyricState, seconds

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
