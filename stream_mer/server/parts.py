"""What the messages of ``mer.v1`` are made of: units, and the objects inside them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from stream_mer.types import HoldKind

MAX_SECONDS = 1e9
"""31 years: no time is further away, so sums of times stay exact to a microsecond and fit every clock."""

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
AudioStateName: TypeAlias = Literal["music", "speech", "noise", "silence"]
Category: TypeAlias = Literal["happy", "angry", "sad", "relaxed"]
Range: TypeAlias = Annotated[tuple[float, float], Meta(description="Low and high end.")]
Decibels: TypeAlias = Annotated[
    float, Meta(ge=-1000, le=1000, description="Decibels relative to full scale, -120 for silence.")
]
Id: TypeAlias = str | int | float | None
RequestId: TypeAlias = Annotated[Id, Meta(description="Chosen by the client; comes back in `result`.")]
Role: TypeAlias = Literal["viewer", "operator"]
ControlAction: TypeAlias = Literal["freeze", "resume", "blackout", "override"]
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
