"""What a client in Python says of wishes that are none, before it connects to anything."""

from __future__ import annotations

import pytest

from stream_mer import connect, messages
from stream_mer.errors import SettingError


@pytest.mark.parametrize("wishes", [["emotion"], "emotion", [{"events": ["emotion"]}]])
def test_a_wish_that_is_no_subscription_is_told_how_to_be_one(wishes):
    with pytest.raises(SettingError, match=r"messages\.Subscription\(events="):
        connect(subscribe=wishes)


def test_subscriptions_are_asked_for_as_they_are_given():
    given = messages.Subscription(streams=("main",), events=("levels",), max_hz=5)
    assert connect(subscribe=[given])._wishes.again() == ((given,), ())
    assert connect()._wishes.again() == ((messages.Subscription(),), ()), "nothing in particular"
    assert connect(subscribe=[])._wishes.again() == ((), ()), "nothing at all"
