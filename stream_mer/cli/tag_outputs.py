"""Everything that ``stream-mer tag`` makes of one file, or of one stream of a recording."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stream_mer.outputs.files.plot import TimelinePlot, check_picture
from stream_mer.outputs.files.summary import FileSummary
from stream_mer.outputs.files.writers import CsvWriter, JsonlWriter, LyricsWriter, lrc, srt
from stream_mer.ports import EventSink
from stream_mer.types import StreamEvent
from stream_mer.utils.file_writing import replace_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is made of each file besides its lines or rows.

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

    def check(self) -> None:
        """Find out whether what is wanted can be made, before anything is computed.

        Raises:
            SettingError: It cannot.
        """
        if self.plot is not None:
            check_picture(self.plot, "--plot")


class FileOutputs:
    """Everything that is made of one file.

    Args:
        file: Where lines or rows go, open for writing; stays the caller's.
        wanted: What is made.
        name: What the file is called in it.
        words_alone: The file is lyrics.
        header: Write the column names first.
    """

    def __init__(self, file: BinaryIO, wanted: Wanted, name: str, *, words_alone: bool, header: bool) -> None:
        self._name = name
        self._file = file
        self._summary = FileSummary(words_alone=words_alone)
        self._jsonl = JsonlWriter(file, name) if wanted.output_format == "jsonl" else None
        self._text = None if self._jsonl else io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._csv = CsvWriter(self._text, name, header=header) if self._text else None
        self._picture = (TimelinePlot(), wanted.plot) if wanted.plot else None
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
        """Write what stands at the end of a file.

        Raises:
            SettingError: A file cannot be written.
        """
        if self._jsonl is not None:
            self._jsonl.finish(self._summary.summary())
        self._file.flush()
        for writer, path in self._lyrics:
            replace_text(path, writer.text())
        if self._picture is not None:
            plot, path = self._picture
            plot.save(path, self._name)

    def close(self) -> None:
        """Let go of the file, finished or not: it is the caller's, and the next one is written to it as well."""
        if self._text is not None:
            self._text.detach()  # otherwise it closes the file with itself
            self._text = None
