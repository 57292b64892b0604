"""The state of a stream's input: whether it delivers, how loud it is, what was lost; on the sample clock."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from stream_mer.audio.audio_state import SILENCE_DBFS
from stream_mer.ports import EventSink
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricState, SourceState, Spread, StreamStatus, seconds

SILENT_AFTER_S = 3.0
RECENT_S = 3.0
"""Level and clipping in a status cover this much audio before it."""

LAG_STEP_S = 1.0
"""Smaller changes of the lag are not reported: it varies with every decode of the recogniser."""

FLOOR_DB = -120.0
"""Level of digital silence, and the lowest level reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passage:
    """Sums over one chunk of audio."""

    end_sample: int
    length: int
    energy: float
    peak: float
    clipped: bool


class StatusReporter:
    """Publishes a ``StreamStatus`` whenever it differs from the last one in more than levels and a little lag.

    Args:
        device: Name of the source.
        sink: Where it goes.
        spread: Maps of the model, which each status holds.
    """

    def __init__(self, device: str, sink: EventSink, spread: Spread | None = None) -> None:
        self._device = device
        self._sink = sink
        self._spread = spread
        self._last: StreamStatus | None = None
        self._next_sample: int | None = None
        self._lost_samples = 0
        self._silent_samples = 0
        self._source: SourceState = "live"
        self._recent: deque[_Passage] = deque()
        self._lock = threading.Lock()

    @property
    def source_state(self) -> SourceState:
        """State by the newest chunk; ``silent`` where the source delivers only silence."""
        if self._source == "live" and seconds(self._silent_samples) >= SILENT_AFTER_S:
            return "silent"
        return self._source

    def measure(self, chunk: AudioChunk) -> bool:
        """Measure a chunk: lost samples, silence, level and clipping.

        Returns:
            True if the state of the source changed, which is to be reported at once.
        """
        with self._lock:
            if self._next_sample is not None:
                self._lost_samples += max(0, chunk.start_sample - self._next_sample)
            self._next_sample = chunk.end_sample
            changed, self._source = chunk.source != self._source, chunk.source
            if chunk.lost:
                self._lost_samples += len(chunk.samples)
                self._silent_samples = 0
            elif len(chunk.samples):
                self._add(chunk)
        return changed

    def report(self, lyrics: LyricState, state: SourceState | None = None) -> None:
        """Publish the status if it changed; from any thread.

        Args:
            lyrics: State of the recogniser.
            state: State of the source; None for that of the newest chunk.
        """
        with self._lock:
            status = StreamStatus(
                source=state or self.source_state,
                device=self._device,
                lyrics=lyrics.health,
                lag_s=round(lyrics.lag_s, 1),
                lost_samples=self._lost_samples,
                clipping=any(passage.clipped for passage in self._recent),
                spread=self._spread,
            )
            if self._differs(status):
                self._last = status
                peak_db, rms_db = self._levels()
                self._sink.publish(replace(status, peak_db=peak_db, rms_db=rms_db))

    def _differs(self, status: StreamStatus) -> bool:
        last = self._last
        if last is None or replace(status, lag_s=last.lag_s) != last:
            return True
        return abs(status.lag_s - last.lag_s) >= LAG_STEP_S

    def _add(self, chunk: AudioChunk) -> None:
        energy, peak = float(np.square(chunk.samples).sum()), float(np.abs(chunk.samples).max())
        silent = _decibels(np.sqrt(energy / len(chunk.samples))) < SILENCE_DBFS
        self._silent_samples = self._silent_samples + len(chunk.samples) if silent else 0
        self._recent.append(
            _Passage(
                end_sample=chunk.end_sample,
                length=len(chunk.samples),
                energy=energy,
                peak=peak,
                clipped=chunk.clipped_samples > 0,
            )
        )
        while self._recent[0].end_sample < chunk.end_sample - RECENT_S * SAMPLE_RATE_HZ:
            self._recent.popleft()

    def _levels(self) -> tuple[float | None, float | None]:
        """Peak and root mean square of the recent audio, decibels relative to full scale."""
        if not self._recent:
            return None, None
        length = sum(passage.length for passage in self._recent)
        peak = max(passage.peak for passage in self._recent)
        rms = float(np.sqrt(sum(passage.energy for passage in self._recent) / length))
        return round(_decibels(peak), 1), round(_decibels(rms), 1)


def _decibels(amplitude: float) -> float:
    return max(FLOOR_DB, 20 * float(np.log10(max(float(amplitude), 1e-12))))
