"""The data formats of a cluster: names in NATS, what its buckets keep, and events on their way to the nodes. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar, get_args
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta, Struct

from stream_mer.errors import ClusterError, ServeError, SettingError
from stream_mer.event_json import MAX_COUNT, Modality
from stream_mer.server.messages import OverridePart, check_event
from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    MAX_SECONDS,
    UNKNOWN,
    CategoryChange,
    ControlAction,
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
R = TypeVar("R", bound=Struct)

# Names in NATS
#
# A channel's name may hold spaces, dots and letters of any script; a NATS subject token or key may not. So every byte
# that is not an ASCII letter, a digit, "-" or "_" becomes "=" and two hexadecimal digits, as in an URL with "%":
# "Zürich 1" is "Z=C3=BCrich=201".

EVENT_SUBJECTS = "mer.v1"
"""Events of a channel are published on ``mer.v1.<token>.<kind>``."""

WANTED_SUBJECTS = "mer.want"
"""Nodes request on ``mer.want.<token>.<kind>`` what workers compute on demand."""

PRESENCE_SUBJECTS = "mer.alive"
"""A worker subscribes to ``mer.alive.<presence>``: without a subscriber, its connection is gone."""

MAX_NAME_LENGTH = 64

_NAME = re.compile(r"[\w][\w .-]*")


def is_name(text: str) -> bool:
    """Return whether a text is a valid name of a channel or a worker."""
    return _NAME.fullmatch(text) is not None and len(text) <= MAX_NAME_LENGTH


def check_name(name: str) -> str:
    """Return the name of a channel or a worker unchanged.

    Raises:
        SettingError: The name is empty, too long, or contains characters that are not allowed.
    """
    if not is_name(name):
        raise SettingError(
            f"{name[:80]!r} cannot be a name: use letters, digits, spaces, dots, - and _, "
            f"starting with a letter or a digit, {MAX_NAME_LENGTH} at most"
        )
    return name


def token_of(name: str) -> str:
    """Return a name encoded as one subject token, which is also a valid key."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")


@functools.lru_cache(maxsize=1 << 17)
def name_of(token: str) -> str | None:
    """Return the name that a token encodes; None if ``token_of`` never returns this token."""
    try:
        name = unquote(token.replace("=", "%"), errors="strict")
        return name if name and token_of(name) == token else None
    except UnicodeError:
        return None


def event_subject(channel: str, kind: str) -> str:
    """Return the subject of a channel's events of one kind."""
    return f"{EVENT_SUBJECTS}.{token_of(channel)}.{kind}"


def wanted_subject(channel: str, kind: str) -> str:
    """Return the subject on which a channel's events of one kind are requested."""
    return f"{WANTED_SUBJECTS}.{token_of(channel)}.{kind}"


def presence_subject(presence: str) -> str:
    """Return the subject to which a worker subscribes while it is connected."""
    return f"{PRESENCE_SUBJECTS}.{presence}"


def split_subject(subject: str) -> tuple[str, str] | None:
    """Return channel and kind of an event subject or a request subject; None for any other."""
    head, _, kind = subject.rpartition(".")
    root, _, token = head.rpartition(".")
    name = name_of(token)
    return (name, kind) if root in {EVENT_SUBJECTS, WANTED_SUBJECTS} and name is not None else None


# What the buckets keep

CHANNELS, CLAIMS, WORKERS, OVERRIDES = "mer_channels", "mer_claims", "mer_workers", "mer_holds"
"""Buckets. The keys are the channels' tokens; those of the workers are their sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value that a bucket or a stream keeps.

    Attributes:
        value: The bytes.
        revision: Increases with every change in the bucket.
        stored_at: Server time at which it was stored, seconds.
    """

    value: bytes
    revision: int
    stored_at: float = 0.0


