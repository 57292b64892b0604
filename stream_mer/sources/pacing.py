"""Deliver stored audio as real time would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from stream_mer.types import seconds


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
