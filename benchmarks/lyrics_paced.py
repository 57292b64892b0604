"""Live lyrics on the sample clock: what the worker thread of a live stream would do, at whatever speed the audio comes.

Each decode is done at once and timed, and its answer held back until as much audio has passed as it took. So an answer
that takes longer than a step delays the next decode, as on stage, and the lags are those of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.word_scoring import PublishedLine
from stream_mer.lyrics.feeds import LineMemory, LiveSettings
from stream_mer.lyrics.text_features import LineReader
from stream_mer.lyrics.tracker import DecodeJob, LyricTracker
from stream_mer.lyrics.transcript import Recogniser, TextEncoder, Transcript
from stream_mer.types import AudioChunk, LyricLine, LyricState, seconds

POLL_SAMPLES = 800
"""How finely it looks whether an answer is there: 50 ms, about what a sound card delivers at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """One decode: where its audio ended, and how long it took, seconds."""

    heard_until_s: float
    took_s: float

    @property
    def ready_s(self) -> float:
        """When its answer was there, on the sample clock."""
        return self.heard_until_s + self.took_s


class PacedLyrics:
    """A `LyricFeed` that simulates `LiveLyrics` on the sample clock.

    Args:
        recogniser: Turns audio into words.
        encoder: Turns committed lines into vectors.
        tracker: The policy.
        settings: Limits of a live feed.
        clock: Seconds, for how long decodes take.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        *,
        tracker: LyricTracker,
        settings: LiveSettings,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._recogniser = recogniser
        self._reader = LineReader(encoder)
        self._tracker = tracker
        self._settings = settings
        self._clock = clock
        self._memory = LineMemory()
        self._running: tuple[Decode, DecodeJob, Transcript] | None = None
        self._rests_until_s = float("-inf")
        self._lines: list[LyricLine] = []
        self.decodes: list[Decode] = []
        self.heard: list[PublishedLine] = []
        """Every line revision, with the end of the audio of the pass that gave it: when it would be there if decodes
        took no time. None for what only the song's end settled."""

    def feed(self, chunk: AudioChunk) -> None:
        for start in range(0, len(chunk.samples), POLL_SAMPLES):
            samples = chunk.samples[start : start + POLL_SAMPLES]
            self._tracker.feed(AudioChunk(start_sample=chunk.start_sample + start, samples=samples))
            self._turn(seconds(self._tracker.end_sample))

    def finish(self) -> None:
        """The audio ended: what the newest answer heard is committed, without another decode, as on a live stream."""
        self._running = None
        self._tracker.finish()
        self._collect(None)

    def state(self) -> LyricState:
        lag_s = self._tracker.lag_s
        return LyricState(
            lines=self._memory.lines(seconds(self._tracker.end_sample)),
            health="lagging" if lag_s > self._settings.max_lag_s else "ok",
            lag_s=lag_s,
        )

    def take_lines(self) -> list[LyricLine]:
        taken, self._lines = self._lines, []
        return taken

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""

    def _turn(self, now_s: float) -> None:
        if self._running is not None and self._running[0].ready_s <= now_s:
            decode, job, transcript = self._running
            self._running = None
            self._rests_until_s = decode.ready_s + self._settings.rest_s(decode.took_s)
            self._tracker.accept(job, transcript)
            self._collect(decode.heard_until_s)
        if self._running is None and now_s >= self._rests_until_s:
            due = self._tracker.due()
            self._collect(now_s)  # audio that the gate holds back settles words without a decode
            if due is not None:
                self._running = self._decode(due)

    def _decode(self, job: DecodeJob) -> tuple[Decode, DecodeJob, Transcript]:
        started = self._clock()
        transcript = self._recogniser.transcribe(job.samples, language=job.language)
        decode = Decode(heard_until_s=seconds(self._tracker.end_sample), took_s=self._clock() - started)
        self.decodes.append(decode)
        return decode, job, transcript

    def _collect(self, heard_until_s: float | None) -> None:
        for line in self._tracker.take_lines():
            self.heard.append(PublishedLine(line=line, at_s=heard_until_s))
            self._lines.append(line)
            if line.committed:
                self._memory.add(self._reader.read(line))
