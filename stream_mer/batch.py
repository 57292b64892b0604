"""Tagging of many files: which files, what is written of each, and one process or several.

``find_files`` expands folders and patterns. A ``Task`` is one file, or one stream of a recording, with all that it
writes. ``run_here`` carries tasks out in this process, ``WorkerPool`` in several. Each worker loads the models, so that
every file has the values that it has alone: threads of one process would share the model, whose batches differ by
rounding, and wait for each other. A worker that dies takes only its file with it.
"""

from __future__ import annotations

import contextlib
import glob
import io
import logging
import logging.handlers
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stream_mer.config import EngineSettings, MaskSettings
from stream_mer.errors import LyricsError, SettingError, SourceError, StreamMerError
from stream_mer.lyrics.files import is_lyrics_file
from stream_mer.lyrics.masking import open_mask
from stream_mer.outputs.files import CsvWriter, FileSummary, JsonlWriter, LyricsWriter, lrc, srt
from stream_mer.outputs.plot import Timeline, draw_timeline
from stream_mer.outputs.recording.format import Recording, is_recording
from stream_mer.outputs.summary_table import FileRow, RowCollector
from stream_mer.ports import EventSink
from stream_mer.sources.file import WHOLE, Excerpt
from stream_mer.types import CategoryChange, EmotionFrame, LyricLine, StreamEvent
from stream_mer.utils.files import as_text, replace_text, replacing
from stream_mer.utils.sanitise import redact_argument

if TYPE_CHECKING:
    from stream_mer.engine import Engine

log = logging.getLogger(__name__)

# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".dsf", ".flac", ".m4a", ".m4b", ".mka",
    ".mp2", ".mp3", ".mpc", ".oga", ".ogg", ".opus", ".ra", ".tta", ".wav", ".wave", ".weba", ".wma", ".wv",
    ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv",
})
# fmt: on
"""Suffixes of the files of a folder that are tagged: audio, and video for its sound."""

_PATTERN = frozenset("*?[")
_PROGRESS_EVERY_S = 0.2
_END_WITHIN_S = 10.0


# --- Which files


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file to tag, or a recording.

    Attributes:
        path: As given, or as found in a folder.
        root: The folder in which it was looked for: its place below that is its place in a folder of results.
    """

    path: str
    root: str


def find_files(arguments: Sequence[str]) -> list[FoundFile | FileRow]:
    """Expand folders and patterns into files, each once; a file that is named twice stays twice.

    Of a folder: all files with a suffix of audio or video, at any depth, in the order of their names. A folder with a
    recording is one file, and so is the newest recording in a folder of several.

    Returns:
        The files; a row with the error for a folder without audio, and for a pattern that nothing matches.
    """
    found: list[FoundFile | FileRow] = []
    seen: set[str] = set()
    for argument in arguments:
        try:
            for file, is_listed in _expand(argument):
                real = os.path.realpath(file.path)
                if is_listed or real not in seen:
                    found.append(file)
                seen.add(real)
        except SourceError as error:
            found.append(FileRow(file=as_text(redact_argument(argument)), error=str(error)))
    return found


def _expand(argument: str) -> Iterator[tuple[FoundFile, bool]]:
    """Yield the files that an argument stands for, and whether it names the file itself."""
    if _is_folder(argument):
        for path in _files_in(argument):
            yield FoundFile(path=path, root=argument), False
    elif _PATTERN.intersection(argument) and "://" not in argument and not os.path.exists(argument):  # noqa: PTH110 - Path.exists raises where a name is too long
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - takes absolute patterns, too
        if not matches:
            raise SourceError(f"no file matches {redact_argument(argument)!r}; check the pattern")
        root = _fixed_part(argument)
        for match in matches:
            for path in _files_in(match) if _is_folder(match) else [match] if _is_stored(match) else []:
                yield FoundFile(path=path, root=root), False
    else:
        yield FoundFile(path=argument, root=os.path.dirname(argument)), True  # noqa: PTH120 - keeps the text as given


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not is_recording(Path(path))  # noqa: PTH112 - Path.is_dir raises where a name is too long


def _is_stored(path: str) -> bool:
    """Tell whether it is no pipe, socket or device, which would be waited for; a broken link is named later."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 - as in _is_folder


