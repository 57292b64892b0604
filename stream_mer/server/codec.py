"""Decodes what clients and servers send; ``event_json`` encodes. Pure: no I/O and no clock."""

from __future__ import annotations

from typing import get_args

import msgspec

from stream_mer.errors import ServeError
from stream_mer.event_json import (
    MessageEncoder as MessageEncoder,
)
from stream_mer.event_json import (
    encode as encode,
)
from stream_mer.event_json import (
    kind_of as kind_of,
)
from stream_mer.server import messages as wire
from stream_mer.types import (
    OverrideValues,
    StreamEvent,
)

_server_decoder: msgspec.json.Decoder[wire.ServerMessage] = msgspec.json.Decoder(wire.ServerMessage)
_client_decoder: msgspec.json.Decoder[wire.ClientMessage] = msgspec.json.Decoder(wire.ClientMessage)
_event_decoder: msgspec.json.Decoder[wire.EventMessage] = msgspec.json.Decoder(wire.EventMessage)
_CLIENT_TYPES = tuple(str(one.__struct_config__.tag) for one in get_args(wire.ClientMessage))
_SERVER_TYPES = frozenset(str(one.__struct_config__.tag) for one in get_args(wire.ServerMessage))

_TOO_DEEP = "a message must not hold objects or lists inside one another so many times"


class _Tagged(msgspec.Struct):
    """Any message, of which only the type is read."""

    type: str


_tag_decoder = msgspec.json.Decoder(_Tagged)


def decode_client(data: str | bytes) -> wire.ClientMessage:
    """Read what a client sent; fields that nobody knows are ignored.

    Raises:
        ServeError: Not JSON, not an object, of no known type, or a field of the wrong kind.
    """
    try:
        return _client_decoder.decode(data)
    except msgspec.MsgspecError as exc:
        raise ServeError(_why_bad(data, exc)) from None
    except RecursionError:
        raise ServeError(_TOO_DEEP) from None


def decode_server(data: str | bytes) -> wire.ServerMessage | None:
    """Read what a server sent; None for a type that is newer than this client.

    Raises:
        ServeError: Not a message of ``mer.v1``.
    """
    try:
        return _server_decoder.decode(data)
    except msgspec.MsgspecError as exc:
        try:
            kind = _tag_decoder.decode(data).type
        except (msgspec.MsgspecError, RecursionError):
            kind = None
        if kind is not None and kind not in _SERVER_TYPES:
            return None
        raise ServeError(f"the server sent something that is not {wire.PROTOCOL}: {exc}") from None
    except RecursionError:
        raise ServeError(f"the server sent something that is not {wire.PROTOCOL}: {_TOO_DEEP}") from None


def _why_bad(data: str | bytes, exc: msgspec.MsgspecError) -> str:
    try:
        kind = _tag_decoder.decode(data).type
    except msgspec.ValidationError:
        return (
            f'a message must be a JSON object with a "type", one of {", ".join(_CLIENT_TYPES)}; '
            'for example {"type":"ping","id":1}'
        )
    except msgspec.MsgspecError as malformed:
        return f"a message must be JSON, and this is not: {malformed}"
    except RecursionError:
        return _TOO_DEEP
    if kind not in _CLIENT_TYPES:
        return f'"{kind[:40]}" is no message that a client may send; send one of {", ".join(_CLIENT_TYPES)}'
    return f'"{kind}" is malformed: {exc}; docs/PROTOCOL.md shows one that is right'


def check_event(event: StreamEvent) -> None:
    """Check that an event from outside becomes a message that every client can read.

    Raises:
        ServeError: It does not: a value is out of its range, no number, or a word that ``mer.v1`` does not have.
    """
    try:
        _event_decoder.decode(encode(MessageEncoder("").message(event)))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as exc:
        raise ServeError(f"it would be no message of {wire.PROTOCOL}: {exc}") from None


def override_values(part: wire.OverridePart | None) -> OverrideValues | None:
    """Return the values of an operator's override without the wire format; None for None."""
    return None if part is None else OverrideValues(valence=part.valence, arousal=part.arousal, ttl_s=part.ttl_s)
