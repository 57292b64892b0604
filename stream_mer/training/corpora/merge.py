"""MERGE (Louro, Redinho, Santos, Malheiro, Panda & Paiva 2024): quadrants for audio, lyrics, and both.

From https://zenodo.org/records/13939205, version 1.1: one archive a set, complete or balanced::

    MERGE_Audio_Complete/merge_audio_complete_metadata.csv          Song, Quadrant, Artist, ...
                         merge_audio_complete_av_values.csv         Song, Arousal, Valence: 0..1, from mood words
                         Q1/A001.mp3 ... Q4/
    MERGE_Bimodal_Complete/merge_bimodal_complete_metadata.csv      Audio_Song, Lyric_Song, Quadrant, Artist, ...
                           merge_bimodal_complete_av_values.csv     Audio_Song, Lyric_Song, Arousal, Valence
                           audio/Q1/A001.mp3 ...  lyrics/Q1/L001.txt ...
    MERGE_Lyrics_Complete/merge_lyrics_complete_metadata.csv        Q1/L001.txt ...: no audio

The corpus is one of these folders, or the one above several: then the audio set gives the clips, and the bimodal set
gives lyrics to those that it knows. The lyrics set alone cannot be used, because the model learns words beside sound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from stream_mer.errors import CorpusError
from stream_mer.training.corpus import Clip, Corpus, LeftOut, find_audio, public_corpus, read_columns, scaled
from stream_mer.types import CATEGORIES

TITLE = "MERGE"
_METADATA = re.compile(r"merge_(audio|lyrics|bimodal)_(complete|balanced)_metadata\.csv", re.IGNORECASE)
_QUADRANTS = {f"Q{i + 1}": i for i in range(len(CATEGORIES))}
_HERE = "https://zenodo.org/records/13939205 has it"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """One of the six published sets."""

    kind: str
    complete: bool
    metadata: Path

    @property
    def folder(self) -> Path:
        return self.metadata.parent


class _Rating(NamedTuple):
    valence: float
    arousal: float


def recognises(root: Path) -> bool:
    """Whether there is the metadata of one of the sets."""
    return bool(_sets(root))


def load(root: Path) -> Corpus:
    """Read the audio set, the bimodal set, or both; see the module.

    Raises:
        CorpusError: There is neither, a table is malformed, or there is no audio.
    """
    sets = _sets(root)
    if not sets:
        raise CorpusError(f"no MERGE at {root}: there is no merge_audio_complete_metadata.csv or the like; {_HERE}")
    if set(sets) == {"lyrics"}:
        raise CorpusError(
            f"{root} holds MERGE's lyrics without audio, and the model learns words beside sound: take the bimodal "
            "set, or the audio set and the bimodal set in one folder"
        )
    clips: dict[str, Clip] = {}
    silent: dict[str, None] = {}  # in their order
    wordless = 0
    for kind in ("audio", "bimodal"):
        if kind in sets:
            wordless += _add(sets[kind], clips, silent)
    left_out = LeftOut()
    for song in (song for song in silent if song not in clips):
        left_out.add("without an audio file", song)
    notes = [f"{TITLE} in {root}: {wordless} lyrics files of the bimodal set are missing"] if wordless else []
    if "lyrics" in sets:
        notes.append(f"{TITLE} in {root}: the lyrics set is not read, since it says not which audio has which words")
    return public_corpus(
        root,
        TITLE,
        list(clips.values()),
        left_out,
        hint=f"the audio belongs into the folders Q1 to Q4 beside the metadata, or into audio/Q1 to Q4; {_HERE}",
        notes=notes,
    )


def _sets(root: Path) -> dict[str, _Set]:
    """The sets in a folder or in its folders, by kind; a complete one comes before a balanced one."""
    found: dict[str, _Set] = {}
    for path in sorted([*root.glob("*.csv"), *root.glob("*/*.csv")]):
        name = _METADATA.fullmatch(path.name)
        if name:
            one = _Set(kind=name[1].lower(), complete=name[2].lower() == "complete", metadata=path)
            if one.kind not in found or one.complete > found[one.kind].complete:
                found[one.kind] = one
    return found


def _add(one: _Set, clips: dict[str, Clip], silent: dict[str, None]) -> int:
    """Add the clips of a set, or words to the clips that are there already; returns how many words' files are missing.

    Args:
        one: The set.
        clips: By song; added to.
        silent: Songs without an audio file; added to.
    """
    spellings: dict[str, tuple[str, ...]] = {"song": ("Song", "Audio_Song"), "words": ("Lyric_Song", "Lyrics_Song")}
    spellings |= {"quadrant": ("Quadrant",), "artist": ("Artist",)}
    ratings = _ratings(one)
    wordless = 0
    for row in read_columns(one.metadata, spellings, optional=("words",)):
        song, quadrant = row["song"], row["quadrant"].upper()
        if quadrant not in _QUADRANTS:
            raise CorpusError(f"{one.metadata}, line {row.line}: Quadrant is {row['quadrant']!r}, not Q1 to Q4")
        lyrics = _lyrics(one.folder, quadrant, row["words"]) if row["words"] else None
        wordless += bool(row["words"]) and lyrics is None
        if song in clips:
            clips[song] = replace(clips[song], lyrics=lyrics or clips[song].lyrics)
            continue
        audio = next((p for base in ("", "audio") if (p := find_audio(one.folder / base / quadrant, song))), None)
        if audio is None:
            silent[song] = None
            continue
        rating = ratings.get(song)
        clips[song] = Clip(
            clip_id=f"merge-{song}",
            audio=audio,
            artist=row["artist"],
            fold=0,
            category=_QUADRANTS[quadrant],
            valence=rating.valence if rating else None,
            arousal=rating.arousal if rating else None,
            lyrics=lyrics,
        )
    return wordless


def _lyrics(folder: Path, quadrant: str, song: str) -> Path | None:
    path = folder / "lyrics" / quadrant / f"{song}.txt"
    return path if path.is_file() else None


def _ratings(one: _Set) -> dict[str, _Rating]:
    name = re.sub("metadata", "av_values", one.metadata.name, flags=re.IGNORECASE)
    table = one.folder / name
    if not table.is_file():
        return {}
    spellings = {"song": ("Song", "Audio_Song"), "valence": ("Valence",), "arousal": ("Arousal",)}
    return {
        row["song"]: _Rating(scaled(row, "valence", 0, 1, table), scaled(row, "arousal", 0, 1, table))
        for row in read_columns(table, spellings)
    }
