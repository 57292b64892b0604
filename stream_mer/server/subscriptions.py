"""What a client wants: a list of rules, of which the last one that matches decides. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stream_mer.server import messages as wire

MAX_INTERVAL_S = 86_400.0
"""Lower rates than one message a day are raised to it, so that every timer can hold the interval."""

AnyRequest = wire.Subscription | wire.Subscribe | wire.Unsubscribe


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One subscription or its withdrawal.

    Attributes:
        wanted: False for a withdrawal.
        streams: Names; empty for all.
        kinds: Types of messages.
        interval_s: Minimum time between two latest-wins messages, seconds.
    """

    wanted: bool = True
    streams: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset(wire.DEFAULT_KINDS)
    interval_s: float = 0.0

    @classmethod
    def of(cls, request: AnyRequest) -> Rule:
        """Return the rule that a request adds."""
        if isinstance(request, wire.Unsubscribe):
            kinds, max_hz = request.events or wire.EVENT_KINDS, None
        else:
            kinds, max_hz = request.events or wire.DEFAULT_KINDS, request.max_hz
        return cls(
            wanted=not isinstance(request, wire.Unsubscribe),
            streams=frozenset(request.streams),
            kinds=frozenset(kinds),
            interval_s=0.0 if max_hz is None else min(1.0 / max_hz, MAX_INTERVAL_S),
        )

    def matches(self, stream: str, kind: str) -> bool:
        """Tell whether the rule applies to messages of this stream and kind."""
        return kind in self.kinds and (not self.streams or stream in self.streams)

    def covers(self, other: Rule) -> bool:
        """Tell whether the rule applies to everything that the other one applies to."""
        streams = not self.streams or (bool(other.streams) and other.streams <= self.streams)
        return streams and other.kinds <= self.kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSet:
    """The rules of one client, oldest first."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, requests: Iterable[AnyRequest]) -> SubscriptionSet:
        """Return the set that these requests make, in their order."""
        subscriptions = cls()
        for request in requests:
            subscriptions = subscriptions.with_rule(Rule.of(request))
        return subscriptions

    def with_rule(self, rule: Rule) -> SubscriptionSet:
        """Return the set with one more rule, without the rules that no longer decide anything."""
        kept = [old for old in self.rules if not rule.covers(old)]
        if rule.wanted or kept:
            kept.append(rule)
        return SubscriptionSet(rules=tuple(kept))

    def interval_s(self, stream: str, kind: str) -> float | None:
        """Return the minimum time between such messages, seconds, 0 for all of them; None if they are not wanted."""
        for rule in reversed(self.rules):
            if rule.matches(stream, kind):
                return rule.interval_s if rule.wanted else None
        return None

    def wants(self, stream: str, kind: str) -> bool:
        """Tell whether such messages are wanted."""
        return self.interval_s(stream, kind) is not None


def grant(requested: Iterable[wire.Subscription] | None) -> tuple[wire.Subscription, ...]:
    """Return the part of a request that this server can serve: unknown kinds are left out. None is the default."""
    if requested is None:
        return (wire.Subscription(events=wire.DEFAULT_KINDS),)
    granted = []
    for one in requested:
        named = one.events or wire.DEFAULT_KINDS
        events = tuple(kind for kind in wire.EVENT_KINDS if kind in named)
        if events:
            granted.append(wire.Subscription(streams=one.streams, events=events, max_hz=one.max_hz))
    return tuple(granted)


DEFAULT_SUBSCRIPTIONS = SubscriptionSet.of(grant(None))
"""Of a client that requests nothing in particular."""


class DesiredSubscriptions:
    """A client's memory of what it subscribed to, to be requested again after a reconnection.

    Args:
        subscribe: The first subscriptions; None for the default kinds of every stream.
    """

    def __init__(self, subscribe: Sequence[wire.Subscription] | None) -> None:
        self._requests: list[wire.Subscribe | wire.Unsubscribe] = []
        for one in (wire.Subscription(),) if subscribe is None else subscribe:
            self.add(wire.Subscribe(streams=one.streams, events=one.events, max_hz=one.max_hz))

    def add(self, request: wire.Subscribe | wire.Unsubscribe) -> None:
        """Remember a request, and forget those that no longer decide anything."""
        rule = Rule.of(request)
        self._requests = [old for old in self._requests if not rule.covers(Rule.of(old))]
        if rule.wanted or self._requests:
            self._requests.append(request)

    def discard(self, request_id: wire.Id) -> None:
        """Forget a request that was refused."""
        self._requests = [request for request in self._requests if request.id is None or request.id != request_id]

    def requests(self) -> tuple[tuple[wire.Subscription, ...], tuple[wire.Subscribe | wire.Unsubscribe, ...]]:
        """Return what ``identify`` can request, and the requests to send after it, in order."""
        withdrawn = [isinstance(request, wire.Unsubscribe) for request in self._requests]
        end = withdrawn.index(True) if any(withdrawn) else len(withdrawn)
        first = tuple(
            wire.Subscription(streams=request.streams, events=request.events, max_hz=request.max_hz)
            for request in self._requests[:end]
            if isinstance(request, wire.Subscribe)
        )
        return first, tuple(self._requests[end:])
