"""When to start a capture again, and what to say meanwhile. Pure: fed with what is seen and the time it is seen at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stream_mer.types import SourceState


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What can be seen of a capture from outside. Times are readings of the monotonic clock, seconds.

    Attributes:
        heard_at: When it last gave any sign of life; at first when it was started.
        opened_at: When the device was open; None before.
        audio_at: When it last gave audio; None before the first.
        trouble: Why it is over, such as a device that is gone; None while it works.
    """

    heard_at: float
    opened_at: float | None = None
    audio_at: float | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, seconds.

    Attributes:
        opening_s: For the device to be open. The sound server may be slow, or hang for good.
        first_audio_s: For the first audio of an open device. That of an idle one was seen to take 0.8-1.3 s, and 2 s on
            a busy machine.
        stalled_s: Without audio for so long the input is called stalled.
        stall_s: Without audio for so long the capture is started again: a server that is only slow comes back by
            itself, a device that lost its server never does.
        silent_s: For a sign of life of the capture itself.
        first_retry_s: Before the first new start; doubles with every one that fails.
        longest_retry_s: Between starts at most. Each start costs about 0.07 s of one core.
        steady_s: Audio for so long makes the next retry a first one.
    """

    opening_s: float = 6.0
    first_audio_s: float = 5.0
    stalled_s: float = 0.6
    stall_s: float = 3.0
    silent_s: float = 3.0
    first_retry_s: float = 0.1
    longest_retry_s: float = 1.0
    steady_s: float = 2.0


class Action(Enum):
    """What the supervisor wants done."""

    WAIT = "wait"
    START = "start"
    STOP = "stop"


_PAUSE_S = 1.0
"""Looks that are further apart mean that the looking process itself was held up, and saw nothing of what was there."""


class Supervisor:
    """Watches one capture after another. Ask ``step`` often; it says what to do, and the rest can be read.

    ::

                      START                first audio              no audio
        (waiting) ------------> opening --------------> live <----------------> stalled
            ^                      |                      |                        |
            |   STOP: failed,      |   STOP: gone,        |   STOP: nothing for    |
            +---- hangs -----------+---- died, hangs -----+---- stall_s -----------+
            said: reconnecting, until there is audio again

    Args:
        patience: How long to wait for what.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._start_at = float("-inf")
        self._retry_s = self._patience.first_retry_s
        self._started_at = 0.0
        self._live_since: float | None = None
        self._looked_at: float | None = None
        self._forgive_before = float("-inf")
        self._out_since: float | None = None
        self.state: SourceState = "live"
        """What to say of the source; ``live`` also before there was ever any audio."""
        self.ever_opened = False
        """Whether the device was open at least once: a first failure is the user's to mend."""
        self.trouble = ""
        """Why the last capture was stopped."""
        self.restarts = 0
        """Captures stopped because of trouble."""
        self.last_outage_s = 0.0
        """From the last audio before the newest outage to the first audio after it."""

    def step(self, now: float, health: Health | None) -> Action:
        """Say what to do.

        Args:
            now: Monotonic clock, seconds.
            health: Of the capture that runs; None if none does.
        """
        if self._looked_at is not None and now - self._looked_at > _PAUSE_S:
            self._forgive_before = now
        self._looked_at = now
        if health is None:
            if now < self._start_at:
                return Action.WAIT
            self._started_at = now
            return Action.START
        if health.opened_at is not None:
            self.ever_opened = True
        trouble = health.trouble or self._hangs(now, health)
        if trouble is None:
            self._listen(now, health)
            return Action.WAIT
        self.give_up(now if health.audio_at is None else health.audio_at, now, trouble)
        return Action.STOP

    def give_up(self, last_audio_at: float, now: float, trouble: str) -> None:
        """The capture is over, or could not even be started: try again after a while.

        Args:
            last_audio_at: When there was audio last.
            now: Monotonic clock, seconds.
            trouble: Why.
        """
        self.trouble = trouble
        self.restarts += 1
        self._lose(last_audio_at, "reconnecting")
        self._start_at = now + self._retry_s
        self._retry_s = min(2 * self._retry_s, self._patience.longest_retry_s)

    def _hangs(self, now: float, health: Health) -> str | None:
        """Why the capture must be taken for dead although nothing says so; None if it need not."""
        if health.opened_at is None:
            waited_s = self._since(now, self._started_at)
            return f"did not open within {waited_s:.1f} s" if waited_s > self._patience.opening_s else None
        if self._since(now, health.heard_at) > self._patience.silent_s:
            return f"gave no sign of life for {now - health.heard_at:.1f} s"
        if health.audio_at is None:
            silent_s, limit_s = self._since(now, health.opened_at), self._patience.first_audio_s
        else:
            silent_s, limit_s = self._since(now, health.audio_at), self._patience.stall_s
        return f"gave no audio for {silent_s:.1f} s" if silent_s > limit_s else None

    def _since(self, now: float, then: float) -> float:
        return now - max(then, self._forgive_before)

    def _listen(self, now: float, health: Health) -> None:
        if health.audio_at is None:
            return
        if self._since(now, health.audio_at) > self._patience.stalled_s:
            if self.state == "live":
                self._lose(health.audio_at, "stalled")
            return
        if self._live_since is None or self.state != "live":
            self._live_since = health.audio_at
        if self.state != "live":
            self.state = "live"
            self.last_outage_s = health.audio_at - (self._out_since or health.audio_at)
            self._out_since = None
        if now - self._live_since > self._patience.steady_s:
            self._retry_s = self._patience.first_retry_s

    def _lose(self, last_audio_at: float, state: SourceState) -> None:
        if self._out_since is None:
            self._out_since = last_audio_at
        self._live_since = None
        self.state = state
