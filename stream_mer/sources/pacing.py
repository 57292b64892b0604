"""How long the pieces are in which audio that lies ready is handed over. Pure.

Every piece wakes a thread, and a hundred streams that wake fifty times a second spend more on that than on the model.
So pieces are as long as nobody can tell: short while somebody watches the levels, and never across the end of a hop,
where a window waits for its last sample.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from stream_mer.ports import AudioSource, DivisibleSource, PieceEnd
from stream_mer.types import SAMPLE_RATE_HZ, seconds

FINE_SAMPLES = SAMPLE_RATE_HZ // 50
"""20 ms, as a sound card delivers, so that levels flow as smoothly."""

WORD_SAMPLES = SAMPLE_RATE_HZ // 10
"""Where words are recognised: a tenth of a second is no matter beside the second and a half between two decodes."""

COARSE_SAMPLES = SAMPLE_RATE_HZ // 4
"""Where only windows are cut: so soon it shows that somebody wants levels now."""


class Pieces:
    """Where the pieces of one stream end.

    Args:
        hop_samples: No piece reaches across a multiple of this: the audio of a window is handed over when its last
            sample is due.
        longest_samples: Of a piece, while nobody wants to know how loud it is.
        finely: Tells whether anybody does; asked once a piece.
    """

    def __init__(self, *, hop_samples: int, longest_samples: int, finely: Callable[[], bool]) -> None:
        self._hop = hop_samples
        self._longest = longest_samples
        self._finely = finely

    def end(self, start_sample: int) -> int:
        """Return where a piece is to end that starts here; implements ``ports.PieceEnd``."""
        length = FINE_SAMPLES if self._finely() else self._longest
        return min(start_sample + length, (start_sample // self._hop + 1) * self._hop)


def divide(source: AudioSource, piece_end: PieceEnd) -> None:
    """Have a source cut its audio by this, if it can."""
    if isinstance(source, DivisibleSource):
        source.divide(piece_end)


class Pacer:
    """Holds audio back until it would have been captured.

    A reader that falls behind catches up as fast as it can, and is never ahead of the clock.

    Args:
        stop: Ends any wait.
        clock: Monotonic, seconds.
        wait: Waits so many seconds at most, and returns True if the waiting was ended from outside.
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
        """Wait until ``end_sample`` has passed on the clock; the clock starts with the first call.

        Returns:
            False if the wait was ended from outside.
        """
        if self._started_at is None:
            self._started_at = self._clock()
        # A wait may return early by the resolution of the system's timer; asking again keeps the promise.
        while (ahead_s := self._started_at + seconds(end_sample) - self._clock()) > 0:
            if self._wait(ahead_s):
                return False
        return True
