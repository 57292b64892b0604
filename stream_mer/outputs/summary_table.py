"""One row a file: what ``tag`` says of many files as a table (CSV or Parquet), and of one as text for a terminal."""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from stream_mer.audio.audio_state import has_emotion
from stream_mer.errors import SettingError
from stream_mer.outputs.files import FileSummary
from stream_mer.types import CATEGORIES, UNKNOWN, CategoryChange, EmotionFrame, LyricLine, StreamEvent, StreamStatus
from stream_mer.utils.files import replacing

SUFFIXES = (".csv", ".parquet")
_CHANGES_SHOWN = 12
_WRITE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """A tagged file, or one that failed; None where a value is not known.

    Attributes:
        file: The file, as it was found.
        title: From the file's own tags; of several songs in a file, the first.
        artist: Likewise.
        duration_s: Time that was tagged, seconds.
        category: The most probable category of the whole file, or ``unknown``.
        valence_mean: Of the frames that claim an emotion, before smoothing, -1..1.
        valence_median: Likewise.
        valence_sd: Their standard deviation.
        arousal_mean: As for valence.
        arousal_median: Likewise.
        arousal_sd: Likewise.
        happy_share: Share of the time with this category, 0..1; the shares sum to 1.
        angry_share: Likewise.
        sad_share: Likewise.
        relaxed_share: Likewise.
        unknown_share: Likewise.
        words: Number of words of the lyrics.
        language: ISO 639-1 code of most of them.
        error: Why the file could not be tagged.
    """

    file: str
    title: str | None = None
    artist: str | None = None
    duration_s: float | None = None
    category: str | None = None
    valence_mean: float | None = None
    valence_median: float | None = None
    valence_sd: float | None = None
    arousal_mean: float | None = None
    arousal_median: float | None = None
    arousal_sd: float | None = None
    happy_share: float | None = None
    angry_share: float | None = None
    sad_share: float | None = None
    relaxed_share: float | None = None
    unknown_share: float | None = None
    words: int | None = None
    language: str | None = None
    error: str | None = None


COLUMNS = tuple(field.name for field in fields(FileRow))


class RowCollector:
    """Collects what a ``FileRow`` says; implements ``ports.EventSink``.

    Args:
        words_alone: The file has lyrics and no sound: its last frame stands for the file.
    """

    def __init__(self, *, words_alone: bool = False) -> None:
        self._words_alone = words_alone
        self._summary = FileSummary(words_alone=words_alone)
        self._points: list[tuple[float, float]] = []
        self._durations_s = dict.fromkeys((*CATEGORIES, UNKNOWN), 0.0)
        self._begin_s: float | None = None
        self._end_s = 0.0
        self._lines: dict[int, LyricLine] = {}
        self._title: str | None = None
        self._artist: str | None = None
        self.changes: list[CategoryChange] = []

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        self._summary.publish(event)
        match event:
            case EmotionFrame():
                self._add(event)
            case LyricLine() if event.committed:
                self._lines[event.segment] = event
            case CategoryChange():
                self.changes.append(event)
            case StreamStatus():
                self._title = self._title or event.title
                self._artist = self._artist or event.artist

    def row(self, file: str) -> FileRow:
        """Return the row of all events so far, for a file of this name."""
        summary = self._summary.summary()
        total_s = sum(self._durations_s.values())
        shares: dict[str, Any] = {
            f"{name}_share": length_s / total_s if total_s else 0.0 for name, length_s in self._durations_s.items()
        }
        words = Counter[str]()
        for line in self._lines.values():
            words[line.language] += len(line.words) or len(line.text.split())
        spoken = [language for language, _ in words.most_common() if language]
        return FileRow(
            file=file,
            title=self._title,
            artist=self._artist,
            duration_s=self._end_s - (self._begin_s or 0.0),
            category=summary.category,
            **_figures("valence", [valence for valence, _ in self._points]),
            **_figures("arousal", [arousal for _, arousal in self._points]),
            **shares,
            words=words.total(),
            language=spoken[0] if spoken else None,
        )

    def _add(self, frame: EmotionFrame) -> None:
        if self._begin_s is None:
            self._begin_s = self._end_s = frame.t0
        self._durations_s[frame.category] += frame.t1 - self._end_s
        self._end_s = frame.t1
        if has_emotion(frame.raw):
            if self._words_alone:
                self._points.clear()
            self._points.append((frame.raw.valence, frame.raw.arousal))


def _figures(name: str, values: list[float]) -> dict[str, Any]:
    if not values:
        return {}
    return {
        f"{name}_mean": statistics.fmean(values),
        f"{name}_median": statistics.median(values),
        f"{name}_sd": statistics.pstdev(values),
    }


# --- Tables


