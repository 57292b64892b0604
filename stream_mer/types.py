"""The data types that packages exchange.

Every value is frozen. The sample index at 16 kHz is the only clock: a time in seconds is derived from it
(``t = sample / SAMPLE_RATE_HZ``), never measured. The one exception is ``captured_at``, a reading of the process's
monotonic clock, from which the age of a result is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:  # a client of a server needs the names of this module, and no arrays
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Rate of all audio inside stream_mer; sources resample to it."""

CATEGORIES = ("happy", "angry", "sad", "relaxed")
"""Russell's quadrants Q1 (V+ A+), Q2 (V- A+), Q3 (V- A-), Q4 (V+ A-), in this order wherever they are a vector."""

CLUSTERS = ("C1", "C2", "C3", "C4", "C5")
"""The five MIREX mood clusters (Hu & Downie 2007), in this order wherever they are a vector."""

UNKNOWN = "unknown"
"""The category of a frame without music, or whose confidence is below the threshold."""

MAX_SECONDS = 1e9
"""Largest time in any message or command, seconds (31 years): sums of times stay exact to a microsecond."""

Samples: TypeAlias = "NDArray[np.float32]"
"""Mono audio, shape ``[n]``, nominal range -1..1, at ``SAMPLE_RATE_HZ``."""

Floats: TypeAlias = "NDArray[np.float32]"
"""An array of any shape; each use says which."""

SourceState: TypeAlias = Literal["live", "silent", "stalled", "reconnecting", "ended"]
HoldKind: TypeAlias = Literal["freeze", "blackout", "override"]
ControlAction: TypeAlias = Literal["freeze", "blackout", "override", "resume"]
AudioStateName: TypeAlias = Literal["music", "speech", "noise", "silence"]
LyricsHealth: TypeAlias = Literal["ok", "lagging", "unavailable", "off"]


def seconds(samples: int) -> float:
    """Convert a sample index or length to seconds."""
    return samples / SAMPLE_RATE_HZ


