"""The tables of ``docs/SETTINGS.md``.

``python -m stream_mer.settings.page --write docs/SETTINGS.md`` makes them anew.
"""

from __future__ import annotations

import sys

import click

from stream_mer.cli import cli
from stream_mer.made_pages import MadePage
from stream_mer.settings.flag import options_by_command
from stream_mer.settings.show import options_markdown


def tables() -> str:
    """Return a table of all settings, one a command."""
    return options_markdown(options_by_command(cli, click.Context(cli)))


PAGE = MadePage(module="stream_mer.settings.page", page="docs/SETTINGS.md", make=tables)

if __name__ == "__main__":
    sys.exit(PAGE.main())
