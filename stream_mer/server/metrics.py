"""What the server tells Prometheus of itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
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
from stream_mer.types import LyricsHealth, OutputStatistics, SourceState
from stream_mer.version import __version__

_LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.5)
_STAGES = ("capture", "queue", "features", "model")


class Metrics:
    """Counts what passes and asks the hub for the rest when somebody looks.

    Args:
        hub: The hub; it is watched from now on.
        outputs: Tells how the outputs of the show fare; None where there are none.
    """

    def __init__(self, hub: Hub, *, outputs: Callable[[], Sequence[OutputStatistics]] | None = None) -> None:
        own = self._registry = CollectorRegistry()
        ProcessCollector(registry=own)
        own.register(_HubCollector(hub))
        if outputs is not None:
            own.register(_OutputCollector(outputs))
        Info("stream_mer_build", "What runs here.", registry=own).info(
            {"version": __version__, "protocol": wire.PROTOCOL}
        )
        self._connections = Counter("stream_mer_connections", "Websockets opened since the start.", registry=own)
        self._closes = Counter("stream_mer_closes", "Websockets closed, by code.", ["code"], registry=own)
        self._bad_requests = Counter("stream_mer_bad_requests", "HTTP requests refused as malformed.", registry=own)
        self._wrong_tokens = Counter("stream_mer_wrong_tokens", "Tokens that were looked at and wrong.", registry=own)
        self._latency = Histogram(
            "stream_mer_latency_seconds",
            "From the capture of a frame's newest audio until the frame is published.",
            ["stream"],
            buckets=_LATENCY_BOUNDS_S,
            registry=own,
        )
        self._stages = Histogram(
            "stream_mer_stage_seconds",
            "What the latency is made of: the time of a frame in each stage.",
            ["stream", "stage"],
            buckets=_LATENCY_BOUNDS_S,
            registry=own,
        )
        self._newest = _StreamCollector(hub)
        own.register(self._newest)
        hub.watch(self, forget=self.forget)

    def forget(self, stream: str) -> None:
        """Tell nothing more of a stream that was removed."""
        self._newest.forget(stream)
        with contextlib.suppress(KeyError):  # it never had a frame
            self._latency.remove(stream)
        for stage in _STAGES:
            with contextlib.suppress(KeyError):
                self._stages.remove(stream, stage)

    def see(self, message: wire.EventMessage) -> None:
        """Take note of a published message; from any thread."""
        self._newest.see(message)
        if isinstance(message, wire.Emotion):
            latency = message.latency_ms
            self._latency.labels(message.stream).observe(latency.total / 1e3)
            for stage in _STAGES:
                self._stages.labels(message.stream, stage).observe(getattr(latency, stage) / 1e3)

    def connected(self) -> None:
        """Count a websocket that was opened."""
        self._connections.inc()

    def bad_request(self) -> None:
        """Count a request that is malformed."""
        self._bad_requests.inc()

    def wrong_token(self) -> None:
        """Count a token that is wrong."""
        self._wrong_tokens.inc()

    def closed(self, code: int | None) -> None:
        """Count a websocket that was closed; None where it broke without a word."""
        self._closes.labels(str(code or 1006)).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _HubCollector(Collector):
    """What the hub counts anyway."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        hub = self._hub.statistics()
        boxes = hub.outboxes
        yield GaugeMetricFamily("stream_mer_clients", "Websocket clients that get events.", hub.clients)
        published = CounterMetricFamily("stream_mer_published_messages", "Messages made.", labels=["stream", "type"])
        for key, count in hub.published.items():
            published.add_metric(key, count)
        yield published
        yield GaugeMetricFamily("stream_mer_waiting_messages", "Messages that wait for a client.", boxes.waiting)
        for name, what, count in (
            ("sent", "Messages handed to a client's socket.", boxes.taken),
            ("replaced", "Latest-wins messages that a newer one replaced for one client.", boxes.replaced),
            ("dropped", "Ordered messages lost for one client that read too slowly.", boxes.dropped),
        ):
            yield CounterMetricFamily(f"stream_mer_{name}_messages", what, count)
        bounds = [*map(str, AGE_BOUNDS_S), "+Inf"]
        delivery = HistogramMetricFamily(
            "stream_mer_delivery_seconds", "From a message's publication until it is handed to a client's socket."
        )
        delivery.add_metric([], list(zip(bounds, accumulate(boxes.ages), strict=True)), boxes.age_sum_s)
        yield delivery


