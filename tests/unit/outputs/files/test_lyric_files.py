"""Subtitles and LRC: what was written is read again by readers of these formats, ours among them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_mer.lyrics.files import parse_lyrics
from stream_mer.outputs.files.lyric_files import LEAST_S, LyricsWriter, lrc, srt
from stream_mer.server.examples import FRAME, LINE
from stream_mer.types import LyricLine


def line(t0: float, t1: float, text: str, segment: int = 0) -> LyricLine:
    return replace(LINE, segment=segment, t0=t0, t1=t1, text=text, words=(), settled_words=0)


SONG = [line(1.0, 3.5, "first line", 0), line(4.0, 6.0, "second", 1), line(3_661.239, 3_663.0, "an hour later", 2)]


def test_subtitles_are_subrip() -> None:
    assert srt(SONG) == (
        "1\n00:00:01,000 --> 00:00:03,500\nfirst line\n\n"
        "2\n00:00:04,000 --> 00:00:06,000\nsecond\n\n"
        "3\n01:01:01,239 --> 01:01:03,000\nan hour later\n"
    )


def test_lrc_ends_lines_before_pauses() -> None:
    assert lrc(SONG) == (
        "[00:01.00]first line\n[00:03.50]\n[00:04.00]second\n[00:06.00]\n[61:01.24]an hour later\n[61:03.00]\n"
    )
    assert lrc([line(1.0, 3.9, "no pause", 0), line(4.0, 5.0, "in between", 1)]).count("]\n") == 1


def test_of_no_lines_there_is_an_empty_file() -> None:
    assert (srt([]), lrc([])) == ("", "")


def test_the_writer_takes_what_was_committed_and_not_taken_back() -> None:
    writer = LyricsWriter(lrc)
    for event in (
        FRAME,
        replace(line(1.0, 2.0, "frist"), committed=False),
        line(1.0, 2.0, "first"),
        replace(line(5.0, 6.0, "never", 1), committed=False),
        line(3.0, 4.0, "  ", 2),
        line(3.0, 4.0, "\0", 3),
    ):
        writer.publish(event)
    assert writer.text() == "[00:01.00]first\n[00:02.00]\n"


moments = st.integers(0, 3_600_000).map(lambda ms: ms / 1000)
texts = st.text(max_size=40)
songs = st.lists(st.tuples(moments, st.integers(0, 9_000), texts), max_size=12).map(
    lambda rows: [line(t0, t0 + ms / 1000, text, i) for i, (t0, ms, text) in enumerate(rows)]
)


def plain(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


@given(songs)
@example([line(0.0, 1.0, "[00:12.00] not a time"), line(2.0, 3.0, "<1:05>nor\u2028this", 1)])
@example([line(0.0, 1.0, "[ti: not a title]"), line(2.0, 3.0, "[offset:+500]", 1)])
@example([line(59.9999, 61.0, "rounds to a minute")])
def test_our_reader_reads_what_is_written_as_lrc(song: list[LyricLine]) -> None:
    writer = LyricsWriter(lrc)
    for one in song:
        writer.publish(one)
    wanted = sorted((one for one in song if plain(one.text)), key=lambda one: (one.t0, one.segment))
    read = parse_lyrics(writer.text())
    assert [one.text for one in read] == [re.sub(r"[\[<](?=\d+:\d)", "(", plain(one.text)) for one in wanted]
    assert [one.t0 for one in read] == pytest.approx([one.t0 for one in wanted], abs=0.0051)
    for one, original, following in zip(read, wanted, [*wanted[1:], None], strict=False):
        end = max(original.t1, original.t0 + LEAST_S)
        if following is None or following.t0 >= end + 0.5:
            assert one.t1 == pytest.approx(end, abs=0.0051)


BLOCK = re.compile(r"(\d+)\n(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})\n([^\n]+)\n")


@given(songs)
@example([line(0.0, 1.0, "a --> b")])
@example([line(1.0, 5.0, "a"), line(1.0, 5.0, "b", 1), line(1.05, 2.0, "c", 2)])
def test_subtitles_are_numbered_in_order_and_end_before_the_next(song: list[LyricLine]) -> None:
    writer = LyricsWriter(srt)
    for one in song:
        writer.publish(one)
    text = writer.text()
    blocks = BLOCK.findall(text)
    assert "\n".join(match[0] for match in BLOCK.finditer(text)) == text, "nothing else is in it"
    wanted = sorted((one for one in song if plain(one.text)), key=lambda one: (one.t0, one.segment))
    assert [int(block[0]) for block in blocks] == list(range(1, len(wanted) + 1))
    assert [block[9] for block in blocks] == [plain(one.text).replace("-->", "→") for one in wanted]
    times = [
        (
            int(b[1]) * 3600 + int(b[2]) * 60 + int(b[3]) + int(b[4]) / 1000,
            int(b[5]) * 3600 + int(b[6]) * 60 + int(b[7]) + int(b[8]) / 1000,
        )
        for b in blocks
    ]
    assert [start for start, _ in times] == pytest.approx([one.t0 for one in wanted])
    for (start, end), following in zip(times, [*times[1:], None], strict=False):
        assert end > start
        assert following is None or following[0] == start or end <= following[0] + 1e-9
