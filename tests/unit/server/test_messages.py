"""The wire: what is sent is what is read, field by field, and the fields are those of the contract."""

import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mer.audio.audio_state import REASONS
from stream_mer.cluster.node import Outage
from stream_mer.errors import ServeError
from stream_mer.event_json import encode, kind_of
from stream_mer.lyrics.feeds import LAGGING, LOADING, UNAVAILABLE
from stream_mer.pipeline import AUDIO_LOST
from stream_mer.server import messages as wire
from stream_mer.server.messages import decode_client, decode_server
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN

SERVER_TYPES = typing.get_args(wire.ServerMessage)
CLIENT_TYPES = typing.get_args(wire.ClientMessage)

CONTRACT = {
    "hello": "protocol server auth_required session streams categories clusters va_range window_s hop_s limits",
    "identify": "token client subscribe resume",
    "ready": "client_id role granted snapshot resumed",
    "subscribe": "id streams events max_hz",
    "unsubscribe": "id streams events",
    "result": "id ok error",
    "control": "id action streams override",
    "levels": "stream seq t rms_db peak_db onset",
    "emotion": "stream seq index t0 t1 valence arousal raw interval category clusters confidence modalities text_age_s "
    "degraded audio_state held hold hold_left_s latency_ms dropped",
    "lyrics": "stream seq segment revision t0 t1 text committed language words settled_words",
    "change": "stream seq t from to dwell_s",
    "status": "stream seq source device lyrics lag_s lost_samples clipping peak_db rms_db",
    "audio.start": "stream format rate_hz channels",
    "audio.end": "",
    "ping": "id t",
    "pong": "id t",
    "error": "code message fatal retry_after_s",
    "summary": "stream duration_s valence arousal category clusters lyrics",
}

NESTED = {
    wire.ValenceArousal: "valence arousal",
    wire.IntervalPart: "valence arousal level",
    wire.CategoryPart: "top probs",
    wire.CategoryProbs: " ".join(CATEGORIES),
    wire.ClusterProbs: " ".join(CLUSTERS),
    wire.LatencyPart: "capture queue features model total",
    wire.WordPart: "t0 t1 text",
    wire.Subscription: "streams events max_hz",
    wire.ClientPart: "name kind",
    wire.ResumePart: "session last_seq",
    wire.OverridePart: "valence arousal ttl_s",
    wire.RefusalPart: "code message",
}


def test_a_change_names_categories_alone():
    hints = typing.get_type_hints(wire.Change)
    assert set(typing.get_args(hints["from_"])) == set(typing.get_args(hints["to"])) == set(CATEGORIES)


def test_every_reason_for_a_worse_frame_is_told():
    told = typing.get_type_hints(wire.Emotion, include_extras=True)["degraded"].__metadata__[0].description
    codes = (AUDIO_LOST, *REASONS.values(), LOADING, LAGGING, UNAVAILABLE, *typing.get_args(Outage))
    assert [code for code in codes if f"`{code}`" not in told] == []


def floats(info: msgspec.inspect.FloatType) -> st.SearchStrategy[float]:
    low = info.ge if info.ge is not None else info.gt
    return st.floats(low, info.le, allow_nan=False, allow_infinity=False, exclude_min=info.gt is not None)


def struct(info: msgspec.inspect.StructType) -> st.SearchStrategy[object]:
    return st.builds(info.cls, **{field.name: strategy_for(field.type) for field in info.fields})


STRATEGIES = {
    msgspec.inspect.Metadata: lambda info: strategy_for(info.type),
    msgspec.inspect.StructType: struct,
    msgspec.inspect.FloatType: floats,
    msgspec.inspect.IntType: lambda info: st.integers(info.ge if info.ge is not None else -(2**40), 2**40),
    msgspec.inspect.StrType: lambda _: st.text(max_size=12),
    msgspec.inspect.BoolType: lambda _: st.booleans(),
    msgspec.inspect.NoneType: lambda _: st.none(),
    msgspec.inspect.LiteralType: lambda info: st.sampled_from(info.values),
    msgspec.inspect.UnionType: lambda info: st.one_of([strategy_for(one) for one in info.types]),
    msgspec.inspect.TupleType: lambda info: st.tuples(*[strategy_for(one) for one in info.item_types]),
    msgspec.inspect.VarTupleType: lambda info: st.lists(strategy_for(info.item_type), max_size=3).map(tuple),
    msgspec.inspect.DictType: lambda info: st.dictionaries(
        strategy_for(info.key_type), strategy_for(info.value_type), max_size=3
    ),
}