class Channel(Struct, kw_only=True, frozen=True):
    """A channel as people configured it.

    Attributes:
        id: Random. A channel that is removed and added again has a new one, and its clock starts at 0.
        source: As for ``stream-mer serve --source``.
        loop: Files: start again at the end.
    """

    id: str
    source: str
    loop: bool = False


ClaimState: TypeAlias = Literal["free", "running", "failed", "ended"]


class Claim(Struct, kw_only=True, frozen=True):
    """Which worker owns a channel. Its revision is the channel's *epoch*: it increases with every owner.

    Attributes:
        session: Lease of the owner; the claim is void once that lease is gone.
        worker: The owner's name, for people.
        state: A ``ClaimState``, or one that only newer workers know. ``free``: given back. ``ended``: the source ended.
        channel: Revision of the channel that it refers to; ``ended`` counts for that revision only.
        reason: Why it failed.
    """

    session: str
    worker: str
    state: str
    channel: int
    reason: str = ""

    @property
    def is_held(self) -> bool:
        """Whether a worker owns the channel, if its lease is alive. True for states that only newer workers know."""
        return self.state not in {"free", "ended"}


class Worker(Struct, kw_only=True, frozen=True):
    """A worker's lease: NATS removes it when it is not renewed in time.

    Attributes:
        name: For people.
        host: Its machine.
        pid: Its process.
        capacity: Maximum number of channels.
        draining: It claims no more channels and gives back those that it has.
        cpu: Processor time that the process uses, cores.
        late: Windows dropped because the model was late, in all its channels.
        hop_s: Time between frames of its channels, seconds.
        context_s: Audio context of a frame, seconds.
        version: Of stream_mer.
        presence: It subscribes to ``mer.alive.<presence>`` while it is connected. Empty: to none, as older workers, or
            if NATS does not permit it.
    """

    name: str
    host: str
    pid: int
    capacity: int
    draining: bool = False
    cpu: float = 0.0
    late: int = 0
    hop_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    context_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    version: str = ""
    presence: Annotated[str, Meta(pattern="^[0-9a-f]{0,32}$")] = ""


class _Command(Struct, kw_only=True, frozen=True):
    action: ControlAction
    override: OverridePart | None = None

    def __post_init__(self) -> None:
        if self.action == "override" and self.override is None:
            raise ValueError("an override has values")


class Override(_Command, kw_only=True, frozen=True):
    """An operator's command to a channel that all nodes carry out.

    Attributes:
        action: As in ``control``.
        override: The values, for the action ``override``.
        shown: The frame that the operator's node showed: all nodes freeze at it.
    """

    shown: EmotionFrame | None = None

    def __post_init__(self) -> None:
        _Command.__post_init__(self)
        if self.shown is not None:
            check_event(self.shown)


def encode(record: Struct) -> bytes:
    """Return a record as it is stored."""
    return msgspec.json.encode(record)


