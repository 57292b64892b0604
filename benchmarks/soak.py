"""Hours of service in minutes: does memory grow with the messages?

One process holds the server and publishes events of all kinds without pause, many times faster than any stream; another
one is a changing population of clients: they subscribe, unsubscribe, resume, send malformed messages, disconnect with
and without a close frame, and some never read. Memory, tasks and open files of the server are sampled every second; a
line through the memory after a warm-up shows the growth per million messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from benchmarks.frames import CLOSE, PING, PONG, TEXT, FrameReader, client_frame, open_websocket, raise_file_limit
from benchmarks.harness import Child, Measurement, Row, Table, answer, memory_mib, open_child, seconds_option
from stream_mer.config import ServeSettings
from stream_mer.errors import StreamMerError
from stream_mer.ports import EventSink
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.types import StreamEvent
from tools.examples import CHANGE, FRAME, LEVELS, LINE, STATUS

SAMPLE_EVERY_S = 1.0
WARM_UP_SHARE = 0.3
"""Of the time, in which histories, caches and the allocator fill; the line is drawn through what follows."""

END_TIMEOUT_S = 30.0
EVENTS_A_SECOND_LIVE = 53.0
"""Of one live stream: 50 levels, 2 emotions, and about one line, change or status."""

ACTION_EVERY_S = 0.01
STUCK_FOR_S = 6.0
"""A stuck client is closed then; the server has hung up on it long before."""

OPTIONS = (
    seconds_option("--seconds", "duration_s", 180.0, "How long.", least=5),
    click.Option(["--clients"], type=click.IntRange(4, 5000), default=25, show_default=True, help="At once, about."),
    click.Option(
        ["--events-per-s"], type=click.IntRange(10), default=2000, show_default=True, help="Published at most."
    ),
)


class Sample(NamedTuple):
    """State of the server at one time of the monotonic clock."""

    at_s: float
    published: int
    sent: int
    memory_mib: float
    tasks: int
    files: int
    clients: int


def measure(*, duration_s: float, clients: int, events_per_s: int) -> Measurement:
    """Run a population against a server for a while."""
    samples, actions, rest = soak(duration_s=duration_s, clients=clients, events_per_s=events_per_s)
    settled = [sample for sample in samples if sample.at_s >= samples[0].at_s + WARM_UP_SHARE * duration_s]
    published, sent = samples[-1].published - samples[0].published, samples[-1].sent - samples[0].sent
    pace = published / duration_s / EVENTS_A_SECOND_LIVE
    deeds: list[Row] = [{"deed": name, "times": times} for name, times in sorted(actions.items())]
    return Measurement(
        tables=(
            Table(key="slopes", title="Growth of the server's memory", rows=_slope_rows(settled)),
            Table(key="state", title="State of the server", rows=_state_rows(settled, rest)),
            Table(key="deeds", title="Actions of the clients", rows=deeds),
        ),
        notes=(
            f"{published:,} events, {pace:.0f} times the pace of one live stream; {sent:,} messages to clients.",
            "Slopes by least squares after the warm-up; a 95 % interval that contains 0 shows no growth.",
            "Neighbouring samples are correlated, so the true intervals are wider.",
            "At rest: after all clients have left.",
        ),
    )


def soak(*, duration_s: float, clients: int, events_per_s: int) -> tuple[list[Sample], Counter[str], Sample]:
    """Return the samples, how often the clients did what, and the state once they have left."""
    raise_file_limit(2 * clients + 200)
    with open_child("-m", "benchmarks.soak", str(events_per_s)) as child:
        population = Population(int(child.receive()["port"]), clients=clients)
        samples = [_sample(child)]
        ends_s = time.monotonic() + duration_s
        while (now_s := time.monotonic()) < ends_s:
            population.run(min(now_s + SAMPLE_EVERY_S, ends_s))
            samples.append(_sample(child))
        population.leave()
        ends_s = time.monotonic() + END_TIMEOUT_S
        while _sample(child).clients and time.monotonic() < ends_s:
            time.sleep(0.2)
        time.sleep(SAMPLE_EVERY_S)
        return samples, population.actions, _sample(child)


def _sample(child: Child) -> Sample:
    return Sample(**child.ask("state"))


class Slope(NamedTuple):
    """Slope of a line with its 95 % interval."""

    slope: float
    low: float
    high: float


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Return the slope of the line through points, by least squares, with a normal 95 % interval."""
    if len(x) < 3 or min(x) == max(x):
        raise StreamMerError("too few samples for a slope: measure for longer")
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    dx = xs - xs.mean()
    value = float(dx @ (ys - ys.mean()) / (dx @ dx))
    residuals = ys - ys.mean() - value * dx
    error = float(np.sqrt(residuals @ residuals / (len(xs) - 2) / (dx @ dx)))
    return Slope(value, value - 1.96 * error, value + 1.96 * error)


