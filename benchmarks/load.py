"""A thousand clients on one server, beside a plain broadcast of the same bytes.

One process serves, another one is all the clients. Each variant is a fresh server; all of them take turns within a
round, in another order in each. Ages run from the capture of a frame (here: its making) until a client has read it, on
the monotonic clock that both processes share. The peer is what the documentation of websockets shows: a set of
connections and `websockets.broadcast`, without compression.

Stuck clients connect, ask for everything and never read a byte. They meet our server only, and the peer in a variant of
its own that shows what they cost it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.load_clients import Crowd, raise_file_limit
from benchmarks.report import Cell, Column, Measurement, Table
from stream_mer.errors import SettingError, StreamMerError

ROOT = Path(__file__).parent.parent
WARM_UP_S = 2.0
"""Published before anything counts; in this time the stuck clients' kernel buffers fill."""

SETTLE_S = 0.3
"""So long is read on before anything is concluded from silence."""

LAST_CALL_S = 1.0
"""How long what was published last is waited for."""

END_TIMEOUT_S = 30.0

OPTIONS = (
    click.Option(
        ["--point", "points"],
        multiple=True,
        default=("200x40", "1000x10"),
        show_default=True,
        metavar="CLIENTSxHZ",
        help="Clients and frames a second.",
    ),
    click.Option(
        ["--rounds"], type=click.IntRange(min=1), default=5, show_default=True, help="Rounds over all variants."
    ),
    click.Option(["--seconds", "duration_s"], type=float, default=8.0, show_default=True, help="Counted, each time."),
    click.Option(
        ["--stuck-share"], type=click.FloatRange(0, 0.9), default=0.1, show_default=True, help="Of the clients."
    ),
)


class Point(NamedTuple):
    """One point of the grid."""

    clients: int
    rate_hz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is measured at each point.

    Attributes:
        name: For the table.
        server: ``ours`` or ``plain``.
        has_stuck: Whether some clients never read.
    """

    name: str
    server: str
    has_stuck: bool = False


PEER = Variant(name="websockets.broadcast", server="plain")
VARIANTS = (
    PEER,
    Variant(name="stream_mer", server="ours"),
    Variant(name="stream_mer, some stuck", server="ours", has_stuck=True),
    Variant(name="websockets.broadcast, some stuck", server="plain", has_stuck=True),
)


class Run(NamedTuple):
    """What one variant showed at one point in one round."""

    p50_ms: float
    p99_ms: float
    cpu_percent: float
    client_kib: float
    growth_mib: float
    delivered_percent: float


def measure(*, points: Sequence[str], rounds: int, duration_s: float, stuck_share: float) -> Measurement:
    """Measure all variants at all points, ``rounds`` times.

    Raises:
        SettingError: A point is none.
        StreamMerError: A server or a client failed.
    """
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
        tables=(_table(runs),),
        notes=(
            f"Medians of {rounds} rounds of {duration_s:g} s. Ratios: to the peer without stuck clients, in one round.",
            f"Some stuck: {stuck_share:.0%} of the clients never read. Ages are those of the others.",
            "Server CPU: of one core. KiB a client: once it has connected. Growth: of the whole server from then on.",
        ),
        threads=1,
    )


def parse_point(text: str) -> Point:
    """Read ``CLIENTSxHZ``.

    Raises:
        SettingError: It is none.
    """
    clients, _, rate_hz = text.partition("x")
    try:
        point = Point(int(clients), float(rate_hz))
    except ValueError:
        point = Point(0, 0.0)
    if not (1 <= point.clients <= 20_000 and 0.1 <= point.rate_hz <= 1000):
        raise SettingError(f"{text!r} is no number of clients (1 to 20000) and a rate (0.1 to 1000), such as 1000x10")
    return point


def run_one(server: str, point: Point, *, stuck: int, duration_s: float) -> Run:
    """Start a server and a crowd, and watch them for a while.

    Raises:
        StreamMerError: A server or a client failed.
    """
    with started_server(server, point.rate_hz) as process:
        alone = process.ask("state")
        crowd = Crowd(process.port, clients=point.clients, stuck=stuck, identifies=server == "ours")
        try:
            crowd.read(time.monotonic() + SETTLE_S)
            connected = process.ask("start")
            crowd.read(time.monotonic() + WARM_UP_S)
            begin = _ask_while_reading(process, "state", crowd)
            crowd.read(begin["at_s"] + duration_s)
            end = _ask_while_reading(process, "stop", crowd)
            crowd.read(end["at_s"] + LAST_CALL_S)
        finally:
            crowd.close()
    if crowd.arrivals.closed:
        raise StreamMerError(f"the server hung up on {crowd.arrivals.closed} clients that read")
    ages_ms = 1e3 * ages_between(crowd, begin["at_s"], end["at_s"])
    if not len(ages_ms):
        raise StreamMerError(f"nothing came in {duration_s:g} s: measure for longer, or at a higher rate")
    return Run(
        p50_ms=float(np.percentile(ages_ms, 50)),
        p99_ms=float(np.percentile(ages_ms, 99)),
        cpu_percent=100 * (end["cpu_s"] - begin["cpu_s"]) / (end["at_s"] - begin["at_s"]),
        client_kib=1024 * (connected["memory_mib"] - alone["memory_mib"]) / point.clients,
        growth_mib=end["memory_mib"] - connected["memory_mib"],
        delivered_percent=100 * len(ages_ms) / (crowd.readers * (end["published"] - begin["published"])),
    )


def ages_between(crowd: Crowd, begin_s: float, end_s: float) -> NDArray[np.float64]:
    """Return the ages of what was captured between these times, seconds."""
    captured_s = np.asarray(crowd.arrivals.captured_s)
    ages_s = np.asarray(crowd.arrivals.ages_s)
    kept: NDArray[np.float64] = ages_s[(captured_s >= begin_s) & (captured_s < end_s)]
    return kept


class ServerProcess:
    """A server in a process of its own (``benchmarks.load_server``).

    Args:
        process: The process, which has not said its port yet.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self.read()["port"])

    def ask(self, word: str) -> Mapping[str, float]:
        """Say a word; return what the server tells of itself."""
        self.say(word)
        return self.read()

    def say(self, word: str) -> None:
        """Say a word, which will be answered."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def read(self) -> Mapping[str, float]:
        """Return the next answer.

        Raises:
            StreamMerError: The server has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise StreamMerError("the server that was to be measured ended by itself; what it said stands above")
        told: dict[str, float] = json.loads(line)
        return told


