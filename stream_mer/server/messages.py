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

from stream_mer.types import (
    MAX_SECONDS,
    AudioStateName,
    ControlAction,
    HoldKind,
    LyricsHealth,
    SourceState,
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


MAX_COUNT = 2**53 - 1
"""The largest integer that JavaScript counts exactly."""

Seconds: TypeAlias = Annotated[
    float, Meta(ge=-MAX_SECONDS, le=MAX_SECONDS, description="Seconds of audio since the stream began.")
]
Signed: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Seq: TypeAlias = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_COUNT,
        description="Counts the messages of this kind and stream from 0; a missing number was dropped.",
    ),
]
StreamName: TypeAlias = Annotated[str, Meta(description="The stream that this is about, one of hello.streams.")]
Modality: TypeAlias = Literal["audio", "text"]
Category: TypeAlias = Literal["happy", "angry", "sad", "relaxed"]
Range: TypeAlias = Annotated[tuple[float, float], Meta(description="Low and high end.")]
Decibels: TypeAlias = Annotated[
    float, Meta(ge=-1000, le=1000, description="Decibels relative to full scale, -120 for silence.")
]
Id: TypeAlias = str | int | float | None
RequestId: TypeAlias = Annotated[Id, Meta(description="Chosen by the client; comes back in `result`.")]
Role: TypeAlias = Literal["viewer", "operator"]
Hold: TypeAlias = Annotated[
    HoldKind | None, Meta(description="What an operator put in place of the values: null while they are live.")
]
HoldLeft: TypeAlias = Annotated[
    Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | None,
    Meta(description="When this was sent, the override had so many seconds left; null for no end of its own."),
]
Streams: TypeAlias = Annotated[tuple[str, ...], Meta(description="Names of streams; empty for all.")]


class ValenceArousal(Struct, kw_only=True, frozen=True):
    """A point in the valence-arousal plane."""

    valence: Signed
    arousal: Signed


class IntervalPart(Struct, kw_only=True, frozen=True):
    """Prediction interval: holds the true value with probability `level` on data like the training corpus."""

    valence: Range
    arousal: Range
    level: Probability


class CategoryProbs(Struct, kw_only=True, frozen=True):
    """Probability of each of Russell's quadrants, smoothed; they add up to 1."""

    happy: Annotated[Probability, Meta(description="Q1: valence up, arousal up.")]
    angry: Annotated[Probability, Meta(description="Q2: valence down, arousal up.")]
    sad: Annotated[Probability, Meta(description="Q3: valence down, arousal down.")]
    relaxed: Annotated[Probability, Meta(description="Q4: valence up, arousal down.")]


class AudioStatePart(Struct, kw_only=True, frozen=True):
    """What the newest three seconds of audio are. An emotion is claimed only of music."""

    state: AudioStateName
    prob: Annotated[Probability, Meta(description="Probability of that state.")]


class CategoryPart(Struct, kw_only=True, frozen=True):
    """The emotion category."""

    top: Annotated[
        Literal["happy", "angry", "sad", "relaxed", "unknown"],
        Meta(
            description="With hysteresis and a minimum dwell; unknown below the confidence threshold, and where "
            "nothing sounds."
        ),
    ]
    probs: CategoryProbs


class ClusterProbs(Struct, kw_only=True, frozen=True):
    """Probability of each of the five MIREX mood clusters."""

    C1: Annotated[Probability, Meta(description="Passionate, rousing, confident, boisterous, rowdy.")]
    C2: Annotated[Probability, Meta(description="Rollicking, cheerful, fun, sweet, amiable.")]
    C3: Annotated[Probability, Meta(description="Literate, poignant, wistful, bittersweet, brooding.")]
    C4: Annotated[Probability, Meta(description="Humorous, silly, campy, quirky, whimsical, witty.")]
    C5: Annotated[Probability, Meta(description="Aggressive, fiery, tense, intense, volatile, visceral.")]


class LatencyPart(Struct, kw_only=True, frozen=True):
    """Where the time of this frame went, milliseconds; total runs from capture to publication."""

    capture: float
    queue: float
    features: float
    model: float
    total: float


class WordPart(Struct, kw_only=True, frozen=True):
    """One word with its place in the stream."""

    t0: Seconds
    t1: Seconds
    text: str


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


class Message(Struct, tag_field="type", kw_only=True, frozen=True):
    """Base of all messages."""


