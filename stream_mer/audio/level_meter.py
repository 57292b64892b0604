"""Levels and onset strength of the input, 50 times a second, for outputs that move with the music.

Onset strength is the spectral flux of the joint model's log-mel spectrogram: the mean growth of a band since the step
before (Dixon 2006, "Onset detection revisited"; Boeck & Widmer 2013 use the same on a logarithmic spectrum). It is
relative to the strongest of the last seconds, so that quiet music moves a light as far as loud music.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.audio.levels import measure_each
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, InputLevels, Samples, seconds

PASSAGE_LENGTH = 320
"""Samples of one measurement: 20 ms."""

MAX_INTERVAL_S = 0.2
"""Audio waits at most this long to be measured."""

FORGET_S = 5.0
"""Time constant with which the strongest onset decays, seconds."""

FAINT_FLUX = 0.1
"""Flux of hiss, in powers of ten: below it even the strongest onset is small."""

USUAL_FLUX = 0.6
"""Typical strongest flux (medians of seven songs: 0.48 to 0.73). A stream starts with it, so that its first sound is
not an onset merely because there is nothing to compare it with."""


class LevelMeter:
    """Measures one stream while the levels are read.

    Args:
        wanted: Returns whether they are; called once a chunk. Else nothing is computed.
        interval_s: Returns how often they are read, seconds: several are measured at a time where that is seldom, which
            is cheaper.
    """

    def __init__(self, *, wanted: Callable[[], bool], interval_s: Callable[[], float] = lambda: 0.0) -> None:
        self._wanted = wanted
        self._interval_s = interval_s
        self._onsets: OnsetStream | None = None
        self._pending: Samples = np.empty(0, np.float32)
        self._start_sample = 0
        self._next_sample = 0

    def feed(self, chunk: AudioChunk) -> list[InputLevels]:
        """Take the next audio; return the levels of every 20 ms that it completes, oldest first.

        Where they are read seldom, none until there are as many as are read together. A chunk that was measured before,
        for a preview, is left out.
        """
        if not self._wanted():
            self._onsets = None
            return []
        if self._onsets is not None and (self._start_sample, self._next_sample) == (
            chunk.start_sample,
            chunk.end_sample,
        ):
            return []
        if self._onsets is None or chunk.start_sample != self._next_sample:
            self._onsets = OnsetStream()
            self._pending = self._pending[:0]
        self._start_sample, self._next_sample = chunk.start_sample, chunk.end_sample
        samples = np.concatenate([self._pending, chunk.samples]) if len(self._pending) else chunk.samples
        n_passages = len(samples) // PASSAGE_LENGTH
        interval = round(min(self._interval_s(), MAX_INTERVAL_S) * SAMPLE_RATE_HZ)
        if n_passages < max(1, interval // PASSAGE_LENGTH):
            self._pending = samples
            return []
        passages, self._pending = samples[: n_passages * PASSAGE_LENGTH], samples[n_passages * PASSAGE_LENGTH :]
        first_end = chunk.end_sample - len(samples) + PASSAGE_LENGTH
        levels = measure_each(passages.reshape(n_passages, PASSAGE_LENGTH))
        onsets = self._onsets.feed(passages, PASSAGE_LENGTH)
        ends = range(first_end, chunk.end_sample + 1, PASSAGE_LENGTH)
        return [
            InputLevels(t=seconds(end), rms_db=level.rms_dbfs, peak_db=level.peak_dbfs, onset=onset)
            for end, level, onset in zip(ends, levels, onsets, strict=True)
        ]


class OnsetStream:
    """Onset strength of a stream."""

    def __init__(self) -> None:
        self._log_mel = LogMelStream()
        self._last: NDArray[np.float32] | None = None  # None until the second step
        self._n_samples = 0
        self._n_steps = 0
        self._strongest = USUAL_FLUX
        self._kept_a_step = math.exp(-STEP_LENGTH / (FORGET_S * SAMPLE_RATE_HZ))

    def feed(self, samples: Samples, length: int) -> list[float]:
        """Take the next passages, ``length`` samples each; return the strongest onset of each, 0..1."""
        begin = self._n_samples
        onsets = [0.0] * (len(samples) // length)
        self._n_samples += len(samples)
        for flux in self._fluxes(self._log_mel.feed(samples)):
            self._strongest = max(flux, self._strongest * self._kept_a_step)
            # A step is ready with the sample at its end, which is in this passage.
            passage = (self._n_steps * STEP_LENGTH - 1 - begin) // length
            onsets[passage] = max(onsets[passage], flux / max(self._strongest, FAINT_FLUX))
        return onsets

    def _fluxes(self, steps: NDArray[np.float32]) -> Iterator[float]:
        """Count the next steps, shape ``[n, 96]``; yield the flux of each but the first one of the stream.

        Half of that is silence, which would make the second one an onset.
        """
        if not self._n_steps and len(steps):
            self._n_steps, steps = 1, steps[1:]
        if not len(steps):
            return
        growth = steps.copy()
        growth[0] -= steps[0] if self._last is None else self._last
        growth[1:] -= steps[:-1]
        self._last = steps[-1]
        for grown in np.maximum(growth, 0, out=growth).sum(axis=1).tolist():
            self._n_steps += 1
            yield grown / MEL_BANDS