def decode(data: bytes, kind: type[R]) -> R:
    """Read a record.

    Raises:
        ClusterError: The data is not a valid record of this kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError, ServeError) as exc:  # the errors of msgspec are ValueErrors
        name = kind.__name__.strip("_").lower()
        raise ClusterError(f"NATS keeps an invalid {name} record: {str(exc)[:200]}") from None


def decode_override(data: bytes) -> Override:
    """Read an override. If only its frame is invalid, the command counts without it: a blackout must be dark.

    Raises:
        ClusterError: The command itself is invalid.
    """
    try:
        return decode(data, Override)
    except ClusterError:
        command = decode(data, _Command)
        return Override(action=command.action, override=command.override)


# Events on their way from a worker to the nodes
#
# What comes in is validated by the schema of what goes out (``check_event``). A worker may be newer than a node:
# unknown fields are ignored, and an unknown value, such as a modality or a state, is replaced by a neutral one
# (``_LENIENT``).

Revision = Annotated[int, Meta(ge=0, le=2**63 - 1)]

EVENT_TYPES: dict[str, type[StreamEvent]] = {
    "emotion": EmotionFrame,
    "lyrics": LyricLine,
    "change": CategoryChange,
    "status": StreamStatus,
    "levels": InputLevels,
}
"""Events by their kinds: the names of their messages on the wire."""

_KIND_OF = {event: kind for kind, event in EVENT_TYPES.items()}


class Envelope(Struct, Generic[T], kw_only=True, frozen=True):
    """An event with its fencing token.

    Attributes:
        epoch: Revision of the claim under which it was computed; later owners have greater ones.
        number: Counts the events of this channel and kind within the epoch, from 0.
        event: The event.
    """

    epoch: Revision
    number: Revision
    event: T


class FrameEnd(Struct, kw_only=True, frozen=True):
    """The part of a frame that its successor needs, readable even where the rest is not.

    Attributes:
        t1: End of its audio, seconds.
        dropped: Windows dropped so far.
    """

    t1: Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
    dropped: Annotated[int, Meta(ge=0, le=MAX_COUNT)] = 0


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(Envelope[event])  # type: ignore[valid-type]  # the types are those of a table
    for kind, event in EVENT_TYPES.items()
}
_frame_end_decoder = msgspec.json.Decoder(Envelope[FrameEnd])

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
"""Fields with words as values, in lists or as keys: the known words, and the replacement of a single unknown one.

Unknown words are removed from lists and objects.
"""


def kind_of(event: StreamEvent) -> str:
    """Return the kind of an event."""
    return _KIND_OF[type(event)]


def seal(event: StreamEvent, *, epoch: int, number: int) -> bytes:
    """Return an event as it travels: JSON, readable by any NATS tool."""
    return msgspec.json.encode(Envelope(epoch=epoch, number=number, event=event))


def unseal(kind: str, data: bytes, *, on_unknown: Callable[[str], None] | None = None) -> Envelope[StreamEvent]:
    """Read an event; unknown fields are ignored.

    Args:
        kind: A key of ``EVENT_TYPES``.
        data: The message.
        on_unknown: Called for each value that was replaced, such as ``raw.modalities: 'video'``.

    Raises:
        ClusterError: The data is no event of this kind, or no valid message of ``mer.v1`` can be made of it.
    """
    try:
        decoder = _DECODERS[kind]
        try:
            envelope: Envelope[StreamEvent] = decoder.decode(data)
            check_event(envelope.event)
        except (msgspec.ValidationError, ServeError):
            raw = msgspec.json.decode(data)
            replaced = list(_replace_unknown(kind, raw.get("event") if isinstance(raw, dict) else None))
            if not replaced:
                raise
            envelope = msgspec.convert(raw, decoder.type)
            check_event(envelope.event)
            if on_unknown is not None:
                for what in replaced:
                    on_unknown(what)
    except (KeyError, ValueError, RecursionError, ServeError) as exc:
        raise ClusterError(f"NATS delivered an invalid event of the kind {kind[:40]!r}: {str(exc)[:200]}") from None
    return envelope


def unseal_frame_end(data: bytes) -> FrameEnd | None:
    """Read the end of a frame whose other fields this version cannot read; None if even that is invalid."""
    try:
        return _frame_end_decoder.decode(data).event
    except (msgspec.MsgspecError, RecursionError):
        return None


def _replace_unknown(kind: str, event: Any) -> Iterator[str]:
    """Replace the values of a decoded event that this version does not know; yield what was replaced."""
    for path, (known, replacement) in _LENIENT.get(kind, {}).items():
        *outer, name = path.split(".")
        parent = event
        for key in outer:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):
            continue
        value = parent.get(name)
        unknown = []
        if isinstance(value, list | dict):
            unknown = [word for word in value if isinstance(word, str) and word not in known]
            kept = [word for word in value if word not in unknown]
            parent[name] = {word: value[word] for word in kept} if isinstance(value, dict) else kept
        elif isinstance(value, str) and value not in known:
            unknown, parent[name] = [value], replacement
        yield from (f"{path}: {word[:40]!r}" for word in unknown)
