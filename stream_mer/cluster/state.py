"""The state of a cluster: its channels, their owners, the plan of claims, and the list that people see and edit."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from msgspec import Struct

from stream_mer.cluster.bus import LATEST, LINES, Bus, ConflictError, run_together
from stream_mer.cluster.records import (
    CHANNELS,
    CLAIMS,
    OVERRIDES,
    WORKERS,
    Channel,
    Claim,
    Entry,
    Worker,
    check_name,
    decode,
    encode,
    event_subject,
    is_name,
    name_of,
    token_of,
)
from stream_mer.errors import ClusterError, SettingError
from stream_mer.utils.log_limit import LimitedLog
from stream_mer.utils.sanitise import redact

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Struct)

LOCAL_SOURCES = {
    "-": "standard input belongs to one process",
    "remote": "audio that clients send reaches only the node that they are connected to",
}
"""Sources that a worker cannot open, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[R]):
    """A record with its revision."""

    record: R
    revision: int


class Table(Generic[R]):
    """The records of one bucket by their keys. Invalid ones are left out and logged.

    Attributes:
        complete: True once a snapshot was received.
    """

    def __init__(self, kind: type[R]) -> None:
        self._kind = kind
        self.rows: dict[str, Row[R]] = {}
        self.complete = False
        self._limited = LimitedLog(log)

    def on_snapshot(self, entries: Mapping[str, Entry]) -> None:
        """Replace all rows."""
        self.rows = {}
        for key, entry in entries.items():
            self.on_change(key, entry)
        self.complete = True

    def on_change(self, key: str, entry: Entry | None) -> bool:
        """Replace one row, or remove it (None); return whether that can change who claims which channel."""
        before = self.rows.get(key)
        if entry is None:
            self.rows.pop(key, None)
            return before is not None
        try:
            record = decode(entry.value, self._kind)
        except ClusterError as error:
            self._limited.log(logging.ERROR, key, f"{key[:80]!r}: {error}; ignoring it")
            return False
        self.rows[key] = Row(record=record, revision=entry.revision)
        if before is None or not isinstance(record, Worker) or not isinstance(before.record, Worker):
            return True
        # Workers renew their rows several times a second, nearly always without a change that matters.
        return (record.capacity, record.draining) != (before.record.capacity, before.record.draining)


class ClusterState:
    """Channels, claims and workers as last reported by NATS.

    Attributes:
        channels: By the tokens of their names.
        claims: Likewise.
        workers: By their sessions.
    """

    def __init__(self) -> None:
        self.channels: Table[Channel] = Table(Channel)
        self.claims: Table[Claim] = Table(Claim)
        self.workers: Table[Worker] = Table(Worker)

    @property
    def tables(self) -> dict[str, Table[Any]]:
        """The tables by their buckets."""
        return {CHANNELS: self.channels, CLAIMS: self.claims, WORKERS: self.workers}

    @property
    def complete(self) -> bool:
        """True once all tables are complete."""
        return all(table.complete for table in self.tables.values())

    async def follow(self, bus: Bus, changed: Callable[[], None]) -> None:
        """Keep this up to date, forever; call ``changed`` after each change that can affect who claims what."""

        async def follow_table(bucket: str, table: Table[Any]) -> None:
            def on_snapshot(entries: dict[str, Entry]) -> None:
                table.on_snapshot(entries)
                changed()

            def on_change(key: str, entry: Entry | None) -> None:
                if table.on_change(key, entry):
                    changed()

            await bus.follow(bucket, on_snapshot=on_snapshot, on_change=on_change)

        await run_together(*(follow_table(bucket, table) for bucket, table in self.tables.items()))

    async def read(self, bus: Bus) -> None:
        """Read everything once.

        Raises:
            ClusterError: NATS cannot be reached, or refuses.
        """
        for bucket, table in self.tables.items():
            table.on_snapshot(await bus.snapshot(bucket))

    def names(self) -> dict[str, str]:
        """Return the names of all channels by their tokens; keys that encode no valid name are skipped."""
        named = ((token, name_of(token)) for token in sorted(self.channels.rows))
        return {token: name for token, name in named if name is not None and is_name(name)}

    @property
    def window(self) -> tuple[float, float] | None:
        """Context and hop of the frames, seconds, according to any worker; None without workers."""
        workers = (row.record for row in self.workers.rows.values())
        return next(((worker.context_s, worker.hop_s) for worker in workers if worker.hop_s > 0), None)

    def owner(self, token: str) -> str | None:
        """Return the session of the live worker that owns a channel."""
        claim = self.claims.rows.get(token)
        if claim is None or not claim.record.is_held:
            return None
        return claim.record.session if claim.record.session in self.workers.rows else None

    def has_ended(self, token: str) -> bool:
        """Return whether a channel's current source has ended."""
        claim, channel = self.claims.rows.get(token), self.channels.rows.get(token)
        if claim is None or channel is None:
            return False
        return claim.record.state == "ended" and claim.record.channel == channel.revision

    def is_orphaned(self, token: str) -> bool:
        """Return whether a channel's worker is gone without having given it back."""
        claim = self.claims.rows.get(token)
        return claim is not None and claim.record.is_held and self.owner(token) is None

    def load(self) -> dict[str, int]:
        """Return the number of channels of each live worker, by session."""
        counts = dict.fromkeys(self.workers.rows, 0)
        for token in self.channels.rows:
            owner = self.owner(token)
            if owner is not None:
                counts[owner] += 1
        return counts


