"""Compares published words with sung ones: errors, lags of the correct words, hallucinated words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jiwer

from stream_mer.types import LyricLine

SAME_WORD_WITHIN_S = 3.0
"""Farther apart in time, an equal word is another occurrence, and is left out of the lags."""

QUIET_MIN_S = 5.0
"""Shorter passages without singing are pauses."""

QUIET_MARGIN_S = 1.0
"""Nearer to a sung word, a recognised one may be that word with a wrong time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SungWord:
    """A word of the reference with its place in the song, seconds."""

    t0: float
    t1: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLine:
    """A line with the audio time of its publication, seconds; None if only after the song's end."""

    line: LyricLine
    at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWord:
    """A word of the final text.

    Attributes:
        text: The word.
        t0: Start by the recogniser, seconds; None if unknown.
        t1: End, likewise.
        shown_s: When it was first published in its place, seconds of audio; None if only after the song's end.
        settled_s: When it was reported as final, likewise.
        line_s: When its line was committed, likewise.
    """

    text: str
    t0: float | None = None
    t1: float | None = None
    shown_s: float | None = None
    settled_s: float | None = None
    line_s: float | None = None


class WordErrors(NamedTuple):
    """Counts over a song, and the word error rate (0 is perfect; more than 1 is possible)."""

    words: int
    substituted: int
    deleted: int
    inserted: int

    @property
    def rate(self) -> float:
        return (self.substituted + self.deleted + self.inserted) / max(1, self.words)


class Lags(NamedTuple):
    """Seconds from the end of a sung word to its publication, one value for each correct word."""

    shown_s: list[float]
    settled_s: list[float]
    line_s: list[float]


def normalise(text: str) -> list[str]:
    """Return the words in lower case without punctuation; a hyphen separates words, an apostrophe does not."""
    spaced = text.lower().replace("-", " ")
    return "".join(char for char in spaced if not unicodedata.category(char).startswith("P")).split()


def final_words(published: Sequence[PublishedLine]) -> list[HeardWord]:
    """Return the words of the committed lines, in order, each with the times of its publication."""
    revisions: dict[int, list[PublishedLine]] = {}
    for one in published:
        revisions.setdefault(one.line.segment, []).append(one)
    words = []
    for segment in sorted(revisions):
        committed = [one for one in revisions[segment] if one.line.committed]
        if committed:
            words.extend(_words_of_line(revisions[segment], committed[-1]))
    return words


def _words_of_line(revisions: Sequence[PublishedLine], final: PublishedLine) -> list[HeardWord]:
    texts = [_texts(one.line) for one in revisions]
    words = []
    for i, text in enumerate(_texts(final.line)):
        first = next(one for one, seen in zip(revisions, texts, strict=True) if seen[i : i + 1] == [text])
        settled = next(one for one in revisions if one.line.committed or one.line.settled_words > i)
        timed = final.line.words[i] if final.line.words else None
        words.append(
            HeardWord(
                text=text,
                t0=timed.t0 if timed else None,
                t1=timed.t1 if timed else None,
                shown_s=first.at_s,
                settled_s=settled.at_s,
                line_s=final.at_s,
            )
        )
    return words


def _texts(line: LyricLine) -> list[str]:
    return [word.text for word in line.words] if line.words else line.text.split()


def count_errors(sung: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Count the errors between two texts, after normalisation."""
    output = jiwer.process_words(" ".join(_flat(sung)), " ".join(_flat(heard)))
    return WordErrors(
        words=output.hits + output.substitutions + output.deletions,
        substituted=output.substitutions,
        deleted=output.deletions,
        inserted=output.insertions,
    )


def measure_lags(sung: Sequence[SungWord], heard: Sequence[HeardWord]) -> Lags:
    """Return how long after its end each correct word was shown, was settled, and had its line committed, seconds.

    Words are paired by the alignment that also gives the word error rate; a pair counts if both are near in time. A
    lag can be slightly negative: singers hold notes, and the recogniser need not wait for their end.
    """
    reference = [(token, word) for word in sung for token in normalise(word.text)]
    hypothesis = [(token, word) for word in heard for token in normalise(word.text)]
    lags = Lags([], [], [])
    if not reference or not hypothesis:
        return lags
    output = jiwer.process_words(" ".join(token for token, _ in reference), " ".join(token for token, _ in hypothesis))
    for chunk in output.alignments[0]:
        if chunk.type != "equal":
            continue
        pairs = zip(
            reference[chunk.ref_start_idx : chunk.ref_end_idx],
            hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx],
            strict=True,
        )
        for (_, sung_word), (_, heard_word) in pairs:
            if heard_word.t0 is not None and abs(heard_word.t0 - sung_word.t0) > SAME_WORD_WITHIN_S:
                continue
            if heard_word.shown_s is not None:
                lags.shown_s.append(heard_word.shown_s - sung_word.t1)
            if heard_word.settled_s is not None:
                lags.settled_s.append(heard_word.settled_s - sung_word.t1)
            if heard_word.line_s is not None:
                lags.line_s.append(heard_word.line_s - sung_word.t1)
    return lags


def find_quiet(sung: Sequence[SungWord], duration_s: float) -> list[tuple[float, float]]:
    """Return the passages without singing, as start and end in seconds: intros, solos, endings."""
    passages, heard_until_s = [], 0.0
    for word in sorted(sung, key=lambda one: one.t0):
        if word.t0 - QUIET_MARGIN_S - heard_until_s >= QUIET_MIN_S:
            passages.append((heard_until_s, word.t0 - QUIET_MARGIN_S))
        heard_until_s = max(heard_until_s, word.t1 + QUIET_MARGIN_S)
    if duration_s - heard_until_s >= QUIET_MIN_S:
        passages.append((heard_until_s, duration_s))
    return passages


def count_invented(heard: Sequence[HeardWord], quiet: Sequence[tuple[float, float]]) -> int:
    """Count the words in passages without singing, by their middle; words without times do not count."""
    middles = [(word.t0 + word.t1) / 2 for word in heard if word.t0 is not None and word.t1 is not None]
    return sum(any(start <= middle < end for start, end in quiet) for middle in middles)


def _flat(texts: Sequence[str]) -> list[str]:
    return [token for text in texts for token in normalise(text)]
