"""Where a channel stands, as NATS remembers it: so that whoever takes it goes on from there."""

from __future__ import annotations

import asyncio
import logging

from stream_mer.cluster.continuation import Continuation, FrameEnd, continue_after
from stream_mer.cluster.envelope import frame_end, unseal
from stream_mer.cluster.names import subject_of
from stream_mer.cluster.store import LATEST, LINES, Store
from stream_mer.errors import ClusterError
from stream_mer.types import EmotionFrame, LyricLine, StreamEvent, StreamStatus

log = logging.getLogger(__name__)


async def where_it_stands(store: Store, channel: str, *, now: float, hop_samples: int) -> Continuation:
    """Return where a channel goes on.

    Args:
        store: What NATS keeps.
        channel: The channel's name.
        now: The time by the clock of NATS, seconds.
        hop_samples: Windows end at its multiples.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    kinds = {"emotion": LATEST, "status": LATEST, "lyrics": LINES}
    found = await asyncio.gather(*(store.last(stream, subject_of(channel, kind)) for kind, stream in kinds.items()))
    entries = dict(zip(kinds, found, strict=True))
    events = {kind: _event(channel, kind, entry.value) for kind, entry in entries.items() if entry is not None}
    frame, line, status = events.get("emotion"), events.get("lyrics"), events.get("status")
    published = entries["emotion"]
    return continue_after(
        frame=frame if isinstance(frame, EmotionFrame | FrameEnd) else None,
        line=line if isinstance(line, LyricLine) else None,
        status=status if isinstance(status, StreamStatus) else None,
        elapsed_s=0.0 if published is None else now - published.stored_at,
        hop_samples=hop_samples,
    )


def _event(channel: str, kind: str, data: bytes) -> StreamEvent | FrameEnd | None:
    """Read an event; what cannot be read does not keep the channel from going on."""
    try:
        return unseal(kind, data).event
    except ClusterError as error:
        end = frame_end(data) if kind == "emotion" else None
        log.warning("%s: %s; %s", channel, error, "only its time counts" if end is not None else "it is passed over")
        return end
