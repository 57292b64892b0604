"""The messages of ``mer.v1``, how they are decoded, and the documents that describe them.

JSON, one object per message, tagged by ``type``. Encoder, decoders, JSON Schema and AsyncAPI document all come from
these structs and those of ``event_json``, which are available here too. Unknown fields are ignored in both directions,
so a field may be added at any time; removing or changing one makes ``mer.v2``.

Fields that may be unknown are sent as ``null``: a message of one kind always has the same keys. (Each class repeats
``kw_only`` and ``frozen`` because a type checker does not inherit them.)
"""

from __future__ import annotations

import json
from enum import IntEnum
from importlib import resources
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from stream_mer.errors import ServeError
from stream_mer.event_json import (  # noqa: F401 - part of the protocol
    MAX_COUNT,
    AudioStatePart,
    Category,
    CategoryPart,
    CategoryProbs,
    Change,
    ClusterProbs,
    Emotion,
    EventMessage,
    IntervalPart,
    LatencyPart,
    Levels,
    Lyrics,
    Message,
    MessageEncoder,
    Modality,
    Range,
    Seconds,
    Signed,
    Status,
    StreamName,
    Summary,
    ValenceArousal,
    WordPart,
    encode,
    kind_of,
)
from stream_mer.server import lenient
from stream_mer.server.setup_messages import (  # noqa: F401 - likewise
    Id,
    InputLevelPart,
    InputPart,
    OutputKindPart,
    OutputPart,
    PreviewPart,
    RequestId,
    Setup,
    SetupChanges,
    SetupOutput,
    SetupPart,
    SetupStatePart,
    SetupUpdate,
    StreamSetupPart,
)
from stream_mer.types import MAX_SECONDS, ControlAction, OverrideValues, StreamEvent
from stream_mer.version import __version__

PROTOCOL = "mer.v1"
"""Name and major version of the protocol."""

SUBPROTOCOL = "mer.v1.json"
"""Value of ``Sec-WebSocket-Protocol``; a client that offers none is served all the same."""

STREAM_PATH = "/v1/stream"
"""Path of the websocket."""

DEFAULT_KINDS = ("emotion", "lyrics", "change", "status")
"""Messages about a stream that a client gets by default."""

EVENT_KINDS = (*DEFAULT_KINDS, "levels")
"""Messages about a stream that a client may subscribe to."""

LATEST_WINS = frozenset({"emotion", "levels"})
"""Kinds of which only the newest message waits for a slow client; all others keep their order."""


class CloseCode(IntEnum):
    """Why the server closes a connection; also in ``Error.code``."""

    GOING_AWAY = 1001
    INTERNAL_ERROR = 1011
    RESTART = 1012
    FULL = 1013
    BAD_MESSAGE = 4400
    BAD_TOKEN = 4401
    FORBIDDEN = 4403
    NO_STREAM = 4404
    IDENTIFY_TIMEOUT = 4408
    TOO_SLOW = 4410
    TOO_MANY_MESSAGES = 4429


Role: TypeAlias = Literal["viewer", "operator"]
Streams: TypeAlias = Annotated[tuple[str, ...], Meta(description="Names of streams; empty for all.")]


class LimitsPart(Struct, kw_only=True, frozen=True):
    """The limits of the server; each one is a setting."""

    max_clients: int
    max_message_bytes: int
    max_messages_per_s: int
    max_audio_bytes: Annotated[int, Meta(description="Size of one binary message.")] = 65_536
    max_audio_messages_per_s: int = 200
    handshake_timeout_s: Annotated[float, Meta(description="For a connection to become a websocket.")] = 5.0
    identify_timeout_s: float
    queued_messages: Annotated[int, Meta(description="Ordered messages that may wait for a client.")]
    stuck_after_s: Annotated[float, Meta(description="A client that takes nothing for this long is closed (4410).")]
    pong_timeout_s: Annotated[
        float,
        Meta(
            description="Interval of websocket pings; a client that answers none for this long is closed (1011). "
            "Browsers and libraries answer by themselves."
        ),
    ] = 20.0
    max_subscriptions: Annotated[int, Meta(description="Subscriptions that the server keeps of one client.")] = 64
    history_messages: Annotated[
        int, Meta(description="Messages of each stream and kind that a client may resume over.")
    ] = 256


class ClientPart(Struct, kw_only=True, frozen=True):
    """Who connects; for the server's log."""

    name: str = ""
    kind: str = ""


class Subscription(Struct, kw_only=True, frozen=True):
    """A selection of streams and events. Where several apply, the last one counts."""

    streams: Streams = ()
    events: Annotated[
        tuple[str, ...],
        Meta(description="Kinds of messages; empty for the default ones: emotion, lyrics, change and status."),
    ] = ()
    max_hz: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Maximum rate of each stream's `emotion` and `levels`, per second; the newest wins. "
            "Null for all of them."
        ),
    ] = None


