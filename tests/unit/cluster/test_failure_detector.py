"""Who is asked, when a worker counts as gone, and above all when not."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import FakeClock

from stream_mer.cluster.bus import ConflictError
from stream_mer.cluster.failure_detector import FailureDetector, next_worker
from stream_mer.cluster.records import Entry, Worker, encode, presence_subject
from stream_mer.cluster.state import ClusterState

LEASE_S = 12.0
GRACE_S = LEASE_S / 3
STEP_S = LEASE_S / 12


class FakeBus:
    """NATS, as far as it is asked: who is connected, and the revisions of the leases."""

    def __init__(self, clock: FakeClock) -> None:
        self.lease_s = LEASE_S
        self.generation = 1
        self.connected_at = clock.now
        self.subscribed: set[str] = set()
        self.revisions: dict[str, int] = {}
        self.removed: list[str] = []
        self.asked: list[str] = []
        self.permitted = True
        self.handlers: dict[str, Any] = {}

    async def announce(self, subject: str, handler: Any) -> None:
        self.handlers[subject] = handler

    async def publish(self, subject: str, data: bytes) -> bool:
        if self.permitted and subject in self.handlers:
            self.handlers[subject](subject, data)
        return True

    async def has_subscriber(self, subject: str, *, within_s: float) -> bool:
        assert within_s == STEP_S
        self.asked.append(subject)
        return subject in self.subscribed

    async def remove(self, bucket: str, key: str, revision: int | None = None) -> None:
        assert bucket == "mer_workers"
        assert revision is not None
        if self.revisions.get(key) != revision:
            raise ConflictError("renewed")
        del self.revisions[key]
        self.removed.append(key)


class Scene:
    """Worker ``a`` and its detector, among others that have leases; the first other is the one that it asks."""

    def __init__(self, *others: str, without_presence: str = "") -> None:
        self.clock = FakeClock(100.0)
        self.bus = FakeBus(self.clock)
        self.state = ClusterState()
        self.held = True
        for table in self.state.tables.values():
            table.on_snapshot({})
        for session in ("a", *others):
            self.renew(session, presence="" if session in without_presence else session * 2)
            self.bus.subscribed.add(presence_subject(session * 2))
        self.detector = FailureDetector(
            self.bus,  # type: ignore[arg-type]  # the fake has what it uses
            self.state,
            lambda: "a" if self.held else None,
            clock=self.clock,
        )

    def renew(self, session: str, *, presence: str | None = None) -> None:
        self.bus.revisions[session] = revision = sum(self.bus.revisions.values()) + 1
        presence = session * 2 if presence is None else presence
        row = Worker(name=session, host="h", pid=1, capacity=1, presence=presence)
        self.state.workers.on_change(session, Entry(value=encode(row), revision=revision))

    def disconnect(self, session: str) -> None:
        self.bus.subscribed.discard(presence_subject(session * 2))

    def connect(self, session: str) -> None:
        self.bus.subscribed.add(presence_subject(session * 2))

    async def pass_time(self, seconds: float) -> None:
        """Ask as often as ``run`` does."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            await self.detector.ask()
            self.clock.now += STEP_S

    async def settle(self) -> None:
        """Until it has been connected for long enough, and its own subscription is known to work."""
        await self.bus.announce(presence_subject(self.detector._own), self.detector._on_message)
        await self.pass_time(LEASE_S + STEP_S)
        assert self.bus.removed == []


async def test_a_worker_that_is_killed_loses_its_lease_after_a_third_of_it(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene("b")
    await scene.settle()
    scene.disconnect("b")
    await scene.pass_time(GRACE_S)
    assert scene.bus.removed == []
    await scene.pass_time(STEP_S)
    assert scene.bus.removed == ["b"]
    assert "b: its process is gone" in caplog.text


async def test_a_renewal_shows_that_it_lives_whatever_nats_says_of_its_subscription() -> None:
    scene = Scene("b")
    await scene.settle()
    scene.disconnect("b")
    for _ in range(10):
        await scene.pass_time(LEASE_S / 5)
        scene.renew("b")
    assert scene.bus.removed == []


async def test_a_renewal_that_is_not_known_here_yet_keeps_the_lease() -> None:
    scene = Scene("b")
    await scene.settle()
    scene.disconnect("b")
    await scene.pass_time(GRACE_S)
    scene.bus.revisions["b"] += 100
    await scene.pass_time(LEASE_S)
    assert scene.bus.removed == []
    assert "b" in scene.bus.revisions


async def test_a_worker_that_connects_again_keeps_its_lease() -> None:
    scene = Scene("b")
    await scene.settle()
    for _ in range(5):
        scene.disconnect("b")
        await scene.pass_time(GRACE_S - STEP_S)
        scene.connect("b")
        await scene.pass_time(STEP_S)
    assert scene.bus.removed == []


async def test_when_several_are_away_at_once_only_the_leases_count() -> None:
    scene = Scene("b", "c", "d")
    await scene.settle()
    scene.disconnect("b")
    scene.disconnect("d")
    await scene.pass_time(LEASE_S)
    assert scene.bus.removed == []
    scene.connect("d")
    await scene.pass_time(GRACE_S + STEP_S)
    assert scene.bus.removed == ["b"]


async def test_a_worker_that_does_not_subscribe_is_not_asked() -> None:
    scene = Scene("b", without_presence="b")
    await scene.settle()
    scene.disconnect("b")
    await scene.pass_time(LEASE_S)
    assert (scene.bus.removed, scene.bus.asked) == ([], [])


async def test_a_worker_that_was_cut_off_itself_waits_for_a_whole_lease() -> None:
    scene = Scene("b")
    await scene.settle()
    scene.bus.generation, scene.bus.connected_at = 2, scene.clock.now
    scene.disconnect("b")
    await scene.pass_time(LEASE_S)
    assert scene.bus.removed == []
    await scene.pass_time(GRACE_S + STEP_S)
    assert scene.bus.removed == ["b"]


async def test_a_worker_without_its_own_lease_removes_none() -> None:
    scene = Scene("b")
    await scene.settle()
    scene.disconnect("b")
    scene.held = False
    await scene.pass_time(LEASE_S)
    assert scene.bus.removed == []


async def test_without_permission_it_neither_asks_nor_is_asked_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene("b")
    scene.bus.permitted = False
    scene.disconnect("b")
    await scene.settle()
    assert not caplog.records
    await scene.pass_time(20 * LEASE_S)
    assert (scene.bus.removed, scene.bus.asked, scene.detector.presence) == ([], [], "")
    assert [record.message for record in caplog.records] == [
        "NATS does not permit mer.alive.>: killed workers are found when their leases expire"
    ]


async def test_it_says_that_it_can_be_asked_once_its_subscription_works() -> None:
    scene = Scene()
    assert scene.detector.presence == ""
    await scene.settle()
    assert scene.detector.presence


async def test_each_worker_asks_one_other_and_is_asked_by_one() -> None:
    rows = Scene("b", "c", "d", without_presence="c").state.workers.rows
    assert {me: next_worker(rows, me) for me in "abd"} == {"a": "b", "b": "d", "d": "a"}
    assert next_worker(Scene().state.workers.rows, "a") is None
