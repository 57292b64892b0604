"""Files are decoded in turns, which a thread that hangs does not stop."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import PATIENCE_S

from stream_mer.sources.decoding import Turns


def test_no_more_decode_at_a_time_than_there_are_turns() -> None:
    turns, lock = Turns(2, longest_wait_s=PATIENCE_S), threading.Lock()
    inside, most = 0, 0
    both = threading.Barrier(2)

    def decode(_: int) -> None:
        nonlocal inside, most
        with turns.turn():
            with lock:
                inside += 1
                most = max(most, inside)
            both.wait(PATIENCE_S)  # the other turn is taken, too
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(20)))
    assert most == 2


def test_a_failure_gives_the_turn_back() -> None:
    turns = Turns(1, longest_wait_s=PATIENCE_S)
    for _ in range(3):
        with pytest.raises(OSError, match="disk"), turns.turn():
            raise OSError("disk")
    assert turns._free.acquire(blocking=False)


def test_a_thread_that_hangs_delays_the_others_once() -> None:
    turns, hangs, go_on = Turns(1, longest_wait_s=0.01), threading.Event(), threading.Event()

    def hang() -> None:
        with turns.turn():
            hangs.set()
            go_on.wait(PATIENCE_S)

    hanging = threading.Thread(target=hang)
    hanging.start()
    assert hangs.wait(PATIENCE_S)
    with turns.turn():
        assert hanging.is_alive()
    turns._longest_wait_s = PATIENCE_S  # no second wait: it would fail the test
    with turns.turn():
        assert hanging.is_alive()
    go_on.set()
    hanging.join(PATIENCE_S)
    turns._suspended_until = 0.0
    with turns.turn():
        assert not turns._free.acquire(blocking=False)