class ResumePart(Struct, kw_only=True, frozen=True):
    """Where a client left off."""

    session: Annotated[str, Meta(description="`hello.session` of that time.")]
    last_seq: Annotated[
        dict[str, dict[str, int]],
        Meta(description="The last `seq` seen, by stream and by kind; -1 where none was seen."),
    ] = field(default_factory=dict)


class OverridePart(Struct, kw_only=True, frozen=True):
    """Values that an operator sets in place of the computed ones."""

    valence: Signed
    arousal: Signed
    ttl_s: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None,
        Meta(description="Seconds until the values are live again; null for until `resume`."),
    ] = None


class RefusalPart(Struct, kw_only=True, frozen=True):
    """Why a request was refused."""

    code: Annotated[int, Meta(description="The close code that applies, though nothing is closed.")]
    message: Annotated[str, Meta(description="What happened and what to do.")]


class Hello(Message, tag="hello", kw_only=True, frozen=True):
    """The server's first message."""

    protocol: str
    server: Annotated[str, Meta(description="Name and version of the server.")]
    auth_required: Annotated[bool, Meta(description="True if `identify` with a token must follow.")]
    session: Annotated[str, Meta(description="Changes when the server restarts; `seq` starts anew with it.")]
    streams: tuple[str, ...]
    categories: tuple[str, ...]
    clusters: tuple[str, ...]
    va_range: Range
    window_s: Annotated[float, Meta(ge=0.001, le=3600, description="How much audio one frame may know, seconds.")]
    hop_s: Annotated[float, Meta(ge=0.001, le=3600, description="Time between frames, seconds.")]
    limits: LimitsPart
    can_setup: Annotated[bool, Meta(description="Whether operators may send `setup`.")] = False
    masks_page: Annotated[
        bool, Meta(description="Whether the page shows `lyrics.masked`, as the overlay does in any case.")
    ] = False
    remote_streams: Annotated[tuple[str, ...], Meta(description="Streams that take audio from clients.")] = ()


class Identify(Message, tag="identify", kw_only=True, frozen=True):
    """The client's name, token and subscriptions. Optional where no token is required."""

    token: str | None = None
    client: ClientPart = ClientPart()
    subscribe: Annotated[
        tuple[Subscription, ...] | None, Meta(description="What to get; null for the default events of every stream.")
    ] = None
    resume: ResumePart | None = None


class SnapshotEntry(Struct, kw_only=True, frozen=True):
    """The newest message of one stream and kind."""

    age_s: Annotated[float, Meta(ge=0, description="How long ago it was published, seconds.")]
    message: Emotion | Lyrics | Change | Status | Levels


class Ready(Message, tag="ready", kw_only=True, frozen=True):
    """The answer to `identify`."""

    client_id: str
    role: Annotated[Role, Meta(description="An operator may `control`; a viewer may not.")] = "viewer"
    granted: Annotated[tuple[Subscription, ...], Meta(description="What the client gets from now on.")]
    snapshot: Annotated[
        tuple[SnapshotEntry, ...],
        Meta(description="The newest message of each subscribed stream and kind; without those that `resume` brings."),
    ] = ()
    resumed: Annotated[
        bool | None,
        Meta(
            description="True: everything missed follows as ordinary messages. False: the session is another one, or "
            "some messages are no longer kept. Null without `resume`."
        ),
    ] = None


class Subscribe(Message, tag="subscribe", kw_only=True, frozen=True):
    """Adds a subscription, or changes its rate; the newest known values follow the `result`."""

    id: RequestId = None
    streams: Streams = ()
    events: Annotated[tuple[str, ...], Meta(description="Kinds of messages; empty for the default ones.")] = ()
    max_hz: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="As in `identify.subscribe`; null for all.")
    ] = None


class Unsubscribe(Message, tag="unsubscribe", kw_only=True, frozen=True):
    """Removes subscriptions."""

    id: RequestId = None
    streams: Streams = ()
    events: Annotated[tuple[str, ...], Meta(description="Kinds of messages; empty for all.")] = ()


class Control(Message, tag="control", kw_only=True, frozen=True):
    """An operator overrides the values, or ends that with `resume`."""

    id: RequestId = None
    action: Annotated[
        ControlAction,
        Meta(
            description="`freeze`: the values stay as they are. `blackout`: the same, and all that shows them goes "
            "dark. `override`: these values instead. `resume`: live again."
        ),
    ]
    streams: Streams = ()
    override: Annotated[OverridePart | None, Meta(description="The values, for the action `override` alone.")] = None


