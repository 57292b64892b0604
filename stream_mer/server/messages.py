"""The words of ``mer.v1``: every message that travels the wire, declared once.

JSON, one object a message, tagged by ``type``. The encoder, the decoders, the JSON Schema and the AsyncAPI document
all come from these structs. Unknown fields are ignored in both directions, so a field may be added at any time;
removing or changing one makes ``mer.v2``.

Fields that may be unknown are sent as ``null``: a message of one kind always has the same keys. (Each class says
``kw_only`` and ``frozen`` itself because a type checker does not inherit them.)
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from stream_mer.event_json import (
    MAX_COUNT as MAX_COUNT,
)
from stream_mer.event_json import (
    AudioStatePart as AudioStatePart,
)
from stream_mer.event_json import (
    Category as Category,
)
from stream_mer.event_json import (
    CategoryPart as CategoryPart,
)
from stream_mer.event_json import (
    CategoryProbs as CategoryProbs,
)
from stream_mer.event_json import (
    Change as Change,
)
from stream_mer.event_json import (
    ClusterProbs as ClusterProbs,
)
from stream_mer.event_json import (
    Emotion as Emotion,
)
from stream_mer.event_json import (
    EventMessage as EventMessage,
)
from stream_mer.event_json import (
    IntervalPart as IntervalPart,
)
from stream_mer.event_json import (
    LatencyPart as LatencyPart,
)
from stream_mer.event_json import (
    Levels as Levels,
)
from stream_mer.event_json import (
    Lyrics as Lyrics,
)
from stream_mer.event_json import (
    Message as Message,
)
from stream_mer.event_json import (
    Modality as Modality,
)
from stream_mer.event_json import (
    Range as Range,
)
from stream_mer.event_json import (
    Seconds as Seconds,
)
from stream_mer.event_json import (
    Signed as Signed,
)
from stream_mer.event_json import (
    Status as Status,
)
from stream_mer.event_json import (
    StreamName,
)
from stream_mer.event_json import (
    Summary as Summary,
)
from stream_mer.event_json import (
    ValenceArousal as ValenceArousal,
)
from stream_mer.event_json import (
    WordPart as WordPart,
)
from stream_mer.types import (
    MAX_SECONDS,
    ControlAction,
)

PROTOCOL = "mer.v1"
"""Name and major version of the protocol."""

SUBPROTOCOL = "mer.v1.json"
"""What client and server agree on in ``Sec-WebSocket-Protocol``; a client that offers none gets the same."""

STREAM_PATH = "/v1/stream"
"""Where the websocket is served."""

DEFAULT_KINDS = ("emotion", "lyrics", "change", "status")
"""Messages about a stream that a client gets unless it says otherwise."""

EVENT_KINDS = (*DEFAULT_KINDS, "levels")
"""Messages about a stream that a client may subscribe to."""

LATEST_WINS = frozenset({"emotion", "levels"})
"""Kinds of which a client only ever wants the newest; all others are kept in order."""


class CloseCode(IntEnum):
    """Why the server closes a connection; ``Error.code`` carries the same number."""

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


Id: TypeAlias = str | int | float | None
RequestId: TypeAlias = Annotated[Id, Meta(description="Chosen by the client; comes back in `result`.")]
Role: TypeAlias = Literal["viewer", "operator"]
Streams: TypeAlias = Annotated[tuple[str, ...], Meta(description="Names of streams; empty for all.")]


class LimitsPart(Struct, kw_only=True, frozen=True):
    """The limits that the server applies; each one is a setting of it."""

    max_clients: int
    max_message_bytes: int
    max_messages_per_s: int
    max_audio_bytes: Annotated[int, Meta(description="Size of one binary message.")] = 65_536
    max_audio_messages_per_s: int = 200
    handshake_timeout_s: Annotated[float, Meta(description="For a connection to become a websocket.")] = 5.0
    identify_timeout_s: float
    queued_messages: Annotated[int, Meta(description="Ordered messages that wait for a client before one is dropped.")]
    stuck_after_s: Annotated[float, Meta(description="A client that takes nothing for so long is closed (4410).")]
    pong_timeout_s: Annotated[
        float,
        Meta(
            description="The server sends pings of the websocket itself so often, and closes (1011) where none is "
            "answered for so long; browsers and libraries answer by themselves."
        ),
    ] = 20.0
    max_subscriptions: Annotated[int, Meta(description="Choices that the server remembers of one client.")] = 64
    history_messages: Annotated[
        int, Meta(description="Messages of each stream and kind that a client may resume over.")
    ] = 256


class ClientPart(Struct, kw_only=True, frozen=True):
    """Who connects, in its own words; for the server's log."""

    name: str = ""
    kind: str = ""


class Subscription(Struct, kw_only=True, frozen=True):
    """A choice of streams and events. Where several choose the same, the last one counts."""

    streams: Streams = ()
    events: Annotated[
        tuple[str, ...],
        Meta(description="Kinds of messages; empty for the default ones: emotion, lyrics, change and status."),
    ] = ()
    max_hz: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="At most so many a second of each stream's `emotion` and `levels`; the newest wins. "
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
    """Values that an operator puts in place of what the music feels like."""

    valence: Signed
    arousal: Signed
    ttl_s: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None,
        Meta(description="After so many seconds the values are live again; null for when `resume` comes."),
    ] = None


