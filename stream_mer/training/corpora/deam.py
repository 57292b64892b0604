"""DEAM, the MediaEval Database for Emotional Analysis in Music (Aljanaki, Yang & Soleymani 2017).

1,744 excerpts of 45 s and 58 whole songs under Creative Commons licences, each rated by several listeners for valence
and arousal on 1..9. From https://cvml.unige.ch/databases/DEAM/, unpacked into one folder::

    MEMD_audio/2.mp3 ...                                                                       (DEAM_audio.zip)
    annotations/annotations averaged per song/song_level/static_annotations_averaged_songs_1_2000.csv, ..._2000_2058.csv
    metadata/metadata_2013.csv, metadata_2014.csv, metadata_2015.csv                             (metadata.zip)

The folders may lie deeper, as in copies that keep one folder an archive. The three metadata files have headers of
their own and rows of any length.
"""

from __future__ import annotations

from pathlib import Path

from stream_mer.errors import CorpusError
from stream_mer.training.corpora.reading import LeftOut, find_audio, find_files, public_corpus, read_table, scaled
from stream_mer.training.corpus import Clip, Corpus

TITLE = "DEAM"
_RATINGS = "static_annotations_averaged_songs_*.csv"
_HERE = "https://cvml.unige.ch/databases/DEAM/ has it"
_FIRST_WHOLE_SONG = 2001  # the evaluation set of 2015: whole songs, rated as wholes
_EXCERPT_S = 45.0
_NOBODY = {"", "n/a", "unknown", "various artists"}


def recognises(root: Path) -> bool:
    """Whether there is a table of song-level ratings."""
    return bool(find_files(root, _RATINGS, depth=4))


def load(root: Path) -> Corpus:
    """Read the song-level ratings; see the module.

    Raises:
        CorpusError: The ratings are missing or malformed, or there is no audio.
    """
    tables = find_files(root, _RATINGS, depth=4)
    if not tables:
        raise CorpusError(f"no DEAM at {root}: there is no {_RATINGS} up to four folders below it; {_HERE}")
    folder = _audio_folder(root)
    artists = _artists(root)
    left_out = LeftOut()
    clips: dict[str, Clip] = {}
    for table in tables:
        spellings = {"id": ("song_id",), "valence": ("valence_mean",), "arousal": ("arousal_mean",)}
        for row in read_table(table, spellings):
            song = row["id"]
            if song in clips:
                continue  # 2000 could stand in both files
            audio = find_audio(folder, song)
            if audio is None:
                left_out.add("without an audio file", song)
                continue
            clips[song] = Clip(
                clip_id=f"deam-{song}",
                audio=audio,
                artist=artists.get(song, ""),
                fold=0,
                valence=scaled(row, "valence", 1, 9, table),
                arousal=scaled(row, "arousal", 1, 9, table),
                rated_by="listeners",
                middle_s=_EXCERPT_S if song.isdigit() and int(song) >= _FIRST_WHOLE_SONG else None,
            )
    return public_corpus(
        root,
        TITLE,
        list(clips.values()),
        left_out,
        hint=f"the audio belongs into {root / 'MEMD_audio'} as 2.mp3 and so on; {_HERE}",
        notes=() if artists else (f"{TITLE} in {root}: there is no metadata_2013.csv or the like; {_HERE}",),
    )


def _audio_folder(root: Path) -> Path:
    named = [path for level in range(3) for path in sorted(root.glob("*/" * level + "MEMD_audio"))]
    places = (*named, root / "audio")
    return next((place for place in places if place.is_dir()), root)


def _artists(root: Path) -> dict[str, str]:
    """Artists by song id; a shifted row of the 2015 file may hold a number in the artist's place."""
    artists: dict[str, str] = {}
    for table in find_files(root, "metadata_201?.csv", depth=3):
        for row in read_table(table, {"id": ("song_id", "Id"), "artist": ("Artist",)}):
            name = row["artist"]
            if name.casefold() not in _NOBODY and not name.isdigit():
                artists[row["id"]] = name
    return artists
