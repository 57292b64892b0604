"""Work in daemon threads: one that hangs blocks neither its caller nor the end of the process.

``available_cores`` says how many can compute at a time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_SIGNALS_WITHIN_S = 0.1


def available_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_thread(work: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Run a function in a new daemon thread.

    Unlike a thread of an executor, it delays neither the end of the loop nor that of the process.

    Args:
        work: The function.
        name: Name of the thread.

    Returns:
        A future with its result or its exception. Cancelling the future does not stop the thread.
    """
    import asyncio  # noqa: PLC0415 - decoding a file does without

    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not outcome.done():
            result()

    def run() -> None:
        result: Callable[[], None]
        try:
            value = work()
        except BaseException as error:  # raised again where the outcome is asked for
            failure = error
            result = lambda: outcome.set_exception(failure)  # noqa: E731 - two words
        else:
            result = lambda: outcome.set_result(value)  # noqa: E731 - likewise
        with contextlib.suppress(RuntimeError):  # the loop is closed: the result is not needed any more
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome


def call_beside(work: Callable[[], T], *, name: str) -> T:
    """Run a function in a new daemon thread and wait for it.

    For libraries that call back into Python and lose, or end the process with, what a signal raises there: it is
    raised only in the main thread, which waits here.

    Args:
        work: The function.
        name: Name of the thread.

    Returns:
        Its result; its exception is raised.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again in the thread that waits
            failures.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    while thread.is_alive():  # a signal that comes just before an endless wait would be handled after it
        thread.join(_SIGNALS_WITHIN_S)
    if failures:
        raise failures[0]
    return results[0]


def call_all(calls: Iterable[Callable[[], object]], *, within_s: float) -> bool:
    """Call several functions concurrently, each in a daemon thread, and wait for them.

    Args:
        calls: The functions; their exceptions go to ``threading.excepthook``.
        within_s: How long to wait for all of them together, seconds.

    Returns:
        Whether all have returned.
    """
    threads = [threading.Thread(target=call, name="close", daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
