"""When a universe is sent: at once where it changed, else just often enough to stay known. Pure: the time is given."""

from __future__ import annotations

from stream_mer.outputs.dmx.rig import MAX_RATE_HZ

KEEP_ALIVE_S = 0.8
"""Without a change it is sent again after so long: E1.31 asks for 0.8 to 1 s, Art-Net for 4 s at most."""

REPEATS = 3
"""What is new is sent this many times more at the full rate: a datagram may be lost (E1.31, 6.6.1)."""

SHORTEST_GAP_S = 0.5 / MAX_RATE_HZ
"""What comes sooner, because the call before was late, waits for the next call: nodes drop what comes too fast."""


class Pacing:
    """Decides for one universe."""

    def __init__(self) -> None:
        self._sent: bytes | None = None
        self._sent_t = 0.0
        self._repeats = 0

    def due(self, t: float, channels: bytes) -> bool:
        """Tell whether these channels are to be sent at ``t`` (seconds, rising), and take them as sent if so."""
        if self._sent is not None and t - self._sent_t < SHORTEST_GAP_S:
            return False
        if channels != self._sent:
            self._repeats = REPEATS
        elif self._repeats > 0:
            self._repeats -= 1
        elif t - self._sent_t < KEEP_ALIVE_S:
            return False
        self._sent, self._sent_t = channels, t
        return True
