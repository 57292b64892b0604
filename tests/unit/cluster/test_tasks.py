"""Tasks that end together, those that do not listen the first time too."""

from __future__ import annotations

import asyncio

import pytest

from stream_mer.cluster.tasks import end, run_together


class Stubborn:
    """Swallows so many cancellations before it gives in."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.ended = False

    async def work(self) -> None:
        try:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.times -= 1
                    if self.times < 0:
                        raise
        finally:
            self.ended = True


async def test_whoever_swallows_a_cancellation_is_asked_again() -> None:
    one, other = Stubborn(0), Stubborn(2)
    tasks = [asyncio.create_task(each.work()) for each in (one, other)]
    await asyncio.sleep(0)
    await end(tasks)
    assert all(task.cancelled() for task in tasks)
    await end(tasks)


async def test_the_first_that_fails_ends_all() -> None:
    other = Stubborn(1)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("so it is")

    with pytest.raises(ValueError, match="so it is"):
        await run_together(other.work(), fail())
    assert other.ended


async def test_cancelled_in_the_middle_of_ending_it_ends_all_the_same() -> None:
    other = Stubborn(2)
    together = asyncio.create_task(run_together(other.work()))
    await asyncio.sleep(0)
    for _ in range(2):
        together.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await together
    assert other.ended
