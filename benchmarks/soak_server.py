"""Runs in a fresh process for the benchmark ``soak``: a server under a pipeline that never pauses.

Arguments: EVENTS_PER_S. It says its port in a line of JSON, and for each line that it reads how it is; the end of the
input ends it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks.machine import memory_mib
from stream_mer.ports import EventSink
from stream_mer.server.examples import CHANGE, FRAME, LEVELS, LINE, STATUS
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.settings import ServeSettings
from stream_mer.types import StreamEvent

STREAMS = ("main", "foyer", "bar")
SETTINGS = ServeSettings(
    port=0, max_clients=10_000, stuck_after_s=2.0, identify_timeout_s=1.0, close_timeout_s=0.5, history_messages=64
)
"""Impatient, so that in minutes happens what else takes hours."""

TURN_S = 0.01


def events() -> Iterator[StreamEvent]:
    """A stream with every kind of event in it, for ever: mostly levels, many frames, new words in every line."""
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
    """Publish at most so many events a second, over all streams in turn, until told to end."""
    stream = events()
    a_turn = max(1, round(events_per_s * TURN_S))
    due_s = time.monotonic()
    for sink in itertools.cycle(sinks):
        for event in itertools.islice(stream, a_turn):
            sink.publish(event)
        due_s = max(due_s + TURN_S, time.monotonic() - 1.0)  # no catching up on what a busy machine missed
        if ended.wait(max(0.0, due_s - time.monotonic())):
            return


def state(hub: Hub) -> dict[str, float]:
    """How the server is."""
    statistics = hub.statistics()
    return {
        "at_s": time.monotonic(),
        "published": sum(statistics.published.values()),
        "sent": statistics.outboxes.taken,
        "memory_mib": memory_mib("VmRSS"),
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,  # noqa: PTH112, PTH208
        "clients": statistics.clients,
    }


async def run(events_per_s: int) -> None:
    """Serve until the input ends."""
    hub = Hub(history_messages=SETTINGS.history_messages)
    sinks = [hub.sink(stream) for stream in STREAMS]
    ended = threading.Event()
    thread = threading.Thread(target=publish, args=(sinks, events_per_s, ended), daemon=True)
    async with Server(hub, SETTINGS) as server:
        thread.start()
        _say({"port": server.port})
        while await asyncio.to_thread(sys.stdin.readline):
            _say(state(hub))
        ended.set()
        await asyncio.to_thread(thread.join)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
