"""The microphone, or any other sound input, by its name."""

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
from stream_mer.sources.capture import Capture, CaptureBackend, Patience, channels_to_open, listen
from stream_mer.sources.capture_process import PortAudioBackend
from stream_mer.sources.devices import InputDevice, choose_device, require_channels
from stream_mer.types import AudioChunk
from stream_mer.utils.mailbox import MailboxClosed

_HEARD_CHANNELS = 2
"""Sound servers offer 32 channels on everything, large interfaces have dozens of inputs: the first two are heard."""

_MOST_GAIN_DB = 60.0


class MicrophoneSource:
    """A sound input that is heard until it is closed, whatever happens to it on the way.

    Late audio is dropped: about 2 s may wait. What was dropped, and what the sound server lost, shows as a gap in
    ``start_sample``. While the device is gone or stalled the chunks are silence and say so (``AudioChunk.source``); it
    is opened again by its name, and no other one is ever taken in its place.

    Args:
        device: Whole name, or a part that fits one device alone; None for the input that is the default one now.
        channels: Which ones to mix to mono, from 1; None for the first two.
        gain_db: Amplification of what was captured, decibels.
        backend: The way to the devices; PortAudio by default.
        patience: How long to wait for what.

    Raises:
        DeviceError: No such device (the message lists those that exist) or channel, or PyAudio is not installed.
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
        patience: Patience | None = None,
    ) -> None:
        if not -_MOST_GAIN_DB <= gain_db <= _MOST_GAIN_DB:
            raise SettingError(f"gain must be -{_MOST_GAIN_DB:g} to {_MOST_GAIN_DB:g} dB, not {gain_db:g}")
        self._backend: CaptureBackend = PortAudioBackend() if backend is None else backend
        self.device = choose_device(device, self._backend.devices())
        self.name = self.device.name
        self.channels = tuple(channels) if channels else tuple(range(1, min(_HEARD_CHANNELS, self.device.channels) + 1))
        require_channels(self.device, self.channels)
        self._gain = 10.0 ** (gain_db / 20)
        self._patience = patience
        self._closed = threading.Event()

    def chunks(self) -> Iterator[AudioChunk]:
        """Open the device and yield what it hears until ``close`` is called.

        Raises:
            DeviceError: The device cannot be opened to begin with.
        """
        return listen(
            self._backend,
            self.device,
            channels=self.channels,
            gain=self._gain,
            stop=self._closed,
            patience=self._patience,
        )

    def close(self) -> None:
        self._closed.set()

    def read_meter(self, duration_s: float) -> Iterator[Reading]:
        """Measure each channel for so many seconds, in place of hearing them; see ``sources.microphone.read_meter``.

        Raises:
            DeviceError: The device cannot be opened, gives nothing, or is gone.
        """
        return read_meter(self._backend, self.device, channels=self.channels, duration_s=duration_s)


def list_devices() -> tuple[InputDevice, ...]:
    """Sound inputs of this machine, in the system's order; empty if there are none.

    Raises:
        DeviceError: PyAudio is not installed, or PortAudio cannot start.
    """
    return PortAudioBackend().devices()


_LOG = logging.getLogger(__name__)

PULSE_DEVICE = "pulse"
"""ALSA's way into PulseAudio and PipeWire, which give every output a monitor. PortAudio does not list these..."""

PULSE_VARIABLE = "PULSE_SOURCE"
"""...but the device listens to the source that this environment variable names."""

DEFAULT_MONITOR = "@DEFAULT_MONITOR@"
"""The sound server's name for the monitor of the default output."""

_PLUGINS = tuple(
    f"usr/{folder}/alsa-lib/libasound_module_pcm_pulse.so" for folder in ("lib", "lib64", "lib/*", "local/lib")
)
"""Where ALSA's Pulse plugin lies: where it does and shows no device, it is the sound server that is missing."""

NAME = "monitor"
"""What its stream is called."""


def open_monitor(
    *, channels: Sequence[int] | None = None, gain_db: float = 0.0, devices: Sequence[InputDevice] | None = None
) -> MicrophoneSource:
    """Listen to what this machine plays.

    With PulseAudio or PipeWire that is the default output, also when another one becomes the default, or the source
    that ``PULSE_SOURCE`` names; elsewhere the first device whose name says that it is a loopback.

    Args:
        channels: Which ones to mix, from 1; None for the first two.
        gain_db: Amplification, decibels.
        devices: Those of this machine; None looks for them.

    Raises:
        DeviceError: There is no such device, or PyAudio is not installed.
        SettingError: The gain is out of range.
    """
    found = PortAudioBackend().devices() if devices is None else devices
    if any(device.name == PULSE_DEVICE for device in found):
        named = os.environ.get(PULSE_VARIABLE)
        if not named and find_spec("pulsectl") is None:
            _LOG.warning("the output that is the default one now is heard, also after a change: pip install pulsectl")
        backend = PortAudioBackend(
            environment={PULSE_VARIABLE: named or DEFAULT_MONITOR}, follow_default_output=not named
        )
        source = MicrophoneSource(PULSE_DEVICE, channels=channels, gain_db=gain_db, backend=backend)
    else:
        loopback = next((device for device in found if device.is_monitor), None)
        if loopback is None:
            raise DeviceError(_why_none())
        source = MicrophoneSource(loopback.name, channels=channels, gain_db=gain_db)
    source.name = NAME
    return source


def _why_none() -> str:
    """Why nothing hears what this machine plays, and what to do."""
    if any(path.is_file() for pattern in _PLUGINS for path in Path("/").glob(pattern)):
        return (
            "the sound server (PulseAudio or PipeWire) cannot be reached: start it (systemctl --user start "
            "pipewire-pulse, or pulseaudio --start), and run stream-mer as the user whose session it is"
        )
    return (
        "this machine has no input that hears what it plays: on Linux install ALSA's Pulse plugin "
        "(libasound2-plugins), on Windows enable Stereo Mix or a virtual cable, on macOS install BlackHole"
    )


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