def check_table(path: Path) -> None:
    """Check that a table can be written, before there is anything to write.

    Raises:
        SettingError: Its suffix names no format, or the package for it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingError(f"cannot write {path}: a summary is a .csv or a .parquet file; name it so")
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401, PLC0415 - large, and wanted by few
        except ImportError as error:
            raise SettingError(
                f"{path} needs pyarrow: pip install 'stream-mer[parquet]'; or name a .csv file"
            ) from error


def write_table(path: Path, rows: Iterable[FileRow]) -> None:
    """Write a table by its suffix; an older one stays until it is complete.

    Raises:
        SettingError: It cannot be written.
    """
    with replacing(path) as file:
        if path.suffix.lower() == ".parquet":
            import pyarrow as pa  # noqa: PLC0415 - as in check_table
            from pyarrow import parquet  # noqa: PLC0415 - likewise

            parquet.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=_schema()), file)
            return
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_cell(value) for value in asdict(row).values()] for row in rows)
        text.detach()  # otherwise it closes the file with itself


def read_table(path: Path) -> list[FileRow]:
    """Read a table that ``write_table`` wrote; empty if there is none.

    Raises:
        SettingError: It cannot be read, or is another table.
    """
    if not path.exists():
        return []
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet  # noqa: PLC0415 - as in check_table

            found = parquet.read_table(path).to_pylist()
        else:
            with path.open(newline="", encoding="utf-8") as file:
                found = [{name: cell or None for name, cell in row.items()} for row in csv.DictReader(file)]
        return [msgspec.convert(row, FileRow, strict=False) for row in found]
    except (OSError, ValueError, csv.Error) as error:  # those of msgspec and pyarrow are ValueErrors
        raise SettingError(f"{path} is no summary of stream-mer tag ({error}); give another file") from error


class SummaryTable:
    """The table of one call, in the order of its files, whichever ends first.

    Args:
        path: The file.
        names: Names of the files, as of ``FileRow.file``.
        keep: Go on with the table that is there: its rows stay, unless there are newer ones.

    Raises:
        SettingError: The table that is there cannot be read.
    """

    def __init__(self, path: Path, names: Sequence[str], *, keep: bool) -> None:
        self._path = path
        self._names = names
        self._before = {row.file: row for row in read_table(path)} if keep else {}
        self._rows: dict[int, FileRow] = {}
        self._written_at = time.monotonic()

    def has(self, name: str) -> bool:
        """Return whether the table that was there has a row of this file, and no error in it."""
        row = self._before.get(name)
        return row is not None and row.error is None

    def set(self, index: int, row: FileRow) -> None:
        """Take the row of a file by its place among the names; now and then this writes the table."""
        self._rows[index] = row
        if time.monotonic() - self._written_at > _WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what there is.

        Raises:
            SettingError: It cannot be written.
        """
        names = set(self._names)
        rows = [row for name, row in self._before.items() if name not in names]
        rows += [row for i, name in enumerate(self._names) if (row := self._rows.get(i) or self._before.get(name))]
        write_table(self._path, rows)
        self._written_at = time.monotonic()


def _cell(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _schema() -> Any:
    import pyarrow as pa  # noqa: PLC0415 - as in check_table

    kinds = {"float": pa.float64(), "int": pa.int64(), "str": pa.string()}
    return pa.schema([(field.name, kinds[str(field.type).partition(" ")[0]]) for field in fields(FileRow)])


# --- Text


def readable(row: FileRow, changes: Iterable[CategoryChange] = ()) -> str:
    """Return a tagged file for people: a few lines, without a line feed at the end."""
    by = " - ".join(one for one in (row.artist, row.title) if one)
    shares = {name: getattr(row, f"{name}_share") or 0.0 for name in (*CATEGORIES, UNKNOWN)}
    listed = sorted((name for name in shares if shares[name] >= 0.005), key=lambda name: -shares[name])
    lines = [
        "  ".join(one for one in (row.file, _clock(row.duration_s or 0.0), by) if one),
        f"  mood     {', '.join(f'{name} {shares[name]:.0%}' for name in listed) or 'unknown'}",
    ]
    for name in ("valence", "arousal"):
        mean, median, spread = (getattr(row, f"{name}_{figure}") for figure in ("mean", "median", "sd"))
        if mean is not None:
            lines.append(f"  {name}  {mean:+.2f}  (median {median:+.2f}, spread {spread:.2f}, of -1 to 1)")
    path = _path_of(list(changes))
    if path:
        lines.append(f"  changes  {path}")
    if row.words:
        language = f" in {row.language}" if row.language else ""
        lines.append(f"  lyrics   {row.words} word{'s' if row.words != 1 else ''}{language}")
    return "\n".join(lines)


def _path_of(changes: list[CategoryChange]) -> str:
    """Return the categories in their order, with the times of their changes."""
    if not changes:
        return ""
    shown = [f"{change.after} ({_clock(change.t)})" for change in changes[:_CHANGES_SHOWN]]
    more = len(changes) - len(shown)
    return " → ".join([changes[0].before, *shown]) + (f" and {more} more" if more else "")


def _clock(t_s: float) -> str:
    minutes, seconds = divmod(round(t_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
