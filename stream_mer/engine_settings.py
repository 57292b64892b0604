"""What a stream is computed with. Apart from the models that do it: who only asks for settings need not load them."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_mer.config import DEFAULT_MODEL, SmoothingSettings, WindowSettings
from stream_mer.lyrics.opening import LyricsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What a stream is computed with.

    Attributes:
        model: Name or folder of the checkpoint.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        window: How the audio is cut.
        smoothing: How estimates become steady.
        min_accuracy: Where the category is expected to be right less often than this, it is ``unknown``, 0..1. Takes
            the place of the minimum confidence in ``smoothing``, by what the checkpoint knows of itself; None keeps
            that.
        lyrics: Where the words come from.
    """

    model: str = DEFAULT_MODEL
    device: str = "cpu"
    window: WindowSettings = field(default_factory=WindowSettings)
    smoothing: SmoothingSettings = field(default_factory=SmoothingSettings)
    min_accuracy: float | None = None
    lyrics: LyricsSettings = field(default_factory=LyricsSettings)
