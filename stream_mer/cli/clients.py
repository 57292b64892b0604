"""``stream-mer listen`` and ``stream-mer protocol``: for clients of a server, and those who write them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.options import SERVER_URL, ca_option
from stream_mer.errors import TokenError


@click.command("listen")
@click.argument("url", default=SERVER_URL)
@click.option("--stream", help="The stream to show.  [default: the first; with --json all]")
@click.option("--token", help="The server's token, if it has one.")
@ca_option
@click.option("--json", "json_lines", is_flag=True, help="Print every message as a line of JSON.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for a server that does not run yet.")
def listen_command(
    *, url: str, stream: str | None, token: str | None, authorities: Path | None, json_lines: bool, wait: bool
) -> None:
    """Follow a server in the terminal: live values, category and lyrics.

    It waits for the server, and reconnects by itself. If the output is not a terminal, it prints one plain line a
    second.
    """
    import asyncio  # noqa: PLC0415 - not for --help or `protocol`; likewise the next ones

    from stream_mer.server.client import client_tls_context  # noqa: PLC0415
    from stream_mer.server.terminal import listen  # noqa: PLC0415

    tls = None if authorities is None else client_tls_context(authorities)
    try:
        asyncio.run(listen(url, stream=stream, token=token, json_lines=json_lines, wait=wait, tls=tls))
    except TokenError:
        why = "this server requires a token" if token is None else "wrong token"
        raise TokenError(f"{why}, use --token with that of the server") from None


@click.command("protocol")
@click.option("--schema", is_flag=True, help="The JSON Schema of the messages alone.")
def protocol_command(*, schema: bool) -> None:
    """Print the wire protocol `mer.v1`: an AsyncAPI 3 document, or the JSON Schema of its messages.

    Use it with code generators and viewers. docs/PROTOCOL.md describes the same in prose.
    """
    from stream_mer.server.messages import asyncapi, json_schema  # noqa: PLC0415 - `listen` needs neither

    echo(json.dumps(json_schema() if schema else asyncapi(), indent=2, ensure_ascii=False))