def strategy_for(info: msgspec.inspect.Type) -> st.SearchStrategy[object]:
    """Every value that a type allows; a kind of field that is new here is a KeyError, not a gap."""
    return STRATEGIES[type(info)](info)


def strategy_of(one: type[wire.Message]) -> st.SearchStrategy[object]:
    return strategy_for(msgspec.inspect.type_info(one))


@pytest.mark.parametrize("one", SERVER_TYPES, ids=lambda one: one.__name__)
def test_what_the_server_sends_is_what_a_client_reads(one):
    @settings(max_examples=40, deadline=None)
    @given(strategy_of(one))
    def round_trip(message):
        data = encode(message)
        assert decode_server(data) == message
        assert decode_server(data.decode()) == message
        assert b"\n" not in data

    round_trip()


@pytest.mark.parametrize("one", CLIENT_TYPES, ids=lambda one: one.__name__)
def test_what_a_client_sends_is_what_the_server_reads(one):
    @settings(max_examples=40, deadline=None)
    @given(strategy_of(one))
    def round_trip(message):
        assert decode_client(encode(message)) == message

    round_trip()


@pytest.mark.parametrize("one", [*dict.fromkeys((*SERVER_TYPES, *CLIENT_TYPES)), wire.Summary], ids=kind_of)
def test_fields_are_those_of_the_contract(one):
    assert set(one.__struct_encode_fields__) == set(CONTRACT[kind_of(one)].split())


@pytest.mark.parametrize(("part", "fields"), NESTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_nested_fields_are_those_of_the_contract(part, fields):
    assert list(part.__struct_encode_fields__) == fields.split()


def test_category_may_be_any_of_the_known_ones_or_unknown():
    hints = typing.get_type_hints(wire.CategoryPart)
    assert set(typing.get_args(hints["top"])) == {*CATEGORIES, UNKNOWN}


def test_unknown_fields_are_ignored_in_both_directions():
    assert decode_client('{"type":"ping","id":3,"mood":"new"}') == wire.Ping(id=3)
    assert decode_server('{"type":"pong","id":"a","t":1.5,"mood":{"x":1}}') == wire.Pong(id="a", t=1.5)


def test_a_client_skips_types_that_are_newer_than_itself():
    assert decode_server('{"type":"tempo","stream":"main","bpm":120}') is None


@pytest.mark.parametrize("data", ['{"type":"emotion"}', "[]", "what", "{}"])
def test_a_client_refuses_what_is_no_message(data):
    with pytest.raises(ServeError, match=r"not mer\.v1"):
        decode_server(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "must be JSON"),
        ("", "must be JSON"),
        ("[1,2]", 'JSON object with a "type"'),
        ('"ping"', 'JSON object with a "type"'),
        ("{}", "one of identify, subscribe"),
        ('{"type":7}', 'JSON object with a "type"'),
        ('{"type":"sing"}', '"sing" is not a message that clients send'),
        ('{"type":"emotion"}', '"emotion" is not a message that clients send'),
        ('{"type":"identify","token":7}', r'"identify" is malformed: .*\$\.token'),
        ('{"type":"identify","subscribe":[{"max_hz":0}]}', r'"identify" is malformed: .*max_hz'),
    ],
)
def test_a_bad_message_is_refused_with_the_reason(data, words):
    with pytest.raises(ServeError, match=words):
        decode_client(data)


@pytest.mark.parametrize("decode", [decode_client, decode_server])
@pytest.mark.parametrize("bottomless", ["[" * 4000, '{"type":"ping","x":' + "[" * 1500 + "]" * 1500 + "}"])
def test_a_bottomless_message_is_an_error_like_any_other(decode, bottomless):
    with pytest.raises(ServeError):
        decode(bottomless)
