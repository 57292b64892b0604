"""What a timeline shows of a stream: its frames, cues and lines, and how they are laid out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stream_mer.types import CategoryChange, EmotionFrame, LyricLine, StreamEvent

GAP_S = 3.0
"""Without a frame for so long, nothing is drawn; as on the page."""

FIRST_S = 0.5
"""What the first frame stands for."""

WORD_ROWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stretch of time, seconds, in which the category and an operator's hand stayed the same."""

    t0: float
    t1: float
    category: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedText:
    """A line of lyrics where there is room for it.

    Attributes:
        t0: Where it begins, seconds.
        row: From the top, of ``WORD_ROWS``.
        text: As much of it as there is room for.
    """

    t0: float
    row: int
    text: str


class Timeline:
    """Collects the events of one stream; implements ``ports.EventSink``."""

    def __init__(self) -> None:
        self.frames: list[EmotionFrame] = []
        self.cues: list[CategoryChange] = []
        self._lines: dict[int, LyricLine] = {}

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        match event:
            case EmotionFrame():
                # What an operator changed between two frames takes the place of the frame before.
                if self.frames and self.frames[-1].t1 == event.t1:
                    self.frames.pop()
                self.frames.append(event)
            case CategoryChange():
                self.cues.append(event)
            case LyricLine():
                self._lines[event.segment] = event

    @property
    def lines(self) -> list[LyricLine]:
        """The lines as they were last told, by their times; those that were taken back are not among them."""
        return sorted((line for line in self._lines.values() if line.text), key=lambda line: (line.t0, line.segment))

    @property
    def span_s(self) -> tuple[float, float]:
        """From where to where it goes, seconds; never empty."""
        if not self.frames:
            return 0.0, FIRST_S
        begin = max(0.0, self.frames[0].t1 - FIRST_S)
        return begin, max(self.frames[-1].t1, begin + FIRST_S)

    def runs(self) -> Iterator[Run]:
        """Yield the stretches of one category, in order."""
        if not self.frames:
            return
        begin = self.span_s[0]
        for frame, after in zip(self.frames, [*self.frames[1:], None], strict=True):
            broken = after is not None and after.t1 - frame.t1 > GAP_S
            if after is None or broken or _look(after) != _look(frame):
                yield Run(t0=begin, t1=frame.t1, category=frame.category, held=frame.hold is not None)
                begin = after.t1 - FIRST_S if after is not None and broken else frame.t1

    def curve(self, value: Callable[[EmotionFrame], float]) -> tuple[list[float], list[float]]:
        """Return times and values of the frames, with a value that is no number where there were none for long."""
        times: list[float] = []
        values: list[float] = []
        for frame in self.frames:
            if times and frame.t1 - times[-1] > GAP_S:
                times.append(frame.t1)
                values.append(math.nan)
            times.append(frame.t1)
            values.append(value(frame))
        return times, values

    def placed(self, width_s: Callable[[str], float]) -> list[PlacedText]:
        """Lay out the lines in rows that take turns, each cut where the next of its row begins.

        Args:
            width_s: Tells how wide a text is drawn, in seconds of the time axis.
        """
        placed, ends, apart_s = [], [self.span_s[1]] * WORD_ROWS, width_s("n")
        for i, line in reversed(list(enumerate(self.lines))):
            row = i % WORD_ROWS
            text = _cut(line.text, ends[row] - line.t0, width_s)
            ends[row] = min(ends[row], line.t0 - apart_s)
            if text:
                placed.append(PlacedText(t0=line.t0, row=row, text=text))
        return placed[::-1]


def _look(frame: EmotionFrame) -> tuple[str, bool]:
    return frame.category, frame.hold is not None


def _cut(text: str, room_s: float, width_s: Callable[[str], float]) -> str:
    """As much of a text as there is room for, and nothing where that is next to nothing."""
    candidates: Sequence[str] = [text, *(f"{text[:n].rstrip()}…" for n in range(len(text) - 1, 2, -1))]
    low, high = 0, len(candidates)
    while low < high:  # the first one that fits: they grow shorter
        middle = (low + high) // 2
        if width_s(candidates[middle]) <= room_s:
            high = middle
        else:
            low = middle + 1
    return candidates[low] if low < len(candidates) else ""