def _files_in(folder: str) -> list[str]:
    """Return the audio files of a folder.

    Raises:
        SourceError: There are none.
    """
    found: list[str] = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [
            os.path.join(parent, name)  # noqa: PTH118 - keeps the text as given
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES  # noqa: PTH122 - faster
        ]
        found += filter(_is_stored, paths)
    if not found:
        raise SourceError(f"{as_text(folder)} is a folder without audio files; name another, or files")
    return found


def _fixed_part(pattern: str) -> str:
    """Return the folder above the first wildcard."""
    parts: list[str] = []
    for part in Path(pattern).parent.parts:
        if _PATTERN.intersection(part):
            break
        parts.append(part)
    return os.path.join(*parts) if parts else ""  # noqa: PTH118 - an empty text stays empty


def places(files: Sequence[FoundFile]) -> list[Path]:
    """Return the place of each file in a folder of results: its path below what all roots share."""
    absolute = [os.path.abspath(file.root or ".") for file in files]  # noqa: PTH100 - resolves no links
    try:
        base = os.path.commonpath(absolute) if absolute else ""
    except ValueError:  # several drives
        return [Path(os.path.basename(file.path)) for file in files]  # noqa: PTH119 - as above
    return [Path(os.path.relpath(os.path.abspath(file.path), base)) for file in files]  # noqa: PTH100 - as above


