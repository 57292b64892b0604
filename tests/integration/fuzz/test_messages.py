"""Every message of the protocol, whole and broken, made from the structs themselves."""

from __future__ import annotations

import itertools
import json

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import REPEATABLE, structs, text

from stream_mer.errors import ServeError
from stream_mer.event_json import encode, kind_of
from stream_mer.server import messages as wire
from stream_mer.server.messages import CLIENT_TYPES, decode_client, decode_server, json_schema

BATCH = 10
"""Messages of one example: one connection for those that leave it open, one each for those that end it."""

STREAMS = ("main", "foyer", "desk")
stream_names = st.sampled_from(STREAMS) | st.sampled_from(STREAMS) | text
event_names = st.sampled_from(wire.EVENT_KINDS) | text
NAMED = {"stream": stream_names, "streams": st.lists(stream_names, max_size=3).map(tuple), "token": st.none() | text}
NAMED["events"] = st.lists(event_names, max_size=4).map(tuple)
"""Fields that mean more than their type says."""


client_messages = st.one_of(*(structs(one, named=NAMED) for one in CLIENT_TYPES))


CLIENT_SCHEMA = jsonschema.Draft202012Validator(
    {
        "oneOf": [{"$ref": f"#/$defs/{one.__name__}"} for one in CLIENT_TYPES],
        "$defs": json_schema()["$defs"],
    }
)

# Not 1.0: a schema takes that for an integer, and the decoder need not.
fractions = st.floats(-1e6, 1e6).filter(lambda number: not number.is_integer())
junk = st.none() | st.booleans() | st.integers() | fractions | text
junk = junk | st.lists(junk, max_size=2) | st.dictionaries(text, junk, max_size=2)


@st.composite
def broken_messages(draw: st.DrawFn) -> bytes:
    """A message of a client of which something was changed: still JSON, or not any more."""
    told = json.loads(encode(draw(client_messages)))
    how = draw(st.sampled_from(("a field", "a field", "a part", "no field", "its type", "no object", "cut", "bytes")))
    if how == "no object":
        return json.dumps(draw(junk)).encode()
    if how in {"cut", "bytes"}:
        data = encode(draw(client_messages))
        at = draw(st.integers(0, len(data) - 1))
        piece = draw(text).encode() if how == "bytes" else b""
        cut = data[:at] + piece + (data[at + 1 :] if how == "bytes" else b"")
        return cut.decode(errors="replace").encode()
    target = told
    if how == "a part":
        inner = [value for value in told.values() if isinstance(value, dict) and value]
        target = draw(st.sampled_from(inner)) if inner else told
    name = "type" if how == "its type" else draw(st.sampled_from(sorted(target)))
    if how == "no field":
        del target[name]
    else:
        target[name] = draw(junk)
    return json.dumps(told).encode()


def understood(data: bytes) -> wire.ClientMessage | None:
    try:
        return decode_client(data.decode())
    except ServeError:
        return None


@settings(max_examples=400, **REPEATABLE)
@given(broken_messages())
def test_the_decoder_and_the_schema_agree_on_what_is_a_message(data):
    try:
        told = json.loads(data)
    except ValueError:
        assert understood(data) is None
        return
    assert (understood(data) is not None) == CLIENT_SCHEMA.is_valid(told)


def unknown_streams(names: tuple[str, ...]) -> bool:
    return not set(names) <= set(STREAMS)


def refusal_of(message: wire.ClientMessage) -> set[int | None]:  # noqa: PLR0911 - one case a message
    """The codes with which the server may answer, of which None is no refusal."""
    match message:
        case wire.Identify():
            wishes = message.subscribe or ()
            return {4404} if any(unknown_streams(wish.streams) for wish in granted(wishes)) else {None}
        case wire.Subscribe():
            if unknown_streams(message.streams):
                return {4404}
            return {None} if not message.events or set(message.events) & set(wire.EVENT_KINDS) else {4400}
        case wire.Unsubscribe():
            return {None} if not message.events or set(message.events) & set(wire.EVENT_KINDS) else {4400}
        case wire.Control():
            if unknown_streams(message.streams):
                return {4404}
            return {None} if (message.action == "override") == (message.override is not None) else {4400}
        case wire.Setup():
            return {4400}  # this server cannot be set up
        case wire.AudioStart():
            # 4403: the one that sent before has hung up, and the server has not noticed yet.
            return {None, 4400, 4403} if message.stream == "desk" else {4404}
    return {None}


