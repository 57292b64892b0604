"""Printing for commands: control characters are escaped."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

import click

from stream_mer.utils.sanitise import escape

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def echo(text: str = "", *, err: bool = False, nl: bool = True, colour: str | None = None) -> None:
    """Print text whose control, C1 and bidirectional characters are escaped; line feeds and tabs stay.

    Args:
        text: One line, or several.
        err: On stderr.
        nl: End the line.
        colour: Name of its colour on a terminal.
    """
    escaped = escape(text, keep_lines=True)
    click.echo(escaped if colour is None else click.style(escaped, fg=colour), err=err, nl=nl)


def rewrite_line(text: str) -> None:
    """Print text over the current line of the terminal on stderr, escaped, and stay on that line."""
    click.echo("\r" + escape(text), err=True, nl=False)


class EscapingFile(io.BufferedIOBase):
    """Results on their way to a terminal; what goes to a file or a pipe is left as it is.

    Args:
        out: The terminal's own buffer.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write whole UTF-8 characters."""
        taken = bytes(data)
        self._out.write(escape(taken.decode(errors="replace"), keep_lines=True).encode())
        return len(taken)

    def flush(self) -> None:
        self._out.flush()
