"""``stream-mer tag``."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stream_mer.cli.echo import EscapingFile
from stream_mer.cli.options import engine_options, engine_settings
from stream_mer.config import EngineSettings
from stream_mer.errors import LyricsError, SettingError, SourceError, StreamMerError
from stream_mer.lyrics.files import is_lyrics_file, words_duration_s
from stream_mer.outputs.files import CsvWriter, FileSummary, JsonlWriter, LyricsWriter, lrc, srt
from stream_mer.outputs.plot import Timeline, check_picture, draw_timeline
from stream_mer.outputs.recording.format import Recording, is_recording, open_recording
from stream_mer.ports import EventSink
from stream_mer.sources.decoding import check_file
from stream_mer.types import EmotionFrame, StreamEvent
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.files import as_text, check_targets, file_names, replace_text, replacing
from stream_mer.utils.sanitise import redact_address, redact_argument
from stream_mer.utils.stopping import orderly_exit

if TYPE_CHECKING:
    from stream_mer.engine import Engine


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

        return Wanted(output_format=self.output_format, plot=own(self.plot), srt=own(self.srt), lrc=own(self.lrc))

    def paths(self) -> list[Path]:
        """Return the files that are written."""
        return [path for path in (self.plot, self.srt, self.lrc) if path is not None]


class FileOutputs:
    """Writes all outputs of one file.

    Args:
        file: Gets lines or rows, open for writing; the caller closes it.
        wanted: Which outputs.
        name: Name of the stream in the outputs.
        words_alone: The input is a lyrics file.
        header: Write the column names first.
    """

    def __init__(self, file: BinaryIO, wanted: Wanted, name: str, *, words_alone: bool, header: bool) -> None:
        self._name = name
        self._file = file
        self._summary = FileSummary(words_alone=words_alone)
        self._jsonl = JsonlWriter(file, name) if wanted.output_format == "jsonl" else None
        self._text = None if self._jsonl else io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._csv = CsvWriter(self._text, name, header=header) if self._text else None
        self._picture = (Timeline(), wanted.plot) if wanted.plot else None
        kinds: tuple[tuple[Path | None, Callable[..., str]], ...] = ((wanted.srt, srt), (wanted.lrc, lrc))
        self._lyrics = [(LyricsWriter(render), path) for path, render in kinds if path is not None]

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        for sink in self._sinks():
            sink.publish(event)

    def _sinks(self) -> Sequence[EventSink]:
        drawn = [] if self._picture is None else [self._picture[0]]
        written = [sink for sink in (self._jsonl, self._csv) if sink is not None]
        return [*written, self._summary, *drawn, *(writer for writer, _ in self._lyrics)]

    def finish(self) -> None:
        """Write the summary, the lyrics files and the picture.

        Raises:
            SettingError: A file cannot be written.
        """
        if self._jsonl is not None:
            self._jsonl.finish(self._summary.summary())
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
@click.option("--out", type=click.Path(path_type=Path), metavar="PATH", help="Write to this file instead of stdout.")
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
    output_format: str,
    out: Path | None,
    plot: Path | None,
    srt: Path | None,
    lrc: Path | None,
    track: str | None,
    **engine: Any,
) -> None:
    """Tag audio files, lyrics files or recordings: the messages of a live listener, then a summary of each file.

    A frame at t1 uses nothing later than t1. Results do not depend on the speed of the machine. Exit code 1 means that
    some files failed: each is named with its reason, and the others are tagged. A recording (`stream-mer serve
    --record`) is exported without computing it again.

    \b
    Examples:
      stream-mer tag song.mp3                      JSON lines on stdout
      stream-mer tag *.flac --out tags.jsonl       many files through one loaded model
      stream-mer tag song.mp3 --format csv --plot song.png
      stream-mer tag song.mp3 --srt song.srt       the recognised lyrics as subtitles; --lrc likewise
      stream-mer tag song.mp3 --lyrics song.lrc    known lyrics instead of recognition
      stream-mer tag song.lrc                      lyrics alone (.lrc, .srt, .vtt, .txt)
      stream-mer tag shows --plot show.png         the newest recording in this folder
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _refuse_other_words(files, engine["lyrics_file"], no_lyrics=engine["no_lyrics"])
    settings = engine_settings(**engine)
    load = functools.cache(lambda: _load(settings))
    wanted = Wanted(output_format=output_format, plot=plot, srt=srt, lrc=lrc)
    if plot is not None:
        check_picture(plot, "--plot")
    inputs = [Path(file) for file in files] + [one for one in (engine["lyrics_file"],) if one is not None]
    with _progress() as progress:
        tasks, failed = _tasks(files, progress, encoding=engine["lyrics_encoding"])
        own = _outputs_of(tasks, wanted)
        check_targets([*([] if out is None else [out]), *(path for one in own for path in one.paths())], inputs=inputs)
        if any(task.recording is None for task in tasks):
            load()  # before anything is written: without a model nothing can be
        with orderly_exit(), _open_output(out) as file:
            tagged = 0
            for i, (task, each) in enumerate(zip(tasks, own, strict=True)):
                outputs = FileOutputs(file, each, task.stream, words_alone=is_lyrics_file(task.file), header=i == 0)
                tagged += _perform(task, load, outputs, progress, track)
            if not tagged:
                raise click.exceptions.Exit(1)  # an existing output file stays as it is
    if failed or tagged < len(tasks):
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One file, or one stream of a recording.

    Attributes:
        file: As given.
        stream: Name of the stream in the outputs.
        recording: None for a file.
    """

    file: str
    stream: str
    recording: Recording | None = None


def _tasks(files: Sequence[str], progress: Progress, *, encoding: str | None) -> tuple[list[_Task], int]:
    """Return the tasks, and the number of files that cannot be used; each of those is reported.

    A stream is named after its file; files of the same name in several folders, after their paths as given. Streams of
    a recording keep their names.
    """
    names = [as_text(Path(file).name) for file in files]
    tasks, failed = [], 0
    for file, name in zip(files, names, strict=True):
        try:
            if is_recording(Path(file)):
                recording = open_recording(Path(file))
                tasks += [_Task(file=file, stream=stream, recording=recording) for stream in recording.streams]
            else:
                _check_input(file, encoding=encoding)
                tasks.append(_Task(file=file, stream=name if names.count(name) == 1 else as_text(file)))
        except StreamMerError as error:
            failed += 1
            _report(error, file, progress)
    return tasks, failed


def _outputs_of(tasks: Sequence[_Task], wanted: Wanted) -> list[Wanted]:
    """Return the outputs of each task; those of several tasks have names of their own."""
    if len(tasks) < 2:
        return [wanted] * len(tasks)
    names = file_names(Path(task.file).stem if task.recording is None else task.stream for task in tasks)
    return [wanted.of(name) for name in names]


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


def _report(error: StreamMerError, file: str, progress: Progress) -> None:
    name = redact_argument(file)
    reason = str(error) if name in str(error) else f"{name}: {error}"
    progress.console.print(f"stream-mer: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)


def _load(settings: EngineSettings) -> Engine:
    from stream_mer.engine import Engine, configure_torch  # noqa: PLC0415 - loads torch: recordings want none

    configure_torch()
    return Engine(settings)


def _perform(
    task: _Task, load: Callable[[], Engine], outputs: FileOutputs, progress: Progress, track: str | None
) -> bool:
    """Write all outputs of one task; return False if it failed, which is reported.

    Raises:
        SettingError: No other task would succeed either.
        LyricsError: Likewise: the file of ``--lyrics`` cannot be used.
    """
    try:
        with contextlib.closing(outputs):
            if task.recording is None:
                _tag(load(), task.file, outputs, progress, track)
            else:
                for one in task.recording.events():
                    if one.stream == task.stream:
                        outputs.publish(one.event)
            outputs.finish()
    except (SettingError, LyricsError):
        raise
    except StreamMerError as error:
        _report(error, task.file, progress)
        return False
    return True


def _tag(engine: Engine, name: str, outputs: FileOutputs, progress: Progress, track: str | None) -> None:
    task = progress.add_task(Path(name).name, total=None)

    class Watched:
        def publish(self, event: StreamEvent) -> None:
            outputs.publish(event)
            if isinstance(event, EmotionFrame):
                progress.update(task, completed=event.t1)

    try:
        pipeline, duration_s = engine.file_pipeline(name, Watched(), track=track)
        progress.update(task, total=duration_s)
        pipeline.run()
    finally:
        progress.remove_task(task)


def _refuse_other_words(files: tuple[str, ...], lyrics_file: Path | None, *, no_lyrics: bool) -> None:
    """Refuse options that give a lyrics file other lyrics, or none."""
    option = "--lyrics" if lyrics_file is not None else "--no-lyrics" if no_lyrics else None
    words = next(filter(is_lyrics_file, files), None)
    if option is not None and words is not None:
        raise SettingError(f"{words} is a lyrics file, so {option} contradicts it: leave {option} out, or give audio")


@contextlib.contextmanager
def _open_output(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield cast("BinaryIO", EscapingFile(sys.stdout.buffer)) if sys.stdout.isatty() else sys.stdout.buffer
        return
    with replacing(path) as file:
        yield file


def _progress() -> Progress:
    """A bar on stderr, and nothing where stderr is no terminal."""
    console = EscapingConsole(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