def clock(t_s: float) -> str:
    """Return seconds as a player shows them: ``1:02.5``."""
    minutes, rest = divmod(round(max(0.0, t_s), 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTitle:
    """Title and artist of a song, as its sender or its file states them; empty where it states none.

    A radio station often sends both in one: ``Artist - Title``.
    """

    title: str = ""
    artist: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AudioChunk:
    """Audio as a source delivers it: of any length, in order, possibly after a gap.

    Attributes:
        start_sample: Index of the first sample on the stream's clock. Larger than the end of the chunk before it
            means that samples were lost.
        samples: Mono audio, shape ``[n]``.
        captured_at: Monotonic clock, seconds, when the last of these samples entered the process.
        source: ``live``; or ``stalled`` or ``reconnecting`` where the samples are silence in place of lost audio. A
            chunk without samples reports this state alone; ``ended`` stands on such a chunk only.
        clipped_samples: How many samples of the input, of all channels, were clipped.
        new_source: Name of the source on a chunk without samples: what follows is from another source than before.
        title: What these samples are of; None where nothing is said of it, which changes nothing.
    """

    start_sample: int
    samples: Samples
    captured_at: float = 0.0
    source: SourceState = "live"
    clipped_samples: int = 0
    new_source: str | None = None
    title: TrackTitle | None = None

    @property
    def end_sample(self) -> int:
        return self.start_sample + len(self.samples)

    @property
    def lost(self) -> bool:
        """Whether its samples stand in for audio that was lost."""
        return self.source != "live"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """The audio that one frame is computed from: up to ``context_s`` seconds, ending with the newest hop.

    Attributes:
        index: Counts hops from 0; a missing number is a window that was dropped, or that lies in a long gap.
        start_sample: Index of the first sample. Windows overlap: consecutive ones start one hop apart once the
            context is full, and at the same sample before that.
        samples: Mono audio, shape ``[n]``, read-only, gaps filled with silence.
        lost_samples: How many samples of the newest hop are such silence.
        captured_at: ``AudioChunk.captured_at`` of the chunk that completed this window.
    """

    index: int
    start_sample: int
    samples: Samples
    lost_samples: int = 0
    captured_at: float = 0.0

    @property
    def end_sample(self) -> int:
        return self.start_sample + len(self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricWord:
    """One word with its start and end in the stream, seconds."""

    t0: float
    t1: float
    text: str
    probability: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LyricLine:
    """The current version of a line of lyrics; published whenever it changes.

    Attributes:
        segment: Number of the line in the stream, from 0.
        revision: Counts the versions of this line, from 0.
        t0: Start of its first word, seconds.
        t1: End of its last word, seconds.
        text: The line; empty if it is withdrawn, which happens only before a word of it is settled.
        committed: Whether the text is final.
        language: ISO 639-1 code, or empty where unknown.
        words: Its words with their times; empty where only the line's times are known.
        settled_words: How many of ``words``, from the first, are final; all of them once committed.
        masked: The text for an audience, where words of it are masked; None where none are.
    """

    segment: int
    revision: int
    t0: float
    t1: float
    text: str
    committed: bool
    language: str = ""
    words: tuple[LyricWord, ...] = ()
    settled_words: int = 0
    masked: str | None = None

    def shifted(self, by_s: float) -> LyricLine:
        """Return the same line with all times moved by so many seconds."""
        words = tuple(replace(word, t0=word.t0 + by_s, t1=word.t1 + by_s) for word in self.words)
        return replace(self, t0=self.t0 + by_s, t1=self.t1 + by_s, words=words)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedLine:
    """A committed line as input of the text branch.

    Attributes:
        t1: End of its last word, seconds.
        vector: Sentence embedding and features of style, shape ``[lyrics.text_features.LINE_FEATURES]``.
        reliability: Mean word probability, 0..1; 1 for known lyrics.
        n_words: Number of words.
    """

    t1: float
    vector: NDArray[np.float32]
    reliability: float
    n_words: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LyricState:
    """The lyrics known at one moment. Each window takes the newest state and never waits for it.

    Attributes:
        lines: The newest committed lines of the song, oldest first, bounded.
        health: State of the recogniser.
        degraded: Codes that say why text is missing or late, for the frame's ``degraded``; empty if it is neither.
        lag_s: How far the recogniser is behind the audio, seconds.
    """

    lines: tuple[EncodedLine, ...] = ()
    health: LyricsHealth = "off"
    degraded: tuple[str, ...] = ()
    lag_s: float = 0.0


NO_LYRICS = LyricState()
"""The state of a stream without lyrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A prediction interval; holds the true value with probability ``level`` on data like the training corpus."""

    valence: tuple[float, float]
    arousal: tuple[float, float]
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioState:
    """Classification of the newest audio.

    Attributes:
        state: Only ``music`` has an emotion.
        prob: Probability of that state, 0..1.
    """

    state: AudioStateName
    prob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionEstimate:
    """The output of the joint model for one window, before smoothing.

    Attributes:
        valence: -1..1.
        arousal: -1..1.
        interval: Prediction intervals around both.
        categories: Probability of each of ``CATEGORIES``; sums to 1.
        clusters: Probability of each of ``CLUSTERS``; sums to 1.
        modalities: What the estimate depends on: ``("audio",)``, ``("audio", "text")``, or ``("text",)`` for lyrics
            without audio.
        text_age_s: Age of the newest line used, seconds; None without text.
        degraded: Codes of what makes this estimate less accurate.
        audio_state: Classification of the newest audio; None for lyrics without audio.
        features_ms: Time spent on features and the audio backbone.
        model_ms: Time spent on the joint model.
    """

    valence: float
    arousal: float
    interval: Interval
    categories: Mapping[str, float]
    clusters: Mapping[str, float]
    modalities: tuple[str, ...] = ("audio",)
    text_age_s: float | None = None
    degraded: tuple[str, ...] = ()
    audio_state: AudioState | None = None
    features_ms: float = 0.0
    model_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of one frame by stage, milliseconds; ``total`` is from capture to publication."""

    capture: float = 0.0
    queue: float = 0.0
    features: float = 0.0
    model: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionFrame:
    """The published result of one window.

    Attributes:
        index: ``Window.index``; a gap shows dropped windows.
        t0: Start of its audio, seconds.
        t1: End of its audio, seconds; the frame is causal.
        valence: Smoothed, -1..1.
        arousal: Smoothed, -1..1.
        raw: The estimate before smoothing.
        category: One of ``CATEGORIES``, after hysteresis and dwell; ``UNKNOWN`` without music or below the confidence
            threshold.
        confidence: Smoothed probability of that category, or of the likeliest one where it is ``UNKNOWN``; 0..1.
        probs: Smoothed probability of each category.
        hold: The operator's override in force; None while values are live.
        hold_left_s: Seconds until it ends; None if it has no end.
        latency: By stage.
        dropped: Windows dropped so far.
    """

    index: int
    t0: float
    t1: float
    valence: float
    arousal: float
    raw: EmotionEstimate
    category: str
    confidence: float
    probs: Mapping[str, float]
    hold: HoldKind | None = None
    hold_left_s: float | None = None
    latency: Latency = field(default_factory=Latency)
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryChange:
    """A change of the category at ``t`` seconds, ``dwell_s`` seconds after ``before`` had begun; debounced, for cues.

    Both are of ``CATEGORIES``: ``UNKNOWN`` passages between them, such as silence, are no change.
    """

    t: float
    before: str
    after: str
    dwell_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Monotone maps from published values to the range that raters use, for outputs that want the whole range.

    Attributes:
        valence: Knots, pairs of published value and mapped value, both rising, -1..1; empty for identity.
        arousal: Likewise.
    """

    valence: tuple[tuple[float, float], ...] = ()
    arousal: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """State of one stream; published when it changes. A change of level alone is not published.

    Attributes:
        source: State of the input.
        device: The source's name.
        lyrics: State of the recogniser.
        lag_s: How far the recogniser is behind the audio, seconds.
        lost_samples: Audio lost since the stream began, samples at 16 kHz.
        clipping: Whether the input clipped in the last seconds.
        peak_db: Largest sample of the last seconds, dBFS; None before any audio.
        rms_db: Root mean square of the last seconds, likewise.
        title: Title of what plays; None where it is unknown.
        artist: Its artist, where that is stated apart from the title; else None.
        spread: Maps of the model for outputs; None leaves them unchanged. Not part of the messages of ``mer.v1``.
    """

    source: SourceState
    device: str
    lyrics: LyricsHealth
    lag_s: float = 0.0
    lost_samples: int = 0
    clipping: bool = False
    peak_db: float | None = None
    rms_db: float | None = None
    title: str | None = None
    artist: str | None = None
    spread: Spread | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLevels:
    """Level of the input over one short interval.

    Attributes:
        t: End of the interval, seconds.
        rms_db: Root mean square, dBFS.
        peak_db: Largest sample, dBFS.
        onset: Onset strength, 0..1, relative to the strongest onset of the last seconds.
    """

    t: float
    rms_db: float
    peak_db: float
    onset: float


StreamEvent: TypeAlias = EmotionFrame | LyricLine | CategoryChange | StreamStatus | InputLevels
"""Everything that a pipeline publishes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideValues:
    """Values that an operator sets in place of the computed ones.

    Attributes:
        valence: -1..1.
        arousal: -1..1.
        ttl_s: Seconds until the stream is live again, above 0; None until ``resume``.
    """

    valence: float
    arousal: float
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCommand:
    """An operator's command.

    Attributes:
        action: ``freeze`` keeps the current values, ``blackout`` also makes outputs go dark, ``override`` sets values,
            ``resume`` goes back to live values.
        streams: Names of streams; empty for all.
        override: The values, for the action ``override`` alone.
    """

    action: ControlAction
    streams: tuple[str, ...] = ()
    override: OverrideValues | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStatistics:
    """State and counts of one output.

    Attributes:
        name: Its name.
        stream: The stream that it follows; empty for the first one that publishes.
        up: Whether the newest packets could be sent.
        sent: Packets sent so far.
        errors: How often it had to be opened again.
        skipped: Calls left out because the one before took too long.
        last_error: Why it had to be opened again the last time; empty if it never had.
        testing: Whether a test pattern is sent in place of the values.
    """

    name: str
    stream: str = ""
    up: bool = False
    sent: int = 0
    errors: int = 0
    skipped: int = 0
    last_error: str = ""
    testing: bool = False
