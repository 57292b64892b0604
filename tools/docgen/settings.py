"""The tables of ``docs/SETTINGS.md``.

``python -m tools.docgen.settings --write docs/SETTINGS.md`` makes them anew.
"""

from __future__ import annotations

import sys

import click

from stream_mer.cli import cli
from stream_mer.cli.settings.flag import options_by_command
from stream_mer.cli.settings.show import options_markdown
from tools.docgen.generated_page import GeneratedPage


def tables() -> str:
    """Return a table of all settings, one a command."""
    return options_markdown(options_by_command(cli, click.Context(cli)))


PAGE = GeneratedPage(module="tools.docgen.settings", page="docs/SETTINGS.md", make=tables)

if __name__ == "__main__":
    sys.exit(PAGE.main())
