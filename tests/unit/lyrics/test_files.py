from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from stream_mer.errors import LyricsError, SettingError
from stream_mer.lyrics.files import MAX_FILE_BYTES, decode, lines_from, parse_lyrics, read_lyrics, words_duration_s
from stream_mer.lyrics.text_features import surprise
from stream_mer.types import LyricLine

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


def test_many_lines_end_where_the_next_later_one_starts() -> None:
    lines = parse_lyrics("".join(f"[0:{i % 60:02d}]a\n" for i in range(12_000)))
    assert len(lines) == 12_000
    assert {round(line.t1 - line.t0, 3) for line in lines[:-200]} == {1.0}
    assert (lines[-1].t0, lines[-1].t1) == (59.0, 69.0)


@pytest.mark.parametrize(("offset", "t0"), [("+500", 1.5), ("-1000", 3.0), ("9999", 0.0), ("soon", 2.0)])
def test_a_positive_offset_shows_lines_sooner(offset: str, t0: float) -> None:
    assert parse_lyrics(f"[offset:{offset}]\n[00:02.00]Line")[0].t0 == t0


@pytest.mark.parametrize("words", ["<00:01.00>Two <00:01.60>words<00:02.00>", "Two [00:01.60]words [00:02.00]"])
def test_word_times_are_kept_where_they_belong_and_not_read_as_text(words: str) -> None:
    first, plain, again = parse_lyrics(f"[00:01.00][01:01.00]{words}\n[00:03.00]Plain")
    assert [(w.t0, w.t1, w.text) for w in first.words] == [(1.0, 1.6, "Two"), (1.6, 2.0, "words")]
    assert first.text == again.text == "Two words"
    assert plain.words == again.words == ()


def test_lines_of_one_time_stay_in_order_and_end_together() -> None:
    lines = parse_lyrics("[00:05.00]next\n[00:01.00]original\n[00:01.00]translation")
    assert told(lines)[:2] == [(1.0, 5.0, "original"), (1.0, 5.0, "translation")]


def test_plain_text_has_no_times() -> None:
    lines = parse_lyrics("First line\n\n  Second line \n")
    assert told(lines) == [(0.0, 0.0, "First line"), (0.0, 0.0, "Second line")]


def test_an_encoding_that_cannot_be_told_is_asked_for_and_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "song.lrc"
    file.write_bytes("[00:01.00]Příliš žluťoučký kůň\n".encode("cp1250"))
    with pytest.raises(LyricsError, match=r"song\.lrc is not in UTF-8.*--lyrics-encoding.*cp1250 \(Příliš"):
        read_lyrics(file)
    assert read_lyrics(file, encoding="cp1250")[0].text == "Příliš žluťoučký kůň"
    assert words_duration_s(file, encoding="windows-1250") == 11.0
    with pytest.raises(LyricsError, match=r"song\.lrc is not a text file in utf-8 \(byte 12\)"):
        read_lyrics(file, encoding="utf-8")
    with pytest.raises(SettingError, match="no text encoding 'klingon'"):
        read_lyrics(file, encoding="klingon")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no lyrics"),
        (b"\n  \n", "holds no lyrics"),
        (b"[ti:Only]\n[ar:Tags]\n", "holds no lyrics"),
        (b"[00:01.00]\n", "holds no lyrics"),
        (b"OggS\x00\x02\x00\x00\x8f\xfe\x01", "not a text file"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"la " * 400_000, "larger than 1 MB"),
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


def test_a_mistyped_time_is_told_before_hours_of_silence_are_tagged(tmp_path: Path) -> None:
    path = tmp_path / "song.lrc"
    path.write_text("[00:01.00]one\n[999:59.99]two\n")
    with pytest.raises(LyricsError, match=r"after 16\.7 hours: correct its time"):
        words_duration_s(path)
    path.write_text("[00:01.00]one\n[00:09.00]two\n")
    assert 9.0 < words_duration_s(path) <= 19.0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["[00:59:58.00]one", "[01:00:02.50]two", "[01:30:00.00]three"], [3598.0, 3602.5, 5400.0]),
        (["[00:01.00]start", "[59:58.00]one", "[01:00:02.50]two"], [1.0, 3598.0, 3602.5]),
        (["[00:00,50]one", "[00:01,20]two"], [0.5, 1.2]),
        (["[00:00.5000]one", "[00:01.200000]two"], [0.5, 1.2]),
        (["[00:00.50,00:02.00]chorus", "[00:01.20]two"], [0.5, 1.2, 2.0]),
        (["[00:00,50,00:02,00]chorus", "[00:01,20]two"], [0.5, 1.2, 2.0]),
        (["[00:01;00:02 ; 01:00:03.5]chorus"], [1.0, 2.0, 3603.5]),
        (["[00:01,00:02]chorus"], [1.0, 2.0]),
        (["[00:01.00] [00:05.00]  [00:09.00]chorus"], [1.0, 5.0, 9.0]),
        (["[00:01.00][00:01.00]once"], [1.0]),
        (["[ 00:01.00 ]one", " [0:01.5] two", "[000:01.700]three"], [1.0, 1.5, 1.7]),
        (["[100:00.00]one"], [6000.0]),
        (["[ti:Song][00:01.00]one"], [1.0]),
        # Three numbers: hundredths where the last one says so, hours where lines would else follow in a rush.
        (["[00:01:50]one", "[00:04:75]two"], [1.5, 4.75]),
        (["[00:01:500]one"], [1.5]),
        (["[00:00:05]one", "[00:00:09]two", "[01:00:02]three"], [5.0, 9.0, 3602.0]),
        (["[00:01:05]one", "[01:00:02.5]two"], [65.0, 3602.5]),
    ],
)
def test_times_as_players_write_them(rows: list[str], expected: list[float]) -> None:
    lines = parse_lyrics("\n".join(rows))
    assert [line.t0 for line in lines] == pytest.approx(expected, abs=1e-9)
    assert not any(":" in line.text for line in lines)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n", "\u2028"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\ufeff"])
