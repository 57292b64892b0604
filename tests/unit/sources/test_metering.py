"""Levels of each channel by itself, and what the terminal says of them."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from rich.console import Console

from stream_mer.audio.levels import Level
from stream_mer.cli.meter import show_meter, verdict
from stream_mer.errors import DeviceError
from stream_mer.sources.capture import Health
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import ChannelLevel, Reading, read_meter
from stream_mer.sources.timeline import CapturedBlock
from stream_mer.utils.mailbox import Mailbox

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
        return Health(heard_at=time.monotonic(), trouble=self._trouble)

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
    assert [round(reading.heard_s, 2) for reading in readings] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
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
    reading = Reading(now=(level(-9, clipped=4),), whole=(level(-3),), heard_s=0.1)
    show_meter([reading, reading], name="Desk [2]", console=console)
    lines = out.getvalue().splitlines()
    assert lines[0] == "Desk [2]"
    assert lines[-1].endswith("channel 3   peak   -3.0 dBFS  rms  -15.0 dBFS  good")
    assert any("█" in line and "CLIP" in line for line in lines) is terminal
