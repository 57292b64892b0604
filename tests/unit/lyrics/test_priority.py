"""The recogniser's threads rank below all others, which keep their rank."""

from __future__ import annotations

import logging
import os
import sys
import threading

import pytest

from stream_mer.lyrics import feeds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have ranks of their own on Linux alone")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def run(body: object) -> None:
    thread = threading.Thread(target=body)  # type: ignore[arg-type]
    thread.start()
    thread.join(30)


def test_a_thread_gives_way_and_so_do_those_that_it_starts_afterwards() -> None:
    found: dict[str, int] = {}
    before = niceness()

    def worker() -> None:
        feeds.give_way()
        found["worker"] = niceness()
        run(lambda: found.update(started=niceness()))

    run(worker)
    expected = min(19, before + feeds.NICER_BY)
    assert found == {"worker": expected, "started": expected}
    assert niceness() == before


def test_a_system_that_refuses_leaves_the_rank_as_it_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError("not permitted")

    before = niceness()
    monkeypatch.setattr(os, "setpriority", refuse)
    with caplog.at_level(logging.DEBUG):
        feeds.give_way()
    assert niceness() == before
    assert [record.getMessage() for record in caplog.records] == [
        "the recogniser's threads keep their rank: not permitted"
    ]
