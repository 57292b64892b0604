"""What a client wants is what it said last."""

import pytest

from stream_mer.server import messages as wire
from stream_mer.server.interest import (
    DEFAULT_INTEREST,
    LONGEST_INTERVAL_S,
    Choice,
    Interest,
    grant,
    interest_in,
    subscribed,
    unsubscribed,
)


def interest(*subscriptions: wire.Subscription) -> Interest:
    return interest_in(grant(subscriptions))


def test_subscriptions_add_up():
    wanted = interest(
        wire.Subscription(streams=("a",), events=("emotion",)), wire.Subscription(events=("status",), max_hz=4.0)
    )
    assert wanted.wants("a", "emotion")
    assert not wanted.wants("b", "emotion")
    assert wanted.wants("b", "status")
    assert not wanted.wants("b", "lyrics")


def test_the_last_word_on_a_stream_and_kind_counts():
    wanted = interest(
        wire.Subscription(events=("emotion",), max_hz=2.0),
        wire.Subscription(streams=("a",), events=("emotion",), max_hz=10.0),
    )
    assert wanted.interval_s("b", "emotion") == 0.5
    assert wanted.interval_s("a", "emotion") == 0.1
    wanted = wanted.after(subscribed(wire.Subscription(events=("emotion",))))
    assert wanted.interval_s("a", "emotion") == 0.0
    assert len(wanted.choices) == 1, "what decides nothing any more is forgotten"


def test_what_was_unsubscribed_from_is_gone_and_the_rest_stays():
    wanted = DEFAULT_INTEREST.after(unsubscribed(wire.Unsubscribe(streams=("a",), events=("lyrics",))))
    assert not wanted.wants("a", "lyrics")
    assert wanted.wants("b", "lyrics")
    assert wanted.wants("a", "emotion")
    again = wanted.after(subscribed(wire.Subscription(streams=("a",), events=("lyrics",))))
    assert again.wants("a", "lyrics")
    assert again.wants("b", "lyrics")


def test_unsubscribing_from_everything_leaves_nothing_to_remember():
    assert DEFAULT_INTEREST.after(unsubscribed(wire.Unsubscribe())) == Interest()
    assert Interest().after(unsubscribed(wire.Unsubscribe(events=("lyrics",)))) == Interest()


def test_going_back_and_forth_does_not_pile_up():
    wanted = DEFAULT_INTEREST
    for _ in range(100):
        wanted = wanted.after(unsubscribed(wire.Unsubscribe(streams=("a",), events=("lyrics",))))
        wanted = wanted.after(subscribed(wire.Subscription(streams=("a",), events=("lyrics",))))
    assert len(wanted.choices) == 2


def test_kinds_that_do_not_exist_are_not_granted():
    assert grant([wire.Subscription(events=("dance",))]) == ()
    assert grant([wire.Subscription(events=("dance", "emotion", "levels"))])[0].events == ("emotion", "levels")
    assert grant([wire.Subscription()]) == grant(None)
    assert grant([]) == ()
    assert interest_in(grant(None)) == DEFAULT_INTEREST


def test_levels_are_not_among_the_default():
    assert not DEFAULT_INTEREST.wants("a", "levels")
    assert interest(wire.Subscription(events=("levels",))).wants("a", "levels")


@pytest.mark.parametrize(
    ("newer", "older", "expected"),
    [
        (Choice(), Choice(streams=frozenset("a")), True),
        (Choice(streams=frozenset("a")), Choice(), False),
        (Choice(streams=frozenset("ab")), Choice(streams=frozenset("a")), True),
        (Choice(kinds=frozenset({"emotion"})), Choice(kinds=frozenset({"emotion", "lyrics"})), False),
    ],
)
def test_a_choice_covers_another_if_it_decides_on_all_of_it(newer, older, expected):
    assert newer.covers(older) is expected


@pytest.mark.parametrize("max_hz", [1e-5, 1e-300, 5e-324])
def test_no_rate_is_too_low_for_a_timer(max_hz):
    assert interest(wire.Subscription(max_hz=max_hz)).interval_s("a", "emotion") == LONGEST_INTERVAL_S
