"""The mailbox between pipelines and NATS: bounded, latest wins where only that counts, order kept elsewhere."""

from __future__ import annotations

from stream_mer.cluster.coalescing import Coalescer


def drained(box: Coalescer[int]) -> list[tuple[str, str, int]]:
    taken = []
    while (one := box.take()) is not None:
        taken.append(one)
    return taken


def test_of_frames_the_newest_of_each_channel_waits_in_the_place_of_the_first() -> None:
    box: Coalescer[int] = Coalescer(wake=lambda: None)
    for channel, value in (("a", 1), ("b", 2), ("a", 3)):
        box.put(channel, "emotion", value)
    assert drained(box) == [("a", "emotion", 3), ("b", "emotion", 2)]
    assert box.replaced == 1


def test_lines_wait_in_order_and_the_oldest_go_when_there_are_too_many() -> None:
    box: Coalescer[int] = Coalescer(wake=lambda: None, capacity=3)
    for value in range(5):
        box.put("a", "lyrics", value)
    assert [value for _, _, value in drained(box)] == [2, 3, 4]
    assert box.dropped == 2


def test_the_reader_is_woken_once_until_it_found_nothing() -> None:
    woken = []
    box: Coalescer[int] = Coalescer(wake=lambda: woken.append(1))
    box.put("a", "emotion", 1)
    box.put("a", "lyrics", 2)
    assert len(woken) == 1
    drained(box)
    box.put("a", "emotion", 3)
    assert len(woken) == 2


def test_a_channel_can_be_forgotten() -> None:
    box: Coalescer[int] = Coalescer(wake=lambda: None)
    for channel in "ab":
        box.put(channel, "emotion", 1)
        box.put(channel, "lyrics", 2)
    assert box.waits("a")
    box.forget("a")
    assert not box.waits("a")
    assert drained(box) == [("b", "lyrics", 2), ("b", "emotion", 1)]
