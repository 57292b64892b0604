"""The whole command with a real sound server: inputs with their levels, and a source that changes while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from talking import Message, Talk, talking

from stream_mer.sources.devices import PULSE_DEVICE
from stream_mer.sources.microphone import list_devices

pytestmark = [pytest.mark.pulse, pytest.mark.timeout(300)]

DESK, SILENT = "mic:Monitor of Desk", "mic:Monitor of Null Output"


@pytest.fixture
def desk(sound_server: Any, tmp_path: Path) -> Iterator[None]:
    """A null sink called Desk, on which a tone plays, beside the default one, on which nothing does."""
    pytest.importorskip("pulsectl", reason="comes with the extra 'mic'")
    if not any(device.name == PULSE_DEVICE for device in list_devices()):
        pytest.skip("ALSA's Pulse plugin is not installed")
    module = sound_server.run(
        "pactl", "load-module", "module-null-sink", "sink_name=desk", "sink_properties=device.description=Desk"
    )
    tone = tmp_path / "tone.raw"
    samples = 0.5 * 32_767 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    tone.write_bytes(samples.astype("<i2").tobytes() * 600)
    player = sound_server.popen("pacat", "--device=desk", "--format=s16le", "--rate=44100", "--channels=1", str(tone))
    yield
    player.kill()
    player.wait(10)
    sound_server.run("pactl", "unload-module", module.strip())


async def levels_until(client: Talk, is_right: Callable[[dict[str, Message]], bool]) -> dict[str, Message]:
    """Watch the inputs until their levels are right; a fresh process takes a moment to deliver."""
    while True:
        await client.ask("setup", action="watch_inputs", seconds=30)
        for _ in range(100):
            update = await client.until("setup.update")
            levels = {one["source"]: one for one in update["levels"]}
            if is_right(levels):
                return levels


def is_loud(level: Message | None) -> bool:
    return level is not None and level["rms_db"] is not None and level["rms_db"] > -30


@pytest.mark.usefixtures("desk")
async def test_a_device_is_chosen_by_its_level_and_the_stream_goes_on(
    started: Callable[..., Any], tiny_model: Path
) -> None:
    process = started("-m", "stream_mer", "serve", "--model", tiny_model, "--no-lyrics", "--port", "0", "--config", "")
    address = process.word_after("websocket")
    async with talking(address) as client, talking(address) as audience:
        await client.ask("identify", subscribe=[])
        await audience.ask("identify", subscribe=[{"events": ["emotion", "status"]}])
        answer = (await client.ask("setup", action="inputs"))["setup"]
        listed = {one["source"]: one for one in answer["inputs"]}
        assert listed[DESK]["kind"] == listed[SILENT]["kind"] == "monitor"
        assert listed[SILENT]["default"]
        assert listed["demo"]["in_use"]

        levels = await levels_until(client, lambda now: is_loud(now.get(DESK)) and now[SILENT]["rms_db"] is not None)
        assert levels[SILENT]["rms_db"] < -80
        await client.ask("setup", action="watch_inputs", seconds=0)

        before = await audience.until("emotion")
        result = await client.ask("setup", action="apply", changes={"source": DESK, "hop_s": 0.25})
        assert result["ok"], result
        assert result["setup"]["state"]["streams"][0]["device"] == DESK.removeprefix("mic:")
        status = await audience.until("status", device=DESK.removeprefix("mic:"), source="live")
        while status["lost_samples"] == 0:
            status = await audience.until("status")
        frame = await audience.until("emotion")
        assert frame["index"] > before["index"]
        assert frame["t1"] > before["t1"]

        levels = await levels_until(client, lambda now: is_loud(now.get(DESK)))
        assert levels[DESK]["error"] is None

        result = await client.ask("setup", action="apply", changes={"channels": "2", "gain_db": -12})
        assert result["ok"], result
        refused = await client.ask("setup", action="apply", changes={"channels": "7"})
        assert "channel 7" in refused["error"]["message"]
        after = await audience.until("emotion")
        assert after["index"] > frame["index"]
        result = await client.ask("setup", action="apply", changes={"source": "monitor"})
        assert result["ok"], result
        await audience.until("status", device="monitor")
    code, text = process.end()
    assert code == 0, text
