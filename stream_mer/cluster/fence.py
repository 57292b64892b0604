"""Which of a channel's events are to be believed: no owner of the past, nothing twice, no time going back. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from stream_mer.cluster.envelope import Envelope, kind_of
from stream_mer.types import EmotionFrame, StreamEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceStatistics:
    """Counts since the channel was first seen.

    Attributes:
        admitted: Events let through.
        outdated: Turned away: of a worker that the channel was taken from.
        repeated: Turned away: seen already.
        backwards: Turned away: frames whose time was not later than that of the one before.
        missing: Numbers that never came: lost between the worker and here.
    """

    admitted: int = 0
    outdated: int = 0
    repeated: int = 0
    backwards: int = 0
    missing: int = 0


class Fence:
    """Looks at the events of one channel in the order in which they come.

    Attributes:
        epoch: The newest that is known; events of earlier ones are turned away.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._numbers: dict[str, int] = {}
        self._t1 = float("-inf")
        self._counts: Counter[str] = Counter()

    def raise_to(self, epoch: int) -> None:
        """Take note of a new owner, perhaps before anything came from it; an earlier epoch changes nothing."""
        if epoch > self.epoch:
            self.epoch = epoch
            self._numbers = {}

    def admit(self, envelope: Envelope[StreamEvent], *, stored: bool = False) -> bool:
        """Tell whether an event is to be believed, and remember it if so.

        Args:
            envelope: The event.
            stored: It is what NATS keeps, and nothing else was heard yet. The last words of an owner of the past are
                then the best that is known, until the one of now speaks.
        """
        verdict = self._judge(envelope, stored=stored)
        self._counts[verdict] += 1
        return verdict == "admitted"

    def statistics(self) -> FenceStatistics:
        return FenceStatistics(**self._counts)

    def _judge(self, envelope: Envelope[StreamEvent], *, stored: bool) -> str:
        kind = kind_of(envelope.event)
        if envelope.epoch < self.epoch:
            return self._judge_time(envelope.event) if stored and kind not in self._numbers else "outdated"
        self.raise_to(envelope.epoch)
        before = self._numbers.get(kind, -1)
        if envelope.number <= before:
            return "repeated"
        if kind in self._numbers:  # whoever comes in the middle of an epoch has lost nothing
            self._counts["missing"] += envelope.number - before - 1
        self._numbers[kind] = envelope.number
        return self._judge_time(envelope.event)

    def _judge_time(self, event: StreamEvent) -> str:
        if isinstance(event, EmotionFrame):
            if event.t1 <= self._t1:
                return "backwards"
            self._t1 = event.t1
        return "admitted"
