"""Lyrics for training: recognised, printed, and of songs without audio."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_mer.errors import CorpusError, LyricsError
from stream_mer.lyrics.text_features import LINE_FEATURES, VECTOR_SIZE, LyricStyle, line_vector
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.training import lyrics as transcribe
from stream_mer.training.corpus import Clip, Corpus, load_corpus
from stream_mer.training.dataset import prepare
from stream_mer.training.lyrics import (
    PRINTED_LINE_S,
    QUADRANT_OF,
    TimedText,
    _corrupt,
    encode_songs,
    load_words,
    printed_lines,
    recognised_lines,
    transcript_row,
    with_transcripts,
)
from stream_mer.types import CATEGORIES, LyricWord


def test_transcripts_become_lines_with_times_and_reliability(corpus_folder, tmp_path, quick_encoder):
    found = recognised_lines(load_corpus(corpus_folder), tmp_path)
    assert sorted(found) == ["c0", "c1", "c4"]
    lines = found["c1"]
    assert len(lines) >= 1
    assert lines.vectors.shape == (len(lines), LINE_FEATURES)
    assert lines.t1[-1] == pytest.approx(2.9)
    assert lines.reliability == pytest.approx(0.9)
    spoken = " ".join(quick_encoder.encoded)
    assert all(f"word1{k}" in spoken for k in range(6))


def test_printed_words_are_lines_without_headings(corpus_folder, tmp_path, quick_encoder):
    found = printed_lines(load_corpus(corpus_folder), tmp_path)
    assert sorted(found) == ["c0", "c3"]
    assert found["c0"].t1.tolist() == [PRINTED_LINE_S, 2 * PRINTED_LINE_S]
    assert found["c0"].reliability.tolist() == [1, 1]
    assert sorted(quick_encoder.encoded) == ["line one of 0", "line one of 3", "line two of 0", "line two of 3"]


LRC = (
    "[ti:Song]\n[00:00.00] 作曲 : Someone\n[00:01.00] 作词: Another\n"
    "[00:12.50]first line\n[00:20.00][00:40.00]again\n[00:30.00]\n"
)


def test_printed_words_may_be_lrc(corpus_folder, tmp_path, quick_encoder):
    corpus = load_corpus(corpus_folder)
    (tmp_path / "song.lrc").write_text(LRC, encoding="utf-8-sig")
    song = replace(corpus.clips[0], lyrics=tmp_path / "song.lrc")
    lines = printed_lines(replace(corpus, clips=(song,)), tmp_path)["c0"]
    assert lines.t1.tolist() == [PRINTED_LINE_S, 2 * PRINTED_LINE_S, 3 * PRINTED_LINE_S]
    assert sorted(quick_encoder.encoded) == ["again", "first line"]


def test_a_clip_of_which_nothing_was_heard_has_no_lines(corpus_folder, tmp_path, quick_encoder):
    corpus = load_corpus(corpus_folder)
    corpus.transcripts["c0"]["segments"] = []
    assert len(recognised_lines(corpus, tmp_path)["c0"]) == 0
    assert quick_encoder.encoded != []


@pytest.mark.usefixtures("quick_encoder")
@pytest.mark.parametrize("row", [{}, {"language": "en", "segments": [{"words": 3}]}])
def test_a_malformed_transcript_is_named(corpus_folder, tmp_path, row):
    corpus = replace(load_corpus(corpus_folder), transcripts={"c0": row})
    with pytest.raises(CorpusError, match="the row of c0 is malformed"):
        recognised_lines(corpus, tmp_path)


SONGS = {
    "a": [TimedText("we run and we run", 1.0, 3.0, 0.5), TimedText("in the rain", 4.0, 6.0, 0.9)],
    "b": [TimedText("in the rain", 0.0, 4.0, 1.0)],
    "c": [],
}


def test_songs_are_read_as_a_live_run_reads_them_each_from_its_own_start(tmp_path, quick_encoder):
    found = encode_songs(SONGS, tmp_path, "printed")
    assert {name: len(lines) for name, lines in found.items()} == {"a": 2, "b": 1, "c": 0}
    encode = quick_encoder().encode
    for name in ("a", "b"):
        style = LyricStyle()
        expected = [line_vector(encode(line.text), style, line.text, line.t1 - line.t0) for line in SONGS[name]]
        np.testing.assert_array_equal(found[name].vectors, np.stack(expected))
    assert found["a"].t1.tolist() == [3.0, 6.0]
    assert found["a"].reliability.tolist() == pytest.approx([0.5, 0.9])
    # One meaning, but other lines before it and another pace.
    assert np.array_equal(found["a"].vectors[1, :VECTOR_SIZE], found["b"].vectors[0, :VECTOR_SIZE])
    assert not np.array_equal(found["a"].vectors[1], found["b"].vectors[0])


def test_more_songs_keep_what_is_encoded(tmp_path, quick_encoder):
    encode_songs({"b": SONGS["b"]}, tmp_path, "printed")
    encode_songs(SONGS, tmp_path, "printed")
    assert quick_encoder.encoded == ["we run and we run"]  # a new encoder, for the one new line
    quick_encoder.encoded = []
    encode_songs(SONGS, tmp_path, "another file")
    assert quick_encoder.encoded == ["in the rain", "we run and we run"]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_so_many_words_are_replaced_by_others_of_the_same_songs(share):
    words = [f"w{k}" for k in range(2000)]
    songs = {
        name: [TimedText(" ".join(words[k : k + 10]), k, k + 5.0, 0.8) for k in range(start, start + 1000, 10)]
        for name, start in (("a", 0), ("b", 1000))
    }
    wrong = _corrupt(songs, share)
    told = [word for name in songs for line in wrong[name] for word in line.text.split()]
    assert set(told) < set(words)
    # Three standard errors of 2,000 words; one in 2,000 is by chance replaced by itself.
    assert np.mean([a == b for a, b in zip(told, words, strict=True)]) == pytest.approx(1 - share, abs=0.034)
    assert [line[1:] for line in wrong["b"]] == [line[1:] for line in songs["b"]]  # times and reliability stay
    assert wrong == _corrupt(songs, share)


def test_corrupted_lines_are_kept_apart_from_the_clean_ones(tmp_path, quick_encoder):
    clean, half, quarter, again = (encode_songs(SONGS, tmp_path, "printed", share) for share in (0.0, 0.5, 0.25, 0.0))
    for name in ("a", "b"):
        assert np.array_equal(clean[name].vectors, again[name].vectors)
        assert half[name].vectors.shape == clean[name].vectors.shape
    assert not np.array_equal(half["a"].vectors, clean["a"].vectors)
    assert not np.array_equal(quarter["a"].vectors, half["a"].vectors)
    assert quick_encoder.encoded
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lines-printed-corrupted-0.25.npz",
        "lines-printed-corrupted-0.5.npz",
        "lines-printed.npz",
    ]


# --- Songs of which there are words alone: every way to write words and labels, and what is left out


@pytest.fixture
def write(tmp_path):
    def written(text, name="songs.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return written


def texts(found, clip_id):
    return [line.text for line in found.lines[clip_id]]


def test_a_song_is_a_clip_without_audio_by_nobody_known(write):
    found = load_words(write('id,lyrics,quadrant\nx,"the sun is up\nand so am I",Q1\ny,all is lost,Q3\n'))
    assert found.name == "songs"
    assert [song.clip_id for song in found.songs] == ["songs-x", "songs-y"]
    assert [song.category for song in found.songs] == [0, 2]
    assert all((song.artist, song.cluster, song.valence, song.lyrics) == ("", None, None, None) for song in found.songs)
    assert texts(found, "songs-x") == ["the sun is up", "and so am I"]
    assert found.note == "songs.csv: 2 songs of words alone"


# --- words


def test_lines_without_times_stand_a_usual_length_apart(write):
    (lines,) = load_words(write('lyrics,quadrant\n"one\ntwo\n\nthree",Q1\n')).lines.values()
    assert [(line.text, line.t0, line.t1) for line in lines] == [
        ("one", PRINTED_LINE_S, PRINTED_LINE_S),
        ("two", 2 * PRINTED_LINE_S, 2 * PRINTED_LINE_S),
        ("three", 3 * PRINTED_LINE_S, 3 * PRINTED_LINE_S),
    ]
    assert {line.reliability for line in lines} == {1.0}


def test_lines_of_lrc_have_their_own_times(write):
    lrc = "[ti:Song]\n[00:12.50]first\n[00:20.00]second\n[00:24.00]"
    (lines,) = load_words(write(f'lyrics_with_time_tags,quadrant\n"{lrc}",Q1\n')).lines.values()
    assert [(line.text, line.t0, line.t1) for line in lines] == [("first", 12.5, 20.0), ("second", 20.0, 24.0)]


def test_one_long_row_is_cut_at_its_commas_and_a_sentence_is_not(write):
    short = "alas, the day is done, and so am I"
    row = ",".join(f"this is the clause that has the number {k}" for k in range(8))
    found = load_words(write(f'text,quadrant\n"{row}",Q1\n"{short}",Q2\n'))
    assert texts(found, "songs-0") == row.split(",")
    assert texts(found, "songs-1") == [short]
    chinese = "，".join("月亮代表我的心啊" * 3 + str(k) for k in range(9)) + "。"
    (lines,) = load_words(write(f"text,quadrant\n{chinese},Q1\n")).lines.values()
    assert [line.text for line in lines] == chinese.rstrip("。").split("，")


def test_a_byte_order_mark_and_a_very_long_song_are_read(tmp_path):
    path = tmp_path / "songs.csv"
    long = "\n".join(f"line {k} of a very long song" for k in range(9000))  # beyond the csv module's own limit
    path.write_text(f'lyrics,quadrant\n"{long}",Q1\n', encoding="utf-8-sig")
    assert len(load_words(path).lines["songs-0"]) == 9000


# --- labels


@pytest.mark.parametrize(("emotion", "category"), QUADRANT_OF.items())
def test_words_for_an_emotion_are_quadrants(emotion, category, write):
    (song,) = load_words(write(f"lyrics,emotion\nla la, {emotion.title()} \n")).songs
    assert song.category == category
    assert song.teaches_emotion


def test_emotions_lie_in_the_quadrants_of_their_names():
    assert [CATEGORIES[QUADRANT_OF[word]] for word in ("happy", "angry", "sad", "relaxed")] == list(CATEGORIES)


def test_ratings_are_read_on_both_scales_and_teach_by_themselves(write):
    given = "text,valence,arousal\none,-0.5,0.25\n"
    (song,) = load_words(write(given)).songs
    assert (song.category, song.valence, song.arousal) == (None, -0.5, 0.25)
    assert song.teaches_emotion
    (song,) = load_words(write("text,valence_1_5,arousal_1_5\none,1,3.5\n")).songs
    assert (song.valence, song.arousal) == (-1.0, 0.25)


def test_folds_are_even_and_do_not_depend_on_the_order(write):
    rows = [f"{k},song number {k},Q{k % 4 + 1}\n" for k in range(40)]
    first, second = (
        {song.clip_id: song.fold for song in load_words(write("id,lyrics,quadrant\n" + "".join(given))).songs}
        for given in (rows, rows[::-1])
    )
    assert first == second
    assert sorted(first.values()) == [k for k in range(5) for _ in range(8)]


# --- what is left out and what is refused


def test_rows_without_a_usable_label_without_words_or_with_those_of_another_are_left_out(write):
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
    assert found.note.startswith("songs.csv: 2 songs of words alone, 4 left out (")
    assert "the words of another row" in found.note


def test_a_row_that_is_left_out_takes_its_words_from_nobody(write):
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
def test_a_file_that_teaches_nothing_is_refused_by_its_name(text, says, write):
    with pytest.raises(CorpusError, match=rf"songs\.csv.*{says}"):
        load_words(write(text))


def test_ratings_beyond_their_scale_are_refused(write):
    for given in ("valence,arousal\n0.5,1.5", "valence,arousal\nnan,0.5", "valence_1_5,arousal_1_5\n7,3"):
        columns, values = given.split("\n")
        with pytest.raises(CorpusError, match=r"songs\.csv, row 1: .*-1\.\.1"):
            load_words(write(f"text,{columns}\nla,{values}\n"))


def test_an_id_that_stands_for_two_songs_is_refused(write):
    with pytest.raises(CorpusError, match=r"songs\.csv, row 2: the id 'songs-x' stands there twice"):
        load_words(write("id,lyrics,quadrant\nx,one,Q1\nx,two,Q2\n"))
    again = load_words(write("id,lyrics,quadrant\nx,one,Q1\nx,one,Q2\n"))  # the same song, written down twice
    assert list(again.lines) == ["songs-x"]


def test_what_is_no_csv_in_utf_8_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"cannot read .*nothing\.csv.*UTF-8"):
        load_words(tmp_path / "nothing.csv")
    (tmp_path / "latin.csv").write_bytes("lyrics,quadrant\ncafé,Q1\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"cannot read .*latin\.csv.*UTF-8"):
        load_words(tmp_path / "latin.csv")
    with pytest.raises(CorpusError, match="cannot read"):
        load_words(tmp_path)


# --- Clips without a transcript are listened to once; what a corpus brings is left alone


HEARD = Transcript(
    segments=(
        Segment(
            words=(
                LyricWord(t0=0.0, t1=0.5001, text="Morning", probability=0.914),
                LyricWord(t0=0.5001, t1=0.9, text="light,", probability=0.8),
            ),
            no_speech_prob=0.12345,
            avg_logprob=-0.45678,
            compression_ratio=1.2345,
        ),
        Segment(words=()),
    ),
    language="en",
    language_probability=0.98765,
)


class Scripted:
    """Hears the same words in everything, or raises what it is told to at one of its turns."""

    def __init__(self, *, missing=False, fails_at=-1, error=None):
        self.heard = []
        self.loads = 0
        self._missing = missing
        self._fails_at = fails_at
        self._error = error

    def load(self):
        self.loads += 1
        if self._missing:
            raise LyricsError("no weights; install them")

    def transcribe(self, samples, *, language=None):
        assert language is None
        if self._error is not None and len(self.heard) == self._fails_at:
            raise self._error
        self.heard.append(len(samples))
        return HEARD


@pytest.fixture
def corpus(corpus_folder):
    return load_corpus(corpus_folder)


def listing(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_row_is_what_a_corpus_would_hold_and_its_words_read_back():
    row = transcript_row("c2", HEARD)
    assert row == {
        "clip_id": "c2",
        "language": "en",
        "language_probability": 0.988,
        "segments": [
            {
                "start": 0.0,
                "end": 0.9,
                "text": "Morning light,",
                "no_speech_prob": 0.123,
                "avg_logprob": -0.457,
                "compression_ratio": 1.23,
                "words": [[0.0, 0.5, "Morning", 0.91], [0.5, 0.9, "light,", 0.8]],
            }
        ],
    }
    assert json.loads(json.dumps(row)) == row


def test_only_clips_without_a_transcript_are_listened_to(corpus, tmp_path):
    before = listing(corpus.root)
    recogniser = Scripted()
    found = with_transcripts(corpus, tmp_path, recogniser)
    assert recogniser.heard == [96_000] * 7  # 6 s each; c0, c1 and c4 bring their own
    assert all(found.transcripts[clip_id] == row for clip_id, row in corpus.transcripts.items())
    assert found.transcripts["c2"] == transcript_row("c2", HEARD)
    assert sorted(found.transcripts) == [f"c{i}" for i in range(10)]
    assert sorted(corpus.transcripts) == ["c0", "c1", "c4"]
    assert listing(corpus.root) == before
    assert all(path.suffix == ".json" for path in tmp_path.rglob("*") if path.is_file())


def test_a_second_run_listens_to_nothing_and_needs_no_weights(corpus, tmp_path):
    first = with_transcripts(corpus, tmp_path, Scripted())
    again = Scripted(missing=True)
    assert with_transcripts(corpus, tmp_path, again).transcripts == first.transcripts
    assert (again.loads, again.heard) == (0, [])


def test_a_corpus_with_all_its_transcripts_needs_neither_weights_nor_cache(corpus, tmp_path):
    whole = replace(corpus, clips=tuple(clip for clip in corpus.clips if clip.clip_id in corpus.transcripts))
    recogniser = Scripted(missing=True)
    assert with_transcripts(whole, tmp_path, recogniser) is whole
    assert (recogniser.loads, list(tmp_path.iterdir())) == (0, [])


def test_an_interrupted_run_goes_on_where_it_stopped(corpus, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with_transcripts(corpus, tmp_path, Scripted(fails_at=3, error=KeyboardInterrupt()))
    recogniser = Scripted()
    assert len(with_transcripts(corpus, tmp_path, recogniser).transcripts) == 10
    assert len(recogniser.heard) == 4


def test_an_interrupted_write_leaves_no_row(corpus, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            with_transcripts(corpus, tmp_path, Scripted())
    recogniser = Scripted()
    with_transcripts(corpus, tmp_path, recogniser)
    assert len(recogniser.heard) == 7


@pytest.mark.parametrize("content", ["", '{"clip_id": "c2", "segm', "[]", "{}"])
def test_a_damaged_row_is_made_again(corpus, tmp_path, content):
    with_transcripts(corpus, tmp_path, Scripted())
    (damaged,) = tmp_path.glob("*/c2-*.json")
    damaged.write_text(content, encoding="utf-8")
    recogniser = Scripted()
    found = with_transcripts(corpus, tmp_path, recogniser)
    assert len(recogniser.heard) == 1
    assert found.transcripts["c2"] == transcript_row("c2", HEARD)


def test_another_recording_under_the_same_id_is_listened_to(tmp_path, music, write_wav):
    audio = write_wav(tmp_path / "a.wav", music(1.0))
    clip = Clip(clip_id="a", audio=audio, artist="x", fold=0)
    corpus = Corpus(root=tmp_path, clips=(clip,), transcripts={})
    with_transcripts(corpus, tmp_path / "cache", Scripted())
    write_wav(audio, music(2.0))
    os.utime(audio, (1, 1))
    recogniser = Scripted()
    with_transcripts(corpus, tmp_path / "cache", recogniser)
    assert recogniser.heard == [32_000]


def test_of_a_longer_recording_only_the_clip_is_heard(corpus, tmp_path):
    middle = replace(corpus, clips=(replace(corpus.clips[2], middle_s=2.5),))
    recogniser = Scripted()
    with_transcripts(middle, tmp_path, recogniser)
    assert recogniser.heard == [40_000]
    with_transcripts(replace(corpus, clips=corpus.clips[2:3]), tmp_path, recogniser)
    assert recogniser.heard == [40_000, 96_000]  # what was heard of the middle is no transcript of the whole


def test_without_weights_it_goes_on_with_one_warning(corpus, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = with_transcripts(corpus, tmp_path, Scripted(missing=True))
    assert found.transcripts == corpus.transcripts
    assert [record.getMessage() for record in caplog.records] == [
        "no transcripts for 7 clips, so they are taken to be without words: no weights; install them"
    ]


def test_a_clip_on_which_it_fails_goes_without(corpus, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = with_transcripts(corpus, tmp_path, Scripted(fails_at=6, error=LyricsError("out of tokens")))
    assert len(found.transcripts) == 9
    assert [record.getMessage() for record in caplog.records] == [
        "the recogniser failed on 1 of 7 clips, which are taken to be without words; c9: out of tokens"
    ]


def test_it_tells_what_it_is_about_and_how_long_it_takes(corpus, tmp_path, capsys, monkeypatch):
    ticks = iter([100.0, 160.0])
    monkeypatch.setattr(transcribe, "time", type("Clock", (), {"monotonic": lambda: next(ticks)}))
    with_transcripts(corpus, tmp_path, Scripted())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "7 clips have no transcript: they are transcribed once (--no-transcripts skips this)",
        "at 20.0 s a clip, the other 4 take about 1 min; interrupt it when you like, the same command goes on",
    ]


def test_preparing_asks_for_it_unless_told_not_to(corpus_folder, tiny_model, tmp_path, quick_encoder, monkeypatch):
    recogniser = Scripted()
    monkeypatch.setattr("stream_mer.training.dataset.whole_clips", lambda **_: recogniser)
    without = prepare([corpus_folder], tiny_model, tmp_path, transcripts=False).data
    assert recogniser.loads == 0
    data = prepare([corpus_folder], tiny_model, tmp_path).data
    assert len(recogniser.heard) == 7
    assert "Morning light," in quick_encoder.encoded
    assert [sum(s.has_lines(row, "recognised") for row in range(10)) for s in (without, data)] == [3, 10]
