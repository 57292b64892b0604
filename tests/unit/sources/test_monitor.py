"""Which device hears what the machine plays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stream_mer.errors import DeviceError
from stream_mer.sources import microphone
from stream_mer.sources.capture_child import move_to_default_output
from stream_mer.sources.devices import InputDevice


def device(name: str, *, is_monitor: bool = False) -> InputDevice:
    return InputDevice(name=name, host_api="ALSA", channels=2, rate_hz=44_100, is_monitor=is_monitor)


@pytest.mark.parametrize(
    ("names", "asked", "wanted"),
    [
        # Which device, which source of the sound server, and whether it follows the default output.
        (("USB", "pulse"), None, ("pulse", "@DEFAULT_MONITOR@", True)),
        (("USB", "pulse"), "desk.monitor", ("pulse", "desk.monitor", False)),
        (("USB", "BlackHole 2ch"), None, ("BlackHole 2ch", None, False)),
    ],
)
def test_the_sound_servers_own_way_first_then_a_loopback_by_name(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], asked: str | None, wanted: tuple[str, str | None, bool]
) -> None:
    there = tuple(device(name, is_monitor=name.startswith("Black")) for name in names)
    opened = []

    class Backend:
        def __init__(self, *, environment: dict[str, str] | None = None, follow_default_output: bool = False) -> None:
            opened.append(((environment or {}).get("PULSE_SOURCE"), follow_default_output))

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

    def source_output_list(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(index=index, source=source, proplist={"application.process.id": str(process)})
            for index, (process, source) in self.streams.items()
        ]

    def source_output_move(self, index: int, source: int) -> None:
        self.streams[index] = (self.streams[index][0], source)


def test_only_the_streams_of_the_process_move_to_the_default_output() -> None:
    pulse = Pulse("hdmi", {1: (7, 10), 2: (8, 10), 3: (7, 20)})
    move_to_default_output(pulse, 7)
    assert pulse.streams == {1: (7, 20), 2: (8, 10), 3: (7, 20)}
    pulse.default = "gone"
    move_to_default_output(pulse, 7)
    assert pulse.streams == {1: (7, 20), 2: (8, 10), 3: (7, 20)}
