"""What the tests with real programs share: folders, starting and ending, a cable, a sound server, a display."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interop.programs import ROOT, Cable, Listener, PipeWire, Program, Serve, need
from websockets.sync.client import connect

# Where Debian has nginx and ip, and no ordinary user looks.
os.environ["PATH"] += os.pathsep + os.pathsep.join(("/usr/sbin", "/sbin"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that an ordinary user may write: some programs refuse to run as root."""
    path = Path(tempfile.mkdtemp(prefix="stream-mer-interop-"))
    if os.geteuid() == 0:
        shutil.chown(path, "nobody")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs, each with a log of its own; ends them after the test, the last first."""
    started: list[Program] = []

    def begin(name: str, command: list[str], **options: Any) -> Program:
        program = Program(command, home / f"{name}-{len(started)}.log", **options)
        started.append(program)
        return program

    yield begin
    for program in reversed(started):
        program.stop()
        print(f"--- {program.log.name}\n{program.text()[-3000:]}")  # pytest shows it where the test failed


@pytest.fixture
def cable() -> Iterator[Cable]:
    need("iproute2 util-linux", "ip", "unshare", "nsenter", "setpriv")
    laid = Cable()
    yield laid
    laid.remove()


@pytest.fixture
def control() -> Callable[..., None]:
    """What an operator does, over the websocket."""

    def send(url: str, **control: Any) -> None:
        with connect(url) as client:
            client.send(json.dumps({"type": "control", "id": 1} | control))
            while (answer := json.loads(client.recv(timeout=30)))["type"] != "result":
                pass
        assert answer["ok"], answer

    return send


@pytest.fixture
def listen() -> Iterator[Callable[[str], Listener]]:
    """Connects clients, which are disconnected after the test."""
    connected: list[Listener] = []

    def begin(url: str) -> Listener:
        connected.append(Listener(url))
        return connected[-1]

    yield begin
    for listener in connected:
        listener.stop()


@pytest.fixture
def pipewire(home: Path, start: Callable[..., Program]) -> PipeWire:
    need("pipewire pipewire-pulse wireplumber dbus", "pipewire", "pipewire-pulse", "wireplumber", "dbus-daemon")
    need("pulseaudio-utils", "pactl", "paplay")
    if importlib.util.find_spec("pyaudio") is None:
        pytest.skip("wants pyaudio: pip install 'stream-mer[mic]'")
    return PipeWire(home, start)


@pytest.fixture
def display(start: Callable[..., Program]) -> str:
    """A display without a screen, such as ``:5``."""
    need("xvfb", "Xvfb")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    start("xvfb", command, pass_fds=[write])
    os.close(write)
    with os.fdopen(read) as number:
        return ":" + number.readline().strip()


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Serve]]:
    """Starts servers with the given options; ``at`` puts one into a namespace."""
    started: list[Serve] = []

    def begin(*options: str, at: Callable[..., list[str]] | None = None, env: dict[str, str] | None = None) -> Serve:
        command = [sys.executable, "-m", "stream_mer", "serve", "--port", "0", "--no-lyrics", *options]
        server = Serve(at(*command) if at else command, home / f"serve-{len(started)}.log", env=env, cwd=ROOT)
        started.append(server)
        return server.wait()

    yield begin
    for server in reversed(started):
        server.stop(signal.SIGINT)
        print(f"--- {server.log.name}\n{server.text()[-3000:]}")
