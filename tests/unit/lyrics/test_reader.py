"""What the text branch reads of a line: its meaning, then its style, each line once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_mer.errors import LyricsError
from stream_mer.lyrics.text_features import (
    LINE_FEATURES,
    STYLE_NAMES,
    STYLE_SIZE,
    VECTOR_SIZE,
    LineReader,
    LyricStyle,
    line_vector,
)
from stream_mer.types import LyricLine, LyricWord


def said(text: str, *, t0: float = 0.0, t1: float = 0.0, words: tuple[LyricWord, ...] = ()) -> LyricLine:
    return LyricLine(segment=0, revision=0, t0=t0, t1=t1, text=text, committed=True, words=words)


def style(vector: np.ndarray, name: str) -> float:
    return float(vector[VECTOR_SIZE + STYLE_NAMES.index(name)])


def test_a_line_is_its_embedding_then_its_style(encoder: Any) -> None:
    text = "我愛你 my darling!"
    vector = LineReader(encoder).read(said(text, t0=1.0, t1=3.0)).vector
    assert vector.shape == (LINE_FEATURES,) == (VECTOR_SIZE + STYLE_SIZE,)
    assert vector.dtype == np.float32
    assert np.array_equal(vector[:VECTOR_SIZE], encoder.encode(text))
    assert np.array_equal(vector[VECTOR_SIZE:], LyricStyle().feed(text, 2.0))


def test_a_reader_gives_what_line_vector_gives(encoder: Any) -> None:
    """Training reads its lines by ``line_vector``; a stream by a reader."""
    song = [said("oh my love", t0=1, t1=2), said("goodbye"), said("oh my love", t0=5, t1=9)]
    reader, remembered = LineReader(encoder), LyricStyle()
    for line in song:
        expected = line_vector(encoder.encode(line.text), remembered, line.text, line.t1 - line.t0)
        assert np.array_equal(reader.read(line).vector, expected)


def test_a_reader_remembers_the_lines_before_and_another_one_does_not(encoder: Any) -> None:
    reader = LineReader(encoder)
    first, second = (reader.read(said("come back to me")).vector for _ in range(2))
    assert style(first, "heard_before") == 0
    assert style(second, "heard_before") == 1
    assert np.array_equal(LineReader(encoder).read(said("come back to me")).vector, first)


def test_each_line_is_encoded_once(encoder: Any) -> None:
    reader = LineReader(encoder)
    for text in ("so far", "away"):
        reader.read(said(text))
    assert encoder.texts == ["so far", "away"]


def test_pace_is_told_where_the_line_has_times_alone(encoder: Any) -> None:
    timed, plain = (LineReader(encoder).read(said("one two", t1=t1)).vector for t1 in (2.0, 0.0))
    assert (style(timed, "timed"), style(plain, "timed")) == (1, 0)
    assert style(timed, "log_words_a_second") == pytest.approx(np.log1p(2 / 2.0))
    assert style(plain, "log_words_a_second") == 0


def test_reliability_is_the_mean_probability_of_the_words(make_word: Any, encoder: Any) -> None:
    words = (make_word(0, 1, "so", 0.5), make_word(1, 2, "far", 1.0))
    read = LineReader(encoder).read(said("so far", t1=2, words=words))
    assert (read.reliability, read.n_words, read.t1) == (pytest.approx(0.75), 2, 2)


@pytest.mark.parametrize(("probability", "reliability"), [(-0.5, 0.0), (1.5, 1.0)])
def test_reliability_stays_in_its_range(probability: float, reliability: float, make_word: Any, encoder: Any) -> None:
    words = (make_word(0, 1, "so", probability),)
    assert LineReader(encoder).read(said("so", t1=1, words=words)).reliability == reliability


def test_known_words_are_fully_reliable_and_counted_by_their_spaces(encoder: Any) -> None:
    read = LineReader(encoder).read(said("never let me go"))
    assert (read.reliability, read.n_words) == (1.0, 4)


@pytest.mark.parametrize("text", ["...", "♪", "—"])
def test_a_line_of_punctuation_alone_has_no_style(text: str, encoder: Any) -> None:
    vector = LineReader(encoder).read(said(text)).vector
    assert not vector[VECTOR_SIZE:].any()
    assert np.isfinite(vector).all()


def test_to_prepare_loads_the_encoder_and_leaves_no_trace_in_the_song(encoder: Any) -> None:
    reader = LineReader(encoder)
    reader.prepare()
    assert len(encoder.texts) == 1
    fresh = LineReader(encoder).read(said("ready")).vector
    assert np.array_equal(reader.read(said("ready")).vector, fresh)


def test_an_encoder_that_cannot_be_loaded_is_told(encoder: Any) -> None:
    encoder.error = LyricsError("the sentence encoder cannot be loaded")
    reader = LineReader(encoder)
    for use in (reader.prepare, lambda: reader.read(said("so far"))):
        with pytest.raises(LyricsError, match="sentence encoder"):
            use()
