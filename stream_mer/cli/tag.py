"""``stream-mer tag``."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, cast

import click
from click.core import ParameterSource

from stream_mer.batch import (
    FoundFile,
    Result,
    Task,
    TaskSettings,
    Wanted,
    WorkerPool,
    find_files,
    places,
    run_here,
)
from stream_mer.cli.echo import EscapingFile, echo
from stream_mer.cli.options import engine_options, engine_settings
from stream_mer.config import EngineSettings
from stream_mer.errors import SettingError, SourceError, StreamMerError
from stream_mer.lyrics.files import is_lyrics_file, words_duration_s
from stream_mer.outputs.files import COLUMNS
from stream_mer.outputs.plot import check_picture
from stream_mer.outputs.recording.format import is_recording, open_recording
from stream_mer.outputs.summary_table import FileRow, SummaryTable, check_table, readable
from stream_mer.sources.decoding import check_file
from stream_mer.sources.file import WHOLE, Excerpt, FileSource
from stream_mer.utils.files import as_text, check_folder, check_targets, file_names, replacing
from stream_mer.utils.sanitise import redact_address, redact_argument
from stream_mer.utils.stopping import orderly_exit

if TYPE_CHECKING:
    from stream_mer.engine import Engine

_USUAL_S = 200.0
"""Duration of a file that states none, for the overall bar, seconds."""


_MOST_JOBS = 2 * (os.cpu_count() or 1)
"""More processes than this only take memory."""


@click.command("tag")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="JSON lines: messages and a summary. CSV: one row a frame.",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="PATH",
    help="Write to this file instead of stdout. A folder (one that exists, or a name that ends with /) gets a file for "
    "each input.",
)
@click.option(
    "--summary",
    type=click.Path(path_type=Path),
    metavar="TABLE",
    help="Also write a table with a row a file: .csv, or .parquet (needs the extra 'parquet').",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines also where the output is a terminal.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes side by side, each with the models in its memory (some 0.15 GB, 0.5 GB with recognition); at "
    "most two for each processor.",
)
@click.option(
    "--skip-existing",
    is_flag=True,
    help="Leave out files whose results are there: to go on after an interruption. For --out FOLDER and --summary.",
)
@click.option("--start", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds into each file.")
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), help="Seconds of each file to tag.  [default: to the end]"
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Also draw the timeline. Several files get one picture each, with their names added.",
)
@click.option("--srt", type=click.Path(path_type=Path), metavar="FILE", help="Also write the lyrics as subtitles.")
@click.option("--lrc", type=click.Path(path_type=Path), metavar="FILE", help="Also write the lyrics as LRC.")
@click.option("--track", metavar="NUMBER|TITLE", help="Audio track to use.")
@engine_options
def command(
    *,
    files: tuple[str, ...],
    out: str | None,
    summary: Path | None,
    as_json: bool,
    jobs: int,
    skip_existing: bool,
    start: float,
    duration: float | None,
    track: str | None,
    output_format: str,
    plot: Path | None,
    srt: Path | None,
    lrc: Path | None,
    **engine: Any,
) -> None:
    """Tag audio files, lyrics files or recordings: the messages of a live listener, then a summary of each file.

    Folders are searched for audio at any depth; patterns such as "**/*.flac" may be quoted. A frame at t1 uses nothing
    later than t1. Results do not depend on the speed of the machine, nor on --jobs. On a terminal a short text stands
    for the messages (--json: the messages). Exit code 1 means that some files failed: each is named with its reason,
    and the others are tagged. A recording (`stream-mer serve --record`) is exported without computing it again.

    \b
    Examples:
      stream-mer tag song.mp3                      what it is like; JSON lines if piped
      stream-mer tag *.flac --out tags.jsonl       many files through one loaded model
      stream-mer tag music --out tags/ --summary tags.csv --jobs 4 --skip-existing
      stream-mer tag song.mp3 --format csv --plot song.png
      stream-mer tag song.mp3 --start 60 --duration 30
      stream-mer tag song.mp3 --srt song.srt       the recognised lyrics as subtitles; --lrc likewise
      stream-mer tag song.mp3 --lyrics song.lrc    known lyrics instead of recognition
      stream-mer tag song.lrc                      lyrics alone (.lrc, .srt, .vtt, .txt)
      stream-mer tag shows --plot show.png         the newest recording in this folder
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    settings = TaskSettings(
        engine=engine_settings(**engine), track=track, excerpt=Excerpt(start_s=start, duration_s=duration)
    )
    place = _place(out, output_format, summary, as_json=as_json, skip_existing=skip_existing)
    if plot is not None:
        check_picture(plot, "--plot")
    wanted = Wanted(output_format=output_format, plot=plot, srt=srt, lrc=lrc)
    if not _tag(files, settings, wanted, place, jobs=jobs):
        raise click.exceptions.Exit(1)


