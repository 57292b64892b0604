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
from typing import Protocol

import numpy as np

from stream_mer.errors import DeviceError
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.supervision import Action, Health, Patience, Supervisor
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
