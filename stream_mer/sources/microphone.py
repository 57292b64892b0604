"""Sound inputs by name: microphones, the monitor of what this machine plays, and their level meter."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_mer.audio.levels import Level, OverloadCounter, measure
from stream_mer.errors import DeviceError, SettingError
from stream_mer.sources.capture import (
    Capture,
    CaptureBackend,
    CaptureTimeouts,
    PortAudioBackend,
    capture_chunks,
    channels_to_open,
)
from stream_mer.sources.capture_child import DEFAULT_MONITOR
from stream_mer.sources.devices import PULSE_DEVICE, PULSE_VARIABLE, InputDevice, choose_device, require_channels
from stream_mer.types import AudioChunk
from stream_mer.utils.mailbox import MailboxClosed

_LOG = logging.getLogger(__name__)

_DEFAULT_CHANNELS = 2
"""Only the first two are mixed: sound servers offer 32 channels on everything, and interfaces have dozens of inputs."""

_MAX_GAIN_DB = 60.0


class MicrophoneSource:
    """A sound input, captured until it is closed, through every interruption.

    About 2 s of audio may wait; older audio is dropped. What was dropped, and what the sound server lost, is a gap in
    ``start_sample``. While the device is gone or stalled, the chunks are silence and say why (``AudioChunk.source``).
    The device is opened again by its name; no other one ever replaces it.

    Args:
        device: Whole name, or a part that fits one device alone; None for the default input.
        channels: Channels to mix to mono, from 1; None for the first two.
        gain_db: Gain, -60 to 60 dB.
        backend: Access to the devices; default: PortAudio.
        timeouts: Limits of waiting.

    Raises:
        DeviceError: There is no such device or channel, or PyAudio is not installed.
        SettingError: The gain is out of range.
    """

    live = True

    def __init__(
        self,
        device: str | None = None,
        *,
        channels: Sequence[int] | None = None,
        gain_db: float = 0.0,
        backend: CaptureBackend | None = None,
        timeouts: CaptureTimeouts | None = None,
    ) -> None:
        if not -_MAX_GAIN_DB <= gain_db <= _MAX_GAIN_DB:
            raise SettingError(f"gain must be -{_MAX_GAIN_DB:g} to {_MAX_GAIN_DB:g} dB, not {gain_db:g}")
        self._backend: CaptureBackend = PortAudioBackend() if backend is None else backend
        self.device = choose_device(device, self._backend.devices())
        self.name = self.device.name
        default = range(1, min(_DEFAULT_CHANNELS, self.device.channels) + 1)
        self.channels = tuple(channels or default)
        require_channels(self.device, self.channels)
        self._gain = 10.0 ** (gain_db / 20)
        self._timeouts = timeouts
        self._closed = threading.Event()

    def chunks(self) -> Iterator[AudioChunk]:
        """Open the device and yield its audio until ``close`` is called.

        Raises:
            DeviceError: The device cannot be opened at first.
        """
        return capture_chunks(
            self._backend,
            self.device,
            channels=self.channels,
            gain=self._gain,
            stop=self._closed,
            timeouts=self._timeouts,
        )

    def close(self) -> None:
        """End the iteration soon; idempotent."""
        self._closed.set()

    def read_meter(self, duration_s: float) -> Iterator[Reading]:
        """Measure each channel for this time, in place of ``chunks``; see the function ``read_meter``.

        Raises:
            DeviceError: The device cannot be opened, gives nothing, or disappears.
        """
        return read_meter(self._backend, self.device, channels=self.channels, duration_s=duration_s)


def list_devices() -> tuple[InputDevice, ...]:
    """Return the sound inputs of this machine, in the system's order.

    Raises:
        DeviceError: PyAudio is not installed, or PortAudio cannot start.
    """
    return PortAudioBackend().devices()


# The monitor: what this machine plays.


NAME = "monitor"
"""Name of the stream."""

_PLUGINS = tuple(
    f"usr/{folder}/alsa-lib/libasound_module_pcm_pulse.so" for folder in ("lib", "lib64", "lib/*", "local/lib")
)
"""Places of ALSA's Pulse plugin. If it is installed and there is no device, the sound server is missing."""