def test_every_kind_of_row_end_and_mark(tmp_path: Path, end: str, mark: str) -> None:
    file = tmp_path / "song.lrc"
    file.write_bytes((mark + end.join(["[00:01.00]one", "[00:02.00]two", ""])).encode())
    assert told(read_lyrics(file)) == [(1.0, 2.0, "one"), (2.0, 12.0, "two")]


@pytest.mark.parametrize("tag", ["[OFFSET:500]", "[Offset : +500]", "[offset: 500 ms]", "  [offset:500]  "])
def test_tags_are_read_in_any_case(tag: str) -> None:
    text = f"[TI:Song]\n[Ar: Nobody]\n[#: a remark]\n[Length: 03:20]\n{tag}\n[00:02.00]Line"
    assert told(parse_lyrics(text)) == [(1.5, 11.5, "Line")]


def test_rows_of_timed_lyrics_that_are_left_out_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lines = parse_lyrics("[00:01.00]one\nmore of it\n[00:02.00-00:03.00]two\n\n[00:04.00]three")
    assert [line.text for line in lines] == ["one", "three"]
    assert "skipped 2 rows of lyrics without a readable time: more of it" in caplog.text


@pytest.mark.parametrize("row", ["[00:00.50-00:02.00]one", "[1234,567]<0,100,0>one", "[12;30]one", "[1.20.5]one"])
def test_a_time_that_cannot_be_read_is_no_sung_word(row: str) -> None:
    with pytest.raises(LyricsError, match=r"time that cannot be read in row 2 \(\["):
        parse_lyrics(f"[ti:Song]\n{row}")


def test_headings_of_plain_text_are_not_sung() -> None:
    text = "[Verse 1]\nFirst line\n[Chorus: both]\nSecond [softly] line"
    assert [line.text for line in parse_lyrics(text)] == ["First line", "Second [softly] line"]


SRT = """1
00:00:05,000 --> 00:00:07,000
Hello world

2
00:00:08,000 --> 00:00:10,500
<i>Second</i> line
{\\an8}goes on
3
01:00:00.5 -> 01:00:02,0
99
"""


def test_subtitles_are_lines_at_their_times() -> None:
    assert told(parse_lyrics(SRT)) == [
        (5.0, 7.0, "Hello world"),
        (8.0, 10.5, "Second line goes on"),
        (3600.5, 3602.0, "99"),
    ]


def test_webvtt_is_read_without_its_notes_names_and_marks() -> None:
    text = """WEBVTT - a song

NOTE nobody sings this

STYLE
::cue { color: red }

verse
00:05.000 --> 00:07.000 align:start
<v Ann>Rock &amp; <00:00:06.000>roll</v>

00:01.000 --> 00:02.000
First
"""
    assert told(parse_lyrics(text)) == [(1.0, 2.0, "First"), (5.0, 7.0, "Rock & roll")]
    assert parse_lyrics("WEBVTT\n\nNOTE nothing else\n") == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[Script Info]\nTitle: x", "ASS"),
        ('<?xml version="1.0"?><tt/>', "XML"),
        ('{"lyrics": 1}', "JSON"),
        ("{\\rtf1 a}", "RTF"),
    ],
)
def test_another_kind_of_file_is_named(text: str, kind: str) -> None:
    with pytest.raises(LyricsError, match=f"is .*{kind}; give LRC, SRT, WebVTT or plain text"):
        parse_lyrics(text)


def test_more_lines_or_longer_ones_than_can_be_encoded_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "song.txt"
    file.write_text("la\n" * 10_000 + "[Chorus]\n")
    assert len(read_lyrics(file)) == 10_000
    file.write_text("la\n" * 10_001)
    with pytest.raises(LyricsError, match=r"song\.txt has 10,001 lines, and 10,000 can be read at most"):
        read_lyrics(file)
    file.write_text("[00:01.00]" + "x" * 1_000)
    assert len(read_lyrics(file)[0].text) == 1_000
    file.write_text("[00:01.00]" + "x" * 1_001)
    with pytest.raises(LyricsError, match=r"song\.txt has a line of 1,001 characters \(xxx"):
        read_lyrics(file)


