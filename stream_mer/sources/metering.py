"""How loud the channels of a sound input are, each by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_mer.audio.levels import Level, OverloadCounter, measure
from stream_mer.errors import DeviceError
from stream_mer.sources.capture import Capture, CaptureBackend, channels_to_open
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.supervision import Patience
from stream_mer.utils.mailbox import MailboxClosed

READING_S = 0.1
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLevel:
    """One channel of a passage.

    Attributes:
        channel: Its number, from 1.
        level: How loud it was.
        clipped_samples: How many of its samples were clipped.
    """

    channel: int
    level: Level
    clipped_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter shows.

    Attributes:
        now: The newest ``READING_S``.
        whole: All since the beginning.
        heard_s: How much audio that is.
    """

    now: tuple[ChannelLevel, ...]
    whole: tuple[ChannelLevel, ...]
    heard_s: float


def read_meter(
    backend: CaptureBackend,
    device: InputDevice,
    *,
    channels: tuple[int, ...],
    duration_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Reading]:
    """Listen for so long and yield a reading each ``READING_S``.

    Args:
        backend: The way to the device.
        device: The device.
        channels: Which ones, from 1.
        duration_s: How much audio.
        clock: Monotonic, seconds.

    Raises:
        DeviceError: The device cannot be opened, gives nothing, or is gone.
    """
    picked = np.array(channels) - 1
    capture = backend.open(device, channels_to_open(device, channels))
    meter = _Meter(channels)
    try:
        waiting: list[NDArray[np.float32]] = []
        heard_at = clock()
        while meter.heard_s < duration_s:
            try:
                block = capture.blocks.get(timeout_s=_LOOK_S)
            except (TimeoutError, MailboxClosed):
                _require_alive(capture, device, silent_s=clock() - heard_at)
                continue
            heard_at = clock()
            waiting.append(block.samples[:, picked])
            samples = np.concatenate(waiting)
            if len(samples) >= READING_S * capture.rate_hz:
                yield meter.feed(samples, capture.rate_hz)
                waiting.clear()
    finally:
        capture.close()


def _require_alive(capture: Capture, device: InputDevice, *, silent_s: float) -> None:
    trouble = capture.health().trouble
    patience = Patience()
    if trouble is None and silent_s > patience.opening_s + patience.first_audio_s:
        trouble = f"gave no audio for {silent_s:.1f} s"
    if trouble is not None:
        raise DeviceError(f"the sound input {device.name!r} {trouble}; check its connection and the sound server")


class _Meter:
    """Sums over all that was heard."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        self.heard_s = 0.0
        self._channels = channels
        self._overloads = [OverloadCounter() for _ in channels]
        self._clipped = [0] * len(channels)
        self._peak = np.zeros(len(channels), np.float32)
        self._energy = np.zeros(len(channels))
        self._length = 0

    def feed(self, samples: NDArray[np.float32], rate_hz: int) -> Reading:
        """Take the next samples, shape ``[n, channels]``."""
        clipped = [counter.feed(samples[:, [k]]) for k, counter in enumerate(self._overloads)]
        self._clipped = [before + new for before, new in zip(self._clipped, clipped, strict=True)]
        self._peak = np.maximum(self._peak, np.abs(samples).max(axis=0))
        self._energy += np.square(samples, dtype=np.float64).sum(axis=0)
        self._length += len(samples)
        self.heard_s += len(samples) / rate_hz
        rms = np.sqrt(self._energy / self._length)
        whole = [Level.of(peak=float(peak), rms=float(mean)) for peak, mean in zip(self._peak, rms, strict=True)]
        now = [measure(samples[:, k]) for k in range(samples.shape[1])]
        return Reading(now=self._named(now, clipped), whole=self._named(whole, self._clipped), heard_s=self.heard_s)

    def _named(self, levels: list[Level], clipped: list[int]) -> tuple[ChannelLevel, ...]:
        return tuple(
            ChannelLevel(channel=channel, level=level, clipped_samples=count)
            for channel, level, count in zip(self._channels, levels, clipped, strict=True)
        )
