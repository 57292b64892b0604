"""Events as JSON: the messages of ``mer.v1`` about a stream, and the way from an event to its message and back.

Files that ``stream-mer tag`` writes, recordings and the wire hold events in this form. Pure: no I/O and no clock.
``server.messages`` adds the messages that only a connection has. (Each struct says ``kw_only`` and ``frozen`` itself
because a type checker does not inherit them.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from stream_mer.types import (
    MAX_SECONDS,
    AudioState,
    AudioStateName,
    CategoryChange,
    EmotionEstimate,
    EmotionFrame,
    HoldKind,
    InputLevels,
    Interval,
    Latency,
    LyricLine,
    LyricsHealth,
    SourceState,
    StreamEvent,
    StreamStatus,
)

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
StreamName: TypeAlias = Annotated[str, Meta(description="The stream, one of hello.streams.")]
Modality: TypeAlias = Literal["audio", "text"]
Category: TypeAlias = Literal["happy", "angry", "sad", "relaxed"]
Range: TypeAlias = Annotated[tuple[float, float], Meta(description="Low and high end.")]
Decibels: TypeAlias = Annotated[
    float, Meta(ge=-1000, le=1000, description="Decibels relative to full scale, -120 for silence.")
]
Hold: TypeAlias = Annotated[
    HoldKind | None, Meta(description="The operator's override in force; null while the values are live.")
]
HoldLeft: TypeAlias = Annotated[
    Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | None,
    Meta(description="Seconds until the override ends, when this was sent; null for an override without an end."),
]


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
    """Class of the newest three seconds of audio. Only music has an emotion."""

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
    """Latency of this frame by stage, milliseconds; `total` is from capture to publication."""

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


class Message(Struct, tag_field="type", kw_only=True, frozen=True):
    """Base of all messages."""


class Emotion(Message, tag="emotion", kw_only=True, frozen=True):
    """The emotion of the music now: one frame. Latest wins: a slow client misses frames and never falls behind."""

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
    modalities: Annotated[tuple[Modality, ...], Meta(description="The inputs that had an influence on this frame.")]
    text_age_s: Annotated[float | None, Meta(description="Age of the newest sung line used; null without text.")] = None
    degraded: Annotated[
        tuple[str, ...],
        Meta(
            description="Reasons for a degraded frame. Audio: `audio_lost`, `silent` or `no_music` (speech or noise): "
            "values go to neutral, the category is `unknown`. Lyrics: `lyrics_loading`, `lyrics_lagging`, "
            "`lyrics_unavailable`. Repeated because the worker sends no other: `worker_silent`, `worker_lost`, "
            "`broker_lost`. More may be added."
        ),
    ] = ()
    audio_state: Annotated[AudioStatePart | None, Meta(description="Music or not; null for sources without audio.")] = (
        None
    )
    held: Annotated[bool, Meta(description="True while an operator overrides the values; `hold` says how.")] = False
    hold: Hold = None
    hold_left_s: HoldLeft = None
    latency_ms: LatencyPart
    dropped: Annotated[Count, Meta(description="Windows dropped since the stream began.")] = 0


class Lyrics(Message, tag="lyrics", kw_only=True, frozen=True):
    """The current version of a sung line; sent whenever it changes, for the last time with `committed` true."""

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
    masked: Annotated[
        str | None,
        Meta(description="The text with the words of the server's list masked, for an audience; null where none are."),
    ] = None


class Change(Message, tag="change", kw_only=True, frozen=True):
    """The category changed: the debounced trigger for cues. `unknown` between two categories is not a change."""

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
            description="`silent`: the input is silence; `stalled`: no audio arrives; `reconnecting`: the device is "
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
    title: Annotated[
        str | None,
        Meta(description="Title of what plays, as a radio station sends it or a file states it; null if unknown."),
    ] = None
    artist: Annotated[
        str | None, Meta(description="Its artist, where that is stated apart from the title; else null.")
    ] = None


class Levels(Message, tag="levels", kw_only=True, frozen=True):
    """Level of the input, for animation in time with the music. On request only, at most 50 a second; latest wins.

    Peaks are kept where a client gets fewer: `peak_db` and `onset` are the largest since the previous message, `rms_db`
    is the mean of the energies.
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


