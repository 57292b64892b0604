"""Which device hears what the machine plays."""

from __future__ import annotations

import pytest

from stream_mer.errors import DeviceError
from stream_mer.sources import monitor
from stream_mer.sources.devices import InputDevice


def device(name: str, *, is_monitor: bool = False) -> InputDevice:
    return InputDevice(name=name, host_api="ALSA", channels=2, rate_hz=44_100, is_monitor=is_monitor)


@pytest.mark.parametrize(
    ("names", "asked", "wanted"),
    [
        (("USB", "pulse"), None, ("pulse", "@DEFAULT_MONITOR@")),
        (("USB", "pulse"), "desk.monitor", ("pulse", "desk.monitor")),
        (("USB", "BlackHole 2ch"), None, ("BlackHole 2ch", None)),
    ],
)
def test_the_sound_servers_own_way_first_then_a_loopback_by_name(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], asked: str | None, wanted: tuple[str, str | None]
) -> None:
    there = tuple(device(name, is_monitor=name.startswith("Black")) for name in names)
    opened = []

    class Backend:
        def __init__(self, *, environment: dict[str, str] | None = None) -> None:
            opened.append((environment or {}).get("PULSE_SOURCE"))

        def devices(self) -> tuple[InputDevice, ...]:
            return there

    monkeypatch.setattr(monitor, "PortAudioBackend", Backend)
    monkeypatch.setattr("stream_mer.sources.microphone.PortAudioBackend", Backend)
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    if asked:
        monkeypatch.setenv("PULSE_SOURCE", asked)
    source = monitor.open_monitor()
    assert (source.device.name, opened[-1]) == wanted
    assert source.name == "monitor"


def test_where_nothing_hears_it_the_error_says_what_to_install() -> None:
    with pytest.raises(DeviceError, match=r"libasound2-plugins.*Stereo Mix.*BlackHole"):
        monitor.open_monitor(devices=(device("USB"),))
