"""The lease: held only by a worker that works, and given up before any other can see it expire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from helpers import PATIENCE_S, FakeClock

from stream_mer.cluster.bus import ConflictError
from stream_mer.cluster.records import Worker
from stream_mer.cluster.worker import LeaseKeeper


class FakeBus:
    """A bucket of workers, whose rows expire when a test says so."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self.generation = 1
        self.rows: dict[str, int] = {}
        self.renewals = 0
        self.revision = 0
        self.before_answer: Callable[[], None] = lambda: None

    async def create(self, _bucket: str, key: str, _value: bytes) -> int:
        self.before_answer()
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

    async def remove(self, _bucket: str, key: str) -> None:
        del self.rows[key]

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def stored_at(self, _bucket: str, _revision: int) -> float:
        return 0.0

    async def until_connected(self) -> None:
        pass

    def give_up(self, reason: str) -> None:
        pass


def keeper_of(bus: Any, on_session: Callable[[], None] = lambda: None, **options: Any) -> LeaseKeeper:
    return LeaseKeeper(bus, lambda: Worker(name="w", host="h", pid=1, capacity=1), on_session, **options)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what the keeper does sets no event
            await asyncio.sleep(0.001)


async def test_a_worker_that_hangs_loses_its_lease_and_gets_a_new_one_when_it_recovers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus, works, sessions = FakeBus(lease_s=0.05), True, []
    keeper = keeper_of(
        bus,
        on_session=lambda: sessions.append(keeper.session),
        is_working=lambda: works,
        clock=FakeClock(),  # so that it is held until it is given up, however slow the machine is
    )
    keeping = asyncio.create_task(keeper.run())
    try:
        await until(lambda: bus.renewals > 2)
        works = False
        await until(lambda: not keeper.is_held)
        assert "this worker hangs" in caplog.text
        renewals = bus.renewals
        await asyncio.sleep(0.1)  # of several renewals; an early look could only miss one, and not fail
        assert bus.renewals == renewals
        bus.rows.clear()  # it ran out
        works = True
        await until(lambda: len(sessions) == 2)
        assert sessions[0] != sessions[1]
        await until(lambda: keeper.is_held)
    finally:
        keeping.cancel()


async def test_it_is_given_up_before_nats_can_have_removed_it() -> None:
    clock, bus = FakeClock(100.0), FakeBus(lease_s=1.5)
    keeper = keeper_of(bus, clock=clock)
    assert not keeper.is_held

    def confirm_after_a_second() -> None:
        clock.now += 1.0

    bus.before_answer = confirm_after_a_second
    await keeper.renew()
    assert keeper.is_held
    clock.now += 0.49
    assert keeper.is_held
    clock.now += 0.02
    assert not keeper.is_held
    clock.now += 2.0
    assert keeper.lost_for_s == pytest.approx(2.01)


async def test_it_is_no_longer_held_once_it_was_released() -> None:
    bus = FakeBus(lease_s=60.0)
    keeper = keeper_of(bus)
    await keeper.renew()
    await keeper.release()
    await keeper.renew()
    assert not keeper.is_held
    assert bus.rows == {}


async def test_it_says_over_which_connection_it_was_renewed() -> None:
    bus = FakeBus(lease_s=60.0)
    keeper = keeper_of(bus)
    await keeper.renew()
    bus.generation = 2
    assert (keeper.is_held, keeper.generation) == (True, 1)  # nothing may be published yet
    await keeper.renew()
    assert keeper.generation == 2
