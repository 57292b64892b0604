"""Progress of ``stream-mer tag`` on a terminal. A module of its own because rich is slow to import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from stream_mer.cli.echo import echo
from stream_mer.utils.escaping_console import EscapingConsole


class Bars:
    """A bar for each file that is being tagged, and one for all of them, on stderr; implements ``tag.Report``."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=EscapingConsole(stderr=True),
            transient=True,
            speed_estimate_period=120.0,
        )
        self._names: Sequence[str] = ()
        self._bars: dict[int, TaskID] = {}
        self._lengths_s: Sequence[float] = ()
        self._done_s = dict[int, float]()
        self._ended = 0
        self._overall: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, names: Sequence[str], lengths_s: Iterable[float]) -> None:
        self._names = names
        if len(names) > 1:
            self._lengths_s = list(lengths_s)
            self._overall = self._progress.add_task(self._title(0), total=sum(self._lengths_s))

    def update(self, index: int, done_s: float, duration_s: float | None) -> None:
        if index not in self._bars:
            self._bars[index] = self._progress.add_task(self._names[index], total=duration_s)
        self._progress.update(self._bars[index], completed=done_s, total=duration_s)
        if self._overall is not None:
            self._done_s[index] = min(done_s, self._lengths_s[index])
            self._progress.update(self._overall, completed=sum(self._done_s.values()))

    def end(self, index: int) -> None:
        bar = self._bars.pop(index, None)
        if bar is not None:
            self._progress.remove_task(bar)
        if self._overall is not None:
            self._done_s[index] = self._lengths_s[index]
            self._ended += 1
            title = self._title(self._ended)
            self._progress.update(self._overall, completed=sum(self._done_s.values()), description=title)

    def error(self, text: str) -> None:
        self._progress.console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)

    def print(self, text: str) -> None:
        self._progress.stop()  # the text goes to stdout, which may be the same terminal
        echo(text)
        self._progress.start()

    def _title(self, n_ended: int) -> str:
        return f"{n_ended} of {len(self._names)} files"
