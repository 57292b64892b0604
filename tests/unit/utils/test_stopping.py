"""The first signal asks, the second one ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading

import pytest
from helpers import PATIENCE_S

from stream_mer.utils import stopping
from stream_mer.utils.stopping import exit_at_once, orderly_exit, stop_signals


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes, in place of exits."""
    codes: list[int] = []

    def note(code: int, close_files: object) -> None:
        del close_files
        codes.append(code)

    monkeypatch.setattr(stopping, "exit_at_once", note)
    return codes


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
async def test_a_first_signal_sets_the_event_and_a_second_one_ends_the_process(
    first: signal.Signals, second: signal.Signals, exits: list[int]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(first)
        async with asyncio.timeout(PATIENCE_S):
            await stop.wait()
        assert exits == []
        signal.raise_signal(second)
        assert exits == [128 + second]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_second_signal_works_while_the_loop_is_stuck(exits: list[int]) -> None:
    with stop_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the loop had no turn in between
        assert exits == [130]


async def test_in_another_thread_there_are_no_signals() -> None:
    def elsewhere() -> bool:
        async def stopped() -> bool:
            with stop_signals() as stop:
                return stop.is_set()

        return asyncio.run(stopped())

    assert await asyncio.to_thread(elsewhere) is False


def test_sigterm_unwinds_what_is_being_written_and_a_second_one_kills() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, orderly_exit():
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    with orderly_exit():
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with pytest.raises(SystemExit):
            handler(signal.SIGTERM, None)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


RETURNS_LATE = """
import atexit, sys
from stream_mer.utils import stopping
atexit.register(print, "regular end")
if sys.argv[1] == "abandoned":
    stopping.abandoned.set()
print("printed")
stopping.exit_process(3)
"""


@pytest.mark.parametrize(("how", "said"), [("ended", ["printed", "regular end"]), ("abandoned", ["printed"])])
def test_a_process_with_an_abandoned_thread_ends_without_the_interpreters_own_end(how: str, said: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", RETURNS_LATE, how], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split("\n")[:-1], done.stderr) == (3, said, "")


def test_files_are_closed_before_the_process_ends() -> None:
    order: list[object] = []
    ended = threading.Event()

    def end(code: int) -> None:
        order.append(code)
        ended.set()

    exit_at_once(130, lambda: order.append("closed"), exit_process=end)
    assert ended.wait(PATIENCE_S)
    assert order[:2] == ["closed", 130]


def test_a_file_that_cannot_be_closed_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "EXIT_WITHIN_S", 0.01)
    go_on, codes, ended = threading.Event(), [], threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    exit_at_once(143, lambda: go_on.wait(PATIENCE_S), exit_process=end)
    assert ended.wait(PATIENCE_S)
    assert codes == [143]
    go_on.set()
