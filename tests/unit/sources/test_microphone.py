"""The microphone's own logic, without a sound card; the real thing is in tests/integration."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from stream_mer.errors import DeviceError, SettingError
from stream_mer.sources.capture import Health
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import MicrophoneSource
from stream_mer.sources.timeline import CapturedBlock
from stream_mer.utils.mailbox import Mailbox

DEVICES = (
    InputDevice(name="Desk Mic", host_api="ALSA", channels=1, rate_hz=16_000, is_default=True),
    InputDevice(name="Loopback Monitor", host_api="ALSA", channels=2, rate_hz=48_000, is_monitor=True),
)


class FakeCapture:
    """A device that gives one block and then waits."""

    def __init__(self, device: InputDevice, channels: int) -> None:
        self.device = device
        self.rate_hz = device.rate_hz
        self.blocks: Mailbox[CapturedBlock] = Mailbox(capacity=4, when_full="drop_oldest")
        samples = np.tile(np.arange(1, channels + 1, dtype=np.float32) / 10, (16_000, 1))
        self.blocks.put(CapturedBlock(start=0, samples=samples, captured_at=time.monotonic()))
        self.closed = 0

    def health(self) -> Health:
        now = time.monotonic()
        return Health(heard_at=now, opened_at=now, audio_at=now)

    def close(self) -> None:
        self.closed += 1


class FakeBackend:
    def __init__(self) -> None:
        self.captures: list[FakeCapture] = []

    def devices(self) -> tuple[InputDevice, ...]:
        return DEVICES

    def open(self, device: InputDevice, channels: int) -> FakeCapture:
        self.captures.append(FakeCapture(device, channels))
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
    chunks.close()  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(
    ("device", "channels", "heard"),
    [("loopback", None, (1, 2)), ("loopback", (2,), (2,)), ("desk", None, (1,)), ("desk", (1,), (1,))],
)
def test_the_channels_heard(device: str, channels: tuple[int, ...] | None, heard: tuple[int, ...]) -> None:
    backend = FakeBackend()
    microphone = MicrophoneSource(device, channels=channels, gain_db=-20, backend=backend)
    chunk = next(iter(microphone.chunks()))
    assert microphone.channels == heard
    np.testing.assert_allclose(chunk.samples[1_000:2_000], 0.1 * np.mean(heard) / 10, rtol=0.001)


def test_a_channel_that_the_device_has_not_is_told_before_anything_opens() -> None:
    backend = FakeBackend()
    with pytest.raises(DeviceError, match="'Loopback Monitor' has 2 channels; there is no channel 3 and 7"):
        MicrophoneSource("loopback", channels=(2, 3, 7), backend=backend)
    assert backend.captures == []


@pytest.mark.parametrize("gain_db", [-61.0, 61.0, float("nan")])
def test_a_gain_that_cannot_be_meant(gain_db: float) -> None:
    with pytest.raises(SettingError, match="gain must be -60 to 60 dB"):
        MicrophoneSource(gain_db=gain_db, backend=FakeBackend())


def test_importing_the_sources_needs_neither_pyaudio_nor_av() -> None:
    code = (
        "import sys, stream_mer.sources.catalogue;"
        "print([name for name in ('pyaudio', 'av', 'torch', 'faster_whisper') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
