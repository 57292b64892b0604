"""The state of a cluster: every channel goes to one worker, evenly, and invalid rows are left out."""

from __future__ import annotations

import logging

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.cluster.records import Channel, Claim, ClaimState, Entry, Worker, encode, token_of
from stream_mer.cluster.state import ClusterState, Table, channels_to_claim, channels_to_release


class Cluster:
    """The state of a cluster, changed as NATS would report it."""

    def __init__(self) -> None:
        self.state = ClusterState()
        for table in self.state.tables.values():
            table.on_snapshot({})
        self._revision = 0

    def entry(self, value: bytes) -> Entry:
        self._revision += 1
        return Entry(value=value, revision=self._revision)

    def channel(self, name: str) -> None:
        self.state.channels.on_change(token_of(name), self.entry(encode(Channel(id="x", source="demo"))))

    def worker(self, session: str, *, capacity: int = 100, draining: bool = False) -> None:
        row = Worker(name=session, host="h", pid=1, capacity=capacity, draining=draining)
        self.state.workers.on_change(session, self.entry(encode(row)))

    def gone(self, session: str) -> None:
        self.state.workers.on_change(session, None)

    def claim(self, name: str, session: str, state: ClaimState = "running") -> None:
        channel = self.state.channels.rows[token_of(name)].revision
        claim = Claim(session=session, worker=session, state=state, channel=channel)
        self.state.claims.on_change(token_of(name), self.entry(encode(claim)))

    def settle(self, sessions: list[str]) -> None:
        """All workers claim what they should; their order does not matter, because all know the same state."""
        for session, tokens in {one: channels_to_claim(self.state, one, takeover=True) for one in sessions}.items():
            for token in tokens:
                self.claim(self.state.names()[token], session)


def cluster(channels: int, workers: list[str], **options: int) -> Cluster:
    made = Cluster()
    for i in range(channels):
        made.channel(f"channel {i:03}")
    for session in workers:
        made.worker(session, **options)
    return made


@settings(deadline=None)  # other work may run beside it
@given(channels=st.integers(0, 40), workers=st.integers(1, 5))
def test_every_channel_is_claimed_once_and_evenly(channels: int, workers: int) -> None:
    sessions = [f"w{i}" for i in range(workers)]
    made = cluster(channels, sessions)
    wanted = [token for one in sessions for token in channels_to_claim(made.state, one, takeover=True)]
    assert len(wanted) == len(set(wanted)) == channels
    made.settle(sessions)
    load = made.state.load()
    assert sum(load.values()) == channels
    assert max(load.values()) - min(load.values()) <= 1


def test_channels_of_a_lost_worker_are_shared() -> None:
    made = cluster(30, ["a", "b", "c"])
    made.settle(["a", "b", "c"])
    made.gone("a")
    assert all(channels_to_claim(made.state, one, takeover=False) == [] for one in "bc")
    made.settle(["b", "c"])
    assert made.state.load() == {"b": 15, "c": 15}


def test_released_channels_are_claimed_at_once() -> None:
    made = cluster(2, ["a", "b"])
    made.settle(["a", "b"])
    made.claim("channel 000", "a", "free")
    assert channels_to_claim(made.state, "a", takeover=False) == ["channel=20000"]


def test_no_worker_exceeds_its_capacity() -> None:
    made = cluster(10, ["a", "b"], capacity=3)
    made.settle(["a", "b"])
    assert made.state.load() == {"a": 3, "b": 3}


def test_a_draining_worker_claims_nothing() -> None:
    made = cluster(4, ["a"])
    made.worker("b", draining=True)
    assert channels_to_claim(made.state, "b", takeover=True) == []
    assert len(channels_to_claim(made.state, "a", takeover=True)) == 4
    assert channels_to_claim(made.state, "stranger", takeover=True) == []


def test_an_overdue_channel_goes_to_any_worker() -> None:
    made = cluster(1, ["a", "b"])
    only = "channel=20000"
    taker, other = ("a", "b") if channels_to_claim(made.state, "a", takeover=True) else ("b", "a")
    assert channels_to_claim(made.state, other, takeover=True) == []
    assert channels_to_claim(made.state, other, takeover=True, overdue={only}) == [only]
    assert channels_to_claim(made.state, taker, takeover=True, overdue={only}) == [only]


def test_a_channel_that_ended_is_claimed_again_only_with_another_source() -> None:
    made = cluster(1, ["a"])
    made.claim("channel 000", "a", "ended")
    made.gone("a")
    made.worker("b")
    assert channels_to_claim(made.state, "b", takeover=True) == []
    made.channel("channel 000")
    assert len(channels_to_claim(made.state, "b", takeover=True)) == 1


def test_a_new_worker_gets_its_share_gradually() -> None:
    made = cluster(9, ["a", "b"])
    made.settle(["a", "b"])
    made.worker("c")
    for _ in range(20):
        for session in "abc":
            for token in channels_to_release(made.state, session):
                made.claim(made.state.names()[token], session, "free")
            made.settle(["a", "b", "c"])
    assert made.state.load() == {"a": 3, "b": 3, "c": 3}
    assert not any(channels_to_release(made.state, one) for one in "abc")


def test_nothing_is_released_when_no_worker_has_room() -> None:
    made = cluster(6, ["a"])
    made.settle(["a"])
    made.worker("b", capacity=0)
    made.worker("c", draining=True)
    assert channels_to_release(made.state, "a") == []


def test_invalid_rows_and_keys_are_left_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    made = cluster(2, ["a"])
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            made.state.channels.on_change("channel=20000", made.entry(b"[[[["))
    for key in ("no token %", "=1B[2J", "=1B=5B2J", "a" * 65):
        made.state.channels.on_change(key, made.entry(encode(Channel(id="x", source="demo"))))
    assert made.state.names() == {"channel=20000": "channel 000", "channel=20001": "channel 001"}
    assert channels_to_claim(made.state, "a", takeover=True) == ["channel=20000", "channel=20001"]
    assert len(caplog.records) == 1
    assert "'channel=20000': NATS keeps an invalid channel record" in caplog.text


def test_a_channel_whose_state_only_newer_workers_know_is_not_taken_from_them() -> None:
    made = cluster(1, ["a", "b"])
    claim = msgspec.to_builtins(Claim(session="a", worker="a", state="running", channel=1)) | {"state": "paused"}
    made.state.claims.on_change("channel=20000", made.entry(msgspec.json.encode(claim)))
    assert made.state.owner("channel=20000") == "a"
    assert channels_to_claim(made.state, "b", takeover=True) == []


def test_only_changes_that_matter_to_claims_are_reported() -> None:
    made, row = cluster(1, ["a"]), Worker(name="a", host="h", pid=1, capacity=100, cpu=0.5)
    workers: Table[Worker] = made.state.workers
    assert not workers.on_change("a", made.entry(encode(row)))
    assert workers.on_change("a", made.entry(encode(Worker(name="a", host="h", pid=1, capacity=100, draining=True))))
    assert workers.on_change("a", None)
    assert not workers.on_change("a", None)