# The plan of claims. Every worker computes it for itself. If two of them see different states, both may claim the same
# channel: NATS lets only one of them change its claim.


def channels_to_claim(state: ClusterState, me: str, *, takeover: bool, overdue: Collection[str] = ()) -> list[str]:
    """Return the tokens of the channels that a worker should claim now.

    Each channel without an owner goes to the worker with the fewest channels among those that have room.

    Args:
        state: What is known.
        me: The worker's session.
        takeover: False leaves alone channels whose worker was lost only just now.
        overdue: Channels that were not claimed by the worker that should have: any worker with room claims them.
    """
    workers = state.workers.rows
    load = {
        session: count
        for session, count in state.load().items()
        if not workers[session].record.draining and workers[session].record.capacity > 0
    }
    if me not in load:
        return []
    mine = []
    for token in state.names():
        if state.owner(token) is not None or state.has_ended(token):
            continue
        if not takeover and state.is_orphaned(token):
            continue
        with_room = [session for session, count in load.items() if count < workers[session].record.capacity]
        if not with_room:
            break
        claimant = min(with_room, key=lambda session: (load[session], session))
        if token in overdue and me in with_room:
            claimant = me
        load[claimant] += 1
        if claimant == me:
            mine.append(token)
    return mine


def channels_to_release(state: ClusterState, me: str) -> list[str]:
    """Return the tokens of the channels that a worker should release, so that one with fewer channels claims them.

    Only the worker with the most channels releases any, and only while another one with room has at least two fewer. It
    releases a quarter of the difference at a time, those that it claimed last first.
    """
    workers = state.workers.rows
    load = state.load()
    with_room = [
        count
        for session, count in load.items()
        if session != me and not workers[session].record.draining and count < workers[session].record.capacity
    ]
    if me not in load or not with_room or load[me] - min(with_room) < 2:
        return []
    if max(load, key=lambda session: (load[session], session)) != me:
        return []
    mine = [token for token in state.channels.rows if state.owner(token) == me]
    mine.sort(key=lambda token: state.claims.rows[token].revision)
    return mine[-max(1, (load[me] - min(with_room)) // 4) :]


# The list of channels, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """A channel and its owner.

    Attributes:
        name: Its name.
        source: Its source, redacted.
        worker: Name of its owner; None without one.
        state: ``waiting``: not claimed yet. ``lost``: its worker is gone, and no other has claimed it yet. Otherwise
            that of the claim.
        epoch: Increases with every owner; None before the first.
        reason: Why it failed.
    """

    name: str
    source: str
    worker: str | None
    state: str
    epoch: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker and its load; the fields are those of ``records.Worker``, and ``channels`` is how many it has."""

    name: str
    host: str
    pid: int
    channels: int
    capacity: int
    cpu: float
    late: int
    draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All channels and all workers, each sorted by name; ``stream-mer channels --json`` prints these fields."""

    channels: tuple[ChannelRow, ...]
    workers: tuple[WorkerRow, ...]


async def list_channels(bus: Bus) -> Listing:
    """Return which worker has which channel, and the load of the workers.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    state = ClusterState()
    await state.read(bus)
    load = state.load()
    channels = [_channel_row(state, token, name) for token, name in state.names().items()]
    own = [field.name for field in fields(WorkerRow) if field.name != "channels"]
    workers = [
        WorkerRow(channels=load[session], **{name: getattr(row.record, name) for name in own})
        for session, row in state.workers.rows.items()
    ]
    return Listing(
        channels=tuple(sorted(channels, key=lambda row: row.name)),
        workers=tuple(sorted(workers, key=lambda row: (row.name, row.pid))),
    )


def _channel_row(state: ClusterState, token: str, name: str) -> ChannelRow:
    claim, source = state.claims.rows.get(token), redact(state.channels.rows[token].record.source)
    if claim is None or claim.record.state == "free":
        epoch = None if claim is None else claim.revision
        return ChannelRow(name=name, source=source, worker=None, state="waiting", epoch=epoch)
    shown = claim.record.state
    if state.is_orphaned(token):
        shown = "lost"
    elif shown == "ended" and not state.has_ended(token):
        shown = "waiting"
    return ChannelRow(
        name=name,
        source=source,
        worker=None if shown in {"lost", "ended"} else claim.record.worker,
        state=shown,
        epoch=claim.revision,
        reason=redact(claim.record.reason),  # a worker of an older version may not have redacted it
    )


async def add_channel(bus: Bus, name: str, source: str, *, loop: bool) -> bool:
    """Add a channel, or change the source of an existing one; return whether it is new.

    Raises:
        SettingError: The name is invalid, or no worker can open the source.
        ClusterError: NATS cannot be reached, or refuses.
    """
    token = token_of(check_name(name))
    if source in LOCAL_SOURCES:
        raise SettingError(f"a channel cannot listen to {source!r}: {LOCAL_SOURCES[source]}")
    if not source.strip():
        raise SettingError("the source is empty; give one such as demo, an address or a file that all workers can read")
    try:
        for stream in (LATEST, LINES):  # of a channel of this name that was removed
            if token not in await bus.snapshot(CHANNELS):
                await bus.purge(stream, event_subject(name, "*"))
        await bus.create(CHANNELS, token, encode(Channel(id=secrets.token_hex(4), source=source, loop=loop)))
    except ConflictError:
        entry = (await bus.snapshot(CHANNELS))[token]
        changed = Channel(id=decode(entry.value, Channel).id, source=source, loop=loop)
        await bus.replace(CHANNELS, token, encode(changed), entry.revision)
        return False
    return True


async def remove_channel(bus: Bus, name: str) -> None:
    """Remove a channel; its worker stops computing it.

    Raises:
        SettingError: There is no channel of this name.
        ClusterError: NATS cannot be reached, or refuses.
    """
    state = ClusterState()
    await state.read(bus)
    token = token_of(name)
    if token not in state.channels.rows:
        existing = ", ".join(state.names().values())[:200] or "none"
        raise SettingError(f"there is no channel {name[:80]!r}; there is {existing}")
    await bus.remove(CHANNELS, token)
    await bus.remove(OVERRIDES, token)
    if state.owner(token) is None:  # otherwise its worker does, after it has published the end
        await bus.remove(CLAIMS, token)
