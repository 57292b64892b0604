"""Bars for work that takes minutes: on stderr, and nothing of the kind where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import Progress

from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.sanitise import escape

T = TypeVar("T")


def bars() -> Progress:
    """A display for one or more bars; use it as a context manager."""
    console = EscapingConsole(stderr=True)
    return Progress(console=console, disable=not console.is_terminal)


def track(items: Iterable[T], title: str, *, total: int) -> Iterator[T]:
    """Yield the items while a bar shows how many of ``total`` are done."""
    with bars() as display:
        yield from display.track(items, total=total, description=title)


def announce(text: str) -> None:
    """Print on stderr, terminal or not, what is about to take minutes."""
    # Plainly: a bar that is being shown takes it in and stays below it.
    print(escape(text, keep_lines=True), file=sys.stderr)
