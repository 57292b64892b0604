"""Real programs: started with a log and ended again, at either end of a cable, as root or as an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
LAMPS = "10.77.0.1"
"""Address of the end of the cable where stream_mer is."""
DESK = "10.77.0.2"
"""Address of the end where the program that receives is."""

_FETCH = """\
import sys, urllib.request
data = sys.argv[2].encode() if len(sys.argv) > 2 else None
sys.stdout.write(urllib.request.urlopen(sys.argv[1], data, timeout=10).read().decode())
"""
_CONTROL = """\
import json, sys
from websockets.sync.client import connect
with connect(sys.argv[1]) as client:
    client.send(sys.argv[2])
    while (answer := json.loads(client.recv(timeout=30)))["type"] != "result": pass
    sys.exit(json.dumps(answer) if answer.get("error") else 0)
"""


class Program:
    """A running program, with everything that it printed."""

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **options
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def find(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed this."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            text = self.text()
            found.extend(re.finditer(pattern, text))
            assert found or self.process.poll() is None, f"ended without {pattern!r}:\n{text[-3000:]}"
            return bool(found)

        wait_for(look, f"{pattern!r} in {self.log.name}")
        return found[-1]

    def stop(self, sent: signal.Signals = signal.SIGTERM, *, patience_s: float = 20) -> int:
        """End it and what it started; returns its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait(20)


def need(package: str, *programs: str) -> None:
    """Skip where a program is missing; says the Debian package that brings it."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"wants {', '.join(missing)}: apt-get install {package}")


def ordinary(*command: str) -> list[str]:
    """The command as an ordinary user."""
    if os.geteuid() != 0:
        return [*command]
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]


class Cable:
    """Two network namespaces with a virtual cable between them, each with its own loopback."""

    def __init__(self) -> None:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self._lamps = self._hold(["unshare", *user, "--net", "cat"])
        self._desk = self._hold(self.lamps("unshare", "--net", "cat"))
        for command in (
            f"ip link add mer0 type veth peer name mer1 netns {self._desk.pid}",
            f"ip address add {LAMPS}/24 dev mer0",
            "ip link set lo up",
            "ip link set mer0 up",
        ):
            subprocess.run(self.lamps(*command.split()), check=True, timeout=10)
        for command in (f"ip address add {DESK}/24 dev mer1", "ip link set lo up", "ip link set mer1 up"):
            subprocess.run(self.desk(*command.split()), check=True, timeout=10)

    @staticmethod
    def _hold(command: list[str]) -> subprocess.Popen[bytes]:
        """A process that keeps a namespace, as long as this one holds its standard input."""
        held = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        comm = Path(f"/proc/{held.pid}/comm")
        wait_for(lambda: held.poll() is not None or comm.read_text() == "cat\n", "network namespace")
        if held.poll() is not None:
            assert held.stderr is not None
            pytest.skip(f"no network namespace here: {held.stderr.read().decode().strip()}")
        return held

    def _in(self, holder: subprocess.Popen[bytes], command: tuple[str, ...]) -> list[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(holder.pid), *user, "--net", *command]

    def lamps(self, *command: str) -> list[str]:
        """The command at stream_mer's end."""
        return self._in(self._lamps, command)

    def desk(self, *command: str) -> list[str]:
        """The command at the other program's end."""
        return self._in(self._desk, command)

    def desk_as_user(self, *command: str) -> list[str]:
        """The command at the other program's end, as an ordinary user: some programs refuse to run as root."""
        # Who is not root is so within the namespaces, and becomes another user in one more of them.
        mapped = ["unshare", "--user", "--map-user=65534", "--map-group=65534", *command]
        return self.desk(*(ordinary(*command) if os.geteuid() == 0 else mapped))

    def fetch(self, url: str, data: str | None = None) -> str:
        """GET, or POST of a form, at the other program's end."""
        command = [sys.executable, "-c", _FETCH, url, *([] if data is None else [data])]
        return subprocess.run(self.desk(*command), check=True, timeout=30, capture_output=True, text=True).stdout

    def control(self, url: str, **control: Any) -> None:
        """What an operator does, over the websocket."""
        message = json.dumps({"type": "control", "id": 1} | control)
        subprocess.run(self.lamps(sys.executable, "-c", _CONTROL, url, message), check=True, timeout=60)

    def remove(self) -> None:
        for held in (self._desk, self._lamps):
            held.kill()
            held.communicate()


