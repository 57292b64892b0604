"""Keeps a roster up to date with what is kept in NATS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.roster import Roster, Table
from stream_mer.cluster.store import Entry
from stream_mer.cluster.tasks import run_together


async def follow_tables(bus: Bus, roster: Roster, changed: Callable[[], None]) -> None:
    """Tell a roster everything, for ever, and call ``changed`` after each change that matters to who takes what."""
    await run_together(*(_follow(bus, bucket, table, changed) for bucket, table in roster.tables.items()))


async def read_tables(bus: Bus, roster: Roster) -> None:
    """Tell a roster everything, once.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    for bucket, table in roster.tables.items():
        _know(table, await bus.store.snapshot(bucket))


async def _follow(bus: Bus, bucket: str, table: Table[Any], changed: Callable[[], None]) -> None:
    def known(entries: dict[str, Entry]) -> None:
        _know(table, entries)
        changed()

    def change(key: str, entry: Entry | None) -> None:
        matters = table.changed(key, None) if entry is None else table.changed(key, entry.value, entry.revision)
        if matters:
            changed()

    await bus.follow(bucket, known=known, changed=change)


def _know(table: Table[Any], entries: dict[str, Entry]) -> None:
    table.known({key: (entry.value, entry.revision) for key, entry in entries.items()})
