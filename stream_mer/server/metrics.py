"""Metrics for Prometheus."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.server.outbox import AGE_BOUNDS_S
from stream_mer.types import EmotionFrame, LyricsHealth, OutputStatistics, SourceState, StreamEvent, StreamStatus
from stream_mer.version import __version__

_LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5)
_STAGES = ("capture", "queue", "features", "model")


class Metrics:
    """Counts events of the hub, and reads the hub's and the outputs' own counts when read.

    Args:
        hub: The hub; its events are counted from now on.
        outputs: Returns the state of the outputs; None where there are none.

    Attributes:
        connections: Counts websockets opened.
        bad_requests: Counts HTTP requests refused as malformed.
        wrong_tokens: Counts wrong tokens.
    """

    def __init__(self, hub: Hub, *, outputs: Callable[[], Sequence[OutputStatistics]] | None = None) -> None:
        own = self._registry = CollectorRegistry()
        ProcessCollector(registry=own)
        info = Info("stream_mer_build", "Version and protocol.", registry=own)
        info.info({"version": __version__, "protocol": wire.PROTOCOL})
        self.connections = Counter("stream_mer_connections", "Websockets opened since the start.", registry=own)
        self.bad_requests = Counter("stream_mer_bad_requests", "HTTP requests refused as malformed.", registry=own)
        self.wrong_tokens = Counter("stream_mer_wrong_tokens", "Tokens that were checked and wrong.", registry=own)
        self._closes = Counter("stream_mer_closes", "Websockets closed, by code.", ["code"], registry=own)
        self._latency = Histogram(
            "stream_mer_latency_seconds",
            "From the capture of a frame's newest audio until the frame is published.",
            ["stream"],
            buckets=_LATENCY_BOUNDS_S,
            registry=own,
        )
        self._stages = Histogram(
            "stream_mer_stage_seconds",
            "The parts of the latency: the time of a frame in each stage.",
            ["stream", "stage"],
            buckets=_LATENCY_BOUNDS_S,
            registry=own,
        )
        self._observed: dict[str, tuple[Histogram, list[tuple[str, Histogram]]]] = {}
        self._frames: dict[str, EmotionFrame] = {}
        self._statuses: dict[str, StreamStatus] = {}
        own.register(_FunctionCollector(lambda: _stream_metrics(hub.streams, self._frames, self._statuses)))
        own.register(_FunctionCollector(lambda: _hub_metrics(hub)))
        if outputs is not None:
            own.register(_FunctionCollector(lambda: _output_metrics(outputs())))
        hub.subscribe(self._on_event, on_remove=self._on_remove)

    def count_close(self, code: int | None) -> None:
        """Count a websocket that was closed; None where it broke without a close frame."""
        self._closes.labels(str(code or 1006)).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _on_event(self, stream: str, event: StreamEvent) -> None:
        match event:
            case EmotionFrame():
                self._frames[stream] = event
                found = self._observed.get(stream)
                if found is None:  # found once: looking up labels costs more than counting
                    stages = [(stage, self._stages.labels(stream, stage)) for stage in _STAGES]
                    found = self._observed[stream] = self._latency.labels(stream), stages
                total, stages = found
                total.observe(event.latency.total / 1e3)
                for stage, histogram in stages:
                    histogram.observe(getattr(event.latency, stage) / 1e3)
            case StreamStatus():
                self._statuses[stream] = event

    def _on_remove(self, stream: str) -> None:
        self._observed.pop(stream, None)
        self._frames.pop(stream, None)
        self._statuses.pop(stream, None)
        with contextlib.suppress(KeyError):  # it never had a frame
            self._latency.remove(stream)
        for stage in _STAGES:
            with contextlib.suppress(KeyError):
                self._stages.remove(stream, stage)


class _FunctionCollector(Collector):
    """Metrics that a function makes when they are read."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def _hub_metrics(hub: Hub) -> Iterator[Metric]:
    statistics = hub.statistics()
    boxes = statistics.outboxes
    yield GaugeMetricFamily("stream_mer_clients", "Websocket clients that get events.", statistics.clients)
    published = CounterMetricFamily("stream_mer_published_messages", "Messages published.", labels=["stream", "type"])
    for key, count in statistics.published.items():
        published.add_metric(key, count)
    yield published
    yield GaugeMetricFamily("stream_mer_waiting_messages", "Messages that wait for a client.", boxes.waiting)
    for name, what, count in (
        ("sent", "Messages handed to a client's socket.", boxes.taken),
        ("replaced", "Latest-wins messages that a newer one replaced for one client.", boxes.replaced),
        ("dropped", "Ordered messages lost for one client that read too slowly.", boxes.dropped),
    ):
        yield CounterMetricFamily(f"stream_mer_{name}_messages", what, count)
    delivery = HistogramMetricFamily(
        "stream_mer_delivery_seconds", "From a message's publication until it is handed to a client's socket."
    )
    bounds = [*map(str, AGE_BOUNDS_S), "+Inf"]
    delivery.add_metric([], list(zip(bounds, accumulate(boxes.ages), strict=True)), boxes.age_sum_s)
    yield delivery


