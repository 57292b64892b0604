"""Continuous ratings: what listeners said of a clip while it went on. They are what a live tagger should follow."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from stream_mer.errors import CorpusError

FILE_NAME = "dynamic.csv"
"""Beside a manifest: ``clip_id``, ``t_s`` (seconds in the clip), ``valence``, ``arousal`` (-1..1), a row a moment."""

_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_COLUMNS = ("clip_id", "t_s", "valence", "arousal")


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
    for clip_id, rating in _rows(path):
        ratings.setdefault(clip_id, []).append(rating)
    curves = {}
    for clip_id, found in ratings.items():
        try:
            curves[clip_id] = RatingCurve.of(found)
        except ValueError as error:
            raise CorpusError(f"{path}, clip {clip_id}: {error}") from error
    return curves


def open_table(file: TextIO) -> csv.DictReader[str]:
    """Read a table whose header says what separates its cells: commas, semicolons or tabs.

    Names of columns lose spaces around them, and upper and lower case count as one.
    """
    header = file.readline()
    file.seek(0)
    reader = csv.DictReader(file, restval="", delimiter=max(",;\t", key=header.count))
    reader.fieldnames = [" ".join(name.split()).casefold() for name in reader.fieldnames or ()]
    return reader


def tidy_rows(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """Yield the rows; cells lose spaces around them, and numbers have a decimal point."""
    for row in reader:
        tidy = {name: text.strip() for name, text in row.items() if isinstance(text, str)}
        if reader.reader.dialect.delimiter != ",":
            tidy = {
                name: text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text for name, text in tidy.items()
            }
        yield tidy


def _rows(path: Path) -> Iterator[tuple[str, Rating]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = open_table(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{path} lacks the column {', '.join(missing)} (see docs/TRAINING.md)")
            for row in tidy_rows(reader):
                try:
                    rating = Rating(*(float(row[column]) for column in _COLUMNS[1:]))
                except ValueError as error:
                    raise CorpusError(f"{path}, line {reader.line_num}: {error}") from error
                yield row["clip_id"], rating
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"cannot read {path}: {error}; it must be CSV in UTF-8") from error
