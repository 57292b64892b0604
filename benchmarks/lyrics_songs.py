"""Songs with timed words: the reference of the lyrics benchmark."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.word_scoring import SungWord
from stream_mer.errors import SettingError
from stream_mer.sources.file import FileSource
from stream_mer.types import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """A song with its reference."""

    name: str
    audio: Path
    words: tuple[SungWord, ...]

    def samples(self) -> Samples:
        """All of its audio, gaps as silence."""
        chunks = list(FileSource(self.audio).chunks())
        samples = np.zeros(chunks[-1].end_sample, np.float32)
        for chunk in chunks:
            samples[chunk.start_sample : chunk.end_sample] = chunk.samples
        return samples


def find_songs(folder: Path | None) -> list[Song]:
    """Read the songs of a folder, by name.

    Raises:
        SettingError: There is no folder, no song in it, or a reference that cannot be read.
    """
    layout = "songs as DIR/*/audio.opus with lyrics.tsv (start_s, end_s, word)"
    if folder is None:
        raise SettingError(f"this benchmark wants {layout}: give --songs DIR or set STREAM_MER_SONGS")
    if not folder.is_dir():
        raise SettingError(f"there is no folder {folder}: give --songs DIR with {layout}")
    found = [
        Song(name=path.parent.name, audio=path, words=_read_words(path.with_name("lyrics.tsv")))
        for path in sorted(folder.glob("*/audio.opus"))
        if path.with_name("lyrics.tsv").is_file()
    ]
    if not found:
        raise SettingError(f"there is no song in {folder}: give --songs DIR with {layout}")
    return found


def _read_words(path: Path) -> tuple[SungWord, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
        words = tuple(SungWord(t0=float(t0), t1=float(t1), text=text) for t0, t1, text in rows)
    except (OSError, ValueError) as error:
        raise SettingError(f"cannot read {path}: {error}; each line must be start_s, end_s, word with tabs") from error
    if not words:
        raise SettingError(f"{path} holds no words; leave the song out or give its words")
    return words
