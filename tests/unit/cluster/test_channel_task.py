"""One channel in a worker: it resumes where it was, stops when asked, and harms no other if it hangs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from helpers import PATIENCE_S
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.audio.windowing import Windower
from stream_mer.cluster import channel_task
from stream_mer.cluster.bus import CoalescingQueue
from stream_mer.cluster.channel_task import (
    FIRST_AUDIO_S,
    ChannelSink,
    ChannelTask,
    OutgoingQueue,
    ResumedSource,
    ResumePoint,
    read_resume_point,
    resume_after,
)
from stream_mer.cluster.records import Entry, seal
from stream_mer.config import WindowSettings
from stream_mer.errors import SourceError
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, LyricLine, StreamStatus
from tools.examples import CHANGE, FRAME, LINE, STATUS

HOP = SAMPLE_RATE_HZ // 2


class Tone:
    name, live = "tone", True

    def __init__(self) -> None:
        self.closed = False

    def chunks(self) -> Iterator[AudioChunk]:
        for i in range(40):
            yield AudioChunk(start_sample=i * 1600, samples=np.full(1600, 0.1, np.float32))

    def close(self) -> None:
        self.closed = True


def test_the_time_between_two_workers_is_lost_audio() -> None:
    stands = resume_after(
        frame=replace(FRAME, t1=42.5, dropped=3),
        line=replace(LINE, segment=6),
        status=replace(STATUS, lost_samples=100, source="live"),
        elapsed_s=1.9,
        hop_samples=HOP,
    )
    # It is 44.4 s, and a quarter of a second fits in before the window that ends at 45 s.
    assert stands.start_sample == 90 * HOP - HOP // 2
    assert stands.segments == 7
    assert stands.dropped == 3
    assert stands.lost_samples == 100 + stands.start_sample - 85 * HOP


def test_the_index_of_a_partial_window_is_not_used_again() -> None:
    stands = resume_after(frame=replace(FRAME, t1=42.6), line=None, status=None, elapsed_s=0.05, hop_samples=HOP)
    # 42.6 s lie within window 85, whose index is used; the next one ends at 43.5 s.
    assert stands.start_sample == 87 * HOP - HOP // 2


def test_nothing_is_lost_after_a_source_ended() -> None:
    stands = resume_after(
        frame=FRAME, line=None, status=replace(STATUS, lost_samples=5, source="ended"), elapsed_s=60, hop_samples=HOP
    )
    assert stands.lost_samples == 5


@settings(deadline=None)  # other work may run beside it
@given(t1=st.floats(0, 1e6), elapsed_s=st.floats(-5, 1e6), hop_s=st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]))
def test_the_first_new_window_ends_after_the_last_old_one(t1: float, elapsed_s: float, hop_s: float) -> None:
    settings = WindowSettings(hop_s=hop_s)
    stands = resume_after(
        frame=replace(FRAME, t1=t1), line=None, status=None, elapsed_s=elapsed_s, hop_samples=settings.hop_samples
    )
    first_samples = min(settings.hop_samples, round(FIRST_AUDIO_S * SAMPLE_RATE_HZ))
    assert (stands.start_sample + first_samples) % settings.hop_samples == 0
    assert stands.start_sample + first_samples > t1 * SAMPLE_RATE_HZ
    last_index = (round(t1 * SAMPLE_RATE_HZ) - 1) // settings.hop_samples  # also of the tail of a pipeline that ended
    assert (stands.start_sample + first_samples) // settings.hop_samples - 1 > last_index
    assert stands.start_sample >= (t1 + elapsed_s - 0.001) * SAMPLE_RATE_HZ


def test_windows_continue_where_the_old_ones_ended() -> None:
    tone = Tone()
    source = ResumedSource(tone, 90 * HOP - 4_000)
    windower = Windower(WindowSettings(hop_s=0.5))
    windows = [window for chunk in source.chunks() for window in windower.feed(chunk)]
    assert [window.index for window in windows] == list(range(89, 97))
    assert [window.end_sample for window in windows] == [(i + 1) * HOP for i in range(89, 97)]
    assert windows[0].start_sample == 90 * HOP - 4_000
    assert windows[0].lost_samples == 0
    source.close()
    assert tone.closed
    assert (source.name, source.live) == ("tone", True)


def test_counts_continue() -> None:
    stands = ResumePoint(start_sample=HOP, segments=7, dropped=2, lost_samples=50)
    line, frame, status = stands.shift(LINE), stands.shift(FRAME), stands.shift(STATUS)
    assert isinstance(line, LyricLine)
    assert line.segment == LINE.segment + 7
    assert isinstance(frame, EmotionFrame)
    assert frame.dropped == FRAME.dropped + 2
    assert isinstance(status, StreamStatus)
    assert status.lost_samples == STATUS.lost_samples + 50
    assert stands.shift(CHANGE) is CHANGE
    assert [ResumePoint().shift(event) for event in (FRAME, LINE)] == [FRAME, LINE], "a new channel"


class FakeBus:
    """Keeps the last event of each kind."""

    def __init__(self, **events: bytes) -> None:
        self._events = events

    async def last(self, _: str, subject: str) -> Entry | None:
        data = self._events.get(subject.rpartition(".")[2])
        return None if data is None else Entry(value=data, revision=1, stored_at=0.0)


async def stands(**events: bytes) -> ResumePoint:
    return await read_resume_point(FakeBus(**events), "hall", now=0.0, hop_samples=HOP)  # type: ignore[arg-type]


EMOTION = seal(replace(FRAME, t1=100.0, dropped=3), epoch=1, number=0)
LYRICS = seal(replace(LINE, segment=6), epoch=1, number=0)
STATE = seal(replace(STATUS, lost_samples=160), epoch=1, number=0)


@pytest.mark.parametrize("bad", [{"valence": 7.0}, {"raw": {"of": "a newer version"}}, {"category": 3}])
async def test_an_invalid_frame_still_gives_its_time(bad: dict[str, object]) -> None:
    raw = msgspec.json.decode(EMOTION)
    raw["event"] |= bad
    assert await stands(emotion=msgspec.json.encode(raw)) == await stands(emotion=EMOTION)
    assert (await stands(emotion=EMOTION)).start_sample >= 100 * 16_000


async def test_an_invalid_line_or_status_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    whole = await stands(emotion=EMOTION, lyrics=LYRICS, status=STATE)
    assert whole.segments == 7
    assert await stands(emotion=EMOTION, lyrics=b"[" * 100_000, status=STATE) == replace(whole, segments=0)
    assert await stands(emotion=EMOTION, lyrics=LYRICS, status=b"{}") == replace(
        whole, lost_samples=whole.lost_samples - 160
    )
    assert "ignoring it" in caplog.text


@pytest.mark.parametrize("events", [{}, {"emotion": b"garbage"}])
async def test_a_channel_without_a_readable_frame_starts_at_0(events: dict[str, bytes]) -> None:
    assert await stands(**events) == ResumePoint()


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


def begin(task: ChannelTask, pipeline: Any) -> asyncio.Event:
    ended = asyncio.Event()
    task.start(pipeline, ended.set)
    return ended


@pytest.fixture
def task() -> ChannelTask:
    return ChannelTask(token="a", name="A", epoch=1, channel=1)  # noqa: S106 - a key of a bucket


async def test_a_pipeline_ends_by_itself_or_with_its_failure(task: ChannelTask) -> None:
    ended = begin(task, Pipeline(failure=SourceError("gone")))
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    assert task.has_ended
    assert isinstance(task.failure, SourceError)


async def test_a_pipeline_that_hangs_is_abandoned(
    task: ChannelTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channel_task, "END_WITHIN_S", 0.05)
    stuck: Any = Pipeline(hangs=True)
    stuck_ended = asyncio.Event()
    running = task.start(stuck, stuck_ended.set)
    outgoing: OutgoingQueue = CoalescingQueue(wake=lambda: None)
    stale = ChannelSink(task, outgoing, ResumePoint())
    with caplog.at_level(logging.ERROR):
        await task.stop()
    assert "A: does not end within 0.05 s" in caplog.text
    assert task.is_idle

    ended = begin(task, Pipeline(failure=SourceError("gone")))
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    stale.publish(STATUS)  # what it says late is not said of the channel
    assert outgoing.get() is None
    ChannelSink(task, outgoing, ResumePoint()).publish(STATUS)
    assert outgoing.get() is not None

    assert not running.done()
    stuck.go_on.set()  # its late end does not count as that of the current pipeline
    await asyncio.wait_for(running, PATIENCE_S)
    assert not stuck_ended.is_set()
    assert isinstance(task.failure, SourceError)


async def test_a_pipeline_that_ends_is_waited_for(task: ChannelTask) -> None:
    pipeline = Pipeline()
    begin(task, pipeline)
    await task.stop()
    assert pipeline.go_on.is_set()
    assert task.attempt == 0
    await task.stop()  # idempotent


async def test_a_pipeline_without_progress_hangs(task: ChannelTask) -> None:
    assert not task.hangs(1000.0)  # there is none
    pipeline = Pipeline()
    begin(task, pipeline)
    assert not task.hangs(100.0 + channel_task.HANGS_AFTER_S)
    assert task.hangs(100.1 + channel_task.HANGS_AFTER_S)
    pipeline.turned_at += 10.0
    assert not task.hangs(100.1 + channel_task.HANGS_AFTER_S)
    await task.stop()
    assert not task.hangs(1000.0)
