"""Places captured audio on one sample clock that follows real time. Pure: no I/O and no clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_mer.audio.levels import OverloadCounter
from stream_mer.sources.resampling import MonoResampler, Polarity
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, SourceState

FILL_AFTER_S = 0.6
"""Audio this late counts as lost, and silence replaces it. Sound servers can be 0.2 s late without losing anything.
Frames of an outage come this much later than others."""

_LONGEST_FILL_S = 10.0
"""Of a longer outage at once (the process itself was suspended) only the last second is filled; the rest is a gap."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedBlock:
    """A run of audio from a device.

    Attributes:
        start: Index of the first sample at the device's rate, from 0 where the device was opened. Known losses count.
        samples: Shape ``[n, channels]``.
        captured_at: Monotonic clock, seconds, when the last sample left the device.
    """

    start: int
    samples: NDArray[np.float32]
    captured_at: float


class Timeline:
    """Converts the blocks of any number of runs of a device to chunks on one sample clock.

    The *lag* of a block is its arrival time less the position of its end. Scheduling increases the lag now and then,
    lost audio increases it for good, and nothing decreases it below its true value, because audio does not arrive
    before it was played. So the smallest known lag is the time of sample 0, the *epoch*:

    * If the smallest lag of a ``PERIOD_S`` is ``TOLERANCE_S`` above the epoch, that much audio was lost silently (by a
      sound server; PortAudio's overflow flags do not show it): a gap.
    * A lag below the epoch means that audio was placed too late, such as what a server delivers at once after a stall.
      It is moved to its true position, and what overlaps with earlier output is dropped.
    * The epoch follows the device's own clock, which may differ by ``DRIFT``.
    * After a restart of the device, and after filled silence, the next block is placed by the clock, and after one
      period, when the smallest lag is known, corrected to the sample.

    A gap shows in ``start_sample``. Silence in place of missing audio is a chunk whose ``source`` is not ``live``.

    Args:
        gain: Factor on every sample.
    """

    PERIOD_S = 2.0
    TOLERANCE_S = 0.1
    FRESH_TOLERANCE_S = 0.005
    """In the first period after a restart, where a late first block has put everything too late."""
    SETTLE_S = 10.0
    """Within this time of the first block a smaller lag corrects the epoch and costs no audio."""
    DRIFT = 5e-4

    def __init__(self, *, gain: float = 1.0) -> None:
        self._gain = np.float32(gain)
        self._rate_hz = SAMPLE_RATE_HZ
        self._segment = _Segment(SAMPLE_RATE_HZ, Polarity(), at=0)
        self._overloads = OverloadCounter()
        self._epoch_s: float | None = None
        self._first_at = 0.0
        self._end_s = 0.0  # of the placed audio, on the sample clock
        self._next_start: int | None = None  # of a block without a gap before it; None: place it by the clock
        self._settling = True
        self._fresh = True
        self._period_at = 0.0
        self._period_lag_s = float("inf")

    @property
    def end_sample(self) -> int:
        """Earliest start of the next chunk."""
        return self._segment.end_sample

    def begin(self, rate_hz: int) -> None:
        """Start a new run: the device was opened (again), at this sample rate."""
        self._rate_hz = rate_hz
        self._next_start = None

    def feed(self, block: CapturedBlock) -> list[AudioChunk]:
        """Take a block; return the chunks that are ready, none of them empty."""
        clipped = self._overloads.feed(block.samples)
        length_s = len(block.samples) / self._rate_hz
        start_s = self._place(block, length_s)
        start_s += self._correction(block.captured_at - (start_s + length_s), block.captured_at)
        self._next_start = block.start + len(block.samples)
        ready: list[tuple[int, Samples]] = []
        samples = block.samples
        late = round((self._end_s - start_s) * self._rate_hz)  # samples that overlap with earlier output
        if late > 0:
            samples = samples[late:]
            start_s = self._end_s
        if late != 0 or self._segment.rate_hz != self._rate_hz:
            ready.append(self._segment.finish())
            self._segment = _Segment(
                self._rate_hz, self._segment.polarity, at=max(self._segment.end_sample, round(start_s * SAMPLE_RATE_HZ))
            )
        self._end_s = start_s + len(samples) / self._rate_hz
        ready.append(self._segment.feed(samples * self._gain))
        ready = [(start, run) for start, run in ready if len(run)]
        return [
            AudioChunk(
                start_sample=start,
                samples=run,
                captured_at=block.captured_at,
                clipped_samples=clipped if run is ready[-1][1] else 0,
            )
            for start, run in ready
        ]

    def flush(self, now: float) -> list[AudioChunk]:
        """Return what the resampler holds back, because no more audio is at hand."""
        start, held_back = self._segment.finish()
        self._segment = _Segment(self._rate_hz, self._segment.polarity, at=self._segment.end_sample)
        if not len(held_back):
            return []
        return [AudioChunk(start_sample=start, samples=held_back, captured_at=now)]

    def fill(self, now: float, state: SourceState) -> list[AudioChunk]:
        """Return silence for audio that should have arrived by now.

        Args:
            now: Monotonic clock, seconds.
            state: Why nothing arrives: ``source`` of the chunk.
        """
        if self._epoch_s is None:
            return []
        due_s = now - self._epoch_s - FILL_AFTER_S
        if due_s <= self._end_s:
            return []
        rest = self.flush(now)
        due = round(due_s * SAMPLE_RATE_HZ)
        begin = self._segment.end_sample
        if due - begin > _LONGEST_FILL_S * SAMPLE_RATE_HZ:
            begin = due - SAMPLE_RATE_HZ
        self._end_s = due_s
        self._next_start = None
        self._segment = _Segment(self._rate_hz, self._segment.polarity, at=max(begin, due))
        silence = np.zeros(max(0, due - begin), np.float32)
        return [*rest, AudioChunk(start_sample=begin, samples=silence, captured_at=now, source=state)]

    def _place(self, block: CapturedBlock, length_s: float) -> float:
        """Return the position of the block before any correction, seconds on the sample clock."""
        at = block.captured_at
        if self._epoch_s is None:
            self._epoch_s, self._first_at = at - length_s, at
        elif self._next_start is None:
            self._settling = False
        if self._next_start is not None:
            return self._end_s + (block.start - self._next_start) / self._rate_hz
        self._fresh = True
        self._period_at, self._period_lag_s = at, float("inf")
        return at - self._epoch_s - length_s

    def _correction(self, lag_s: float, at: float) -> float:
        """Return by how much to move a block of this lag, seconds; update the epoch."""
        assert self._epoch_s is not None  # noqa: S101 - set by _place; for the type checker
        ahead_s = self._epoch_s - lag_s
        if ahead_s > 0 and self._settling and at - self._first_at < self.SETTLE_S:
            self._epoch_s, ahead_s = lag_s, 0.0
        moved_s = 0.0
        if ahead_s > (self.FRESH_TOLERANCE_S if self._fresh else self.TOLERANCE_S):
            moved_s = -ahead_s
        self._period_lag_s = min(self._period_lag_s, lag_s - moved_s)
        length_s = at - self._period_at
        if length_s < self.PERIOD_S:
            return moved_s
        excess_s = self._period_lag_s - self._epoch_s
        self._period_at, self._period_lag_s = at, float("inf")
        fresh, self._fresh = self._fresh, False
        if excess_s > self.TOLERANCE_S or (fresh and not self._settling):
            return moved_s + excess_s
        allowed_s = self.DRIFT * length_s
        self._epoch_s += min(max(excess_s, -allowed_s), allowed_s)
        return moved_s


class _Segment:
    """A run of gapless audio, resampled to 16 kHz."""

    def __init__(self, rate_hz: int, polarity: Polarity, *, at: int) -> None:
        self.rate_hz = rate_hz
        self.polarity = polarity
        self.end_sample = at
        self._resampler: MonoResampler | None = None

    def feed(self, samples: NDArray[np.float32]) -> tuple[int, Samples]:
        """Return what is ready: (first sample, samples)."""
        if self._resampler is None:
            self._resampler = MonoResampler(self.rate_hz, self.polarity)
        return self._placed(self._resampler.feed(samples))

    def finish(self) -> tuple[int, Samples]:
        """Return the rest: (first sample, samples)."""
        return self._placed(np.empty(0, np.float32) if self._resampler is None else self._resampler.finish())

    def _placed(self, samples: Samples) -> tuple[int, Samples]:
        start = self.end_sample
        self.end_sample += len(samples)
        return start, samples
