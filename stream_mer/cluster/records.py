"""What is kept in NATS: the channels, who has them, who works, what operators hold. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from stream_mer.errors import ClusterError, ServeError
from stream_mer.server.codec import check_event
from stream_mer.server.messages import OverridePart
from stream_mer.types import ControlAction, EmotionFrame

CHANNELS, CLAIMS, WORKERS, HOLDS = "mer_channels", "mer_claims", "mer_workers", "mer_holds"
"""Buckets. Keys are channels, but for the workers', which are their sessions."""

ClaimState = Literal["free", "running", "failed", "ended"]

T = TypeVar("T", bound=Struct)


class Channel(Struct, kw_only=True, frozen=True):
    """What a channel listens to.

    Attributes:
        id: Random; another one for a channel that was removed and added anew, whose time begins at 0 again.
        source: As for ``stream-mer serve --source``.
        loop: Files: begin again at the end.
    """

    id: str
    source: str
    loop: bool = False


class Claim(Struct, kw_only=True, frozen=True):
    """Who has a channel. Its revision in the bucket is the channel's *epoch*: it grows with every new owner.

    Attributes:
        session: Of the worker that has it; it is nobody's as soon as that session is not among the workers.
        worker: The worker's name, for people.
        state: ``free``: given back. ``ended``: its source came to its end.
        channel: Revision of the channel that it is about; an end counts for that one alone.
        reason: Why it failed.
    """

    session: str
    worker: str
    state: ClaimState
    channel: int
    reason: str = ""


class Worker(Struct, kw_only=True, frozen=True):
    """A worker's lease: it is gone from the bucket when it was not renewed in time, by the clock of NATS.

    Attributes:
        name: For people.
        host: Its machine.
        pid: Its process.
        capacity: Channels that it takes at most.
        draining: It takes no more and gives back what it has.
        cpu: Processor time that the process takes, in cores.
        late: Windows that came too late for the model, in all its channels since it started.
        hop_s: Time between frames of its channels.
        context_s: How much audio one of them may know.
        version: Of stream_mer.
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


class HoldRecord(Struct, kw_only=True, frozen=True):
    """What an operator did to a channel, for all serving nodes to do alike.

    Attributes:
        action: As in ``control``.
        override: The values, for the action ``override``.
        shown: What the node showed that was asked: all freeze at this.
    """

    action: ControlAction
    override: OverridePart | None = None
    shown: EmotionFrame | None = None

    def __post_init__(self) -> None:
        if self.action == "override" and self.override is None:
            raise ValueError("an override has values")
        if self.shown is not None:
            check_event(self.shown)


def encode(record: Struct) -> bytes:
    """Return a record as it is kept."""
    return msgspec.json.encode(record)


def decode(data: bytes, kind: type[T]) -> T:
    """Read a record. The state of a claim may be one that only newer workers know: it counts as ``running``.

    Raises:
        ClusterError: It is none of this kind.
    """
    try:
        if kind is Claim:
            return msgspec.convert(_with_known_state(msgspec.json.decode(data)), kind)
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError, ServeError) as exc:  # the errors of msgspec are ValueErrors
        raise ClusterError(f"what NATS keeps as a {kind.__name__.lower()} is none: {str(exc)[:200]}") from None


class _HoldCommand(Struct, kw_only=True, frozen=True):
    """A hold without what was shown."""

    action: ControlAction
    override: OverridePart | None = None


def decode_hold(data: bytes) -> HoldRecord:
    """Read a hold. One whose frame this version cannot show counts without it: a blackout is dark all the same.

    Raises:
        ClusterError: It is none.
    """
    try:
        return decode(data, HoldRecord)
    except ClusterError:
        command = decode(data, _HoldCommand)
        if command.action == "override" and command.override is None:
            raise
        return HoldRecord(action=command.action, override=command.override)


def _with_known_state(claim: Any) -> Any:
    if isinstance(claim, dict) and isinstance(state := claim.get("state"), str) and state not in get_args(ClaimState):
        return claim | {"state": "running"}
    return claim
