"""Deliver stored audio at the pace of real time, in chunks no shorter than anybody needs. Knows no framework.

Every chunk wakes a thread, and a hundred streams that wake fifty times a second spend more on that than on the model.
So chunks are short only while somebody watches the levels. They never cross the end of a hop, where a window waits for
its last sample.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from stream_mer.ports import AudioSource, ChunkableSource, Chunker
from stream_mer.types import SAMPLE_RATE_HZ, seconds

FINE_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 50
"""20 ms, as a sound card delivers: for a smooth level meter."""

LYRICS_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 10
"""With lyrics recognition: 0.1 s is little beside the 1.5 s between two decodes."""

COARSE_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 4
"""With windows alone: a new reader of levels waits this long for the first ones."""


class HopChunker:
    """A ``ports.Chunker`` whose chunks never cross the end of a hop.

    Args:
        hop_samples: Length of a hop, samples.
        longest_samples: Length of a chunk while nobody reads the levels, samples.
        fine: Returns whether anybody reads the levels; called once a chunk.
    """

    def __init__(self, *, hop_samples: int, longest_samples: int, fine: Callable[[], bool]) -> None:
        self._hop = hop_samples
        self._longest = longest_samples
        self._fine = fine

    def __call__(self, start_sample: int) -> int:
        """Return the end of the chunk that starts at ``start_sample``."""
        length = FINE_CHUNK_SAMPLES if self._fine() else self._longest
        return min(start_sample + length, (start_sample // self._hop + 1) * self._hop)


def set_chunker(source: AudioSource, chunker: Chunker) -> None:
    """Set the chunker of a source that accepts one; others keep their chunks."""
    if isinstance(source, ChunkableSource):
        source.set_chunker(chunker)


class Pacer:
    """Delays audio until it would have been captured.

    A reader that falls behind catches up as fast as it can, and never gets ahead of the clock.

    Args:
        stop: Ends any wait.
        clock: Monotonic clock, seconds.
        wait: Waits at most the given time in seconds; returns True if it was interrupted. Default: ``stop.wait``.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._clock = clock
        self._wait = stop.wait if wait is None else wait
        self._started_at: float | None = None

    def hold(self, end_sample: int) -> bool:
        """Wait until the time of ``end_sample`` has come; the first call starts the clock at sample 0.

        Returns:
            False if the wait was interrupted.
        """
        if self._started_at is None:
            self._started_at = self._clock()
        # A wait may end early by the resolution of the system's timer.
        while (ahead_s := self._started_at + seconds(end_sample) - self._clock()) > 0:
            if self._wait(ahead_s):
                return False
        return True
