"""QLC+ under a display without a screen: what comes in over sACN, Art-Net and OSC goes through its universes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from interop.programs import DESK, Cable, Program, Serve, give, need

# With debug messages QLC+ prints each value that a passthrough universe is given: "write CHANNEL VALUE".
WORKSPACE = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE Workspace>
<Workspace xmlns="http://www.qlcplus.org/Workspace" CurrentWindow="VirtualConsole">
 <Creator><Name>Q Light Controller Plus</Name><Version>4.12.6</Version><Author>test</Author></Creator>
 <Engine>
  <InputOutputMap>
   <Universe Name="Universe 1" ID="0" Passthrough="True"><Input Plugin="{plugin}" Line="0"/></Universe>
  </InputOutputMap>
 </Engine>
 <VirtualConsole><Properties><Size Width="800" Height="600"/></Properties></VirtualConsole>
</Workspace>
"""

RIG = """\
[sacn]
interface = "10.77.0.1"
[[fixtures]]
channels = ["dimmer", "red", "green", "blue", 42]
[[fixtures]]
address = 511
channels = [43, 44]
"""


@pytest.fixture
def qlcplus(cable: Cable, start: Callable[..., Program], home: Path, display: str) -> Callable[[str], Any]:
    """Starts QLC+ at the far end, with the input of a plugin in universe 1."""
    need("qlcplus", "qlcplus")

    def run(plugin: str) -> Any:
        folder = home / "qlcplus"
        folder.mkdir(mode=0o700)
        workspace = folder / "show.qxw"
        workspace.write_text(WORKSPACE.format(plugin=plugin))
        give(folder)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "PULSE_", "QT_"))}
        env |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "DISPLAY": display}
        command = cable.desk_as_user("qlcplus", "--debug", "0", "--open", str(workspace), "--operate")
        program = start("qlcplus", command, env=env, cwd=folder)
        program.find(rf'InputPatch::set - plugin: "{re.escape(plugin)}"')
        return program

    return run


def newest(program: Any, channel: int) -> int | None:
    """The last value that was written to a channel of a universe, which counts from 0."""
    found = re.findall(rf"^write {channel} (\d+)$", program.text(), re.MULTILINE)
    return int(found[-1]) if found else None


def osc_channel(path: str) -> int:
    """The channel that QLC+ gives an OSC address: its CRC (Qt's qChecksum, that of X.25)."""
    crc = 0xFFFF
    for byte in path.encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


@pytest.mark.parametrize("plugin", ["E1.31", "ArtNet"])
def test_lamps_arrive(qlcplus: Any, cable: Cable, serve: Callable[..., Serve], home: Path, plugin: str) -> None:
    program = qlcplus(plugin)
    (home / "rig.toml").write_text(RIG)
    rig = str(home / "rig.toml")
    sent = ["--sacn", rig] if plugin == "E1.31" else ["--artnet", f"{rig}@{DESK}"]
    server = serve(*sent, at=cable.lamps)
    wait_for(lambda: (newest(program, 0) or 0) > 20, "light")
    assert [newest(program, channel) for channel in (4, 510, 511)] == [42, 43, 44]
    assert max(newest(program, channel) or 0 for channel in (1, 2, 3)) > 20
    cable.control(server.url, action="blackout")
    wait_for(lambda: newest(program, 0) == 0, "blackout")
    cable.control(server.url, action="resume")
    wait_for(lambda: (newest(program, 0) or 0) > 20, "light again")


def test_the_preset_arrives_over_osc(qlcplus: Any, cable: Cable, serve: Callable[..., Serve]) -> None:
    program = qlcplus("OSC")
    server = serve("--osc", f"qlcplus@{DESK}", at=cable.lamps)
    for name in ("valence", "arousal", "happy", "angry", "sad", "relaxed", "rms", "onset", "blackout", "alive"):
        program.find(rf'path extracted: "/mer/demo/{name}"')
    wait_for(lambda: newest(program, osc_channel("/mer/demo/alive")) == 255, "music")
    cable.control(server.url, action="override", override={"valence": 0.6, "arousal": -1.0, "ttl_s": 600.0})
    wait_for(lambda: newest(program, osc_channel("/mer/demo/valence")) == round(0.8 * 255), "valence that was sent")
    wait_for(lambda: newest(program, osc_channel("/mer/demo/arousal")) == 0, "arousal that was sent")
    cable.control(server.url, action="blackout")
    wait_for(lambda: newest(program, osc_channel("/mer/demo/blackout")) == 255, "blackout")
