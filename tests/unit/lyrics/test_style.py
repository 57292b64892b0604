"""How a line is said, in numbers: the same each time, in their ranges, in any script."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_mer.lyrics import text_features as style_module
from stream_mer.lyrics.text_features import STYLE_NAMES, STYLE_SIZE, LyricStyle, tokens

SONG = (
    "The morning light is on the river",
    "Oh baby don't you cry",
    "The morning light is on the river",
    "我愛你 我的寶貝",
    "¿Dónde estás, corazón?",
    "WE WILL ROCK YOU!",
    "...",
    "Runnin' all niiight (24 hours)",
)
FLAGS = ("question_mark", "exclamation_mark", "comma", "capitals", "parenthesis", "cjk", "latin_beyond_english")


def described(*texts: str, duration_s: float = 0.0) -> dict[str, float]:
    """The last of these lines, after those before it."""
    reader = LyricStyle()
    for text in texts:
        vector = reader.feed(text, duration_s)
    return dict(zip(STYLE_NAMES, vector.tolist(), strict=True))


def whole_song() -> list[NDArray[np.float32]]:
    reader = LyricStyle()
    return [reader.feed(text, 2.0) for text in SONG]


def test_every_number_has_one_name() -> None:
    assert len(set(STYLE_NAMES)) == len(STYLE_NAMES) == STYLE_SIZE == 49


def test_the_same_song_gives_the_same_numbers() -> None:
    for once, again in zip(whole_song(), whole_song(), strict=True):
        assert once.dtype == np.float32
        assert once.shape == (STYLE_SIZE,)
        assert np.array_equal(once, again)


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


def test_a_word_group_is_the_root_of_its_share() -> None:
    told = described("Love hate love war")
    assert told["endearment"] == pytest.approx(np.sqrt(2 / 4))
    assert told["violence"] == pytest.approx(np.sqrt(2 / 4))
    assert told["calm"] == told["coarse"] == 0


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


def test_spanish_is_told_by_its_letters() -> None:
    told = described("¿Dónde estás, corazón?")
    assert (told["latin_beyond_english"], told["cjk"]) == (1, 0)
    assert (told["question_mark"], told["comma"]) == (1, 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Where are you?", "question_mark"),
        ("Run!", "exclamation_mark"),
        ("Well, well", "comma"),
        ("BREAK IT DOWN", "capitals"),
        ("Love (ooh)", "parenthesis"),
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


def test_pace_is_told_where_the_line_has_times_alone() -> None:
    timed, untimed = described("one two three four", duration_s=2.0), described("one two three four")
    assert (timed["log_words_a_second"], timed["timed"]) == (pytest.approx(np.log1p(4 / 2)), 1)
    assert (untimed["log_words_a_second"], untimed["timed"]) == (0, 0)
    pace = {"log_words_a_second", "timed"}
    assert {k: v for k, v in timed.items() if k not in pace} == {k: v for k, v in untimed.items() if k not in pace}


def test_a_time_that_is_too_short_to_sing_in_is_no_infinite_pace() -> None:
    assert described("one two", duration_s=1e-9)["log_words_a_second"] == pytest.approx(np.log1p(2 / 0.2))
    assert described("one two", duration_s=-1.0)["timed"] == 0
