"""A thousand clients on one server, beside a plain broadcast of the same bytes.

One process serves, another one is all the clients. Each variant is a fresh server; they take turns within a round, in
another order in each. Ages run from the capture of a frame (here: its creation) until a client has read it, on the
monotonic clock that both processes share. The peer is the example of the documentation of websockets: a set of
connections and `websockets.broadcast`, without compression.

Stuck clients connect, subscribe to everything and never read a byte. The peer meets them in a variant of its own.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import threading
import time
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.frames import CLOSE, PING, PONG, TEXT, FrameReader, client_frame, open_websocket, raise_file_limit
from benchmarks.harness import (
    Child,
    Measurement,
    Row,
    Table,
    answer,
    count_option,
    memory_mib,
    open_child,
    percentile,
    seconds_option,
)
from stream_mer.config import ServeSettings
from stream_mer.errors import SettingError, StreamMerError
from stream_mer.event_json import MessageEncoder, encode
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.types import EmotionFrame
from tools.examples import FRAME

WARM_UP_S = 2.0
"""Published before anything counts; in this time the kernel buffers of stuck clients fill."""

SETTLE_S = 0.3
LAST_CALL_S = 1.0  # what was published last is waited for so long
MOST_CLIENTS = 100_000
_CAPTURED = b'"t1":'

OPTIONS = (
    click.Option(
        ["--point", "points"],
        multiple=True,
        default=("200x40", "1000x10"),
        show_default=True,
        metavar="CLIENTSxHZ",
        help="Clients and frames per second.",
    ),
    count_option("--rounds", 5, "Rounds over all variants."),
    seconds_option("--seconds", "duration_s", 8.0, "Counted in each run."),
    click.Option(
        ["--stuck-share"], type=click.FloatRange(0, 0.9), default=0.1, show_default=True, help="Share of the clients."
    ),
)


class Point(NamedTuple):
    """One point of the grid."""

    clients: int
    rate_hz: float


class Variant(NamedTuple):
    """What is measured at each point: a server, ``ours`` or ``plain``, and whether some clients never read."""

    name: str
    server: str
    has_stuck: bool


PEER = Variant("websockets.broadcast", "plain", has_stuck=False)
VARIANTS = (
    PEER,
    Variant("stream_mer", "ours", has_stuck=False),
    Variant("stream_mer, some stuck", "ours", has_stuck=True),
    Variant("websockets.broadcast, some stuck", "plain", has_stuck=True),
)


class Run(NamedTuple):
    """Figures of one variant at one point in one round."""

    p50_ms: float
    p99_ms: float
    cpu_percent: float
    client_kib: float
    growth_mib: float
    delivered_percent: float


def measure(*, points: Sequence[str], rounds: int, duration_s: float, stuck_share: float) -> Measurement:
    """Measure all variants at all points, ``rounds`` times."""
    grid = [parse_point(text) for text in points]
    raise_file_limit(max(point.clients for point in grid) + 100)
    runs: dict[tuple[Point, Variant], list[Run]] = {(point, variant): [] for point in grid for variant in VARIANTS}
    for round_number in range(rounds):
        turn = round_number % len(VARIANTS)
        for point in grid:
            for variant in (*VARIANTS[turn:], *VARIANTS[:turn]):
                stuck = round(point.clients * stuck_share) if variant.has_stuck else 0
                runs[point, variant].append(run_one(variant.server, point, stuck=stuck, duration_s=duration_s))
    return Measurement(
        tables=(Table(key="load", title="Age of a frame at the clients, and cost of the server", rows=_rows(runs)),),
        notes=(
            f"Medians of {rounds} rounds of {duration_s:g} s. Ratios: to the peer without stuck clients, in one round.",
            f"Some stuck: {stuck_share:.0%} of the clients never read. Ages are those of the others.",
            "Server CPU: of one core. KiB per client: once it has connected. Growth: of the whole server after that.",
        ),
    )


def parse_point(text: str) -> Point:
    """Parse ``CLIENTSxHZ``."""
    clients, _, rate_hz = text.partition("x")
    try:
        point = Point(int(clients), float(rate_hz))
    except ValueError:
        point = Point(0, 0.0)
    if not (1 <= point.clients <= 20_000 and 0.1 <= point.rate_hz <= 1000):
        raise SettingError(f"{text!r} is not a number of clients (1 to 20000) and a rate (0.1 to 1000) such as 1000x10")
    return point


def run_one(server: str, point: Point, *, stuck: int, duration_s: float) -> Run:
    """Start a server and its clients, and measure them for a while."""
    with open_child("-m", "benchmarks.load", server, str(point.rate_hz)) as child:
        port = int(child.receive()["port"])
        alone = child.ask("state")
        crowd = Crowd(port, clients=point.clients, stuck=stuck, events=("emotion",) if server == "ours" else ())
        try:
            crowd.read(time.monotonic() + SETTLE_S)
            connected = child.ask("start")
            crowd.read(time.monotonic() + WARM_UP_S)
            begin = _ask_while_reading(child, "state", crowd)
            crowd.read(begin["at_s"] + duration_s)
            end = _ask_while_reading(child, "stop", crowd)
            crowd.read(end["at_s"] + LAST_CALL_S)
        finally:
            crowd.close()
    if crowd.closed:
        raise StreamMerError(f"the server hung up on {crowd.closed} clients that read")
    ages_ms = 1e3 * crowd.ages_between(begin["at_s"], end["at_s"])
    return Run(
        p50_ms=percentile(list(ages_ms), 50),
        p99_ms=percentile(list(ages_ms), 99),
        cpu_percent=100 * (end["cpu_s"] - begin["cpu_s"]) / (end["at_s"] - begin["at_s"]),
        client_kib=1024 * (connected["memory_mib"] - alone["memory_mib"]) / point.clients,
        growth_mib=end["memory_mib"] - connected["memory_mib"],
        delivered_percent=100 * len(ages_ms) / (crowd.readers * (end["published"] - begin["published"])),
    )


def _ask_while_reading(child: Child, line: str, crowd: Crowd) -> dict[str, Any]:
    child.send(line)
    crowd.read(time.monotonic() + SETTLE_S)
    return child.receive()


def _rows(runs: Mapping[tuple[Point, Variant], list[Run]]) -> list[Row]:
    rows: list[Row] = []
    for (point, variant), those in runs.items():
        pairs = list(zip(those, runs[point, PEER], strict=True))
        rows.append(
            {
                "clients": point.clients,
                "rate_hz": point.rate_hz,
                "server": variant.name,
                "p50_ms": median(run.p50_ms for run in those),
                "p99_ms": median(run.p99_ms for run in those),
                "p99_of_peer": median(run.p99_ms / peer.p99_ms for run, peer in pairs),
                "cpu_percent": median(run.cpu_percent for run in those),
                "cpu_of_peer": median(run.cpu_percent / peer.cpu_percent for run, peer in pairs),
                "client_kib": median(run.client_kib for run in those),
                "growth_mib": median(run.growth_mib for run in those),
                "delivered_percent": median(run.delivered_percent for run in those),
            }
        )
    return rows


# The clients.


class Crowd:
    """Websocket clients in one process, cheap enough not to dominate: one selector, frames parsed by hand.

    Args:
        port: Port of the server.
        clients: How many.
        stuck: How many of them never read.
        events: What they subscribe to, as ``mer.v1`` requires; nothing is sent where it is empty.
        max_hz: Likewise.

    Attributes:
        readers: Clients that read.
        closed: Readers whose connection ended.
    """

    def __init__(
        self, port: int, *, clients: int, stuck: int = 0, events: Sequence[str] = (), max_hz: float | None = None
    ) -> None:
        self.readers, self.closed = clients - stuck, 0
        self._captured_s, self._ages_s = array("d"), array("d")
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        identify = {"type": "identify", "subscribe": [{"events": [*events], "max_hz": max_hz}]}
        for i in range(clients):
            connection = open_websocket(port, wire.STREAM_PATH, is_stuck=i < stuck)
            if events:
                connection.send(client_frame(json.dumps(identify).encode()))
            self._sockets.append(connection)
            if i >= stuck:
                self._selector.register(connection, selectors.EVENT_READ, FrameReader())

    def read(self, until_s: float) -> None:
        """Read until a time of the monotonic clock."""
        while (left_s := until_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                connection, frames = key.fileobj, key.data
                assert isinstance(connection, socket.socket)
                if not self._read_one(connection, frames):
                    self.closed += 1
                    self._selector.unregister(connection)

    def ages_between(self, begin_s: float, end_s: float) -> NDArray[np.float64]:
        """Return the ages of the frames captured between these times, seconds."""
        captured_s = np.asarray(self._captured_s)
        ages_s: NDArray[np.float64] = np.asarray(self._ages_s)[(captured_s >= begin_s) & (captured_s < end_s)]
        return ages_s

    def close(self) -> None:
        """Close all sockets without a close frame."""
        self._selector.close()
        for connection in self._sockets:
            connection.close()

    def _read_one(self, connection: socket.socket, reader: FrameReader) -> bool:
        """Read one client; return False at the end of its connection."""
        try:
            data = connection.recv(65_536)
        except OSError:
            return False
        now = time.monotonic()
        for frame in reader.feed(data):
            if frame.opcode == TEXT:
                captured_s = captured_at_s(frame.payload)
                if captured_s is not None:
                    self._captured_s.append(captured_s)
                    self._ages_s.append(now - captured_s)
            elif frame.opcode == PING:
                connection.send(client_frame(frame.payload, PONG))
            elif frame.opcode == CLOSE:
                return False
        return bool(data)


def captured_at_s(payload: bytes) -> float | None:
    """Return ``t1`` of an ``emotion``, here the time of its creation; None for other messages."""
    begin = payload.find(_CAPTURED)
    if begin < 0:
        return None
    begin += len(_CAPTURED)
    return float(payload[begin : payload.index(b",", begin)])


# The server, in a child process. Arguments: ``ours`` or ``plain``, and the frames per second.


class Serving(NamedTuple):
    """A running server: its port, and a function that sends a frame to every client from any thread."""

    port: int
    publish: Callable[[EmotionFrame], None]


@asynccontextmanager
async def ours() -> AsyncIterator[Serving]:
    """Our server with its defaults, except for the number of clients."""
    hub = Hub()
    sink = hub.sink("main")
    async with Server(hub, ServeSettings(port=0, max_clients=MOST_CLIENTS)) as server:
        yield Serving(server.port, sink.publish)


@asynccontextmanager
async def plain() -> AsyncIterator[Serving]:
    """The example of websockets: a set of connections and a broadcast of the same bytes."""
    loop = asyncio.get_running_loop()
    connections: set[ServerConnection] = set()
    encoder = MessageEncoder("main")

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            connections.discard(connection)

    def publish(frame: EmotionFrame) -> None:
        data = encode(encoder.message(frame))
        loop.call_soon_threadsafe(lambda: broadcast(connections, data, text=True))

    server = await serve(handle, "127.0.0.1", 0, compression=None)
    try:
        yield Serving(int(server.sockets[0].getsockname()[1]), publish)
    finally:
        for connection in connections:  # closing would wait for stuck clients for ever
            connection.transport.abort()
        server.close()
        await server.wait_closed()


SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[Serving]]] = {"ours": ours, "plain": plain}


async def run_server(kind: str, rate_hz: float) -> None:
    """Serve until stdin ends; ``start`` and ``stop`` control the publisher, every line is answered with the state."""
    async with SERVERS[kind]() as serving:
        stopped, published = threading.Event(), 0

        def publish() -> None:
            nonlocal published
            begun = time.monotonic()
            while not stopped.wait(max(0.0, begun + published / rate_hz - time.monotonic())):
                serving.publish(replace(FRAME, index=published, t1=time.monotonic()))
                published += 1

        publisher = threading.Thread(target=publish, daemon=True)
        answer({"port": serving.port})
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "start":
                publisher.start()
            elif line == "stop":
                stopped.set()
                await asyncio.to_thread(publisher.join)
            answer(
                {
                    "cpu_s": time.process_time(),
                    "at_s": time.monotonic(),
                    "memory_mib": memory_mib("VmRSS"),
                    "published": published,
                }
            )
        stopped.set()


if __name__ == "__main__":
    asyncio.run(run_server(sys.argv[1], float(sys.argv[2])))
