"""The lease: its holder gives up before anybody else may think that it has."""

from __future__ import annotations

from stream_mer.cluster.lease import Lease


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_from_when_it_was_sent() -> None:
    clock = Clock()
    lease = Lease(clock)
    assert not lease.holds
    sent_at = clock.now
    clock.now += 1.0  # it took a second until it was confirmed
    lease.renewed(sent_at, ttl_s=1.5)
    assert lease.holds
    clock.now += 0.49
    assert lease.holds
    clock.now += 0.02
    assert not lease.holds


def test_what_is_lost_does_not_hold() -> None:
    clock = Clock()
    lease = Lease(clock)
    lease.renewed(clock.now, ttl_s=60)
    lease.lose()
    assert not lease.holds
