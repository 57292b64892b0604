"""A lease is held by those who work, and by nobody else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stream_mer.cluster.holder import LeaseHolder
from stream_mer.cluster.records import Worker
from stream_mer.cluster.store import ConflictError

PATIENCE_S = 30.0


class Store:
    """A bucket of workers, whose rows run out when a test says so."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.renewals = 0
        self.revision = 0

    async def create(self, _bucket: str, key: str, _value: bytes) -> int:
        self.revision += 1
        self.rows[key] = self.revision
        return self.revision

    async def replace(self, _bucket: str, key: str, _value: bytes, revision: int) -> int:
        if self.rows.get(key) != revision:
            raise ConflictError("it ran out")
        self.revision += 1
        self.renewals += 1
        self.rows[key] = self.revision
        return self.revision

    async def stored_at(self, _bucket: str, _revision: int) -> float:
        return 0.0


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what the holder does sets no event
            await asyncio.sleep(0.001)


async def nothing() -> None:
    pass


async def test_a_worker_that_does_nothing_loses_its_lease_and_gets_one_again_when_it_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, works, sessions = Store(), True, []
    bus: Any = SimpleNamespace(store=store, lease_s=0.05, until_connected=nothing, suspect=lambda _: None)
    holder = LeaseHolder(
        bus,
        lambda: Worker(name="w", host="h", pid=1, capacity=1),
        lambda: sessions.append(holder.session),
        lambda: works,
    )
    holding = asyncio.create_task(holder.run())
    try:
        await until(lambda: store.renewals > 2)
        works = False
        await until(lambda: not holder.holds)
        assert "this worker hangs: its lease is left to run out" in caplog.text
        renewals = store.renewals
        await asyncio.sleep(0.1)  # of several renewals; an early look could only miss one, and not fail
        assert store.renewals == renewals
        store.rows.clear()  # it ran out
        works = True
        await until(lambda: len(sessions) == 2)
        assert sessions[0] != sessions[1]
        await until(lambda: holder.holds)
    finally:
        holding.cancel()
