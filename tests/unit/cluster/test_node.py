"""A serving node: it accepts only valid events of current owners, and reports outages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.cluster.node import EPOCH_AHEAD_S, LOST_AFTER_S, STALLED_AFTER_S, ChannelView, Fence, Node, SharedHub
from stream_mer.cluster.records import (
    Channel,
    Claim,
    Entry,
    Envelope,
    Override,
    Worker,
    encode,
    event_subject,
    kind_of,
    seal,
)
from stream_mer.errors import ClusterError
from stream_mer.event_json import MessageEncoder
from stream_mer.server import messages as wire
from stream_mer.types import ControlCommand, EmotionFrame, StreamEvent, StreamStatus
from tools.examples import FRAME, LINE, STATUS


def envelope(t1: float, *, epoch: int, number: int) -> Envelope[StreamEvent]:
    return Envelope(epoch=epoch, number=number, event=replace(FRAME, t1=t1))


def test_events_of_a_former_owner_are_rejected() -> None:
    fence = Fence()
    assert fence.admit(envelope(1, epoch=5, number=0))
    assert fence.admit(envelope(2, epoch=9, number=0))
    assert not fence.admit(envelope(3, epoch=5, number=1))
    assert fence.admit(envelope(3, epoch=9, number=1))
    assert fence.counts["outdated"] == 1


def test_stored_events_of_a_former_owner_count_until_the_new_one_publishes() -> None:
    fence = Fence()
    fence.raise_to(9)
    fence.raise_to(3)
    assert not fence.admit(envelope(1, epoch=5, number=0))
    assert fence.admit(envelope(1, epoch=5, number=70), stored=True)
    assert not fence.admit(envelope(1, epoch=5, number=70), stored=True)
    assert fence.epoch == 9
    assert fence.admit(envelope(2, epoch=9, number=0))
    assert not fence.admit(envelope(3, epoch=5, number=71), stored=True)


def test_repeated_events_are_rejected_and_missing_ones_counted() -> None:
    fence = Fence()
    for number in (4, 5, 5, 4, 8):
        fence.admit(envelope(number, epoch=1, number=number))
    counts = fence.counts
    assert (counts["admitted"], counts["repeated"], counts["missing"]) == (3, 2, 2)
    assert fence.admit(Envelope(epoch=1, number=0, event=LINE)), "each kind is numbered separately"


def test_time_never_goes_back_not_even_with_a_new_owner() -> None:
    fence = Fence()
    assert fence.admit(envelope(10, epoch=1, number=0))
    assert not fence.admit(envelope(9.5, epoch=2, number=0))
    assert not fence.admit(envelope(10, epoch=2, number=1))
    assert fence.admit(envelope(10.5, epoch=2, number=2))
    assert fence.counts["backwards"] == 2


@settings(deadline=None)  # other work may run beside it
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 20)),
        max_size=60,
    )
)
def test_admitted_events_are_in_order(seen: list[tuple[int, int, int]]) -> None:
    fence = Fence()
    passed = []
    for epoch, number, t1 in seen:
        one = envelope(t1, epoch=epoch, number=number)
        if fence.admit(one):
            passed.append((epoch, number, t1))
    assert [one[:2] for one in passed] == sorted({one[:2] for one in passed})
    times = [one[2] for one in passed]
    assert times == sorted(set(times))
    counts = fence.counts
    assert counts["admitted"] + counts["outdated"] + counts["repeated"] + counts["backwards"] == len(seen)


LIVE = replace(STATUS, source="live")


def states(events: list[StreamEvent]) -> list[str]:
    return [event.source for event in events if isinstance(event, StreamStatus)]


def reasons(events: list[StreamEvent]) -> list[str]:
    return [code for event in events if isinstance(event, EmotionFrame) for code in event.raw.degraded]


def live_view() -> ChannelView:
    view = ChannelView("main", now=0.0)
    view.on_event(LIVE, now=0.0)
    view.on_event(FRAME, now=0.0)
    return view


def test_without_an_outage_nothing_is_added() -> None:
    view = live_view()
    assert view.check(now=0.5, connected=True, owned=True) == []
    assert view.on_event(LINE, now=0.6) == [LINE]
    assert view.on_event(FRAME, now=0.6) == [FRAME]


def test_a_lost_broker_is_reported_at_once_until_the_next_frame() -> None:
    view = live_view()
    events = view.check(now=0.1, connected=False, owned=True)
    assert states(events) == ["reconnecting"]
    assert reasons(events) == ["broker_lost"]
    assert view.check(now=0.4, connected=False, owned=True) == []
    assert view.check(now=0.5, connected=True, owned=True) == []
    assert view.on_event(FRAME, now=0.9) == [LIVE, FRAME]
    assert view.on_event(FRAME, now=1.4) == [FRAME]


def test_a_lost_worker_is_reported_unless_another_follows_at_once() -> None:
    view = live_view()
    assert view.check(now=0.2, connected=True, owned=False) == []
    assert view.check(now=0.4, connected=True, owned=True) == []
    assert view.check(now=0.5, connected=True, owned=False) == []
    events = view.check(now=0.5 + LOST_AFTER_S, connected=True, owned=False)
    assert (states(events), reasons(events)) == (["reconnecting"], ["worker_lost"])
    assert view.check(now=9.0, connected=True, owned=True) == []  # the reason was given; no second one in its place
    assert view.on_event(FRAME, now=9.5) == [LIVE, FRAME]


def test_a_silent_worker_has_stalled() -> None:
    view = live_view()
    assert view.check(now=STALLED_AFTER_S - 0.1, connected=True, owned=True) == []
    events = view.check(now=STALLED_AFTER_S, connected=True, owned=True)
    assert (states(events), reasons(events)) == (["stalled"], ["worker_silent"])


def test_a_channel_without_any_event_is_reconnecting() -> None:
    view = ChannelView("main", now=0.0)
    events = [*view.check(now=0, connected=True, owned=False), *view.check(now=1, connected=True, owned=False)]
    assert events == [StreamStatus(source="reconnecting", device="main", lyrics="off")]


def test_a_source_that_ended_is_no_outage() -> None:
    view = live_view()
    view.on_event(replace(STATUS, source="ended"), now=1.0)
    assert view.check(now=60, connected=True, owned=False) == []
    assert view.check(now=61, connected=False, owned=False) == []


class NoBus:
    """A connection over which nothing goes: the test hands over what would come."""

    connected = True
    generation = 1

    async def publish(self, *_: object) -> bool:
        return True


class NodeWithoutNats:
    """A node and its hub, without NATS."""

    def __init__(self, *channels: str) -> None:
        self.hub = SharedHub(history_messages=8)
        self.seen: list[wire.EventMessage] = []
        self.hub.subscribe(lambda stream, event: self.seen.append(MessageEncoder(stream).message(event)))
        self.node = Node(NoBus(), self.hub)  # type: ignore[arg-type]
        state = self.node._state
        claim, worker = (
            Claim(session="s", worker="w", state="running", channel=1),
            Worker(name="w", host="h", pid=1, capacity=9),
        )
        state.channels.on_snapshot(
            {name: Entry(value=encode(Channel(id=name, source="demo")), revision=1) for name in channels}
        )
        state.claims.on_snapshot({name: Entry(value=encode(claim), revision=5) for name in channels})
        state.workers.on_snapshot({"s": Entry(value=encode(worker), revision=1)})
        self.node._on_state_change()

    def send(self, channel: str, data: bytes, kind: str = "emotion") -> None:
        self.node._on_message(event_subject(channel, kind), data)
        while (waiting := self.node._incoming.get()) is not None:
            self.node._publish(*waiting)

    def times(self, channel: str) -> list[float]:
        return [one.t1 for one in self.seen if isinstance(one, wire.Emotion) and one.stream == channel]


def frame(t1: float, *, epoch: int = 5, number: int | None = None, **changes: Any) -> bytes:
    number = round(2 * t1) if number is None else number
    return seal(replace(FRAME, t1=t1, **changes), epoch=epoch, number=number)


def with_modalities(t1: float, *modalities: str) -> bytes:
    return frame(t1, raw=replace(FRAME.raw, modalities=modalities))


async def test_invalid_events_are_dropped_and_everything_else_continues(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = NodeWithoutNats("hall", "foyer")
    with caplog.at_level(logging.ERROR):
        node.send("hall", frame(1.0))
        for number in range(50):
            node.send("hall", frame(2.0, number=100 + number, valence=7.0))
        node.send("hall", b"[" * 100_000)
        node.send("foyer", frame(1.0))
        node.send("hall", frame(3.0, number=200))
    assert (node.times("hall"), node.times("foyer")) == ([1.0, 3.0], [1.0])
    assert node.node.losses()["invalid"] == 51
    assert [record.levelname for record in caplog.records] == ["ERROR"], "one line a minute"
    assert caplog.text.count("hall: NATS delivered an invalid event") == 1


async def test_unknown_values_of_a_newer_worker_are_removed_and_its_frames_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = NodeWithoutNats("hall")
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            node.send("hall", with_modalities(1.0 + number, "audio", "video"))
    assert len(node.times("hall")) == 20
    assert {one.modalities for one in node.seen if isinstance(one, wire.Emotion)} == {("audio",)}
    assert node.node.losses()["with unknown values"] == 20
    assert caplog.text.count("update this node") == 1
    node.send("hall", with_modalities(100.0, "video"))
    assert node.times("hall")[-1] == 100.0


async def test_a_failure_of_one_channel_does_not_affect_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeWithoutNats("hall", "foyer")
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
    assert node.node.losses()["failed to be published"] == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"], "one line a minute"
    assert "hall: an event from NATS could not be published: a bug" in caplog.text


async def test_a_forged_epoch_silences_a_channel_only_briefly() -> None:
    node = NodeWithoutNats("hall")
    node.send("hall", frame(1.0))
    node.send("hall", frame(2.0, epoch=2**62, number=0))
    node.send("hall", frame(3.0))
    assert node.times("hall") == [1.0, 2.0], "of an owner of the past, as it seems"
    view = node.node._views["hall"]
    node.node._check(view, now=100.0, connected=True)
    node.node._check(view, now=100.0 + EPOCH_AHEAD_S, connected=True)
    node.send("hall", frame(4.0))
    assert node.times("hall")[-1] == 4.0


async def test_an_event_that_arrives_before_its_claim_leaves_what_is_rejected() -> None:
    node = NodeWithoutNats("hall")
    node.send("hall", frame(1.0))
    node.send("hall", frame(2.0, epoch=6, number=0))
    node.node._on_state_change()  # of something else: NATS has not reported this claim yet
    node.send("hall", frame(2.0, epoch=6, number=0))  # as what NATS keeps is replayed after a reconnection
    node.send("hall", frame(3.0))  # of the former owner
    assert node.times("hall") == [1.0, 2.0]


async def test_without_a_connection_no_epoch_counts_as_invalid() -> None:
    node = NodeWithoutNats("hall")
    node.send("hall", frame(1.0))
    node.send("hall", frame(2.0, epoch=6, number=0))
    view = node.node._views["hall"]
    for now in (100.0, 100.0 + EPOCH_AHEAD_S, 101.0 + EPOCH_AHEAD_S):
        node.node._check(view, now=now, connected=now == 101.0 + EPOCH_AHEAD_S)
    node.send("hall", frame(3.0))
    assert "outdated" in view.fence.counts


async def test_an_override_that_fails_for_one_channel_is_applied_to_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeWithoutNats("hall", "foyer")
    for channel in ("hall", "foyer"):
        node.send(channel, frame(1.0))
    apply = node.hub.apply

    def fail(command: ControlCommand, *, shown: EmotionFrame | None) -> None:
        if command.streams == ("hall",):
            raise ZeroDivisionError("a bug")
        apply(command, shown=shown)

    monkeypatch.setattr(node.hub, "apply", fail)
    blackout = Entry(value=encode(Override(action="blackout")), revision=1)
    rewind = Entry(value=msgspec.json.encode({"action": "rewind"}), revision=1)
    node.node._overrides._on_snapshot({"hall": blackout, "foyer": rewind})
    assert "hall: a command of an operator at another node failed: a bug" in caplog.text
    assert "foyer: NATS keeps an invalid" in caplog.text
    node.node._overrides._on_snapshot({"hall": blackout, "foyer": blackout})
    held = [one.hold for one in node.seen if isinstance(one, wire.Emotion) and one.stream == "foyer"]
    assert held == [None, "blackout"]


async def test_an_override_that_cannot_be_shared_does_not_block_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = NodeWithoutNats("hall", "foyer")
    events: list[str] = []

    async def store(token: str, _: Override) -> None:
        if token == "hall":  # noqa: S105 - no password
            raise ClusterError("NATS refuses: invalid TTL")
        events.append(token)

    monkeypatch.setattr(node.node._overrides, "_store", store)
    for channel in ("hall", "foyer"):
        node.node._overrides._queue(channel, Override(action="freeze"))
    sharing = asyncio.create_task(node.node._overrides._share_loop())
    await until(lambda: events == ["foyer"])
    sharing.cancel()
    assert list(node.node._overrides._unshared) == ["hall"]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it looks at what another task does
            await asyncio.sleep(0)


async def test_every_kind_of_event_reaches_the_hub() -> None:
    node = NodeWithoutNats("hall")
    for event in (FRAME, LINE, STATUS):
        node.send("hall", seal(event, epoch=5, number=0), kind_of(event))
    assert [type(one).__name__ for one in node.seen] == ["Emotion", "Lyrics", "Status"]
