"""A labelled corpus: a folder with ``manifest.csv``, audio files, perhaps lyrics, transcripts, ``dynamic.csv``.

The manifest is CSV, with commas, semicolons or tabs (and decimal commas where a comma separates nothing). Its columns:
``clip_id``, ``audio`` (path within the folder) and ``artist``; and any of ``fold`` (0..4, artist-disjoint; made where
there is none), ``quadrant`` (Q1..Q4, or happy, angry, sad, relaxed), ``cluster`` (C1..C5), ``valence`` and ``arousal``
(-1..1), ``rated_by`` (``tags`` or ``listeners``), ``valence_sd`` and ``arousal_sd`` (the raters' spread, which only
listeners have), ``lyrics`` (path of the song's printed words). An empty cell is a label that the clip lacks.

``dynamic.csv`` holds continuous ratings: what listeners said of a clip while it went on. A live tagger should follow
them. Public data sets in their own layouts are read by ``training.corpora``.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import itertools
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

from stream_mer.errors import CorpusError, brief
from stream_mer.types import CATEGORIES, CLUSTERS

N_FOLDS = 5

_GUESTS = re.compile(r"\s*(?:,|;|/|\+|&|\b(?:feat|ft|featuring|with|vs)\b\.?).*", re.IGNORECASE)

FILE_NAME = "dynamic.csv"
"""Beside a manifest: ``clip_id``, ``t_s`` (seconds in the clip), ``valence``, ``arousal`` (-1..1), a row a moment."""

_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_CURVE_COLUMNS = ("clip_id", "t_s", "valence", "arousal")


class Rating(NamedTuple):
    """One moment.

    Attributes:
        t_s: Seconds since the clip begins.
        valence: -1..1.
        arousal: -1..1.
    """

    t_s: float
    valence: float
    arousal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingCurve:
    """The ratings of one clip, in rising time.

    Raises:
        ValueError: There are none, times do not rise, or a value is out of its range.
    """

    ratings: tuple[Rating, ...]

    def __post_init__(self) -> None:
        if not self.ratings:
            raise ValueError("a curve has at least one rating")
        for rating in self.ratings:
            if not (math.isfinite(rating.t_s) and rating.t_s >= 0):
                raise ValueError(f"t_s must be 0 or more seconds, not {rating.t_s:g}")
            if not (-1 <= rating.valence <= 1 and -1 <= rating.arousal <= 1):  # NaN is refused too
                raise ValueError(
                    f"valence and arousal lie in -1..1, and at {rating.t_s:g} s they are {rating.valence:g} and "
                    f"{rating.arousal:g}"
                )
        for earlier, later in itertools.pairwise(self.ratings):
            if later.t_s <= earlier.t_s:
                raise ValueError(f"{later.t_s:g} s stands there with two different ratings")

    @classmethod
    def of(cls, ratings: Iterable[Rating]) -> RatingCurve:
        """Make a curve of ratings in any order; one that stands there twice counts once."""
        return cls(ratings=tuple(sorted(set(ratings))))

    @property
    def mean(self) -> tuple[float, float]:
        """Valence and arousal, averaged over time."""
        n = len(self.ratings)
        return sum(rating.valence for rating in self.ratings) / n, sum(rating.arousal for rating in self.ratings) / n


def read_curves(path: Path) -> dict[str, RatingCurve]:
    """Read the continuous ratings beside a manifest, by clip id; none where there is no such file.

    Raises:
        CorpusError: It cannot be read, lacks a column, or holds a value out of its range.
    """
    if not path.is_file():
        return {}
    ratings: dict[str, list[Rating]] = {}
    for line, row in _read_table(path, _CURVE_COLUMNS):
        try:
            rating = Rating(*(float(row[column]) for column in _CURVE_COLUMNS[1:]))
        except ValueError as error:
            raise CorpusError(f"{path}, line {line}: {error}") from error
        ratings.setdefault(row["clip_id"], []).append(rating)
    curves = {}
    for clip_id, found in ratings.items():
        try:
            curves[clip_id] = RatingCurve.of(found)
        except ValueError as error:
            raise CorpusError(f"{path}, clip {clip_id}: {error}") from error
    return curves


def _read_table(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a table whose header says what separates its cells: commas, semicolons or tabs.

    Names of columns and cells lose spaces around them, names are folded to lower case, and numbers get a decimal point.

    Returns:
        Line number and cells of each row.

    Raises:
        CorpusError: It cannot be read, or lacks one of the columns ``needed``.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            separator = max(",;\t", key=header.count)
            reader = csv.DictReader(file, restval="", delimiter=separator)
            reader.fieldnames = [" ".join(name.split()).casefold() for name in reader.fieldnames or ()]
            missing = [column for column in needed if column not in reader.fieldnames]
            if missing:
                raise CorpusError(f"{path} lacks the column {', '.join(missing)} (see docs/TRAINING.md)")
            return [(reader.line_num, _tidy(row, decimal_comma=separator != ",")) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"cannot read {path}: {error}; it must be CSV in UTF-8") from error


def _tidy(row: Mapping[str, object], *, decimal_comma: bool) -> dict[str, str]:
    cells = {name: text.strip() for name, text in row.items() if isinstance(text, str)}
    if decimal_comma:
        cells |= {name: text.replace(",", ".") for name, text in cells.items() if _DECIMAL_COMMA.fullmatch(text)}
    return cells


REQUIRED_COLUMNS = ("clip_id", "audio", "artist")
"""For training; to measure a model that is trained already, ``audio`` is enough."""

COLUMNS = (
    *REQUIRED_COLUMNS, "fold", "quadrant", "cluster", "valence", "arousal", "rated_by", "valence_sd", "arousal_sd",
    "lyrics",
)  # fmt: skip
"""All columns of a manifest that are read; a note names others, such as a label by another name."""

UNREAD = "not read"
"""In the note on columns that are not read."""

_WITHOUT_LABELS = frozenset({
    "", "album", "dataset", "duration", "duration_s", "genre", "genres", "license", "raters", "song_id", "source",
    "start_s", "tags", "title", "url", "year",
})  # fmt: skip
"""Columns that a note would only repeat."""

_OTHER_NAMES = {
    "quadrant": {"mood", "emotion", "label", "class", "category", "tag", "quad", "mood label", "emotion label"},
    "valence": {"v", "valence mean", "mean valence", "pleasure"},
    "arousal": {"a", "arousal mean", "mean arousal", "energy"},
}

RatedBy: TypeAlias = Literal["tags", "listeners"]
"""Where valence and arousal come from: mood words (tags), or listeners' ratings of the recording."""


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
        rated_by: Where valence and arousal come from; see ``teaches_emotion``.
        dynamic: Ratings of single moments of the clip; None without.
        middle_s: Of a longer recording only the middle so many seconds are the clip; None for all of it.
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
    rated_by: RatedBy = "tags"
    dynamic: RatingCurve | None = None
    middle_s: float | None = None

    @property
    def teaches_emotion(self) -> bool:
        """Whether valence and arousal are sure enough to learn from: a single tag alone is too coarse."""
        return self.rated_by == "listeners" or self.category is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A labelled corpus.

    Attributes:
        root: Its folder.
        clips: In the manifest's order.
        transcripts: Recognised words by clip id; the rows of ``transcripts.jsonl`` as they are. May be empty.
        notes: What its user should know, a line each: what was left out and why, how the folds came about.
    """

    root: Path
    clips: tuple[Clip, ...]
    transcripts: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def load_corpus(root: Path, *, folds: bool = True) -> Corpus:
    """Read the manifest and the transcripts.

    Args:
        root: The folder.
        folds: Whether to train on it. If not, its folds and artists do not matter, ids may be missing, and ratings that
            do not say who gave them are taken for those of listeners.

    Raises:
        CorpusError: The folder or its manifest is missing, a row is malformed, two different rows have one id, a file
            is missing, an artist sits in two folds, or there is but one fold.
    """
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        raise CorpusError(f"no corpus at {root}: there is no manifest.csv in it (see docs/TRAINING.md for its columns)")
    clips, has_folds, unread = _read_manifest(manifest, folds=folds)
    if not clips:
        raise CorpusError(f"{manifest} has no rows")
    different = tuple(dict.fromkeys(clips))
    repeated = len(clips) - len(different)
    notes = [f"{manifest}: {repeated} rows repeat another one; they count once"] if repeated else []
    if unread:
        notes.append(f"{manifest}: {UNREAD}: {', '.join(map(_with_meant, unread))}")
    clips = different
    check_ids(clips, manifest)
    _check_files(clips, manifest)
    if folds:
        if not has_folds:
            clips, about_folds = with_folds(clips, manifest)
            notes += about_folds
        _check_folds(clips, manifest)
    clips, of_curves = _with_curves(clips, root / FILE_NAME)
    return Corpus(root=root, clips=clips, transcripts=read_transcripts(root), notes=(*notes, *of_curves))


def together(corpora: Sequence[Corpus], *, folds: bool = True) -> Corpus:
    """Read several corpora as one, each with the folds that it has.

    Args:
        corpora: One or more.
        folds: Whether their folds matter; see ``load_corpus``.

    Raises:
        CorpusError: An id stands for two clips, or an artist sits in two folds.
    """
    if len(corpora) == 1:
        return corpora[0]
    clips = tuple(clip for corpus in corpora for clip in corpus.clips)
    source = Path(" and ".join(str(corpus.root) for corpus in corpora))
    check_ids(clips, source)
    if folds:
        _check_folds(clips, source)
    return Corpus(
        root=corpora[0].root,
        clips=clips,
        transcripts={name: row for corpus in corpora for name, row in corpus.transcripts.items()},
        notes=tuple(note for corpus in corpora for note in corpus.notes),
    )


def _with_curves(clips: Sequence[Clip], path: Path) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Give clips their continuous ratings, and notes on those that belong to none."""
    curves = read_curves(path)
    others = sorted(curves.keys() - {clip.clip_id for clip in clips})
    notes = (f"{path}: {len(others)} clips are not in the manifest, such as {others[0]!r}",) if others else ()
    return tuple(replace(clip, dynamic=curves.get(clip.clip_id)) for clip in clips), notes


