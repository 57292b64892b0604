"""How long a worker may believe that it is alive to the others. Its only clock is its own, and it compares no two."""

from __future__ import annotations

import time
from collections.abc import Callable

RENEWALS = 5
"""So many times in the time to live a lease is renewed."""


class Lease:
    """A lease of a time to live that NATS counts from when a renewal reached it, and its holder from when it was sent.

    So the holder gives up first, whatever their clocks show; they must only run equally fast. Read from any thread.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("-inf")

    def renewed(self, sent_at: float, ttl_s: float) -> None:
        """Take note of a renewal, sent at ``sent_at`` by the clock, that NATS has confirmed."""
        self._until = sent_at + ttl_s

    def lose(self) -> None:
        """It is another's, or nobody's."""
        self._until = float("-inf")

    @property
    def holds(self) -> bool:
        """Whether nobody else can have been told that it ran out."""
        return self._clock() < self._until
