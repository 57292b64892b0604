"""Who takes which channel: every channel goes to one worker, evenly, and nobody who is gone keeps any."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.cluster.names import token_of
from stream_mer.cluster.planning import to_claim, to_hand_over
from stream_mer.cluster.records import Channel, Claim, ClaimState, Worker, encode
from stream_mer.cluster.roster import Roster


class Cluster:
    """A roster that is told things as NATS would tell them."""

    def __init__(self) -> None:
        self.roster = Roster()
        for table in self.roster.tables.values():
            table.known({})
        self._revision = 0

    def _next(self) -> int:
        self._revision += 1
        return self._revision

    def channel(self, name: str) -> None:
        self.roster.channels.changed(token_of(name), encode(Channel(id="x", source="demo")), self._next())

    def worker(self, session: str, *, capacity: int = 100, draining: bool = False) -> None:
        row = Worker(name=session, host="h", pid=1, capacity=capacity, draining=draining)
        self.roster.workers.changed(session, encode(row), self._next())

    def gone(self, session: str) -> None:
        self.roster.workers.changed(session, None)

    def claim(self, name: str, session: str, state: ClaimState = "running") -> None:
        channel = self.roster.channels.rows[token_of(name)].revision
        claim = Claim(session=session, worker=session, state=state, channel=channel)
        self.roster.claims.changed(token_of(name), encode(claim), self._next())

    def settle(self, sessions: list[str]) -> None:
        """All take what they are to take; the order does not matter, because all know the same."""
        for session, tokens in {one: to_claim(self.roster, one, takeover=True) for one in sessions}.items():
            for token in tokens:
                self.claim(self.roster.names()[token], session)


def cluster(channels: int, workers: list[str], **options: int) -> Cluster:
    made = Cluster()
    for i in range(channels):
        made.channel(f"channel {i:03}")
    for session in workers:
        made.worker(session, **options)
    return made


@settings(deadline=None)  # other work may run beside it
@given(channels=st.integers(0, 40), workers=st.integers(1, 5))
def test_every_channel_is_taken_by_one_and_evenly(channels: int, workers: int) -> None:
    sessions = [f"w{i}" for i in range(workers)]
    made = cluster(channels, sessions)
    wanted = [token for one in sessions for token in to_claim(made.roster, one, takeover=True)]
    assert len(wanted) == len(set(wanted)) == channels
    made.settle(sessions)
    load = made.roster.load()
    assert sum(load.values()) == channels
    assert max(load.values()) - min(load.values()) <= 1


def test_channels_of_a_worker_that_is_gone_are_shared_out() -> None:
    made = cluster(30, ["a", "b", "c"])
    made.settle(["a", "b", "c"])
    made.gone("a")
    assert all(to_claim(made.roster, one, takeover=False) == [] for one in "bc")
    made.settle(["b", "c"])
    assert made.roster.load() == {"b": 15, "c": 15}


def test_channels_that_were_given_back_are_taken_at_once() -> None:
    made = cluster(2, ["a", "b"])
    made.settle(["a", "b"])
    made.claim("channel 000", "a", "free")
    assert to_claim(made.roster, "a", takeover=False) == ["channel=20000"]


def test_nobody_takes_more_than_it_has_room_for() -> None:
    made = cluster(10, ["a", "b"], capacity=3)
    made.settle(["a", "b"])
    assert made.roster.load() == {"a": 3, "b": 3}


def test_whoever_leaves_takes_nothing() -> None:
    made = cluster(4, ["a"])
    made.worker("b", draining=True)
    assert to_claim(made.roster, "b", takeover=True) == []
    assert len(to_claim(made.roster, "a", takeover=True)) == 4
    assert to_claim(made.roster, "stranger", takeover=True) == []


def test_what_nobody_took_in_time_goes_to_anybody() -> None:
    made = cluster(1, ["a", "b"])
    only = "channel=20000"
    taker, other = ("a", "b") if to_claim(made.roster, "a", takeover=True) else ("b", "a")
    assert to_claim(made.roster, other, takeover=True) == []
    assert to_claim(made.roster, other, takeover=True, overdue={only}) == [only]
    assert to_claim(made.roster, taker, takeover=True, overdue={only}) == [only]


def test_a_channel_that_ended_is_left_alone_until_it_listens_to_something_else() -> None:
    made = cluster(1, ["a"])
    made.claim("channel 000", "a", "ended")
    made.gone("a")
    made.worker("b")
    assert to_claim(made.roster, "b", takeover=True) == []
    made.channel("channel 000")
    assert len(to_claim(made.roster, "b", takeover=True)) == 1


def test_a_new_worker_gets_its_share_by_and_by() -> None:
    made = cluster(9, ["a", "b"])
    made.settle(["a", "b"])
    made.worker("c")
    for _ in range(20):
        for session in "abc":
            for token in to_hand_over(made.roster, session):
                made.claim(made.roster.names()[token], session, "free")
            made.settle(["a", "b", "c"])
    assert made.roster.load() == {"a": 3, "b": 3, "c": 3}
    assert not any(to_hand_over(made.roster, one) for one in "abc")


def test_nothing_is_handed_over_where_nobody_has_room() -> None:
    made = cluster(6, ["a"])
    made.settle(["a"])
    made.worker("b", capacity=0)
    made.worker("c", draining=True)
    assert to_hand_over(made.roster, "a") == []


def test_what_cannot_be_read_is_left_out() -> None:
    made = cluster(2, ["a"])
    made.roster.channels.changed("channel=20000", b"{", 99)
    made.roster.channels.changed("no token %", encode(Channel(id="x", source="demo")), 100)
    assert to_claim(made.roster, "a", takeover=True) == ["channel=20000", "channel=20001"]
