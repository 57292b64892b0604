"""``stream-mer listen``."""

from __future__ import annotations

import asyncio

import click

from stream_mer.serve.settings import ServeSettings
from stream_mer.serve.terminal import listen


@click.command("listen")
@click.argument("url", default=f"ws://{ServeSettings().host}:{ServeSettings().port}/v1/stream")
@click.option("--stream", help="The stream to show.  [default: the first; with --json all]")
@click.option("--token", help="The server's secret, if it has one.")
@click.option("--json", "json_lines", is_flag=True, help="Print every message as it comes, one JSON object a line.")
def command(*, url: str, stream: str | None, token: str | None, json_lines: bool) -> None:
    """Follow a server in the terminal: live values, category and lyrics.

    Reconnects by itself. Where the output is no terminal, it is one plain line a second.
    """
    asyncio.run(listen(url, stream=stream, token=token, json_lines=json_lines))
