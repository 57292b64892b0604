"""What a real sound server plays, heard without a cable, whatever its default input is."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from click.testing import CliRunner

from stream_mer.cli.devices import command as devices
from stream_mer.errors import DeviceError
from stream_mer.sources.capture_child import LOOK_S
from stream_mer.sources.microphone import open_monitor
from stream_mer.types import SAMPLE_RATE_HZ

pytestmark = pytest.mark.pulse


def test_the_default_output_is_heard_though_the_default_input_is_another(sound_server, stage, until_heard) -> None:
    sound_server.run("pactl", "load-module", "module-null-sink", "sink_name=other")
    sound_server.run("pactl", "set-default-source", "other.monitor")
    try:
        source = open_monitor()
    except DeviceError as error:
        pytest.skip(str(error))
    stage.play()
    measured = until_heard(
        lambda: CliRunner().invoke(devices, ["monitor", "--meter", "--seconds", "2"]),
        lambda measured: measured.exit_code != 0 or "silent" not in measured.output,
    )
    assert measured.exit_code == 0, measured.output
    assert measured.output.splitlines()[0] == "monitor"
    assert measured.output.count("dBFS") == 4, measured.output
    assert "silent" not in measured.output
    peak = 0.0
    for chunk in source.chunks():
        peak = max(peak, float(np.abs(chunk.samples).max()))
        if peak > 0.2 or chunk.end_sample > 60 * SAMPLE_RATE_HZ:
            source.close()
    assert peak > 0.2, "the clicks of the output are not to be heard"


def recorded_source(sound_server, process_id: int) -> str | None:
    """The name of the source that a process records."""
    outputs = json.loads(sound_server.run("pactl", "--format=json", "list", "source-outputs"))
    names = {
        one["index"]: one["name"] for one in json.loads(sound_server.run("pactl", "--format=json", "list", "sources"))
    }
    own = [one for one in outputs if one["properties"].get("application.process.id") == str(process_id)]
    return names.get(own[0]["source"]) if own else None


@pytest.mark.parametrize("named", [None, "mer_sink.monitor"])
def test_it_follows_the_default_output_and_a_named_one_does_not_move(
    named, sound_server, until_heard, monkeypatch
) -> None:
    pytest.importorskip("pulsectl", reason="comes with the extra 'mic'")
    sound_server.run("pactl", "load-module", "module-null-sink", "sink_name=other")
    if named:
        monkeypatch.setenv("PULSE_SOURCE", named)
    try:
        source = open_monitor()
    except DeviceError as error:
        pytest.skip(str(error))
    capture = source._backend.open(source.device, 2)
    try:
        assert until_heard(lambda: recorded_source(sound_server, capture.pid), bool) == "mer_sink.monitor"
        sound_server.run("pactl", "set-default-sink", "other")
        if named is None:
            assert (
                until_heard(lambda: recorded_source(sound_server, capture.pid), lambda name: name == "other.monitor")
                == "other.monitor"
            )
            sound_server.run("pactl", "set-default-sink", "mer_sink")
            wanted = "mer_sink.monitor"
            assert (
                until_heard(lambda: recorded_source(sound_server, capture.pid), lambda name: name == wanted) == wanted
            )
        else:
            for _ in range(3):  # it has had the time to move
                assert capture.blocks.get(timeout_s=30.0)
                time.sleep(LOOK_S / 2)
            assert recorded_source(sound_server, capture.pid) == named
        assert capture.health().trouble is None  # without an interruption
    finally:
        capture.close()
        sound_server.run("pactl", "set-default-sink", "mer_sink")
