"""A channel at work ends when it is asked to, and one that hangs harms nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from stream_mer.cluster import run as run_module
from stream_mer.cluster.coalescing import Coalescer
from stream_mer.cluster.continuation import Continuation
from stream_mer.cluster.run import ChannelSink, Outgoing, Run
from stream_mer.errors import SourceError
from stream_mer.server.examples import STATUS

PATIENCE_S = 30.0


class Pipeline:
    """Runs until it is stopped; one that hangs is not to be stopped."""

    def __init__(self, *, hangs: bool = False, failure: Exception | None = None) -> None:
        self.hangs = hangs
        self.failure = failure
        self.go_on = threading.Event()
        self.turned_at = 100.0

    def run(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.go_on.wait(PATIENCE_S)

    def stop(self) -> None:
        if self.hangs:
            self.go_on.wait(PATIENCE_S)
        self.go_on.set()


def begin(run: Run, pipeline: Any) -> asyncio.Event:
    ended = asyncio.Event()
    run.begin(pipeline, ended.set)
    return ended


@pytest.fixture
def run() -> Run:
    return Run(token="a", name="A", epoch=1, channel=1)  # noqa: S106 - a key of a bucket


async def test_a_pipeline_ends_by_itself_or_with_its_failure(run: Run) -> None:
    ended = begin(run, Pipeline(failure=SourceError("gone")))
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert run.has_ended
    assert isinstance(run.failure, SourceError)


async def test_a_pipeline_that_hangs_is_left_behind(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_module, "END_WITHIN_S", 0.05)
    stuck = Pipeline(hangs=True)
    stuck_ended = begin(run, stuck)
    outgoing: Outgoing = Coalescer(wake=lambda: None)
    stale = ChannelSink(run, outgoing, Continuation())
    with caplog.at_level(logging.ERROR):
        await run.end()
    assert "A: does not end within 0.05 s; it is left behind" in caplog.text
    assert run.is_idle

    ended = begin(run, Pipeline(failure=SourceError("gone")))
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    stale.publish(STATUS)  # what it says late is not said of the channel
    assert outgoing.take() is None
    ChannelSink(run, outgoing, Continuation()).publish(STATUS)
    assert outgoing.take() is not None

    stuck.go_on.set()  # and that it ends after all is no end of the one that runs now
    await asyncio.sleep(0)
    assert not stuck_ended.is_set()
    assert isinstance(run.failure, SourceError)


async def test_a_pipeline_that_ends_is_waited_for(run: Run) -> None:
    pipeline = Pipeline()
    begin(run, pipeline)
    await run.end()
    assert pipeline.go_on.is_set()
    assert run.attempt == 0
    await run.end()  # idempotent


async def test_a_pipeline_whose_loop_does_not_come_round_hangs(run: Run) -> None:
    assert not run.hangs(1000.0)  # there is none
    pipeline = Pipeline()
    begin(run, pipeline)
    assert not run.hangs(100.0 + run_module.HANGS_AFTER_S)
    assert run.hangs(100.1 + run_module.HANGS_AFTER_S)
    pipeline.turned_at += 10.0
    assert not run.hangs(100.1 + run_module.HANGS_AFTER_S)
    await run.end()
    assert not run.hangs(1000.0)
