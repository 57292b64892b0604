"""The connection to NATS, its queue and its tasks, with a server of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tomllib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from helpers import until

from stream_mer.cluster import bus as bus_module
from stream_mer.cluster.bus import Bus, CoalescingQueue, end_tasks, run_together
from stream_mer.config import NatsSettings
from stream_mer.errors import ClusterError


class Eavesdropper:
    """A server of NATS with a scripted greeting that keeps what it receives."""

    def __init__(self, **info: Any) -> None:
        self._info = {"server_id": "x", "version": "2.11.0", "max_payload": 1 << 20, "headers": True, **info}
        self.received: list[bytes] = []
        self._serving: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            for _ in range(10):  # until the loop has closed what was aborted
                await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        writer.write(b"INFO " + json.dumps(self._info).encode() + b"\r\n")
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65_536):
                    self.received.append(data)
        finally:
            writer.close()


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


async def refused(bus: Bus, has_come: Callable[[], object], loop_time: Any) -> str:
    """Enter a bus until something has come of it, then let the time of the first attempt run out; return the error."""
    entering = asyncio.create_task(bus.__aenter__())
    await until(has_come)
    loop_time.pass_s(bus_module.FIRST_CONNECT_TIMEOUT_S)
    with pytest.raises(ClusterError) as caught:
        await entering
    return str(caught.value)


@pytest.mark.parametrize(
    "info", [{}, {"tls_required": False}, {"tls_available": True}, {"auth_required": True}, {"tls_required": None}]
)
@pytest.mark.parametrize("by", ["scheme", "authorities"])
async def test_nothing_is_sent_to_a_server_that_does_not_require_tls(
    info: dict[str, Any], by: str, authorities: Path, loop_time: Any
) -> None:
    server = Eavesdropper(**info)
    async with server.running() as port:
        place = f"me:secret@127.0.0.1:{port}"
        settings = (
            NatsSettings(url=f"tls://{place}")
            if by == "scheme"
            else NatsSettings(url=f"nats://{place}", authorities=authorities)
        )
        bus = Bus(settings, "test")
        error = await refused(bus, lambda: bus._error, loop_time)
    assert "it does not speak TLS" in error
    assert server.received == []
    assert "secret" not in error


async def test_without_tls_the_password_is_sent(loop_time: Any) -> None:
    """The control: this server does receive it."""
    server = Eavesdropper()
    async with server.running() as port:
        bus = Bus(NatsSettings(url=f"nats://me:secret@127.0.0.1:{port}"), "test")
        await refused(bus, lambda: b"secret" in b"".join(server.received), loop_time)


def test_the_requirement_is_the_release_whose_private_method_is_overridden() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["optional-dependencies"]["nats"] == ["nats-py[nkeys]==2.16.*"]
    assert version("nats-py").startswith("2.16.")


async def test_a_failing_handler_does_not_end_the_subscription(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[str] = []

    def handler(subject: str, data: bytes) -> None:
        if data == b"bad":
            raise ZeroDivisionError("a bug")
        taken.append(subject)

    class OneSubject:
        async def subscribe(self, subject: str, *, cb: Any, **_: int) -> None:
            for data in (b"bad", b"bad", b"good"):
                await cb(SimpleNamespace(subject=subject, data=data))

    bus = Bus(NatsSettings(url="nats://127.0.0.1:4222"), "test")
    with caplog.at_level(logging.ERROR):
        await bus._listen(OneSubject(), "mer.v1.hall.emotion", handler)  # type: ignore[arg-type]
    assert taken == ["mer.v1.hall.emotion"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_following_a_bucket_survives_a_failing_callback(caplog: pytest.LogCaptureFixture) -> None:
    snapshots: list[int] = []

    class EmptyBucket:
        async def watchall(self, **_: float) -> EmptyBucket:
            return self

        async def updates(self, **_: float) -> None:
            await asyncio.sleep(0.01)

        async def stop(self) -> None:
            pass

    def on_snapshot(_: object) -> None:
        snapshots.append(len(snapshots))
        if len(snapshots) == 1:
            raise ZeroDivisionError("a bug")

    bus = Bus(NatsSettings(url="nats://127.0.0.1:4222"), "test")
    bus._client, bus._buckets = object(), {"mer_channels": EmptyBucket()}  # type: ignore[assignment, dict-item]
    following = asyncio.create_task(bus.follow("mer_channels", on_snapshot=on_snapshot, on_change=lambda *_: None))
    async with asyncio.timeout(20):
        while len(snapshots) < 2:  # noqa: ASYNC110 - it looks at what another task does
            await asyncio.sleep(0.01)
    following.cancel()
    assert "following mer_channels failed" in caplog.text


def drained(box: CoalescingQueue[int]) -> list[tuple[str, str, int]]:
    taken = []
    while (one := box.get()) is not None:
        taken.append(one)
    return taken


def test_a_newer_frame_replaces_the_queued_one_of_its_channel() -> None:
    box: CoalescingQueue[int] = CoalescingQueue(wake=lambda: None)
    for channel, value in (("a", 1), ("b", 2), ("a", 3)):
        box.put(channel, "emotion", value)
    assert drained(box) == [("a", "emotion", 3), ("b", "emotion", 2)]
    assert box.replaced == 1


def test_lines_are_queued_in_order_and_the_oldest_are_dropped() -> None:
    box: CoalescingQueue[int] = CoalescingQueue(wake=lambda: None, capacity=3)
    for value in range(5):
        box.put("a", "lyrics", value)
    assert [value for _, _, value in drained(box)] == [2, 3, 4]
    assert box.dropped == 2


def test_the_reader_is_woken_once_until_the_queue_is_empty() -> None:
    woken = []
    box: CoalescingQueue[int] = CoalescingQueue(wake=lambda: woken.append(1))
    box.put("a", "emotion", 1)
    box.put("a", "lyrics", 2)
    assert len(woken) == 1
    drained(box)
    box.put("a", "emotion", 3)
    assert len(woken) == 2


def test_events_of_a_channel_can_be_discarded() -> None:
    box: CoalescingQueue[int] = CoalescingQueue(wake=lambda: None)
    for channel in "ab":
        box.put(channel, "emotion", 1)
        box.put(channel, "lyrics", 2)
    assert box.has("a")
    box.discard("a")
    assert not box.has("a")
    assert drained(box) == [("b", "lyrics", 2), ("b", "emotion", 1)]


class Stubborn:
    """Swallows so many cancellations before it gives in."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.ended = False

    async def work(self) -> None:
        try:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.times -= 1
                    if self.times < 0:
                        raise
        finally:
            self.ended = True


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    one, other = Stubborn(0), Stubborn(2)
    tasks = [asyncio.create_task(each.work()) for each in (one, other)]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert all(task.cancelled() for task in tasks)
    await end_tasks(tasks)


async def test_the_first_failure_ends_all_tasks() -> None:
    other = Stubborn(1)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("so it is")

    with pytest.raises(ValueError, match="so it is"):
        await run_together(other.work(), fail())
    assert other.ended


async def test_a_cancellation_while_ending_still_ends_all_tasks() -> None:
    other = Stubborn(2)
    together = asyncio.create_task(run_together(other.work()))
    await asyncio.sleep(0)
    for _ in range(2):
        together.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await together
    assert other.ended