class _OutputCollector(Collector):
    """What the outputs of the show count anyway."""

    def __init__(self, outputs: Callable[[], Sequence[OutputStatistics]]) -> None:
        self._outputs = outputs

    def collect(self) -> Iterator[Metric]:
        labels = ["stream", "output"]
        up = GaugeMetricFamily("stream_mer_output_up", "1 while an output can be sent to.", labels=labels)
        sent = CounterMetricFamily("stream_mer_output_sent_packets", "Packets sent to an output.", labels=labels)
        errors = CounterMetricFamily(
            "stream_mer_output_errors", "How often an output had to be opened again.", labels=labels
        )
        skipped = CounterMetricFamily(
            "stream_mer_output_skipped_calls", "Calls left out because an output was still busy.", labels=labels
        )
        for output in self._outputs():
            key = [output.stream, output.name]
            up.add_metric(key, float(output.up))
            sent.add_metric(key, output.sent)
            errors.add_metric(key, output.errors)
            skipped.add_metric(key, output.skipped)
        yield from (up, sent, errors, skipped)


class _StreamCollector(Collector):
    """What the newest messages of each stream say; of those that are here no more, nothing.

    Args:
        hub: Knows which streams are here.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._emotions: dict[str, wire.Emotion] = {}
        self._statuses: dict[str, wire.Status] = {}

    def see(self, message: wire.EventMessage) -> None:
        """Take note of a published message; from any thread."""
        match message:
            case wire.Emotion():
                self._emotions[message.stream] = message
            case wire.Status():
                self._statuses[message.stream] = message

    def forget(self, stream: str) -> None:
        """Keep nothing of a stream that was removed."""
        self._emotions.pop(stream, None)
        self._statuses.pop(stream, None)

    def collect(self) -> Iterator[Metric]:
        here = self._hub.streams
        emotions = [self._emotions[stream] for stream in here if stream in self._emotions]
        statuses = [self._statuses[stream] for stream in here if stream in self._statuses]
        text_age = GaugeMetricFamily(
            "stream_mer_text_age_seconds", "Age of the newest sung line; NaN without text.", labels=["stream"]
        )
        dropped = CounterMetricFamily(
            "stream_mer_dropped_windows", "Windows that came too late for the model.", labels=["stream"]
        )
        for emotion in emotions:
            text_age.add_metric([emotion.stream], math.nan if emotion.text_age_s is None else emotion.text_age_s)
            dropped.add_metric([emotion.stream], emotion.dropped)
        lag = GaugeMetricFamily(
            "stream_mer_lyrics_lag_seconds", "How far lyrics recognition is behind the audio.", labels=["stream"]
        )
        lost = CounterMetricFamily("stream_mer_lost_samples", "Audio lost, samples at 16 kHz.", labels=["stream"])
        labels = ["stream", "state"]
        source = GaugeMetricFamily("stream_mer_source_state", "1 for the state that the source is in.", labels=labels)
        lyrics = GaugeMetricFamily(
            "stream_mer_lyrics_state", "1 for the state that the recogniser is in.", labels=labels
        )
        for status in statuses:
            lag.add_metric([status.stream], status.lag_s)
            lost.add_metric([status.stream], status.lost_samples)
            for state in get_args(SourceState):
                source.add_metric([status.stream, state], state == status.source)
            for health in get_args(LyricsHealth):
                lyrics.add_metric([status.stream, health], health == status.lyrics)
        yield from (text_age, dropped, lag, lost, source, lyrics)
