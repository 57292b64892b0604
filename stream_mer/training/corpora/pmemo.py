"""PMEmo (Zhang, Zhang, Li, Yang & Sun 2018), in the layout of its release of 2019.

Choruses of 794 pop songs, 767 of them rated as wholes for valence and arousal on 0..1, with lyrics (LRC) of the whole
songs. From https://github.com/HuiZhangDB/PMEmo, unpacked::

    PMEmo2019/annotations/static_annotations.csv     musicId, Arousal(mean), Valence(mean)
    PMEmo2019/metadata.csv                           musicId, fileName, title, artist, ...
    PMEmo2019/chorus/1.mp3 ...
    PMEmo2019/lyrics/1.lrc ...

The corpus may be that folder or the one above it.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from stream_mer.errors import CorpusError
from stream_mer.training.corpus import (
    Clip,
    Corpus,
    LeftOut,
    Row,
    find_audio,
    find_files,
    public_corpus,
    read_columns,
    read_rows,
    scaled,
)

TITLE = "PMEmo"
_RATINGS = "annotations/static_annotations.csv"
_HERE = "https://github.com/HuiZhangDB/PMEmo says where to get it"


def recognises(root: Path) -> bool:
    """Other sets too have a ``static_annotations.csv``; this one says ``musicId``."""
    tables = find_files(root, _RATINGS, depth=1)
    return bool(tables) and any("musicId" in header for _, header in islice(read_rows(tables[0]), 1))


def load(root: Path) -> Corpus:
    """Read the static ratings; see the module.

    Raises:
        CorpusError: The ratings are missing or malformed, or there is no audio.
    """
    tables = find_files(root, _RATINGS, depth=1)
    if not tables:
        raise CorpusError(f"no PMEmo at {root}: there is no {_RATINGS} in it; {_HERE}")
    home = tables[0].parent.parent
    about = _about(home / "metadata.csv")
    left_out = LeftOut()
    clips = []
    spellings = {"id": ("musicId",), "valence": ("Valence(mean)",), "arousal": ("Arousal(mean)",)}
    for row in read_columns(tables[0], spellings):
        song = row["id"]
        audio = _audio(home / "chorus", song, about.get(song))
        if audio is None:
            left_out.add("without an audio file", song)
            continue
        clips.append(
            Clip(
                clip_id=f"pmemo-{song}",
                audio=audio,
                artist=about[song]["artist"] if song in about else "",
                fold=0,
                valence=scaled(row, "valence", 0, 1, tables[0]),
                arousal=scaled(row, "arousal", 0, 1, tables[0]),
                rated_by="listeners",
                lyrics=lyrics if (lyrics := home / "lyrics" / f"{song}.lrc").is_file() else None,
            )
        )
    return public_corpus(
        root,
        TITLE,
        clips,
        left_out,
        hint=f"the audio belongs into {home / 'chorus'} as 1.mp3 and so on; {_HERE}",
        notes=() if about else (f"{TITLE} in {root}: there is no metadata.csv in {home}; {_HERE}",),
    )


def _about(table: Path) -> dict[str, Row]:
    if not table.is_file():
        return {}
    spellings = {"id": ("musicId",), "artist": ("artist", "artists"), "file": ("fileName",)}
    return {row["id"]: row for row in read_columns(table, spellings, optional=("file",))}


def _audio(folder: Path, song: str, about: Row | None) -> Path | None:
    named = folder / about["file"] if about is not None and about["file"] else None
    return named if named is not None and named.is_file() else find_audio(folder, song)
