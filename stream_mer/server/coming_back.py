"""What a client remembers for when its connection breaks: where it was, and what it asked for. Pure."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from stream_mer.server import messages as wire
from stream_mer.server.codec import kind_of
from stream_mer.server.interest import Choice

MOST_STREAMS = 1024
"""Streams of one server that a client remembers."""


class Seen:
    """The last ``seq`` seen of each stream and kind: where to go on after a break.

    Of the streams that spoke last, ``MOST_STREAMS`` are remembered: a server that invents a name for each message
    fills no memory here.
    """

    def __init__(self) -> None:
        self._session: str | None = None
        self._last_seq: dict[str, dict[str, int]] = {}

    def take(self, message: wire.ServerMessage | None) -> None:
        """Take note of a message."""
        match message:
            case wire.Ready():
                for entry in message.snapshot:
                    self.take(entry.message)
            case wire.Emotion() | wire.Lyrics() | wire.Change() | wire.Status():
                counts = self._last_seq.pop(message.stream, {})
                counts[kind_of(message)] = message.seq
                self._last_seq[message.stream] = counts  # the last to be forgotten
                if len(self._last_seq) > MOST_STREAMS:
                    del self._last_seq[next(iter(self._last_seq))]

    def resume(self, hello: wire.Hello) -> wire.ResumePart | None:
        """Return where to go on after this ``hello``; None where nothing was seen of its session."""
        if hello.session != self._session:
            self._session = hello.session
            known = hello.streams[:MOST_STREAMS]
            self._last_seq = {stream: dict.fromkeys(wire.DEFAULT_KINDS, -1) for stream in known}
            return None
        return wire.ResumePart(session=hello.session, last_seq=self._last_seq)


class Wishes:
    """What was asked for, to be asked for again after a break; of the older wishes only what still decides.

    Args:
        subscribe: What is asked for at first; None for the default kinds of every stream.
    """

    def __init__(self, subscribe: Sequence[wire.Subscription] | None) -> None:
        self._rules: list[wire.Subscribe | wire.Unsubscribe] = []
        for wish in (wire.Subscription(),) if subscribe is None else subscribe:
            self.add(wire.Subscribe(streams=wish.streams, events=wish.events, max_hz=wish.max_hz))

    def add(self, rule: wire.Subscribe | wire.Unsubscribe) -> None:
        """Take note of a wish."""
        choice = _choice(rule)
        self._rules = [old for old in self._rules if not choice.covers(_choice(old))]
        if isinstance(rule, wire.Subscribe) or self._rules:
            self._rules.append(rule)

    def forget(self, request_id: wire.Id) -> None:
        """Forget a wish that was refused."""
        self._rules = [rule for rule in self._rules if rule.id is None or rule.id != request_id]

    def again(self) -> tuple[tuple[wire.Subscription, ...], tuple[wire.Subscribe | wire.Unsubscribe, ...]]:
        """Return what ``identify`` can ask for, and what has to be asked for after it, in this order."""
        first = list(itertools.takewhile(lambda rule: isinstance(rule, wire.Subscribe), self._rules))
        subscriptions = tuple(
            wire.Subscription(streams=rule.streams, events=rule.events, max_hz=rule.max_hz)
            for rule in first
            if isinstance(rule, wire.Subscribe)
        )
        return subscriptions, tuple(self._rules[len(first) :])


def _choice(rule: wire.Subscribe | wire.Unsubscribe) -> Choice:
    everything = wire.DEFAULT_KINDS if isinstance(rule, wire.Subscribe) else wire.EVENT_KINDS
    return Choice(streams=frozenset(rule.streams), kinds=frozenset(rule.events or everything))


def pause_s(delay_s: float, last_error: wire.Error | None) -> float:
    """Return how long to wait before the next attempt: less than the back-off, but not less than the server asked."""
    asked_s = 0.0 if last_error is None else last_error.retry_after_s or 0.0
    return max(asked_s, delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads clients, it hides nothing


def in_turns(messages: Sequence[wire.ClientMessage], *, per_s: int) -> list[Sequence[wire.ClientMessage]]:
    """Cut what has to be asked for again into what may be sent a second apart.

    All at once could be more than the server bears (``per_s`` messages in one of its seconds), and would be again after
    every reconnection.
    """
    most = max(1, per_s // 3)
    return [messages[i : i + most] for i in range(0, len(messages), most)]
