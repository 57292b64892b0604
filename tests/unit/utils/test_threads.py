"""Work beside the loop that may hang for ever."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest
from helpers import PATIENCE_S

from stream_mer.utils.stopping import orderly_exit
from stream_mer.utils.threads import call_all, call_beside, in_thread


async def test_the_result_or_the_error_comes_back_to_the_loop() -> None:
    assert await in_thread(lambda: threading.current_thread().name, name="beside") == "beside"

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await in_thread(fail, name="beside")


def test_a_thread_that_hangs_keeps_neither_the_loop_nor_the_process_from_ending() -> None:
    began, go_on, threads = threading.Event(), threading.Event(), []

    def hang() -> None:
        threads.append(threading.current_thread())
        began.set()
        go_on.wait(PATIENCE_S)

    async def leave_behind() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await in_thread(hang, name="hangs")

    asyncio.run(leave_behind())
    assert began.wait(PATIENCE_S)
    (thread,) = threads
    assert thread.is_alive()
    assert thread.daemon
    go_on.set()
    thread.join(PATIENCE_S)  # that its loop is closed is no error
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="wants signals of POSIX")
def test_what_a_signal_raises_does_not_come_up_within_the_work() -> None:
    began, go_on, raised = threading.Event(), threading.Event(), []

    def work() -> None:
        began.set()
        try:
            go_on.wait(PATIENCE_S)
        except BaseException as error:
            raised.append(error)
            raise

    def interrupt() -> None:
        began.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    interrupting = threading.Thread(target=interrupt, daemon=True)
    interrupting.start()
    with pytest.raises(SystemExit), orderly_exit():
        call_beside(work, name="beside")
    interrupting.join(PATIENCE_S)
    go_on.set()
    assert raised == []


def test_a_call_beside_gives_its_result_or_its_error() -> None:
    assert call_beside(lambda: threading.current_thread().name, name="beside") == "beside"

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        call_beside(fail, name="beside")


def test_calls_are_made_side_by_side_and_not_waited_for_without_end() -> None:
    go_on, meet = threading.Event(), threading.Barrier(2)
    assert call_all([lambda: meet.wait(PATIENCE_S), lambda: meet.wait(PATIENCE_S)], within_s=PATIENCE_S)
    assert not call_all([lambda: go_on.wait(PATIENCE_S)], within_s=0.01)
    go_on.set()
