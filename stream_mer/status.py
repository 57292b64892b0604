"""What to say of a stream's input: whether it lives, how loud it is, what was lost. Its only clock is the samples'."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from stream_mer.audio.audio_state import SILENCE_DBFS
from stream_mer.ports import EventSink
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, LyricState, SourceState, StreamStatus, seconds

SILENT_AFTER_S = 3.0
LATELY_S = 3.0
"""What a status says of level and clipping is about so much audio before it."""

LAG_STEP_S = 1.0
"""A lag that moved by less is no news: it breathes with every decode of the recogniser."""

FLOOR_DB = -120.0
"""What digital silence is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passage:
    """Sums over one chunk of audio."""

    end_sample: int
    length: int
    energy: float
    peak: float
    clipped: bool


class StatusTeller:
    """Publishes a ``StreamStatus`` whenever it differs from the last one; a new level or a little lag is no difference.

    Args:
        device: What the source is called.
        sink: Where it goes.
    """

    def __init__(self, device: str, sink: EventSink) -> None:
        self._device = device
        self._sink = sink
        self._last: StreamStatus | None = None
        self._next_sample: int | None = None
        self._lost_samples = 0
        self._silent_samples = 0
        self._source: SourceState = "live"
        self._lately: deque[_Passage] = deque()
        self._lock = threading.Lock()

    @property
    def heard_state(self) -> SourceState:
        """What the newest chunk says of the source; ``silent`` where it lives but nothing is to be heard."""
        if self._source == "live" and seconds(self._silent_samples) >= SILENT_AFTER_S:
            return "silent"
        return self._source

    def hear(self, chunk: AudioChunk) -> bool:
        """Take note of a chunk: of lost samples, silence, level and clipping.

        Returns:
            True if the source is no longer in the state it was in, which is worth telling at once.
        """
        with self._lock:
            if self._next_sample is not None:
                self._lost_samples += max(0, chunk.start_sample - self._next_sample)
            self._next_sample = chunk.end_sample
            turned, self._source = chunk.source != self._source, chunk.source
            if chunk.lost:
                self._lost_samples += len(chunk.samples)
                self._silent_samples = 0
            elif len(chunk.samples):
                self._measure(chunk)
        return turned

    def tell(self, lyrics: LyricState, state: SourceState | None = None) -> None:
        """Publish the status if it changed; from any thread.

        Args:
            lyrics: What is known of the recogniser.
            state: What to say of the source; None for what was heard of it last.
        """
        with self._lock:
            status = StreamStatus(
                source=state or self.heard_state,
                device=self._device,
                lyrics=lyrics.health,
                lag_s=round(lyrics.lag_s, 1),
                lost_samples=self._lost_samples,
                clipping=any(passage.clipped for passage in self._lately),
            )
            if self._is_news(status):
                self._last = status
                peak_db, rms_db = self._levels()
                self._sink.publish(replace(status, peak_db=peak_db, rms_db=rms_db))

    def _is_news(self, status: StreamStatus) -> bool:
        last = self._last
        if last is None or replace(status, lag_s=last.lag_s) != last:
            return True
        return abs(status.lag_s - last.lag_s) >= LAG_STEP_S

    def _measure(self, chunk: AudioChunk) -> None:
        energy, peak = float(np.square(chunk.samples).sum()), float(np.abs(chunk.samples).max())
        silent = _decibels(np.sqrt(energy / len(chunk.samples))) < SILENCE_DBFS
        self._silent_samples = self._silent_samples + len(chunk.samples) if silent else 0
        self._lately.append(
            _Passage(
                end_sample=chunk.end_sample,
                length=len(chunk.samples),
                energy=energy,
                peak=peak,
                clipped=chunk.clipped_samples > 0,
            )
        )
        while self._lately[0].end_sample < chunk.end_sample - LATELY_S * SAMPLE_RATE_HZ:
            self._lately.popleft()

    def _levels(self) -> tuple[float | None, float | None]:
        """Peak and root mean square of late, decibels relative to full scale."""
        if not self._lately:
            return None, None
        length = sum(passage.length for passage in self._lately)
        peak = max(passage.peak for passage in self._lately)
        rms = float(np.sqrt(sum(passage.energy for passage in self._lately) / length))
        return round(_decibels(peak), 1), round(_decibels(rms), 1)


def _decibels(amplitude: float) -> float:
    return max(FLOOR_DB, 20 * float(np.log10(max(float(amplitude), 1e-12))))