class Result(Message, tag="result", kw_only=True, frozen=True):
    """The answer to `subscribe`, `unsubscribe`, `control` or `setup`."""

    id: RequestId = None
    ok: bool
    error: RefusalPart | None = None
    setup: Annotated[SetupPart | UnsetType, Meta(description="What a `setup` asked for; left out elsewhere.")] = UNSET


class Ping(Message, tag="ping", kw_only=True, frozen=True):
    """Requests a `pong` from the other side; for browsers, which cannot send websocket pings."""

    id: Id = None
    t: Annotated[float | None, Meta(description="Any clock of the sender; returned as it is.")] = None


class Pong(Message, tag="pong", kw_only=True, frozen=True):
    """The answer to `ping`, with its `id` and `t`."""

    id: Id = None
    t: float | None = None


class AudioStart(Message, tag="audio.start", kw_only=True, frozen=True):
    """The client sends audio for a stream: from now on raw PCM in binary messages, in real time.

    Only streams of `--source remote` take audio, from one client at a time. A refusal is an `error` that is not fatal.
    """

    stream: StreamName
    format: Annotated[Literal["s16le", "f32le"], Meta(description="Samples, little-endian, channels interleaved.")]
    rate_hz: Annotated[int, Meta(description="4,000 to 384,000.")]
    channels: Annotated[int, Meta(description="1 to 64; their mean is used.")] = 1


class AudioEnd(Message, tag="audio.end", kw_only=True, frozen=True):
    """The client stops sending audio; another one may begin."""


class Error(Message, tag="error", kw_only=True, frozen=True):
    """Something went wrong; always sent before the server closes."""

    code: Annotated[int, Meta(description="The close code that follows or would follow.")]
    message: Annotated[str, Meta(description="What happened and what to do.")]
    fatal: Annotated[bool, Meta(description="True if the server closes the connection now.")]
    retry_after_s: Annotated[
        float | None, Meta(description="When to reconnect, seconds; null if that fails again.")
    ] = None


ServerMessage: TypeAlias = (
    Hello | Ready | Emotion | Lyrics | Change | Status | Levels | Result | Ping | Pong | Error | SetupUpdate
)
"""Everything that the server sends."""

ClientMessage: TypeAlias = Identify | Subscribe | Unsubscribe | Control | AudioStart | AudioEnd | Ping | Pong | Setup
"""Everything that a client sends; binary messages between ``AudioStart`` and ``AudioEnd`` are audio."""

SERVER_TYPES: tuple[type[Message], ...] = get_args(ServerMessage)
CLIENT_TYPES: tuple[type[Message], ...] = get_args(ClientMessage)
MESSAGE_TYPES = tuple(dict.fromkeys((*SERVER_TYPES, *CLIENT_TYPES)))
"""Of both directions, each once."""


_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_client_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_event_decoder: msgspec.json.Decoder[EventMessage] = msgspec.json.Decoder(EventMessage)
_CLIENT_TAGS = tuple(map(kind_of, CLIENT_TYPES))

_TOO_DEEP = "objects and lists are nested too deeply"


REQUESTS = frozenset({"subscribe", "unsubscribe", "control", "setup"})
"""Messages of clients that are answered with a ``result``."""


class BadRequestError(ServeError):
    """A message of a client that cannot be carried out, but shows what it is: the connection stays open.

    Args:
        message: What is wrong.
        kind: The type of the message, known or not.
        request_id: Its id; None if it has none.
    """

    def __init__(self, message: str, *, kind: str, request_id: Id) -> None:
        super().__init__(message)
        self.kind = kind
        self.request_id = request_id

    @property
    def wants_result(self) -> bool:
        """Whether the answer is a ``result``: to a request, and to an id of a type that is newer than this server."""
        return self.kind in REQUESTS or (self.kind not in _CLIENT_TAGS and self.request_id is not None)


class _Tagged(msgspec.Struct):
    """Any message, of which only the type and the id are decoded."""

    type: str
    id: msgspec.Raw = msgspec.Raw(b"null")


_tag_decoder = msgspec.json.Decoder(_Tagged)
_id_decoder: msgspec.json.Decoder[Id] = msgspec.json.Decoder(Id)


def decode_client(data: str | bytes) -> ClientMessage:
    """Decode a message from a client; unknown fields are ignored.

    Raises:
        BadRequestError: It is of unknown type, or a field is missing or wrong.
        ServeError: It is not JSON, not an object with a type, or nested too deeply.
    """
    try:
        return _client_decoder.decode(data)
    except msgspec.MsgspecError as exc:
        raise _bad_message(data, exc) from None
    except RecursionError:
        raise ServeError(_TOO_DEEP) from None


