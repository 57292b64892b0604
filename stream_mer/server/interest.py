"""What one client wants: an ordered list of choices, of which the last that matches decides. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stream_mer.server import messages as wire

LONGEST_INTERVAL_S = 86_400.0
"""A rate may be as low as it likes; once a day is what it gets, and no timer has to bear more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One subscription or its withdrawal.

    Attributes:
        wanted: False for what was unsubscribed from.
        streams: Names; empty for all.
        kinds: Types of messages.
        interval_s: Latest-wins messages come no closer together than this, seconds.
    """

    wanted: bool = True
    streams: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset(wire.DEFAULT_KINDS)
    interval_s: float = 0.0

    def matches(self, stream: str, kind: str) -> bool:
        """Tell whether this is about messages of such a stream and kind."""
        return kind in self.kinds and (not self.streams or stream in self.streams)

    def covers(self, other: Choice) -> bool:
        """Tell whether this decides on everything that the other one is about."""
        streams = not self.streams or (bool(other.streams) and other.streams <= self.streams)
        return streams and other.kinds <= self.kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """Everything that a client said about what it wants, oldest first."""

    choices: tuple[Choice, ...] = ()

    def interval_s(self, stream: str, kind: str) -> float | None:
        """Return how far apart such messages are wanted at least, 0 for all of them; None if they are not wanted."""
        for choice in reversed(self.choices):
            if choice.matches(stream, kind):
                return choice.interval_s if choice.wanted else None
        return None

    def wants(self, stream: str, kind: str) -> bool:
        """Tell whether such messages are wanted."""
        return self.interval_s(stream, kind) is not None

    def after(self, choice: Choice) -> Interest:
        """Return the interest after one more choice; what no longer decides anything is forgotten."""
        kept = [old for old in self.choices if not choice.covers(old)]
        if choice.wanted or kept:
            kept.append(choice)
        return Interest(choices=tuple(kept))


def grant(asked: Iterable[wire.Subscription] | None) -> tuple[wire.Subscription, ...]:
    """Return what of a wish can be granted: kinds that this server does not have are left out; None is the default."""
    if asked is None:
        return (wire.Subscription(events=wire.DEFAULT_KINDS),)
    granted = []
    for wish in asked:
        named = wish.events or wire.DEFAULT_KINDS
        events = tuple(kind for kind in wire.EVENT_KINDS if kind in named)
        if events:
            granted.append(wire.Subscription(streams=wish.streams, events=events, max_hz=wish.max_hz))
    return tuple(granted)


def interest_in(granted: Iterable[wire.Subscription]) -> Interest:
    """Return the interest that these subscriptions make."""
    interest = Interest()
    for subscription in granted:
        interest = interest.after(subscribed(subscription))
    return interest


def subscribed(granted: wire.Subscription) -> Choice:
    """Return the choice that a subscription is."""
    return Choice(
        streams=frozenset(granted.streams),
        kinds=frozenset(granted.events),
        interval_s=0.0 if granted.max_hz is None else min(1.0 / granted.max_hz, LONGEST_INTERVAL_S),
    )


def unsubscribed(message: wire.Unsubscribe) -> Choice:
    """Return the choice that a withdrawal is."""
    return Choice(wanted=False, streams=frozenset(message.streams), kinds=frozenset(message.events or wire.EVENT_KINDS))


DEFAULT_INTEREST = interest_in(grant(None))
"""That of a client that asks for nothing in particular."""
