"""The mailbox is bounded, keeps the order, and counts what it drops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import pytest

from stream_mer.utils.mailbox import Mailbox, MailboxClosed

PATIENCE_S = 60.0  # only a broken mailbox makes a test wait so long


def blocking(capacity: int) -> tuple[Mailbox[int], threading.Event]:
    """A mailbox whose writers wait, and an event that is set once one of them does."""
    mailbox: Mailbox[int] = Mailbox(capacity=capacity, when_full="block")
    waits, wait = threading.Event(), mailbox._changed.wait

    def noted(timeout: float | None = None) -> bool:
        waits.set()
        return wait(timeout)

    mailbox._changed.wait = noted  # type: ignore[method-assign]
    return mailbox, waits


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("when_full", ["drop_oldest", "block"])
def test_items_come_out_in_the_order_they_went_in(when_full: Literal["drop_oldest", "block"]) -> None:
    mailbox: Mailbox[int] = Mailbox(capacity=4, when_full=when_full)
    for item in range(4):
        mailbox.put(item)
    assert [mailbox.get() for _ in range(4)] == [0, 1, 2, 3]
    assert mailbox.statistics().dropped == 0


def test_a_full_mailbox_drops_the_oldest_and_counts_it() -> None:
    mailbox: Mailbox[int] = Mailbox(capacity=2, when_full="drop_oldest")
    for item in range(7):
        mailbox.put(item)
    statistics = mailbox.statistics()
    assert (statistics.waiting, statistics.accepted, statistics.dropped) == (2, 7, 5)
    assert [mailbox.get(), mailbox.get()] == [5, 6]
    assert mailbox.statistics().waiting == 0


def test_items_may_count_by_their_size() -> None:
    mailbox: Mailbox[float] = Mailbox(capacity=1.0, when_full="drop_oldest", size=lambda length_s: length_s)
    for length_s in (0.5, 0.4, 0.25):  # the last one comes while less than the capacity waits
        mailbox.put(length_s)
    assert mailbox.waiting == pytest.approx(1.15)
    mailbox.put(0.1)
    assert mailbox.statistics().dropped == 1
    assert [mailbox.get() for _ in range(3)] == [0.4, 0.25, 0.1]
    assert mailbox.waiting == 0


def test_a_writer_waits_while_full_and_is_released_by_a_get() -> None:
    mailbox, waits = blocking(capacity=2)
    mailbox.put(0)
    mailbox.put(1)
    writer = in_thread(lambda: mailbox.put(2))
    assert waits.wait(PATIENCE_S)
    assert mailbox.statistics().accepted == 2
    assert mailbox.get() == 0
    writer.join(PATIENCE_S)
    assert not writer.is_alive()
    assert [mailbox.get(), mailbox.get()] == [1, 2]
    assert mailbox.statistics().dropped == 0


def test_a_waiting_writer_is_released_by_close_and_its_item_is_not_taken() -> None:
    mailbox, waits = blocking(capacity=1)
    mailbox.put(0)
    refused = threading.Event()

    def write() -> None:
        try:
            mailbox.put(1)
        except MailboxClosed:
            refused.set()

    writer = in_thread(write)
    assert waits.wait(PATIENCE_S)
    mailbox.close()
    writer.join(PATIENCE_S)
    assert refused.is_set()
    assert list(mailbox) == [0]
    assert mailbox.statistics().accepted == 1


def test_a_waiting_reader_is_released_by_a_put_and_by_close() -> None:
    mailbox: Mailbox[int] = Mailbox(capacity=1, when_full="block")
    got: list[int] = []
    reader = in_thread(lambda: got.extend(mailbox))
    for item in range(50):
        mailbox.put(item)
    mailbox.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert got == list(range(50))


def test_nothing_within_the_time_is_a_timeout_and_the_mailbox_goes_on() -> None:
    mailbox: Mailbox[int] = Mailbox(capacity=1, when_full="block")
    with pytest.raises(TimeoutError):
        mailbox.get(timeout_s=0.0)
    mailbox.put(1)
    assert mailbox.get(timeout_s=0.0) == 1


def test_after_close_what_waits_is_delivered_then_reading_ends() -> None:
    mailbox: Mailbox[int] = Mailbox(capacity=3, when_full="drop_oldest")
    mailbox.put(1)
    mailbox.put(2)
    mailbox.close()
    mailbox.close()
    with pytest.raises(MailboxClosed):
        mailbox.put(3)
    assert mailbox.get() == 1
    assert list(mailbox) == [2]
    with pytest.raises(MailboxClosed):
        mailbox.get(timeout_s=0.0)


def test_many_writers_lose_nothing_when_they_wait() -> None:
    mailbox: Mailbox[tuple[int, int]] = Mailbox(capacity=2, when_full="block")
    start = threading.Barrier(4)

    def write(writer: int) -> None:
        start.wait(PATIENCE_S)
        for i in range(100):
            mailbox.put((writer, i))

    writers = [in_thread(lambda k=k: write(k)) for k in range(4)]
    got = [mailbox.get(PATIENCE_S) for _ in range(400)]
    for thread in writers:
        thread.join(PATIENCE_S)
    for k in range(4):
        assert [i for writer, i in got if writer == k] == list(range(100))
    assert mailbox.statistics().dropped == 0


def test_a_mailbox_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        Mailbox(capacity=0, when_full="block")
