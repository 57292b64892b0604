"""PipeWire with WirePlumber, as a desktop has it: devices, what the machine plays, another default, a restart."""

from __future__ import annotations

import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from helpers import wait_for
from interop.programs import Listener, PipeWire, Serve

RATE_HZ = 48_000


def tone(path: Path, amplitude: float, duration_s: float = 300.0) -> Path:
    """A tone of 440 Hz; its level is 20 log10(amplitude) - 3 dB."""
    second = amplitude * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((second * 32767).astype("<i2").tobytes() * round(duration_s))
    return path


def test_devices_are_listed_and_the_output_is_metered(pipewire: PipeWire, home: Path) -> None:
    pipewire.start("hall", "booth")
    command = [sys.executable, "-m", "stream_mer", "devices"]
    assert "pulse" in pipewire.run(*command)
    pipewire.play(tone(home / "loud.wav", 0.5), "hall")
    wait_for(lambda: "RUNNING" in pipewire.run("pactl", "list", "short", "sinks"), "tone")
    metered = pipewire.run(*command, "monitor", "--meter", "--seconds", "3")
    assert "silent" not in metered
    assert "dBFS" in metered


def test_the_output_is_heard_through_another_default_and_a_restart(
    pipewire: PipeWire, serve: Callable[..., Serve], listen: Callable[[str], Listener], home: Path
) -> None:
    pipewire.start("hall", "booth")
    loud, quiet = tone(home / "loud.wav", 0.5), tone(home / "quiet.wav", 0.05)
    pipewire.play(loud, "hall")
    pipewire.play(quiet, "booth")
    server = serve("--source", "monitor", env=pipewire.env)
    client = listen(server.url)

    def level(expected_db: float) -> bool:
        heard = client.get("levels", "rms_db")
        return heard is not None and abs(heard - expected_db) < 2.0

    wait_for(lambda: level(-9.0), "the loud tone of the default output")
    wait_for(lambda: client.sources[-1:] == ["live"], "the state of the source")
    pipewire.choose("booth")
    wait_for(lambda: level(-29.0), "the quiet tone of the new default output")
    assert "reconnecting" not in client.sources, "a stream is moved without an interruption"
    pipewire.choose("hall")
    wait_for(lambda: level(-9.0), "the loud tone again")

    pipewire.crash()
    wait_for(lambda: client.sources[-1:] == ["reconnecting"], "loss of the sound server")
    pipewire.start("hall", "booth")
    pipewire.play(loud, "hall")
    wait_for(lambda: level(-9.0), "the loud tone after the restart")
    wait_for(lambda: client.sources[-1:] == ["live"], "the state after the restart")


def test_a_named_monitor_stays_where_it_is(
    pipewire: PipeWire, serve: Callable[..., Serve], listen: Callable[[str], Listener], home: Path
) -> None:
    pipewire.start("hall", "booth")
    pipewire.play(tone(home / "loud.wav", 0.5), "hall")
    pipewire.play(tone(home / "quiet.wav", 0.05), "booth")
    server = serve("--source", "monitor", env=pipewire.env | {"PULSE_SOURCE": "booth.monitor"})
    client = listen(server.url)
    wait_for(lambda: abs((client.get("levels", "rms_db") or 0.0) + 29.0) < 2.0, "the quiet tone")
    pipewire.choose("booth")
    pipewire.choose("hall")
    position = client.get("levels", "t")
    wait_for(lambda: client.get("levels", "t") > position + 5.0, "five seconds more")
    assert abs(client.get("levels", "rms_db") + 29.0) < 2.0