@contextmanager
def started_server(kind: str, rate_hz: float) -> Iterator[ServerProcess]:
    """Start a server, and end it at the end."""
    command = [sys.executable, "-m", "benchmarks.load_server", kind, str(rate_hz)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield ServerProcess(process)
            process.communicate(timeout=END_TIMEOUT_S)
        finally:
            process.kill()


def _ask_while_reading(process: ServerProcess, word: str, crowd: Crowd) -> Mapping[str, float]:
    """Ask without keeping the clients waiting meanwhile."""
    process.say(word)
    crowd.read(time.monotonic() + SETTLE_S)
    return process.read()


def _table(runs: Mapping[tuple[Point, Variant], list[Run]]) -> Table:
    rows: list[dict[str, Cell]] = []
    for (point, variant), those in runs.items():
        peers = runs[point, PEER]
        pairs = list(zip(those, peers, strict=True))
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
    return Table(
        key="load",
        title="Age of a frame at the clients, and what the server pays",
        columns=(
            Column(key="clients", title="clients"),
            Column(key="rate_hz", title="Hz", digits=0),
            Column(key="server", title="server"),
            Column(key="p50_ms", title="age p50 ms", digits=1),
            Column(key="p99_ms", title="p99 ms", digits=1),
            Column(key="p99_of_peer", title="p99 / peer"),
            Column(key="cpu_percent", title="server CPU %", digits=1),
            Column(key="cpu_of_peer", title="CPU / peer"),
            Column(key="client_kib", title="KiB a client", digits=0),
            Column(key="growth_mib", title="growth MiB", digits=1),
            Column(key="delivered_percent", title="delivered %", digits=1),
        ),
        rows=tuple(rows),
    )
