"""The computing half of a cluster, joined: NATS, the models, the sources."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stream_mer.cluster.bus import Bus
from stream_mer.cluster.records import Channel
from stream_mer.cluster.settings import NatsSettings
from stream_mer.cluster.worker import ChannelWorker, WorkerSettings
from stream_mer.engine import Engine
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource, EventSink
from stream_mer.sources.catalogue import open_source
from stream_mer.utils.stopping import stop_signals


async def work(engine: Engine, nats: NatsSettings, settings: WorkerSettings, *, on_ready: Callable[[], None]) -> None:
    """Work for a cluster until SIGINT or SIGTERM, then give all channels back.

    Args:
        engine: The loaded models.
        nats: Where NATS is.
        settings: What the worker is.
        on_ready: Called once it is part of the cluster.

    Raises:
        ClusterError: NATS cannot be reached at first, or refuses.
    """

    def build(source: AudioSource, sink: EventSink, levels_wanted: Callable[[], bool]) -> Pipeline:
        return engine.pipeline(source, sink, in_real_time=True, levels_wanted=levels_wanted)

    def open_channel(channel: Channel) -> AudioSource:
        return open_source(channel.source, loop=channel.loop)

    with stop_signals() as stopping:
        await asyncio.to_thread(engine.warm_up)  # before anybody counts on us: who takes a channel over must not wait
        async with Bus(nats, f"stream-mer worker {settings.name}") as bus:
            worker = ChannelWorker(bus, settings, open_channel, build)
            on_ready()
            await worker.run(stopping)
