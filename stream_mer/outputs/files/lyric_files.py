"""Lyrics with their times as files that players read: SubRip (SRT) for video, LRC for music."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from stream_mer.outputs.files.timeline import Timeline
from stream_mer.types import LyricLine, StreamEvent

LEAST_S = 0.1
"""A subtitle stands for so long at least."""

BREAK_S = 0.5
"""LRC has no ends of lines: a pause of so long after one is told by an empty line."""

_TIME_TAG = re.compile(r"([\[<])(?=\d+:\d)")


class LyricsWriter:
    """Collects the committed lines of one stream; implements ``ports.EventSink``.

    Args:
        render: ``srt`` or ``lrc``.
    """

    def __init__(self, render: Callable[[Sequence[LyricLine]], str]) -> None:
        self._render = render
        self._timeline = Timeline()

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if isinstance(event, LyricLine) and event.committed:
            self._timeline.publish(event)

    def text(self) -> str:
        """Return the file."""
        return self._render([line for line in self._timeline.lines if _plain(line.text)])


def srt(lines: Sequence[LyricLine]) -> str:
    """Return subtitles: numbered, in order, none longer than until the next one begins."""
    blocks = []
    for number, (line, t1) in enumerate(_with_ends(lines), start=1):
        text = _plain(line.text).replace("-->", "→")
        blocks.append(f"{number}\n{_srt_time(line.t0)} --> {_srt_time(t1)}\n{text}\n")
    return "\n".join(blocks)


def lrc(lines: Sequence[LyricLine]) -> str:
    """Return timed lyrics; an empty line ends one after which there is a pause."""
    rows = []
    ends = _with_ends(lines)
    followings = [line.t0 for line, _ in ends[1:]] + [math.inf]
    for (line, t1), following in zip(ends, followings, strict=False):  # of no lines none follows
        # Brackets that would be read as a time are none.
        rows.append(f"[{_lrc_time(line.t0)}]{_TIME_TAG.sub('(', _plain(line.text))}")
        if following - t1 >= BREAK_S:
            rows.append(f"[{_lrc_time(t1)}]")
    return "".join(f"{row}\n" for row in rows)


def _with_ends(lines: Sequence[LyricLine]) -> list[tuple[LyricLine, float]]:
    """Each line and where it ends: no earlier than ``LEAST_S`` after it begins, and where the next one begins."""
    ordered = sorted(lines, key=lambda line: (line.t0, line.segment))
    ends = [max(line.t1, line.t0 + LEAST_S) for line in ordered]
    for i, (line, following) in enumerate(pairwise(ordered)):
        if following.t0 > line.t0:
            ends[i] = min(ends[i], following.t0)
    return list(zip(ordered, ends, strict=True))


def _plain(text: str) -> str:
    """A text in one line, without what cannot be printed."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _srt_time(t_s: float) -> str:
    seconds, milliseconds = divmod(round(1000 * t_s), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d},{milliseconds:03d}"


def _lrc_time(t_s: float) -> str:
    seconds, hundredths = divmod(round(100 * t_s), 100)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes:02d}:{seconds:02d}.{hundredths:02d}"
