"""What a recogniser returns, what of it is believed, and the replaceable parts of lyrics recognition.

Whisper was trained on subtitles and transcribes any audio, music without a voice included. The structure of its output
shows hallucinations: it doubts that there is a voice, it doubts its words, it loops, or its words do not fit into their
time. No list of phrases is used: such lists know one language, and songs do say "thank you".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_mer.lyrics.agreement import normalise
from stream_mer.types import LyricWord, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of words from a recogniser. Times are seconds from the first sample that it was given.

    Attributes:
        words: Words with their times, in order.
        no_speech_prob: Probability that the audio holds no voice, 0..1.
        avg_logprob: Mean log probability of the tokens, at most 0.
        compression_ratio: Length of the text over its deflated length; high for loops.
    """

    words: tuple[LyricWord, ...]
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One pass of the recogniser over one stretch of audio.

    Attributes:
        segments: Segments, in order.
        language: ISO 639-1 code, detected or given; empty if unknown.
        language_probability: Probability of it, 0..1; 1 if it was given.
    """

    segments: tuple[Segment, ...] = ()
    language: str = ""
    language_probability: float = 1.0


EMPTY_TRANSCRIPT = Transcript()
"""The transcript of audio without vocals."""


class Passage(NamedTuple):
    """A stretch that may hold vocals, seconds from the first sample."""

    t0: float
    t1: float


class Recogniser(Protocol):
    """Transcribes audio to timed words. Called from one thread at a time per stream; may block for seconds."""

    def load(self) -> None:
        """Load the weights; idempotent.

        Raises:
            LyricsError: The weights are missing, damaged or cannot be written to the cache.
        """
        ...

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        """Transcribe mono audio at 16 kHz, shape ``[n]``; ``language`` None detects it."""
        ...


@runtime_checkable
class LanguageDetector(Protocol):
    """A recogniser that tells how likely each language is."""

    def detect(self, samples: Samples) -> Mapping[str, float]:
        """Return the probability of each language, by its code; empty for a model of one language."""
        ...


class LimitedRecogniser:
    """A recogniser that chooses among some languages where it would detect one of all.

    Args:
        recogniser: Transcribes; also a ``LanguageDetector``, or it detects as it does.
        languages: ISO 639-1 codes, at least one.
    """

    def __init__(self, recogniser: Recogniser, languages: Sequence[str]) -> None:
        self._recogniser = recogniser
        self._languages = tuple(languages)

    def load(self) -> None:
        """Load the weights; see ``Recogniser``."""
        self._recogniser.load()

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        """Transcribe; ``language`` None detects one of the languages. Its probability is that among them."""
        if language is not None or not isinstance(self._recogniser, LanguageDetector):
            return self._recogniser.transcribe(samples, language=language)
        detected = self._recogniser.detect(samples)
        if not detected:  # a model of one language
            return self._recogniser.transcribe(samples)
        among = {code: detected.get(code, 0.0) for code in self._languages}
        likeliest = max(among, key=lambda code: among[code])
        transcript = self._recogniser.transcribe(samples, language=likeliest)
        probability = among[likeliest] / (sum(among.values()) or 1.0)
        return replace(transcript, language_probability=probability)


class TextEncoder(Protocol):
    """Encodes a line of text as a sentence embedding."""

    def encode(self, text: str) -> NDArray[np.float32]:
        """Return a vector of unit length, shape ``[512]``."""
        ...


class VocalGate(Protocol):
    """Finds the passages of audio that may hold vocals; the recogniser gets no others."""

    def passages(self, samples: Samples) -> tuple[Passage, ...]:
        """Return passages that may be sung or spoken, in order, none touching the next. Pure; takes milliseconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """Thresholds of ``filter_transcript``.

    Measured with the base model. Of 30 instrumental passages of 12 to 15 s, each transcribed twice (language detected,
    and given as English), these let words through once; agreement between passes decides after that. Of 944 segments of
    songs whose words match the printed lyrics, a mean log probability of -1 drops 1.1 % and a mean word probability of
    .4 none; of 684 whose words do not, they drop 14 % and 25 %, and all filters together half. The probability of no
    speech hardly separates them (medians .48 and .50), so it counts only with doubtful words.

    Attributes:
        max_no_speech_prob: A segment above this is dropped unless its mean log probability is above ``sure_logprob``,
            0..1.
        sure_logprob: Mean log probability above which ``max_no_speech_prob`` does not count.
        min_avg_logprob: A segment with a lower mean log probability is dropped.
        max_compression_ratio: A segment that deflates better is a loop, and is dropped.
        min_word_probability: A segment with a lower mean word probability is dropped, 0..1.
        min_language_probability: A pass with a lower language probability has no words, 0..1.
        max_words_per_s: A segment of four words or more that is faster is dropped.
        min_word_s: A shorter word does not fit into its time, seconds.
        max_short_words: Share of such words above which the segment is dropped, 0..1.
        max_repeats: The same words may come this often in a row; the rest is cut off.
        max_repeat_words: Longest run of words that is searched for in such loops.
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
    """Return the believable words, in order, with the recogniser's times."""
    if transcript.language_probability < settings.min_language_probability:
        return []
    words: list[LyricWord] = []
    for segment in transcript.segments:
        if is_believable(segment, settings):
            words.extend(word for word in segment.words if word.text.strip())
    return cut_loops(words, settings)


def is_believable(segment: Segment, settings: FilterSettings) -> bool:
    """Return whether a segment looks like words that were sung, not hallucinated."""
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
    duration_s = words[-1].t1 - words[0].t0
    return len(words) < 4 or len(words) <= settings.max_words_per_s * duration_s


def cut_loops(words: Sequence[LyricWord], settings: FilterSettings) -> list[LyricWord]:
    """Keep at most ``max_repeats`` rounds of any run of words that repeats without a break."""
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