def with_folds(clips: Sequence[Clip], source: Path) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Give every clip a fold: artist-disjoint, and even in its labels; and notes that say so.

    Raises:
        CorpusError: All clips are by one artist.
    """
    unknown = sum(not clip.artist for clip in clips)
    groups = [f"artist {lead_artist(c.artist)}" if c.artist else f"clip {c.clip_id}" for c in clips]
    if len(set(groups)) < 2:
        raise CorpusError(f"{source}: all clips are by one artist; measuring takes at least two, and many are better")
    folds = balanced_folds(groups, _strata(clips))
    notes = [f"{source}: it brings no folds, so {len(set(folds))} were made, each with other artists than the rest"]
    if unknown:
        notes.append(
            f"{source}: {unknown} of {len(clips)} clips name no artist, so one artist may sit on both sides of a split "
            "and the figures may be better than the truth"
        )
    return tuple(replace(clip, fold=fold) for clip, fold in zip(clips, folds, strict=True)), tuple(notes)


def _strata(clips: Sequence[Clip]) -> list[Hashable]:
    """What should be even over folds: category, cluster, or on which side of the medians valence and arousal lie."""
    rated = [(c.valence, c.arousal) for c in clips if c.valence is not None and c.arousal is not None]
    middle_v, middle_a = (statistics.median(values) for values in zip(*rated, strict=True)) if rated else (0.0, 0.0)

    def stratum(clip: Clip) -> Hashable:
        if clip.category is not None or clip.cluster is not None:
            return clip.category, clip.cluster
        if clip.valence is None or clip.arousal is None:
            return "unlabelled"
        return clip.valence > middle_v, clip.arousal > middle_a, "rated"

    return [stratum(clip) for clip in clips]


def _read_manifest(manifest: Path, *, folds: bool) -> tuple[tuple[Clip, ...], bool, list[str]]:
    """The clips, whether they have folds (a column without an entry counts as none), and columns that are not read."""
    rows = _read_table(manifest, REQUIRED_COLUMNS if folds else ("audio",))
    has_folds = folds and any(row.get("fold") for _, row in rows)
    if not folds:
        rows = [(line, _with_defaults(row)) for line, row in rows]
    unread = [name for name in (rows[0][1] if rows else ()) if name not in COLUMNS and name not in _WITHOUT_LABELS]
    clips = tuple(_read_clip(manifest.parent, row, line, has_folds=has_folds) for line, row in rows)
    return clips, has_folds, unread


def _with_meant(column: str) -> str:
    """Return an unknown column, with the known one that is probably meant."""
    folded = column.replace("_", " ")
    meant = next((name for name, words in _OTHER_NAMES.items() if folded in words), "")
    near = difflib.get_close_matches(column, COLUMNS, n=1)
    return f"the column {brief(column)!r}" + (f" (is it {meant or near[0]!r}?)" if meant or near else "")


def _with_defaults(row: dict[str, str]) -> dict[str, str]:
    """What a row that is only measured may lack."""
    name = row["audio"].replace("/", "-").replace("\\", "-")
    return row | {
        "clip_id": row.get("clip_id") or name,
        "artist": row.get("artist", ""),
        "rated_by": row.get("rated_by") or "listeners",
    }


def _read_clip(root: Path, row: Mapping[str, str], line: int, *, has_folds: bool) -> Clip:
    try:
        return Clip(
            clip_id=_clip_id(row["clip_id"]),
            audio=root / row["audio"],
            artist=row["artist"],
            fold=_fold(row["fold"]) if has_folds else 0,
            category=_label(row.get("quadrant"), "Q", CATEGORIES),
            cluster=_label(row.get("cluster"), "C", CLUSTERS),
            valence=_coordinate(row.get("valence")),
            arousal=_coordinate(row.get("arousal")),
            lyrics=root / row["lyrics"] if row.get("lyrics") else None,
            rated_by=_rated_by(row.get("rated_by"), has_spread=bool(row.get("valence_sd") or row.get("arousal_sd"))),
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


def _label(text: str | None, letter: str, names: Sequence[str]) -> int | None:
    if not text:
        return None
    given = text.casefold()
    for i, name in enumerate(names):
        if given in (name.casefold(), f"{letter}{i + 1}".casefold()):
            return i
    words = "" if names[0] == f"{letter}1" else f" ({', '.join(names)})"
    raise ValueError(f"expected {letter}1 to {letter}{len(names)}{words} or nothing, not {text!r}")


def _coordinate(text: str | None) -> float | None:
    if not text:
        return None
    value = float(text)
    if not (math.isfinite(value) and -1 <= value <= 1):
        raise ValueError(f"valence and arousal lie in -1..1, not {text}")
    return value


def _rated_by(text: str | None, *, has_spread: bool) -> RatedBy:
    if text and text not in get_args(RatedBy):
        raise ValueError(f"rated_by must be tags or listeners or nothing, not {text!r}")
    return cast("RatedBy", text or ("listeners" if has_spread else "tags"))


def check_ids(clips: Sequence[Clip], manifest: Path) -> None:
    """Refuse ids that stand for two clips.

    Raises:
        CorpusError: One does.
    """
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
        artist = " ".join(clip.artist.casefold().split())
        if artist and folds.setdefault(artist, clip.fold) != clip.fold:
            raise CorpusError(
                f"{manifest}: the artist {clip.artist!r} sits in two folds; folds must be artist-disjoint, so give all "
                "clips of an artist the same number in the column 'fold'"
            )


def read_transcripts(root: Path) -> dict[str, dict[str, Any]]:
    """The rows of ``transcripts.jsonl`` in a corpus's folder, by clip id; none where there is no such file.

    Raises:
        CorpusError: It is malformed.
    """
    path = root / "transcripts.jsonl"
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        return {row["clip_id"]: row for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path} is not a file of transcripts, one JSON object a line: {error}") from error


def lead_artist(name: str) -> str:
    """The first of the artists that a credit names, for telling who is the same: ``Rihanna feat. Drake`` is Rihanna.

    Cutting too much ("Earth, Wind & Fire" becomes "earth") is safe: it can only put more clips on the same side.
    """
    folded = " ".join(name.casefold().split())
    return _GUESTS.sub("", folded).strip() or folded


def balanced_folds(groups: Sequence[str], strata: Sequence[Hashable]) -> list[int]:
    """Deal groups out to five folds, so that each holds about a fifth of every stratum and of the whole.

    The largest group first, each to the fold that has least of what it brings. Groups of one size come in the order
    of a hash of their names, so neither the rows' order nor the machine decides anything.

    Args:
        groups: Who must stay together, one name a clip.
        strata: What should be even, one a clip.

    Returns:
        Fold of every clip, 0..4. Fewer groups than folds leave folds empty.
    """
    total = Counter(strata)
    content: dict[str, Counter[Hashable]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        content.setdefault(group, Counter())[stratum] += 1
    held: list[Counter[Hashable]] = [Counter() for _ in range(N_FOLDS)]
    fold_of: dict[str, int] = {}
    for group in sorted(content, key=lambda name: (-content[name].total(), _hash(name))):
        brings = content[group]

        def crowding(fold: int, brings: Counter[Hashable] = brings) -> tuple[float, int]:
            of_strata = sum(n * held[fold][stratum] / total[stratum] for stratum, n in brings.items())
            of_all = brings.total() * held[fold].total() / len(groups)
            return of_strata + of_all, fold

        fold_of[group] = min(range(N_FOLDS), key=crowding)
        held[fold_of[group]].update(brings)
    return [fold_of[group] for group in groups]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()  # Python's own hash changes from run to run


# What the loaders of public data sets share (``training.corpora``): tables, audio files and notes.

AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".opus", ".m4a")
"""The published files are MP3; people convert them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: its line in the file, and its cells by the names that were asked for."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.cells[name]


