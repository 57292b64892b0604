"""The microphone's own logic, without a sound card; the real thing is in tests/integration."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from stream_mer.errors import DeviceError
from stream_mer.mailbox import Mailbox
from stream_mer.sources.capture import CapturedBlock
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import MicrophoneSource

DEVICES = (
    InputDevice(name="Desk Mic", host_api="ALSA", channels=1, rate_hz=16_000, is_default=True),
    InputDevice(name="Loopback Monitor", host_api="ALSA", channels=2, rate_hz=48_000, is_monitor=True),
)


class FakeCapture:
    """A device that gives one block and then waits."""

    def __init__(self, device: InputDevice) -> None:
        self.device = device
        self.rate_hz = device.rate_hz
        self.blocks: Mailbox[CapturedBlock] = Mailbox(capacity=4, when_full="drop_oldest")
        self.blocks.put(CapturedBlock(start=0, samples=np.ones((16_000, 1), np.float32), captured_at=1.0))
        self.closed = 0

    def is_active(self) -> bool:
        return True

    def close(self) -> None:
        self.closed += 1


class FakeBackend:
    def __init__(self) -> None:
        self.captures: list[FakeCapture] = []

    def devices(self) -> tuple[InputDevice, ...]:
        return DEVICES

    def open(self, device: InputDevice) -> FakeCapture:
        self.captures.append(FakeCapture(device))
        return self.captures[-1]


def test_the_default_device_is_named() -> None:
    microphone = MicrophoneSource(backend=FakeBackend())
    assert (microphone.name, microphone.live) == ("Desk Mic", True)


def test_an_unknown_device_is_told_before_anything_opens() -> None:
    backend = FakeBackend()
    with pytest.raises(DeviceError, match="'Desk Mic', 'Loopback Monitor'"):
        MicrophoneSource("Tape", backend=backend)
    assert backend.captures == []


def test_the_device_chosen_is_the_device_opened_and_closed() -> None:
    backend = FakeBackend()
    microphone = MicrophoneSource("loopback", backend=backend)
    chunks = microphone.chunks()
    next(chunks)
    chunks.close()
    (capture,) = backend.captures
    assert capture.device is DEVICES[1]
    assert capture.closed == 1


def test_close_from_another_thread_ends_the_iteration() -> None:
    backend = FakeBackend()
    microphone = MicrophoneSource(backend=backend)
    heard = threading.Event()

    def iterate() -> None:
        for _ in microphone.chunks():
            heard.set()

    thread = threading.Thread(target=iterate, daemon=True)
    thread.start()
    assert heard.wait(30)
    microphone.close()
    thread.join(30)
    assert not thread.is_alive()
    assert backend.captures[0].closed == 1


def test_a_closed_microphone_opens_nothing() -> None:
    backend = FakeBackend()
    microphone = MicrophoneSource(backend=backend)
    microphone.close()
    assert list(microphone.chunks()) == []
    assert backend.captures == []


def test_without_pyaudio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)  # makes the import fail
    with pytest.raises(DeviceError, match=r"pip install 'stream-mer\[mic\]'.*portaudio19-dev"):
        MicrophoneSource()


def test_importing_the_sources_needs_neither_pyaudio_nor_av() -> None:
    code = (
        "import sys, stream_mer.sources.catalogue;"
        "print([name for name in ('pyaudio', 'av', 'torch', 'faster_whisper') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
