"""The newest values of one stream, as OSC and lamps use them. No I/O."""

from __future__ import annotations

import threading
from bisect import bisect
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
    Spread,
    StreamEvent,
    StreamStatus,
)

STALE_AFTER_S = 2.5
"""Values are stale after this time without a frame (the network data loss timeout of sACN), seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowValues:
    """The values of a stream at one moment.

    Attributes:
        valence: -1..1; over the whole range of the raters, see ``spread_point``.
        arousal: Likewise.
        confidence: Probability of the category, or of the likeliest one where that is ``unknown``; 0..1.
        probs: Probability of each category, 0..1.
        clusters: Probability of each MIREX cluster, 0..1.
        category: A category or ``UNKNOWN``.
        live_category: That of the stream while a test pattern shows another one; else None.
        rms_db: Level of the input, dBFS; -120 where it is not measured.
        peak_db: Largest sample since the last call of ``ShowState.values``, dBFS.
        onset: Strongest onset since then, 0..1.
        line: Newest revision of the newest sung line.
        t: Audio time of the frame, seconds.
        hold: The operator's override in force; None for live values.
        alive: False while audio or model are gone and the values are stale.
        changes: Counts category changes: a cue fires when it grows.
        change: The newest one; None before the first.
    """

    valence: float = 0.0
    arousal: float = 0.0
    confidence: float = 0.0
    probs: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0.0))
    clusters: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CLUSTERS, 0.0))
    category: str = UNKNOWN
    live_category: str | None = None
    rms_db: float = -120.0
    peak_db: float = -120.0
    onset: float = 0.0
    line: str = ""
    t: float = 0.0
    hold: HoldKind | None = None
    alive: bool = False
    changes: int = 0
    change: CategoryChange | None = None

    @property
    def cue_category(self) -> str:
        """The category by which cues fire: a test pattern has none."""
        return self.category if self.live_category is None else self.live_category


class ShowState:
    """Follows one stream by its events and returns its newest values on request.

    Args:
        stream: Name of the stream; None for the first one that publishes.
        clock: Seconds, monotonic.
        spread: Map valence and arousal to the raters' range, as ``spread_point`` does.
    """

    def __init__(self, stream: str | None, *, clock: Callable[[], float], spread: bool = True) -> None:
        self._stream = stream
        self._clock = clock
        self._wants_spread = spread
        self._lock = threading.Lock()
        self._values = ShowValues()
        self._frame_at: float | None = None
        self._source: SourceState = "live"
        self._spread: Spread | None = None

    @property
    def stream(self) -> str | None:
        """The stream that is followed; None before the first one has published."""
        return self._stream

    def set_spread(self, spread: bool) -> None:  # noqa: FBT001 - its only argument
        """Map the frames from now on to the raters' range, or leave them as they are."""
        self._wants_spread = spread

    def on_event(self, stream: str, event: StreamEvent) -> None:
        """Take an event; those of other streams are ignored. From any thread."""
        with self._lock:
            if self._stream is None:
                self._stream = stream
            if stream == self._stream:
                self._take(event)

    def values(self) -> ShowValues:
        """Return the newest values; ``peak_db`` and ``onset`` start again with every call."""
        with self._lock:
            frame_at = self._frame_at
            fresh = frame_at is not None and self._clock() - frame_at <= STALE_AFTER_S
            values = replace(self._values, alive=fresh and self._source in {"live", "silent"})
            self._values = replace(self._values, peak_db=self._values.rms_db, onset=0.0)
            return values

    def _take(self, event: StreamEvent) -> None:
        match event:
            case EmotionFrame():
                self._frame_at = self._clock()
                valence, arousal = spread_point(event, self._spread if self._wants_spread else None)
                self._values = replace(
                    self._values,
                    valence=valence,
                    arousal=arousal,
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
                self._values = replace(self._values, changes=self._values.changes + 1, change=event)
            case StreamStatus():
                self._source = event.source
                self._spread = event.spread or self._spread


TEST_POINTS = (("happy", 0.8, 0.8), ("angry", -0.8, 0.8), ("sad", -0.8, -0.8), ("relaxed", 0.8, -0.8))
"""What a test pattern shows, one after the other: a category, with valence and arousal in its quadrant."""

TEST_STEP_S = 0.5
TEST_S = len(TEST_POINTS) * TEST_STEP_S
"""Duration of a test pattern, seconds."""


def pattern_values(elapsed_s: float, live: ShowValues) -> ShowValues:
    """Return the values of a test pattern: round the four quadrants, with an onset at each. No cue is fired.

    Args:
        elapsed_s: Seconds since it began, 0..``TEST_S``.
        live: The values of the stream; what an operator holds stays held.
    """
    step, into_s = divmod(elapsed_s, TEST_STEP_S)
    category, valence, arousal = TEST_POINTS[min(int(step), len(TEST_POINTS) - 1)]
    fades = 1.0 - into_s / TEST_STEP_S
    return replace(
        live,
        valence=valence,
        arousal=arousal,
        confidence=1.0,
        probs={name: float(name == category) for name in CATEGORIES},
        category=category,
        live_category=live.category,
        rms_db=-6.0 - 12.0 * (1.0 - fades),
        peak_db=-3.0 - 12.0 * (1.0 - fades),
        onset=fades,
        line=f"test: {category}",
        alive=True,
    )


def spread_point(frame: EmotionFrame, spread: Spread | None) -> tuple[float, float]:
    """Return the published valence and arousal of a frame, mapped to the range that raters use.

    The published value is the best estimate of the model, and so varies less than the ratings. The map is monotone:
    calmer music stays calmer. Values that an operator set are returned unchanged.

    Args:
        frame: The frame.
        spread: The maps of the model, linear between their knots; None for no mapping.

    Returns:
        Valence and arousal, -1..1 each.
    """
    if spread is None or frame.hold == "override":
        return frame.valence, frame.arousal
    return _mapped(frame.valence, spread.valence), _mapped(frame.arousal, spread.arousal)


def _mapped(value: float, knots: tuple[tuple[float, float], ...]) -> float:
    if not knots:
        return value
    above = bisect([published for published, _ in knots], value)
    (x0, y0), (x1, y1) = knots[max(0, above - 1)], knots[min(above, len(knots) - 1)]
    mapped = y0 if x0 == x1 else y0 + (y1 - y0) / (x1 - x0) * (value - x0)
    return min(1.0, max(-1.0, mapped))
