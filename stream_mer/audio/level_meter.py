"""Levels and onset strength of the input, 50 times a second, for outputs that move with the music.

Onset strength is the spectral flux of the joint model's log-mel spectrogram: the mean growth of a band since the step
before (Dixon 2006, "Onset detection revisited"; Boeck & Widmer 2013 use the same on a logarithmic spectrum). It is
relative to the strongest of the last seconds, so that quiet music moves a light as far as loud music.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream_mer.audio.features import MEL_BANDS, STEP_LENGTH, LogMelStream
from stream_mer.audio.levels import measure
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, InputLevels, Samples, seconds

PASSAGE_LENGTH = 320
"""Samples of one measurement: 20 ms."""

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
    """

    def __init__(self, *, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._onsets: OnsetStream | None = None
        self._pending: Samples = np.empty(0, np.float32)
        self._next_sample = 0

    def feed(self, chunk: AudioChunk) -> list[InputLevels]:
        """Take the next audio; return the levels of every 20 ms that it completes, oldest first."""
        if not self._wanted():
            self._onsets = None
            return []
        if self._onsets is None or chunk.start_sample != self._next_sample:
            self._onsets = OnsetStream()
            self._pending = self._pending[:0]
        self._next_sample = chunk.end_sample
        samples = np.concatenate([self._pending, chunk.samples])
        levels = []
        for start in range(0, len(samples) - PASSAGE_LENGTH + 1, PASSAGE_LENGTH):
            passage = samples[start : start + PASSAGE_LENGTH]
            level = measure(passage)
            levels.append(
                InputLevels(
                    t=seconds(chunk.end_sample - len(samples) + start + PASSAGE_LENGTH),
                    rms_db=level.rms_dbfs,
                    peak_db=level.peak_dbfs,
                    onset=self._onsets.feed(passage),
                )
            )
        self._pending = samples[len(samples) - len(samples) % PASSAGE_LENGTH :]
        return levels


class OnsetStream:
    """Onset strength of a stream."""

    def __init__(self) -> None:
        self._log_mel = LogMelStream()
        self._last: NDArray[np.float32] | None = None
        self._begun = False
        self._strongest = USUAL_FLUX
        self._kept_a_step = math.exp(-STEP_LENGTH / (FORGET_S * SAMPLE_RATE_HZ))

    def feed(self, samples: Samples) -> float:
        """Return the strongest onset in these samples, 0..1."""
        onset = 0.0
        for step in self._log_mel.feed_few(samples):
            if not self._begun:  # half of the first step is silence, which makes the next one an onset
                self._begun = True
                continue
            before = step if self._last is None else self._last
            flux = float(np.maximum(step - before, 0).sum()) / MEL_BANDS
            self._last = step
            self._strongest = max(flux, self._strongest * self._kept_a_step)
            onset = max(onset, flux / max(self._strongest, FAINT_FLUX))
        return onset
