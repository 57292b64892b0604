"""The microphone, or any other sound input, through PyAudio (PortAudio). The only import of pyaudio."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from stream_mer.errors import DeviceError
from stream_mer.mailbox import Mailbox, MailboxClosed
from stream_mer.sources.capture import STALL_S, CaptureBackend, CapturedBlock, LossDetector, read_capture
from stream_mer.sources.devices import InputDevice, choose_device
from stream_mer.sources.quiet import silenced_stderr
from stream_mer.types import AudioChunk

_LOG = logging.getLogger(__name__)

_BLOCK_S = 0.02
_HELD_S = 2.0
"""How much audio may wait to be read before the oldest is dropped."""

_MAX_CHANNELS = 2
"""Sound servers offer 32 channels on everything, large interfaces have dozens of inputs: the first two are heard."""

_CLOSE_S = 2.0
"""How long closing may take: PortAudio waits for good on a sound server that no longer answers."""

_BUSY_S = 10.0
"""How long to wait for another thread that is inside PortAudio before giving up on it."""

# PortAudio may be started, ended, and asked to open and close by one thread at a time.
_PORTAUDIO = threading.Lock()


class MicrophoneSource:
    """A sound input, by its name.

    Late audio is dropped: about 2 s may wait. What was dropped, and what the sound server lost, shows as a gap in
    ``start_sample``. Channels are averaged.

    Args:
        device: Whole name, or a part that fits one device alone; None for the default input.
        backend: The way to the devices; PortAudio by default.
        stall_s: After so long without audio the iteration ends with an error, seconds.

    Raises:
        DeviceError: No such device (the message lists those that exist), or PyAudio is not installed.
    """

    live = True

    def __init__(
        self, device: str | None = None, *, backend: CaptureBackend | None = None, stall_s: float = STALL_S
    ) -> None:
        self._backend: CaptureBackend = PortAudioBackend() if backend is None else backend
        self.device = choose_device(device, self._backend.devices())
        self.name = self.device.name
        self._stall_s = stall_s
        self._closed = threading.Event()

    def chunks(self) -> Iterator[AudioChunk]:
        """Open the device and yield what it hears until ``close`` is called.

        Raises:
            DeviceError: The device cannot be opened, is gone, or gives no audio for ``stall_s``.
        """
        if self._closed.is_set():
            return
        capture = self._backend.open(self.device)
        try:
            yield from read_capture(capture, stop=self._closed, stall_s=self._stall_s)
        finally:
            capture.close()

    def close(self) -> None:
        self._closed.set()


def list_devices() -> tuple[InputDevice, ...]:
    """Sound inputs of this machine, in the system's order; empty if there are none.

    Raises:
        DeviceError: PyAudio is not installed, or PortAudio cannot start.
    """
    return PortAudioBackend().devices()


class PortAudioBackend:
    """Sound devices through PortAudio."""

    def devices(self) -> tuple[InputDevice, ...]:
        portaudio = _start()
        try:
            return tuple(device for _, device in _indexed_devices(portaudio))
        finally:
            with _portaudio_alone():
                portaudio.terminate()

    def open(self, device: InputDevice) -> PortAudioCapture:
        """Start to capture from a device, found again by its name and host API.

        Raises:
            DeviceError: The device is gone or busy.
        """
        portaudio = _start()
        try:
            wanted = (device.name, device.host_api)
            found = [
                (index, each) for index, each in _indexed_devices(portaudio) if (each.name, each.host_api) == wanted
            ]
            if not found:
                raise DeviceError(f"the sound input {device.name!r} is gone; connect it again and restart")  # noqa: TRY301  # one place frees PortAudio
            index, present = found[0]
            return PortAudioCapture(portaudio, index, present)
        except BaseException:
            with _portaudio_alone():
                portaudio.terminate()
            raise


class PortAudioCapture:
    """One open PortAudio stream in callback mode: a blocking read would hang for good if the sound server died.

    Args:
        portaudio: A started ``pyaudio.PyAudio``, which ends with this capture.
        index: The device's number in it.
        device: The device.

    Raises:
        DeviceError: The device is gone or busy.
    """

    def __init__(self, portaudio: Any, index: int, device: InputDevice) -> None:
        import pyaudio  # noqa: PLC0415  # an extra: whoever has no microphone needs no PortAudio

        self.device = device
        self.rate_hz = device.rate_hz
        self.blocks: Mailbox[CapturedBlock] = Mailbox(capacity=round(_HELD_S / _BLOCK_S), when_full="drop_oldest")
        self._channels = min(_MAX_CHANNELS, device.channels)
        self._position = 0
        self._losses = LossDetector(device.rate_hz)
        self._verdict = (None, pyaudio.paContinue), (None, pyaudio.paComplete)
        self._portaudio = portaudio
        self._closing: threading.Thread | None = None
        try:
            with _portaudio_alone():
                self._stream = portaudio.open(
                    format=pyaudio.paFloat32,
                    rate=self.rate_hz,
                    channels=self._channels,
                    input=True,
                    input_device_index=index,
                    frames_per_buffer=round(_BLOCK_S * self.rate_hz),
                    stream_callback=self._take,
                )
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"cannot open the sound input {device.name!r} ({_reason(error)}); "
                "close other programs that use it, or choose another with --source mic:NAME"
            ) from error

    def _take(self, data: bytes, _count: int, _times: Mapping[str, float], _flags: int) -> tuple[None, int]:
        """Called by PortAudio's own thread for each block: must neither wait nor raise."""
        go_on, enough = self._verdict
        now = time.monotonic()
        samples = np.frombuffer(data, np.float32).reshape(-1, self._channels)
        lost = self._losses.observe(len(samples), now)
        if lost:
            _LOG.warning("%s: the sound server lost %.2f s of audio", self.device.name, lost / self.rate_hz)
        self._position += lost
        block = CapturedBlock(start=self._position, samples=samples, captured_at=now)
        self._position += len(samples)
        try:
            self.blocks.put(block)
        except MailboxClosed:
            return enough
        return go_on

    def is_active(self) -> bool:
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def close(self) -> None:
        self.blocks.close()
        if self._closing is not None:
            return
        # In a thread that can be left behind: with a stalled server these calls never return.
        self._closing = threading.Thread(target=self._shut, name="portaudio-close", daemon=True)
        self._closing.start()
        self._closing.join(_CLOSE_S)
        if self._closing.is_alive():
            _LOG.warning("%s: the sound server does not answer; its device is left open", self.device.name)

    def _shut(self) -> None:
        with _portaudio_alone(silenced_s=_CLOSE_S / 2):
            try:
                self._stream.close()
            except OSError as error:  # The device is gone: there is nothing left to close.
                _LOG.debug("closing %s: %s", self.device.name, error)
            self._portaudio.terminate()


