"""One server for everything that is thrown at it, a census of what it holds, and clients that write their own bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.frames import CLOSE, PING, PONG, TEXT, Frame, FrameReader, client_frame, handshake
from benchmarks.harness import memory_mib
from stream_mer.config import ServeSettings
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.sources.remote import RemoteSource

PATIENCE_S = 60.0
"""How long is waited for what must come; it says nothing of how fast it comes."""

MOST_GROWTH_MIB = 64.0
"""What the process may grow by over all cases: hypothesis keeps some of them, the server none."""

STREAMS = ("main", "foyer", "desk")
LIMITS = {"max_messages_per_s": 10_000, "max_audio_messages_per_s": 10_000, "handshake_timeout_s": 30.0}
LIMITS["pong_timeout_s"] = 3600.0
"""No pings: the library draws what they hold from ``random``, and hypothesis takes that for a strategy of ours."""


@dataclass
class Ending:
    """How a conversation went.

    Attributes:
        messages: The messages of the server.
        pongs: What its pongs held.
        code: Code of its close; None where it ended without one.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    code: int | None = None

    @property
    def error(self) -> dict[str, Any]:
        """The last message, if it is an error."""
        last = self.messages[-1] if self.messages else {}
        return last if last.get("type") == "error" else {}


class RawClient:
    """A client that sends the bytes that it is given."""

    def __init__(self, port: int, *, greeting: bytes | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self.send(handshake(port, "/v1/stream") if greeting is None else greeting)
        if greeting is None:
            self.read_head()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that has hung up already is no error here."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def say(self, data: bytes) -> None:
        self.send(client_frame(data))

    def read_head(self) -> bytes:
        """The head of the answer to a handshake; empty where there is none. What follows it is kept."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65_536)
            if not piece:
                break
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        self._frames += self._reader.feed(rest)
        return head

    def frames(self) -> Iterator[Frame]:
        """Frames until the end of the connection."""
        while True:
            while self._frames:
                yield self._frames.pop(0)
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                return
            if not data:
                return
            self._frames += self._reader.feed(data)

    def until(self, fence: str) -> Ending:
        """What comes before the pong of this id, or the end."""
        ending = Ending()
        for frame in self.frames():
            if frame.opcode == TEXT:
                message = json.loads(frame.payload)
                if message["type"] == "pong" and message["id"] == fence:
                    return ending
                ending.messages.append(message)
            elif frame.opcode == PING:
                self.send(client_frame(frame.payload, PONG))
            elif frame.opcode == PONG:
                ending.pongs.append(frame.payload)
            elif frame.opcode == CLOSE:
                ending.code = int.from_bytes(frame.payload[:2])
                self.send(client_frame(frame.payload, CLOSE))
        return ending

    def to_the_end(self) -> Ending:
        return self.until("never")

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish as a pulled cable does, with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class Victim:
    """A server in a thread of its own, and a healthy client that must never notice anything.

    Attributes:
        hub: Its hub.
        port: Where it listens.
        cases: How many were thrown at it.
    """

    def __init__(self, **settings: float) -> None:
        self.hub = Hub()
        for stream in STREAMS:
            self.hub.sink(stream)
        self._server = Server(
            self.hub,
            ServeSettings(**({"port": 0, "close_timeout_s": 1.0} | LIMITS | settings)),
            inlets={"desk": RemoteSource("desk")},
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._server.start())
        self.port = self._server.port
        self.cases = 0
        self._witness = RawClient(self.port)
        self._witness.say(b'{"type":"identify","subscribe":[]}')
        self._witness.say(b'{"type":"ping","id":"here"}')
        self._witness.until("here")
        self._fences = 0
        self._at_rest = self.census()
        self._memory_mib = memory_mib("VmRSS")

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    @contextlib.contextmanager
    def clients(self, greetings: Iterable[bytes | None]) -> Iterator[list[RawClient]]:
        """As many clients, each with its greeting; None for a good handshake. They are closed at the end."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.client(greeting)) for greeting in greetings]

    @contextlib.contextmanager
    def client(self, greeting: bytes | None = None) -> Iterator[RawClient]:
        with contextlib.closing(RawClient(self.port, greeting=greeting)) as client:
            yield client

    def ask(self, look: Callable[[Server], Any]) -> Any:
        """Look at the server in its own thread."""

        async def answer() -> Any:
            return look(self._server)

        return self.run(answer())

    def census(self) -> dict[str, int]:
        """Everything that must not grow."""
        return {
            "sessions": self.ask(lambda server: len(server._sessions)),
            "connections": self.ask(lambda server: len(server._servers[0].all_connections)),
            "tasks": self.ask(lambda _: len(asyncio.all_tasks())) - 1,
            "timers": self.ask(lambda _: sum(not timer.cancelled() for timer in self._loop._scheduled)),
            "clients": self.hub.statistics().clients,
            "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names are enough
        }

    def check_witness(self) -> None:
        """The healthy client is answered, and gets nothing that it did not ask for."""
        self._fences += 1
        fence = f"witness {self._fences}"
        self._witness.say(json.dumps({"type": "ping", "id": fence}).encode())
        ending = self._witness.until(fence)
        assert (ending.code, ending.messages) == (None, []), "the healthy client noticed something"

    def check(self, cases: int) -> None:
        """After so many more cases: nothing is left of them, and the next client is served."""
        self.cases += cases
        self.check_witness()
        with self.client() as new:
            assert next(new.frames()).payload.startswith(b'{"type":"hello"'), "the next client is not served"
        ends_s = time.monotonic() + PATIENCE_S
        while left := {what: now for what, now in self.census().items() if now > self._at_rest[what]}:
            assert time.monotonic() < ends_s, f"left behind: {left}, at rest {self._at_rest}"
            time.sleep(0.002)

    def stop(self) -> None:
        self._witness.close()
        self.run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def check_memory(self) -> None:
        grown_mib = memory_mib("VmRSS") - self._memory_mib
        assert grown_mib < MOST_GROWTH_MIB, f"grew by {grown_mib:.0f} MiB over {self.cases} cases"


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    victim = Victim()
    yield victim
    victim.check_memory()
    victim.stop()


@pytest.fixture
def hasty_victim() -> Iterator[Victim]:
    """One that waits four seconds for a handshake: a busy machine may keep ours waiting for less."""
    victim = Victim(handshake_timeout_s=4.0)
    yield victim
    victim.stop()
