"""A channel with a new worker: its clock goes on, its lines and losses are counted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.audio.windowing import Windower
from stream_mer.cluster.continuation import FIRST_AUDIO_S, Continuation, ContinuedSource, continue_after
from stream_mer.config import WindowSettings
from stream_mer.server.examples import CHANGE, FRAME, LINE, STATUS
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, LyricLine, StreamStatus

HOP = SAMPLE_RATE_HZ // 2


class Tone:
    name, live = "tone", True

    def __init__(self) -> None:
        self.closed = False

    def chunks(self):
        for i in range(40):
            yield AudioChunk(start_sample=i * 1600, samples=np.full(1600, 0.1, np.float32))

    def close(self) -> None:
        self.closed = True


def test_a_channel_that_never_was_begins_at_0() -> None:
    assert continue_after(frame=None, line=None, status=None, elapsed_s=3.0, hop_samples=HOP) == Continuation()


def test_the_time_between_the_workers_has_passed_and_is_lost() -> None:
    stands = continue_after(
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


def test_a_window_that_was_cut_short_keeps_its_index() -> None:
    stands = continue_after(frame=replace(FRAME, t1=42.6), line=None, status=None, elapsed_s=0.05, hop_samples=HOP)
    # 42.6 s lie within window 85, which nobody may hear of again; the next one ends at 43.5 s.
    assert stands.start_sample == 87 * HOP - HOP // 2


def test_a_source_that_had_ended_has_lost_nothing_since() -> None:
    stands = continue_after(
        frame=FRAME, line=None, status=replace(STATUS, lost_samples=5, source="ended"), elapsed_s=60, hop_samples=HOP
    )
    assert stands.lost_samples == 5


@settings(deadline=None)  # other work may run beside it
@given(t1=st.floats(0, 1e6), elapsed_s=st.floats(-5, 1e6), hop_s=st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]))
def test_the_first_new_window_ends_later_than_the_last_old_one(t1: float, elapsed_s: float, hop_s: float) -> None:
    settings = WindowSettings(hop_s=hop_s)
    stands = continue_after(
        frame=replace(FRAME, t1=t1), line=None, status=None, elapsed_s=elapsed_s, hop_samples=settings.hop_samples
    )
    first_samples = min(settings.hop_samples, round(FIRST_AUDIO_S * SAMPLE_RATE_HZ))
    assert (stands.start_sample + first_samples) % settings.hop_samples == 0
    assert stands.start_sample + first_samples > t1 * SAMPLE_RATE_HZ
    last_index = (round(t1 * SAMPLE_RATE_HZ) - 1) // settings.hop_samples  # also of the tail of a pipeline that ended
    assert (stands.start_sample + first_samples) // settings.hop_samples - 1 > last_index
    assert stands.start_sample >= (t1 + elapsed_s - 0.001) * SAMPLE_RATE_HZ


def test_windows_go_on_where_the_old_ones_ended() -> None:
    tone = Tone()
    source = ContinuedSource(tone, 90 * HOP - 4_000)
    windower = Windower(WindowSettings(hop_s=0.5))
    windows = [window for chunk in source.chunks() for window in windower.feed(chunk)]
    assert [window.index for window in windows] == list(range(89, 97))
    assert [window.end_sample for window in windows] == [(i + 1) * HOP for i in range(89, 97)]
    assert windows[0].start_sample == 90 * HOP - 4_000
    assert windows[0].lost_samples == 0
    source.close()
    assert tone.closed
    assert (source.name, source.live) == ("tone", True)


def test_events_are_counted_on() -> None:
    stands = Continuation(start_sample=HOP, segments=7, dropped=2, lost_samples=50)
    line, frame, status = stands.shift(LINE), stands.shift(FRAME), stands.shift(STATUS)
    assert isinstance(line, LyricLine)
    assert line.segment == LINE.segment + 7
    assert isinstance(frame, EmotionFrame)
    assert frame.dropped == FRAME.dropped + 2
    assert isinstance(status, StreamStatus)
    assert status.lost_samples == STATUS.lost_samples + 50
    assert stands.shift(CHANGE) is CHANGE


@pytest.mark.parametrize("event", [FRAME, LINE])
def test_a_channel_that_begins_has_nothing_to_count_on(event: object) -> None:
    assert Continuation().shift(event) is event  # type: ignore[arg-type]
