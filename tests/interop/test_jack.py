"""MIDI through JACK: a program that prints what it receives gets values and notes, also by a virtual port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable

import pytest
from helpers import wait_for
from interop.programs import Program, Serve, need

pytest.importorskip("rtmidi", reason="wants python-rtmidi: pip install 'stream-mer[midi]'")


@pytest.fixture
def jack(start: Callable[..., Program]) -> dict[str, str]:
    """The environment of a JACK server of its own, without a sound card."""
    need("jackd2", "jackd", "jack_midi_dump", "jack_connect", "jack_lsp")
    name = f"mer{os.getpid()}"
    env = os.environ | {"JACK_DEFAULT_SERVER": name, "JACK_NO_AUDIO_RESERVATION": "1", "JACK_NO_START_SERVER": "1"}
    start("jackd", ["jackd", "--name", name, "--no-realtime", "-d", "dummy", "-p", "1024"], env=env)
    wait_for(lambda: "system:playback_1" in ports(env), "jackd")
    return env


def ports(env: dict[str, str]) -> str:
    return subprocess.run(["jack_lsp"], env=env, check=False, timeout=20, capture_output=True, text=True).stdout


def dump(start: Callable[..., Program], env: dict[str, str], name: str) -> Program:
    program = start("jack_midi_dump", ["jack_midi_dump", "-a", name], env=env)
    wait_for(lambda: f"{name}:input" in ports(env), name)
    return program


def changed(number: int, value: int, channel: int = 0) -> str:
    return rf"control change \(channel {channel:2}\): controller {number:3}, value {value:3}\n"


def test_values_and_notes_arrive(
    jack: dict[str, str],
    start: Callable[..., Program],
    serve: Callable[..., Serve],
    control: Callable[..., None],
) -> None:
    desk = dump(start, jack, "desk")
    server = serve("--loop", "--midi", "generic@desk#3", env=jack)
    desk.find(changed(31, 127, 2))
    note = int(desk.find(r"note on +\(channel  2\): pitch  (6[0-3]), velocity 127\n")[1])
    desk.find(rf"note off \(channel  2\): pitch  {note},")
    control(server.url, action="override", override={"valence": 0.75, "arousal": -1.0})
    desk.find(changed(20, 111, 2))
    desk.find(changed(21, 0, 2))
    control(server.url, action="blackout")
    desk.find(changed(30, 127, 2))
    assert server.stop(signal.SIGINT) == 0
    assert re.findall(r"controller.*", desk.text())[-1] == "controller  31, value   0"


def test_other_programs_connect_to_a_virtual_port(
    jack: dict[str, str], start: Callable[..., Program], serve: Callable[..., Serve]
) -> None:
    synth = dump(start, jack, "synth")
    serve("--midi", "synth@virtual:mood", env=jack)
    wait_for(lambda: "stream_mer:mood" in ports(jack), "virtual port")
    subprocess.run(["jack_connect", "stream_mer:mood", "synth:input"], env=jack, check=True, timeout=20)
    synth.find(r"controller   1, value")
    synth.find(r"controller  74, value")


def test_a_port_that_comes_late_or_goes_is_told(
    jack: dict[str, str], start: Callable[..., Program], serve: Callable[..., Serve]
) -> None:
    server = serve("--midi", "light@late", env=jack)
    server.find("midi light at late, channel 1 cannot be sent to: no MIDI port is called 'late'")
    late = dump(start, jack, "late")
    late.find("controller 102, value")
    server.find("midi light at late, channel 1 is sent to")
    late.stop(signal.SIGTERM)
    server.find("cannot be sent to: the MIDI port 'late:input' is gone")
