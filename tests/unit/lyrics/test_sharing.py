"""Sharing of the recogniser: whose turn it is, when lanes rest, and what a group does together."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers import PATIENCE_S, wait_for

from stream_mer.errors import SettingError
from stream_mer.lyrics.feeds import LAGGING, LiveLyrics
from stream_mer.lyrics.gate import LevelGate
from stream_mer.lyrics.sharing import DecodeGroup, RecogniserShare, ShareSettings, Ticket, current_group
from stream_mer.lyrics.tracker import LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import Passage, Transcript
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk


class Clock:
    """Stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


class Streams:
    """Streams that queue and hold turns without threads, through the share's own seams."""

    def __init__(self, clock: Clock, **settings: Any) -> None:
        self.share = RecogniserShare(ShareSettings(**settings), clock=clock)
        self.tickets: dict[str, Ticket] = {}

    def queue(self, **waits_s: float) -> None:
        for name, seconds in waits_s.items():
            self.tickets[name] = self.share.queue(waits_s=seconds)

    def granted(self) -> set[str]:
        with self.share._changed:
            self.share._grant()
        return {name for name, ticket in self.tickets.items() if ticket.group is not None}

    def release(self, *names: str) -> None:
        for name in names:
            self.share.release(self.tickets.pop(name))


def test_the_stream_that_has_waited_longest_is_next_whoever_came_first(clock: Clock) -> None:
    streams = Streams(clock, max_cpu_share=1.0)
    streams.queue(a=1.0)
    assert streams.granted() == {"a"}
    streams.queue(b=2.0, c=6.0, d=4.0)
    assert streams.granted() == {"a"}
    order = []
    current = "a"
    for _ in range(3):
        streams.release(current)
        (current,) = streams.granted()
        order.append(current)
    assert order == ["c", "d", "b"]


def test_a_stream_that_waits_in_the_queue_grows_older(clock: Clock) -> None:
    streams = Streams(clock, max_cpu_share=1.0)
    streams.queue(busy=1.0)
    streams.granted()
    streams.queue(early=1.0)
    clock.now_s += 3.0
    streams.queue(late=2.0)
    streams.release("busy")
    assert streams.granted() == {"early"}


def test_everyone_gets_as_many_turns_as_the_others(clock: Clock) -> None:
    """Twenty streams, one lane, two seconds a group of four: a pass of each in ten seconds, none in nine or eleven."""
    streams = Streams(clock, max_group=4, max_cpu_share=1.0)
    covered = dict.fromkeys((f"s{i}" for i in range(20)), clock.now_s)
    turns: dict[str, list[float]] = {name: [] for name in covered}
    for _ in range(50):
        streams.queue(**{name: clock.now_s - covered[name] for name in covered if name not in streams.tickets})
        group = streams.granted()
        assert len(group) == 4
        for name in group:
            turns[name].append(clock.now_s)
            covered[name] = clock.now_s
        clock.now_s += 2.0
        streams.release(*group)
    intervals = {b - a for times in turns.values() for a, b in pairwise(times)}
    assert intervals == {10.0}
    assert {len(times) for times in turns.values()} == {10}


def test_those_who_wait_are_spread_over_the_free_lanes(clock: Clock) -> None:
    streams = Streams(clock, lanes=2, max_group=4, max_cpu_share=1.0)
    streams.queue(a=1.0, b=2.0, c=3.0)
    assert streams.granted() == {"a", "b", "c"}
    groups = {name: ticket.group for name, ticket in streams.tickets.items()}
    assert groups["b"] is groups["c"]
    assert groups["a"] is not groups["b"]
    streams.queue(d=1.0)
    assert streams.granted() == {"a", "b", "c"}
    streams.release("b")
    assert "d" not in streams.granted()  # the lane is free when its last member has finished
    streams.release("c")
    assert "d" in streams.granted()


def test_a_group_has_a_largest_size(clock: Clock) -> None:
    streams = Streams(clock, max_group=4)
    streams.queue(**{f"s{i}": float(i) for i in range(9)})
    assert streams.granted() == {"s8", "s7", "s6", "s5"}


def test_a_lane_rests_in_proportion_after_a_group(clock: Clock) -> None:
    streams = Streams(clock, max_cpu_share=0.75)
    streams.queue(a=1.0)
    streams.granted()
    streams.queue(b=1.0)
    clock.now_s += 3.0
    streams.release("a")
    clock.now_s += 0.9
    assert streams.granted() == set()
    clock.now_s += 0.1
    assert streams.granted() == {"b"}