@contextmanager
def _portaudio_alone(*, silenced_s: float = 5.0) -> Iterator[None]:
    """Be the only thread inside PortAudio, with its noise silenced.

    Raises:
        DeviceError: Another thread has been inside for ``_BUSY_S``.
    """
    if not _PORTAUDIO.acquire(timeout=_BUSY_S):
        raise DeviceError("PortAudio hangs in a sound server that does not answer; restart the server and stream-mer")
    try:
        with silenced_stderr(silenced_s):
            yield
    finally:
        _PORTAUDIO.release()


def _start() -> Any:
    try:
        import pyaudio  # noqa: PLC0415  # an extra: whoever has no microphone needs no PortAudio
    except ImportError as error:
        raise DeviceError(
            "the microphone needs PyAudio: pip install 'stream-mer[mic]' "
            "(on Debian and Ubuntu first: apt install portaudio19-dev)"
        ) from error
    try:
        with _portaudio_alone():
            return pyaudio.PyAudio()
    except OSError as error:
        raise DeviceError(f"PortAudio cannot start ({_reason(error)}); check the sound system") from error


def _indexed_devices(portaudio: Any) -> list[tuple[int, InputDevice]]:
    """Every input with its number, which holds for this start of PortAudio alone."""
    with _portaudio_alone():
        try:
            default_index = portaudio.get_default_input_device_info()["index"]
        except OSError:
            default_index = None
        found = []
        for index in range(portaudio.get_device_count()):
            info = portaudio.get_device_info_by_index(index)
            if info["maxInputChannels"] < 1:
                continue
            name = _text(info["name"])
            device = InputDevice(
                name=name,
                host_api=_text(portaudio.get_host_api_info_by_index(info["hostApi"])["name"]),
                channels=int(info["maxInputChannels"]),
                rate_hz=round(info["defaultSampleRate"]),
                is_default=index == default_index,
                is_monitor="monitor" in name.casefold(),
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
