"""The protocol as documents: JSON Schema and AsyncAPI 3, generated from the structs, and the examples of the docs.

``python -m stream_mer.serve.protocol --write docs/PROTOCOL.md`` puts fresh examples between the marks in that page.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, get_args

import msgspec

from stream_mer import __version__
from stream_mer.made_pages import MadePage
from stream_mer.serve import messages as wire
from stream_mer.serve.codec import encode
from stream_mer.serve.examples import examples

JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SERVER_TYPES: tuple[type[wire.Message], ...] = get_args(wire.ServerMessage)
_CLIENT_TYPES: tuple[type[wire.Message], ...] = get_args(wire.ClientMessage)
_CLOSE_REASONS = {
    wire.CloseCode.GOING_AWAY: "the server is shutting down",
    wire.CloseCode.INTERNAL_ERROR: "the server failed; its log says how",
    wire.CloseCode.RESTART: "the server restarts; come back at once",
    wire.CloseCode.FULL: "no place is free",
    wire.CloseCode.BAD_MESSAGE: "a message was not JSON, too large, or of no known type",
    wire.CloseCode.BAD_TOKEN: "the token is missing or wrong",
    wire.CloseCode.FORBIDDEN: "the page's origin or the client's role may not",
    wire.CloseCode.NO_STREAM: "no stream has this name",
    wire.CloseCode.IDENTIFY_TIMEOUT: "a token is set, and no identify came in time",
    wire.CloseCode.TOO_SLOW: "the client took nothing for too long",
    wire.CloseCode.TOO_MANY_MESSAGES: "the client sent too many messages, or wrong tokens came from its address",
}


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema for every message, both directions; each message's own is under ``$defs``."""
    types = _all_types()
    references, definitions = _components(types, "#/$defs/{name}")
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "$id": f"urn:stream-mer:{wire.PROTOCOL}",
        "title": f"Messages of {wire.PROTOCOL}",
        "oneOf": list(references),
        "$defs": definitions,
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document of the server."""
    types = _all_types()
    _, schemas = _components(types, "#/components/schemas/{name}")
    shown = examples()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"stream_mer {wire.PROTOCOL}",
            "version": __version__,
            "license": {"name": "MIT"},
            "description": "Music emotion and sung words, live. JSON, one object a message, tagged by `type`; "
            "fields that nobody knows are ignored. Close codes: "
            + "; ".join(f"{code.value} {reason}" for code, reason in _CLOSE_REASONS.items())
            + ".",
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8765", "protocol": "ws", "description": "The default address."}},
        "channels": {
            "stream": {
                "address": wire.STREAM_PATH,
                "description": f"Websocket subprotocol {wire.SUBPROTOCOL}.",
                "messages": {_kind(one): {"$ref": f"#/components/messages/{_kind(one)}"} for one in types},
            }
        },
        "operations": {
            # The names are those of the server's side, as AsyncAPI 3 wants it.
            "tell": _operation("send", _SERVER_TYPES),
            "hear": _operation("receive", _CLIENT_TYPES),
        },
        "components": {
            "messages": {
                _kind(one): {
                    "name": _kind(one),
                    "summary": (one.__doc__ or "").strip(),
                    "payload": {"$ref": f"#/components/schemas/{one.__name__}"},
                    "examples": [{"payload": json.loads(encode(shown[_kind(one)]))}],
                }
                for one in types
            },
            "schemas": schemas,
        },
    }


def examples_markdown() -> str:
    """Return the part of ``docs/PROTOCOL.md`` that is made from code: fields and an example of each message."""
    parts = []
    types: tuple[type[wire.Message], ...] = (*_all_types(), wire.Summary)
    _, definitions = _components(types, "#/{name}")
    by_kind = {_kind(one): one for one in types}
    for kind, example in examples().items():
        one = by_kind[kind]
        parts.append(f"### `{kind}`\n\n{(one.__doc__ or '').strip()} From: {_sender(one)}.\n")
        parts.append(_field_table(definitions[one.__name__]))
        parts.append(f"```json\n{_pretty(encode(example))}\n```\n")
    parts.append("### Objects inside messages\n")
    whole = {one.__name__ for one in types}
    for name, definition in definitions.items():
        if name not in whole:
            parts.append(f"**{_plain_name(name)}**: {definition.get('description', '')}\n")
            parts.append(_field_table(definition))
    closes = "\n".join(f"| {code.value} | {reason} |" for code, reason in _CLOSE_REASONS.items())
    parts.append(f"### Close codes\n\n| code | why |\n| --- | --- |\n{closes}\n")
    return "\n".join(parts)


def _all_types() -> tuple[type[wire.Message], ...]:
    both_ways: dict[type[wire.Message], None] = dict.fromkeys((*_SERVER_TYPES, *_CLIENT_TYPES))
    return tuple(both_ways)


def _kind(one: type[wire.Message]) -> str:
    return str(one.__struct_config__.tag)


def _sender(one: type[wire.Message]) -> str:
    if one is wire.Summary:
        return "`stream-mer tag`"
    if one in _SERVER_TYPES:
        return "both" if one in _CLIENT_TYPES else "server"
    return "client"


def _operation(action: str, types: tuple[type[wire.Message], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [{"$ref": f"#/channels/stream/messages/{_kind(one)}"} for one in types],
    }


def _components(types: tuple[type[wire.Message], ...], template: str) -> tuple[list[Any], dict[str, Any]]:
    references, definitions = msgspec.json.schema_components(types, ref_template=template)
    # Through JSON and back: the generator leaves tuples in places where a document has arrays.
    plain = json.loads(
        msgspec.json.encode({"references": references, "definitions": definitions}), object_hook=_without_discriminator
    )
    return plain["references"], plain["definitions"]


def _without_discriminator(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out OpenAPI's hint, which AsyncAPI spells in another way; each alternative's ``type`` says the same."""
    return {key: value for key, value in node.items() if key != "discriminator"}


def _pretty(data: bytes) -> str:
    """Indent JSON, with lists of plain values on one line."""
    text = msgspec.json.format(data, indent=2).decode()
    return re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text)


def _plain_name(name: str) -> str:
    return name.removesuffix("Part")


def _field_table(definition: dict[str, Any]) -> str:
    rows = ["| field | kind | |", "| --- | --- | --- |"]
    for name, schema in definition["properties"].items():
        if name != "type":
            rows.append(f"| `{name}` | {_kind_of_field(schema)} | {_description(schema)} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _description(schema: dict[str, Any]) -> str:
    return str(schema.get("description", "")).replace("|", "\\|")


def _kind_of_field(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _plain_name(str(schema["$ref"]).rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind_of_field(choice) for choice in schema["anyOf"])
    if "allOf" in schema:
        return _kind_of_field(schema["allOf"][0])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        inside = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {_kind_of_field(inside)}"
    return str(schema.get("type", "anything"))


PAGE = MadePage(module="stream_mer.serve.protocol", page="docs/PROTOCOL.md", make=examples_markdown)

if __name__ == "__main__":
    sys.exit(PAGE.main())
