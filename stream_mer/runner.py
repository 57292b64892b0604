"""A hub with everything around it: the server, the outputs, and the producers of its events. Loads no model."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from stream_mer.config import ServeSettings
from stream_mer.errors import StreamMerError
from stream_mer.outputs.runner import ShowOutput, ShowRunner
from stream_mer.ports import AudioSource, EventHub
from stream_mer.server.hub import Hub
from stream_mer.server.listener import raise_file_limit
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo
from stream_mer.server.setup import SetupHandler
from stream_mer.utils.scheduler import TickScheduler
from stream_mer.utils.stopping import EXIT_WITHIN_S, abandoned, stop_signals
from stream_mer.utils.threads import call_all, in_thread

if TYPE_CHECKING:  # they need arrays, the engine its models, too: a recording needs neither
    from stream_mer.engine import Engine
    from stream_mer.pipeline import Pipeline, Reopener
    from stream_mer.sources.remote import RemoteSource

log = logging.getLogger(__name__)

PRODUCERS_END_WITHIN_S = 5.0
"""Time limit for all producers together to end; what takes longer is abandoned."""

PLUGIN_ENDS_WITHIN_S = 12.0
"""Time limit for each plugin to end: a recorder waits for a slow disk."""


class EventProducer(Protocol):
    """Publishes the events of one stream or more: a pipeline, or the player of a recording."""

    def run(self) -> None:
        """Work until the end, or until ``stop`` is called; in a thread of its own.

        Raises:
            StreamMerError: It failed; what came before was published.
        """

    def stop(self) -> None:
        """End soon, from any thread; idempotent."""

    def close(self) -> None:
        """Stop, and release everything even if ``run`` was never called; idempotent."""


class Plugin(Protocol):
    """Runs beside the server, and follows or controls the hub."""

    @property
    def notice(self) -> str:
        """A line to print once the server runs."""

    def start(self, hub: Hub) -> None:
        """Begin, before anything is published; returns immediately.

        Raises:
            StreamMerError: It cannot; nothing is served then.
        """

    def stop(self) -> None:
        """End, after everything was published; may take a few seconds, and is called from another thread."""


class Configurator(SetupHandler, Protocol):
    """Lets operators change what runs."""

    def build(
        self,
        engine: Engine,
        name: str,
        source: AudioSource,
        *,
        build: Callable[[AudioSource, Reopener | None], Pipeline],
    ) -> Pipeline:
        """Build a stream that can be changed, with the source and the reopener that ``build`` takes."""

    def bind(self, *, hub: EventHub, show: ShowRunner, server: Server, inlets: dict[str, RemoteSource]) -> None:
        """Begin to take requests, once everything runs."""


async def host(
    hub: Hub,
    producers: Mapping[str, EventProducer],
    settings: ServeSettings,
    *,
    info: ServerInfo,
    on_ready: Callable[[Server], None],
    inlets: dict[str, RemoteSource] | None = None,
    outputs: Sequence[ShowOutput] = (),
    spread: bool = True,
    plugins: Sequence[Plugin] = (),
    setup: Configurator | None = None,
) -> None:
    """Serve what producers publish until SIGINT or SIGTERM; one that ends by itself leaves the server up.

    Args:
        hub: Where they publish; it has a sink for each stream already.
        producers: What fills the hub, by what each is called in the log; there may be none.
        settings: Where to listen.
        info: What clients learn of the process.
        on_ready: Called once the server listens.
        inlets: Streams that take audio from clients; may change.
        outputs: What else the streams are sent to, such as desks and lights.
        spread: Map valence and arousal to the raters' range for outputs.
        plugins: What else runs beside the server.
        setup: Lets operators change what runs; None where they cannot.

    Raises:
        ServeError: The server cannot start.
        StreamMerError: The only producer failed. Where there are several, the others go on.
    """
    try:
        raise_file_limit(settings.max_clients)
        show = ShowRunner(outputs, spread=spread)

        def close_files() -> None:
            call_all([plugin.stop for plugin in plugins], within_s=EXIT_WITHIN_S)

        with stop_signals(close_files) as stopping:
            async with (
                Server(hub, settings, info, inlets=inlets, outputs=show.statistics, setup=setup) as server,
                _running_plugins(hub, [*plugins, show]),
            ):
                if setup is not None:
                    setup.bind(hub=hub, show=show, server=server, inlets={} if inlets is None else inlets)
                on_ready(server)
                await _run_producers(producers, stopping)
    finally:
        for producer in producers.values():
            producer.close()


async def serve(
    engine: Engine,
    sources: Mapping[str, AudioSource],
    settings: ServeSettings,
    *,
    info: ServerInfo,
    on_ready: Callable[[Server], None],
    outputs: Sequence[ShowOutput] = (),
    spread: bool = True,
    plugins: Sequence[Plugin] = (),
    tap: Callable[[str, AudioSource], AudioSource] | None = None,
    setup: Configurator | None = None,
) -> None:
    """Compute and serve streams until SIGINT or SIGTERM; a source that ends by itself leaves the server up.

    Args:
        engine: The loaded models.
        sources: The audio of each stream, by the stream's name on the wire.
        settings: Where to listen.
        info: For ``hello``.
        on_ready: Called once the server listens.
        outputs: Where else the streams are sent, such as desks and lights.
        spread: Map valence and arousal to the raters' range for outputs.
        plugins: What else runs beside the server.
        tap: Returns the source to use in place of each one, such as one that records what passes through it.
        setup: Lets operators change what runs; None where they cannot.

    Raises:
        ServeError: The server cannot start.
        SourceError: The source of a server with a single stream failed. Where there are several, the others go on.
    """
    from stream_mer.sources.remote import RemoteSource  # noqa: PLC0415 - see above

    hub = Hub(history_messages=settings.history_messages)
    pipelines = _pipelines(engine, sources, hub, tap=tap, setup=setup)
    inlets = {name: source for name, source in sources.items() if isinstance(source, RemoteSource)}
    await host(
        hub,
        pipelines,
        settings,
        info=info,
        on_ready=on_ready,
        inlets=inlets,
        outputs=outputs,
        spread=spread,
        plugins=plugins,
        setup=setup,
    )


def _pipelines(
    engine: Engine,
    sources: Mapping[str, AudioSource],
    hub: Hub,
    *,
    tap: Callable[[str, AudioSource], AudioSource] | None,
    setup: Configurator | None,
) -> dict[str, Pipeline]:
    """Build a pipeline for each source, which publishes to the hub. If one fails, all sources are closed."""
    pipelines: dict[str, Pipeline] = {}
    scheduler = TickScheduler(asyncio.get_running_loop())
    with contextlib.ExitStack() as built:
        for source in sources.values():
            built.callback(source.close)
        for name, source in sources.items():
            build = functools.partial(_pipeline, engine, name, hub, scheduler=scheduler, tap=tap)
            if setup is None:
                pipelines[name] = build(source, None)
            else:
                pipelines[name] = setup.build(engine, name, source, build=build)
            built.callback(pipelines[name].close)
        built.pop_all()  # from here on the host closes them
    return pipelines


def _pipeline(
    engine: Engine,
    name: str,
    hub: Hub,
    source: AudioSource,
    reopen: Reopener | None,
    *,
    scheduler: TickScheduler,
    tap: Callable[[str, AudioSource], AudioSource] | None,
) -> Pipeline:
    levels_interval_s = functools.partial(hub.levels_interval_s, name)

    def schedule_levels(due: Iterable[tuple[float, Callable[[], None]]]) -> None:
        scheduler.add(due, interval_s=levels_interval_s())

    return engine.pipeline(
        source if tap is None else tap(name, source),
        hub.sink(name),
        in_real_time=True,
        levels_wanted=functools.partial(hub.is_wanted, name, "levels"),
        levels_interval_s=levels_interval_s,
        schedule_levels=schedule_levels,
        reopen=reopen,
    )


async def _run_producers(producers: Mapping[str, EventProducer], stopping: asyncio.Event) -> None:
    """Run all producers until a stop is requested, or the only one fails; then they end, or are abandoned."""
    running = {in_thread(one.run, name=f"inference {name}"): name for name, one in producers.items()}
    stop_asked = asyncio.create_task(stopping.wait())
    try:
        await _watch(running, stop_asked)
    finally:
        stop_asked.cancel()
        for producer in producers.values():
            producer.stop()
        ended, hanging = await asyncio.wait(running, timeout=PRODUCERS_END_WITHIN_S) if running else (set(), set())
        for stream in ended:
            stream.exception()  # retrieved, so that asyncio does not log it
        for stream in hanging:
            log.error("%s does not end within %g s; abandoned", running[stream], PRODUCERS_END_WITHIN_S)
            abandoned.set()


@contextlib.asynccontextmanager
async def _running_plugins(hub: Hub, plugins: Sequence[Plugin | ShowRunner]) -> AsyncIterator[None]:
    """Let plugins run; those that have started are stopped, the last one first."""
    async with contextlib.AsyncExitStack() as started:
        for plugin in plugins:
            plugin.start(hub)
            started.push_async_callback(_stop, plugin)
        yield


async def _stop(plugin: Plugin | ShowRunner) -> None:
    stopped = in_thread(plugin.stop, name="stop")
    await asyncio.wait([stopped], timeout=PLUGIN_ENDS_WITHIN_S)
    if not stopped.done():
        log.error("%s does not end within %g s; abandoned", type(plugin).__name__, PLUGIN_ENDS_WITHIN_S)
        abandoned.set()
    else:
        stopped.result()


async def _watch(running: Mapping[asyncio.Future[None], str], stop_asked: asyncio.Future[Any]) -> None:
    """Wait until a stop is requested, and log which streams end before; raises the failure of the only one."""
    waiting: set[asyncio.Future[Any]] = set(running)
    while waiting and not stop_asked.done():
        done, _ = await asyncio.wait(waiting | {stop_asked}, return_when=asyncio.FIRST_COMPLETED)
        for stream in waiting & done:
            waiting.discard(stream)
            failure = stream.exception()
            if failure is None:
                log.info("%s has ended; still serving its last values, stop with Ctrl-C", running[stream])
            elif len(running) == 1 or not isinstance(failure, StreamMerError):
                raise failure
            else:
                log.error("%s has failed: %s; the other streams go on", running[stream], failure)
    await stop_asked