def _tag(files: Sequence[str], settings: TaskSettings, wanted: Wanted, place: _Place, *, jobs: int) -> bool:
    """Tag all files and report how it ended, also where it was interrupted; return whether none failed."""
    batch = None
    try:
        with _report(place) as report:
            batch = _Batch(files, settings, wanted, place, report)
            batch.run(jobs)
    except (KeyboardInterrupt, SystemExit, StreamMerError):
        if batch is not None and batch.began:
            batch.report_end()
        raise
    batch.report_end()
    return not batch.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where results go.

    Attributes:
        folder: Gets lines or rows, a file for each input.
        file: Gets those of all inputs. Without either, stdout does.
        readable: On stdout, text for people stands for them.
        table: Gets the summary.
        skip_existing: Leave out what has results there.
    """

    folder: Path | None = None
    file: Path | None = None
    readable: bool = False
    table: Path | None = None
    skip_existing: bool = False


def _place(out: str | None, output_format: str, table: Path | None, *, as_json: bool, skip_existing: bool) -> _Place:
    """Return where results go.

    Raises:
        SettingError: Something cannot be written, or options contradict each other.
    """
    if table is not None:
        check_table(table)
    if as_json and output_format != "jsonl":
        raise SettingError(f"--json and --format {output_format} contradict each other: give one of them")
    is_folder = out is not None and (out.endswith(("/", "\\")) or Path(out).is_dir())
    if out is not None and is_folder:
        check_folder(Path(out))
        return _Place(folder=Path(out), table=table, skip_existing=skip_existing)
    if skip_existing and out is not None:
        raise SettingError("--skip-existing needs a file for each input: end the name of --out with /, or leave it out")
    if skip_existing and table is None:
        raise SettingError("--skip-existing looks for results: give --out FOLDER/ or --summary, too")
    source = click.get_current_context().get_parameter_source("output_format")
    asked = as_json or source is not ParameterSource.DEFAULT
    return _Place(
        file=None if out is None else Path(out),
        readable=out is None and not asked and sys.stdout.isatty(),
        table=table,
        skip_existing=skip_existing,
    )


class _NothingTaggedError(Exception):
    """Ends a run before its output takes the place of an older one."""


class _Batch:
    """All files of one call.

    Args:
        arguments: Files, folders and patterns.
        settings: What the tasks have in common.
        wanted: Which outputs; those of several tasks get names of their own.
        place: Where results go.
        report: Shows progress and errors.

    Raises:
        SettingError: Something cannot be written, or contradicts something else.
    """

    def __init__(
        self, arguments: Sequence[str], settings: TaskSettings, wanted: Wanted, place: _Place, report: Report
    ) -> None:
        self._settings = settings
        self._place = place
        self._report = report
        self._wanted = wanted
        self.failed = self._tagged = self._n_ended = 0
        found = find_files(arguments)
        paths = [one.path for one in found if isinstance(one, FoundFile)]
        _refuse_other_words(paths, settings)
        items = list(_items(found, settings, wanted, place))
        self._is_many = len(items) > 1
        self._table = None
        if place.table is not None:
            names = [one.file if isinstance(one, FileRow) else one.name for one in items]
            self._table = SummaryTable(place.table, names, keep=place.skip_existing)
        tasks = {i: one for i, one in enumerate(items) if isinstance(one, Task)}
        self._tasks = {i: task for i, task in tasks.items() if not (place.skip_existing and self._is_done(task))}
        self._n_skipped = len(tasks) - len(self._tasks)
        self._check_targets(paths)
        for i, one in enumerate(items):
            if isinstance(one, FileRow):
                self._end(i, Result(row=one))

    def run(self, jobs: int) -> None:
        """Tag everything.

        Raises:
            SettingError: No other task would succeed either; LyricsError and CheckpointError likewise.
        """
        tasks, indices = list(self._tasks.values()), list(self._tasks)
        n_computed = sum(task.recording is None for task in tasks)
        load = functools.cache(lambda: _load(self._settings.engine))
        with orderly_exit(), contextlib.suppress(_NothingTaggedError), contextlib.ExitStack() as stack:
            # The models come first, before anything is written: without them nothing can be.
            n_workers = min(jobs, n_computed, _MOST_JOBS)
            pool = stack.enter_context(WorkerPool(self._settings, n_workers)) if n_workers > 1 else None
            if pool is None and n_computed:
                load()
            if self._table is not None:
                stack.callback(self._table.write)
            file = stack.enter_context(_open_output(self._place))
            if file is not None and tasks and self._wanted.output_format == "csv":
                _write_header(file)
            lengths_s = (_length_s(task, self._settings.excerpt) for task in tasks)
            self._report.begin([Path(task.file).name for task in tasks], lengths_s)
            if pool is not None:
                results = pool.run(tasks, file, self._report.update)
            else:
                results = run_here(tasks, self._settings, load, file, self._report.update)
            for i, result in results:
                self._report.end(i)
                self._n_ended += 1
                self._end(indices[i], result)
            if not self._tagged and self._place.file is not None:
                raise _NothingTaggedError  # an existing output file stays as it is

    def report_end(self) -> None:
        """Say what became of the files, if there were several."""
        n_left = len(self._tasks) - self._n_ended
        counts = {"tagged": self._tagged, "failed": self.failed, "skipped": self._n_skipped, "left": n_left}
        if self._is_many:
            echo(", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "tagged"), err=True)
            if n_left and (self._place.folder is not None or self._table is not None):
                echo("What is finished is kept: the same command with --skip-existing does the rest.", err=True)

    @property
    def began(self) -> bool:
        """Whether a file was tagged, or failed to be."""
        return self._n_ended > 0

    def _check_targets(self, paths: Sequence[str]) -> None:
        """Raise ``SettingError`` if an output cannot be written, or would take the place of an input or another."""
        words = self._settings.engine.lyrics.file
        own = [path for task in self._tasks.values() for path in task.paths()]
        shared = [path for path in (self._place.file, self._place.table) if path is not None]
        # Folders below the one for results are made when they are needed.
        fresh = [path for path in own if self._place.folder in path.parents and not path.parent.exists()]
        twice = next((path for path, n in Counter(fresh).items() if n > 1), None)
        if twice is not None:
            raise SettingError(f"{twice} would be written twice: name each file once")
        there = [path for path in own if path.parent.exists() or self._place.folder not in path.parents]
        check_targets([*shared, *there], inputs=[*map(Path, paths), *([] if words is None else [words])])

    def _is_done(self, task: Task) -> bool:
        """Return whether all that a task would write is there."""
        in_table = self._table is None or self._table.has(task.name)
        return in_table and all(path.exists() for path in task.paths())

    def _end(self, index: int, result: Result) -> None:
        """Count, show and keep the result of an item."""
        error = result.row.error
        if error is None:
            self._tagged += 1
        else:
            self.failed += 1
            name = result.row.file
            text = error if name in error else f"{name}: {error}"
            self._report.error(f"stream-mer: {text}")
        if self._table is not None:
            self._table.set(index, result.row)
        if error is None and self._place.readable:
            self._report.print(readable(result.row, result.changes))


def _items(
    found: Sequence[FoundFile | FileRow], settings: TaskSettings, wanted: Wanted, place: _Place
) -> Iterator[Task | FileRow]:
    """Yield the tasks, and a row for each file that cannot be used.

    A stream is named after its file; files of the same name in several folders, after their paths as given. Streams of
    a recording keep their names.
    """
    files = [one for one in found if isinstance(one, FoundFile)]
    names = Counter(as_text(Path(file.path).name) for file in files)
    at = dict(zip(map(id, files), places(files), strict=True))
    made: list[Task | FileRow] = []
    for one in found:
        if isinstance(one, FileRow):
            made.append(one)
            continue
        name = as_text(Path(one.path).name)
        try:
            made += _tasks_of(one.path, name if names[name] == 1 else as_text(one.path), at[id(one)], settings, wanted)
        except StreamMerError as error:
            made.append(FileRow(file=as_text(redact_argument(one.path)), error=str(error)))
    tasks = [one for one in made if isinstance(one, Task)]
    stems = file_names(Path(task.file).stem if task.recording is None else task.stream for task in tasks)
    own = dict(zip(map(id, tasks), stems, strict=True))
    suffix = f".{wanted.output_format}"
    for item in made:
        if isinstance(item, FileRow):
            yield item
            continue
        target = None if place.folder is None or item.target is None else place.folder / f"{item.target}{suffix}"
        yield replace(item, outputs=wanted if len(tasks) < 2 else wanted.of(own[id(item)]), target=target)


def _tasks_of(path: str, stream: str, target: Path, settings: TaskSettings, wanted: Wanted) -> list[Task]:
    """Return the tasks of a file; their targets have no folder and no suffix yet.

    Raises:
        SourceError: It cannot be used; LyricsError and RecordingError likewise.
        SettingError: It is no audio, and an excerpt is wanted.
    """
    is_excerpt = settings.excerpt != WHOLE
    if is_recording(Path(path)):
        if is_excerpt:
            raise SettingError(f"{path} is a recording: --start and --duration are for audio")
        recording = open_recording(Path(path))
        at = dict(zip(recording.streams, file_names(recording.streams), strict=True))
        return [
            Task(file=path, stream=one, outputs=wanted, target=target / at[one], recording=recording)
            for one in recording.streams
        ]
    if is_excerpt and is_lyrics_file(path):
        raise SettingError(f"{path} is a lyrics file: --start and --duration are for audio")
    _check_input(path, encoding=settings.engine.lyrics.encoding)
    return [Task(file=path, stream=stream, outputs=wanted, target=target)]


def _check_input(name: str, *, encoding: str | None) -> None:
    """Check a file without decoding it.

    Raises:
        SourceError: It is missing, a folder, empty or an address.
        LyricsError: It is a lyrics file that cannot be used.
        SettingError: The encoding is unknown.
    """
    if "://" in name:
        shown = redact_address(name)
        raise SourceError(f"tag reads files, and {shown} is an address; use stream-mer serve --source {shown}")
    if is_lyrics_file(name):
        words_duration_s(Path(name), encoding=encoding)
    else:
        check_file(Path(name))


def _load(settings: EngineSettings) -> Engine:
    from stream_mer.engine import Engine  # noqa: PLC0415 - loads the models' runtime: recordings want none
    from stream_mer.utils.blas import use_one_thread  # noqa: PLC0415 - loads the models' runtime: recordings want none

    use_one_thread()
    return Engine(settings)


def _refuse_other_words(files: Sequence[str], settings: TaskSettings) -> None:
    """Refuse options that give a lyrics file other lyrics, or none; and one song's lyrics for several."""
    mode = settings.engine.lyrics.mode
    option = {"known": "--lyrics", "off": "--no-lyrics"}.get(mode)
    words = next(filter(is_lyrics_file, files), None)
    if option is not None and words is not None:
        raise SettingError(f"{words} is a lyrics file, so {option} contradicts it: leave {option} out, or give audio")


