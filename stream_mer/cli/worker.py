"""``stream-mer worker``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.options import engine_options, engine_settings, nats_options, nats_settings
from stream_mer.errors import SettingError
from stream_mer.utils.stopping import stop_signals

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
def command(
    *,
    nats_url: str,
    nats_creds: Path | None,
    nats_ca: Path | None,
    lease: float,
    replicas: int,
    name: str | None,
    max_channels: int,
    **engine: Any,
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
    nats = nats_settings(nats_url, nats_creds=nats_creds, nats_ca=nats_ca, lease=lease, replicas=replicas)
    from stream_mer.cluster.worker import WorkerSettings  # noqa: PLC0415 - imports nats-py, which is optional

    wanted = engine_settings(**engine)
    if wanted.lyrics.mode == "known":
        raise SettingError("--lyrics belongs to one song, and a worker has many channels: leave it out")
    given = {} if name is None else {"name": name}
    settings = WorkerSettings(max_channels=max_channels, window=wanted.window, **given)
    from stream_mer.engine import Engine, configure_torch  # noqa: PLC0415 - loads torch: not for --help

    configure_torch()
    engine_loaded = Engine(wanted)

    asyncio.run(_work(engine_loaded, nats, settings))


async def _work(engine: Engine, nats: NatsSettings, settings: WorkerSettings) -> None:
    """Work until SIGINT or SIGTERM, then give all channels back."""
    from stream_mer.cluster.bus import Bus  # noqa: PLC0415 - imports nats-py, which is optional
    from stream_mer.cluster.worker import ChannelWorker  # noqa: PLC0415 - likewise
    from stream_mer.sources.catalogue import open_source  # noqa: PLC0415 - imports audio libraries: not for --help

    def build(source: AudioSource, sink: EventSink, levels_wanted: Callable[[], bool]) -> Pipeline:
        return engine.pipeline(source, sink, in_real_time=True, levels_wanted=levels_wanted)

    def open_channel(channel: Channel) -> AudioSource:
        return open_source(channel.source, loop=channel.loop)

    with stop_signals() as stopping:
        await asyncio.to_thread(engine.warm_up)  # before the lease: a worker that takes over must not wait
        async with Bus(nats, f"stream-mer worker {settings.name}") as bus:
            worker = ChannelWorker(bus, settings, open_channel, build)
            echo(f"Working as {settings.name} for NATS at {nats.shown}. Stop with Ctrl-C.")
            await worker.run(stopping)
