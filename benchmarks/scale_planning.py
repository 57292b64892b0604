"""What it takes a worker to work out who takes which channel; for the benchmark `scale`."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.report import Cell
from stream_mer.cluster.names import token_of
from stream_mer.cluster.planning import to_claim, to_hand_over
from stream_mer.cluster.records import Channel, Claim, Worker, encode
from stream_mer.cluster.roster import Roster

SIZES = (100, 1_000, 10_000)
CHANNELS_EACH = 100
RUNS = 5


def measure_planning(channels: int) -> dict[str, Cell]:
    """Measure one plan while all is well, and one after a worker was lost; milliseconds, medians."""
    roster = _roster(channels)
    settled, lost = [], []
    for _ in range(RUNS):
        began = time.perf_counter()
        to_claim(roster, "s0", takeover=True)
        to_hand_over(roster, "s0")
        settled.append(time.perf_counter() - began)
    roster.workers.changed("s1", None)
    for _ in range(RUNS):
        began = time.perf_counter()
        to_claim(roster, "s0", takeover=True)
        lost.append(time.perf_counter() - began)
    return {
        "channels": channels,
        "workers": channels // CHANNELS_EACH + 1,
        "settled_ms": 1e3 * median(settled),
        "lost_ms": 1e3 * median(lost),
    }


def _roster(channels: int) -> Roster:
    roster = Roster()
    workers = channels // CHANNELS_EACH + 1
    for number in range(workers):
        row = Worker(name=f"w{number}", host="h", pid=1, capacity=2 * CHANNELS_EACH)
        roster.workers.changed(f"s{number}", encode(row), number + 1)
    for number in range(channels):
        token = token_of(f"channel {number}")
        claim = Claim(session=f"s{number % workers}", worker="w", state="running", channel=number + 1)
        roster.channels.changed(token, encode(Channel(id="x", source="demo")), number + 1)
        roster.claims.changed(token, encode(claim), number + 1)
    return roster