def _output_metrics(outputs: Sequence[OutputStatistics]) -> Iterator[Metric]:
    labels = ["stream", "output"]
    up = GaugeMetricFamily("stream_mer_output_up", "1 while packets can be sent to an output.", labels=labels)
    sent = CounterMetricFamily("stream_mer_output_sent_packets", "Packets sent to an output.", labels=labels)
    errors = CounterMetricFamily("stream_mer_output_errors", "How often an output was opened again.", labels=labels)
    skipped = CounterMetricFamily(
        "stream_mer_output_skipped_calls", "Calls left out because an output was still busy.", labels=labels
    )
    for output in outputs:
        key = [output.stream, output.name]
        up.add_metric(key, float(output.up))
        sent.add_metric(key, output.sent)
        errors.add_metric(key, output.errors)
        skipped.add_metric(key, output.skipped)
    yield from (up, sent, errors, skipped)


def _stream_metrics(
    streams: Sequence[str], frames: Mapping[str, EmotionFrame], statuses: Mapping[str, StreamStatus]
) -> Iterator[Metric]:
    """The newest frame and status of each stream that exists."""
    text_age = GaugeMetricFamily(
        "stream_mer_text_age_seconds", "Age of the newest sung line; NaN without text.", labels=["stream"]
    )
    dropped = CounterMetricFamily(
        "stream_mer_dropped_windows", "Windows that came too late for the model.", labels=["stream"]
    )
    lag = GaugeMetricFamily(
        "stream_mer_lyrics_lag_seconds", "How far lyrics recognition is behind the audio.", labels=["stream"]
    )
    lost = CounterMetricFamily("stream_mer_lost_samples", "Audio lost, samples at 16 kHz.", labels=["stream"])
    labels = ["stream", "state"]
    source = GaugeMetricFamily("stream_mer_source_state", "1 for the current state of the source.", labels=labels)
    lyrics = GaugeMetricFamily("stream_mer_lyrics_state", "1 for the current state of the recogniser.", labels=labels)
    for stream in streams:
        frame, status = frames.get(stream), statuses.get(stream)
        if frame is not None:
            age_s = frame.raw.text_age_s
            text_age.add_metric([stream], math.nan if age_s is None else age_s)
            dropped.add_metric([stream], frame.dropped)
        if status is not None:
            lag.add_metric([stream], status.lag_s)
            lost.add_metric([stream], status.lost_samples)
            for state in get_args(SourceState):
                source.add_metric([stream, state], state == status.source)
            for health in get_args(LyricsHealth):
                lyrics.add_metric([stream, health], health == status.lyrics)
    yield from (text_age, dropped, lag, lost, source, lyrics)
