"""Sources of a real sound server, by the names that it shows to people."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from stream_mer.cli.devices import command as devices
from stream_mer.errors import DeviceError
from stream_mer.sources.devices import PULSE_DEVICE
from stream_mer.sources.microphone import MicrophoneSource, list_devices
from stream_mer.types import SAMPLE_RATE_HZ

pytestmark = pytest.mark.pulse

DESCRIPTION = "Desk of the hall"


@pytest.fixture
def desk(sound_server):
    """A null sink with a description, beside the default one, which is silent."""
    pytest.importorskip("pulsectl", reason="comes with the extra 'mic'")
    if not any(device.name == PULSE_DEVICE for device in list_devices()):
        pytest.skip("ALSA's Pulse plugin is not installed")
    described = f"sink_properties=\"device.description='{DESCRIPTION}'\""
    module = sound_server.run("pactl", "load-module", "module-null-sink", "sink_name=desk", described)
    yield sound_server
    sound_server.run("pactl", "unload-module", module.strip())


@pytest.mark.usefixtures("desk")
def test_sources_are_listed_by_their_descriptions_and_monitors_are_marked() -> None:
    listed = {device.name: device for device in list_devices() if device.server_name}
    monitor = listed[f"Monitor of {DESCRIPTION}"]
    assert (monitor.server_name, monitor.is_monitor, monitor.is_default) == ("desk.monitor", True, False)
    assert monitor.host_api == "PulseAudio"
    assert [one.server_name for one in listed.values() if one.is_default] == ["mer_sink.monitor"]
    printed = CliRunner().invoke(devices, [DESCRIPTION], env={"COLUMNS": "200"}).output
    assert f"Monitor of {DESCRIPTION}" in printed
    assert "monitor" in printed.splitlines()[-1].removeprefix("Monitor")


def test_a_source_is_captured_by_a_part_of_its_description(desk, tmp_path) -> None:
    source = MicrophoneSource(DESCRIPTION)
    assert source.device.server_name == "desk.monitor"
    tone = tmp_path / "tone.raw"
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100 * 60) / 44_100)
    tone.write_bytes(np.repeat((samples * 32_767).astype("<i2"), 2).tobytes())
    player = desk.popen("pacat", "--device=desk", "--format=s16le", "--rate=44100", "--channels=2", str(tone))
    peak = 0.0
    try:
        for chunk in source.chunks():
            if len(chunk.samples):
                peak = max(peak, float(np.abs(chunk.samples).max()))
            if peak > 0.3 or chunk.end_sample > 50 * SAMPLE_RATE_HZ:
                source.close()
    finally:
        player.kill()
        player.wait(10)
    assert peak > 0.3


@pytest.mark.usefixtures("desk")
def test_a_name_that_is_nowhere_names_those_of_the_server() -> None:
    with pytest.raises(DeviceError, match=f"Monitor of {DESCRIPTION}"):
        MicrophoneSource("no such device")
