"""MTG-Jamendo, mood and theme tags (Bogdanov, Won, Tovstogan, Porter & Serra 2019).

18,486 whole tracks under Creative Commons licences, tagged by those who uploaded them. The metadata is the repository
https://github.com/MTG/mtg-jamendo-dataset, whose ``scripts/download/download.py --dataset autotagging_moodtheme``
fetches the audio (``--type audio``, or ``audio-low``)::

    data/autotagging_moodtheme.tsv      TRACK_ID ARTIST_ID ALBUM_ID PATH DURATION TAGS, more tags in more columns
    audio/56/1376256.mp3 ...            or audio-low/56/1376256.low.mp3 ...; or 00 to 99 beside the table

Most tags name a use or a scene. Those that name a feeling which clearly lies in a quadrant are in ``MOODS``; tracks
with none of them, or of two quadrants, are left out. A tag is too coarse for values of valence and arousal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stream_mer.errors import CorpusError
from stream_mer.training.corpus import AUDIO_SUFFIXES, Clip, Corpus, LeftOut, find_files, public_corpus, read_rows
from stream_mer.types import CATEGORIES

TITLE = "MTG-Jamendo"
_TABLE = "autotagging_moodtheme.tsv"
_PREFIX = "mood/theme---"
_COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
_HERE = "https://github.com/MTG/mtg-jamendo-dataset has it, and a script for the audio"
_AUDIO_FOLDERS = ["audio", "audio-low", "raw_30s/audio", "raw_30s/audio-low", "autotagging_moodtheme/audio"]
_AUDIO_FOLDERS += ["autotagging_moodtheme/audio-low", ""]
_EXCERPT_S = 30.0


class Mood(NamedTuple):
    """A tag, the word that stands for it, and that word's mean ratings on 1..9 by Warriner et al. (2013)."""

    tag: str
    word: str
    valence: float
    arousal: float

    @property
    def category(self) -> int:
        """Index of the quadrant, seen from the mean of all words that were rated."""
        quadrants = {(True, True): "happy", (False, True): "angry", (False, False): "sad", (True, False): "relaxed"}
        return CATEGORIES.index(quadrants[self.valence > MEAN_VALENCE, self.arousal > MEAN_AROUSAL])


MEAN_VALENCE, MEAN_AROUSAL = 5.06, 4.21
"""Over the 13,915 words of Warriner et al. (2013)."""

MOODS = (
    Mood("energetic", "energetic", 7.57, 6.10),
    Mood("fun", "fun", 8.37, 6.32),
    Mood("funny", "funny", 7.59, 5.38),
    Mood("happy", "happy", 8.47, 6.05),
    Mood("party", "party", 7.18, 6.08),
    Mood("positive", "positive", 7.57, 5.50),
    Mood("upbeat", "upbeat", 7.14, 4.92),
    Mood("uplifting", "uplifting", 6.95, 4.70),
    Mood("horror", "horror", 3.38, 6.13),
    Mood("sad", "sad", 2.10, 3.49),
    # Barely below the mean in arousal; low-aroused sadness is what the word means in Russell's circumplex.
    Mood("melancholic", "melancholy", 3.74, 4.13),
    Mood("calm", "calm", 6.89, 1.67),
    Mood("meditative", "meditation", 7.21, 2.50),
    Mood("mellow", "mellow", 6.68, 2.81),
    Mood("relaxing", "relaxed", 7.25, 2.49),
    Mood("soft", "soft", 7.13, 3.04),
)
"""Tags that name a feeling, and whose word lies at least 1 from the mean in valence and 0.4 in arousal.

Left out: uses, scenes and seasons (corporate, film, sport, summer, ...), tempo and sound (slow, fast, melodic, deep),
and words that lie near an axis though music makes them strong (dark, dramatic, heavy, emotional). Anger has no tag of
its own here, so the second quadrant is almost empty.
"""

_CATEGORY_OF = {f"{_PREFIX}{mood.tag}": mood.category for mood in MOODS}


def recognises(root: Path) -> bool:
    """Whether there is the table of mood and theme tags."""
    return bool(find_files(root, _TABLE, depth=2))


def load(root: Path) -> Corpus:
    """Read the tracks whose moods lie in one quadrant; see the module.

    Raises:
        CorpusError: The table is missing or malformed, or there is no audio.
    """
    tables = find_files(root, _TABLE, depth=2)
    if not tables:
        raise CorpusError(f"no MTG-Jamendo at {root}: there is no {_TABLE} in it or its folder data; {_HERE}")
    folder = _audio_folder(root)
    left_out = LeftOut()
    clips = []
    for line, cells in _rows(tables[0]):
        track, artist, path = cells[0], cells[1], cells[3]
        categories = {_CATEGORY_OF[tag] for tag in cells[5:] if tag in _CATEGORY_OF}
        if len(categories) != 1:
            left_out.add("with moods of two quadrants" if categories else "without a mood that has a quadrant", track)
            continue
        audio = _audio(folder, path)
        if audio is None:
            left_out.add("without an audio file", track)
            continue
        if not track.replace("_", "").isalnum():
            raise CorpusError(f"{tables[0]}, line {line}: {track!r} is no track id")
        clips.append(
            Clip(
                clip_id=f"jamendo-{track}",
                audio=audio,
                artist=artist,
                fold=0,
                category=categories.pop(),
                middle_s=_EXCERPT_S,
            )
        )
    return public_corpus(
        root,
        TITLE,
        clips,
        left_out,
        hint=f"the audio belongs into {root / 'audio'} as 56/1376256.mp3 and so on; {_HERE}",
        notes=(f"{TITLE} in {root}: tracks are whole songs, of which the middle {_EXCERPT_S:g} s are read",),
    )


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    rows = list(read_rows(table, "\t"))
    if not rows or rows[0][1] != _COLUMNS:
        raise CorpusError(f"{table} does not begin with the columns {', '.join(_COLUMNS)}; {_HERE}")
    short = [line for line, cells in rows if len(cells) < len(_COLUMNS)]
    if short:
        raise CorpusError(f"{table}, line {short[0]}: a track has at least {len(_COLUMNS)} cells, with tabs between")
    return rows[1:]


def _audio_folder(root: Path) -> Path:
    """The first of the usual places that holds one of the folders ``00`` to ``99``."""
    places = [root / name for name in _AUDIO_FOLDERS]
    return next((place for place in places if any(place.glob("[0-9][0-9]"))), root / "audio")


def _audio(folder: Path, path: str) -> Path | None:
    """The track's file; the smaller version of the release has ``.low`` in its names."""
    stem = folder / Path(path).with_suffix("")
    names: Sequence[Path] = [Path(f"{stem}{low}{suffix}") for low in ("", ".low") for suffix in AUDIO_SUFFIXES]
    return next((name for name in names if name.is_file()), None)
