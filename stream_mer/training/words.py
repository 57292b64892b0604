"""Songs of which there are words alone: lyrics with an emotion, and sentences with ratings.

A CSV file in UTF-8, one row a song. The words stand in ``lyrics`` or ``lyrics_with_time_tags`` (LRC or plain text; one
long row is cut at its commas) or in ``text`` (a sentence); the label in ``quadrant`` (Q1..Q4), in ``emotion`` (a word,
see ``QUADRANT_OF``), or as ratings in ``valence`` and ``arousal`` (-1..1) or ``valence_1_5`` and ``arousal_1_5``. Rows
without a label that can be used are left out and counted.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream_mer.errors import CorpusError
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.training.corpora.folds import balanced_folds
from stream_mer.training.corpus import Clip
from stream_mer.training.lyrics import PRINTED_LINE_S, TimedText
from stream_mer.types import CATEGORIES

QUADRANT_OF = {"happy": 0, "angry": 1, "fear": 1, "sad": 2, "relaxed": 3, "calm": 3, "peaceful": 3}
"""Index into ``CATEGORIES`` of the emotion words that lie clearly in one of Russell's quadrants."""

_TEXT_COLUMNS = ("lyrics", "lyrics_with_time_tags", "text")
_CLAUSE = re.compile(r"[,，。]+")
_LONGEST_LINE = 200  # characters; a row longer than this that has no line breaks is a whole song in one row


@dataclass(frozen=True, slots=True, kw_only=True)
class WordSet:
    """The songs of one file.

    Attributes:
        name: The file's name without its ending.
        songs: As clips without audio; their folds are dealt out.
        lines: By clip id.
        notes: What to tell of the file.
    """

    name: str
    songs: tuple[Clip, ...]
    lines: Mapping[str, Sequence[TimedText]]
    notes: tuple[str, ...]


def load_words(path: Path) -> WordSet:
    """Read a file of songs.

    Raises:
        CorpusError: It is missing, is no CSV, lacks a column, or no row of it can be used.
    """
    try:
        csv.field_size_limit(1 << 24)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or ()
            column = next((name for name in _TEXT_COLUMNS if name in columns), None)
            if column is None:
                raise CorpusError(f"{path} has no column {' or '.join(_TEXT_COLUMNS)} (see docs/TRAINING.md)")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"cannot read {path}: {error}; it must be CSV in UTF-8") from error
    return _word_set(path, column, rows)


def _word_set(path: Path, column: str, rows: Sequence[Mapping[str, str]]) -> WordSet:
    lines: dict[str, Sequence[TimedText]] = {}
    labels: dict[str, tuple[int | None, float | None, float | None]] = {}
    seen: set[str] = set()
    for i, row in enumerate(rows):
        clip_id = f"{path.stem}-{row.get('id') or i}"
        label, words = _label(path, i, row), _lines(row[column])
        text = " ".join(line.text for line in words).casefold()
        if label is None or not words or text in seen:
            continue
        if clip_id in lines:
            raise CorpusError(f"{path}, row {i + 1}: the id {clip_id!r} stands there twice; ids must be unique")
        seen.add(text)
        lines[clip_id], labels[clip_id] = words, label
    if not lines:
        raise CorpusError(f"{path}: no row has both words and a label that can be used (see docs/TRAINING.md)")
    folds = balanced_folds(list(lines), [labels[clip_id][0] for clip_id in lines])
    songs = tuple(
        Clip(
            clip_id=clip_id,
            audio=path,
            artist="",
            fold=fold,
            category=labels[clip_id][0],
            valence=labels[clip_id][1],
            arousal=labels[clip_id][2],
            rated_by="listeners",
        )
        for clip_id, fold in zip(lines, folds, strict=True)
    )
    left_out = len(rows) - len(lines)
    note = f"{path.name}: {len(lines)} songs of words alone" + (
        f", {left_out} left out (no usable label, no words, or the words of another row)" if left_out else ""
    )
    return WordSet(name=path.stem, songs=songs, lines=lines, notes=(note,))


def _label(path: Path, i: int, row: Mapping[str, str]) -> tuple[int | None, float | None, float | None] | None:
    """Category, valence and arousal of a row; None where it has neither."""
    quadrant, emotion = row.get("quadrant", "").strip(), row.get("emotion", "").strip().lower()
    if quadrant:
        if quadrant not in {f"Q{k + 1}" for k in range(len(CATEGORIES))}:
            raise CorpusError(f"{path}, row {i + 1}: expected Q1 to Q{len(CATEGORIES)}, not {quadrant!r}")
        return int(quadrant[1]) - 1, None, None
    if emotion:
        return (QUADRANT_OF[emotion], None, None) if emotion in QUADRANT_OF else None
    try:
        if row.get("valence_1_5"):
            valence, arousal = ((float(row[name]) - 3) / 2 for name in ("valence_1_5", "arousal_1_5"))
        elif row.get("valence"):
            valence, arousal = float(row["valence"]), float(row["arousal"])
        else:
            return None
    except (KeyError, ValueError) as error:
        raise CorpusError(f"{path}, row {i + 1}: valence and arousal must both be numbers: {error!r}") from error
    if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise CorpusError(f"{path}, row {i + 1}: valence and arousal lie in -1..1, or in 1..5 (see docs/TRAINING.md)")
    return None, valence, arousal


def _lines(text: str) -> list[TimedText]:
    """The lines of a song; without times of their own they stand a usual length apart."""
    if len(text) > _LONGEST_LINE and "\n" not in text.strip():
        text = "\n".join(_CLAUSE.split(text))
    parsed = [line for line in parse_lyrics(text) if line.text.strip()]
    if any(line.t1 > 0 for line in parsed):
        return [TimedText(line.text, line.t0, line.t1, 1.0) for line in parsed]
    ends = [PRINTED_LINE_S * (i + 1) for i in range(len(parsed))]
    return [TimedText(line.text.strip(), end, end, 1.0) for line, end in zip(parsed, ends, strict=True)]
