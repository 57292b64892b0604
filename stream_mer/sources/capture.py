"""What is captured live, to chunks on the sample clock; knows nothing of how it is captured.

The seam for capture: a ``CaptureBackend`` opens a ``Capture``, which puts blocks into a bounded mailbox from a thread
(or process) of its own, and ``read_capture`` turns these into chunks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import DeviceError
from stream_mer.mailbox import Mailbox, MailboxClosed
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.resampling import MonoResampler
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples

STALL_S = 3.0
"""An input that gives nothing for so long has stalled. The first block of an idle one was seen to take 0.8-1.3 s."""

_POLL_S = 0.1
"""How soon the loss of a device is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedBlock:
    """A run of audio as the device gave it.

    Attributes:
        start: Index of its first sample at the device's rate; samples known to be lost before it are counted.
        samples: Shape ``[n, channels]``.
        captured_at: Monotonic clock, seconds, when it entered the process.
    """

    start: int
    samples: NDArray[np.float32]
    captured_at: float


class Capture(Protocol):
    """An open device at work."""

    @property
    def device(self) -> InputDevice: ...

    @property
    def rate_hz(self) -> int: ...

    @property
    def blocks(self) -> Mailbox[CapturedBlock]:
        """Bounded, drops the oldest: the world does not wait."""
        ...

    def is_active(self) -> bool:
        """False once the device is gone. True through a stall."""
        ...

    def close(self) -> None:
        """Stop and free the device; from the thread that opened it; idempotent."""
        ...


class CaptureBackend(Protocol):
    """A way to the sound devices."""

    def devices(self) -> tuple[InputDevice, ...]: ...

    def open(self, device: InputDevice) -> Capture:
        """Start to capture.

        Raises:
            DeviceError: The device is gone or busy.
        """
        ...


class LossDetector:
    """Finds audio that was lost without a word, by counting samples against the monotonic clock.

    Sound servers drop audio without setting PortAudio's overflow flags. Each block tells by how much the count of
    samples trails the clock; scheduling makes that larger now and then, lost audio makes it larger for good. So only
    the smallest lag of each ``PERIOD_S`` counts: if it is ``TOLERANCE_S`` above the one known, that much was lost.
    What is known follows the device's own clock, which is allowed to differ by ``DRIFT``.

    Args:
        rate_hz: The device's nominal rate.
    """

    PERIOD_S = 2.0
    TOLERANCE_S = 0.1
    DRIFT = 5e-4

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._counted = 0
        self._began_at: float | None = None
        self._period_at = 0.0
        self._period_lag_s = float("inf")
        self._known_lag_s: float | None = None

    def observe(self, n_samples: int, at: float) -> int:
        """Take note of a block.

        Args:
            n_samples: Its length.
            at: Monotonic clock, seconds, when it came.

        Returns:
            How many samples were found to be lost before it.
        """
        if self._began_at is None:
            self._began_at = self._period_at = at
        self._counted += n_samples
        lag_s = (at - self._began_at) - self._counted / self._rate_hz
        self._period_lag_s = min(self._period_lag_s, lag_s)
        if at - self._period_at < self.PERIOD_S:
            return 0
        least_s, length_s = self._period_lag_s, at - self._period_at
        self._period_at, self._period_lag_s = at, float("inf")
        if self._known_lag_s is None or least_s < self._known_lag_s:
            self._known_lag_s = least_s
            return 0
        excess_s = least_s - self._known_lag_s
        if excess_s > self.TOLERANCE_S:
            lost = round(excess_s * self._rate_hz)
            self._counted += lost
            return lost
        self._known_lag_s += min(excess_s, self.DRIFT * length_s)
        return 0


def read_capture(
    capture: Capture,
    *,
    stop: threading.Event,
    stall_s: float = STALL_S,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[AudioChunk]:
    """Turn captured blocks into chunks until ``stop`` is set or the mailbox is closed.

    Blocks that were dropped, and samples known to be lost, show as a gap in ``start_sample``.

    Args:
        capture: An open device.
        stop: Ends the iteration.
        stall_s: How long to wait for audio, seconds.
        clock: Monotonic, seconds.

    Raises:
        DeviceError: The device is gone, or gave nothing for ``stall_s``.
    """
    run = _Run(capture.rate_hz)
    heard_at = clock()
    while not stop.is_set():
        try:
            block = capture.blocks.get(timeout_s=_POLL_S)
        except MailboxClosed:
            return
        except TimeoutError:
            _require_alive(capture, silent_s=clock() - heard_at, stall_s=stall_s)
            continue
        for start_sample, samples in run.feed(block):
            yield AudioChunk(start_sample=start_sample, samples=samples, captured_at=block.captured_at)
        heard_at = clock()  # After the reader took it: a slow reader is no silent device.


def _require_alive(capture: Capture, *, silent_s: float, stall_s: float) -> None:
    name = capture.device.name
    if not capture.is_active():
        raise DeviceError(
            f"the sound input {name!r} is gone (unplugged, or its sound server ended); connect it again and restart"
        )
    if silent_s > stall_s:
        raise DeviceError(
            f"the sound input {name!r} gave no audio for {silent_s:.1f} s; check its connection and the sound server"
        )


class _Run:
    """Resamples block after block; begins anew after each gap."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler = MonoResampler(rate_hz)
        self._expected: int | None = None
        self._position = 0

    def feed(self, block: CapturedBlock) -> list[tuple[int, Samples]]:
        """Take a block; return (first sample, samples) of what is ready, without empty ones."""
        ready = []
        if self._expected is not None and block.start > self._expected:
            ready.append(self._place(self._resampler.finish()))
            self._resampler = MonoResampler(self._rate_hz)
        if self._expected is None or block.start > self._expected:
            # Rounding may put a gap of a sample or two before the end of what was given: the clock never goes back.
            self._position = max(self._position, round(block.start * SAMPLE_RATE_HZ / self._rate_hz))
        self._expected = block.start + len(block.samples)
        ready.append(self._place(self._resampler.feed(block.samples)))
        return [(start, samples) for start, samples in ready if len(samples)]

    def _place(self, samples: Samples) -> tuple[int, Samples]:
        start = self._position
        self._position += len(samples)
        return start, samples