def test_a_withdrawn_ticket_gets_no_turn_and_delays_nobody(clock: Clock, pool: ThreadPoolExecutor) -> None:
    streams = Streams(clock)
    streams.queue(a=1.0)
    streams.granted()
    streams.queue(b=2.0, c=1.0)
    waiting: Future[bool] = pool.submit(streams.share.wait, streams.tickets["b"])
    streams.tickets["b"].withdraw()
    assert waiting.result(PATIENCE_S) is False
    with streams.tickets.pop("b").turn() as granted:
        assert not granted
    streams.release("a")
    assert streams.granted() == {"c"}


def test_a_failure_ends_the_turn(clock: Clock) -> None:
    streams = Streams(clock, max_cpu_share=1.0)
    streams.queue(a=2.0)
    ticket = streams.tickets.pop("a")

    def fail() -> None:
        with ticket.turn():
            assert current_group() is ticket.group is not None
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert current_group() is None
    streams.queue(b=1.0)
    assert streams.granted() == {"b"}


@pytest.mark.parametrize("settings", [{"max_cpu_share": 0.0}, {"max_cpu_share": 1.1}, {"lanes": 0}, {"max_group": 0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="recogniser"):
        ShareSettings(**settings)


def test_the_log_says_once_that_lyrics_lag_however_many_streams_do(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    share, streams = RecogniserShare(clock=clock), [object() for _ in range(3)]
    for _ in range(10):
        for stream in streams:
            share.report(stream, lags=True)
        clock.now_s += 5.0
        for stream in streams:
            share.report(stream, lags=False)
        clock.now_s += 0.5
    share.report(streams[0], lags=False)
    assert [record.message[:12] for record in caplog.records] == ["lyrics lag b"]
    clock.now_s += 60.0
    share.report(streams[1], lags=False)
    assert [record.message[:12] for record in caplog.records] == ["lyrics lag b", "lyrics keep "]


# Groups.


def test_a_group_computes_once_for_all_its_members(pool: ThreadPoolExecutor) -> None:
    group, calls = DecodeGroup(4), []

    def compute(items: Any) -> list[int]:
        calls.append(sorted(items))
        return [10 * item for item in items]

    results = [pool.submit(group.meet, i, compute) for i in range(4)]
    assert [result.result(PATIENCE_S) for result in results] == [0, 10, 20, 30]
    assert calls == [[0, 1, 2, 3]]


def test_a_member_that_leaves_is_not_waited_for(pool: ThreadPoolExecutor) -> None:
    group = DecodeGroup(3)
    results = [pool.submit(group.meet, i, list) for i in range(2)]
    assert not any(result.done() for result in results)
    group.leave()
    assert [result.result(PATIENCE_S) for result in results] == [0, 1]
    group.leave()
    assert group.meet(7, list) == 7  # a further meeting of the last member alone


def test_a_failure_in_common_is_everyones(pool: ThreadPoolExecutor) -> None:
    group = DecodeGroup(2)

    def fail(_: Any) -> list[Any]:
        raise ValueError("out of memory")

    results = [pool.submit(group.meet, i, fail) for i in range(2)]
    for result in results:
        with pytest.raises(ValueError, match="out of memory"):
            result.result(PATIENCE_S)


def test_however_streams_queue_meet_leave_and_withdraw_each_gets_its_own(pool: ThreadPoolExecutor) -> None:
    share = RecogniserShare(ShareSettings(lanes=2, max_group=3, max_cpu_share=1.0))

    def stream(number: int) -> list[int]:
        got: list[int] = []
        choose = np.random.default_rng(number)
        for _ in range(60):
            ticket = share.queue(waits_s=choose.random())
            if choose.random() < 0.1:
                ticket.withdraw()
            with ticket.turn() as granted:
                group = current_group()
                assert granted == (group is not None)
                if group is not None:
                    got += [group.meet(number, list) for _ in range(choose.integers(3))]
        return got

    results = [pool.submit(stream, number) for number in range(12)]
    for number, result in enumerate(results):
        assert set(result.result(PATIENCE_S)) == {number}
    assert not share._waiting
    assert not any(lane.members for lane in share._lanes)


# Streams that share a scripted recogniser.


class SharedRecogniser:
    """Takes a second of the injected clock for each stream of a group; notes who decoded what with whom."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.groups: list[int] = []
        self.ends: list[tuple[int, int]] = []  # the stream, from its samples, and the length of its audio

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, samples: Any, *, language: str | None = None) -> Transcript:
        group = current_group()
        assert group is not None
        self.ends.append((round(float(samples[-1]) * 100), len(samples)))
        group.meet(samples, self._together)
        return Transcript(language=language or "en")

    def _together(self, items: Any) -> list[Any]:
        self._clock.now_s += len(items)
        self.groups.append(len(items))
        return list(items)


class Quiet:
    """A gate that hears nobody in some streams."""

    def __init__(self, *silent: int) -> None:
        self._silent = silent

    def passages(self, samples: Any) -> tuple[Passage, ...]:
        return () if round(float(samples[-1]) * 100) in self._silent else LevelGate().passages(samples)


def play(feeds: list[LiveLyrics], start_s: int, stop_s: int) -> None:
    for second in range(start_s, stop_s):
        for i, feed in enumerate(feeds, 1):
            samples = np.full(SAMPLE_RATE_HZ, i / 100, np.float32)
            feed.feed(AudioChunk(start_sample=second * SAMPLE_RATE_HZ, samples=samples))


@pytest.mark.parametrize("silent", [(), (2, 5)])
def test_streams_decode_in_groups_and_only_where_somebody_sings(
    clock: Clock, encoder: Any, silent: tuple[int, ...]
) -> None:
    recogniser = SharedRecogniser(clock)
    share = RecogniserShare(ShareSettings(max_group=4, max_cpu_share=1.0), clock=clock)
    settings = TrackerSettings(step_s=2.0, buffer_s=12.0)
    with ExitStack() as stack:
        feeds = [
            LiveLyrics(recogniser, encoder, tracker=LyricTracker(settings, gate=Quiet(*silent)), share=share)
            for _ in range(8)
        ]
        for feed in feeds:
            stack.callback(feed.close)
        for turn in range(1, 4):
            play(feeds, 2 * turn - 2, 2 * turn)
            wait_for(lambda: all(feed.state().lag_s == 0.0 for feed in feeds))
        assert {feed.state().health for feed in feeds} == {"ok"}
        singing = set(range(1, 9)) - set(silent)
        assert {stream for stream, _ in recogniser.ends} == singing
        assert len(recogniser.ends) == 3 * len(singing)
        assert max(recogniser.groups) <= 4
        assert sum(recogniser.groups) == len(recogniser.ends)


def test_a_stream_that_waited_decodes_its_newest_audio_and_says_that_it_lags(clock: Clock, encoder: Any) -> None:
    recogniser = SharedRecogniser(clock)
    share = RecogniserShare(ShareSettings(max_cpu_share=1.0), clock=clock)
    busy = share.queue(waits_s=99.0)
    assert share.wait(busy)
    feed = LiveLyrics(
        recogniser, encoder, tracker=LyricTracker(TrackerSettings(step_s=2.0, buffer_s=12.0)), share=share
    )
    try:
        wait_for(lambda: feed.state().health == "ok")
        play([feed], 0, 2)
        wait_for(lambda: len(share._waiting) == 1)
        play([feed], 2, 7)
        assert feed.state().health == "ok"
        play([feed], 7, 9)
        assert (feed.state().health, feed.state().degraded) == ("lagging", (LAGGING,))
        share.release(busy)
        wait_for(lambda: feed.state().health == "ok")
        assert recogniser.ends == [(1, 9 * SAMPLE_RATE_HZ)]
    finally:
        feed.close()


def test_a_stream_that_waits_for_its_turn_can_be_closed_and_finished(clock: Clock, encoder: Any) -> None:
    share = RecogniserShare(clock=clock)
    busy = share.queue(waits_s=99.0)
    assert share.wait(busy)
    for end in (LiveLyrics.close, LiveLyrics.finish):
        feed = LiveLyrics(SharedRecogniser(clock), encoder, share=share)
        play([feed], 0, 3)
        wait_for(lambda: len(share._waiting) == 1)
        end(feed)
        wait_for(lambda: not share._waiting)
        feed.close()
        assert not feed._worker.is_alive()
