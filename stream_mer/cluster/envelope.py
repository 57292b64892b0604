"""How an event travels from a worker to the serving nodes: as it is, with the epoch and its number. Pure.

What comes in is validated by the schema of what goes out (``serve.codec.check_event``). A worker may be newer than this
node: fields that nobody knows are ignored, and a value that nobody knows, such as a modality or a state, is replaced
by the one that says least (``_LENIENT``), so that the rest of the event still counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, TypeVar, get_args

import msgspec
from msgspec import Meta

from stream_mer.cluster.continuation import FrameEnd
from stream_mer.errors import ClusterError, ServeError
from stream_mer.event_json import MAX_COUNT, Modality
from stream_mer.server.codec import check_event
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    MAX_SECONDS,
    UNKNOWN,
    CategoryChange,
    EmotionFrame,
    HoldKind,
    InputLevels,
    LyricLine,
    LyricsHealth,
    SourceState,
    StreamEvent,
    StreamStatus,
)

T = TypeVar("T")
Revision = Annotated[int, Meta(ge=0, le=2**63 - 1)]

KINDS: dict[str, type[StreamEvent]] = {
    "emotion": EmotionFrame,
    "lyrics": LyricLine,
    "change": CategoryChange,
    "status": StreamStatus,
    "levels": InputLevels,
}
"""The events by the names that their messages have on the wire."""

_KIND_OF = {event: kind for kind, event in KINDS.items()}


class Envelope(msgspec.Struct, Generic[T], kw_only=True, frozen=True):
    """An event with what tells whether it is to be believed.

    Attributes:
        epoch: Revision of the claim under which the channel was computed; a later owner's is greater.
        number: Counts the events of this channel and kind that were sent in this epoch, from 0.
        event: The event.
    """

    epoch: Revision
    number: Revision
    event: T


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(Envelope[event])  # type: ignore[valid-type]  # the types are those of a table
    for kind, event in KINDS.items()
}
_encoder = msgspec.json.Encoder()


def kind_of(event: StreamEvent) -> str:
    """Return the kind of an event."""
    return _KIND_OF[type(event)]


def seal(event: StreamEvent, *, epoch: int, number: int) -> bytes:
    """Return an event as it travels: JSON, so that any tool of NATS shows it."""
    return _encoder.encode(Envelope(epoch=epoch, number=number, event=event))


def unseal(kind: str, data: bytes, *, on_unknown: Callable[[str], None] | None = None) -> Envelope[StreamEvent]:
    """Read what came as an event of a kind; fields that nobody knows are ignored.

    Args:
        kind: One of ``KINDS``.
        data: What came.
        on_unknown: Takes what was replaced, such as ``raw.modalities: 'video'``, once for each such value.

    Raises:
        ClusterError: It is none, or its message would be none of ``mer.v1``.
    """
    try:
        return _read(kind, data, on_unknown or (lambda _: None))
    except (KeyError, ValueError, RecursionError, ServeError) as exc:  # the errors of msgspec are ValueErrors
        raise ClusterError(
            f"something that is no event of the kind {kind[:40]!r} came from NATS: {str(exc)[:200]}"
        ) from None


class _FrameEnd(msgspec.Struct, kw_only=True, frozen=True):
    t1: Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
    dropped: Annotated[int, Meta(ge=0, le=MAX_COUNT)] = 0


_frame_end_decoder = msgspec.json.Decoder(Envelope[_FrameEnd])


def frame_end(data: bytes) -> FrameEnd | None:
    """Read where a frame ended of which this version cannot read the rest; None where it does not even say that."""
    try:
        event = _frame_end_decoder.decode(data).event
    except (msgspec.MsgspecError, RecursionError):
        return None
    return FrameEnd(t1=event.t1, dropped=event.dropped)


def _read(kind: str, data: bytes, on_unknown: Callable[[str], None]) -> Envelope[StreamEvent]:
    decoder = _DECODERS[kind]
    try:
        envelope: Envelope[StreamEvent] = decoder.decode(data)
        check_event(envelope.event)
    except (msgspec.ValidationError, ServeError):
        raw = msgspec.json.decode(data)
        replaced = list(_replace_unknown(_LENIENT.get(kind, {}), raw.get("event") if isinstance(raw, dict) else None))
        if not replaced:
            raise
        envelope = msgspec.convert(raw, decoder.type)
        check_event(envelope.event)
        for what in replaced:
            on_unknown(what)
    return envelope


_LENIENT: dict[str, dict[str, tuple[tuple[str, ...], str | None]]] = {
    "emotion": {
        "category": ((*CATEGORIES, UNKNOWN), UNKNOWN),
        "hold": (get_args(HoldKind), None),
        "probs": (CATEGORIES, None),
        "raw.categories": (CATEGORIES, None),
        "raw.clusters": (CLUSTERS, None),
        "raw.modalities": (get_args(Modality), None),
    },
    "status": {"source": (get_args(SourceState), "live"), "lyrics": (get_args(LyricsHealth), "ok")},
}
"""Fields that hold one of some words, or several as a list or as keys: these words, and what stands for all others.

From lists and tables unknown words are taken out.
"""


def _replace_unknown(fields: dict[str, tuple[tuple[str, ...], str | None]], event: Any) -> Iterator[str]:
    """Replace the values of an event that this version does not know; yield what was replaced."""
    for path, (known, instead) in fields.items():
        *outer, name = path.split(".")
        place = event
        for key in outer:
            place = place.get(key) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            continue
        value = place.get(name)
        if isinstance(value, list | dict):
            words = [word for word in value if isinstance(word, str) and word not in known]
            kept = [word for word in value if word not in words]
            place[name] = {word: value[word] for word in kept} if isinstance(value, dict) else kept
        elif isinstance(value, str) and value not in known:
            words, place[name] = [value], instead
        else:
            words = []
        yield from (f"{path}: {word[:40]!r}" for word in words)