def granted(wishes: tuple[wire.Subscription, ...]) -> list[wire.Subscription]:
    return [wish for wish in wishes if not wish.events or set(wish.events) & set(wire.EVENT_KINDS)]


def names_unknown_events(message: wire.ClientMessage) -> bool:
    match message:
        case wire.Identify():
            names = {name for wish in message.subscribe or () for name in wish.events}
        case wire.Subscribe() | wire.Unsubscribe():
            names = set(message.events)
        case _:
            names = set()
    return not names <= set(wire.EVENT_KINDS)


ANSWERS = {"identify": "ready", "ping": "pong"} | dict.fromkeys(wire.REQUESTS, "result")
fences = itertools.count()


def converse(client, data: bytes, message: wire.ClientMessage) -> bool:
    """Say something that is a message and hold the answer to it; True if the connection is still open."""
    fence = f"fence {next(fences)}"
    client.say(data)
    client.say(json.dumps({"type": "ping", "id": fence}).encode())
    ending = client.until(fence)
    answers = [one for one in ending.messages if one["type"] not in {*wire.EVENT_KINDS, "hello"}]
    for one in ending.messages:
        assert decode_server(json.dumps(one)) is not None
    codes = refusal_of(message)
    if kind_of(message) == "identify" and None not in codes:
        assert (ending.code, ending.error["code"], ending.error["fatal"]) == (4404, 4404, True)
        return False
    assert ending.code is None, f"closed with {ending.code}: {ending.error}"
    expected = ANSWERS.get(kind_of(message))
    if expected is None:
        told = {one["code"] for one in answers} or {None}
        assert told <= codes
        assert all(one["type"] == "error" and not one["fatal"] for one in answers)
        return True
    answer, *warnings = answers
    assert answer["type"] == expected
    assert len(warnings) == (names_unknown_events(message) and answer.get("ok", True))
    assert all((one["type"], one["code"], one["fatal"]) == ("error", 4400, False) for one in warnings)
    if expected == "result":
        assert answer["id"] == message.id
        assert answer["ok"] is (answer["error"] is None)
        assert (answer["error"] or {"code": None})["code"] in codes
    elif expected == "pong":
        assert (answer["id"], answer["t"]) == (message.id, message.t)
    return True


@settings(max_examples=250, **REPEATABLE)
@given(messages=st.lists(client_messages, min_size=BATCH, max_size=BATCH))
def test_every_message_gets_the_answer_that_the_protocol_promises(victim, messages):
    rest = iter(messages)
    is_open = False
    while not is_open:
        with victim.client() as client:
            is_open = all(converse(client, encode(message), message) for message in rest)
    victim.check(len(messages))


def is_answered(data: bytes) -> bool:
    """Tell whether something that is no message shows what it is, so that the connection stays open."""
    try:
        decode_client(data.decode())
    except wire.BadRequestError:
        return True
    except ServeError:
        return False
    raise AssertionError(data)


def hear_why(client, data: bytes) -> None:
    """Say something that cannot be carried out, and hold the answer to it."""
    fence = f"fence {next(fences)}"
    client.say(data)
    client.say(json.dumps({"type": "ping", "id": fence}).encode())
    ending = client.until(fence)
    assert ending.code is None, f"closed with {ending.code}: {ending.error}"
    (answer,) = [one for one in ending.messages if one["type"] not in {*wire.EVENT_KINDS, "hello"}]
    told = json.loads(data)
    assert answer["type"] == ("result" if told["type"] in wire.REQUESTS else answer["type"])
    if answer["type"] == "result":
        assert answer["ok"] is False
        assert answer["id"] in (told.get("id"), None)
        answer = answer["error"]
    assert answer["code"] == 4400
    assert answer["message"]


@settings(max_examples=200, **REPEATABLE)
@given(batch=st.lists(broken_messages(), min_size=BATCH, max_size=BATCH))
def test_every_broken_message_is_explained_and_ends_no_other_connection(victim, batch):
    with victim.clients(None for _ in batch) as clients:
        for client, data in zip(clients, batch, strict=True):
            message = understood(data)
            if message is not None:
                converse(client, data, message)
                client.close()
            elif is_answered(data):
                hear_why(client, data)
                client.close()
            else:
                client.say(data)
        for client, data in zip(clients, batch, strict=True):
            if understood(data) is None and not is_answered(data):
                ending = client.to_the_end()
                assert (ending.code, ending.error.get("code"), ending.error.get("fatal")) == (4400, 4400, True), data
                assert ending.error["message"]
    victim.check(len(batch))
