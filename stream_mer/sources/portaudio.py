"""Sound inputs through PyAudio (PortAudio). The only import of pyaudio, and made in the capture process alone.

PortAudio may hang for good in a sound server that no longer answers, crash at exit, and write some 80 lines to standard
error each time that it starts. So it lives in a process of its own, which may be killed; nothing here tries to survive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from stream_mer.sources.devices import InputDevice, is_monitor_name

BLOCK_S = 0.02


class InputFailure(Exception):  # noqa: N818 - no error class of stream_mer: it only travels to the parent process
    """A sound input cannot be used.

    Args:
        reason: ``no_pyaudio``, ``no_portaudio``, ``absent`` or ``busy``.
        message: The words of the library.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Take = Callable[[bytes, int, float], None]
"""Takes (interleaved float32, samples per channel, monotonic clock when they came)."""


class PortAudioInput:
    """PortAudio, started once, and at most one open device in it.

    Raises:
        InputFailure: PyAudio is not installed, or PortAudio does not start.
    """

    def __init__(self) -> None:
        try:
            import pyaudio  # noqa: PLC0415  # an extra: whoever has no microphone needs no PortAudio
        except ImportError as error:
            raise InputFailure("no_pyaudio", str(error)) from error
        self._format = pyaudio.paFloat32
        self._go_on = (None, pyaudio.paContinue)
        try:
            self._portaudio = pyaudio.PyAudio()
        except OSError as error:
            raise InputFailure("no_portaudio", _reason(error)) from error
        self._stream: Any = None

    def devices(self) -> list[InputDevice]:
        """Every input, in the system's order."""
        return [device for _, device in self._indexed_devices()]

    def open(self, name: str, host_api: str, *, channels: int, take: Take) -> tuple[InputDevice, int]:
        """Start to capture from the device of this name, in callback mode: a blocking read could hang for good.

        Args:
            name: Its whole name.
            host_api: The sound interface that leads to it.
            channels: How many to capture.
            take: Called by PortAudio's own thread for each block; must neither wait nor raise.

        Returns:
            The device, and the rate it was opened at.

        Raises:
            InputFailure: No device is called so, or it cannot be opened.
        """
        wanted = (name, host_api)
        found = [(index, each) for index, each in self._indexed_devices() if (each.name, each.host_api) == wanted]
        if not found:
            raise InputFailure("absent", "no such device")
        index, device = found[0]

        def called(data: bytes, n_samples: int, _times: Mapping[str, float], _flags: int) -> tuple[None, int]:
            take(data, n_samples, time.monotonic())
            return self._go_on

        try:
            self._stream = self._portaudio.open(
                format=self._format,
                rate=device.rate_hz,
                channels=channels,
                input=True,
                input_device_index=index,
                frames_per_buffer=round(BLOCK_S * device.rate_hz),
                stream_callback=called,
            )
        except (OSError, ValueError) as error:
            raise InputFailure("busy", _reason(error)) from error
        return device, device.rate_hz

    def is_active(self) -> bool:
        """False once the device is gone. True through a stall of the sound server."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def _indexed_devices(self) -> list[tuple[int, InputDevice]]:
        """Every input with its number, which holds for this start of PortAudio alone."""
        try:
            default_index = self._portaudio.get_default_input_device_info()["index"]
        except OSError:
            default_index = None
        found = []
        for index in range(self._portaudio.get_device_count()):
            info = self._portaudio.get_device_info_by_index(index)
            if info["maxInputChannels"] < 1:
                continue
            name = _text(info["name"])
            device = InputDevice(
                name=name,
                host_api=_text(self._portaudio.get_host_api_info_by_index(info["hostApi"])["name"]),
                channels=int(info["maxInputChannels"]),
                rate_hz=round(info["defaultSampleRate"]),
                is_default=index == default_index,
                is_monitor=is_monitor_name(name),
            )
            found.append((index, device))
        return found


def _text(name: str | bytes) -> str:
    """PyAudio gives a name as bytes where it is not UTF-8."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _reason(error: Exception) -> str:
    """The words of a PortAudio error, whose first argument is their number or they themselves."""
    words = [str(part) for part in error.args if isinstance(part, str)]
    return words[0] if words else str(error)
