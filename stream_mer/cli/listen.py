"""``stream-mer listen``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from stream_mer.server.client import DEFAULT_URL, client_tls_context
from stream_mer.server.terminal import listen


@click.command("listen")
@click.argument("url", default=DEFAULT_URL)
@click.option("--stream", help="The stream to show.  [default: the first; with --json all]")
@click.option("--token", help="The server's token, if it has one.")
@click.option(
    "--ca",
    "authorities",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CA certificates (PEM) for a wss server.  [default: those of this machine]",
)
@click.option("--json", "json_lines", is_flag=True, help="Print every message as a line of JSON.")
def command(*, url: str, stream: str | None, token: str | None, authorities: Path | None, json_lines: bool) -> None:
    """Follow a server in the terminal: live values, category and lyrics.

    It reconnects by itself. If the output is not a terminal, it prints one plain line a second.
    """
    tls = None if authorities is None else client_tls_context(authorities)
    asyncio.run(listen(url, stream=stream, token=token, json_lines=json_lines, tls=tls))
