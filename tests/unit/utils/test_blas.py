"""Limits on the threads of linear algebra end with the blocks that set them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from stream_mer.utils import blas

SEVERAL = 3


def threads() -> set[int]:
    """Return how many threads each library uses now."""
    assert (np.eye(3) @ np.eye(3)).sum() == 3
    return {library["num_threads"] for library in blas._libraries().info()}


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    with threadpool_limits(SEVERAL, user_api="blas"):
        if threads() != {SEVERAL}:
            pytest.skip("the linear algebra of this numpy cannot be limited")
        yield


def test_within_the_block_there_is_one_thread_and_afterwards_as_many_as_before() -> None:
    with blas.one_thread():
        assert threads() == {1}
    assert threads() == {SEVERAL}


def test_overlapping_blocks_leave_as_many_as_before() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with blas.one_thread():
            entered.set()
            leave.wait(60)

    other = threading.Thread(target=hold)
    with blas.one_thread():
        other.start()
        assert entered.wait(60)
        assert threads() == {1}
    leave.set()
    other.join(60)
    assert threads() == {SEVERAL}


def test_a_block_that_fails_lifts_the_limit() -> None:
    with pytest.raises(ZeroDivisionError), blas.one_thread():
        1 / 0  # noqa: B018 - raises
    assert threads() == {SEVERAL}


def test_the_whole_process_can_be_limited() -> None:
    blas.use_one_thread()
    assert threads() == {1}
