"""A corpus without transcripts gets them from the real recogniser: what it hears in the packaged song."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_mer.lyrics import whisper
from stream_mer.sources.file import demo_song
from stream_mer.training.corpus import Clip, Corpus
from stream_mer.training.lyrics import recognised_lines, whole_clips, with_transcripts
from stream_mer.training.tokens import read_audio
from stream_mer.types import SAMPLE_RATE_HZ

pytestmark = pytest.mark.whisper

SUNG_S = (3.0, 18.0)
SUNG = "you and i are dancing in the street i can feel the rhythm in my feet clap your hands and come and sing with me"


def test_words_of_the_song_are_heard_once_and_kept(
    tmp_path: Path, write_wav: Callable[[Path, NDArray[np.float32]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if whisper._base_package() is None:
        pytest.skip("the packages with Whisper's base weights are not installed")
    monkeypatch.setenv("STREAM_MER_CACHE", str(tmp_path / "weights"))
    start, end = (round(t * SAMPLE_RATE_HZ) for t in SUNG_S)
    song = read_audio(demo_song())[start:end]
    clips = tuple(
        Clip(clip_id=clip_id, audio=write_wav(tmp_path / f"{clip_id}.wav", samples), artist=clip_id, fold=fold)
        for fold, (clip_id, samples) in enumerate((("sung", song), ("silent", np.zeros_like(song))))
    )
    corpus = Corpus(root=tmp_path, clips=clips, transcripts={})

    found = with_transcripts(corpus, tmp_path / "cache", whole_clips(cpu_threads=1))

    row = found.transcripts["sung"]
    assert row["language"] == "en"
    text = " ".join(segment["text"] for segment in row["segments"])
    heard = re.findall(r"[a-z]+", text.lower())
    assert sum(word in heard for word in SUNG.split()) / len(SUNG.split()) >= 0.7, text
    for segment in row["segments"]:
        times = [t for word in segment["words"] for t in word[:2]]
        assert times == sorted(times)
        assert (segment["start"], segment["end"]) == (times[0], times[-1])
        assert times[-1] <= SUNG_S[1] - SUNG_S[0]
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "cache").rglob("*.json")]
    assert sorted(kept, key=lambda one: str(one["clip_id"])) == [found.transcripts["silent"], row]

    # As the text branch meets them: silence holds no words.
    lines = recognised_lines(found, tmp_path / "cache")
    assert len(lines["sung"]) >= 2
    assert len(lines["silent"]) == 0
