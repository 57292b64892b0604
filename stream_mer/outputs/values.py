"""The newest values of one stream as plain numbers: what OSC sends and what light is made of. No I/O."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from stream_mer.types import (
    CATEGORIES,
    CLUSTERS,
    UNKNOWN,
    CategoryChange,
    EmotionFrame,
    HoldKind,
    InputLevels,
    LyricLine,
    SourceState,
    StreamEvent,
    StreamStatus,
)

STALE_AFTER_S = 2.5
"""Without a frame for so long, the values are no longer those of the music (as sACN's loss of data)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowValues:
    """One moment of a stream.

    Attributes:
        valence: -1..1.
        arousal: -1..1.
        confidence: Probability of the category, or of the likeliest one where that is ``unknown``; 0..1.
        probs: Of each category, 0..1.
        clusters: Of each MIREX cluster, 0..1.
        category: A category or ``UNKNOWN``.
        rms_db: Level of the input, dBFS; the floor of -120 where nobody measures.
        peak_db: Largest sample since the values were last taken, dBFS.
        onset: Strongest onset since the values were last taken, 0..1.
        line: The newest sung line, as it stands.
        t: Audio time of the frame, seconds.
        hold: What an operator put in place of the values.
        alive: False while audio or model are gone: the values are old.
        changes: How many times the category has changed: a cue fires when this grows.
    """

    valence: float = 0.0
    arousal: float = 0.0
    confidence: float = 0.0
    probs: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0.0))
    clusters: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CLUSTERS, 0.0))
    category: str = UNKNOWN
    rms_db: float = -120.0
    peak_db: float = -120.0
    onset: float = 0.0
    line: str = ""
    t: float = 0.0
    hold: HoldKind | None = None
    alive: bool = False
    changes: int = 0


class ShowState:
    """Follows one stream; gets its events by ``on_event`` and is asked for its values by whoever drives a show.

    Args:
        stream: Its name; None for the first one that is heard.
        clock: Seconds, monotonic.
    """

    def __init__(self, stream: str | None, *, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._values = ShowValues()
        self._heard_at: float | None = None
        self._source: SourceState = "live"

    def on_event(self, stream: str, event: StreamEvent) -> None:
        """Take note of an event; those of other streams change nothing. From any thread."""
        with self._lock:
            if self._stream is None:
                self._stream = stream
            if stream == self._stream:
                self._take(event)

    def values(self) -> ShowValues:
        """Return the newest values; peaks begin anew with every call."""
        with self._lock:
            heard_at = self._heard_at
            fresh = heard_at is not None and self._clock() - heard_at <= STALE_AFTER_S
            values = replace(self._values, alive=fresh and self._source in {"live", "silent"})
            self._values = replace(self._values, peak_db=self._values.rms_db, onset=0.0)
            return values

    def _take(self, event: StreamEvent) -> None:
        match event:
            case EmotionFrame():
                self._heard_at = self._clock()
                self._values = replace(
                    self._values,
                    valence=event.valence,
                    arousal=event.arousal,
                    confidence=event.confidence,
                    probs=dict(event.probs),
                    clusters=dict(event.raw.clusters),
                    category=event.category,
                    t=event.t1,
                    hold=event.hold,
                )
            case InputLevels():
                self._values = replace(
                    self._values,
                    rms_db=event.rms_db,
                    peak_db=max(self._values.peak_db, event.peak_db),
                    onset=max(self._values.onset, event.onset),
                )
            case LyricLine():
                self._values = replace(self._values, line=event.text)
            case CategoryChange():
                self._values = replace(self._values, changes=self._values.changes + 1)
            case StreamStatus():
                self._source = event.source
