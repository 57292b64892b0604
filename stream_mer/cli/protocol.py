"""``stream-mer protocol``."""

from __future__ import annotations

import json

import click

from stream_mer.cli.echo import echo
from stream_mer.server.messages import asyncapi, json_schema


@click.command("protocol")
@click.option("--schema", is_flag=True, help="The JSON Schema of the messages alone.")
def command(*, schema: bool) -> None:
    """Print the wire protocol `mer.v1`: an AsyncAPI 3 document, or the JSON Schema of its messages.

    Use it with code generators and viewers. docs/PROTOCOL.md describes the same in prose.
    """
    echo(json.dumps(json_schema() if schema else asyncapi(), indent=2, ensure_ascii=False))
