"""``stream-mer channels``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click
from rich.table import Table
from rich.text import Text

from stream_mer.cli.echo import echo
from stream_mer.cli.options import nats_options, nats_settings
from stream_mer.errors import SettingError
from stream_mer.utils.escaping_console import EscapingConsole

if TYPE_CHECKING:  # they import NATS, which may not be installed
    from stream_mer.cluster.bus import Bus
    from stream_mer.cluster.state import Listing

T = TypeVar("T")
PIPE_WIDTH = 160


@click.command("channels")
@click.argument("action", type=click.Choice(["list", "add", "remove"]), required=False, metavar="[list|add|remove]")
@click.argument("words", nargs=-1, metavar="[NAME [SOURCE]]")
@click.option("--loop", is_flag=True, help="Files: start again at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@nats_options
def command(
    *,
    action: Literal["list", "add", "remove"] | None,
    words: tuple[str, ...],
    loop: bool,
    as_json: bool,
    nats_url: str,
    nats_creds: Path | None,
    nats_ca: Path | None,
    lease: float,
    replicas: int,
) -> None:
    """List, add or remove the channels that workers compute.

    SOURCE must be reachable by the workers: demo, an address, or a file at the same path on all their machines. Adding
    a channel again changes its source.

    \b
    Examples:
      stream-mer channels                                        all channels and workers, with their load
      stream-mer channels add "Radio 1" http://radio.example/1
      stream-mer channels remove "Radio 1"
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    action = action or "list"
    wanted = {"list": 0, "add": 2, "remove": 1}[action]
    if len(words) != wanted:
        usage = {"list": "", "add": " NAME SOURCE", "remove": " NAME"}[action]
        raise SettingError(f"{len(words)} words after {action}; type: stream-mer channels {action}{usage}")
    nats = nats_settings(nats_url, nats_creds=nats_creds, nats_ca=nats_ca, lease=lease, replicas=replicas)
    from stream_mer.cluster import bus as connection  # noqa: PLC0415 - imports nats-py, which is optional
    from stream_mer.cluster import state  # noqa: PLC0415 - likewise

    def run(what: Callable[[Bus], Awaitable[T]]) -> T:
        async def connected() -> T:
            async with connection.Bus(nats, "stream-mer channels") as bus:
                return await what(bus)

        return asyncio.run(connected())

    if action == "add":
        name, source = words
        new = run(lambda bus: state.add_channel(bus, name, source, loop=loop))
        echo(f"{name} was added" if new else f"{name} has a new source")
    elif action == "remove":
        run(lambda bus: state.remove_channel(bus, words[0]))
        echo(f"{words[0]} was removed")
    else:
        _show(run(state.list_channels), as_json=as_json)


def _show(found: Listing, *, as_json: bool) -> None:
    if as_json:
        echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return
    console = EscapingConsole()
    if not console.is_terminal:
        console = EscapingConsole(width=PIPE_WIDTH)
    channels = Table("channel", "source", "worker", "state", box=None, pad_edge=False)
    for row in found.channels:
        state = f"{row.state}: {row.reason}" if row.reason else row.state
        channels.add_row(*map(Text, (row.name, row.source, row.worker or "-", state)))
    workers = Table("worker", "host", "channels", "of at most", "CPU cores", "late", box=None, pad_edge=False)
    for one in found.workers:
        name = f"{one.name} (leaving)" if one.draining else one.name
        figures = (str(one.channels), str(one.capacity), f"{one.cpu:.2f}", str(one.late))
        workers.add_row(*map(Text, (name, one.host, *figures)))
    if found.channels:
        console.print(channels)
    else:
        console.print("no channels; add one: stream-mer channels add NAME SOURCE", highlight=False)
    console.print()
    if found.workers:
        console.print(workers)
    else:
        console.print("no workers; start one: stream-mer worker", highlight=False)
