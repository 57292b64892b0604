"""The words of a corpus as the text branch meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_mer.errors import CorpusError
from stream_mer.training.corpus import load_corpus
from stream_mer.training.lyrics import PRINTED_LINE_S, printed_lines, recognised_lines


def test_transcripts_become_lines_with_times_and_reliability(
    corpus_folder: Path, tmp_path: Path, quick_encoder: type[Any]
) -> None:
    found = recognised_lines(load_corpus(corpus_folder), tmp_path)
    assert sorted(found) == ["c0", "c1", "c4"]
    lines = found["c1"]
    assert len(lines) >= 1
    assert lines.vectors.shape == (len(lines), 512)
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