def read_columns(path: Path, columns: Mapping[str, Sequence[str]], *, optional: Sequence[str] = ()) -> list[Row]:
    """Read some columns of a CSV file; cells lose spaces and tabs around and doubled within.

    Rows may be longer or shorter than the header, as in DEAM's; cells that a row lacks are empty.

    Args:
        path: The file.
        columns: By the name in the result, the spellings in the header; upper and lower case count as one.
        optional: Names of columns that the file may lack; their cells are then empty.

    Raises:
        CorpusError: The file cannot be read, or lacks a column.
    """
    rows = read_rows(path)
    _, header = next(rows, (0, []))
    titles = [title.casefold() for title in header]
    place: dict[str, int] = {}
    for name, spellings in columns.items():
        found = [titles.index(s.casefold()) for s in spellings if s.casefold() in titles]
        if found:
            place[name] = found[0]
        elif name not in optional:
            raise CorpusError(f"{path} lacks the column {' or '.join(spellings)}; it has {', '.join(header) or 'none'}")
    return [
        Row(
            line=line,
            cells={name: cells[place[name]] if len(cells) > place.get(name, len(cells)) else "" for name in columns},
        )
        for line, cells in rows
    ]


def read_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the tidied cells of every row that is not empty.

    Raises:
        CorpusError: The file cannot be read.
    """
    try:
        # Names in odd encodings only separate artists, so a replacement character in them does no harm.
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.reader(file, delimiter=delimiter)
            for cells in reader:
                tidy = [" ".join(cell.replace('"', " ").split()) for cell in cells]
                if any(tidy):
                    yield reader.line_num, tidy
    except (OSError, csv.Error) as error:
        raise CorpusError(f"cannot read {path}: {error}") from error


def scaled(row: Row, name: str, low: float, high: float, path: Path) -> float:
    """A rating between ``low`` and ``high``, mapped linearly to -1..1.

    Raises:
        CorpusError: The cell holds no number in that range.
    """
    try:
        value = float(row[name])
    except ValueError:
        raise CorpusError(f"{path}, line {row.line}: {name} is no number but {row[name]!r}") from None
    if not low <= value <= high:  # NaN is refused too
        raise CorpusError(f"{path}, line {row.line}: {name} is {value:g}, but ratings go from {low:g} to {high:g}")
    return 2 * (value - low) / (high - low) - 1


def find_files(root: Path, pattern: str, *, depth: int) -> list[Path]:
    """Files that match the pattern in the folder or, failing that, nearest below it, at most ``depth`` folders down."""
    for level in range(depth + 1):
        found = sorted(path for path in root.glob("*/" * level + pattern) if path.is_file())
        if found:
            return found
    return []


def find_audio(folder: Path, stem: str) -> Path | None:
    """The audio file of that name in a folder, whatever its format."""
    return next((path for suffix in AUDIO_SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a loader did not take, and why."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.names.setdefault(reason, []).append(name)

    def __str__(self) -> str:
        """For example ``2 without an audio file (5, 9), 1 with moods of two quadrants (7)``; names end after three."""
        return ", ".join(
            f"{len(names)} {reason} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for reason, names in self.names.items()
        )


def public_corpus(
    root: Path, title: str, clips: Sequence[Clip], left_out: LeftOut, *, hint: str, notes: Sequence[str] = ()
) -> Corpus:
    """Make a corpus of what a loader took: with folds, transcripts if there are any, and notes.

    Args:
        root: Folder of the data set.
        title: Its name.
        clips: What was taken; their folds are made here.
        left_out: What was not.
        hint: What to do where nothing could be taken.
        notes: What else to say.

    Raises:
        CorpusError: Nothing was taken, an id stands twice, or all clips are by one artist.
    """
    if not clips:
        raise CorpusError(f"{title} in {root}: not one clip can be used: {left_out or 'its tables are empty'}; {hint}")
    check_ids(clips, root)
    n = len(clips) + sum(map(len, left_out.names.values()))
    taken = f"{title} in {root}: {len(clips)} of {n} clips taken" + (
        f"; left out: {left_out}" if left_out.names else ""
    )
    folded, about_folds = with_folds(clips, root)
    return Corpus(root=root, clips=folded, transcripts=read_transcripts(root), notes=(taken, *notes, *about_folds))
