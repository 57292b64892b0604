"""The microphone's own logic, without a sound card; the real thing is in tests/integration."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from stream_mer.audio.levels import Level
from stream_mer.cli.devices import show_meter, verdict
from stream_mer.errors import DeviceError, SettingError
from stream_mer.sources import microphone
from stream_mer.sources.capture import Health
from stream_mer.sources.capture_child import DEFAULT_MONITOR, move_to_source
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import ChannelLevel, MicrophoneSource, Reading, read_meter
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
        return Health(alive_at=now, opened_at=now, audio_at=now)

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


def device(name: str, *, is_monitor: bool = False) -> InputDevice:
    return InputDevice(name=name, host_api="ALSA", channels=2, rate_hz=44_100, is_monitor=is_monitor)


@pytest.mark.parametrize(
    ("names", "asked", "wanted"),
    [
        # Which device, which source of the sound server, and on which one it is kept.
        (("USB", "pulse"), None, ("pulse", "@DEFAULT_MONITOR@", "@DEFAULT_MONITOR@")),
        (("USB", "pulse"), "desk.monitor", ("pulse", "desk.monitor", "desk.monitor")),
        (("USB", "BlackHole 2ch"), None, ("BlackHole 2ch", None, "")),
    ],
)
def test_the_sound_servers_own_way_first_then_a_loopback_by_name(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], asked: str | None, wanted: tuple[str, str | None, str]
) -> None:
    there = tuple(device(name, is_monitor=name.startswith("Black")) for name in names)
    opened = []

    class Backend:
        def __init__(self, *, environment: dict[str, str] | None = None, kept_source: str = "") -> None:
            opened.append(((environment or {}).get("PULSE_SOURCE"), kept_source))

        def devices(self) -> tuple[InputDevice, ...]:
            return there

    monkeypatch.setattr(microphone, "PortAudioBackend", Backend)
    monkeypatch.setattr("stream_mer.sources.microphone.PortAudioBackend", Backend)
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    if asked:
        monkeypatch.setenv("PULSE_SOURCE", asked)
    source = microphone.open_monitor()
    assert (source.device.name, *opened[-1]) == wanted
    assert source.name == "monitor"


def test_with_the_sound_server_out_of_reach_the_error_names_it_and_no_package_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "libasound_module_pcm_pulse.so"
    plugin.touch()
    monkeypatch.setattr(microphone, "_PLUGINS", (str(plugin.relative_to("/")),))
    with pytest.raises(DeviceError, match=r"sound server \(PulseAudio or PipeWire\) cannot be reached") as refused:
        microphone.open_monitor(devices=())
    assert "libasound2-plugins" not in str(refused.value)


def test_where_nothing_hears_it_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "_PLUGINS", ())
    with pytest.raises(DeviceError, match=r"libasound2-plugins.*Stereo Mix.*BlackHole"):
        microphone.open_monitor(devices=(device("USB"),))


class Pulse:
    """A sound server with two outputs, and streams that record their monitors."""

    def __init__(self, default: str, streams: dict[int, tuple[int, int]]) -> None:
        self.default = default
        self.streams = streams  # index: (process, source)

    def server_info(self) -> SimpleNamespace:
        return SimpleNamespace(default_sink_name=self.default)

    def sink_list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="desk", monitor_source=10), SimpleNamespace(name="hdmi", monitor_source=20)]

    def source_list(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=f"{sink.name}.monitor", index=sink.monitor_source) for sink in self.sink_list()]

    def source_output_list(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(index=index, source=source, proplist={"application.process.id": str(process)})
            for index, (process, source) in self.streams.items()
        ]

    def source_output_move(self, index: int, source: int) -> None:
        self.streams[index] = (self.streams[index][0], source)


def test_only_the_streams_of_the_process_move_to_the_default_output() -> None:
    pulse = Pulse("hdmi", {1: (7, 10), 2: (8, 10), 3: (7, 20)})
    move_to_source(pulse, 7, DEFAULT_MONITOR)
    assert pulse.streams == {1: (7, 20), 2: (8, 10), 3: (7, 20)}
    pulse.default = "gone"
    move_to_source(pulse, 7, DEFAULT_MONITOR)
    assert pulse.streams == {1: (7, 20), 2: (8, 10), 3: (7, 20)}


def test_the_streams_of_the_process_stay_on_a_named_source_whatever_is_the_default() -> None:
    pulse = Pulse("hdmi", {1: (7, 20), 2: (8, 20), 3: (7, 10)})
    move_to_source(pulse, 7, "desk.monitor")
    assert pulse.streams == {1: (7, 10), 2: (8, 20), 3: (7, 10)}
    move_to_source(pulse, 7, "unplugged.monitor")
    assert pulse.streams == {1: (7, 10), 2: (8, 20), 3: (7, 10)}


RATE_HZ = 48_000
DEVICE = InputDevice(name="Desk", host_api="none", channels=4, rate_hz=RATE_HZ)


class Capture:
    """Gives 1 s of a sine on each channel: the first at full scale, each next one 20 dB less, the last clipped."""

    rate_hz = RATE_HZ

    def __init__(self, channels: int, trouble: str | None) -> None:
        self.blocks: Mailbox[CapturedBlock] = Mailbox(capacity=100, when_full="drop_oldest")
        self._trouble = trouble
        sine = np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
        gains = 10.0 ** -np.arange(channels)
        audio = (sine[:, None] * gains).astype(np.float32)
        if channels == DEVICE.channels:
            audio[:, -1] = np.clip(2 * sine, -1, 1)
        for start in range(0, RATE_HZ, 960):
            self.blocks.put(CapturedBlock(start=start, samples=audio[start : start + 960], captured_at=0.0))

    def health(self) -> Health:
        return Health(alive_at=time.monotonic(), trouble=self._trouble)

    def close(self) -> None:
        self.blocks.close()


class Backend:
    def __init__(self, trouble: str | None = None) -> None:
        self._trouble = trouble
        self.captures: list[Capture] = []

    def devices(self) -> tuple[InputDevice, ...]:
        return (DEVICE,)

    def open(self, _device: InputDevice, channels: int) -> Capture:
        self.captures.append(Capture(channels, self._trouble))
        return self.captures[-1]


def test_each_channel_is_measured_by_itself() -> None:
    readings = list(read_meter(Backend(), DEVICE, channels=(1, 2, 4), duration_s=0.85))
    assert [round(reading.audio_s, 2) for reading in readings] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    loud, soft, clipped = readings[-1].whole
    assert (loud.channel, soft.channel, clipped.channel) == (1, 2, 4)
    assert (loud.level.peak_dbfs, loud.level.rms_dbfs) == pytest.approx((0.0, -3.0), abs=0.05)
    assert (soft.level.peak_dbfs, soft.level.rms_dbfs) == pytest.approx((-20.0, -23.0), abs=0.05)
    assert clipped.clipped_samples > 10_000
    assert soft.clipped_samples == 0
    assert readings[3].now[1].level.rms_dbfs == pytest.approx(-23.0, abs=0.05)


def test_a_device_in_trouble_is_an_error_that_names_it_and_is_closed() -> None:
    backend = Backend("is gone (unplugged)")
    with pytest.raises(DeviceError, match=r"'Desk' is gone \(unplugged\); check its connection"):
        list(read_meter(backend, DEVICE, channels=(1,), duration_s=5))
    assert backend.captures[0].blocks.statistics().waiting == 0


def level(peak_dbfs: float, *, clipped: int = 0) -> ChannelLevel:
    return ChannelLevel(channel=3, level=Level(peak_dbfs=peak_dbfs, rms_dbfs=peak_dbfs - 12), clipped_samples=clipped)


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (level(0.0, clipped=3), "turn the input down"),
        (level(-120), "silent"),
        (level(-50), "turn the input up"),
        (level(-20), "add --gain 17"),
        (level(-9), "good"),
    ],
)
def test_the_verdict_says_what_to_do(measured: ChannelLevel, says: str) -> None:
    assert says in verdict(measured)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_meter_ends_with_one_line_for_each_channel(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    reading = Reading(now=(level(-9, clipped=4),), whole=(level(-3),), audio_s=0.1)
    show_meter([reading, reading], name="Desk [2]", console=console)
    lines = out.getvalue().splitlines()
    assert lines[0] == "Desk [2]"
    assert lines[-1].endswith("channel 3   peak   -3.0 dBFS  rms  -15.0 dBFS  good")
    assert any("█" in line and "TOO LOUD" in line for line in lines) is terminal
