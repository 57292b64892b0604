"""The words of a corpus as the text branch meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_mer.errors import CorpusError
from stream_mer.lyrics.text_features import LINE_FEATURES, VECTOR_SIZE, LyricStyle, line_vector
from stream_mer.training.corpus import load_corpus
from stream_mer.training.lyrics import (
    PRINTED_LINE_S,
    TimedText,
    _corrupt,
    encode_songs,
    printed_lines,
    recognised_lines,
)


def test_transcripts_become_lines_with_times_and_reliability(
    corpus_folder: Path, tmp_path: Path, quick_encoder: type[Any]
) -> None:
    found = recognised_lines(load_corpus(corpus_folder), tmp_path)
    assert sorted(found) == ["c0", "c1", "c4"]
    lines = found["c1"]
    assert len(lines) >= 1
    assert lines.vectors.shape == (len(lines), LINE_FEATURES)
    assert lines.t1[-1] == pytest.approx(2.9)
    assert lines.reliability == pytest.approx(0.9)
    spoken = " ".join(quick_encoder.encoded)
    assert all(f"word1{k}" in spoken for k in range(6))


def test_printed_words_are_lines_without_headings(
    corpus_folder: Path, tmp_path: Path, quick_encoder: type[Any]
) -> None:
    found = printed_lines(load_corpus(corpus_folder), tmp_path)
    assert sorted(found) == ["c0", "c3"]
    assert found["c0"].t1.tolist() == [PRINTED_LINE_S, 2 * PRINTED_LINE_S]
    assert found["c0"].reliability.tolist() == [1, 1]
    assert sorted(quick_encoder.encoded) == ["line one of 0", "line one of 3", "line two of 0", "line two of 3"]


LRC = (
    "[ti:Song]\n[00:00.00] 作曲 : Someone\n[00:01.00] 作词: Another\n"
    "[00:12.50]first line\n[00:20.00][00:40.00]again\n[00:30.00]\n"
)


def test_printed_words_may_be_lrc(corpus_folder: Path, tmp_path: Path, quick_encoder: type[Any]) -> None:
    corpus = load_corpus(corpus_folder)
    (tmp_path / "song.lrc").write_text(LRC, encoding="utf-8-sig")
    song = replace(corpus.clips[0], lyrics=tmp_path / "song.lrc")
    lines = printed_lines(replace(corpus, clips=(song,)), tmp_path)["c0"]
    assert lines.t1.tolist() == [PRINTED_LINE_S, 2 * PRINTED_LINE_S, 3 * PRINTED_LINE_S]
    assert sorted(quick_encoder.encoded) == ["again", "first line"]


def test_every_text_is_encoded_once(corpus_folder: Path, tmp_path: Path, quick_encoder: type[Any]) -> None:
    corpus = load_corpus(corpus_folder)
    first = printed_lines(corpus, tmp_path)
    quick_encoder.encoded = []
    second = printed_lines(corpus, tmp_path)
    assert quick_encoder.encoded == []
    assert all(np.array_equal(first[name].vectors, second[name].vectors) for name in first)


def test_a_clip_of_which_nothing_was_heard_has_no_lines(
    corpus_folder: Path, tmp_path: Path, quick_encoder: type[Any]
) -> None:
    corpus = load_corpus(corpus_folder)
    corpus.transcripts["c0"]["segments"] = []  # type: ignore[index]
    assert len(recognised_lines(corpus, tmp_path)["c0"]) == 0
    assert quick_encoder.encoded != []


@pytest.mark.usefixtures("quick_encoder")
@pytest.mark.parametrize("row", [{}, {"language": "en", "segments": [{"words": 3}]}])
def test_a_malformed_transcript_is_named(corpus_folder: Path, tmp_path: Path, row: dict[str, Any]) -> None:
    corpus = replace(load_corpus(corpus_folder), transcripts={"c0": row})
    with pytest.raises(CorpusError, match="the row of c0 is malformed"):
        recognised_lines(corpus, tmp_path)


SONGS = {
    "a": [TimedText("we run and we run", 1.0, 3.0, 0.5), TimedText("in the rain", 4.0, 6.0, 0.9)],
    "b": [TimedText("in the rain", 0.0, 4.0, 1.0)],
    "c": [],
}


def test_songs_are_read_as_a_live_run_reads_them_each_from_its_own_start(
    tmp_path: Path, quick_encoder: type[Any]
) -> None:
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


def test_more_songs_keep_what_is_encoded(tmp_path: Path, quick_encoder: type[Any]) -> None:
    encode_songs({"b": SONGS["b"]}, tmp_path, "printed")
    encode_songs(SONGS, tmp_path, "printed")
    assert quick_encoder.encoded == ["we run and we run"]  # a new encoder, for the one new line
    quick_encoder.encoded = []
    encode_songs(SONGS, tmp_path, "another file")
    assert quick_encoder.encoded == ["in the rain", "we run and we run"]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_so_many_words_are_replaced_by_others_of_the_same_songs(share: float) -> None:
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


def test_corrupted_lines_are_kept_apart_from_the_clean_ones(tmp_path: Path, quick_encoder: type[Any]) -> None:
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
