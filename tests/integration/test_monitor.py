"""What a real sound server plays, heard without a cable, whatever its default input is."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from stream_mer.commands.devices import command as devices
from stream_mer.errors import DeviceError
from stream_mer.sources.monitor import open_monitor
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
