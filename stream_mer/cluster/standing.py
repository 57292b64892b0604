"""Where a channel stands, as NATS remembers it: so that whoever takes it goes on from there."""

from __future__ import annotations

import asyncio

from stream_mer.cluster.continuation import Continuation, continue_after
from stream_mer.cluster.envelope import unseal
from stream_mer.cluster.names import subject_of
from stream_mer.cluster.store import LATEST, LINES, Store
from stream_mer.types import EmotionFrame, LyricLine, StreamStatus


async def where_it_stands(store: Store, channel: str, *, now: float, hop_samples: int) -> Continuation:
    """Return where a channel goes on.

    Args:
        store: What NATS keeps.
        channel: The channel's name.
        now: The time by the clock of NATS, seconds.
        hop_samples: Windows end at its multiples.

    Raises:
        ClusterError: NATS cannot be reached, refuses, or keeps what nobody can read.
    """
    kinds = {"emotion": LATEST, "status": LATEST, "lyrics": LINES}
    found = await asyncio.gather(*(store.last(stream, subject_of(channel, kind)) for kind, stream in kinds.items()))
    entries = dict(zip(kinds, found, strict=True))
    events = {kind: unseal(kind, entry.value).event for kind, entry in entries.items() if entry is not None}
    frame, line, status = events.get("emotion"), events.get("lyrics"), events.get("status")
    published = entries["emotion"]
    return continue_after(
        frame=frame if isinstance(frame, EmotionFrame) else None,
        line=line if isinstance(line, LyricLine) else None,
        status=status if isinstance(status, StreamStatus) else None,
        elapsed_s=0.0 if published is None else now - published.stored_at,
        hop_samples=hop_samples,
    )
