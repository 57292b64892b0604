"""Clips without a transcript are listened to once; what a corpus brings is left alone."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.errors import LyricsError
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.training import lyrics as transcribe
from stream_mer.training.corpus import Clip, Corpus, load_corpus
from stream_mer.training.lyrics import recognised_lines, transcript_row, with_transcripts
from stream_mer.training.prepare import prepare
from stream_mer.types import LyricWord, Samples

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

    def __init__(self, *, missing: bool = False, fails_at: int = -1, error: BaseException | None = None) -> None:
        self.heard: list[int] = []
        self.loads = 0
        self._missing = missing
        self._fails_at = fails_at
        self._error = error

    def load(self) -> None:
        self.loads += 1
        if self._missing:
            raise LyricsError("no weights; install them")

    def transcribe(self, samples: Samples, *, language: str | None = None) -> Transcript:
        assert language is None
        if self._error is not None and len(self.heard) == self._fails_at:
            raise self._error
        self.heard.append(len(samples))
        return HEARD


@pytest.fixture
def corpus(corpus_folder: Path) -> Corpus:
    return load_corpus(corpus_folder)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_row_is_what_a_corpus_would_hold_and_its_words_read_back() -> None:
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


def test_only_clips_without_a_transcript_are_listened_to(corpus: Corpus, tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("quick_encoder")
def test_what_was_heard_becomes_lines_of_the_text_branch(corpus: Corpus, tmp_path: Path) -> None:
    lines = recognised_lines(with_transcripts(corpus, tmp_path, Scripted()), tmp_path)
    assert lines["c2"].t1 == pytest.approx([0.9])
    assert lines["c2"].reliability == pytest.approx([(0.91 + 0.8) / 2])


def test_a_second_run_listens_to_nothing_and_needs_no_weights(corpus: Corpus, tmp_path: Path) -> None:
    first = with_transcripts(corpus, tmp_path, Scripted())
    again = Scripted(missing=True)
    assert with_transcripts(corpus, tmp_path, again).transcripts == first.transcripts
    assert (again.loads, again.heard) == (0, [])


def test_a_corpus_with_all_its_transcripts_needs_neither_weights_nor_cache(corpus: Corpus, tmp_path: Path) -> None:
    whole = replace(corpus, clips=tuple(clip for clip in corpus.clips if clip.clip_id in corpus.transcripts))
    recogniser = Scripted(missing=True)
    assert with_transcripts(whole, tmp_path, recogniser) is whole
    assert (recogniser.loads, list(tmp_path.iterdir())) == (0, [])


def test_an_interrupted_run_goes_on_where_it_stopped(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        with_transcripts(corpus, tmp_path, Scripted(fails_at=3, error=KeyboardInterrupt()))
    recogniser = Scripted()
    assert len(with_transcripts(corpus, tmp_path, recogniser).transcripts) == 10
    assert len(recogniser.heard) == 4


def test_an_interrupted_write_leaves_no_row(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            with_transcripts(corpus, tmp_path, Scripted())
    recogniser = Scripted()
    with_transcripts(corpus, tmp_path, recogniser)
    assert len(recogniser.heard) == 7


@pytest.mark.parametrize("content", ["", '{"clip_id": "c2", "segm', "[]", "{}"])
def test_a_damaged_row_is_made_again(corpus: Corpus, tmp_path: Path, content: str) -> None:
    with_transcripts(corpus, tmp_path, Scripted())
    (damaged,) = tmp_path.glob("*/c2-*.json")
    damaged.write_text(content, encoding="utf-8")
    recogniser = Scripted()
    found = with_transcripts(corpus, tmp_path, recogniser)
    assert len(recogniser.heard) == 1
    assert found.transcripts["c2"] == transcript_row("c2", HEARD)


def test_another_recording_under_the_same_id_is_listened_to(
    tmp_path: Path,
    music: Callable[..., NDArray[np.float32]],
    write_wav: Callable[[Path, NDArray[np.float32]], Path],
) -> None:
    audio = write_wav(tmp_path / "a.wav", music(1.0))
    clip = Clip(clip_id="a", audio=audio, artist="x", fold=0)
    corpus = Corpus(root=tmp_path, clips=(clip,), transcripts={})
    with_transcripts(corpus, tmp_path / "cache", Scripted())
    write_wav(audio, music(2.0))
    os.utime(audio, (1, 1))
    recogniser = Scripted()
    with_transcripts(corpus, tmp_path / "cache", recogniser)
    assert recogniser.heard == [32_000]


def test_of_a_longer_recording_only_the_clip_is_heard(corpus: Corpus, tmp_path: Path) -> None:
    middle = replace(corpus, clips=(replace(corpus.clips[2], middle_s=2.5),))
    recogniser = Scripted()
    with_transcripts(middle, tmp_path, recogniser)
    assert recogniser.heard == [40_000]
    with_transcripts(replace(corpus, clips=corpus.clips[2:3]), tmp_path, recogniser)
    assert recogniser.heard == [40_000, 96_000]  # what was heard of the middle is no transcript of the whole


def test_without_weights_it_goes_on_with_one_warning(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = with_transcripts(corpus, tmp_path, Scripted(missing=True))
    assert found.transcripts == corpus.transcripts
    assert [record.getMessage() for record in caplog.records] == [
        "no transcripts for 7 clips, so they are taken to be without words: no weights; install them"
    ]


def test_a_clip_on_which_it_fails_goes_without(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = with_transcripts(corpus, tmp_path, Scripted(fails_at=6, error=LyricsError("out of tokens")))
    assert len(found.transcripts) == 9
    assert [record.getMessage() for record in caplog.records] == [
        "the recogniser failed on 1 of 7 clips, which are taken to be without words; c9: out of tokens"
    ]


def test_it_tells_what_it_is_about_and_how_long_it_takes(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: Iterator[float] = iter([100.0, 160.0])
    monkeypatch.setattr(transcribe, "time", type("Clock", (), {"monotonic": lambda: next(ticks)}))
    with_transcripts(corpus, tmp_path, Scripted())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "7 clips have no transcript: the recogniser listens to them once (--no-transcripts skips this)",
        "at 20.0 s a clip, the other 4 take about 1 min; interrupt it when you like, the same command goes on",
    ]


def test_preparing_asks_for_it_unless_told_not_to(
    corpus_folder: Path, tiny_model: Path, tmp_path: Path, quick_encoder: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser = Scripted()
    monkeypatch.setattr("stream_mer.training.prepare.whole_clips", lambda **_: recogniser)
    without = prepare([corpus_folder], tiny_model, tmp_path, transcripts=False).data
    assert recogniser.loads == 0
    data = prepare([corpus_folder], tiny_model, tmp_path).data
    assert len(recogniser.heard) == 7
    assert "Morning light," in quick_encoder.encoded
    assert [sum(s.has_lines(row, "recognised") for row in range(10)) for s in (without, data)] == [3, 10]
