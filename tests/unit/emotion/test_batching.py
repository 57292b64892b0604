"""Questions that meet are answered together; nobody waits for company, and nobody gets another's answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from stream_mer.emotion.batching import Batching

TIMEOUT_S = 30.0


class Computer:
    """Doubles numbers, and stops in each batch until it is let go; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append([*questions])
        self.entered.release()
        assert self.go.acquire(timeout=TIMEOUT_S)
        if 13 in questions:
            raise ValueError("thirteen")
        return [2 * question for question in questions]


class Askers:
    """Threads that ask, one after the other."""

    def __init__(self, computer: Computer, *, most: int = 32) -> None:
        self._batching = Batching(computer, most=most)
        self._pool = ThreadPoolExecutor(16)

    def ask(self, *questions: int) -> list[Future[int]]:
        """Ask each in a thread of its own; return once all of them wait or are being computed."""
        asked = []
        for question in questions:
            before = len(self._batching._waiting)
            busy = self._batching._busy
            asked.append(self._pool.submit(self._batching.ask, question))
            if busy:
                wait_until(lambda n=before: len(self._batching._waiting) > n)
            else:
                wait_until(lambda: self._batching._busy)
        return asked


def wait_until(condition: object) -> None:
    patience = threading.Event()
    for _ in range(int(TIMEOUT_S / 0.002)):
        if condition():  # type: ignore[operator]
            return
        patience.wait(0.002)
    raise AssertionError("it never came to that")


def results(asked: Sequence[Future[int]]) -> list[int]:
    return [one.result(TIMEOUT_S) for one in asked]


def test_a_single_question_is_computed_at_once_in_its_own_thread() -> None:
    seen: list[int] = []

    def compute(questions: Sequence[int]) -> list[int]:
        seen.append(threading.get_ident())
        return [-question for question in questions]

    batching = Batching(compute, most=4)
    assert [batching.ask(n) for n in range(3)] == [0, -1, -2]
    assert {*seen} == {threading.get_ident()}


def test_those_who_come_meanwhile_are_computed_together() -> None:
    computer = Computer()
    askers = Askers(computer)
    first = askers.ask(1)
    rest = askers.ask(2, 3, 4)
    computer.go.release(2)
    assert results([*first, *rest]) == [2, 4, 6, 8]
    assert computer.batches == [[1], [2, 3, 4]]


def test_a_batch_has_a_bound_and_the_next_one_takes_the_rest() -> None:
    computer = Computer()
    askers = Askers(computer, most=2)
    asked = [*askers.ask(1), *askers.ask(2, 3, 4, 5, 6)]
    computer.go.release(4)
    assert results(asked) == [2, 4, 6, 8, 10, 12]
    assert computer.batches == [[1], [2, 3], [4, 5], [6]]


def test_a_failure_reaches_its_batch_and_nobody_else() -> None:
    computer = Computer()
    askers = Askers(computer)
    asked = askers.ask(1)
    doomed = askers.ask(12, 13)
    computer.go.release()
    assert results(asked) == [2]
    assert computer.entered.acquire(timeout=TIMEOUT_S)
    assert computer.entered.acquire(timeout=TIMEOUT_S)  # the second batch is under way
    after = askers.ask(7)
    computer.go.release(2)
    for one in doomed:
        with pytest.raises(ValueError, match="thirteen"):
            one.result(TIMEOUT_S)
    assert results(after) == [14]
    assert computer.batches == [[1], [12, 13], [7]]


def test_many_threads_get_their_own_answers() -> None:
    batching: Batching[int, int] = Batching(lambda questions: [n * n for n in questions], most=5)
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(batching.ask, range(2000))) == [n * n for n in range(2000)]


def test_a_batch_of_none_is_no_batch() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Batching(lambda questions: questions, most=0)
