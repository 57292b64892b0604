"""Reads a labelled corpus: a folder with ``manifest.csv``, audio files, and perhaps lyrics and transcripts.

Columns of the manifest: ``clip_id``, ``audio`` (path within the folder), ``artist`` and ``fold`` (0..4,
artist-disjoint); and any of ``quadrant`` (Q1..Q4), ``cluster`` (C1..C5), ``valence`` and ``arousal`` (-1..1),
``lyrics`` (path of the song's printed words). An empty cell is a label that the clip lacks.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_mer.errors import CorpusError
from stream_mer.types import CATEGORIES, CLUSTERS

REQUIRED_COLUMNS = ("clip_id", "audio", "artist", "fold")
N_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One labelled recording.

    Attributes:
        clip_id: Unique in the corpus.
        audio: The audio file.
        artist: The unit that must never sit on both sides of a split.
        fold: 0..4.
        category: Index into ``CATEGORIES``, or None.
        cluster: Index into ``CLUSTERS``, or None.
        valence: -1..1, or None.
        arousal: -1..1, or None.
        lyrics: File with the song's printed words, or None.
    """

    clip_id: str
    audio: Path
    artist: str
    fold: int
    category: int | None = None
    cluster: int | None = None
    valence: float | None = None
    arousal: float | None = None
    lyrics: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A labelled corpus.

    Attributes:
        root: Its folder.
        clips: In the manifest's order.
        transcripts: What a recogniser heard, by clip id; the rows of ``transcripts.jsonl`` as they are. May be empty.
    """

    root: Path
    clips: tuple[Clip, ...]
    transcripts: Mapping[str, Mapping[str, Any]]


def load_corpus(root: Path) -> Corpus:
    """Read the manifest and the transcripts.

    Raises:
        CorpusError: The folder or its manifest is missing, a row is malformed, two rows have one id, a file is
            missing, an artist sits in two folds, or there is but one fold.
    """
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise CorpusError(f"no corpus at {root}: there is no manifest.csv in it (see docs/TRAINING.md for its columns)")
    clips = _read_manifest(manifest)
    if not clips:
        raise CorpusError(f"{manifest} has no rows")
    _check_ids(clips, manifest)
    _check_files(clips, manifest)
    _check_folds(clips, manifest)
    return Corpus(root=root, clips=clips, transcripts=_read_transcripts(root / "transcripts.jsonl"))


def _read_manifest(manifest: Path) -> tuple[Clip, ...]:
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            missing = [column for column in REQUIRED_COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{manifest} lacks the column {', '.join(missing)} (see docs/TRAINING.md)")
            return tuple(_read_clip(manifest.parent, row, reader.line_num) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"cannot read {manifest}: {error}; it must be CSV in UTF-8") from error


def _read_clip(root: Path, row: Mapping[str, str], line: int) -> Clip:
    try:
        return Clip(
            clip_id=_clip_id(row["clip_id"]),
            audio=root / row["audio"],
            artist=row["artist"],
            fold=_fold(row["fold"]),
            category=_label(row.get("quadrant"), "Q", len(CATEGORIES)),
            cluster=_label(row.get("cluster"), "C", len(CLUSTERS)),
            valence=_coordinate(row.get("valence")),
            arousal=_coordinate(row.get("arousal")),
            lyrics=root / row["lyrics"] if row.get("lyrics") else None,
        )
    except ValueError as error:
        raise CorpusError(f"{root / 'manifest.csv'}, line {line}: {error}") from error


def _clip_id(text: str) -> str:
    if not text or text != Path(text).name:  # the cache keeps a file of this name
        raise ValueError(f"clip_id must be a plain name, not {text!r}")
    return text


def _fold(text: str) -> int:
    fold = int(text)
    if not 0 <= fold < N_FOLDS:
        raise ValueError(f"fold must be 0 to {N_FOLDS - 1}, not {fold}")
    return fold


def _label(text: str | None, letter: str, n: int) -> int | None:
    if not text:
        return None
    if text[:1] != letter or text[1:] not in {str(i + 1) for i in range(n)}:
        raise ValueError(f"expected {letter}1 to {letter}{n} or nothing, not {text!r}")
    return int(text[1:]) - 1


def _coordinate(text: str | None) -> float | None:
    if not text:
        return None
    value = float(text)
    if not (math.isfinite(value) and -1 <= value <= 1):
        raise ValueError(f"valence and arousal lie in -1..1, not {text}")
    return value


def _check_ids(clips: tuple[Clip, ...], manifest: Path) -> None:
    seen: set[str] = set()
    for clip in clips:
        if clip.clip_id in seen:
            raise CorpusError(f"{manifest}: the clip {clip.clip_id!r} stands there twice; ids must be unique")
        seen.add(clip.clip_id)


def _check_files(clips: tuple[Clip, ...], manifest: Path) -> None:
    audio = [clip.audio for clip in clips]
    lyrics = [clip.lyrics for clip in clips if clip.lyrics is not None]
    for kind, paths in (("audio", audio), ("lyrics", lyrics)):
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise CorpusError(f"{len(absent)} {kind} files of {manifest} are missing, the first one is {absent[0]}")


def _check_folds(clips: tuple[Clip, ...], manifest: Path) -> None:
    if len({clip.fold for clip in clips}) < 2:
        raise CorpusError(f"{manifest}: all clips are in one fold; measuring takes at least two, and five are usual")
    folds: dict[str, int] = {}
    for clip in clips:
        if clip.artist and folds.setdefault(clip.artist, clip.fold) != clip.fold:
            raise CorpusError(
                f"{manifest}: the artist {clip.artist!r} sits in two folds; folds must be artist-disjoint"
            )


def _read_transcripts(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        return {row["clip_id"]: row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} is not a file of transcripts, one JSON object a line: {error}") from error