# --- What is written


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which outputs are written for each file.

    Attributes:
        output_format: ``jsonl`` or ``csv``.
        plot: Where the timeline is drawn.
        srt: Where the lyrics go as subtitles.
        lrc: Where they go as LRC.
    """

    output_format: str
    plot: Path | None = None
    srt: Path | None = None
    lrc: Path | None = None

    def of(self, name: str) -> Wanted:
        """Return the same with the name of one of several files in all paths."""

        def own(path: Path | None) -> Path | None:
            return path and path.with_name(f"{path.stem}-{name}{path.suffix}")

        return replace(self, plot=own(self.plot), srt=own(self.srt), lrc=own(self.lrc))

    def paths(self) -> list[Path]:
        """Return the files that are written."""
        return [path for path in (self.plot, self.srt, self.lrc) if path is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One file, or one stream of a recording, and what is written of it.

    Attributes:
        file: As given or found.
        stream: Name of the stream in the outputs.
        outputs: Files of its own.
        target: Gets its lines or rows, in a folder of results; None if they go where those of all files go.
        recording: None for a file.
    """

    file: str
    stream: str
    outputs: Wanted
    target: Path | None = None
    recording: Recording | None = None

    @property
    def name(self) -> str:
        """Its name in tables and errors: the file, with the stream of a recording."""
        return as_text(redact_argument(self.file)) + ("" if self.recording is None else f": {self.stream}")

    def paths(self) -> list[Path]:
        """Return the files that only this task writes."""
        return [*([] if self.target is None else [self.target]), *self.outputs.paths()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of a task.

    Attributes:
        row: Of the table; has the error if it failed.
        changes: The changes of category.
    """

    row: FileRow
    changes: tuple[CategoryChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What tasks have in common.

    Attributes:
        engine: How files are computed.
        track: Audio track by number or title; None for the best one.
        excerpt: The part of each file.
    """

    engine: EngineSettings
    track: str | None = None
    excerpt: Excerpt = WHOLE


class FileOutputs:
    """Writes all outputs of one file.

    Args:
        file: Gets lines or rows, open for writing; the caller closes it. None writes none.
        task: What is written.
        header: Write the column names first.
        mask: Which words are masked, and where.

    Raises:
        SettingError: A list of words cannot be read.
    """

    def __init__(self, file: BinaryIO | None, task: Task, *, header: bool, mask: MaskSettings) -> None:
        self._name = task.stream
        self._task = task
        self._file = file
        words_alone = task.recording is None and is_lyrics_file(task.file)
        self._summary = FileSummary(words_alone=words_alone)
        self.collector = RowCollector(words_alone=words_alone)
        is_jsonl = task.outputs.output_format == "jsonl"
        self._jsonl = JsonlWriter(file, self._name) if is_jsonl and file is not None else None
        self._text: io.TextIOWrapper | None = None
        if file is not None and not is_jsonl:
            self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._csv = CsvWriter(self._text, self._name, header=header) if self._text else None
        self._picture = (Timeline(), task.outputs.plot) if task.outputs.plot else None
        kinds: tuple[tuple[Path | None, Callable[..., str]], ...] = ((task.outputs.srt, srt), (task.outputs.lrc, lrc))
        words = open_mask(mask) if mask.page else None
        self._mask = words if mask.everywhere else None
        shown = (lambda line: line) if words is None else words.masked_line
        self._lyrics = [(LyricsWriter(render, shown), path) for path, render in kinds if path is not None]

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if self._mask is not None and isinstance(event, LyricLine):
            event = self._mask.masked_line(event)
        for sink in self._sinks():
            sink.publish(event)

    def _sinks(self) -> Sequence[EventSink]:
        drawn = [] if self._picture is None else [self._picture[0]]
        written = [sink for sink in (self._jsonl, self._csv) if sink is not None]
        return [*written, self._summary, self.collector, *drawn, *(writer for writer, _ in self._lyrics)]

    def finish(self) -> None:
        """Write the summary, the lyrics files and the picture.

        Raises:
            SettingError: A file cannot be written.
        """
        if self._jsonl is not None:
            self._jsonl.finish(self._summary.summary())
        if self._file is not None:
            self._file.flush()
        for writer, path in self._lyrics:
            replace_text(path, writer.text())
        if self._picture is not None:
            timeline, path = self._picture
            draw_timeline(timeline, path, self._name)

    def close(self) -> None:
        """Detach from the file, finished or not, so that the caller can write the next outputs to it."""
        if self._text is not None:
            self._text.detach()  # otherwise it closes the file with itself
            self._text = None


# --- One task

Report = Callable[[float, float | None], object]
"""Called with the time that is done and the duration of the file, seconds; the duration is None if it is not known."""


def carry_out(
    task: Task,
    settings: TaskSettings,
    load: Callable[[], Engine],
    file: BinaryIO | None,
    report: Report,
    *,
    header: bool = False,
) -> Result:
    """Write all outputs of one task.

    Args:
        task: The task.
        settings: What it shares with others.
        load: Returns the engine; not called for a recording.
        file: Gets lines or rows of a task without a ``target``; None writes none.
        report: Told how far it is.
        header: Write the column names first to ``file``.

    Returns:
        Its row, with the error if it failed.

    Raises:
        SettingError: No other task would succeed either.
        LyricsError: Likewise: the file of ``--lyrics`` cannot be used.
    """
    try:
        if task.target is None:
            return _write(task, settings, load, file, report, header=header)
        try:
            task.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"cannot write to {task.target.parent}: {error.strerror or error}"
            return Result(row=FileRow(file=task.name, error=why))
        with replacing(task.target) as own:
            return _write(task, settings, load, own, report, header=True)
    except (SettingError, LyricsError):
        raise
    except StreamMerError as error:
        return Result(row=FileRow(file=task.name, error=str(error)))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        return Result(row=FileRow(file=task.name, error=error.strerror or str(error)))


def _write(
    task: Task,
    settings: TaskSettings,
    load: Callable[[], Engine],
    file: BinaryIO | None,
    report: Report,
    *,
    header: bool,
) -> Result:
    outputs = FileOutputs(file, task, header=header, mask=settings.engine.lyrics.mask)
    with contextlib.closing(outputs):
        if task.recording is None:
            _tag(task, settings, load(), outputs, report)
        else:
            for one in task.recording.events():
                if one.stream == task.stream:
                    outputs.publish(one.event)
        outputs.finish()
    return Result(row=outputs.collector.row(task.name), changes=tuple(outputs.collector.changes))


def _tag(task: Task, settings: TaskSettings, engine: Engine, outputs: FileOutputs, report: Report) -> None:
    duration_s: float | None = None
    start_s, reported_at = settings.excerpt.start_s, 0.0

    class Watched:
        def publish(self, event: StreamEvent) -> None:
            nonlocal reported_at
            outputs.publish(event)
            if isinstance(event, EmotionFrame) and time.monotonic() - reported_at > _PROGRESS_EVERY_S:
                reported_at = time.monotonic()
                report(event.t1 - start_s, duration_s)

    pipeline, duration_s = engine.file_pipeline(task.file, Watched(), track=settings.track, excerpt=settings.excerpt)
    report(0.0, duration_s)
    pipeline.run()


# --- Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    done_s: float
    duration_s: float | None


class _Worker:
    """One process with loaded models, and the task that it has."""

    def __init__(self, settings: TaskSettings, level: int) -> None:
        context = multiprocessing.get_context("spawn")  # threads do not survive a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, settings, level), daemon=True)
        self.process.start()
        theirs.close()
        self.index: int | None = None

    def give(self, index: int, task: Task, file: Path | None) -> None:
        """Start a task; the answer comes over the connection."""
        self.index = index
        with contextlib.suppress(OSError):  # it died: its end of the connection says so
            self.connection.send((task, file))

    def end_reason(self) -> str:
        """Return how the process ended."""
        self.process.join(_END_WITHIN_S)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            return f"{name}" + (", perhaps for want of memory: try fewer --jobs" if name == "SIGKILL" else "")
        return f"exit code {code}"

    def stop(self) -> None:
        """End the process; its unfinished files are removed."""
        self.process.terminate()

    def join(self) -> None:
        """Wait for its end, and kill it if it takes long."""
        self.process.join(_END_WITHIN_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


class WorkerPool:
    """Carries tasks out in several processes.

    Args:
        settings: What the tasks have in common.
        jobs: Number of processes, each with the models in its own memory.

    Raises:
        StreamMerError: The models cannot be loaded.
    """

    def __init__(self, settings: TaskSettings, jobs: int) -> None:
        threads = max(1, min(settings.engine.lyrics.cpu_threads, (os.cpu_count() or 1) // jobs))
        lyrics = replace(settings.engine.lyrics, cpu_threads=threads)
        self._settings = replace(settings, engine=replace(settings.engine, lyrics=lyrics))
        self._level = logging.getLogger().level
        self._workers: list[_Worker] = []
        try:
            self._workers += [_Worker(self._settings, self._level) for _ in range(jobs)]
            for worker in self._workers:
                self._await_ready(worker)
        except BaseException:
            self.close()
            raise

    def run(
        self, tasks: Sequence[Task], file: BinaryIO | None, report: Callable[[int, float, float | None], object]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the results in the order in which tasks end; lines and rows are written in the order of the tasks.

        Args:
            tasks: The tasks.
            file: Gets the lines or rows of tasks without a ``target``; None writes none.
            report: Told how far a task is: its index, the time that is done and the duration, seconds.

        Raises:
            SettingError: No other task would succeed either; LyricsError likewise.
        """
        with tempfile.TemporaryDirectory(prefix="stream-mer-") as folder:
            parts = [Path(folder, str(i)) if file is not None else None for i in range(len(tasks))]
            waiting = list(range(len(tasks)))[::-1]
            ended: set[int] = set()
            written = 0
            for worker in self._workers:
                self._give(worker, waiting, tasks, parts)
            while len(ended) < len(tasks):
                for index, result in self._receive(waiting, tasks, parts, report):
                    ended.add(index)
                    while written in ended:
                        _append(parts[written], file)
                        written += 1
                    yield index, result

    def close(self) -> None:
        """End all processes; what they did not finish is removed."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()
        self._workers.clear()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _give(self, worker: _Worker, waiting: list[int], tasks: Sequence[Task], parts: Sequence[Path | None]) -> None:
        worker.index = None
        if waiting:
            index = waiting.pop()
            worker.give(index, tasks[index], parts[index])

    def _receive(
        self,
        waiting: list[int],
        tasks: Sequence[Task],
        parts: Sequence[Path | None],
        report: Callable[[int, float, float | None], object],
    ) -> Iterator[tuple[int, Result]]:
        """Wait for messages of workers; yield what ended, and give out the next tasks."""
        by_connection = {worker.connection: worker for worker in self._workers if worker.index is not None}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]  # Pipe gives connections
            index = worker.index
            assert index is not None  # noqa: S101 - narrows the type
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                error = f"the process that tagged it ended with {worker.end_reason()}"
                part = parts[index]
                if part is not None:
                    part.unlink(missing_ok=True)
                self._replace(worker, waiting, tasks, parts)
                yield index, Result(row=FileRow(file=tasks[index].name, error=error))
                continue
            if isinstance(message, Result):
                self._give(worker, waiting, tasks, parts)
                yield index, message
            elif isinstance(message, _Progress):
                report(index, message.done_s, message.duration_s)
            else:
                _handle(message)

    def _replace(
        self, worker: _Worker, waiting: list[int], tasks: Sequence[Task], parts: Sequence[Path | None]
    ) -> None:
        """Start a process in place of one that died, if there is work for it."""
        self._workers.remove(worker)
        worker.stop()
        if waiting:
            fresh = _Worker(self._settings, self._level)
            self._workers.append(fresh)
            self._await_ready(fresh)
            self._give(fresh, waiting, tasks, parts)

    def _await_ready(self, worker: _Worker) -> None:
        while True:
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                raise SettingError(f"a process ended while it loaded the models ({worker.end_reason()})") from None
            if message is None:
                return
            _handle(message)


def _handle(message: object) -> None:
    """Log what a worker logged, and raise what it raised."""
    if isinstance(message, logging.LogRecord):
        logging.getLogger(message.name).handle(message)
    elif isinstance(message, BaseException):
        raise message


def _append(part: Path | None, file: BinaryIO | None) -> None:
    """Write what a task wrote, if it did not fail, and remove it."""
    if part is None or file is None or not part.exists():
        return
    with part.open("rb") as lines:
        while block := lines.read(1 << 20):
            file.write(block)
    file.flush()
    part.unlink()


class _Answers(logging.handlers.QueueHandler):
    """A worker's side of the connection, for any thread; also the handler of its log."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # records go to the connection
        self.setFormatter(logging.Formatter("%(message)s"))  # the parent adds the rest
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        with self._sending:
            self._connection.send(message)

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the parent has gone
            self.send(record)


def _work(connection: Connection[Any, Any], settings: TaskSettings, level: int) -> None:
    """Body of a worker: load the models, then carry out what comes, until the other side closes."""
    from stream_mer.engine import Engine  # noqa: PLC0415 - loads the models' runtime: not in the parent
    from stream_mer.utils.blas import use_one_thread  # noqa: PLC0415 - loads the models' runtime: not in the parent
    from stream_mer.utils.stopping import orderly_exit  # noqa: PLC0415 - likewise

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the parent ends this one
    answers = _Answers(connection)
    logging.basicConfig(level=level, handlers=[answers], force=True)
    with contextlib.suppress(EOFError, OSError), orderly_exit():
        try:
            use_one_thread()
            engine = Engine(settings.engine)
        except StreamMerError as error:
            answers.send(error)
            return
        answers.send(None)
        while True:
            task, part = connection.recv()
            answers.send(_outcome(task, settings, engine, part, answers))


def _outcome(
    task: Task, settings: TaskSettings, engine: Engine, part: Path | None, answers: _Answers
) -> Result | StreamMerError:
    """Carry out one task; whatever it raises becomes an answer."""

    def report(done_s: float, duration_s: float | None) -> None:
        answers.send(_Progress(done_s=done_s, duration_s=duration_s))

    try:
        with contextlib.nullcontext() if part is None else part.open("wb") as file:
            result = carry_out(task, settings, lambda: engine, file, report)
    except StreamMerError as error:
        return error
    except Exception as error:
        log.exception("unexpected failure in %s", redact_argument(task.file))
        result = Result(row=FileRow(file=task.name, error=f"{type(error).__name__}: {error}"))
    if result.row.error is not None and part is not None:
        part.unlink(missing_ok=True)
    return result


def run_here(
    tasks: Iterable[Task],
    settings: TaskSettings,
    load: Callable[[], Engine],
    file: BinaryIO | None,
    report: Callable[[int, float, float | None], object],
) -> Iterator[tuple[int, Result]]:
    """Carry tasks out in this process; arguments and results as for ``WorkerPool.run`` and ``carry_out``."""
    for index, task in enumerate(tasks):

        def on_progress(done_s: float, duration_s: float | None, index: int = index) -> None:
            report(index, done_s, duration_s)

        yield index, carry_out(task, settings, load, file, on_progress)
