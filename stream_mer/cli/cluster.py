"""``stream-mer channels`` and ``stream-mer worker``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.options import engine_options, engine_settings, nats_options, nats_settings
from stream_mer.errors import SettingError
from stream_mer.utils.scheduler import TickScheduler
from stream_mer.utils.stopping import stop_signals

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
def channels_command(
    *,
    action: Literal["list", "add", "remove"] | None,
    words: tuple[str, ...],
    loop: bool,
    as_json: bool,
    **options: Any,
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
    nats = nats_settings(options)
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
        echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    from rich.table import Table  # noqa: PLC0415 - slow to import, and few commands draw; likewise the next ones
    from rich.text import Text  # noqa: PLC0415

    from stream_mer.utils.escaping_console import EscapingConsole  # noqa: PLC0415

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


if TYPE_CHECKING:  # slow to import, or optional
    from stream_mer.cluster.records import Channel
    from stream_mer.cluster.worker import WorkerSettings
    from stream_mer.config import NatsSettings
    from stream_mer.engine import Engine
    from stream_mer.pipeline import Pipeline
    from stream_mer.ports import AudioSource, EventSink


@click.command("worker")
@nats_options
@click.option("--name", help="Name of this worker.  [default: host and process]")
@click.option("--max-channels", default=100, show_default=True, help="Maximum number of channels.")
@engine_options
def worker_command(
    *,
    name: str | None,
    max_channels: int,
    **options: Any,
) -> None:
    """Compute channels for `stream-mer serve --from`, over NATS.

    `stream-mer channels add` adds channels. Any number of workers, on any number of machines, share them, and take over
    those of a dead worker. SIGTERM releases all channels before the end.

    \b
    Example:
      nats-server --jetstream &
      stream-mer channels add hall http://radio.example/live
      stream-mer worker --no-lyrics &
      stream-mer serve --from nats://127.0.0.1:4222
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    nats = nats_settings(options)
    from stream_mer.cluster.worker import WorkerSettings  # noqa: PLC0415 - imports nats-py, which is optional

    wanted = engine_settings(**options)
    if wanted.lyrics.mode == "known":
        raise SettingError("--lyrics belongs to one song, and a worker has many channels: leave it out")
    given = {} if name is None else {"name": name}
    settings = WorkerSettings(max_channels=max_channels, window=wanted.window, **given)
    from stream_mer.engine import Engine  # noqa: PLC0415 - loads the models' runtime: not for --help
    from stream_mer.utils.allocator import limit_arenas  # noqa: PLC0415 - likewise
    from stream_mer.utils.blas import use_one_thread  # noqa: PLC0415 - loads the models' runtime: not for --help

    use_one_thread()
    limit_arenas()
    engine_loaded = Engine(wanted)

    asyncio.run(_work(engine_loaded, nats, settings))


async def _work(engine: Engine, nats: NatsSettings, settings: WorkerSettings) -> None:
    """Work until SIGINT or SIGTERM, then give all channels back."""
    from stream_mer.cluster.bus import Bus  # noqa: PLC0415 - imports nats-py, which is optional
    from stream_mer.cluster.worker import ChannelWorker  # noqa: PLC0415 - likewise
    from stream_mer.sources.catalogue import open_source  # noqa: PLC0415 - imports audio libraries: not for --help

    schedule = TickScheduler(asyncio.get_running_loop()).add

    def build(source: AudioSource, sink: EventSink, levels_wanted: Callable[[], bool]) -> Pipeline:
        return engine.pipeline(source, sink, in_real_time=True, levels_wanted=levels_wanted, schedule_levels=schedule)

    def open_channel(channel: Channel) -> AudioSource:
        return open_source(channel.source, loop=channel.loop)

    with stop_signals() as stopping:
        await asyncio.to_thread(engine.warm_up)  # before the lease: a worker that takes over must not wait
        async with Bus(nats, f"stream-mer worker {settings.name}") as bus:
            worker = ChannelWorker(bus, settings, open_channel, build)
            echo(f"Working as {settings.name} for NATS at {nats.shown}. Stop with Ctrl-C.")
            await worker.run(stopping)
