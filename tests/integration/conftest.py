"""A server for clients; a private PulseAudio without hardware, which tests may kill and stall; Node and a browser."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from helpers import PATIENCE_S, wait_for

import stream_mer.server
from stream_mer.config import ServeSettings
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from tools.examples import STATUS

RATE_HZ = 44_100
SINK = "module-null-sink sink_name=mer_sink rate=44100 channels=2"

_PROGRAMS = ("pulseaudio", "pactl", "pacat", "paplay")


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


class SoundServer:
    """A PulseAudio of its own with the sink ``mer_sink``, whose monitor PortAudio sees as the device ``mer``."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("PULSE_", "XDG_", "DBUS_"))}
        self.env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
        self.log = home / "pulseaudio.log"
        self.process: subprocess.Popen[bytes] | None = None
        (home / ".asoundrc").write_text(
            'pcm.mer { type pulse device "mer_sink.monitor" hint { show on description "mer" } }\n'
        )

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, check=True, timeout=PATIENCE_S, capture_output=True, text=True)
        return done.stdout

    def popen(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        modules = [word for module in ("module-native-protocol-unix", SINK) for word in ("-L", module)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *modules],
                env=self.env,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "the sound server to start")
        self.run("pactl", "set-default-sink", "mer_sink")
        self.run("pactl", "set-default-source", "mer_sink.monitor")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        asked = ["pactl", "info"]
        ready = subprocess.run(asked, env=self.env, check=False, capture_output=True, timeout=PATIENCE_S)
        return ready.returncode == 0

    def hit(self, blow: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(blow)

    def die(self) -> None:
        self.hit(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def unload_sink(self) -> None:
        self.run("pactl", "unload-module", "module-null-sink")

    def load_sink(self) -> None:
        self.run("pactl", "load-module", *SINK.split())

    def mend(self) -> None:
        """Undo what a test left behind, and start it the first time."""
        if self.process is None or self.process.poll() is not None:
            self.start()
            return
        self.hit(signal.SIGCONT)
        if "mer_sink" not in self.run("pactl", "list", "short", "sinks"):
            self.load_sink()

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)


class Player:
    """Plays clicks on the whole seconds of the monotonic clock, left channel loud, right one half as loud."""

    CLICK_SAMPLES = 20

    def __init__(self, server: SoundServer) -> None:
        before = server.run("pactl", "list", "short", "sink-inputs")
        self._process = subprocess.Popen(
            ["pacat", "--device=mer_sink", "--latency-msec=20", "--format=s16le", f"--rate={RATE_HZ}", "--channels=2"],
            env=server.env,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        # What is written before it plays would be played late.
        while server.run("pactl", "list", "short", "sink-inputs") == before:
            time.sleep(0.02)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        assert self._process.stdin is not None
        position = round(time.monotonic() * RATE_HZ)
        try:
            while not self._ended.wait(0.005):
                until = round(time.monotonic() * RATE_HZ)
                phase = np.arange(position, until) % RATE_HZ
                audio = np.zeros((len(phase), 2), "<i2")
                audio[phase < self.CLICK_SAMPLES] = (24_000, 12_000)
                self._process.stdin.write(audio.tobytes())
                self._process.stdin.flush()
                position = until
        except OSError:  # the server is gone, and pacat with it
            pass

    def stop(self) -> None:
        self._ended.set()
        self._process.kill()  # what it has not played yet is not to be heard
        self._process.wait(10)
        self._thread.join(10)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what could not be flushed into a dead pipe
            self._process.stdin.close()


class Started:
    """A running process of Python: what it printed until it was ready.

    Attributes:
        process: The process.
        said: Its lines so far.
    """

    def __init__(self, *arguments: object, ready: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.said: list[str] = []
        while not self.said or ready not in self.said[-1]:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.said.append(line)

    def word_after(self, label: str) -> str:
        """The last word of the line that begins so, such as an address."""
        return next(line.split()[-1] for line in self.said if line.strip().startswith(label))

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal and wait for the end; return the exit code and what was written to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, complaints = self.process.communicate(timeout=PATIENCE_S)
        finally:
            self.process.kill()
        return self.process.returncode, complaints


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[..., Started]]:
    """Starts Python with these arguments and returns once it prints ``ready``; it is killed after the module."""
    running: list[Started] = []

    def start(*arguments: object, ready: str = "Stop with") -> Started:
        running.append(Started(*arguments, ready=ready))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def hub() -> Hub:
    """A hub with the stream ``main``, which has told its status."""
    hub = Hub()
    hub.sink("main").publish(STATUS)
    return hub


@pytest.fixture(scope="session")
def serving() -> Callable[..., Server]:
    """``async with serving(hub)`` serves a hub while the block lasts; what is given beside it are the settings."""

    def serve(hub: Hub, **settings: Any) -> Server:
        return Server(hub, ServeSettings(**({"port": 0, "close_timeout_s": 1.0} | settings)))

    return serve


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoundServer]:
    """One server for the tests of a module; this process and those that it starts see it and none of the machine's."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if importlib.util.find_spec("pyaudio") is None:
        missing.append("pyaudio")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("sound")
    home, runtime = folder / "home", folder / "run"
    for each in (home, runtime):
        each.mkdir(mode=0o700)
    server = SoundServer(home, runtime)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for key in os.environ.keys() - server.env.keys():
            monkeypatch.delenv(key)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def sound_server(module_server: SoundServer) -> SoundServer:
    """The server, running and with its sink, whatever the test before did to it."""
    module_server.mend()
    return module_server


@pytest.fixture(scope="session")
def until_heard() -> Callable[..., Any]:
    """Does something again and again until what it gives is right; returns the last, right or not after some minutes.

    What is played in real time comes late or with a hole in it where the machine was busy for a moment, and then says
    nothing of how it was heard.
    """

    def attempt(listen: Callable[[], Any], is_right: Callable[[Any], bool]) -> Any:
        give_up = time.monotonic() + 4 * PATIENCE_S
        while not is_right(heard := listen()) and time.monotonic() < give_up:
            pass
        return heard

    return attempt


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "until_heard" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(6 * PATIENCE_S))


class Stage:
    """At most one player at a time."""

    def __init__(self, server: SoundServer) -> None:
        self._server = server
        self._player: Player | None = None

    def play(self) -> None:
        """Play clicks, with a new player."""
        self.stop()
        self._player = Player(self._server)

    def stop(self) -> None:
        if self._player is not None:
            self._player.stop()
        self._player = None


@pytest.fixture
def stage(sound_server: SoundServer) -> Iterator[Stage]:
    stage = Stage(sound_server)
    yield stage
    stage.stop()


@pytest.fixture(scope="session")
def npm_install() -> Callable[..., None]:
    """Installs packages for Node into a folder; skips without Node or a registry."""

    def install(folder: Path, *packages: str) -> None:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                pytest.skip(f"wants {program}: apt-get install nodejs npm")
        (folder / "package.json").write_text('{"private": true}')
        quiet = ["--no-audit", "--no-fund", "--silent"]
        soon = ["--prefer-offline", "--fetch-retries=0", "--fetch-timeout=30000"]
        command = ["npm", "install", *quiet, *soon, *packages]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=120)
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"npm cannot install {' '.join(packages)} here: {exc.stderr[-300:]}")
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm cannot install {' '.join(packages)} here: no answer within 120 s")

    return install


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory, npm_install: Callable[..., None]) -> Path:
    """A folder where Node finds `ws`, `wscat` and mer.js (as ``mer.mjs``)."""
    folder = tmp_path_factory.mktemp("node")
    npm_install(folder, "ws@8", "wscat@6")
    shutil.copy(Path(stream_mer.server.__file__).parent / "web" / "mer.js", folder / "mer.mjs")
    return folder


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served_folder() -> Iterator[Callable[[Path], str]]:
    """Serves a folder, as `python -m http.server` would, and returns its address."""
    with contextlib.ExitStack() as stack:

        def serve(folder: Path) -> str:
            handler = functools.partial(_QuietHandler, directory=os.fspath(folder))
            pages = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            stack.callback(pages.shutdown)
            threading.Thread(target=pages.serve_forever, daemon=True).start()
            return f"http://127.0.0.1:{pages.server_port}"

        yield serve


@pytest.fixture(scope="session")
def chromium_options() -> dict[str, Any]:
    """How to launch headless Chromium; skips where it is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("wants Chromium: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("wants playwright: pip install 'stream-mer[dev]'")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return {"executable_path": chromium, "args": arguments, "timeout": 1000 * PATIENCE_S}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(chromium_options: dict[str, Any]) -> AsyncIterator[Any]:
    """One browser for all: it takes seconds to start."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - the module must import where it is missing

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(**chromium_options)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Any) -> AsyncIterator[Any]:
    """The browser, whose pages are closed after each test; such a test runs in the loop of the session."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


class Cable:
    """Passes everything on between clients and a server until it is pulled; then nothing, and closes nothing."""

    def __init__(self) -> None:
        self.is_whole = True
        self._port = 0
        self._socket: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def lay(self, port: int) -> str:
        """Lay it to a server's port; returns the address of its near end."""
        self._port = port
        self._socket = await asyncio.start_server(self._plug, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._socket.sockets[0].getsockname()[1]}"

    async def _plug(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, inner_writer]
        for source, sink in ((reader, inner_writer), (inner_reader, writer)):
            self._tasks.append(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while (data := await reader.read(4096)) and self.is_whole:
                writer.write(data)

    async def remove(self) -> None:
        if self._socket is not None:
            self._socket.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks, *(one.wait_closed() for one in self._writers), return_exceptions=True)


@pytest_asyncio.fixture
async def cable() -> AsyncIterator[Cable]:
    """A cable to be laid between a client and a server."""
    cable = Cable()
    yield cable
    await cable.remove()
