"""Dynamic batching: calls that arrive while a batch is computed form the next batch.

A caller that finds no batch in progress computes its own item at once. Callers that arrive meanwhile are computed
together afterwards, by one of them. A single caller pays a lock, and batches grow with the load. No call waits longer
than for the batch in progress and those before its own: one, with at most ``most`` callers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batching(Generic[Q, A]):
    """Answers questions of many threads, several at a time.

    Args:
        compute: Answers some questions in their order; never entered twice at the same time.
        most: Questions in one batch at most, at least 1.
    """

    def __init__(self, compute: Callable[[Sequence[Q]], Sequence[A]], *, most: int) -> None:
        if most < 1:
            raise ValueError(f"a batch holds at least 1 question, not {most}")
        self._compute = compute
        self._most = most
        self._lock = threading.Lock()  # guards the two below; held for short steps only
        self._busy = False
        self._waiting: deque[_Asked[Q, A]] = deque()

    def ask(self, question: Q) -> A:
        """Answer one question, from any thread.

        Raises:
            BaseException: Whatever ``compute`` raises, to everybody whose question was in its batch.
        """
        mine: _Asked[Q, A] = _Asked(question)
        with self._lock:
            waits = self._busy
            if waits:
                self._waiting.append(mine)
            self._busy = True
        if waits:
            mine.woken.wait()
            if not mine.computes:
                return mine.answered()
        return self._answer(mine)

    def _answer(self, mine: _Asked[Q, A]) -> A:
        """Compute the caller's question with those that wait, and leave the next batch to one of the rest."""
        with self._lock:
            others = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most - 1))]
        try:
            answers = self._compute([mine.question, *(other.question for other in others)])
            for other, answer in zip(others, answers[1:], strict=True):
                other.answers = [answer]
        except BaseException as error:
            for other in others:
                other.error = error
            raise
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                if self._busy:
                    successor = self._waiting.popleft()
                    successor.computes = True
                    others.append(successor)
            for other in others:
                other.woken.set()
        return answers[0]


class _Asked(Generic[Q, A]):
    """A question on its way."""

    __slots__ = ("answers", "computes", "error", "question", "woken")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.answers: list[A] = []
        self.error: BaseException | None = None
        self.computes = False  # whether its asker is the one to compute the next batch
        self.woken = threading.Event()

    def answered(self) -> A:
        if self.error is not None:
            raise self.error
        return self.answers[0]
