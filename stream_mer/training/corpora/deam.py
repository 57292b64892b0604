"""DEAM, the MediaEval Database for Emotional Analysis in Music (Aljanaki, Yang & Soleymani 2017).

1,744 excerpts of 45 s and 58 whole songs under Creative Commons licences, each rated by several listeners for valence
and arousal on 1..9. From https://cvml.unige.ch/databases/DEAM/, unpacked into one folder::

    MEMD_audio/2.mp3 ...                                                                       (DEAM_audio.zip)
    annotations/annotations averaged per song/song_level/static_annotations_averaged_songs_1_2000.csv, ..._2000_2058.csv
                annotations averaged per song/dynamic (per second annotations)/valence.csv, arousal.csv
    metadata/metadata_2013.csv, metadata_2014.csv, metadata_2015.csv                             (metadata.zip)

The folders may lie deeper, as in copies that keep one folder an archive. The three metadata files have headers of
their own and rows of any length.

The published table of song-level ratings has valence and arousal exchanged for song ids up to 1000: its twin in
emoMusic (Soleymani et al. 2013) has them the other way round, and the continuous ratings correlate by .95 with the
exchanged columns and by .55 with those as published. Which way a table has them is decided by the continuous ratings,
or by emoMusic's ``static_annotations.csv`` where that lies beside them; without either it is taken for the published
one.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stream_mer.errors import CorpusError
from stream_mer.training.corpus import (
    Clip,
    Corpus,
    LeftOut,
    Rating,
    RatingCurve,
    find_audio,
    find_files,
    public_corpus,
    read_columns,
    read_rows,
    scaled,
)

TITLE = "DEAM"
_RATINGS = "static_annotations_averaged_songs_*.csv"
_HERE = "https://cvml.unige.ch/databases/DEAM/ has it"
_CONTINUOUS = ("valence.csv", "arousal.csv")
_MOMENT = re.compile(r"sample_(\d+)ms")
_EMOMUSIC = "static_annotations.csv"
_LAST_EXCHANGED = 1000
_FEWEST_SONGS, _CLEAR = 3, 0.1  # to decide by: songs, and how much better the correlations of both must be
_FIRST_WHOLE_SONG = 2001  # the evaluation set of 2015: whole songs, rated as wholes
_EXCERPT_S = 45.0
_NOBODY = {"", "n/a", "unknown", "various artists"}


def recognises(root: Path) -> bool:
    """Whether there is a table of song-level ratings."""
    return bool(find_files(root, _RATINGS, depth=4))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Song:
    """Song-level ratings, -1..1, in the columns of the table."""

    song: str
    valence: float
    arousal: float


def load(root: Path) -> Corpus:
    """Read the song-level ratings, and those of single moments where they are there; see the module.

    Raises:
        CorpusError: Ratings are missing or malformed, or there is no audio.
    """
    tables = find_files(root, _RATINGS, depth=4)
    if not tables:
        raise CorpusError(f"no DEAM at {root}: there is no {_RATINGS} up to four folders below it; {_HERE}")
    folder = _audio_folder(root)
    artists = _artists(root)
    curves = _curves(root)
    songs, notes = _put_right(_song_ratings(tables), curves, root)
    left_out = LeftOut()
    clips = []
    for song in songs:
        audio = find_audio(folder, song.song)
        if audio is None:
            left_out.add("without an audio file", song.song)
            continue
        whole = song.song.isdigit() and int(song.song) >= _FIRST_WHOLE_SONG
        clips.append(
            Clip(
                clip_id=f"deam-{song.song}",
                audio=audio,
                artist=artists.get(song.song, ""),
                fold=0,
                valence=song.valence,
                arousal=song.arousal,
                rated_by="listeners",
                # The middle of a whole song begins where its length says, which no table holds.
                dynamic=None if whole else curves.get(song.song),
                middle_s=_EXCERPT_S if whole else None,
            )
        )
    if not artists:
        notes = (*notes, f"{TITLE} in {root}: there is no metadata_2013.csv or the like; {_HERE}")
    return public_corpus(
        root,
        TITLE,
        clips,
        left_out,
        hint=f"the audio belongs into {root / 'MEMD_audio'} as 2.mp3 and so on; {_HERE}",
        notes=notes,
    )


def _song_ratings(tables: list[Path]) -> list[_Song]:
    spellings = {"id": ("song_id",), "valence": ("valence_mean",), "arousal": ("arousal_mean",)}
    songs: dict[str, _Song] = {}  # 2000 could stand in both files
    for table in tables:
        for row in read_columns(table, spellings):
            valence, arousal = scaled(row, "valence", 1, 9, table), scaled(row, "arousal", 1, 9, table)
            songs.setdefault(row["id"], _Song(song=row["id"], valence=valence, arousal=arousal))
    return list(songs.values())


def _put_right(
    songs: list[_Song], curves: Mapping[str, RatingCurve], root: Path
) -> tuple[list[_Song], tuple[str, ...]]:
    """Exchange valence and arousal of the songs whose columns are exchanged, and say so."""
    early = {s.song: s for s in songs if s.song.isdigit() and int(s.song) <= _LAST_EXCHANGED}
    exchanged, why = True, "as in the published one, which too few continuous ratings lie beside to be sure"
    for known, by in (
        ({song: curve.mean for song, curve in curves.items()}, "their continuous ratings"),
        (_emomusic(root), "their ratings in emoMusic"),
    ):
        found = _are_exchanged(list(early.values()), known)
        if found is not None:
            exchanged, why = found, f"as {by} show"
            break
    if not early or not exchanged:
        return songs, ()
    right = [_Song(song=s.song, valence=s.arousal, arousal=s.valence) if s.song in early else s for s in songs]
    note = (
        f"{TITLE} in {root}: valence and arousal of the {len(early)} songs up to id {_LAST_EXCHANGED} are exchanged in "
        f"the table, {why}; put right"
    )
    return right, (note,)


def _are_exchanged(songs: list[_Song], known: Mapping[str, tuple[float, float]]) -> bool | None:
    """Whether other ratings of these songs, valence and arousal, go with the exchanged columns; None if it is open."""
    pairs = [(song, known[song.song]) for song in songs if song.song in known]
    if len(pairs) < _FEWEST_SONGS:
        return None
    columns = [song.valence for song, _ in pairs], [song.arousal for song, _ in pairs]
    valence, arousal = [rated[0] for _, rated in pairs], [rated[1] for _, rated in pairs]
    try:
        as_it_is = statistics.correlation(columns[0], valence) + statistics.correlation(columns[1], arousal)
        turned = statistics.correlation(columns[1], valence) + statistics.correlation(columns[0], arousal)
    except statistics.StatisticsError:  # a column without any spread
        return None
    return turned > as_it_is if abs(turned - as_it_is) >= _CLEAR else None


def _curves(root: Path) -> dict[str, RatingCurve]:
    """The continuous ratings, by song; none where there are no such tables.

    Raises:
        CorpusError: One of the two is missing, or malformed.
    """
    found = [find_files(root, name, depth=4) for name in _CONTINUOUS]
    if not any(found):
        return {}
    for name, files in zip(_CONTINUOUS, found, strict=True):
        if not files:
            raise CorpusError(f"{TITLE} in {root}: of the continuous ratings {name} is missing; {_HERE}")
    valence, arousal = (_moments(files[0]) for files in found)
    return {
        song: RatingCurve.of(Rating(ms / 1000, values[ms], arousal[song][ms]) for ms in times)
        for song, values in valence.items()
        if (times := values.keys() & arousal.get(song, {}).keys())
    }


def _moments(table: Path) -> dict[str, dict[int, float]]:
    """One table of continuous ratings: by song, the value at each millisecond of the excerpt; empty cells are none."""
    rows = list(read_rows(table))
    header = rows[0][1] if rows else []
    places = {i: int(found[1]) for i, name in enumerate(header) if (found := _MOMENT.fullmatch(name))}
    if header[:1] != ["song_id"] or not places:
        raise CorpusError(f"{table} does not begin with song_id and columns like sample_15000ms; {_HERE}")
    songs: dict[str, dict[int, float]] = {}
    for line, cells in rows[1:]:
        values = songs.setdefault(cells[0], {})
        for i, ms in places.items():
            cell = cells[i] if i < len(cells) else ""
            if not cell or cell.casefold() == "nan":
                continue
            values[ms] = _signed(cell, f"{table}, line {line}: {header[i]}")
    return songs


def _signed(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise CorpusError(f"{place} is no number but {cell!r}") from None
    if not -1 <= value <= 1:
        raise CorpusError(f"{place} is {value:g}, but continuous ratings go from -1 to 1")
    return value


def _emomusic(root: Path) -> dict[str, tuple[float, float]]:
    """Valence and arousal of emoMusic's songs, in its own unit, where its table lies in the folder."""
    spellings = {"id": ("song_id",), "valence": ("mean_valence",), "arousal": ("mean_arousal",)}
    rated: dict[str, tuple[float, float]] = {}
    for table in find_files(root, _EMOMUSIC, depth=4):
        for row in read_columns(table, spellings, optional=tuple(spellings)):
            if row["id"] and row["valence"] and row["arousal"]:
                rated[row["id"]] = scaled(row, "valence", 1, 9, table), scaled(row, "arousal", 1, 9, table)
    return rated


def _audio_folder(root: Path) -> Path:
    named = [path for level in range(3) for path in sorted(root.glob("*/" * level + "MEMD_audio"))]
    places = (*named, root / "audio")
    return next((place for place in places if place.is_dir()), root)


def _artists(root: Path) -> dict[str, str]:
    """Artists by song id; a shifted row of the 2015 file may hold a number in the artist's place."""
    artists: dict[str, str] = {}
    for table in find_files(root, "metadata_201?.csv", depth=3):
        for row in read_columns(table, {"id": ("song_id", "Id"), "artist": ("Artist",)}):
            name = row["artist"]
            if name.casefold() not in _NOBODY and not name.isdigit():
                artists[row["id"]] = name
    return artists
