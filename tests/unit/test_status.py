"""What is said of an input, and a stream whose input fails: its frames go on, and say so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from stream_mer.audio.windowing import Windower
from stream_mer.config import SmoothingSettings, WindowSettings
from stream_mer.emotion.smoothing import Smoother
from stream_mer.lyrics.feeds import NoLyrics
from stream_mer.pipeline import Pipeline
from stream_mer.status import FLOOR_DB, StatusReporter
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    NO_LYRICS,
    AudioChunk,
    EmotionEstimate,
    EmotionFrame,
    Interval,
    LyricState,
    SourceState,
    StreamEvent,
    StreamStatus,
    Window,
)

HOP = 8_000


class Collector:
    def __init__(self) -> None:
        self.events: list[StreamEvent] = []

    def publish(self, event: StreamEvent) -> None:
        self.events.append(event)

    @property
    def statuses(self) -> list[StreamStatus]:
        return [event for event in self.events if isinstance(event, StreamStatus)]


def chunk(
    start: int, length: int, *, amplitude: float = 0.5, source: SourceState = "live", clipped: int = 0
) -> AudioChunk:
    samples = np.full(length, 0.0 if source != "live" else amplitude, np.float32)
    samples[::2] *= -1
    return AudioChunk(start_sample=start, samples=samples, source=source, clipped_samples=clipped)


def test_level_and_clipping_of_late_are_told_but_a_new_level_alone_is_not() -> None:
    sink = Collector()
    reporter = StatusReporter("desk", sink)
    reporter.report(NO_LYRICS)
    for k, amplitude in enumerate([0.5, 0.25, 0.1]):
        reporter.measure(chunk(k * HOP, HOP, amplitude=amplitude))
        reporter.report(NO_LYRICS)
    assert [(s.peak_db, s.rms_db, s.clipping) for s in sink.statuses] == [(None, None, False)]
    reporter.measure(chunk(3 * HOP, HOP, amplitude=0.1, clipped=3))
    reporter.report(NO_LYRICS)
    status = sink.statuses[-1]
    assert (status.peak_db, status.clipping) == (-6.0, True)
    assert status.rms_db == pytest.approx(10 * np.log10(np.mean([0.25, 0.0625, 0.01, 0.01])), abs=0.06)
    for k in range(4, 12):
        reporter.measure(chunk(k * HOP, HOP, amplitude=0.0))
        reporter.report(NO_LYRICS)
    assert [(s.source, s.clipping) for s in sink.statuses[2:]] == [("silent", True), ("silent", False)]
    assert (sink.statuses[-1].peak_db, sink.statuses[-1].rms_db) == (FLOOR_DB, FLOOR_DB)


def test_a_chunk_tells_whether_the_source_turned() -> None:
    reporter = StatusReporter("desk", Collector())
    states: list[SourceState] = ["live", "stalled", "stalled", "reconnecting", "live"]
    turned = [reporter.measure(chunk(k * HOP, HOP if k else 0, source=state)) for k, state in enumerate(states)]
    assert turned == [False, True, False, True, True]


def test_gaps_and_silence_in_place_of_audio_are_lost_samples_and_no_silent_input() -> None:
    sink = Collector()
    reporter = StatusReporter("desk", sink)
    reporter.measure(chunk(0, 100))
    reporter.measure(chunk(150, 10))
    reporter.measure(chunk(160, 100 * HOP, source="reconnecting"))
    reporter.report(NO_LYRICS)
    assert sink.statuses[0].lost_samples == 50 + 100 * HOP
    assert sink.statuses[0].source == "reconnecting"
    reporter.measure(chunk(160 + 100 * HOP, 10, amplitude=0.0))
    assert reporter.source_state == "live"


class Source:
    name = "desk"
    live = False  # so that no window is dropped however slow the machine

    def __init__(self, chunks: list[AudioChunk]) -> None:
        self._chunks = chunks

    def chunks(self) -> Iterator[AudioChunk]:
        yield from self._chunks

    def close(self) -> None:
        pass


def test_a_lag_that_breathes_is_no_news_and_one_that_grows_is() -> None:
    sink = Collector()
    reporter = StatusReporter("desk", sink)
    for lag_s in (2.0, 2.9, 1.1, 2.0, 3.0, 3.9, 3.0, 1.9):
        reporter.report(LyricState(health="ok", lag_s=lag_s))
    assert [status.lag_s for status in sink.statuses] == [2.0, 3.0, 1.9]
    reporter.report(LyricState(health="lagging", lag_s=2.0))
    assert sink.statuses[-1].lag_s == 2.0, "with other news the lag is that of now"


class Model:
    def predict(self, _window: Window, _lyrics: LyricState) -> EmotionEstimate:
        return EmotionEstimate(
            valence=0.0,
            arousal=0.0,
            interval=Interval(valence=(-1.0, 1.0), arousal=(-1.0, 1.0), level=0.8),
            categories=dict.fromkeys(CATEGORIES, 0.25),
            clusters=dict.fromkeys(CLUSTERS, 0.2),
            degraded=("lyrics_lagging",),
        )


def test_frames_go_on_through_an_outage_and_say_that_their_audio_was_lost() -> None:
    sink = Collector()
    outage: list[AudioChunk] = [
        AudioChunk(start_sample=4 * HOP, samples=np.empty(0, np.float32), source="stalled"),
        *(chunk(4 * HOP + k * 800, 800, source="stalled") for k in range(10)),
        *(chunk(5 * HOP + k * 800, 800, source="reconnecting") for k in range(25)),
    ]
    script = [
        *(chunk(k * HOP, HOP) for k in range(4)),
        *outage,
        *(chunk(7 * HOP + 4_000 + k * HOP, HOP) for k in range(4)),
    ]
    Pipeline(
        source=Source(script),
        windower=Windower(WindowSettings()),
        lyrics=NoLyrics(),
        emotion=Model(),
        smoother=Smoother(SmoothingSettings()),
        sink=sink,
    ).run()
    frames = [event for event in sink.events if isinstance(event, EmotionFrame)]
    assert [frame.index for frame in frames] == list(range(12))
    lost = [frame.index for frame in frames if {"lyrics_lagging", "audio_lost"} <= {*frame.raw.degraded}]
    assert lost == [4, 5, 6, 7]
    assert [frame.index for frame in frames if "silent" in frame.raw.degraded] == [5, 6]  # a second and more
    told = [state for state, _ in itertools.groupby(status.source for status in sink.statuses)]
    assert told[-4:] == ["stalled", "reconnecting", "live", "ended"]
    assert sink.statuses[-1].lost_samples == 3 * HOP + 4_000
