"""A supervised capture as chunks without end; knows nothing of how it is captured.

The seam for capture: a ``CaptureBackend`` starts a ``Capture``, which puts blocks into a bounded mailbox from a thread
or process of its own and can be closed at any time. ``listen`` keeps one at work, starts it again whenever it is in
trouble, and fills in silence meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from stream_mer.errors import DeviceError
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.timeline import CapturedBlock, Timeline
from stream_mer.types import AudioChunk, SourceState
from stream_mer.utils.mailbox import Mailbox, MailboxClosed

_LOG = logging.getLogger(__name__)

_LOOK_S = 0.05
"""How often the capture is looked after while it gives nothing."""


class Capture(Protocol):
    """A device being captured."""

    @property
    def rate_hz(self) -> int:
        """Rate of the blocks; known once there is one."""
        ...

    @property
    def blocks(self) -> Mailbox[CapturedBlock]:
        """Bounded, drops the oldest: the world does not wait."""
        ...

    def health(self) -> Health: ...

    def close(self) -> None:
        """End it, whatever state it is in; blocks that wait can still be read. Idempotent."""
        ...


class CaptureBackend(Protocol):
    """A way to the sound devices."""

    def devices(self) -> tuple[InputDevice, ...]: ...

    def open(self, device: InputDevice, channels: int) -> Capture:
        """Start to capture; whether that works shows in the capture's health."""
        ...


def listen(
    backend: CaptureBackend,
    device: InputDevice,
    *,
    channels: tuple[int, ...],
    gain: float = 1.0,
    stop: threading.Event,
    patience: Patience | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[AudioChunk]:
    """Capture from a device until ``stop`` is set, whatever happens to it on the way.

    Args:
        backend: The way to it.
        device: The device; found again by its name, and no other one is ever taken.
        channels: Which ones to mix, from 1.
        gain: Factor on every sample.
        stop: Ends the iteration.
        patience: How long to wait for what.
        clock: Monotonic, seconds; the one that stamps the blocks.

    Yields:
        Mono chunks at 16 kHz. While audio is missing they are silence at the rate of time, and ``AudioChunk.source``
        says why; each change of that is told at once, if need be by a chunk without samples.

    Raises:
        DeviceError: The device could not be opened to begin with. Once it was open, it is waited for without end.
    """
    listener = _Listener(
        backend=backend, device=device, channels=channels, gain=gain, supervisor=Supervisor(patience), clock=clock
    )
    try:
        while not stop.is_set():
            yield from listener.turn(stop)
    finally:
        listener.close()


class _Listener:
    """One device, one capture of it at a time, and the timeline that all of them share."""

    def __init__(
        self,
        *,
        backend: CaptureBackend,
        device: InputDevice,
        channels: tuple[int, ...],
        gain: float,
        supervisor: Supervisor,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._device = device
        self._n_channels = channels_to_open(device, channels)
        self._picked = np.array(channels) - 1
        self._supervisor = supervisor
        self._clock = clock
        self._timeline = Timeline(gain=gain)
        self._capture: Capture | None = None
        self._begun = False  # whether the timeline knows of this capture
        self._told: SourceState = "live"

    def turn(self, stop: threading.Event) -> list[AudioChunk]:
        """Look after the capture and take what it gives, waiting ``_LOOK_S`` at most."""
        capture = self._capture
        action = self._supervisor.step(self._clock(), None if capture is None else capture.health())
        blocks: list[CapturedBlock] = []
        if action is Action.START:
            self._start()
        elif capture is None:
            stop.wait(_LOOK_S)
        elif action is Action.STOP:
            blocks = self._stop(capture)
        else:
            blocks = _next_block(capture)
        chunks = self._place(capture, blocks) if capture is not None and blocks else []
        now = self._clock()
        if self._supervisor.state != self._told:
            self._told = self._supervisor.state
            _log(self._device, self._supervisor)
            if self._told != "live":
                chunks += self._timeline.flush(now)
            nothing = np.empty(0, np.float32)
            chunks.append(
                AudioChunk(start_sample=self._timeline.end_sample, samples=nothing, captured_at=now, source=self._told)
            )
        if self._told != "live" and not blocks:
            chunks += self._timeline.fill(now, self._told)
        return chunks

    def close(self) -> None:
        if self._capture is not None:
            self._capture.close()

    def _start(self) -> None:
        """Start a capture.

        Raises:
            DeviceError: That is impossible, and always was.
        """
        try:
            self._capture, self._begun = self._backend.open(self._device, self._n_channels), False
        except DeviceError as error:
            if not self._supervisor.ever_opened:
                raise
            now = self._clock()
            self._supervisor.give_up(now, now, f"cannot be captured ({error})")

    def _stop(self, capture: Capture) -> list[CapturedBlock]:
        """End the capture; return what it told before.

        Raises:
            DeviceError: It never worked.
        """
        capture.close()
        self._capture = None
        if not self._supervisor.ever_opened:
            raise DeviceError(_first_failure(self._device, self._supervisor.trouble))
        return list(capture.blocks)

    def _place(self, capture: Capture, blocks: list[CapturedBlock]) -> list[AudioChunk]:
        if not self._begun:
            self._timeline.begin(capture.rate_hz)
            self._begun = True
        return [
            chunk
            for block in blocks
            for chunk in self._timeline.feed(
                CapturedBlock(start=block.start, samples=block.samples[:, self._picked], captured_at=block.captured_at)
            )
        ]


def channels_to_open(device: InputDevice, channels: tuple[int, ...]) -> int:
    """How many channels to open so that these are among them.

    Never one of several: a sound server would mix all of them into it.
    """
    return min(device.channels, max(2, *channels))


def _next_block(capture: Capture) -> list[CapturedBlock]:
    try:
        return [capture.blocks.get(timeout_s=_LOOK_S)]
    except (TimeoutError, MailboxClosed):
        return []


def _first_failure(device: InputDevice, trouble: str) -> str:
    return (
        f"the sound input {device.name!r} {trouble}; check its connection and the sound server, "
        "close other programs that use it, or choose another one (stream-mer devices lists them)"
    )


def _log(device: InputDevice, supervisor: Supervisor) -> None:
    if supervisor.state == "live":
        _LOG.warning("%s: audio again after %.1f s", device.name, supervisor.last_outage_s)
    elif supervisor.state == "stalled":
        _LOG.warning("%s: no audio comes; waiting for it", device.name)
    else:
        _LOG.warning("%s %s; opening it again until it is there", device.name, supervisor.trouble)


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
