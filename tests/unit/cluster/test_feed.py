"""What comes from NATS fills the hub; what does not fit is counted, and harms neither its channel nor the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from stream_mer.cluster.envelope import kind_of, seal
from stream_mer.cluster.feed import EPOCH_AHEAD_S, Feed
from stream_mer.cluster.holds import SharedHub
from stream_mer.cluster.names import subject_of
from stream_mer.cluster.records import Channel, Claim, HoldRecord, Worker, encode
from stream_mer.cluster.store import Entry
from stream_mer.errors import ClusterError
from stream_mer.server import messages as wire
from stream_mer.server.examples import FRAME, LINE, STATUS
from stream_mer.types import ControlCommand, EmotionFrame, StreamEvent


class NoBus:
    """A connection over which nothing goes: the test hands over what would come."""

    connected = True
    generation = 1

    async def publish(self, *_: object) -> bool:
        return True


class Node:
    """A feed and its hub, without NATS."""

    def __init__(self, *channels: str) -> None:
        self.hub = SharedHub(history_messages=8)
        self.seen: list[wire.EventMessage] = []
        self.hub.watch(self)
        self.feed = Feed(NoBus(), self.hub)  # type: ignore[arg-type]
        roster = self.feed._roster
        roster.channels.known({name: (encode(Channel(id=name, source="demo")), 1) for name in channels})
        claim = Claim(session="s", worker="w", state="running", channel=1)
        roster.claims.known({name: (encode(claim), 5) for name in channels})
        roster.workers.known({"s": (encode(Worker(name="w", host="h", pid=1, capacity=9)), 1)})
        self.feed._note_roster()

    def see(self, message: wire.EventMessage) -> None:
        self.seen.append(message)

    def send(self, channel: str, data: bytes, kind: str = "emotion") -> None:
        self.feed._sort(subject_of(channel, kind), data)
        while (waiting := self.feed._incoming.take()) is not None:
            self.feed._publish(*waiting)

    def times(self, channel: str) -> list[float]:
        return [one.t1 for one in self.seen if isinstance(one, wire.Emotion) and one.stream == channel]


def frame(t1: float, *, epoch: int = 5, number: int | None = None, **changes: Any) -> bytes:
    number = round(2 * t1) if number is None else number
    return seal(replace(FRAME, t1=t1, **changes), epoch=epoch, number=number)


def with_modalities(t1: float, *modalities: str) -> bytes:
    return frame(t1, raw=replace(FRAME.raw, modalities=modalities))


async def test_an_event_that_decodes_and_does_not_fit_is_left_out_and_all_else_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = Node("hall", "foyer")
    with caplog.at_level(logging.ERROR):
        node.send("hall", frame(1.0))
        for number in range(50):
            node.send("hall", frame(2.0, number=100 + number, valence=7.0))
        node.send("hall", b"[" * 100_000)
        node.send("foyer", frame(1.0))
        node.send("hall", frame(3.0, number=200))
    assert (node.times("hall"), node.times("foyer")) == ([1.0, 3.0], [1.0])
    assert node.feed.losses()["no event"] == 51
    assert [record.levelname for record in caplog.records] == ["ERROR"], "one line a minute"
    assert caplog.text.count("hall: something that is no event") == 1


async def test_what_a_newer_worker_says_more_is_left_out_and_its_frames_are_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = Node("hall")
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            node.send("hall", with_modalities(1.0 + number, "audio", "video"))
    assert len(node.times("hall")) == 20
    assert {one.modalities for one in node.seen if isinstance(one, wire.Emotion)} == {("audio",)}
    assert node.feed.losses()["with unknown values"] == 20
    assert caplog.text.count("update this node") == 1
    node.send("hall", with_modalities(100.0, "video"))
    assert node.times("hall")[-1] == 100.0


async def test_a_hub_that_fails_for_one_channel_goes_on_for_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node("hall", "foyer")
    publish = node.hub.publish

    def fail(stream: str, event: StreamEvent) -> None:
        if stream == "hall":
            raise ZeroDivisionError("a bug")
        publish(stream, event)

    monkeypatch.setattr(node.hub, "publish", fail)
    for t1 in (1.0, 2.0, 3.0):
        node.send("hall", frame(t1))
        node.send("foyer", frame(t1))
    assert node.times("foyer") == [1.0, 2.0, 3.0]
    assert node.feed.losses()["failed to be published"] == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"], "one line a minute"
    assert "hall: something that came from NATS could not be published: a bug" in caplog.text


async def test_an_epoch_that_nobody_claimed_silences_a_channel_for_a_moment_only() -> None:
    node = Node("hall")
    node.send("hall", frame(1.0))
    node.send("hall", frame(2.0, epoch=2**62, number=0))
    node.send("hall", frame(3.0))
    assert node.times("hall") == [1.0, 2.0], "of an owner of the past, as it seems"
    sight = node.feed._sights["hall"]
    node.feed._look(sight, now=100.0, connected=True)
    node.feed._look(sight, now=100.0 + EPOCH_AHEAD_S, connected=True)
    node.send("hall", frame(4.0))
    assert node.times("hall")[-1] == 4.0


async def test_a_hold_that_fails_for_one_channel_is_carried_out_for_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node("hall", "foyer")
    for channel in ("hall", "foyer"):
        node.send(channel, frame(1.0))
    obey = node.hub.obey

    def fail(command: ControlCommand, *, shown: EmotionFrame | None) -> None:
        if command.streams == ("hall",):
            raise ZeroDivisionError("a bug")
        obey(command, shown=shown)

    monkeypatch.setattr(node.hub, "obey", fail)
    blackout = Entry(value=encode(HoldRecord(action="blackout")), revision=1, stored_at=0.0)
    rewind = Entry(value=msgspec.json.encode({"action": "rewind"}), revision=1, stored_at=0.0)
    node.feed._holds._know({"hall": blackout, "foyer": rewind})
    assert "hall: what an operator said at another node failed: a bug" in caplog.text
    assert "foyer: what NATS keeps as a" in caplog.text
    node.feed._holds._know({"hall": blackout, "foyer": blackout})
    held = [one.hold for one in node.seen if isinstance(one, wire.Emotion) and one.stream == "foyer"]
    assert held == [None, "blackout"]


async def test_a_hold_that_cannot_be_told_does_not_keep_the_others_from_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node("hall", "foyer")
    told: list[str] = []

    async def tell_one(token: str, _: HoldRecord) -> None:
        if token == "hall":  # noqa: S105 - no password
            raise ClusterError("NATS refuses: invalid TTL")
        told.append(token)

    monkeypatch.setattr(node.feed._holds, "_tell_one", tell_one)
    for channel in ("hall", "foyer"):
        node.feed._holds._note(channel, HoldRecord(action="freeze"))
    telling = asyncio.create_task(node.feed._holds._tell_always())
    await until(lambda: told == ["foyer"])
    telling.cancel()
    assert list(node.feed._holds._untold) == ["hall"]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it looks at what another task does
            await asyncio.sleep(0)


async def test_every_kind_of_event_reaches_the_hub() -> None:
    node = Node("hall")
    for event in (FRAME, LINE, STATUS):
        node.send("hall", seal(event, epoch=5, number=0), kind_of(event))
    assert [type(one).__name__ for one in node.seen] == ["Emotion", "Lyrics", "Status"]
