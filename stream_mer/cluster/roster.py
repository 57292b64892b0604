"""What is known of a cluster: its channels, who has them, who works. Pure; ``bus`` keeps it up to date."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec import Struct

from stream_mer.cluster.names import is_name, name_of
from stream_mer.cluster.records import CHANNELS, CLAIMS, WORKERS, Channel, Claim, Worker, decode
from stream_mer.errors import ClusterError
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Generic[R]):
    """A record with its revision."""

    record: R
    revision: int


class Table(Generic[R]):
    """The records of one bucket by their keys; those that cannot be read are left out, and said.

    Attributes:
        complete: True once all were told.
    """

    def __init__(self, kind: type[R]) -> None:
        self._kind = kind
        self.rows: dict[str, Kept[R]] = {}
        self.complete = False
        self._limited = LimitedLog(log)

    def known(self, entries: Mapping[str, tuple[bytes, int]]) -> None:
        """Take all entries: value and revision by key."""
        self.rows = {}
        for key, (value, revision) in entries.items():
            self.changed(key, value, revision)
        self.complete = True

    def changed(self, key: str, value: bytes | None, revision: int = 0) -> bool:
        """Take one entry, None where it was removed; return whether it matters to who takes what."""
        before = self.rows.get(key)
        if value is None:
            self.rows.pop(key, None)
            return before is not None
        try:
            record = decode(value, self._kind)
        except ClusterError as error:
            self._limited.log(logging.ERROR, key, f"{key[:80]!r}: {error}; it is left out")
            return False
        self.rows[key] = Kept(record=record, revision=revision)
        if before is None or not isinstance(record, Worker) or not isinstance(before.record, Worker):
            return True
        # Workers renew their rows several times a second, and nearly always say the same.
        return (record.capacity, record.draining) != (before.record.capacity, before.record.draining)


class Roster:
    """The channels, the claims on them and the workers, each as it was told last.

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
        """The tables by the buckets that they are kept in."""
        return {CHANNELS: self.channels, CLAIMS: self.claims, WORKERS: self.workers}

    @property
    def complete(self) -> bool:
        """True once everything was told."""
        return all(table.complete for table in self.tables.values())

    def names(self) -> dict[str, str]:
        """Return the names of all channels by their tokens; keys that stand for no name are passed over."""
        named = ((token, name_of(token)) for token in sorted(self.channels.rows))
        return {token: name for token, name in named if name is not None and is_name(name)}

    @property
    def window(self) -> tuple[float, float] | None:
        """Context and hop of the frames, seconds, as any worker tells; None where none is there."""
        rows = (kept.record for kept in self.workers.rows.values())
        return next(((row.context_s, row.hop_s) for row in rows if row.hop_s > 0), None)

    def owner(self, token: str) -> str | None:
        """Return the session of the living worker that has a channel."""
        claim = self.claims.rows.get(token)
        if claim is None or claim.record.state not in {"running", "failed"}:
            return None
        return claim.record.session if claim.record.session in self.workers.rows else None

    def has_ended(self, token: str) -> bool:
        """Tell whether the channel, as it is now, came to its end."""
        claim, channel = self.claims.rows.get(token), self.channels.rows.get(token)
        return (
            claim is not None
            and channel is not None
            and claim.record.state == "ended"
            and claim.record.channel == channel.revision
        )

    def is_orphaned(self, token: str) -> bool:
        """Tell whether a channel's worker is gone without having given it back."""
        claim = self.claims.rows.get(token)
        return claim is not None and claim.record.state in {"running", "failed"} and self.owner(token) is None

    def load(self) -> dict[str, int]:
        """Return how many channels each living worker has, by session."""
        counts = dict.fromkeys(self.workers.rows, 0)
        for token in self.channels.rows:
            owner = self.owner(token)
            if owner is not None:
                counts[owner] += 1
        return counts
