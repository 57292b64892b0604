"""The benchmark of the server under load: a small crowd on both servers, in earnest."""

import pytest

from benchmarks import load
from benchmarks.load import VARIANTS, measure, parse_point
from benchmarks.load_clients import captured_at_s
from stream_mer.errors import SettingError
from stream_mer.server.codec import MessageEncoder, encode
from stream_mer.server.examples import FRAME, LINE


def test_the_time_of_capture_is_read_from_the_message():
    encoder = MessageEncoder("main")
    assert captured_at_s(encode(encoder.message(FRAME))) == FRAME.t1
    assert captured_at_s(b'{"type":"hello"}') is None
    assert captured_at_s(encode(encoder.message(LINE))) == LINE.t1


@pytest.mark.parametrize("text", ["1000", "x10", "0x10", "10x0", "10xfast", "30000x1"])
def test_a_point_is_clients_and_a_rate(text):
    assert parse_point("200x40") == (200, 40.0)
    with pytest.raises(SettingError, match="such as 1000x10"):
        parse_point(text)


def test_every_variant_delivers_to_every_client_that_reads(monkeypatch):
    monkeypatch.setattr(load, "WARM_UP_S", 0.2)
    monkeypatch.setattr(load, "LAST_CALL_S", 0.3)
    measured = measure(points=["10x10"], rounds=1, duration_s=1.0, stuck_share=0.3)
    (table,) = measured.tables
    assert [row["server"] for row in table.rows] == [variant.name for variant in VARIANTS]
    for row in table.rows:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["cpu_percent"] > 0
        assert 50 < row["delivered_percent"] <= 110, "one frame more or less at the ends"
    assert table.rows[0]["p99_of_peer"] == 1.0
