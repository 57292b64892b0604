"""The microphone, or any other sound input, by its name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from stream_mer.errors import SettingError
from stream_mer.sources.capture import CaptureBackend, listen
from stream_mer.sources.capture_process import PortAudioBackend
from stream_mer.sources.devices import InputDevice, choose_device, require_channels
from stream_mer.sources.metering import Reading, read_meter
from stream_mer.sources.supervision import Patience
from stream_mer.types import AudioChunk

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
        """Measure each channel for so many seconds, in place of hearing them; see ``sources.metering.read_meter``.

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
