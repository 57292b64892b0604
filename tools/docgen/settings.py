"""The tables of ``docs/SETTINGS.md``."""

from __future__ import annotations

import click

from stream_mer.cli import cli
from stream_mer.cli.config import options_markdown
from stream_mer.cli.settings import options_by_command
from tools.docgen.generated_page import GeneratedPage


def tables() -> str:
    """Return a table of all settings, one a command."""
    return options_markdown(options_by_command(cli, click.Context(cli)))


PAGE = GeneratedPage(page="docs/SETTINGS.md", make=tables)
