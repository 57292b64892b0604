"""The wire: what is sent is what is read, field by field, and the fields are those of the contract."""

import json
import typing
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import structs, text

from stream_mer.audio.audio_state import REASONS
from stream_mer.cluster.node import Outage
from stream_mer.errors import ServeError
from stream_mer.event_json import encode, kind_of
from stream_mer.lyrics.feeds import LAGGING, LOADING, UNAVAILABLE
from stream_mer.pipeline import AUDIO_LOST
from stream_mer.server import messages as wire
from stream_mer.server.messages import CLIENT_TYPES, SERVER_TYPES, asyncapi, decode_client, decode_server, json_schema
from stream_mer.types import CATEGORIES, CLUSTERS, UNKNOWN
from tools.docgen import PROTOCOL as GENERATED
from tools.examples import examples

CONTRACT = {
    "hello": "protocol server auth_required session streams categories clusters va_range window_s hop_s limits "
    "can_setup masks_page remote_streams",
    "identify": "token client subscribe resume",
    "ready": "client_id role granted snapshot resumed",
    "subscribe": "id streams events max_hz",
    "unsubscribe": "id streams events",
    "result": "id ok error setup",
    "setup": "id action stream changes output seconds",
    "setup.update": "state outputs levels",
    "control": "id action streams override",
    "levels": "stream seq t rms_db peak_db onset",
    "emotion": "stream seq index t0 t1 valence arousal raw interval category clusters confidence modalities text_age_s "
    "degraded audio_state held hold hold_left_s latency_ms dropped",
    "lyrics": "stream seq segment revision t0 t1 text committed language words settled_words masked",
    "change": "stream seq t from to dwell_s",
    "status": "stream seq source device lyrics lag_s lost_samples clipping peak_db rms_db title artist",
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


def test_categories_are_those_that_there_are():
    change, category = typing.get_type_hints(wire.Change), typing.get_type_hints(wire.CategoryPart)
    assert set(typing.get_args(change["from_"])) == set(typing.get_args(change["to"])) == set(CATEGORIES)
    assert set(typing.get_args(category["top"])) == {*CATEGORIES, UNKNOWN}


def test_every_reason_for_a_worse_frame_is_described():
    told = typing.get_type_hints(wire.Emotion, include_extras=True)["degraded"].__metadata__[0].description
    codes = (AUDIO_LOST, *REASONS.values(), LOADING, LAGGING, UNAVAILABLE, *typing.get_args(Outage))
    assert [code for code in codes if f"`{code}`" not in told] == []


SCHEMA = jsonschema.Draft202012Validator(json_schema())
UNKNOWN_FIELDS = st.dictionaries(st.text("xyz", min_size=3, max_size=5), st.none() | st.integers() | text)


@pytest.mark.parametrize(
    ("one", "decode"),
    [*((one, decode_server) for one in SERVER_TYPES), *((one, decode_client) for one in CLIENT_TYPES)],
    ids=lambda value: value.__name__,
)
def test_every_message_survives_the_wire_beside_unknown_fields_and_fits_the_schema(one, decode):
    @settings(max_examples=30, deadline=None)
    @given(structs(one), UNKNOWN_FIELDS)
    def round_trip(message, unknown):
        data = encode(message)
        assert decode(data) == decode(data.decode()) == message
        assert b"\n" not in data
        fields = unknown | json.loads(data)
        SCHEMA.validate(fields)
        assert decode(json.dumps(fields)) == message

    round_trip()


@pytest.mark.parametrize("one", [*wire.MESSAGE_TYPES, wire.Summary], ids=kind_of)
def test_fields_are_those_of_the_contract(one):
    assert set(one.__struct_encode_fields__) == set(CONTRACT[kind_of(one)].split())


@pytest.mark.parametrize(("part", "fields"), NESTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_nested_fields_are_those_of_the_contract(part, fields):
    assert list(part.__struct_encode_fields__) == fields.split()


def test_a_client_skips_types_that_are_newer_than_itself():
    assert decode_server('{"type":"tempo","stream":"main","bpm":120}') is None


def changed(kind, **fields):
    return json.dumps(plain(examples()[kind]) | fields)


def test_a_client_passes_on_words_that_are_newer_than_itself():
    probs = plain(examples()["emotion"])["category"]["probs"]
    emotion = decode_server(
        changed(
            "emotion",
            category={"top": "tender", "probs": probs},
            modalities=["audio", "video"],
            hold="fade",
            audio_state={"state": "applause", "prob": 0.5},
        )
    )
    assert isinstance(emotion, wire.Emotion)
    assert (emotion.category.top, emotion.modalities, emotion.hold) == ("tender", ("audio", "video"), "fade")
    assert emotion.audio_state == wire.AudioStatePart(state="applause", prob=0.5)
    known = decode_server(changed("emotion"))
    for name in ("valence", "interval", "clusters", "latency_ms", "degraded", "t1"):
        assert getattr(emotion, name) == getattr(known, name)
    assert json.loads(encode(emotion))["hold"] == "fade"
    assert decode_server(changed("status", source="warming")).source == "warming"
    assert decode_server(changed("ready", role="director")).role == "director"
    assert decode_server(changed("change", to="tender")).to == "tender"
    assert decode_server(changed("setup.update", state=None, outputs=None, levels=[])) == wire.SetupUpdate(levels=())


def test_a_snapshot_is_read_without_the_messages_of_newer_types():
    ready = plain(examples()["ready"])
    status = plain(examples()["status"]) | {"source": "warming"}
    entries = [{"age_s": 1.0, "message": status}, {"age_s": 2.0, "message": {"type": "tempo", "bpm": 120}}]
    newer = decode_server(json.dumps(ready | {"snapshot": ready["snapshot"] + entries}))
    *same, entry = newer.snapshot
    assert tuple(same) == examples()["ready"].snapshot
    assert (entry.message.source, entry.message.device) == ("warming", status["device"])


@pytest.mark.parametrize(
    "fields", [{"valence": 1.5}, {"hold": 7}, {"modalities": [1]}, {"category": "happy"}, {"category": {"top": "new"}}]
)
def test_what_is_wrong_is_refused_beside_a_new_word(fields):
    with pytest.raises(ServeError, match=r"not mer\.v1"):
        decode_server(changed("emotion", **({"hold": "fade"} | fields)))


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


@pytest.mark.parametrize(
    ("data", "kind", "request_id", "wants_result"),
    [
        ('{"type":"control","id":7,"action":"dance"}', "control", 7, True),
        ('{"type":"control","id":"x","override":4}', "control", "x", True),
        ('{"type":"control","id":[1],"action":"freeze"}', "control", None, True),
        ('{"type":"subscribe","events":"emotion"}', "subscribe", None, True),
        ('{"type":"tempo","id":7}', "tempo", 7, True),
        ('{"type":"tempo"}', "tempo", None, False),
        ('{"type":"identify","id":7,"token":7}', "identify", 7, False),
        ('{"type":"ping","id":7,"t":"now"}', "ping", 7, False),
    ],
)
def test_a_bad_message_that_shows_what_it_is_can_be_answered(data, kind, request_id, wants_result):
    with pytest.raises(wire.BadRequestError) as caught:
        decode_client(data)
    assert (caught.value.kind, caught.value.request_id, caught.value.wants_result) == (kind, request_id, wants_result)


@pytest.mark.parametrize("data", ["{", "[]", "7", "{}", '{"type":7}', '{"type":"ping","t":NaN}', "[" * 4000])
def test_what_shows_nothing_cannot(data):
    with pytest.raises(ServeError) as caught:
        decode_client(data)
    assert not isinstance(caught.value, wire.BadRequestError)


@pytest.mark.parametrize("decode", [decode_client, decode_server])
@pytest.mark.parametrize("bottomless", ["[" * 4000, '{"type":"ping","x":' + "[" * 1500 + "]" * 1500 + "}"])
def test_a_bottomless_message_is_an_error_like_any_other(decode, bottomless):
    with pytest.raises(ServeError):
        decode(bottomless)


PAGE = Path(__file__).parents[3] / "docs" / "PROTOCOL.md"


def plain(message: wire.Message) -> dict:
    return json.loads(encode(message))


def test_every_example_fits_the_schema_and_a_wrong_one_does_not():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for kind, message in examples().items():
        if kind != "summary":
            SCHEMA.validate(plain(message))
    wrong = plain(examples()["emotion"])
    for change in ({"valence": 1.5}, {"category": {"top": "bored", "probs": {}}}, {"type": "dance"}, {"t0": "now"}):
        assert not SCHEMA.is_valid(wrong | change), change
    del wrong["interval"]
    assert not SCHEMA.is_valid(wrong)


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document = json.loads(json.dumps(asyncapi()))

    def references(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = list(references(document))
    assert len(found) > 30
    for reference in found:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_asyncapi_knows_who_says_what():
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["stream"]["address"] == "/v1/stream"

    def said(operation):
        return {reference["$ref"].rpartition("/")[2] for reference in document["operations"][operation]["messages"]}

    events = {"emotion", "lyrics", "change", "status", "levels"}
    assert said("tell") == {"hello", "ready", *events, "result", "ping", "pong", "error", "setup.update"}
    asks = {"identify", "subscribe", "unsubscribe", "control", "audio.start", "audio.end"}
    assert said("hear") == {*asks, "ping", "pong", "setup"}
    for code in wire.CloseCode:
        assert str(code.value) in document["info"]["description"]


def test_the_page_is_in_step_with_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert GENERATED.refresh(page) == page, "run: python -m tools.docgen"
