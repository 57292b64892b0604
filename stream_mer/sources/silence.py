"""Silence as a source: for words alone, which need a clock but no sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk

_CHUNK_SAMPLES = SAMPLE_RATE_HZ  # 1 s: nothing waits for it


class SilenceSource:
    """Digital silence of a given length, as fast as the reader takes it.

    Args:
        name: What a person would call it.
        duration_s: Its length, seconds.
    """

    live = False

    def __init__(self, name: str, duration_s: float) -> None:
        self.name = name
        self._samples = round(duration_s * SAMPLE_RATE_HZ)
        self._closed = threading.Event()

    def duration_s(self) -> float:
        """Its length, seconds."""
        return self._samples / SAMPLE_RATE_HZ

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield chunks of zeros until the length is reached or ``close`` is called."""
        for start in range(0, self._samples, _CHUNK_SAMPLES):
            if self._closed.is_set():
                return
            length = min(_CHUNK_SAMPLES, self._samples - start)
            yield AudioChunk(start_sample=start, samples=np.zeros(length, np.float32))

    def close(self) -> None:
        """End the iteration; idempotent."""
        self._closed.set()
