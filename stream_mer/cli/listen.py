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
@click.option("--token", help="The server's secret, if it has one.")
@click.option(
    "--ca",
    "authorities",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Certificates (PEM) that vouch for a wss server.  [default: those that this machine trusts]",
)
@click.option("--json", "json_lines", is_flag=True, help="Print every message as it comes, one JSON object a line.")
def command(*, url: str, stream: str | None, token: str | None, authorities: Path | None, json_lines: bool) -> None:
    """Follow a server in the terminal: live values, category and lyrics.

    Reconnects by itself. Where the output is no terminal, it is one plain line a second.
    """
    tls = None if authorities is None else client_tls_context(authorities)
    asyncio.run(listen(url, stream=stream, token=token, json_lines=json_lines, tls=tls))
