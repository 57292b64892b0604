"""What a recogniser says of one stretch of audio, and the Protocols of the lyric room's replaceable parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_mer.types import LyricWord, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of words that the recogniser wrote in one go. All times are seconds from the first sample it was given.

    Attributes:
        words: The words with their times, in order.
        no_speech_prob: Probability that the audio held no voice at all, 0..1.
        avg_logprob: Mean log probability of the tokens, at most 0.
        compression_ratio: Length of the text over its length when deflated; high for loops.
    """

    words: tuple[LyricWord, ...]
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One pass of the recogniser over one stretch of audio.

    Attributes:
        segments: What it wrote, in order.
        language: ISO 639-1 code that it detected or was told, or empty.
        language_probability: How sure it was, 0..1; 1 where it was told.
    """

    segments: tuple[Segment, ...] = ()
    language: str = ""
    language_probability: float = 1.0


EMPTY_TRANSCRIPT = Transcript()
"""What is said of audio that holds nothing to hear."""


class Recogniser(Protocol):
    """Turns audio into timed words. Called from one thread at a time per stream; may block for seconds."""

    def load(self) -> None:
        """Get ready; idempotent.

        Raises:
            LyricsError: The weights are missing, damaged or cannot be written to the cache.
        """
        ...

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        """Recognise ``samples`` (mono, 16 kHz); ``language`` None means: find out."""
        ...


class TextEncoder(Protocol):
    """Turns a line of text into a sentence embedding."""

    def encode(self, text: str) -> NDArray[np.float32]:
        """Return a vector of unit length, shape ``[512]``."""
        ...


class Passage(NamedTuple):
    """Where a voice may be, seconds from the first sample."""

    t0: float
    t1: float


class VocalGate(Protocol):
    """Finds the passages of audio that may hold a voice; the others are kept from the recogniser."""

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Passages that may be sung or spoken, in order, none touching the next. Pure, and done in milliseconds."""
        ...
