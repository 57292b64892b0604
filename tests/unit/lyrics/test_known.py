from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stream_mer.errors import LyricsError
from stream_mer.lyrics.known import MAX_FILE_BYTES, KnownLyrics, parse_lyrics, read_lyrics, words_duration_s
from stream_mer.types import SAMPLE_RATE_HZ, LyricLine

LRC = """[ti:A Song]
[ar:Nobody]
[00:01.50]First line
[00:04.00][00:20.0]The chorus
[00:06]Third line
"""


def told(lines: list[LyricLine]) -> list[tuple[float, float, str]]:
    return [(round(line.t0, 3), round(line.t1, 3), line.text) for line in lines]


def test_lines_have_their_times_and_end_where_the_next_starts() -> None:
    lines = parse_lyrics(LRC)
    assert told(lines) == [
        (1.5, 4.0, "First line"),
        (4.0, 6.0, "The chorus"),
        (6.0, 16.0, "Third line"),
        (20.0, 30.0, "The chorus"),
    ]
    assert [line.segment for line in lines] == [0, 1, 2, 3]
    assert all(line.committed and line.revision == 0 for line in lines)


def test_an_empty_line_ends_the_one_before_it() -> None:
    assert told(parse_lyrics("[00:01.00]Sung\n[00:03.00]\n[00:09.00]Again")) == [
        (1.0, 3.0, "Sung"),
        (9.0, 19.0, "Again"),
    ]


def test_the_largest_file_that_is_read_is_parsed_in_one_pass() -> None:
    """Every line looks for the next later one; done the plain way, this many lines outlast the test's time limit."""
    row = "[0:{:02d}]a\n"
    text = "".join(row.format(i % 60) for i in range(MAX_FILE_BYTES // len(row.format(0))))
    lines = parse_lyrics(text)
    assert len(lines) == text.count("\n") > 100_000
    assert {round(line.t1 - line.t0, 3) for line in lines[: -len(lines) // 60 - 1]} == {1.0}
    assert (lines[-1].t0, lines[-1].t1) == (59.0, 69.0)


@pytest.mark.parametrize(("offset", "t0"), [("+500", 1.5), ("-1000", 3.0), ("9999", 0.0), ("soon", 2.0)])
def test_a_positive_offset_shows_lines_sooner(offset: str, t0: float) -> None:
    assert parse_lyrics(f"[offset:{offset}]\n[00:02.00]Line")[0].t0 == t0


def test_word_times_are_kept_and_not_read_as_text() -> None:
    (first, second) = parse_lyrics("[00:01.00]<00:01.00>Two <00:01.60>words<00:02.00>\n[00:03.00]Plain")
    assert first.text == "Two words"
    assert [(w.t0, w.t1, w.text) for w in first.words] == [(1.0, 1.6, "Two"), (1.6, 2.0, "words")]
    assert second.words == ()


def test_a_repeated_line_has_word_times_only_where_they_belong() -> None:
    first, again = parse_lyrics("[00:01.00][01:01.00]<00:01.00>La <00:01.50>la")
    assert len(first.words) == 2
    assert (again.text, again.words) == ("La la", ())


@pytest.mark.parametrize("stamp", ["[0:01.5]", "[00:01:50]", "[000:01.500]", " [00:01.50] "])
def test_ways_to_write_a_time(stamp: str) -> None:
    assert told(parse_lyrics(f"{stamp}Line"))[0][::2] == (1.5, "Line")


def test_lines_of_one_time_stay_in_order_and_end_together() -> None:
    lines = parse_lyrics("[00:05.00]next\n[00:01.00]original\n[00:01.00]translation")
    assert told(lines)[:2] == [(1.0, 5.0, "original"), (1.0, 5.0, "translation")]


def test_plain_text_has_no_times() -> None:
    lines = parse_lyrics("First line\n\n  Second line \n")
    assert told(lines) == [(0.0, 0.0, "First line"), (0.0, 0.0, "Second line")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_common_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "song.lrc"
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    file.write_bytes(mark + "[00:01.00]Café mañana\r\n[00:02.00]Fin\r\n".encode(encoding))
    assert [line.text for line in read_lyrics(file)] == ["Café mañana", "Fin"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no lyrics"),
        (b"\n  \n", "holds no lyrics"),
        (b"[ti:Only]\n[ar:Tags]\n", "holds no lyrics"),
        (b"[00:01.00]\n", "holds no lyrics"),
        (b"OggS\x00\x02\x00\x00\x8f\xfe\x01", "not a text file"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"la " * 400_000, "larger than a megabyte"),
    ],
)
def test_what_is_no_lyrics_file_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "song.lrc"
    file.write_bytes(content)
    with pytest.raises(LyricsError, match=says) as caught:
        read_lyrics(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LyricsError, match=r"gone\.lrc"):
        read_lyrics(tmp_path / "gone.lrc")
    with pytest.raises(LyricsError, match="cannot read"):
        read_lyrics(tmp_path)


@pytest.mark.parametrize("size", [1600, 44_000])
def test_lines_become_visible_when_their_time_has_come(audio: Any, encoder: Any, size: int) -> None:
    feed = KnownLyrics(parse_lyrics(LRC), encoder)
    seen = []
    for start in range(0, 8 * SAMPLE_RATE_HZ, size):
        feed.feed(audio(start, start + size))
        now_s = (start + size) / SAMPLE_RATE_HZ
        for line in feed.take_lines():
            assert line.t0 <= now_s
            seen.append(line.text)
        assert all(line.t1 <= now_s for line in feed.state().lines)
    assert seen == ["First line", "The chorus", "Third line"]
    assert encoder.texts == seen
    feed.finish()
    assert feed.take_lines() == []
    state = feed.state()
    assert (state.health, len(state.lines)) == ("ok", 3)
    assert [line.reliability for line in state.lines] == [1.0, 1.0, 1.0]
    assert [line.n_words for line in state.lines] == [2, 2, 2]
    feed.close()


def test_plain_text_is_known_from_the_start_and_bounded(audio: Any, encoder: Any) -> None:
    feed = KnownLyrics(parse_lyrics("\n".join(f"line {i}" for i in range(100))), encoder)
    feed.feed(audio(0, 100))
    assert len(feed.take_lines()) == 100
    assert len(feed.state().lines) == 64


def test_a_mistyped_time_is_told_before_hours_of_silence_are_tagged(tmp_path: Path) -> None:
    path = tmp_path / "song.lrc"
    path.write_text("[00:01.00]one\n[999:59.99]two\n")
    with pytest.raises(LyricsError, match=r"after 16\.7 hours: correct its time"):
        words_duration_s(path)
    path.write_text("[00:01.00]one\n[00:09.00]two\n")
    assert 9.0 < words_duration_s(path) <= 19.0
