"""What the loaders of public data sets share: tables, audio files and notes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream_mer.errors import CorpusError
from stream_mer.training.corpus import Clip, Corpus, check_ids, read_transcripts, with_folds

AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".opus", ".m4a")
"""The published files are MP3; people convert them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: its line in the file, and its cells by the names that were asked for."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.cells[name]


def read_table(path: Path, columns: Mapping[str, Sequence[str]], *, optional: Sequence[str] = ()) -> list[Row]:
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
        # Names in odd encodings only tell artists apart, so a replacement character in them does no harm.
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
