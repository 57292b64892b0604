"""What a serving node sees of one channel, and what it says where nothing comes. Pure: the clock is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from stream_mer.cluster.fence import Fence
from stream_mer.types import EmotionFrame, SourceState, StreamEvent, StreamStatus

STALLED_AFTER_S = 3.0
LOST_AFTER_S = 0.75
"""A channel on its way from one worker to the next is nobody's for a moment: no reason to say so."""

Trouble = Literal["broker_lost", "worker_lost", "worker_silent"]
"""In ``degraded`` of a frame that is shown again because no other comes: why."""

_STATES: dict[Trouble, SourceState] = {
    "broker_lost": "reconnecting",
    "worker_lost": "reconnecting",
    "worker_silent": "stalled",
}


class Sight:
    """One channel as it is seen from here.

    Args:
        name: Of the channel.
        now: Any clock, seconds; the same one for all calls.

    Attributes:
        fence: What is believed of it.
    """

    def __init__(self, name: str, *, now: float) -> None:
        self.name = name
        self.fence = Fence()
        self._frame: EmotionFrame | None = None
        self._status: StreamStatus | None = None
        self._heard_at = now
        self._trouble: Trouble | None = None
        self._unowned_since: float | None = None
        self._ahead_since: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the source came to its end, and no frame since."""
        return self._status is not None and self._status.source == "ended"

    def is_ahead_of(self, revision: int, *, now: float, for_s: float) -> bool:
        """Tell whether the fence has believed, for so long, in an epoch that is ahead of the channel's claim."""
        if self.fence.epoch <= revision:
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead_since = now
        return self._ahead_since is not None and now - self._ahead_since >= for_s

    def hear(self, event: StreamEvent, *, now: float) -> list[StreamEvent]:
        """Take an event that is believed; return what is to be published."""
        if isinstance(event, StreamStatus):
            self._status = event
            return [event]
        if not isinstance(event, EmotionFrame):
            return [event]
        self._frame, self._heard_at = event, now
        if self._trouble is None:
            return [event]
        self._trouble = None
        return [event] if self._status is None else [self._status, event]

    def look(self, *, now: float, connected: bool, owned: bool) -> list[StreamEvent]:
        """Look whether anything is wrong; return what is to be published of it.

        Args:
            now: The clock.
            connected: Whether there is a connection to NATS.
            owned: Whether a living worker has the channel, as far as that is known.
        """
        if owned or not connected:
            self._unowned_since = None
        elif self._unowned_since is None:
            self._unowned_since = now
        trouble = self._look(now, connected=connected)
        if trouble is None or trouble == self._trouble:
            return []  # a trouble is over when a frame comes, not when none is known any more
        if self._trouble is not None and trouble == "worker_silent":
            return []  # of which the reason was given
        self._trouble = trouble
        before = self._status or StreamStatus(source="stalled", device=self.name, lyrics="off")
        told: list[StreamEvent] = [replace(before, source=_STATES[trouble])]
        if self._frame is not None:
            raw = self._frame.raw
            told.append(replace(self._frame, raw=replace(raw, degraded=(*raw.degraded, trouble))))
        return told

    def _look(self, now: float, *, connected: bool) -> Trouble | None:
        if self.has_ended:
            return None
        if not connected:
            return "broker_lost"
        if self._unowned_since is not None and now - self._unowned_since >= LOST_AFTER_S:
            return "worker_lost"
        return "worker_silent" if now - self._heard_at >= STALLED_AFTER_S else None
