"""What a client wants is what it said last."""

import pytest

from stream_mer.server import messages as wire
from stream_mer.server.subscriptions import (
    DEFAULT_SUBSCRIPTIONS,
    MAX_INTERVAL_S,
    DesiredSubscriptions,
    Rule,
    SubscriptionSet,
    grant,
)


def subscriptions(*requested: wire.Subscription) -> SubscriptionSet:
    return SubscriptionSet.of(grant(requested))


def test_subscriptions_add_up():
    wanted = subscriptions(
        wire.Subscription(streams=("a",), events=("emotion",)), wire.Subscription(events=("status",), max_hz=4.0)
    )
    assert wanted.wants("a", "emotion")
    assert not wanted.wants("b", "emotion")
    assert wanted.wants("b", "status")
    assert not wanted.wants("b", "lyrics")


def test_the_last_word_on_a_stream_and_kind_counts():
    wanted = subscriptions(
        wire.Subscription(events=("emotion",), max_hz=2.0),
        wire.Subscription(streams=("a",), events=("emotion",), max_hz=10.0),
    )
    assert wanted.interval_s("b", "emotion") == 0.5
    assert wanted.interval_s("a", "emotion") == 0.1
    wanted = wanted.with_rule(Rule.of(wire.Subscription(events=("emotion",))))
    assert wanted.interval_s("a", "emotion") == 0.0
    assert len(wanted.rules) == 1, "what decides nothing any more is forgotten"


def test_what_was_unsubscribed_from_is_gone_and_the_rest_stays():
    wanted = DEFAULT_SUBSCRIPTIONS.with_rule(Rule.of(wire.Unsubscribe(streams=("a",), events=("lyrics",))))
    assert not wanted.wants("a", "lyrics")
    assert wanted.wants("b", "lyrics")
    assert wanted.wants("a", "emotion")
    again = wanted.with_rule(Rule.of(wire.Subscription(streams=("a",), events=("lyrics",))))
    assert again.wants("a", "lyrics")
    assert again.wants("b", "lyrics")


def test_unsubscribing_from_everything_leaves_nothing_to_remember():
    assert DEFAULT_SUBSCRIPTIONS.with_rule(Rule.of(wire.Unsubscribe())) == SubscriptionSet()
    assert SubscriptionSet().with_rule(Rule.of(wire.Unsubscribe(events=("lyrics",)))) == SubscriptionSet()


def test_going_back_and_forth_does_not_pile_up():
    wanted = DEFAULT_SUBSCRIPTIONS
    for _ in range(100):
        wanted = wanted.with_rule(Rule.of(wire.Unsubscribe(streams=("a",), events=("lyrics",))))
        wanted = wanted.with_rule(Rule.of(wire.Subscription(streams=("a",), events=("lyrics",))))
    assert len(wanted.rules) == 2


def test_kinds_that_do_not_exist_are_not_granted():
    assert grant([wire.Subscription(events=("dance",))]) == ()
    assert grant([wire.Subscription(events=("dance", "emotion", "levels"))])[0].events == ("emotion", "levels")
    assert grant([wire.Subscription()]) == grant(None)
    assert grant([]) == ()
    assert SubscriptionSet.of(grant(None)) == DEFAULT_SUBSCRIPTIONS


def test_levels_are_not_among_the_default():
    assert not DEFAULT_SUBSCRIPTIONS.wants("a", "levels")
    assert subscriptions(wire.Subscription(events=("levels",))).wants("a", "levels")


@pytest.mark.parametrize(
    ("newer", "older", "expected"),
    [
        (Rule(), Rule(streams=frozenset("a")), True),
        (Rule(streams=frozenset("a")), Rule(), False),
        (Rule(streams=frozenset("ab")), Rule(streams=frozenset("a")), True),
        (Rule(kinds=frozenset({"emotion"})), Rule(kinds=frozenset({"emotion", "lyrics"})), False),
    ],
)
def test_a_choice_covers_another_if_it_decides_on_all_of_it(newer, older, expected):
    assert newer.covers(older) is expected


@pytest.mark.parametrize("max_hz", [1e-5, 1e-300, 5e-324])
def test_no_rate_is_too_low_for_a_timer(max_hz):
    assert subscriptions(wire.Subscription(max_hz=max_hz)).interval_s("a", "emotion") == MAX_INTERVAL_S


def test_a_client_asks_again_for_what_still_decides():
    desired = DesiredSubscriptions(None)
    assert desired.requests() == ((wire.Subscription(),), ())
    for i in range(200):
        desired.add(wire.Subscribe(id=2 * i, events=("levels",), max_hz=1 + i))
        desired.add(wire.Unsubscribe(id=2 * i + 1, events=("status",)))
    first, later = desired.requests()
    assert first == (wire.Subscription(), wire.Subscription(events=("levels",), max_hz=200))
    assert later == (wire.Unsubscribe(id=399, events=("status",)),)
    desired.discard(398)
    assert desired.requests() == ((wire.Subscription(),), later), "it was refused and would be again"
    desired.add(wire.Unsubscribe(id=400))
    assert desired.requests() == ((), ())


def test_a_wish_for_one_stream_does_not_overrule_one_for_all():
    desired = DesiredSubscriptions([wire.Subscription(events=("emotion",))])
    desired.add(wire.Unsubscribe(id=1, streams=("main",)))
    desired.add(wire.Subscribe(id=2, events=("emotion",), streams=("other",)))
    first, later = desired.requests()
    assert first == (wire.Subscription(events=("emotion",)),)
    assert [rule.id for rule in later] == [1, 2]
