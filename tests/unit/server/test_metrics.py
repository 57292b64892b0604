"""What Prometheus reads."""

import math
import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_mer.server.hub import Hub
from stream_mer.server.metrics import Metrics
from stream_mer.server.outbox import Outbox
from stream_mer.server.subscriptions import DEFAULT_SUBSCRIPTIONS
from stream_mer.types import OutputStatistics
from tools.examples import CHANGE, FRAME, LINE, STATUS


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def metrics(hub):
    return Metrics(hub)


def read(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return read(metrics)[name, tuple(sorted(labels.items()))]


def test_it_says_what_runs_here(metrics):
    (build,) = [labels for name, labels in read(metrics) if name == "stream_mer_build_info"]
    assert dict(build)["protocol"] == "mer.v1"


def test_latencies_are_histograms_by_stream_and_stages_add_up(hub, metrics):
    for _ in range(3):
        hub.sink("main").publish(FRAME)
    assert value(metrics, "stream_mer_latency_seconds_count", stream="main") == 3
    assert value(metrics, "stream_mer_latency_seconds_sum", stream="main") == pytest.approx(3 * 0.0283)
    assert value(metrics, "stream_mer_latency_seconds_bucket", stream="main", le="0.02") == 0
    assert value(metrics, "stream_mer_latency_seconds_bucket", stream="main", le="0.04") == 3
    stages = {
        dict(labels)["stage"]: spent for (name, labels), spent in read(metrics).items() if "stage_seconds_sum" in name
    }
    assert stages == pytest.approx({"capture": 0.0603, "queue": 0.0012, "features": 0.01536, "model": 0.00561})


def test_names_and_kinds_are_those_that_prometheus_asks_for(hub):
    metrics = Metrics(hub, outputs=lambda: [OutputStatistics(name="sacn", up=False)])
    for event in (FRAME, STATUS, CHANGE, LINE):
        hub.sink("main").publish(event)
    metrics.count_close(1000)
    families = list(text_string_to_metric_families(metrics.text().decode()))
    assert len({family.name for family in families}) == len(families) > 20
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"(stream_mer|process)(_[a-z]+)+", family.name)
        assert not re.search(r"_(total|count|sum|bucket|gauge|counter|histogram|ms|sec|min|kb|db)(_|$)", family.name)
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        assert all(sample.name.endswith(endings) for sample in family.samples)
        assert all(re.fullmatch(r"[a-z]+", label) for sample in family.samples for label in sample.labels)


def test_text_age_lag_losses_and_states_follow_the_stream(hub, metrics):
    sink = hub.sink("main")
    sink.publish(replace(FRAME, dropped=4))
    sink.publish(replace(STATUS, lag_s=2.8, lost_samples=16_000, source="reconnecting"))
    assert value(metrics, "stream_mer_text_age_seconds", stream="main") == 3.24
    assert value(metrics, "stream_mer_lyrics_lag_seconds", stream="main") == 2.8
    assert value(metrics, "stream_mer_lost_samples_total", stream="main") == 16_000
    assert value(metrics, "stream_mer_dropped_windows_total", stream="main") == 4
    assert value(metrics, "stream_mer_source_state", stream="main", state="reconnecting") == 1
    assert value(metrics, "stream_mer_source_state", stream="main", state="live") == 0
    assert value(metrics, "stream_mer_lyrics_state", stream="main", state="ok") == 1
    sink.publish(replace(FRAME, raw=replace(FRAME.raw, text_age_s=None)))
    assert math.isnan(value(metrics, "stream_mer_text_age_seconds", stream="main"))


def test_streams_that_are_gone_leave_no_metrics(hub, metrics):
    hub.sink("stays").publish(FRAME)
    before = metrics.text().count(b"\n")
    for i in range(100):
        hub.sink(f"goes {i}").publish(FRAME)
        hub.sink(f"goes {i}").publish(STATUS)
        hub.remove(f"goes {i}")
    assert metrics.text().count(b"\n") == before
    assert b"goes" not in metrics.text()
    assert metrics._frames.keys() == {"stays"}


def test_clients_messages_and_drops_are_counted(hub, metrics):
    box = Outbox(capacity=1, wake=lambda: None)
    hub.attach(box, DEFAULT_SUBSCRIPTIONS)
    for event in (LINE, CHANGE, FRAME, FRAME):
        hub.sink("main").publish(event)
    assert value(metrics, "stream_mer_clients") == 1
    assert value(metrics, "stream_mer_published_messages_total", stream="main", type="emotion") == 2
    assert value(metrics, "stream_mer_waiting_messages") == 2
    assert value(metrics, "stream_mer_replaced_messages_total") == 1
    assert value(metrics, "stream_mer_dropped_messages_total") == 1
    while box.take() is not None:
        pass
    assert value(metrics, "stream_mer_sent_messages_total") == 3
    assert value(metrics, "stream_mer_delivery_seconds_count") == 2


def test_connections_and_closes_are_counted_by_code(metrics):
    for code in (1000, 4410, 4410, None):
        metrics.connections.inc()
        metrics.count_close(code)
    assert value(metrics, "stream_mer_connections_total") == 4
    assert value(metrics, "stream_mer_closes_total", code="4410") == 2
    assert value(metrics, "stream_mer_closes_total", code="1006") == 1


def test_outputs_of_the_show_are_told_one_by_one(hub):
    fares = [
        OutputStatistics(name="osc resolume", stream="main", up=True, sent=90, errors=1, skipped=2),
        OutputStatistics(name="sacn", up=False),
    ]
    metrics = Metrics(hub, outputs=lambda: fares)
    resolume = {"output": "osc resolume", "stream": "main"}
    assert value(metrics, "stream_mer_output_up", **resolume) == 1
    assert value(metrics, "stream_mer_output_sent_packets_total", **resolume) == 90
    assert value(metrics, "stream_mer_output_errors_total", **resolume) == 1
    assert value(metrics, "stream_mer_output_skipped_calls_total", **resolume) == 2
    assert value(metrics, "stream_mer_output_up", output="sacn", stream="") == 0
