"""What a serving node says of a channel from which nothing comes, and how it takes it back."""

from __future__ import annotations

from dataclasses import replace

from stream_mer.cluster.sight import LOST_AFTER_S, STALLED_AFTER_S, Sight
from stream_mer.server.examples import FRAME, LINE, STATUS
from stream_mer.types import EmotionFrame, StreamEvent, StreamStatus

LIVE = replace(STATUS, source="live")


def states(events: list[StreamEvent]) -> list[str]:
    return [event.source for event in events if isinstance(event, StreamStatus)]


def reasons(events: list[StreamEvent]) -> list[str]:
    return [code for event in events if isinstance(event, EmotionFrame) for code in event.raw.degraded]


def heard() -> Sight:
    sight = Sight("main", now=0.0)
    sight.hear(LIVE, now=0.0)
    sight.hear(FRAME, now=0.0)
    return sight


def test_while_all_is_well_it_says_nothing_of_its_own() -> None:
    sight = heard()
    assert sight.look(now=0.5, connected=True, owned=True) == []
    assert sight.hear(LINE, now=0.6) == [LINE]
    assert sight.hear(FRAME, now=0.6) == [FRAME]


def test_a_lost_broker_shows_at_once_and_is_over_with_the_next_frame() -> None:
    sight = heard()
    told = sight.look(now=0.1, connected=False, owned=True)
    assert states(told) == ["reconnecting"]
    assert reasons(told) == ["broker_lost"]
    assert sight.look(now=0.4, connected=False, owned=True) == []
    assert sight.look(now=0.5, connected=True, owned=True) == []
    assert sight.hear(FRAME, now=0.9) == [LIVE, FRAME]
    assert sight.hear(FRAME, now=1.4) == [FRAME]


def test_a_worker_that_is_gone_shows_unless_another_follows_at_once() -> None:
    sight = heard()
    assert sight.look(now=0.2, connected=True, owned=False) == []
    assert sight.look(now=0.4, connected=True, owned=True) == []
    assert sight.look(now=0.5, connected=True, owned=False) == []
    told = sight.look(now=0.5 + LOST_AFTER_S, connected=True, owned=False)
    assert (states(told), reasons(told)) == (["reconnecting"], ["worker_lost"])
    assert sight.look(now=9.0, connected=True, owned=True) == []  # the reason was given; no second one in its place
    assert sight.hear(FRAME, now=9.5) == [LIVE, FRAME]


def test_a_worker_that_says_nothing_has_stalled() -> None:
    sight = heard()
    assert sight.look(now=STALLED_AFTER_S - 0.1, connected=True, owned=True) == []
    told = sight.look(now=STALLED_AFTER_S, connected=True, owned=True)
    assert (states(told), reasons(told)) == (["stalled"], ["worker_silent"])


def test_a_channel_of_which_nothing_was_heard_shows_that_it_is_waited_for() -> None:
    sight = Sight("main", now=0.0)
    told = [*sight.look(now=0, connected=True, owned=False), *sight.look(now=1, connected=True, owned=False)]
    assert told == [StreamStatus(source="reconnecting", device="main", lyrics="off")]


def test_a_source_that_ended_is_no_trouble() -> None:
    sight = heard()
    sight.hear(replace(STATUS, source="ended"), now=1.0)
    assert sight.look(now=60, connected=True, owned=False) == []
    assert sight.look(now=61, connected=False, owned=False) == []