@pytest.mark.parametrize(
    "row",
    [
        "x" * MAX_FILE_BYTES,
        "[" * MAX_FILE_BYTES,
        "[00:01" * 170_000,
        "[00:01," + "00:02," * 170_000,
        "<00:01.00>x" * 95_000,
        "[a:" * 340_000,
        "[1 " + "1:" * 500_000,
        "00:01 --" * 130_000,
        "{\\" * 500_000,
    ],
    ids=["letters", "brackets", "open times", "list", "words", "tags", "numbers", "arrows", "braces"],
)
def test_a_hostile_row_of_a_megabyte_takes_no_longer_than_reading_it(row: str) -> None:
    """Done by a pattern that tries again from everywhere, each of these outlasts the test's time limit."""
    with contextlib.suppress(LyricsError):
        parse_lyrics(row)


def never(text: str) -> float:
    raise AssertionError(f"nothing was to be guessed, but {text!r} was")


def guessed(text: str, encoding: str) -> str:
    data = "".join(f"[00:{i:02d}.00]{row}\n" for i, row in enumerate(text.split("|"))).encode(encoding)
    found = decode(data, encoding=None, surprise=surprise)
    return "|".join(row[10:] for row in found.splitlines())


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("我爱你|再见", "gbk"),
        ("月亮代表我的心", "gbk"),
        ("我愛你|再見", "big5"),
        ("聽海哭的聲音", "big5"),
        ("さくら|愛してる", "shift_jis"),
        ("上を向いて歩こう|涙の数だけ強くなれるよ", "euc_jp"),
        ("愛してる", "iso2022_jp"),
        ("사랑해|안녕 내 사랑", "euc_kr"),
        ("Я тебя люблю|До свидания", "cp1251"),
        ("Расцветали яблони и груши", "koi8_r"),
        ("I don’t know – “love” costs 5 €…", "cp1252"),
        ("Café mañana", "latin-1"),
        ("Schöne Grüße", "cp1252"),
        ("Şarkı söyle|seni çok özledim, aşkım", "cp1254"),
        ("ฉันรักเธอ", "cp874"),
    ],
)
def test_words_in_old_encodings_are_read(text: str, encoding: str) -> None:
    assert guessed(text, encoding) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Příliš žluťoučký kůň", "cp1250"),
        ("Źle mi bez ciebie", "cp1250"),
        ("szerelmem, őrült vagyok, gyűlöllek", "cp1250"),
        ("σε αγαπώ πολύ", "cp1253"),
        ("אני אוהב אותך|שלום", "cp1255"),
        ("Aš tave myliu, žvaigždė", "cp1257"),
        ("再见", "gbk"),
    ],
)
def test_words_that_may_be_others_are_refused_with_what_they_may_be(text: str, encoding: str) -> None:
    with pytest.raises(LyricsError, match=r"ambiguous: name it with --lyrics-encoding, such as \w+ \("):
        guessed(text, encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["[00:01.00]plain words\n", "[00:01.00]我愛你 \U0001f3b5 Привет\r\n"])
def test_what_tells_its_encoding_is_not_guessed(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), encoding=None, surprise=never) == text


def test_a_mark_of_big_endian_utf_16_is_heeded() -> None:
    assert decode(b"\xfe\xff" + "愛\n".encode("utf-16-be"), encoding=None, surprise=never) == "愛\n"


def test_a_named_encoding_is_believed_and_checked() -> None:
    assert decode("再见".encode("gbk"), encoding="GBK", surprise=never) == "再见"
    with pytest.raises(LyricsError, match=r"^is not a text file in euc-kr \(byte 1\); name its encoding"):
        decode(b"\xff\xff", encoding="euc-kr", surprise=never)
    for name in ("klingon", "rot13", "base64", ""):
        with pytest.raises(SettingError, match=f"no text encoding '{name}'"):
            decode(b"words", encoding=name, surprise=never)


@pytest.mark.parametrize(
    "data",
    [
        b"OggS\x00\x02\x00\x00\x8f\xfe\x01",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"\xff\xfe\x00",
        b"a\x00b",
        b"[00:01.00]a\x00b\n",
    ],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(LyricsError, match="is not a text file"):
        decode(data, encoding=None, surprise=surprise)


def test_lines_of_an_excerpt_begin_at_its_start() -> None:
    lines = parse_lyrics("[00:01.00]before\n[00:05.00]<00:05.00>in <00:06.00>it\n[00:09.00]later\n")
    first, second = lines_from(lines, 4.0)
    assert (first.text, first.t0, [word.t0 for word in first.words]) == ("in it", 1.0, [1.0, 2.0])
    assert (second.text, second.t0) == ("later", 5.0)
    assert lines_from(lines, 0.0) == lines
