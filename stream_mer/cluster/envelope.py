"""How an event travels from a worker to the serving nodes: as it is, with the epoch and its number. Pure."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from stream_mer.errors import ClusterError
from stream_mer.types import CategoryChange, EmotionFrame, InputLevels, LyricLine, StreamEvent, StreamStatus

T = TypeVar("T")

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

    epoch: int
    number: int
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


def unseal(kind: str, data: bytes) -> Envelope[StreamEvent]:
    """Read what came as an event of a kind; fields that nobody knows are ignored.

    Raises:
        ClusterError: It is none.
    """
    try:
        envelope: Envelope[StreamEvent] = _DECODERS[kind].decode(data)
    except (KeyError, msgspec.MsgspecError) as exc:
        raise ClusterError(f"something that is no event of the kind {kind[:40]!r} came from NATS: {exc}") from None
    return envelope
