"""What is remembered of every stream, so that nobody who comes, or comes back, begins with nothing. Bounded; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream_mer.server.outbox import Parcel

NOT_KEPT = frozenset({"levels"})
"""Kinds that are worth nothing once they are old."""

Wanted = Callable[[str, str], bool]
"""Tells whether messages of a stream and a kind are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What a returning client missed.

    Attributes:
        parcels: In the order in which they were published.
        complete: False where some is no longer known, or the client claims to have seen what was never sent.
        keys: The streams and kinds of these parcels.
    """

    parcels: tuple[Parcel, ...]
    complete: bool
    keys: frozenset[tuple[str, str]]


class History:
    """The newest messages of each stream and kind.

    Args:
        length: How many of each are kept, at least 1.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._kept: dict[tuple[str, str], deque[Parcel]] = {}

    def remember(self, parcel: Parcel) -> None:
        """Keep a message; those of kinds that are not worth it are left."""
        if parcel.kind in NOT_KEPT:
            return
        key = (parcel.stream, parcel.kind)
        if key not in self._kept:
            self._kept[key] = deque(maxlen=self._length)
        self._kept[key].append(parcel)

    def forget(self, stream: str) -> None:
        """Keep nothing of a stream."""
        for key in [key for key in self._kept if key[0] == stream]:
            del self._kept[key]

    def newest(self, wanted: Wanted) -> list[Parcel]:
        """Return the last message of each wanted stream and kind."""
        return [kept[-1] for key, kept in self._kept.items() if wanted(*key)]

    def missed(self, last_seq: Mapping[str, Mapping[str, int]], wanted: Wanted) -> Missed:
        """Return what came after these numbers, of the kinds and streams that are named there and wanted."""
        parcels: list[Parcel] = []
        complete = True
        for (stream, kind), kept in self._kept.items():
            last = last_seq.get(stream, {}).get(kind)
            if last is None or not wanted(stream, kind):
                continue
            later = [parcel for parcel in kept if parcel.message.seq > last]
            oldest, newest = kept[0].message.seq, kept[-1].message.seq
            complete = complete and oldest <= max(last, -1) + 1 <= newest + 1
            parcels.extend(later)
        parcels.sort(key=lambda parcel: parcel.number)
        return Missed(
            parcels=tuple(parcels),
            complete=complete,
            keys=frozenset((parcel.stream, parcel.kind) for parcel in parcels),
        )
