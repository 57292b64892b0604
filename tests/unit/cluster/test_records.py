"""What NATS keeps: whatever does not fit is said, and what a newer node wrote does no harm."""

from __future__ import annotations

import logging

import msgspec
import pytest

from stream_mer.cluster.records import Channel, Claim, HoldRecord, Worker, decode, decode_hold, encode
from stream_mer.cluster.roster import Roster, Table
from stream_mer.errors import ClusterError
from stream_mer.server.examples import FRAME

CLAIM = Claim(session="s", worker="w", state="running", channel=3)
WORKER = Worker(name="w", host="h", pid=7, capacity=9, hop_s=0.5, context_s=10.0)


def test_every_record_comes_back() -> None:
    for record in (CLAIM, WORKER, Channel(id="x", source="demo"), HoldRecord(action="freeze", shown=FRAME)):
        assert decode(encode(record), type(record)) == record


def test_a_state_that_only_newer_workers_know_is_no_reason_to_take_the_channel_from_them() -> None:
    newer = msgspec.json.encode(msgspec.to_builtins(CLAIM) | {"state": "paused"})
    assert decode(newer, Claim).state == "running"
    roster = Roster()
    roster.workers.known({"s": (encode(WORKER), 1)})
    roster.claims.known({"hall": (newer, 4)})
    assert roster.owner("hall") == "s"


@pytest.mark.parametrize("state", [3, None, ["running"]])
def test_a_state_that_is_no_word_is_none(state: object) -> None:
    with pytest.raises(ClusterError):
        decode(msgspec.json.encode(msgspec.to_builtins(CLAIM) | {"state": state}), Claim)


@pytest.mark.parametrize("hop_s", [-1, 1e300, "x"])
def test_a_worker_whose_hop_cannot_be_is_none(hop_s: object) -> None:
    with pytest.raises(ClusterError, match="keeps as a worker is none"):
        decode(msgspec.json.encode(msgspec.to_builtins(WORKER) | {"hop_s": hop_s}), Worker)


@pytest.mark.parametrize("kind", [Channel, Claim, Worker, HoldRecord])
def test_what_is_nested_without_end_is_none(kind: type[msgspec.Struct]) -> None:
    for deep in (b"[", b'{"a":'):
        with pytest.raises(ClusterError):
            decode(deep * 100_000, kind)


def test_a_blackout_is_dark_though_its_frame_cannot_be_shown() -> None:
    told = msgspec.to_builtins(HoldRecord(action="blackout", shown=FRAME))
    told["shown"]["valence"] = 5.0
    assert decode_hold(msgspec.json.encode(told)) == HoldRecord(action="blackout")
    told["shown"] = {"of": "a newer version"}
    assert decode_hold(msgspec.json.encode(told)) == HoldRecord(action="blackout")


@pytest.mark.parametrize(
    "told",
    [
        {"action": "rewind"},
        {"action": "override"},
        {"action": "override", "override": {"valence": 3, "arousal": 0}},
        {"action": "override", "override": {"valence": 0, "arousal": 0, "ttl_s": 1e300}},
    ],
)
def test_a_hold_that_cannot_be_carried_out_is_none(told: dict[str, object]) -> None:
    with pytest.raises(ClusterError):
        decode_hold(msgspec.json.encode(told))


def test_a_row_that_cannot_be_read_is_said_once_and_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    table = Table(Channel)
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            table.changed("bad", b"[[[[", 1)
        table.changed("good", encode(Channel(id="x", source="demo")), 2)
    assert list(table.rows) == ["good"]
    assert len(caplog.records) == 1
    assert "'bad': what NATS keeps as a channel is none" in caplog.text


def test_keys_that_stand_for_no_name_are_passed_over() -> None:
    roster = Roster()
    rows = {key: (encode(Channel(id="x", source="demo")), 1) for key in ("hall", "=1B[2J", "=1B=5B2J", "a" * 65)}
    roster.channels.known(rows)
    assert roster.names() == {"hall": "hall"}