class RefusalPart(Struct, kw_only=True, frozen=True):
    """Why something asked for was not done."""

    code: Annotated[int, Meta(description="The close code that fits, though nothing is closed.")]
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


class Identify(Message, tag="identify", kw_only=True, frozen=True):
    """The client says who it is and what it wants. Optional where no token is set."""

    token: str | None = None
    client: ClientPart = ClientPart()
    subscribe: Annotated[
        tuple[Subscription, ...] | None, Meta(description="What to get; null for the default events of every stream.")
    ] = None
    resume: ResumePart | None = None


class SnapshotEntry(Struct, kw_only=True, frozen=True):
    """The last message of one stream and kind."""

    age_s: Annotated[float, Meta(ge=0, description="How long ago it was published, seconds.")]
    message: Emotion | Lyrics | Change | Status | Levels


class Ready(Message, tag="ready", kw_only=True, frozen=True):
    """The answer to `identify`."""

    client_id: str
    role: Annotated[Role, Meta(description="An operator may `control`; a viewer may not.")] = "viewer"
    granted: Annotated[tuple[Subscription, ...], Meta(description="What the client gets from now on.")]
    snapshot: Annotated[
        tuple[SnapshotEntry, ...],
        Meta(description="The last value of each subscribed message; without those that follow because of `resume`."),
    ] = ()
    resumed: Annotated[
        bool | None,
        Meta(
            description="True: everything missed follows as ordinary messages. False: the session is another one, or "
            "some is no longer known. Null where nothing was to resume."
        ),
    ] = None


class Subscribe(Message, tag="subscribe", kw_only=True, frozen=True):
    """The client wants more, or the same at another rate; the newest known values follow the `result`."""

    id: RequestId = None
    streams: Streams = ()
    events: Annotated[tuple[str, ...], Meta(description="Kinds of messages; empty for the default ones.")] = ()
    max_hz: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="As in `identify.subscribe`; null for all.")
    ] = None


class Unsubscribe(Message, tag="unsubscribe", kw_only=True, frozen=True):
    """The client wants less."""

    id: RequestId = None
    streams: Streams = ()
    events: Annotated[tuple[str, ...], Meta(description="Kinds of messages; empty for all.")] = ()


class Control(Message, tag="control", kw_only=True, frozen=True):
    """An operator takes the values into their own hands, or gives them back with `resume`."""

    id: RequestId = None
    action: Annotated[
        ControlAction,
        Meta(
            description="`freeze`: the values stay as they are. `blackout`: likewise, and whatever shows them goes "
            "dark. `override`: these values instead. `resume`: live again."
        ),
    ]
    streams: Streams = ()
    override: Annotated[OverridePart | None, Meta(description="The values, for the action `override` alone.")] = None


class Result(Message, tag="result", kw_only=True, frozen=True):
    """The answer to `subscribe`, `unsubscribe` or `control`."""

    id: RequestId = None
    ok: bool
    error: RefusalPart | None = None


class Ping(Message, tag="ping", kw_only=True, frozen=True):
    """Asks the other side for a `pong`; for browsers, which cannot send protocol pings."""

    id: Id = None
    t: Annotated[float | None, Meta(description="Any clock of the sender; comes back as it is.")] = None


class Pong(Message, tag="pong", kw_only=True, frozen=True):
    """The answer to `ping`, with its `id` and `t`."""

    id: Id = None
    t: float | None = None


class AudioStart(Message, tag="audio.start", kw_only=True, frozen=True):
    """The client sends audio for a stream: raw PCM in binary messages from now on, in real time.

    Only streams of `--source remote` take it, from one client at a time; a refusal is an `error` that is not fatal.
    """

    stream: StreamName
    format: Annotated[Literal["s16le", "f32le"], Meta(description="Samples, little-endian, channels interleaved.")]
    rate_hz: Annotated[int, Meta(description="4,000 to 384,000.")]
    channels: Annotated[int, Meta(description="1 to 64; their mean is heard.")] = 1


class AudioEnd(Message, tag="audio.end", kw_only=True, frozen=True):
    """The client sends no more audio; another one may."""


class Error(Message, tag="error", kw_only=True, frozen=True):
    """Something went wrong; always sent before the server closes."""

    code: Annotated[int, Meta(description="The close code that follows or would follow.")]
    message: Annotated[str, Meta(description="What happened and what to do.")]
    fatal: Annotated[bool, Meta(description="True if the server closes the connection now.")]
    retry_after_s: Annotated[float | None, Meta(description="When to come back, if at all.")] = None


ServerMessage: TypeAlias = Hello | Ready | Emotion | Lyrics | Change | Status | Levels | Result | Ping | Pong | Error
"""Everything that the server sends."""

ClientMessage: TypeAlias = Identify | Subscribe | Unsubscribe | Control | AudioStart | AudioEnd | Ping | Pong
"""Everything that a client sends; binary messages between ``AudioStart`` and ``AudioEnd`` are audio."""