def decode_server(data: str | bytes) -> ServerMessage | None:
    """Decode a message from a server that may be newer than this client.

    A word that is not among those of today, such as a new ``status.source``, is passed on as it is. Return None for a
    message of an unknown type.

    Raises:
        ServeError: It is not a message of ``mer.v1``.
    """
    try:
        return _server_decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return _decode_newer(data)


def _decode_newer(data: str | bytes) -> ServerMessage | None:
    try:
        fields = msgspec.json.decode(data)
        kind = _tag_decoder.decode(data).type
        known = next((one for one in SERVER_TYPES if kind_of(one) == kind), None)
        return None if known is None else lenient.convert(fields, known)
    except msgspec.MsgspecError as exc:
        raise ServeError(f"the server sent something that is not {PROTOCOL}: {exc}") from None
    except RecursionError:
        raise ServeError(f"the server sent something that is not {PROTOCOL}: {_TOO_DEEP}") from None


def _bad_message(data: str | bytes, exc: msgspec.MsgspecError) -> ServeError:
    try:
        tagged = _tag_decoder.decode(data)
    except msgspec.ValidationError:
        return ServeError(
            f'a message must be a JSON object with a "type", one of {", ".join(_CLIENT_TAGS)}; '
            'for example {"type":"ping","id":1}'
        )
    except msgspec.MsgspecError as malformed:
        return ServeError(f"a message must be JSON, and this is not: {malformed}")
    except RecursionError:
        return ServeError(_TOO_DEEP)
    kind = tagged.type
    if kind in _CLIENT_TAGS:
        why = f'"{kind}" is malformed: {exc}; see docs/PROTOCOL.md for an example'
    else:
        why = f'"{kind[:40]}" is not a message that clients send; send one of {", ".join(_CLIENT_TAGS)}'
    return BadRequestError(why, kind=kind, request_id=_id_of(tagged.id))


def _id_of(raw: msgspec.Raw) -> Id:
    try:
        return _id_decoder.decode(raw)
    except msgspec.MsgspecError:  # it is the id that is wrong
        return None


def check_event(event: StreamEvent) -> None:
    """Check that an event from another process becomes a valid message.

    Raises:
        ServeError: It does not: a value is out of range, not a number, or a name that ``mer.v1`` does not have.
    """
    try:
        _event_decoder.decode(encode(MessageEncoder("").message(event)))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as exc:
        raise ServeError(f"it would not be a valid message of {PROTOCOL}: {exc}") from None


def override_values(part: OverridePart | None) -> OverrideValues | None:
    """Return an override without its wire format; None for None."""
    return None if part is None else OverrideValues(valence=part.valence, arousal=part.arousal, ttl_s=part.ttl_s)


JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

CLOSE_REASONS = {
    CloseCode.GOING_AWAY: "the server is shutting down",
    CloseCode.INTERNAL_ERROR: "the server failed; its log says how",
    CloseCode.RESTART: "the server restarts; reconnect at once",
    CloseCode.FULL: "no place is free",
    CloseCode.BAD_MESSAGE: "a message was not JSON, too large, or binary without `audio.start`",
    CloseCode.BAD_TOKEN: "the token is missing or wrong",
    CloseCode.FORBIDDEN: "the page's origin or the client's role does not allow it",
    CloseCode.NO_STREAM: "no stream has this name",
    CloseCode.IDENTIFY_TIMEOUT: "a token is required, and no identify came in time",
    CloseCode.TOO_SLOW: "the client took nothing for too long",
    CloseCode.TOO_MANY_MESSAGES: "the client sent too many messages, or wrong tokens came from its address",
}


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema for every message, both directions; each message's own is under ``$defs``."""
    references, definitions = components(MESSAGE_TYPES, "#/$defs/{name}")
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "$id": f"urn:stream-mer:{PROTOCOL}",
        "title": f"Messages of {PROTOCOL}",
        "oneOf": list(references),
        "$defs": definitions,
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document of the server, with an example of each message."""
    _, schemas = components(MESSAGE_TYPES, "#/components/schemas/{name}")
    examples = json.loads((resources.files("stream_mer.server") / "examples.json").read_bytes())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"stream_mer {PROTOCOL}",
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
                "address": STREAM_PATH,
                "description": f"Websocket subprotocol {SUBPROTOCOL}.",
                "messages": {kind_of(one): {"$ref": f"#/components/messages/{kind_of(one)}"} for one in MESSAGE_TYPES},
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
                for one in MESSAGE_TYPES
            },
            "schemas": schemas,
        },
    }


def _operation(action: str, types: tuple[type[Message], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [{"$ref": f"#/channels/stream/messages/{kind_of(one)}"} for one in types],
    }


def components(types: tuple[type[Message], ...], template: str) -> tuple[list[Any], dict[str, Any]]:
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
