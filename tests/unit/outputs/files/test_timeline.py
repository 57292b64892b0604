"""What the picture shows, and where there is room for words."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stream_mer.outputs.files.timeline import GAP_S, WORD_ROWS, Run, Timeline
from stream_mer.server.examples import CHANGE, FRAME, LINE
from stream_mer.types import LyricLine


def timeline(*frames: tuple[float, str], held: frozenset[float] = frozenset()) -> Timeline:
    made = Timeline()
    for t1, category in frames:
        made.publish(replace(FRAME, t1=t1, category=category, hold="freeze" if t1 in held else None))
    return made


def words(segment: int, t0: float, text: str, revision: int = 0) -> LyricLine:
    return replace(LINE, segment=segment, t0=t0, t1=t0 + 1, text=text, revision=revision, words=(), settled_words=0)


def test_frames_of_one_category_are_one_run() -> None:
    made = timeline((0.5, "sad"), (1.0, "sad"), (1.5, "happy"), (2.0, "happy"), (2.5, "sad"))
    assert list(made.runs()) == [
        Run(t0=0.0, t1=1.0, category="sad", held=False),
        Run(t0=1.0, t1=2.0, category="happy", held=False),
        Run(t0=2.0, t1=2.5, category="sad", held=False),
    ]


def test_what_an_operator_held_is_a_run_of_its_own() -> None:
    made = timeline((0.5, "sad"), (1.0, "sad"), (1.5, "sad"), held=frozenset({1.0}))
    assert [run.held for run in made.runs()] == [False, True, False]


def test_a_frame_that_an_operator_changed_replaces_the_one_before() -> None:
    made = timeline((0.5, "sad"), (1.0, "sad"), (1.0, "angry"))
    assert [run.category for run in made.runs()] == ["sad", "angry"]
    assert len(made.frames) == 2


def test_nothing_is_drawn_where_nothing_was_for_long() -> None:
    later = 1.0 + GAP_S + 0.5
    made = timeline((0.5, "sad"), (1.0, "sad"), (later, "sad"))
    assert [(run.t0, run.t1) for run in made.runs()] == [(0.0, 1.0), (later - 0.5, later)]
    times, values = made.curve(lambda frame: frame.t1)
    assert times == [0.5, 1.0, later, later]
    assert math.isnan(values[2])
    assert [value for value in values if not math.isnan(value)] == [0.5, 1.0, later]


def test_of_nothing_there_is_a_span_all_the_same() -> None:
    made = Timeline()
    assert made.span_s == (0.0, 0.5)
    assert list(made.runs()) == []
    assert made.curve(lambda frame: frame.t1) == ([], [])
    assert made.placed(len) == []


def test_lines_are_as_they_were_last_told() -> None:
    made = timeline((60.0, "sad"))
    for line in (words(0, 1.0, "frist"), words(1, 3.0, "gone"), words(0, 1.0, "first", 1), words(1, 3.0, "", 1)):
        made.publish(line)
    made.publish(CHANGE)
    assert [line.text for line in made.lines] == ["first"]
    assert made.cues == [CHANGE]


@given(st.lists(st.tuples(st.floats(0, 300), st.text(min_size=1, max_size=40)), max_size=30))
def test_no_words_run_into_others_or_out_of_the_picture(lines: list[tuple[float, str]]) -> None:
    made = timeline((300.0, "sad"))
    for segment, (t0, text) in enumerate(lines):
        made.publish(words(segment, t0, text))
    placed = made.placed(lambda text: 0.4 * len(text))
    for row in range(WORD_ROWS):
        of_row = [one for one in placed if one.row == row]
        ends = [one.t0 + 0.4 * len(one.text) for one in of_row]
        starts = [one.t0 for one in of_row[1:]]
        assert all(end <= start + 1e-6 for end, start in zip(ends, [*starts, 300.0], strict=False))
    for one in placed:
        there = [text for t0, text in lines if t0 == one.t0]
        assert one.text in there or any(text.startswith(one.text.removesuffix("…")) for text in there)


def test_words_with_room_are_whole() -> None:
    made = timeline((60.0, "sad"))
    for segment, (t0, text) in enumerate([(1.0, "one"), (5.0, "two"), (9.0, "three"), (13.0, "four")]):
        made.publish(words(segment, t0, text))
    assert [(one.row, one.text) for one in made.placed(lambda text: len(text) / 2)] == [
        (0, "one"),
        (1, "two"),
        (2, "three"),
        (0, "four"),
    ]