class Summary(Message, tag="summary", kw_only=True, frozen=True):
    """Summary of a whole file, one line; written by `stream-mer tag`, not sent by the server."""

    stream: StreamName
    duration_s: float
    valence: Signed
    arousal: Signed
    category: CategoryPart
    clusters: ClusterProbs
    lyrics: Annotated[str, Meta(description="The committed lines, one a line.")] = ""


EventMessage: TypeAlias = Emotion | Lyrics | Change | Status | Levels
"""The messages that a stream's events become."""


DECIMALS = 4
"""Decimals of all numbers: a tenth of a millisecond of audio, and far finer than any emotion."""

_encoder = msgspec.json.Encoder()


def kind_of(message: Message | type[Message]) -> str:
    """Return the ``type`` of a message on the wire."""
    return str(message.__struct_config__.tag)


def encode(message: Message) -> bytes:
    """Return the message as JSON, UTF-8, one line without its end."""
    return _encoder.encode(message)


class MessageEncoder:
    """Turns the events of one stream into messages, counting ``seq`` for each kind.

    Args:
        stream: Name of the stream.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._next: Counter[str] = Counter()

    def message(self, event: StreamEvent) -> EventMessage:
        """Return the message for the next event."""
        match event:
            case EmotionFrame():
                return _emotion(event, self._stream, self._count("emotion"))
            case LyricLine():
                return _lyrics(event, self._stream, self._count("lyrics"))
            case CategoryChange():
                return Change(
                    stream=self._stream,
                    seq=self._count("change"),
                    t=_rounded(event.t),
                    from_=msgspec.convert(event.before, Category),
                    to=msgspec.convert(event.after, Category),
                    dwell_s=_rounded(event.dwell_s),
                )
            case StreamStatus():
                return Status(
                    stream=self._stream,
                    seq=self._count("status"),
                    source=event.source,
                    device=event.device,
                    lyrics=event.lyrics,
                    lag_s=_rounded(event.lag_s),
                    lost_samples=event.lost_samples,
                    clipping=event.clipping,
                    peak_db=event.peak_db,
                    rms_db=event.rms_db,
                    title=event.title,
                    artist=event.artist,
                )
            case InputLevels():
                return Levels(
                    stream=self._stream,
                    seq=self._count("levels"),
                    t=_rounded(event.t),
                    rms_db=_rounded(event.rms_db),
                    peak_db=_rounded(event.peak_db),
                    onset=_rounded(event.onset),
                )

    def _count(self, kind: str) -> int:
        seq = self._next[kind]
        self._next[kind] += 1
        return seq


def event_of(message: EventMessage) -> StreamEvent:
    """Return the event of a message; encoded again, it gives the same message but for its ``seq``.

    Fields that a message does not hold are filled in: the categories of the estimate are those after smoothing, and the
    probability of words is 1.
    """
    match message:
        case Emotion():
            return _frame(message)
        case Lyrics():
            return msgspec.convert(message, LyricLine, from_attributes=True)
        case Change():
            return CategoryChange(t=message.t, before=message.from_, after=message.to, dwell_s=message.dwell_s)
        case Status():
            return msgspec.convert(message, StreamStatus, from_attributes=True)
        case Levels():
            return InputLevels(t=message.t, rms_db=message.rms_db, peak_db=message.peak_db, onset=message.onset)


def _frame(message: Emotion) -> EmotionFrame:
    probs: dict[str, float] = msgspec.structs.asdict(message.category.probs)
    latency = msgspec.convert(message.latency_ms, Latency, from_attributes=True)
    return EmotionFrame(
        index=message.index,
        t0=message.t0,
        t1=message.t1,
        valence=message.valence,
        arousal=message.arousal,
        raw=EmotionEstimate(
            valence=message.raw.valence,
            arousal=message.raw.arousal,
            interval=msgspec.convert(message.interval, Interval, from_attributes=True),
            categories=probs,
            clusters=msgspec.structs.asdict(message.clusters),
            modalities=message.modalities,
            text_age_s=message.text_age_s,
            degraded=message.degraded,
            audio_state=msgspec.convert(message.audio_state, AudioState | None, from_attributes=True),
            features_ms=latency.features,
            model_ms=latency.model,
        ),
        category=message.category.top,
        confidence=message.confidence,
        probs=probs,
        hold=message.hold,
        hold_left_s=message.hold_left_s,
        latency=latency,
        dropped=message.dropped,
    )


def category_part(top: str, probs: Mapping[str, float]) -> CategoryPart:
    """Return a category as the wire has it.

    Args:
        top: One of ``CATEGORIES`` or ``UNKNOWN``.
        probs: Probability of each of ``CATEGORIES``.
    """
    return msgspec.convert({"top": top, "probs": _rounded_all(probs)}, CategoryPart)


def cluster_probs(probs: Mapping[str, float]) -> ClusterProbs:
    """Return the probability of each of ``CLUSTERS`` as the wire has it."""
    return ClusterProbs(**_rounded_all(probs))


def summary_message(
    stream: str,
    *,
    duration_s: float,
    valence: float,
    arousal: float,
    category: str,
    probs: Mapping[str, float],
    clusters: Mapping[str, float],
    lyrics: str,
) -> Summary:
    """Return the last line that ``stream-mer tag`` writes for a file."""
    return Summary(
        stream=stream,
        duration_s=_rounded(duration_s),
        valence=_rounded(valence),
        arousal=_rounded(arousal),
        category=category_part(category, probs),
        clusters=cluster_probs(clusters),
        lyrics=lyrics,
    )


def _emotion(frame: EmotionFrame, stream: str, seq: int) -> Emotion:
    raw, latency = frame.raw, frame.latency
    return Emotion(
        stream=stream,
        seq=seq,
        index=frame.index,
        t0=_rounded(frame.t0),
        t1=_rounded(frame.t1),
        valence=_rounded(frame.valence),
        arousal=_rounded(frame.arousal),
        raw=ValenceArousal(valence=_rounded(raw.valence), arousal=_rounded(raw.arousal)),
        interval=IntervalPart(
            valence=_rounded_pair(raw.interval.valence),
            arousal=_rounded_pair(raw.interval.arousal),
            level=_rounded(raw.interval.level),
        ),
        category=category_part(frame.category, frame.probs),
        clusters=cluster_probs(raw.clusters),
        confidence=_rounded(frame.confidence),
        modalities=msgspec.convert(raw.modalities, tuple[Modality, ...]),
        text_age_s=None if raw.text_age_s is None else _rounded(raw.text_age_s),
        degraded=raw.degraded,
        audio_state=None
        if raw.audio_state is None
        else AudioStatePart(state=raw.audio_state.state, prob=_rounded(raw.audio_state.prob)),
        held=frame.hold is not None,
        hold=frame.hold,
        hold_left_s=None if frame.hold_left_s is None else _rounded(frame.hold_left_s),
        latency_ms=LatencyPart(
            capture=_rounded(latency.capture),
            queue=_rounded(latency.queue),
            features=_rounded(latency.features),
            model=_rounded(latency.model),
            total=_rounded(latency.total),
        ),
        dropped=frame.dropped,
    )


def _lyrics(line: LyricLine, stream: str, seq: int) -> Lyrics:
    return Lyrics(
        stream=stream,
        seq=seq,
        segment=line.segment,
        revision=line.revision,
        t0=_rounded(line.t0),
        t1=_rounded(line.t1),
        text=line.text,
        committed=line.committed,
        language=line.language,
        words=tuple(WordPart(t0=_rounded(w.t0), t1=_rounded(w.t1), text=w.text) for w in line.words),
        settled_words=line.settled_words,
        masked=line.masked,
    )


def _rounded(value: float) -> float:
    return round(float(value), DECIMALS) + 0.0  # no minus in front of a zero


def _rounded_pair(pair: tuple[float, float]) -> tuple[float, float]:
    return _rounded(pair[0]), _rounded(pair[1])


def _rounded_all(probs: Mapping[str, float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in probs.items()}