class Listener:
    """A websocket client that keeps the newest message of each type and stream, and the states of sources in order."""

    def __init__(self, url: str) -> None:
        self.newest: dict[tuple[str, str], dict[str, Any]] = {}
        self.sources: list[str] = []
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(url, ping_interval=None))
        events = ["status", "emotion", "change", "levels"]
        self._socket.send(json.dumps({"type": "subscribe", "id": 1, "events": events}))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in self._socket:
                message = json.loads(text)
                for stream in ("", message.get("stream", "")):
                    self.newest[message["type"], stream] = message
                if message["type"] == "status" and self.sources[-1:] != [message["source"]]:
                    self.sources.append(message["source"])

    def get(self, kind: str, name: str, stream: str = "") -> Any:
        """A value of the newest message of a type, of any stream or of one; None before the first."""
        return self.newest.get((kind, stream), {}).get(name)

    def stop(self) -> None:
        self._open.close()
        self._thread.join(20)


class PipeWire:
    """A sound server of its own, as a desktop has it: PipeWire, its PulseAudio and its session manager."""

    def __init__(self, folder: Path, start: Callable[..., Program]) -> None:
        self._start = start
        home, runtime = folder / "sound", folder / "run"
        for each in (home, runtime):
            each.mkdir(mode=0o700)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULSE_", "XDG_", "DBUS_"))}
        self.env = kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
        bus = start("dbus", ["dbus-daemon", "--session", "--nofork", "--print-address"], env=self.env)
        self.env["DBUS_SESSION_BUS_ADDRESS"] = bus.find(r"unix:\S+")[0]
        self._programs: list[Program] = []

    def start(self, *sinks: str) -> None:
        """Start it, with outputs that sound nowhere, of which the first is the default."""
        for name in ("pipewire", "wireplumber", "pipewire-pulse"):
            self._programs.append(self._start(name, [name], env=self.env))
            if name == "pipewire":
                wait_for((Path(self.env["XDG_RUNTIME_DIR"]) / "pipewire-0").exists, name)
        wait_for(self._answers, "answer of pipewire-pulse")
        for sink in sinks:
            self.run("pactl", "load-module", "module-null-sink", f"sink_name={sink}")
        for sink in reversed(sinks):
            wait_for(lambda sink=sink: f"\t{sink}\t" in self.run("pactl", "list", "short", "sinks"), sink)
        self.choose(sinks[0])

    def _answers(self) -> bool:
        asked = subprocess.run(["pactl", "info"], check=False, timeout=30, capture_output=True, env=self.env)
        return asked.returncode == 0

    def choose(self, sink: str) -> None:
        """Make an output the default."""
        self.run("pactl", "set-default-sink", sink)
        wait_for(lambda: f"Default Sink: {sink}\n" in self.run("pactl", "info"), "default")

    def run(self, *command: str) -> str:
        return subprocess.run(command, env=self.env, check=True, timeout=30, capture_output=True, text=True).stdout

    def play(self, path: Path, sink: str) -> Program:
        """Play a file into an output, and stay there when another one becomes the default."""
        stay = "--property=node.dont-reconnect=true"
        return self._start("paplay", ["paplay", f"--device={sink}", stay, str(path)], env=self.env)

    def crash(self) -> None:
        for program in reversed(self._programs):
            program.stop(signal.SIGKILL)
        self._programs.clear()


class Serve(Program):
    """``stream-mer serve`` without lyrics, on a free port, once it has told its address."""

    url: str

    def wait(self) -> Serve:
        self.url = self.find(r"ws://[\w.:]+/v1/stream|ws://[\w.:]+")[0].rstrip(".,")
        return self


def give(folder: Path) -> None:
    """Give a folder and all that is in it to the ordinary user."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "nobody")