def open_monitor(
    *, channels: Sequence[int] | None = None, gain_db: float = 0.0, devices: Sequence[InputDevice] | None = None
) -> MicrophoneSource:
    """Capture what this machine plays.

    With PulseAudio or PipeWire that is the source that ``PULSE_SOURCE`` names, or else the monitor of the default
    output, even if the default changes. Elsewhere it is the first device whose name looks like a loopback.

    Args:
        channels: Channels to mix to mono, from 1; None for the first two.
        gain_db: Gain, -60 to 60 dB.
        devices: The devices of this machine; None lists them.

    Raises:
        DeviceError: There is no such device, or PyAudio is not installed.
        SettingError: The gain is out of range.
    """
    found = PortAudioBackend().devices() if devices is None else devices
    if any(device.name == PULSE_DEVICE for device in found):
        named = os.environ.get(PULSE_VARIABLE)
        if not named and find_spec("pulsectl") is None:
            _LOG.warning("the output that is the default now is captured, also after a change: pip install pulsectl")
        wanted = named or DEFAULT_MONITOR
        backend = PortAudioBackend(environment={PULSE_VARIABLE: wanted}, kept_source=wanted)
        source = MicrophoneSource(PULSE_DEVICE, channels=channels, gain_db=gain_db, backend=backend)
    else:
        loopback = next((device for device in found if device.is_monitor), None)
        if loopback is None:
            raise DeviceError(_why_no_monitor())
        source = MicrophoneSource(loopback.name, channels=channels, gain_db=gain_db)
    source.name = NAME
    return source


def _why_no_monitor() -> str:
    if any(path.is_file() for pattern in _PLUGINS for path in Path("/").glob(pattern)):
        return (
            "the sound server (PulseAudio or PipeWire) cannot be reached: start it (systemctl --user start "
            "pipewire-pulse, or pulseaudio --start), and run stream-mer as the user whose session it is"
        )
    return (
        "this machine has no input that captures what it plays: on Linux install ALSA's Pulse plugin "
        "(libasound2-plugins), on Windows enable Stereo Mix or a virtual cable, on macOS install BlackHole"
    )


# The level meter.

READING_S = 0.1
"""Length of a reading."""

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLevel:
    """The level of one channel.

    Attributes:
        channel: Number of the channel, from 1.
        level: Its peak and root mean square.
        clipped_samples: Number of clipped samples.
    """

    channel: int
    level: Level
    clipped_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of the meter.

    Attributes:
        now: Levels of the newest ``READING_S``.
        whole: Levels of everything since the start.
        audio_s: Audio since the start, seconds.
    """

    now: tuple[ChannelLevel, ...]
    whole: tuple[ChannelLevel, ...]
    audio_s: float


def read_meter(
    backend: CaptureBackend,
    device: InputDevice,
    *,
    channels: tuple[int, ...],
    duration_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Reading]:
    """Measure a device and yield a reading every ``READING_S``.

    Args:
        backend: Access to the device.
        device: The device.
        channels: Channels to measure, from 1.
        duration_s: Duration, seconds of audio.
        clock: Monotonic clock, seconds.

    Raises:
        DeviceError: The device cannot be opened, gives nothing, or disappears.
    """
    picked = np.array(channels) - 1
    capture = backend.open(device, channels_to_open(device, channels))
    meter = _Meter(channels)
    try:
        pending: list[NDArray[np.float32]] = []
        audio_at = clock()
        while meter.audio_s < duration_s:
            try:
                block = capture.blocks.get(timeout_s=_POLL_S)
            except (TimeoutError, MailboxClosed):
                _require_alive(capture, device, silent_s=clock() - audio_at)
                continue
            audio_at = clock()
            pending.append(block.samples[:, picked])
            samples = np.concatenate(pending)
            if len(samples) >= READING_S * capture.rate_hz:
                yield meter.feed(samples, capture.rate_hz)
                pending.clear()
    finally:
        capture.close()


def _require_alive(capture: Capture, device: InputDevice, *, silent_s: float) -> None:
    trouble = capture.health().trouble
    timeouts = CaptureTimeouts()
    if trouble is None and silent_s > timeouts.opening_s + timeouts.first_audio_s:
        trouble = f"gave no audio for {silent_s:.1f} s"
    if trouble is not None:
        raise DeviceError(f"the sound input {device.name!r} {trouble}; check its connection and the sound server")


class _Meter:
    """Levels of each channel, now and since the start."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        self.audio_s = 0.0
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
        self.audio_s += len(samples) / rate_hz
        rms = np.sqrt(self._energy / self._length)
        whole = [Level.of(peak=float(peak), rms=float(mean)) for peak, mean in zip(self._peak, rms, strict=True)]
        now = [measure(samples[:, k]) for k in range(samples.shape[1])]
        return Reading(
            now=self._numbered(now, clipped), whole=self._numbered(whole, self._clipped), audio_s=self.audio_s
        )

    def _numbered(self, levels: list[Level], clipped: list[int]) -> tuple[ChannelLevel, ...]:
        return tuple(
            ChannelLevel(channel=channel, level=level, clipped_samples=count)
            for channel, level, count in zip(self._channels, levels, clipped, strict=True)
        )
