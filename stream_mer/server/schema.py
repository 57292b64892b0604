"""JSON Schema and AsyncAPI 3 document of the protocol, generated from the messages."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, get_args

import msgspec

from stream_mer.event_json import kind_of
from stream_mer.server import messages as wire
from stream_mer.version import __version__

JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

SERVER_TYPES: tuple[type[wire.Message], ...] = get_args(wire.ServerMessage)
CLIENT_TYPES: tuple[type[wire.Message], ...] = get_args(wire.ClientMessage)
CLOSE_REASONS = {
    wire.CloseCode.GOING_AWAY: "the server is shutting down",
    wire.CloseCode.INTERNAL_ERROR: "the server failed; its log says how",
    wire.CloseCode.RESTART: "the server restarts; reconnect at once",
    wire.CloseCode.FULL: "no place is free",
    wire.CloseCode.BAD_MESSAGE: "a message was not JSON, too large, or of no known type",
    wire.CloseCode.BAD_TOKEN: "the token is missing or wrong",
    wire.CloseCode.FORBIDDEN: "the page's origin or the client's role does not allow it",
    wire.CloseCode.NO_STREAM: "no stream has this name",
    wire.CloseCode.IDENTIFY_TIMEOUT: "a token is required, and no identify came in time",
    wire.CloseCode.TOO_SLOW: "the client took nothing for too long",
    wire.CloseCode.TOO_MANY_MESSAGES: "the client sent too many messages, or wrong tokens came from its address",
}


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema for every message, both directions; each message's own is under ``$defs``."""
    types = all_types()
    references, definitions = components(types, "#/$defs/{name}")
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "$id": f"urn:stream-mer:{wire.PROTOCOL}",
        "title": f"Messages of {wire.PROTOCOL}",
        "oneOf": list(references),
        "$defs": definitions,
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document of the server, with an example of each message."""
    types = all_types()
    _, schemas = components(types, "#/components/schemas/{name}")
    examples = json.loads((resources.files("stream_mer.server") / "examples.json").read_bytes())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"stream_mer {wire.PROTOCOL}",
            "version": __version__,
            "license": {"name": "MIT"},
            "description": "Music emotion and sung words, live. JSON, one object per message, tagged by `type`; "
            "unknown fields are ignored. Close codes: "
            + "; ".join(f"{code.value} {reason}" for code, reason in CLOSE_REASONS.items())
            + ".",
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8765", "protocol": "ws", "description": "The default address."}},
        "channels": {
            "stream": {
                "address": wire.STREAM_PATH,
                "description": f"Websocket subprotocol {wire.SUBPROTOCOL}.",
                "messages": {kind_of(one): {"$ref": f"#/components/messages/{kind_of(one)}"} for one in types},
            }
        },
        "operations": {
            # Named from the server's side, as AsyncAPI 3 requires.
            "tell": _operation("send", SERVER_TYPES),
            "hear": _operation("receive", CLIENT_TYPES),
        },
        "components": {
            "messages": {
                kind_of(one): {
                    "name": kind_of(one),
                    "summary": (one.__doc__ or "").strip(),
                    "payload": {"$ref": f"#/components/schemas/{one.__name__}"},
                    "examples": [{"payload": examples[kind_of(one)]}],
                }
                for one in types
            },
            "schemas": schemas,
        },
    }


def all_types() -> tuple[type[wire.Message], ...]:
    """Return every message of both directions, each once."""
    both_ways: dict[type[wire.Message], None] = dict.fromkeys((*SERVER_TYPES, *CLIENT_TYPES))
    return tuple(both_ways)


def _operation(action: str, types: tuple[type[wire.Message], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [{"$ref": f"#/channels/stream/messages/{kind_of(one)}"} for one in types],
    }


def components(types: tuple[type[wire.Message], ...], template: str) -> tuple[list[Any], dict[str, Any]]:
    """Return a reference to each message, and the schemas by name.

    Args:
        types: The messages.
        template: How references are written, with ``{name}``.
    """
    references, definitions = msgspec.json.schema_components(types, ref_template=template)
    # Through JSON and back: the generator leaves tuples in places where a document has arrays.
    plain = json.loads(
        msgspec.json.encode({"references": references, "definitions": definitions}), object_hook=_without_discriminator
    )
    return plain["references"], plain["definitions"]


def _without_discriminator(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out OpenAPI's hint, which AsyncAPI spells differently; each alternative's ``type`` says the same."""
    return {key: value for key, value in node.items() if key != "discriminator"}
