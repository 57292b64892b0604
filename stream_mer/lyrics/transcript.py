"""What a recogniser says of one stretch of audio, and the Protocols of the lyric room's replaceable parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_mer.lyrics.agreement import normalise
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """Where the line is drawn.

    Measured with the base model. Of 30 instrumental passages of 12 to 15 s, each heard twice (language detected, and
    told to be English), these let words through once; then agreement between passes has its say. Of 944 segments of
    song clips whose words are those of the printed lyrics, a mean log probability of -1 costs 1.1 % and a mean word
    probability of .4 none; of 684 whose words are not, they drop 14 % and 25 %, and all filters together half. The
    probability of no speech hardly tells them apart (medians .48 and .50), so it counts only beside doubtful words.

    Attributes:
        max_no_speech_prob: A segment whose audio is likelier than this to hold no voice is dropped, unless the
            recogniser is as sure of the words as ``sure_logprob``, 0..1.
        sure_logprob: Mean log probability above which ``max_no_speech_prob`` does not count.
        min_avg_logprob: A segment below this mean log probability is dropped.
        max_compression_ratio: A segment that deflates better than this is a loop, and is dropped.
        min_word_probability: A segment whose words are less probable than this in the mean is dropped, 0..1.
        min_language_probability: A pass whose language is less sure than this holds no words, 0..1.
        max_words_per_s: A segment of four words or more that runs faster than this is dropped.
        min_word_s: A word shorter than this has no room in the audio.
        max_short_words: Share of such words above which the segment is dropped, 0..1.
        max_repeats: How often in a row the same words may come; what follows is cut off.
        max_repeat_words: Longest run of words that is looked for in such loops.
    """

    max_no_speech_prob: float = 0.7
    sure_logprob: float = -0.9
    min_avg_logprob: float = -1.0
    max_compression_ratio: float = 2.4
    min_word_probability: float = 0.4
    min_language_probability: float = 0.3
    max_words_per_s: float = 9.0
    min_word_s: float = 0.02
    max_short_words: float = 0.4
    max_repeats: int = 4
    max_repeat_words: int = 6


def filter_transcript(transcript: Transcript, settings: FilterSettings) -> list[LyricWord]:
    """Return the words worth believing, in order, with their times as the recogniser gave them."""
    if transcript.language_probability < settings.min_language_probability:
        return []
    words: list[LyricWord] = []
    for segment in transcript.segments:
        if is_believable(segment, settings):
            words.extend(word for word in segment.words if word.text.strip())
    return cut_loops(words, settings)


def is_believable(segment: Segment, settings: FilterSettings) -> bool:
    """Say whether a segment has the structure of words that were really sung."""
    words = segment.words
    if not words:
        return False
    doubts_voice = segment.no_speech_prob > settings.max_no_speech_prob and segment.avg_logprob < settings.sure_logprob
    if doubts_voice or segment.avg_logprob < settings.min_avg_logprob:
        return False
    if segment.compression_ratio > settings.max_compression_ratio:
        return False
    if sum(word.probability for word in words) / len(words) < settings.min_word_probability:
        return False
    short = sum(word.t1 - word.t0 < settings.min_word_s for word in words)
    if short / len(words) > settings.max_short_words:
        return False
    spoken_s = words[-1].t1 - words[0].t0
    return len(words) < 4 or len(words) <= settings.max_words_per_s * spoken_s


def cut_loops(words: Sequence[LyricWord], settings: FilterSettings) -> list[LyricWord]:
    """Keep at most ``max_repeats`` rounds of any run of words that comes again and again without a break."""
    kept: list[LyricWord] = []
    keys: list[str] = []
    for word in words:
        kept.append(word)
        keys.append(normalise(word.text))
        for size in range(1, settings.max_repeat_words + 1):
            span = size * (settings.max_repeats + 1)
            if len(keys) >= span and keys[-span:] == keys[-size:] * (settings.max_repeats + 1):
                del kept[-size:], keys[-size:]
                break
    return kept
