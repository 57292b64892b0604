"""The committed lines that the text branch may read (pure)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from stream_mer.types import EncodedLine


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """How much of the words is remembered.

    Attributes:
        max_lines: Lines at most; the oldest go first.
        forget_s: Lines that ended this long ago are forgotten: in a long session the song has changed by then. Within
            this time the text branch itself lets a line count less as it ages.
    """

    max_lines: int = 64
    forget_s: float = 180.0


class LineMemory:
    """The newest committed lines, oldest first."""

    def __init__(self, settings: MemorySettings | None = None) -> None:
        self._settings = settings or MemorySettings()
        self._lines: deque[EncodedLine] = deque(maxlen=self._settings.max_lines)

    def add(self, line: EncodedLine) -> None:
        """Take a line that is newer than those before it."""
        self._lines.append(line)

    def lines(self, now_s: float) -> tuple[EncodedLine, ...]:
        """What is remembered at ``now_s``; a line that goes on then is given as ending then, so no age is negative."""
        recent = (line for line in self._lines if now_s - line.t1 <= self._settings.forget_s)
        return tuple(line if line.t1 <= now_s else replace(line, t1=now_s) for line in recent)
