from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream_mer.lyrics.lines import LineBuilder, LineSettings, join_words, split_lines
from stream_mer.types import LyricLine, LyricWord


def row(*timed: tuple[float, float, str]) -> list[LyricWord]:
    return [LyricWord(t0=t0, t1=t1, text=text) for t0, t1, text in timed]


def texts(lines: list[list[LyricWord]]) -> list[str]:
    return [join_words(line) for line in lines]


def test_a_pause_ends_a_line() -> None:
    words = row((0.0, 0.5, "so"), (0.6, 1.0, "far"), (2.0, 2.5, "away"))
    assert texts(split_lines(words)) == ["so far", "away"]


def test_sentence_final_punctuation_ends_a_line_behind_closing_marks_too() -> None:
    words = row((0.0, 0.2, "“Go"), (0.2, 0.4, "home.”"), (0.4, 0.6, "走"), (0.6, 0.8, "吧。"), (0.8, 1.0, "now"))
    assert texts(split_lines(words)) == ["“Go home.”", "走吧。", "now"]


def test_a_line_holds_no_more_words_and_seconds_than_allowed() -> None:
    many = row(*((i * 0.3, i * 0.3 + 0.2, f"w{i}") for i in range(30)))
    assert [len(line) for line in split_lines(many)] == [12, 12, 6]
    slow = row(*((i * 1.5, i * 1.5 + 1.4, f"w{i}") for i in range(12)))
    assert all(line[-1].t1 - line[0].t0 <= 8.0 for line in split_lines(slow))


def test_a_long_line_ends_at_a_shorter_pause() -> None:
    words = row(*((i * 0.3, i * 0.3 + 0.2, f"w{i}") for i in range(6)), (2.4, 2.6, "next"))
    assert [len(line) for line in split_lines(words)] == [6, 1]
    assert [len(line) for line in split_lines(words[3:])] == [4]


def told(lines: list[LyricLine]) -> list[tuple[int, int, str, int, bool]]:
    return [(one.segment, one.revision, one.text, one.settled_words, one.committed) for one in lines]


def test_the_open_line_is_provisional_until_it_ends() -> None:
    builder = LineBuilder()
    words = row((0.0, 0.5, "so"), (0.6, 1.0, "far"), (2.0, 2.5, "away"))
    lines = builder.add(words[:1], language="en") + builder.show()
    lines += builder.add(words[1:2], language="en") + builder.show()
    lines += builder.add(words[2:], language="en") + builder.show()
    lines += builder.finish()
    assert told(lines) == [
        (0, 0, "so", 1, False),
        (0, 1, "so far", 2, False),
        (0, 2, "so far", 2, True),
        (1, 0, "away", 1, False),
        (1, 1, "away", 1, True),
    ]
    assert {one.language for one in lines} == {"en"}
    assert (lines[2].t0, lines[2].t1) == (0.0, 1.0)


def test_the_open_line_ends_with_what_was_heard_and_is_not_settled() -> None:
    builder = LineBuilder()
    so, far, car, away = row((0.0, 0.5, "so"), (0.6, 1.0, "far"), (0.6, 1.1, "car"), (1.2, 1.6, "away"))
    lines = builder.show([so, car], language="en")
    lines += builder.add([so], language="en") + builder.show([far, away])
    lines += builder.show([far, away])  # no news
    lines += builder.add([far, away], language="en") + builder.show()
    lines += builder.finish()
    assert told(lines) == [
        (0, 0, "so car", 0, False),
        (0, 1, "so far away", 1, False),
        (0, 2, "so far away", 3, False),
        (0, 3, "so far away", 3, True),
    ]
    assert [one.t1 for one in lines] == [1.1, 1.6, 1.6, 1.6]
    assert {one.language for one in lines} == {"en"}


def test_pending_words_of_the_next_line_wait_until_this_one_has_ended() -> None:
    builder = LineBuilder()
    words = row((0.0, 0.5, "so"), (0.6, 1.0, "far"), (2.0, 2.5, "away"), (2.6, 2.9, "now"))
    lines = builder.add(words[:1]) + builder.show(words[1:])
    lines += builder.add(words[1:3]) + builder.show(words[3:])
    assert told(lines) == [(0, 0, "so far", 1, False), (0, 1, "so far", 2, True), (1, 0, "away now", 1, False)]


def test_a_line_of_which_nothing_was_settled_can_be_taken_back_and_its_number_used_again() -> None:
    builder = LineBuilder()
    lines = builder.show(row((1.0, 1.5, "ghost"))) + builder.show() + builder.show()
    lines += builder.show(row((4.0, 4.5, "spook"))) + builder.finish()
    assert told(lines) == [
        (0, 0, "ghost", 0, False),
        (0, 1, "", 0, False),
        (0, 2, "spook", 0, False),
        (0, 3, "", 0, False),
    ]
    assert (lines[1].t0, lines[1].t1, lines[1].words) == (1.0, 1.5, ())


def test_a_quiet_stretch_ends_the_open_line_and_keeps_its_promise() -> None:
    builder = LineBuilder()
    builder.add(row((0.0, 1.0, "alone")))
    assert builder.close_by(1.5) == []
    (closed,) = builder.close_by(3.0)
    assert closed.committed
    builder.add(row((1.2, 1.6, "late")))
    (late,) = builder.show()
    assert late.segment == 1
    assert late.words[0].t0 == late.words[0].t1 > 1.0 + LineSettings().pause_s


def test_scripts_without_spaces_are_joined_without_spaces() -> None:
    assert join_words(row((0, 1, "我"), (1, 2, "爱"), (2, 3, "you"), (3, 4, "babe"))) == "我爱 you babe"
    assert join_words(row((0, 1, "사랑"), (1, 2, "해요"))) == "사랑 해요"


timed_words = st.lists(
    st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 3.0), st.sampled_from(["la", "love", "me.", "do!", "我", "。"])),
    max_size=40,
)


@given(
    timed_words,
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60),
    st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_words_one_by_one_give_the_lines_of_all_at_once(
    rows: list[tuple[float, float, str]], sizes: list[tuple[int, int]], quiet: list[bool]
) -> None:
    words: list[LyricWord] = []
    t = 0.0
    for pause, length, text in rows:
        words.append(LyricWord(t0=t + pause, t1=t + pause + length, text=text))
        t += pause + length
    builder = LineBuilder(LineSettings())
    lines: list[LyricLine] = []
    position = 0
    for index, (size, ahead) in enumerate([*sizes, (len(words), 0)]):
        lines += builder.add(words[position : position + size])
        position += size
        if quiet[index % len(quiet)] and builder.open_words:
            lines += builder.close_by(builder.open_words[-1].t1 + 1.2)
        lines += builder.show(words[position : position + ahead])
    lines += builder.finish()
    committed = [one for one in lines if one.committed]
    emitted = [one for line in committed for one in line.words]
    assert [one.text for one in emitted] == [one.text for one in words]
    assert [list(line.words) for line in committed] == split_lines(emitted)
    assert [line.segment for line in committed] == list(range(len(committed)))
    assert [line.segment for line in lines] == sorted(line.segment for line in lines)
    for segment in range(len(committed)):
        versions = [one for one in lines if one.segment == segment]
        assert [one.revision for one in versions] == list(range(len(versions)))
        assert [one.committed for one in versions] == [False] * (len(versions) - 1) + [True]
        assert versions[-1].settled_words == len(versions[-1].words)
        for before, after in pairwise(versions):
            assert after.words[: before.settled_words] == before.words[: before.settled_words]
            assert after.settled_words >= before.settled_words