def _slope_rows(samples: Sequence[Sample]) -> list[Row]:
    memory = [sample.memory_mib for sample in samples]
    lines = {
        "MiB per million events": [sample.published / 1e6 for sample in samples],
        "MiB per million messages sent": [sample.sent / 1e6 for sample in samples],
        "MiB per hour of this": [sample.at_s / 3600 for sample in samples],
    }
    return [{"what": what, **slope(x, memory)._asdict()} for what, x in lines.items()]


def _state_rows(samples: Sequence[Sample], rest: Sample) -> list[Row]:
    rows: list[Row] = []
    for name in ("memory_mib", "tasks", "files", "clients"):
        values = [float(getattr(sample, name)) for sample in samples]
        first, last = np.array_split(values, 2)
        rows.append(
            {
                "what": name,
                "first_half": float(np.median(first)),
                "second_half": float(np.median(last)),
                "most": max(values),
                "at_rest": float(getattr(rest, name)),
            }
        )
    return rows


# The clients.

_EVENT = re.compile(rb'\{"type":"(\w+)","stream":"(\w+)","seq":(\d+)')
_SESSION = re.compile(rb'"session":"(\w+)"')

MALFORMED = (
    client_frame(b"rubbish"),
    client_frame(b'{"type":"dance"}'),
    client_frame(b'{"type":"control","action":"fly"}'),
    client_frame(b"[" * 4000),
    client_frame(b"x" * 5000),
    client_frame(b"\xff\xff"),
    client_frame(b"", 7),
    client_frame(b"sound", 2),
)
"""Each of these ends the connection."""


@dataclass(slots=True, eq=False)
class Client:
    """One client.

    Attributes:
        socket: Its connection.
        stuck_until_s: When one that never reads is closed; None for one that reads.
        reader: Parses frames.
        session: Session id of the server, after ``hello``.
        last_seq: Last sequence number, by stream and kind.
    """

    socket: socket.socket
    stuck_until_s: float | None = None
    reader: FrameReader = field(default_factory=FrameReader)
    session: str = ""
    last_seq: dict[str, dict[str, int]] = field(default_factory=dict)


