"""Songs of which there are words alone: every way to write words and labels, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.lyrics import PRINTED_LINE_S, QUADRANT_OF, WordSet, load_words
from stream_mer.types import CATEGORIES

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str, name: str = "songs.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written


def texts(found: WordSet, clip_id: str) -> list[str]:
    return [line.text for line in found.lines[clip_id]]


def test_a_song_is_a_clip_without_audio_by_nobody_known(write: Write) -> None:
    found = load_words(write('id,lyrics,quadrant\nx,"the sun is up\nand so am I",Q1\ny,all is lost,Q3\n'))
    assert found.name == "songs"
    assert [song.clip_id for song in found.songs] == ["songs-x", "songs-y"]
    assert [song.category for song in found.songs] == [0, 2]
    assert all((song.artist, song.cluster, song.valence, song.lyrics) == ("", None, None, None) for song in found.songs)
    assert texts(found, "songs-x") == ["the sun is up", "and so am I"]
    assert found.notes == ("songs.csv: 2 songs of words alone",)


def test_rows_without_an_id_have_their_number(write: Write) -> None:
    found = load_words(write("lyrics,quadrant\none,Q1\ntwo,Q2\n"))
    assert list(found.lines) == ["songs-0", "songs-1"]


def test_songs_of_two_files_are_told_apart(write: Write, tmp_path: Path) -> None:
    text = "lyrics,quadrant\none,Q1\n"
    (tmp_path / "poems.csv").write_text(text, encoding="utf-8")
    assert [*load_words(write(text)).lines, *load_words(tmp_path / "poems.csv").lines] == ["songs-0", "poems-0"]


# --- words


def test_lines_without_times_stand_a_usual_length_apart(write: Write) -> None:
    (lines,) = load_words(write('lyrics,quadrant\n"one\ntwo\n\nthree",Q1\n')).lines.values()
    assert [(line.text, line.t0, line.t1) for line in lines] == [
        ("one", PRINTED_LINE_S, PRINTED_LINE_S),
        ("two", 2 * PRINTED_LINE_S, 2 * PRINTED_LINE_S),
        ("three", 3 * PRINTED_LINE_S, 3 * PRINTED_LINE_S),
    ]
    assert {line.reliability for line in lines} == {1.0}


def test_lines_of_lrc_have_their_own_times(write: Write) -> None:
    lrc = "[ti:Song]\n[00:12.50]first\n[00:20.00]second\n[00:24.00]"
    (lines,) = load_words(write(f'lyrics_with_time_tags,quadrant\n"{lrc}",Q1\n')).lines.values()
    assert [(line.text, line.t0, line.t1) for line in lines] == [("first", 12.5, 20.0), ("second", 20.0, 24.0)]


def test_one_long_row_is_cut_at_its_commas_and_a_sentence_is_not(write: Write) -> None:
    short = "alas, the day is done, and so am I"
    row = ",".join(f"this is the clause that has the number {k}" for k in range(8))
    found = load_words(write(f'text,quadrant\n"{row}",Q1\n"{short}",Q2\n'))
    assert texts(found, "songs-0") == row.split(",")
    assert texts(found, "songs-1") == [short]
    chinese = "，".join("月亮代表我的心啊" * 3 + str(k) for k in range(9)) + "。"
    (lines,) = load_words(write(f"text,quadrant\n{chinese},Q1\n")).lines.values()
    assert [line.text for line in lines] == chinese.rstrip("。").split("，")


@pytest.mark.parametrize("column", ["lyrics", "lyrics_with_time_tags", "text"])
def test_the_words_may_stand_in_any_of_three_columns(column: str, write: Write) -> None:
    assert texts(load_words(write(f"{column},quadrant\nla la,Q1\n")), "songs-0") == ["la la"]


def test_a_byte_order_mark_and_a_very_long_song_are_read(tmp_path: Path) -> None:
    path = tmp_path / "songs.csv"
    long = "\n".join(f"line {k} of a very long song" for k in range(9000))  # beyond the csv module's own limit
    path.write_text(f'lyrics,quadrant\n"{long}",Q1\n', encoding="utf-8-sig")
    assert len(load_words(path).lines["songs-0"]) == 9000


# --- labels


@pytest.mark.parametrize(("emotion", "category"), QUADRANT_OF.items())
def test_words_for_an_emotion_are_quadrants(emotion: str, category: int, write: Write) -> None:
    (song,) = load_words(write(f"lyrics,emotion\nla la, {emotion.title()} \n")).songs
    assert song.category == category
    assert song.teaches_emotion


def test_emotions_lie_in_the_quadrants_of_their_names() -> None:
    assert {CATEGORIES[k] for word, k in QUADRANT_OF.items() if word in ("happy", "angry", "sad", "relaxed")} == {
        "happy",
        "angry",
        "sad",
        "relaxed",
    }
    assert [CATEGORIES[QUADRANT_OF[word]] for word in ("happy", "angry", "sad", "relaxed")] == list(CATEGORIES)


def test_ratings_are_read_on_both_scales_and_teach_by_themselves(write: Write) -> None:
    given = "text,valence,arousal\none,-0.5,0.25\n"
    (song,) = load_words(write(given)).songs
    assert (song.category, song.valence, song.arousal) == (None, -0.5, 0.25)
    assert song.teaches_emotion
    (song,) = load_words(write("text,valence_1_5,arousal_1_5\none,1,3.5\n")).songs
    assert (song.valence, song.arousal) == (-1.0, 0.25)


def test_folds_are_even_and_do_not_depend_on_the_order(write: Write) -> None:
    rows = [f"{k},song number {k},Q{k % 4 + 1}\n" for k in range(40)]
    first, second = (
        {song.clip_id: song.fold for song in load_words(write("id,lyrics,quadrant\n" + "".join(given))).songs}
        for given in (rows, rows[::-1])
    )
    assert first == second
    assert sorted(first.values()) == [k for k in range(5) for _ in range(8)]


# --- what is left out and what is refused


def test_rows_without_a_usable_label_without_words_or_with_those_of_another_are_left_out(write: Write) -> None:
    found = load_words(
        write(
            "id,lyrics,emotion\n"
            "a,one song,happy\n"
            "b,another song,surprised\n"  # of no quadrant
            "c,a third song,\n"
            "d,  ,sad\n"
            "e,One Song,sad\n"  # the words of the first
            "f,a last song,calm\n"
        )
    )
    assert list(found.lines) == ["songs-a", "songs-f"]
    assert [song.category for song in found.songs] == [0, 3]
    (note,) = found.notes
    assert note.startswith("songs.csv: 2 songs of words alone, 4 left out (")
    assert "the words of another row" in note


def test_a_row_that_is_left_out_takes_its_words_from_nobody(write: Write) -> None:
    found = load_words(write("lyrics,emotion\none song,surprised\none song,happy\n"))
    assert list(found.lines) == ["songs-1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("words,quadrant\nla,Q1\n", "no column lyrics or lyrics_with_time_tags or text"),
        ("", "no column lyrics"),
        ("lyrics,quadrant\nla,Q5\n", r"row 1: expected Q1 to Q4, not 'Q5'"),
        ("lyrics,quadrant\nla,Q1\nlu,happy\n", r"row 2: expected Q1 to Q4, not 'happy'"),
        ("text,valence,arousal\nla,0.5,much\n", "row 1: valence and arousal must both be numbers"),
        ("text,valence,arousal\nla,0.5,\n", "row 1: valence and arousal must both be numbers"),
        ("text,valence\nla,0.5\n", "row 1: valence and arousal must both be numbers"),
        ("lyrics\nla\n", "no row has both words and a label"),
        ("lyrics,emotion\nla,odd\n", "no row has both words and a label"),
        ("lyrics,quadrant\n,Q1\n", "no row has both words and a label"),
    ],
)
def test_a_file_that_teaches_nothing_is_refused_by_its_name(text: str, says: str, write: Write) -> None:
    with pytest.raises(CorpusError, match=rf"songs\.csv.*{says}"):
        load_words(write(text))


def test_ratings_beyond_their_scale_are_refused(write: Write) -> None:
    for given in ("valence,arousal\n0.5,1.5", "valence,arousal\nnan,0.5", "valence_1_5,arousal_1_5\n7,3"):
        columns, values = given.split("\n")
        with pytest.raises(CorpusError, match=r"songs\.csv, row 1: .*-1\.\.1"):
            load_words(write(f"text,{columns}\nla,{values}\n"))


def test_an_id_that_stands_for_two_songs_is_refused(write: Write) -> None:
    with pytest.raises(CorpusError, match=r"songs\.csv, row 2: the id 'songs-x' stands there twice"):
        load_words(write("id,lyrics,quadrant\nx,one,Q1\nx,two,Q2\n"))
    again = load_words(write("id,lyrics,quadrant\nx,one,Q1\nx,one,Q2\n"))  # the same song, written down twice
    assert list(again.lines) == ["songs-x"]


def test_what_is_no_csv_in_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"cannot read .*nothing\.csv.*UTF-8"):
        load_words(tmp_path / "nothing.csv")
    (tmp_path / "latin.csv").write_bytes("lyrics,quadrant\ncafé,Q1\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"cannot read .*latin\.csv.*UTF-8"):
        load_words(tmp_path / "latin.csv")
    with pytest.raises(CorpusError, match="cannot read"):
        load_words(tmp_path)