@contextlib.contextmanager
def _open_output(place: _Place) -> Iterator[BinaryIO | None]:
    """Yield what takes the lines or rows of all files; None if each has a file of its own, or none are written."""
    if place.folder is not None or place.readable:
        yield None
    elif place.file is None:
        yield cast("BinaryIO", EscapingFile(sys.stdout.buffer)) if sys.stdout.isatty() else sys.stdout.buffer
    else:
        with replacing(place.file) as file:
            yield file


def _write_header(file: BinaryIO) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(COLUMNS)
    file.write(text.getvalue().encode())


class Report(Protocol):
    """Shows progress and errors on stderr. Files are named by their index."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def begin(self, names: Sequence[str], lengths_s: Iterable[float]) -> None:
        """Take the names of all files, and their durations in seconds."""

    def update(self, index: int, done_s: float, duration_s: float | None) -> None:
        """Show how far a file is."""

    def end(self, index: int) -> None:
        """Forget a file, tagged or not."""

    def error(self, text: str) -> None:
        """Show an error."""

    def print(self, text: str) -> None:
        """Print to stdout."""


class _PlainReport:
    """Errors and texts alone."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def begin(self, names: Sequence[str], lengths_s: Iterable[float]) -> None: ...

    def update(self, index: int, done_s: float, duration_s: float | None) -> None: ...

    def end(self, index: int) -> None: ...

    def error(self, text: str) -> None:
        echo(text, err=True, colour="red")

    def print(self, text: str) -> None:
        echo(text)


def _length_s(task: Task, excerpt: Excerpt) -> float:
    """Return the duration that a file states, or a usual one, seconds."""
    if task.recording is not None:
        return 1.0  # it is not computed
    try:
        stated_s = None if is_lyrics_file(task.file) else FileSource(task.file, excerpt=excerpt).duration_s()
    except StreamMerError:
        return 1.0  # it will fail
    return _USUAL_S if stated_s is None else stated_s


def _report(place: _Place) -> Report:
    """Bars on stderr; none where stderr is no terminal, or where messages go to the terminal."""
    is_mixed = place.folder is None and place.file is None and not place.readable and sys.stdout.isatty()
    if is_mixed or not sys.stderr.isatty():
        return _PlainReport()
    from stream_mer.cli.bars import Bars  # noqa: PLC0415 - slow to import

    return Bars()
