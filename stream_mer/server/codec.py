"""Between the nouns and the wire: events to messages, messages to JSON and back. Pure: no I/O and no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import get_args

import msgspec

from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.types import (
    CategoryChange,
    EmotionFrame,
    InputLevels,
    LyricLine,
    OverrideValues,
    StreamEvent,
    StreamStatus,
)

DECIMALS = 4
"""Decimals of every number sent: a tenth of a millisecond of audio, and far finer than any emotion."""

_encoder = msgspec.json.Encoder()
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


def kind_of(message: wire.Message) -> str:
    """Return the ``type`` of a message."""
    return str(message.__struct_config__.tag)


def encode(message: wire.Message) -> bytes:
    """Return the message as JSON, UTF-8, one line without its end."""
    return _encoder.encode(message)


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


class MessageEncoder:
    """Turns the events of one stream into messages, counting ``seq`` for each kind.

    Args:
        stream: Name of the stream.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._next: Counter[str] = Counter()

    def message(self, event: StreamEvent) -> wire.EventMessage:
        """Return the message for the next event."""
        match event:
            case EmotionFrame():
                return _emotion(event, self._stream, self._count("emotion"))
            case LyricLine():
                return _lyrics(event, self._stream, self._count("lyrics"))
            case CategoryChange():
                return wire.Change(
                    stream=self._stream,
                    seq=self._count("change"),
                    t=_short(event.t),
                    from_=msgspec.convert(event.before, wire.Category),
                    to=msgspec.convert(event.after, wire.Category),
                    dwell_s=_short(event.dwell_s),
                )
            case StreamStatus():
                return wire.Status(
                    stream=self._stream,
                    seq=self._count("status"),
                    source=event.source,
                    device=event.device,
                    lyrics=event.lyrics,
                    lag_s=_short(event.lag_s),
                    lost_samples=event.lost_samples,
                    clipping=event.clipping,
                    peak_db=event.peak_db,
                    rms_db=event.rms_db,
                )
            case InputLevels():
                return wire.Levels(
                    stream=self._stream,
                    seq=self._count("levels"),
                    t=_short(event.t),
                    rms_db=_short(event.rms_db),
                    peak_db=_short(event.peak_db),
                    onset=_short(event.onset),
                )

    def _count(self, kind: str) -> int:
        seq = self._next[kind]
        self._next[kind] += 1
        return seq


def override_values(part: wire.OverridePart | None) -> OverrideValues | None:
    """Return the values of an operator's override without the wire format; None for None."""
    return None if part is None else OverrideValues(valence=part.valence, arousal=part.arousal, ttl_s=part.ttl_s)


def category_part(top: str, probs: Mapping[str, float]) -> wire.CategoryPart:
    """Return a category as the wire has it.

    Args:
        top: One of ``CATEGORIES`` or ``UNKNOWN``.
        probs: Probability of each of ``CATEGORIES``.
    """
    return msgspec.convert({"top": top, "probs": _shorts(probs)}, wire.CategoryPart)


def cluster_probs(probs: Mapping[str, float]) -> wire.ClusterProbs:
    """Return the probability of each of ``CLUSTERS`` as the wire has it."""
    return wire.ClusterProbs(**_shorts(probs))


def summary(
    *,
    stream: str,
    duration_s: float,
    valence: float,
    arousal: float,
    top: str,
    probs: Mapping[str, float],
    clusters: Mapping[str, float],
    lyrics: str,
) -> wire.Summary:
    """Return the last line that ``stream-mer tag`` writes for a file."""
    return wire.Summary(
        stream=stream,
        duration_s=_short(duration_s),
        valence=_short(valence),
        arousal=_short(arousal),
        category=category_part(top, probs),
        clusters=cluster_probs(clusters),
        lyrics=lyrics,
    )


def _emotion(frame: EmotionFrame, stream: str, seq: int) -> wire.Emotion:
    raw, latency = frame.raw, frame.latency
    return wire.Emotion(
        stream=stream,
        seq=seq,
        index=frame.index,
        t0=_short(frame.t0),
        t1=_short(frame.t1),
        valence=_short(frame.valence),
        arousal=_short(frame.arousal),
        raw=wire.ValenceArousal(valence=_short(raw.valence), arousal=_short(raw.arousal)),
        interval=wire.IntervalPart(
            valence=_pair(raw.interval.valence), arousal=_pair(raw.interval.arousal), level=_short(raw.interval.level)
        ),
        category=category_part(frame.category, frame.probs),
        clusters=cluster_probs(raw.clusters),
        confidence=_short(frame.confidence),
        modalities=msgspec.convert(raw.modalities, tuple[wire.Modality, ...]),
        text_age_s=None if raw.text_age_s is None else _short(raw.text_age_s),
        degraded=raw.degraded,
        audio_state=None
        if raw.audio_state is None
        else wire.AudioStatePart(state=raw.audio_state.state, prob=_short(raw.audio_state.prob)),
        held=frame.hold is not None,
        hold=frame.hold,
        hold_left_s=None if frame.hold_left_s is None else _short(frame.hold_left_s),
        latency_ms=wire.LatencyPart(
            capture=_short(latency.capture),
            queue=_short(latency.queue),
            features=_short(latency.features),
            model=_short(latency.model),
            total=_short(latency.total),
        ),
        dropped=frame.dropped,
    )


def _lyrics(line: LyricLine, stream: str, seq: int) -> wire.Lyrics:
    return wire.Lyrics(
        stream=stream,
        seq=seq,
        segment=line.segment,
        revision=line.revision,
        t0=_short(line.t0),
        t1=_short(line.t1),
        text=line.text,
        committed=line.committed,
        language=line.language,
        words=tuple(wire.WordPart(t0=_short(w.t0), t1=_short(w.t1), text=w.text) for w in line.words),
        settled_words=line.settled_words,
    )


def _short(value: float) -> float:
    return round(float(value), DECIMALS) + 0.0  # no minus in front of a zero


def _pair(pair: tuple[float, float]) -> tuple[float, float]:
    return _short(pair[0]), _short(pair[1])


def _shorts(probs: Mapping[str, float]) -> dict[str, float]:
    return {name: _short(value) for name, value in probs.items()}
