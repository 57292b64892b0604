"""The continuous audio that the recogniser hears again and again (pure): bounded, gaps filled with silence."""

from __future__ import annotations

import numpy as np

from stream_mer.types import AudioChunk, Samples


class RollingAudio:
    """The newest audio of a stream on the sample clock.

    Args:
        capacity_samples: How much is kept at most; the oldest goes first.
    """

    def __init__(self, *, capacity_samples: int) -> None:
        if capacity_samples < 1:
            raise ValueError(f"capacity must be at least 1 sample, not {capacity_samples}")
        self._ring = np.zeros(capacity_samples, dtype=np.float32)
        self._start: int | None = None
        self._end = 0

    @property
    def start_sample(self) -> int:
        """Index of the oldest sample kept."""
        return self._end if self._start is None else self._start

    @property
    def end_sample(self) -> int:
        """Index after the newest sample."""
        return self._end

    @property
    def length_samples(self) -> int:
        return self._end - self.start_sample

    def feed(self, chunk: AudioChunk) -> None:
        """Append a chunk. What lies before the end of the audio is skipped; a gap before the chunk becomes silence."""
        if self._start is None:
            self._start = self._end = chunk.start_sample
        gap = chunk.start_sample - self._end
        if gap > 0:
            self._append(np.zeros(min(gap, len(self._ring)), dtype=np.float32), end_sample=chunk.start_sample)
        fresh = chunk.samples[max(-gap, 0) :]
        if len(fresh):
            self._append(fresh, end_sample=self._end + len(fresh))

    def drop_before(self, sample: int) -> None:
        """Forget what lies before ``sample``."""
        if self._start is not None:
            self._start = min(max(self._start, sample), self._end)

    def snapshot(self) -> Samples:
        """Copy all of the audio, oldest first, shape ``[length_samples]``, read-only."""
        capacity, length = len(self._ring), self.length_samples
        first = self.start_sample % capacity
        split = min(capacity - first, length)
        samples = np.concatenate([self._ring[first : first + split], self._ring[: length - split]])
        samples.flags.writeable = False
        return samples

    def _append(self, samples: Samples, *, end_sample: int) -> None:
        """Write ``samples`` so that they end at ``end_sample``."""
        capacity = len(self._ring)
        kept = samples[-capacity:]
        first = (end_sample - len(kept)) % capacity
        split = min(capacity - first, len(kept))
        self._ring[first : first + split] = kept[:split]
        self._ring[: len(kept) - split] = kept[split:]
        self._end = end_sample
        self._start = max(self.start_sample if self._start is None else self._start, end_sample - capacity)
