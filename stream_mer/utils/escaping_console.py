"""A console of rich that escapes control characters in text from outside.

A module of its own because rich is slow to import, and most commands draw nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from stream_mer.utils.sanitise import escape


class EscapingConsole(Console):
    """A console that escapes all text that it draws, whatever it is part of; rich itself strips only a few signs."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object into segments; those that steer the cursor for rich itself stay as they are."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else escape(segment.text, keep_lines=True)
            yield segment if text == segment.text else Segment(text, segment.style)
