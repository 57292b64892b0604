"""Test doubles and waiting that several test modules share; import it as ``from helpers import ...``."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

PATIENCE_S = 120.0
"""Limit of every wait. It only decides how long a failing test takes."""


class FakeClock:
    """A clock that stands still until a test sets ``now``, seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def wait_for(condition: Callable[[], object], what: str = "it", *, patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition of other threads or processes is true."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition of other tasks or threads is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - others change it
            await asyncio.sleep(0.005)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a free port of the loopback address."""
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
