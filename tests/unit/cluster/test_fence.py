"""The fence: nothing of an owner of the past, nothing twice, no time going back, in whatever order it comes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.cluster.envelope import Envelope
from stream_mer.cluster.fence import Fence
from stream_mer.server.examples import FRAME, LINE
from stream_mer.types import EmotionFrame, StreamEvent


def frame(t1: float, *, epoch: int, number: int) -> Envelope[StreamEvent]:
    return Envelope(epoch=epoch, number=number, event=replace(FRAME, t1=t1))


def test_an_owner_of_the_past_is_turned_away() -> None:
    fence = Fence()
    assert fence.admit(frame(1, epoch=5, number=0))
    assert fence.admit(frame(2, epoch=9, number=0))
    assert not fence.admit(frame(3, epoch=5, number=1))
    assert fence.admit(frame(3, epoch=9, number=1))
    assert fence.statistics().outdated == 1


def test_it_is_turned_away_even_before_the_new_one_has_said_a_word() -> None:
    fence = Fence()
    fence.raise_to(9)
    assert not fence.admit(frame(1, epoch=5, number=0))
    fence.raise_to(3)
    assert fence.epoch == 9


def test_what_is_kept_of_an_owner_of_the_past_counts_until_the_one_of_now_speaks() -> None:
    fence = Fence()
    fence.raise_to(9)
    assert fence.admit(frame(1, epoch=5, number=70), stored=True)
    assert not fence.admit(frame(1, epoch=5, number=70), stored=True)
    assert fence.epoch == 9
    assert fence.admit(frame(2, epoch=9, number=0))
    assert not fence.admit(frame(3, epoch=5, number=71), stored=True)


def test_nothing_comes_twice_and_what_never_came_is_counted() -> None:
    fence = Fence()
    for number in (4, 5, 5, 4, 8):
        fence.admit(frame(number, epoch=1, number=number))
    counts = fence.statistics()
    assert (counts.admitted, counts.repeated, counts.missing) == (3, 2, 2)


def test_each_kind_counts_for_itself() -> None:
    fence = Fence()
    assert fence.admit(frame(1, epoch=1, number=7))
    assert fence.admit(Envelope(epoch=1, number=0, event=LINE))


def test_time_does_not_go_back_not_even_with_a_new_owner() -> None:
    fence = Fence()
    assert fence.admit(frame(10, epoch=1, number=0))
    assert not fence.admit(frame(9.5, epoch=2, number=0))
    assert not fence.admit(frame(10, epoch=2, number=1))
    assert fence.admit(frame(10.5, epoch=2, number=2))
    assert fence.statistics().backwards == 2


@settings(deadline=None)  # other work may run beside it
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 20)),
        max_size=60,
    )
)
def test_whatever_comes_what_passes_is_in_order(seen: list[tuple[int, int, int]]) -> None:
    fence = Fence()
    passed = []
    for epoch, number, t1 in seen:
        envelope = frame(t1, epoch=epoch, number=number)
        if fence.admit(envelope):
            assert isinstance(envelope.event, EmotionFrame)
            passed.append((envelope.epoch, envelope.number, envelope.event.t1))
    assert [one[:2] for one in passed] == sorted({one[:2] for one in passed})
    times = [one[2] for one in passed]
    assert times == sorted(set(times))
    counts = fence.statistics()
    assert counts.admitted + counts.outdated + counts.repeated + counts.backwards == len(seen)
