"""The documents say what the code does."""

import json
from pathlib import Path

import jsonschema

from stream_mer.event_json import encode
from stream_mer.server import messages as wire
from stream_mer.server.messages import asyncapi, json_schema
from tools.docgen import PROTOCOL as GENERATED
from tools.examples import examples

PAGE = Path(__file__).parents[3] / "docs" / "PROTOCOL.md"


def plain(message: wire.Message) -> dict:
    return json.loads(encode(message))


def test_every_example_fits_the_schema_and_a_wrong_one_does_not():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for kind, message in examples().items():
        if kind != "summary":
            validator.validate(plain(message))
    wrong = plain(examples()["emotion"])
    for change in ({"valence": 1.5}, {"category": {"top": "bored", "probs": {}}}, {"type": "dance"}, {"t0": "now"}):
        assert not validator.is_valid(wrong | change), change
    del wrong["interval"]
    assert not validator.is_valid(wrong)


def test_schema_allows_unknown_fields():
    jsonschema.validate(plain(examples()["emotion"]) | {"tempo_bpm": 120}, json_schema())


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document = asyncapi()

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
    assert said("tell") == {"hello", "ready", *events, "result", "ping", "pong", "error"}
    asks = {"identify", "subscribe", "unsubscribe", "control", "audio.start", "audio.end"}
    assert said("hear") == {*asks, "ping", "pong"}
    for code in wire.CloseCode:
        assert str(code.value) in document["info"]["description"]


def test_both_documents_are_plain_json():
    for document in (json_schema(), asyncapi()):
        assert json.loads(json.dumps(document)) == document


def test_the_page_is_in_step_with_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert GENERATED.refresh(page) == page, "run: python -m tools.docgen"
