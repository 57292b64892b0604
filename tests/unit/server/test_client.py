"""Where a client goes on after a break, and what it asks for again."""

import subprocess
import sys

import msgspec
import pytest

import stream_mer
from stream_mer.errors import SettingError
from stream_mer.server import messages as wire
from stream_mer.server.client import MAX_STREAMS, ResumePoint, batches, complete_url, connect, reconnect_delay_s
from tools.examples import HELLO, examples


def test_a_client_knows_where_to_go_on():
    point = ResumePoint()
    assert point.resume(HELLO) is None, "it has seen nothing yet"
    kinds = examples()
    point.on_message(
        wire.Ready(client_id="x", granted=(), snapshot=(wire.SnapshotEntry(age_s=1, message=kinds["status"]),))
    )
    for message in (kinds["emotion"], msgspec.structs.replace(kinds["emotion"], seq=7), kinds["levels"]):
        point.on_message(message)
    resume = point.resume(HELLO)
    assert resume.session == HELLO.session
    assert resume.last_seq == {"main": {"emotion": 7, "lyrics": -1, "change": -1, "status": 0}}


def test_another_session_begins_anew():
    point = ResumePoint()
    point.resume(HELLO)
    point.on_message(examples()["emotion"])
    other = msgspec.structs.replace(HELLO, session="another")
    assert point.resume(other) is None
    assert point.resume(other).last_seq == {"main": {"emotion": -1, "lyrics": -1, "change": -1, "status": -1}}


def test_a_client_comes_back_no_sooner_than_the_server_asked():
    full = wire.Error(code=wire.CloseCode.FULL, message="all places are taken", fatal=True, retry_after_s=10.0)
    assert reconnect_delay_s(0.25, full) == 10.0
    assert 0.125 <= reconnect_delay_s(0.25, msgspec.structs.replace(full, retry_after_s=None)) <= 0.25
    assert 4.0 <= reconnect_delay_s(8.0, None) <= 8.0


def test_what_is_asked_for_again_comes_no_faster_than_the_server_bears():
    asked = [wire.Subscribe(id=i) for i in range(12)]
    assert batches(asked, per_s=15) == [asked[:5], asked[5:10], asked[10:]]
    assert [len(turn) for turn in batches(asked, per_s=1)] == [1] * 12
    assert batches(asked, per_s=50) == [asked]


def test_the_package_offers_the_client_and_loads_it_only_then():
    code = "import sys, stream_mer as m; assert 'websockets' not in sys.modules; m.connect; m.messages.Hello"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stream_mer.connect is connect
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = stream_mer.conect


def test_a_server_that_invents_streams_fills_no_memory():
    point, emotion = ResumePoint(), examples()["emotion"]
    point.resume(msgspec.structs.replace(HELLO, streams=tuple(f"h{i}" for i in range(3 * MAX_STREAMS))))
    for i in range(3 * MAX_STREAMS):
        point.on_message(msgspec.structs.replace(emotion, stream=f"s{i}", seq=i))
        point.on_message(msgspec.structs.replace(emotion, stream="busy", seq=i))
    counts = point._last_seq
    assert len(counts) == MAX_STREAMS
    assert counts["busy"]["emotion"] == 3 * MAX_STREAMS - 1, "those that spoke last are remembered"


@pytest.mark.parametrize("subscribe", [["emotion"], "emotion", [{"events": ["emotion"]}]])
def test_what_is_no_subscription_is_refused_with_an_example(subscribe):
    with pytest.raises(SettingError, match="takes a list like"):
        connect(subscribe=subscribe)


def test_subscriptions_are_asked_for_as_they_are_given():
    given = wire.Subscription(streams=("main",), events=("levels",), max_hz=5)
    assert connect(subscribe=[given])._desired.requests() == ((given,), ())
    assert connect()._desired.requests() == ((wire.Subscription(),), ()), "nothing in particular"
    assert connect(subscribe=[])._desired.requests() == ((), ()), "nothing at all"


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("ws://127.0.0.1:8765/v1/stream", "ws://127.0.0.1:8765/v1/stream"),
        ("127.0.0.1:9000", "ws://127.0.0.1:9000/v1/stream"),
        ("stage-pc", "ws://stage-pc:8765/v1/stream"),
        ("http://127.0.0.1:8765/", "ws://127.0.0.1:8765/v1/stream"),
        ("https://mer.example", "wss://mer.example/v1/stream"),
        ("wss://mer.example/proxied/stream", "wss://mer.example/proxied/stream"),
        ("https://mer.example/mer/", "wss://mer.example/mer/v1/stream"),
        ("mer.example:80/show/mer/", "ws://mer.example:80/show/mer/v1/stream"),
        ("ws://127.0.0.1:8765/mer/v1/stream/", "ws://127.0.0.1:8765/mer/v1/stream"),
        ("http://127.0.0.1:8765//", "ws://127.0.0.1:8765/v1/stream"),
        ("[::1]", "ws://[::1]:8765/v1/stream"),
        ("[::1]:9000", "ws://[::1]:9000/v1/stream"),
        ("bühne.example.", "ws://bühne.example.:8765/v1/stream"),
        (" WSS://mer.example:443/ ", "wss://mer.example:443/v1/stream"),
    ],
)
def test_an_address_is_completed(typed, url):
    assert complete_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "ws://", "ws://h:abc", "localhost:99999", "localhost:0", "front desk", "ftp://host", "http://[::1"),
        *("ws://a\0b", "ws://.", "a..b", "x" * 64),
    ],
)
def test_what_is_no_address_is_said_to_be_none(typed):
    with pytest.raises(SettingError, match="is not the address of a server"):
        complete_url(typed)


def test_arguments_of_another_type_are_errors_of_ours():
    for url in (None, 3, b"ws://h"):
        with pytest.raises(SettingError, match="is text"):
            connect(url)
    with pytest.raises(SettingError, match="subscribe takes a list"):
        connect(subscribe=5)
    for max_hz in (0, -1, float("nan")):
        with pytest.raises(SettingError, match="a rate above 0"):
            connect(subscribe=[wire.Subscription(max_hz=max_hz)])
