"""Where a client goes on after a break, and what it asks for again."""

import subprocess
import sys

import msgspec
import pytest

import stream_mer
from stream_mer.server import messages as wire
from stream_mer.server.client import connect
from stream_mer.server.coming_back import MOST_STREAMS, Seen, Wishes, in_turns, pause_s
from stream_mer.server.examples import HELLO, examples


def test_a_client_knows_where_to_go_on():
    seen = Seen()
    assert seen.resume(HELLO) is None, "it has seen nothing yet"
    kinds = examples()
    seen.take(wire.Ready(client_id="x", granted=(), snapshot=(wire.SnapshotEntry(age_s=1, message=kinds["status"]),)))
    for message in (kinds["emotion"], msgspec.structs.replace(kinds["emotion"], seq=7), kinds["levels"]):
        seen.take(message)
    resume = seen.resume(HELLO)
    assert resume.session == HELLO.session
    assert resume.last_seq == {"main": {"emotion": 7, "lyrics": -1, "change": -1, "status": 0}}


def test_another_session_begins_anew():
    seen = Seen()
    seen.resume(HELLO)
    seen.take(examples()["emotion"])
    other = msgspec.structs.replace(HELLO, session="another")
    assert seen.resume(other) is None
    assert seen.resume(other).last_seq == {"main": {"emotion": -1, "lyrics": -1, "change": -1, "status": -1}}


def test_a_client_asks_again_for_what_still_decides():
    wishes = Wishes(None)
    assert wishes.again() == ((wire.Subscription(),), ())
    for i in range(200):
        wishes.add(wire.Subscribe(id=2 * i, events=("levels",), max_hz=1 + i))
        wishes.add(wire.Unsubscribe(id=2 * i + 1, events=("status",)))
    first, later = wishes.again()
    assert first == (wire.Subscription(), wire.Subscription(events=("levels",), max_hz=200))
    assert later == (wire.Unsubscribe(id=399, events=("status",)),)
    wishes.forget(398)
    assert wishes.again() == ((wire.Subscription(),), later), "it was refused and would be again"
    wishes.add(wire.Unsubscribe(id=400))
    assert wishes.again() == ((), ())


def test_a_wish_for_one_stream_does_not_overrule_one_for_all():
    wishes = Wishes([wire.Subscription(events=("emotion",))])
    wishes.add(wire.Unsubscribe(id=1, streams=("main",)))
    wishes.add(wire.Subscribe(id=2, events=("emotion",), streams=("other",)))
    first, later = wishes.again()
    assert first == (wire.Subscription(events=("emotion",)),)
    assert [rule.id for rule in later] == [1, 2]


def test_a_client_comes_back_no_sooner_than_the_server_asked():
    full = wire.Error(code=wire.CloseCode.FULL, message="all places are taken", fatal=True, retry_after_s=10.0)
    assert pause_s(0.25, full) == 10.0
    assert 0.125 <= pause_s(0.25, msgspec.structs.replace(full, retry_after_s=None)) <= 0.25
    assert 4.0 <= pause_s(8.0, None) <= 8.0


def test_what_is_asked_for_again_comes_no_faster_than_the_server_bears():
    asked = [wire.Subscribe(id=i) for i in range(12)]
    assert in_turns(asked, per_s=15) == [asked[:5], asked[5:10], asked[10:]]
    assert [len(turn) for turn in in_turns(asked, per_s=1)] == [1] * 12
    assert in_turns(asked, per_s=50) == [asked]


def test_the_package_offers_the_client_and_loads_it_only_then():
    code = "import sys, stream_mer as m; assert 'websockets' not in sys.modules; m.connect; m.messages.Hello"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stream_mer.connect is connect
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        _ = stream_mer.conect


def test_a_server_that_invents_streams_fills_no_memory():
    seen, emotion = Seen(), examples()["emotion"]
    seen.resume(msgspec.structs.replace(HELLO, streams=tuple(f"h{i}" for i in range(3 * MOST_STREAMS))))
    for i in range(3 * MOST_STREAMS):
        seen.take(msgspec.structs.replace(emotion, stream=f"s{i}", seq=i))
        seen.take(msgspec.structs.replace(emotion, stream="busy", seq=i))
    counts = seen._last_seq
    assert len(counts) == MOST_STREAMS
    assert counts["busy"]["emotion"] == 3 * MOST_STREAMS - 1, "those that spoke last are remembered"
