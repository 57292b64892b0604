"""The list of channels, as people change it and look at it."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.names import check_name, subject_of, token_of
from stream_mer.cluster.records import CHANNELS, CLAIMS, HOLDS, Channel, decode, encode
from stream_mer.cluster.roster import Roster
from stream_mer.cluster.store import LATEST, LINES, ConflictError
from stream_mer.cluster.tables import read_tables
from stream_mer.errors import SettingError
from stream_mer.utils.redaction import redact

MINE_ALONE = {
    "-": "standard input is one process's own",
    "remote": "audio that clients send reaches the node that they are connected to",
}
"""Sources that no worker can have, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """A channel and who has it.

    Attributes:
        name: Its name.
        source: What it listens to, without what is secret in it.
        worker: Name of the worker that has it; None for nobody.
        state: ``waiting``: nobody has it yet. ``lost``: its worker is gone, and nobody else has it yet. Else as in
            ``Claim``.
        epoch: Grows with every owner; None before the first.
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
    """A worker and how loaded it is.

    Attributes:
        name: Its name.
        host: Its machine.
        pid: Its process.
        channels: How many it has.
        capacity: How many it takes.
        cpu: Processor time that it takes, cores.
        late: Windows that came too late for the model, in the channels that it has.
        draining: Whether it gives its channels back.
    """

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
    """All channels by name, and all workers by name."""

    channels: tuple[ChannelRow, ...]
    workers: tuple[WorkerRow, ...]

    def as_json(self) -> dict[str, list[dict[str, object]]]:
        """Return it as plain values."""
        return {
            "channels": [asdict(row) for row in self.channels],
            "workers": [asdict(row) for row in self.workers],
        }


async def add_channel(bus: Bus, name: str, source: str, *, loop: bool) -> bool:
    """Add a channel, or have one listen to something else; return whether it is new.

    Raises:
        SettingError: The name is none, or no worker could have the source.
        ClusterError: NATS cannot be reached, or refuses.
    """
    token = token_of(check_name(name))
    if source in MINE_ALONE:
        raise SettingError(f"a channel cannot listen to {source!r}: {MINE_ALONE[source]}")
    if not source.strip():
        raise SettingError("the source is empty; give one such as demo, an address or a file that all workers see")
    try:
        for stream in (LATEST, LINES):  # of a channel of this name that was removed
            await _forget_if_unknown(bus, token, stream, name)
        await bus.store.create(CHANNELS, token, encode(Channel(id=secrets.token_hex(4), source=source, loop=loop)))
    except ConflictError:
        kept = (await bus.store.snapshot(CHANNELS))[token]
        changed = Channel(id=decode(kept.value, Channel).id, source=source, loop=loop)
        await bus.store.replace(CHANNELS, token, encode(changed), kept.revision)
        return False
    return True


async def _forget_if_unknown(bus: Bus, token: str, stream: str, name: str) -> None:
    if token not in await bus.store.snapshot(CHANNELS):
        await bus.store.forget(stream, subject_of(name, "*"))


async def remove_channel(bus: Bus, name: str) -> None:
    """Remove a channel; whoever has it stops.

    Raises:
        SettingError: There is none of this name.
        ClusterError: NATS cannot be reached, or refuses.
    """
    roster = Roster()
    await read_tables(bus, roster)
    token = token_of(name)
    if token not in roster.channels.rows:
        there = ", ".join(roster.names().values())[:200] or "none"
        raise SettingError(f"there is no channel {name[:80]!r}; there is {there}")
    await bus.store.remove(CHANNELS, token)
    await bus.store.remove(HOLDS, token)
    if roster.owner(token) is None:  # else its worker does, once it has said that this is the end
        await bus.store.remove(CLAIMS, token)


async def list_channels(bus: Bus) -> Listing:
    """Return who has which channel, and how loaded the workers are.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    roster = Roster()
    await read_tables(bus, roster)
    load = roster.load()
    workers = [
        WorkerRow(
            name=kept.record.name,
            host=kept.record.host,
            pid=kept.record.pid,
            channels=load[session],
            capacity=kept.record.capacity,
            cpu=kept.record.cpu,
            late=kept.record.late,
            draining=kept.record.draining,
        )
        for session, kept in roster.workers.rows.items()
    ]
    channels = [_channel_row(roster, token, name) for token, name in roster.names().items()]
    return Listing(
        channels=tuple(sorted(channels, key=lambda row: row.name)),
        workers=tuple(sorted(workers, key=lambda row: (row.name, row.pid))),
    )


def _channel_row(roster: Roster, token: str, name: str) -> ChannelRow:
    claim, source = roster.claims.rows.get(token), redact(roster.channels.rows[token].record.source)
    if claim is None or claim.record.state == "free":
        epoch = None if claim is None else claim.revision
        return ChannelRow(name=name, source=source, worker=None, state="waiting", epoch=epoch)
    lost = roster.is_orphaned(token)
    ended = roster.has_ended(token)
    return ChannelRow(
        name=name,
        source=source,
        worker=None if lost or ended else claim.record.worker,
        state="lost" if lost else claim.record.state if ended or claim.record.state != "ended" else "waiting",
        epoch=claim.revision,
        reason=redact(claim.record.reason),  # a worker of an older version may have told all
    )
