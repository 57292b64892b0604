"""What can be listened to, and how loud it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from helpers import FakeClock, wait_for

from stream_mer.audio.levels import Level
from stream_mer.errors import DeviceError
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.inputs import MAX_METERS, Input, InputMeters, kind_of_source, list_inputs
from stream_mer.sources.microphone import ChannelLevel, Reading


def device(name: str, **values: object) -> InputDevice:
    return InputDevice(**({"name": name, "host_api": "ALSA", "channels": 2, "rate_hz": 48_000} | values))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("mic", "mic"),
        ("mic:USB", "mic"),
        ("monitor", "monitor"),
        ("demo", "demo"),
        ("remote", "remote"),
        ("-", "stdin"),
        ("http://host/live", "address"),
        ("set.flac", "file"),
    ],
)
def test_kinds(spec, kind) -> None:
    assert kind_of_source(spec) == kind


def test_sources_of_the_sound_server_stand_for_its_aliases() -> None:
    found = [
        device("hw:0", channels=8),
        device("pulse", channels=32),
        device("default", channels=32, is_default=True),
        device("Monitor of Speakers", host_api="PulseAudio", server_name="spk.monitor", is_monitor=True),
        device("Desk", host_api="PulseAudio", server_name="desk", is_default=True),
    ]
    inputs, why = list_inputs(lambda: found)
    assert [(one.source, one.kind, one.channels, one.is_default) for one in inputs] == [
        ("monitor", "monitor", None, False),
        ("mic:Desk", "mic", 2, True),
        ("mic:Monitor of Speakers", "monitor", 2, False),
        ("mic:hw:0", "mic", 8, False),
        ("demo", "demo", None, False),
        ("remote", "remote", None, False),
    ]
    assert why == ""


def test_a_device_under_several_sound_interfaces_is_listed_once() -> None:
    found = [device("Mic", host_api="MME"), device("Line"), device("Mic", host_api="WASAPI", channels=8)]
    inputs, _ = list_inputs(lambda: found)
    assert [(one.source, one.channels) for one in inputs[:2]] == [("mic:Mic", 2), ("mic:Line", 2)]


def test_without_a_sound_server_the_default_device_is_first_and_there_is_no_monitor() -> None:
    inputs, _ = list_inputs(lambda: [device("Line"), device("Mic", is_default=True)])
    assert [one.source for one in inputs] == ["mic:Mic", "mic:Line", "demo", "remote"]


def test_where_devices_cannot_be_listed_the_reason_is_told() -> None:
    def fail() -> tuple[InputDevice, ...]:
        raise DeviceError("the microphone needs PyAudio")

    inputs, why = list_inputs(fail)
    assert [one.source for one in inputs] == ["demo", "remote"]
    assert "PyAudio" in why


class Meter:
    """Gives readings until it is closed."""

    def __init__(self, *levels: float, error: Exception | None = None) -> None:
        self.levels, self.error = levels, error
        self.opened = 0
        self.closed = threading.Event()

    def __call__(self, duration_s: float) -> Iterator[Reading]:
        assert duration_s > 60
        self.opened += 1
        try:
            if self.error is not None:
                raise self.error
            while True:
                now = tuple(
                    ChannelLevel(channel=i, level=Level(peak_dbfs=level + 3, rms_dbfs=level), clipped_samples=0)
                    for i, level in enumerate(self.levels, 1)
                )
                yield Reading(now=now, whole=now, audio_s=0.1)
                threading.Event().wait(0.005)
        finally:
            self.closed.set()


def named(name: str, meter: Meter | None) -> Input:
    return Input(source=name, name=name, kind="mic", meter=meter)


def test_each_input_is_measured_until_the_time_is_over() -> None:
    clock, meters = FakeClock(), None
    loud, broken = Meter(-30.0, -12.0), Meter(error=DeviceError("busy"))
    meters = InputMeters(clock=clock)
    inputs = [named("loud", loud), named("broken", broken), named("file", None)]
    meters.watch(inputs, 5.0)
    wait_for(lambda: meters.readings()["loud"].rms_db == -12.0 and meters.readings()["broken"].error)
    assert meters.readings()["loud"].peak_db == -9.0
    assert meters.readings()["broken"].rms_db is None
    assert set(meters.readings()) == {"loud", "broken"}
    clock.now += 4.0
    meters.watch(inputs[:1], 5.0)  # renewed: the same process goes on
    clock.now += 4.0
    assert meters.readings()["loud"].rms_db == -12.0
    assert loud.opened == 1
    clock.now += 2.0
    assert meters.readings() == {}
    assert loud.closed.wait(30)


def test_only_so_many_are_opened_and_stopping_closes_them() -> None:
    all_meters = [Meter(-20.0) for _ in range(MAX_METERS + 3)]
    meters = InputMeters()
    meters.watch([named(str(i), meter) for i, meter in enumerate(all_meters)], 60.0)
    wait_for(lambda: sum(meter.opened for meter in all_meters) == MAX_METERS)
    meters.stop()
    assert meters.readings() == {}
    assert all(meter.closed.wait(30) for meter in all_meters if meter.opened)
    assert sum(meter.opened for meter in all_meters) == MAX_METERS