class Population:
    """Clients of one server that come, go and change their subscriptions.

    Args:
        port: Port of the server.
        clients: How many there are at once, about.

    Attributes:
        actions: How often they did what.
    """

    def __init__(self, port: int, *, clients: int) -> None:
        self._port = port
        self._wanted = clients
        self._random = random.Random(1)  # noqa: S311 - not for secrets
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._resumable: deque[tuple[str, dict[str, dict[str, int]]]] = deque(maxlen=100)
        self.actions: Counter[str] = Counter()

    def run(self, until_s: float) -> None:
        """Act and read until a time of the monotonic clock."""
        next_action_s = time.monotonic()
        while (now_s := time.monotonic()) < until_s:
            if now_s >= next_action_s:
                self._act()
                next_action_s = now_s + ACTION_EVERY_S
            for key, _ in self._selector.select(max(0.0, min(next_action_s, until_s) - time.monotonic())):
                self._read(key.data)

    def leave(self) -> None:
        """Close all connections."""
        for client in list(self._clients):
            self._close(client)
        self._selector.close()

    def _act(self) -> None:
        now_s = time.monotonic()
        for client in [one for one in self._clients if one.stuck_until_s is not None and one.stuck_until_s < now_s]:
            self._close(client)
        if len(self._clients) < self._wanted:
            self._join()
            return
        weights = {
            self._subscribe: 4.0,
            self._unsubscribe: 3.0,
            self._ping: 3.0,
            self._control: 1.0,
            self._vanish: 2.0,
            self._reset: 1.0,
            self._say_goodbye: 1.0,
            self._send_malformed: 1.0,
        }
        (action,) = self._random.choices(list(weights), list(weights.values()))
        action(self._random.choice(self._clients))

    def _join(self) -> None:
        how = self._random.choice(("default", "identify", "levels", "resume", "resume", "stuck"))
        connection = open_websocket(self._port, wire.STREAM_PATH, is_stuck=how == "stuck")
        client = Client(connection)
        self._clients.append(client)
        if how == "stuck":
            client.stuck_until_s = time.monotonic() + STUCK_FOR_S
        else:
            self._selector.register(connection, selectors.EVENT_READ, client)
        if how == "resume" and not self._resumable:
            how = "identify"
        self.actions[f"join: {how}"] += 1
        identify: dict[str, Any] = {"type": "identify"}
        if how in {"levels", "stuck"}:
            max_hz = self._random.choice((None, 5, 50))
            identify["subscribe"] = [{"events": [*wire.EVENT_KINDS], "max_hz": None if how == "stuck" else max_hz}]
        elif how == "resume":
            session, last_seq = self._resumable.popleft()
            identify["resume"] = {"session": session, "last_seq": last_seq}
        if how != "default":
            self._send_message(client, identify)

    def _subscribe(self, client: Client) -> None:
        self.actions["subscribe"] += 1
        events = self._random.sample(wire.EVENT_KINDS, self._random.randint(0, 3))
        streams = self._random.choice(([], ["main"], ["foyer", "bar"], ["nowhere"]))
        max_hz = self._random.choice((None, 1, 10, 1e-300))
        request = {"type": "subscribe", "id": 1, "events": events, "streams": streams, "max_hz": max_hz}
        self._send_message(client, request)

    def _unsubscribe(self, client: Client) -> None:
        self.actions["unsubscribe"] += 1
        events = self._random.sample(wire.EVENT_KINDS, self._random.randint(0, 2))
        self._send_message(client, {"type": "unsubscribe", "id": "u", "events": events})

    def _ping(self, client: Client) -> None:
        self.actions["ping"] += 1
        self._send_message(client, {"type": "ping", "id": 7})
        self._send(client, client_frame(b"?", PING))

    def _control(self, client: Client) -> None:
        self.actions["control"] += 1
        action = self._random.choice(("freeze", "resume", "blackout", "override"))
        override = {"valence": 0.1, "arousal": -0.4, "ttl_s": 0.5} if action == "override" else None
        self._send_message(client, {"type": "control", "id": 9, "action": action, "override": override})

    def _vanish(self, client: Client) -> None:
        self.actions["leave: without a close frame"] += 1
        if client.session:
            self._resumable.append((client.session, client.last_seq))
        self._close(client)

    def _reset(self, client: Client) -> None:
        self.actions["leave: reset"] += 1
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(client)

    def _say_goodbye(self, client: Client) -> None:
        self.actions["leave: close frame"] += 1
        self._send(client, client_frame(b"\x03\xe8", CLOSE))

    def _send_malformed(self, client: Client) -> None:
        self.actions["malformed message"] += 1
        self._send(client, self._random.choice(MALFORMED))

    def _send_message(self, client: Client, message: dict[str, Any]) -> None:
        self._send(client, client_frame(json.dumps(message).encode()))

    def _send(self, client: Client, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the server closed it, or its buffers are full
            client.socket.send(data)

    def _read(self, client: Client) -> None:
        try:
            data = client.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        frames = client.reader.feed(data)
        for frame in frames:
            if frame.opcode == TEXT:
                self._on_text(client, frame.payload)
            elif frame.opcode == PING:
                self._send(client, client_frame(frame.payload, PONG))
        if not data or any(frame.opcode == CLOSE for frame in frames):
            self.actions["the server closed"] += 1
            self._close(client)

    def _on_text(self, client: Client, payload: bytes) -> None:
        event = _EVENT.match(payload)
        if event is not None:
            kind, stream, seq = event.groups()
            client.last_seq.setdefault(stream.decode(), {})[kind.decode()] = int(seq)
        elif payload.startswith(b'{"type":"hello"'):
            session = _SESSION.search(payload)
            assert session is not None, "hello has a session"
            client.session = session[1].decode()

    def _close(self, client: Client) -> None:
        self._clients.remove(client)
        if client.stuck_until_s is None:
            self._selector.unregister(client.socket)
        client.socket.close()


# The server, in a child process. Argument: the events per second.

STREAMS = ("main", "foyer", "bar")
SETTINGS = ServeSettings(
    port=0, max_clients=10_000, stuck_after_s=2.0, identify_timeout_s=1.0, close_timeout_s=0.5, history_messages=64
)
"""Short timeouts, so that minutes show what otherwise takes hours."""

TURN_S = 0.01


def events() -> Iterator[StreamEvent]:
    """Yield events of every kind for ever: mostly levels, many frames, new words in every line."""
    for i in itertools.count():
        yield replace(LEVELS, t=i / 50)
        if i % 5 == 0:
            yield replace(FRAME, index=i // 5, t1=i / 50)
        if i % 10 == 0:
            yield replace(LINE, segment=i // 40, revision=i // 10 % 4, text=f"line {i} " * (1 + i % 7))
        if i % 50 == 0:
            yield replace(CHANGE, t=i / 50)
        if i % 100 == 0:
            yield replace(STATUS, lost_samples=i)


def publish(sinks: list[EventSink], events_per_s: int, ended: threading.Event) -> None:
    """Publish at most so many events per second, over all streams in turn, until ``ended`` is set."""
    stream = events()
    a_turn = max(1, round(events_per_s * TURN_S))
    due_s = time.monotonic()
    for sink in itertools.cycle(sinks):
        for event in itertools.islice(stream, a_turn):
            sink.publish(event)
        due_s = max(due_s + TURN_S, time.monotonic() - 1.0)  # a busy machine does not catch up more than 1 s
        if ended.wait(max(0.0, due_s - time.monotonic())):
            return


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


async def run_server(events_per_s: int) -> None:
    """Serve until stdin ends; every line is answered with a ``Sample``."""
    hub = Hub(history_messages=SETTINGS.history_messages)
    sinks = [hub.sink(stream) for stream in STREAMS]
    ended = threading.Event()
    thread = threading.Thread(target=publish, args=(sinks, events_per_s, ended), daemon=True)
    async with Server(hub, SETTINGS) as server:
        thread.start()
        answer({"port": server.port})
        while await asyncio.to_thread(sys.stdin.readline):
            statistics = hub.statistics()
            sample = Sample(
                at_s=time.monotonic(),
                published=sum(statistics.published.values()),
                sent=statistics.outboxes.taken,
                memory_mib=memory_mib("VmRSS"),
                tasks=len(asyncio.all_tasks()),
                files=_open_files(),
                clients=statistics.clients,
            )
            answer(sample._asdict())
        ended.set()
        await asyncio.to_thread(thread.join)


if __name__ == "__main__":
    asyncio.run(run_server(int(sys.argv[1])))