class Emotion(Message, tag="emotion", kw_only=True, frozen=True):
    """What the music feels like now: one frame. Latest wins: a slow client misses frames, never falls behind."""

    stream: StreamName
    seq: Seq
    index: Annotated[Count, Meta(description="Counts hops of audio; a missing number is a window that was dropped.")]
    t0: Annotated[Seconds, Meta(description="Start of the audio that this frame knows, seconds.")]
    t1: Annotated[Seconds, Meta(description="End of that audio, seconds; nothing later had an influence.")]
    valence: Annotated[Signed, Meta(description="Smoothed: -1 unpleasant, 1 pleasant.")]
    arousal: Annotated[Signed, Meta(description="Smoothed: -1 calm, 1 excited.")]
    raw: Annotated[ValenceArousal, Meta(description="Before smoothing.")]
    interval: IntervalPart
    category: CategoryPart
    clusters: ClusterProbs
    confidence: Annotated[
        Probability,
        Meta(description="The probability of `category.top`; where that is `unknown`, of the likeliest category."),
    ]
    modalities: Annotated[tuple[Modality, ...], Meta(description="What had an influence on this frame.")]
    text_age_s: Annotated[float | None, Meta(description="Age of the newest sung line used; null without text.")] = None
    degraded: Annotated[
        tuple[str, ...],
        Meta(
            description="Why this frame is worse than it could be. Of its audio: `audio_lost`, `silent` (nothing "
            "sounds) or `no_music` (speech or noise): values go to neutral, the category is `unknown`. Of its words: "
            "`lyrics_loading`, `lyrics_lagging`, `lyrics_unavailable`. Shown again because no other comes from a "
            "worker: `worker_silent`, `worker_lost`, `broker_lost`. There may be new ones."
        ),
    ] = ()
    audio_state: Annotated[
        AudioStatePart | None, Meta(description="Music or not; null where nobody listened, such as to words alone.")
    ] = None
    held: Annotated[bool, Meta(description="True while an operator holds the values; `hold` says how.")] = False
    hold: Hold = None
    hold_left_s: HoldLeft = None
    latency_ms: LatencyPart
    dropped: Annotated[Count, Meta(description="Windows dropped since the stream began.")] = 0


class Lyrics(Message, tag="lyrics", kw_only=True, frozen=True):
    """A sung line as it stands now; sent whenever it changes, for the last time with `committed` true."""

    stream: StreamName
    seq: Seq
    segment: Annotated[Count, Meta(description="Number of the line in the stream.")]
    revision: Annotated[Count, Meta(description="Counts the versions of this line.")]
    t0: Seconds
    t1: Seconds
    text: str
    committed: Annotated[bool, Meta(description="True once the text will not change again.")]
    language: Annotated[str, Meta(description="ISO 639-1 code, empty where unknown.")] = ""
    words: Annotated[tuple[WordPart, ...], Meta(description="Empty where only the line's times are known.")] = ()
    settled_words: Annotated[
        Count, Meta(description="How many of the words, from the first, will not change any more.")
    ] = 0


class Change(Message, tag="change", kw_only=True, frozen=True):
    """The category changed: the debounced trigger for cues. What was `unknown` between two categories is no change."""

    stream: StreamName
    seq: Seq
    t: Seconds
    from_: Category = field(name="from")
    to: Category
    dwell_s: Annotated[
        float, Meta(ge=0, le=MAX_SECONDS, description="How long ago the category before it had begun, seconds.")
    ]


class Status(Message, tag="status", kw_only=True, frozen=True):
    """State of a stream; sent when it changes."""

    stream: StreamName
    seq: Seq
    source: Annotated[
        SourceState,
        Meta(
            description="`silent`: nothing is to be heard; `stalled`: nothing comes; `reconnecting`: the device is "
            "gone and waited for. Frames go on meanwhile, on silence."
        ),
    ]
    device: Annotated[str, Meta(description="What a person calls the source: the file's or the device's name.")]
    lyrics: LyricsHealth
    lag_s: Annotated[
        float,
        Meta(description="How far lyrics recognition is behind the audio, seconds; no new message for less than 1 s."),
    ] = 0.0
    lost_samples: Annotated[Count, Meta(description="Audio lost since the stream began, samples at 16 kHz.")] = 0
    clipping: Annotated[bool, Meta(description="True if the input was too loud for its device in the last 3 s.")] = (
        False
    )
    peak_db: Annotated[
        float | None,
        Meta(
            description="Largest sample of the 3 s before this was sent, dBFS; no new message when only this changes."
        ),
    ] = None
    rms_db: Annotated[float | None, Meta(description="Root mean square of the same 3 s, dBFS.")] = None


class Levels(Message, tag="levels", kw_only=True, frozen=True):
    """How loud the input is, for what must move with the music itself. Opt-in, 50 a second at most; latest wins.

    Where a client gets fewer, none is lost sight of: `peak_db` and `onset` are the largest of all since the message
    before, and `rms_db` is the mean of their energies.
    """

    stream: StreamName
    seq: Seq
    t: Seconds
    rms_db: Decibels
    peak_db: Annotated[Decibels, Meta(description="Largest sample since the last message.")]
    onset: Annotated[
        Probability,
        Meta(description="How strongly something new begins: spectral flux, 1 for the strongest of the last seconds."),
    ]


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


class Summary(Message, tag="summary", kw_only=True, frozen=True):
    """One whole file in one line; written by `stream-mer tag`, never sent over the wire."""

    stream: StreamName
    duration_s: float
    valence: Signed
    arousal: Signed
    category: CategoryPart
    clusters: ClusterProbs
    lyrics: Annotated[str, Meta(description="The committed lines, one a line.")] = ""


EventMessage: TypeAlias = Emotion | Lyrics | Change | Status | Levels
"""What a stream's events become."""

ServerMessage: TypeAlias = Hello | Ready | Emotion | Lyrics | Change | Status | Levels | Result | Ping | Pong | Error
"""Everything that the server sends."""

ClientMessage: TypeAlias = Identify | Subscribe | Unsubscribe | Control | AudioStart | AudioEnd | Ping | Pong
"""Everything that a client sends; binary messages between ``AudioStart`` and ``AudioEnd`` are audio."""
