"""``stream-mer tag``."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stream_mer.app import Engine
from stream_mer.commands.options import engine_options, engine_settings
from stream_mer.errors import SettingError, SourceError, StreamMerError
from stream_mer.lyrics.known import LYRICS_SUFFIXES, words_duration_s
from stream_mer.outputs.jsonl import JsonlWriter
from stream_mer.outputs.plot import TimelinePlot
from stream_mer.outputs.summary import FileSummary
from stream_mer.outputs.table import CsvWriter
from stream_mer.ports import EventSink
from stream_mer.serve.codec import summary as summary_message
from stream_mer.sources.file import FileSource
from stream_mer.sources.silence import SilenceSource
from stream_mer.types import EmotionFrame, StreamEvent


@click.command("tag")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="JSON lines: every message and a summary. CSV: one row a frame.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="PATH", help="Write there instead of stdout.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Also draw the timeline. Several files: each gets its own, with its name added.",
)
@engine_options
def command(*, files: tuple[str, ...], output_format: str, out: Path | None, plot: Path | None, **engine: Any) -> None:
    """Tag audio files, or lyrics alone: the messages that a live listener would have got, then one summary a file.

    A frame at t1 knows nothing later than t1. Results do not depend on the speed of the machine. Exit code 0 if all
    files were tagged, 1 if some failed (each is named with its reason; the others are done).

    \b
    Examples:
      stream-mer tag song.mp3                      JSON lines on stdout
      stream-mer tag *.flac --out tags.jsonl       many files through one loaded model
      stream-mer tag song.mp3 --format csv --plot song.png
      stream-mer tag song.mp3 --lyrics song.lrc    known lyrics in place of recognition
      stream-mer tag song.lrc                      what the words alone say (LRC, or plain text as .txt)
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _refuse_other_words(files, engine["lyrics_file"], no_lyrics=engine["no_lyrics"])
    loaded = Engine(engine_settings(**engine))
    stream_names = _stream_names(files)
    failed = 0
    with _open_output(out) as file, _progress() as progress:
        for i, name in enumerate(files):
            picture = _picture_path(plot, name, several=len(files) > 1)
            try:
                outputs = _Outputs(file, output_format, stream_names[name], picture, header=i == 0)
                with contextlib.closing(outputs):
                    _tag(loaded, name, outputs, progress)
            except SettingError:
                raise
            except StreamMerError as error:
                failed += 1
                reason = str(error) if name in str(error) else f"{name}: {error}"
                progress.console.print(
                    f"stream-mer: {reason}", style="red", markup=False, highlight=False, soft_wrap=True
                )
    if failed:
        raise click.exceptions.Exit(1)


def _tag(engine: Engine, name: str, outputs: _Outputs, progress: Progress) -> None:
    if "://" in name:
        raise SourceError(f"tag reads files, and {name} is an address: hear it with stream-mer serve --source {name}")
    words = Path(name) if _is_lyrics(name) else None
    source = FileSource(name) if words is None else SilenceSource(name, words_duration_s(words))
    task = progress.add_task(Path(name).name, total=source.duration_s())

    class Bar:
        def publish(self, event: StreamEvent) -> None:
            if isinstance(event, EmotionFrame):
                progress.update(task, completed=event.t1)

    try:
        engine.pipeline(source, _Fan(*outputs.sinks, Bar()), in_real_time=False, lyrics=words).run()
        outputs.finish()
    finally:
        progress.remove_task(task)


def _is_lyrics(name: str) -> bool:
    return Path(name).suffix.lower() in LYRICS_SUFFIXES


def _refuse_other_words(files: tuple[str, ...], lyrics_file: Path | None, *, no_lyrics: bool) -> None:
    """A file of lyrics is its own words: an option that gives it others, or none, is a mistake.

    Raises:
        SettingError: There is such a file, and such an option.
    """
    option = "--lyrics" if lyrics_file is not None else "--no-lyrics" if no_lyrics else None
    words = next(filter(_is_lyrics, files), None)
    if option is not None and words is not None:
        raise SettingError(f"{words} is lyrics itself, so {option} contradicts it: leave {option} out, or give audio")


class _Outputs:
    """Everything that is made of one file."""

    def __init__(self, file: BinaryIO, output_format: str, name: str, picture: Path | None, *, header: bool) -> None:
        self._name = name
        self._picture = picture
        self._file = file
        self._summary = FileSummary(words_alone=_is_lyrics(name))
        self._timeline = TimelinePlot() if picture else None
        self._jsonl = JsonlWriter(file, name) if output_format == "jsonl" else None
        self._text = None if self._jsonl else io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._csv = CsvWriter(self._text, name, header=header) if self._text else None

    @property
    def sinks(self) -> list[EventSink]:
        return [sink for sink in (self._jsonl, self._csv, self._timeline, self._summary) if sink is not None]

    def finish(self) -> None:
        """Write what stands at the end of a file."""
        if self._jsonl is not None:
            self._jsonl.finish(
                summary_message(
                    stream=self._name,
                    duration_s=self._summary.duration_s,
                    valence=self._summary.valence,
                    arousal=self._summary.arousal,
                    top=self._summary.category,
                    probs=self._summary.categories,
                    clusters=self._summary.clusters,
                    lyrics=self._summary.lyrics,
                )
            )
        self._file.flush()
        if self._timeline is not None and self._picture is not None:
            self._timeline.save(self._picture, self._name)

    def close(self) -> None:
        """Let go of the file, finished or not: it is the caller's, and the next one is written to it as well."""
        if self._text is not None:
            self._text.detach()  # otherwise it closes the file with itself
            self._text = None


class _Fan:
    """Publishes every event to several sinks."""

    def __init__(self, *sinks: EventSink) -> None:
        self._sinks = sinks

    def publish(self, event: StreamEvent) -> None:
        for sink in self._sinks:
            sink.publish(event)


def _stream_names(files: tuple[str, ...]) -> dict[str, str]:
    """A file's stream is called by its name; files of one name in several folders by their paths as given."""
    names = [Path(file).name for file in files]
    return {file: name if names.count(name) == 1 else file for file, name in zip(files, names, strict=True)}


@contextlib.contextmanager
def _open_output(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        file = path.open("wb")
    except OSError as error:
        raise SettingError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        yield file


def _progress() -> Progress:
    """A bar on stderr, and nothing where stderr is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _picture_path(plot: Path | None, name: str, *, several: bool) -> Path | None:
    if plot is None or not several:
        return plot
    return plot.with_name(f"{plot.stem}-{Path(name).stem}{plot.suffix}")
