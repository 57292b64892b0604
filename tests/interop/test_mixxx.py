"""Mixxx plays a track into an output without hardware: what a DJ plays on the same laptop is heard."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import wait_for
from interop.programs import Listener, PipeWire, Program, Serve, need

RATE_HZ = 44_100

# Without a skin of many widgets and without waveforms it also runs without a graphics card.
SETTINGS = """\
[Config]
ResizableSkin Shade
[Keyboard]
Enabled 1
[Library]
RescanOnStartup 0
[Waveform]
WaveformType 0
"""
SOUND = """\
<!DOCTYPE SoundManagerConfig>
<SoundManagerConfig api="ALSA" samplerate="44100" latency="6" deck_count="2" sync_buffers="2" force_network_clock="0">
 <SoundDevice name="pulse" portAudioIndex="0">
  <output type="Master" channel="0" channel_count="2" index="0"/>
 </SoundDevice>
</SoundManagerConfig>
"""


def track(path: Path) -> Path:
    """Five minutes of a tone, faded in and out 4 times a second."""
    t = np.arange(RATE_HZ) / RATE_HZ
    second = 0.4 * np.sin(2 * np.pi * 440 * t) * np.sin(2 * np.pi * 2 * t) ** 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((second * 32767).astype("<i2").tobytes() * 300)
    return path


@pytest.fixture
def mixxx(pipewire: PipeWire, start: Callable[..., Program], home: Path, display: str) -> Callable[[str], None]:
    """Starts Mixxx with a track in the right deck, whose key is l; returns a function that presses a key."""
    need("mixxx", "mixxx")
    need("xdotool", "xdotool")
    pipewire.start("hall")
    folder = home / "mixxx"
    (folder / "settings").mkdir(parents=True)
    (folder / "settings" / "mixxx.cfg").write_text(SETTINGS)
    (folder / "settings" / "soundconfig.xml").write_text(SOUND)
    song = str(track(folder / "song.wav"))
    env = pipewire.env | {"HOME": str(folder), "DISPLAY": display}
    program = start("mixxx", ["mixxx", "--settingsPath", f"{folder}/settings/", song, song], env=env)

    def xdotool(*arguments: str) -> list[str]:
        """Return the lines that it printed; none where it failed."""
        told = os.environ | {"DISPLAY": display}
        done = subprocess.run(["xdotool", *arguments], check=False, capture_output=True, text=True, env=told)
        return done.stdout.splitlines() if done.returncode == 0 else []

    def is_open() -> bool:
        assert program.process.poll() is None, program.text()
        if xdotool("search", "--name", "Choose music"):
            xdotool("key", "Escape")
        time.sleep(1)
        return "mixxx" in pipewire.run("pactl", "list", "sink-inputs")

    def press(key: str) -> None:
        for window in xdotool("search", "--name", "Mixxx"):  # one of them is visible
            xdotool("windowfocus", window, "key", key)

    wait_for(is_open, "output of Mixxx", patience_s=200)
    return press


@pytest.mark.timeout(600)
def test_a_track_of_mixxx_is_heard(
    mixxx: Callable[[str], None], pipewire: PipeWire, serve: Callable[..., Serve], listen: Callable[[str], Listener]
) -> None:
    server = serve("--source", "monitor", env=pipewire.env)
    client = listen(server.url)
    wait_for(lambda: client.sources[-1:] == ["silent"], "silence")

    def level() -> float:
        return float(client.get("levels", "rms_db") or -120.0)

    for _ in range(10):  # a key that comes while the track is still being loaded does nothing
        mixxx("l")
        with contextlib.suppress(AssertionError):
            wait_for(lambda: level() > -30.0, "music", patience_s=15)
            break
    assert level() > -60.0
    wait_for(lambda: client.sources[-1:] == ["live"], "the state of the source")
    frame = client.get("emotion", "index")
    wait_for(lambda: client.get("emotion", "index") > frame + 4, "frames")
    mixxx("l")
    wait_for(lambda: client.sources[-1:] == ["silent"], "silence after the pause")
