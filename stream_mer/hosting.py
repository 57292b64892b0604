"""A hub with everything around it: the server, the outputs of the show, and what fills it. Knows no model."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from stream_mer.errors import StreamMerError
from stream_mer.serve.hub import Hub
from stream_mer.serve.ingest import Inlet
from stream_mer.serve.open_files import make_room
from stream_mer.serve.server import Server, ServerInfo
from stream_mer.serve.settings import ServeSettings
from stream_mer.show.output import ShowOutput
from stream_mer.show.runner import ShowRunner

log = logging.getLogger(__name__)


class Performer(Protocol):
    """What fills one stream: a pipeline, or a recording that is played again."""

    def run(self) -> None:
        """Work until the end, or until ``stop`` is called; in a thread of its own.

        Raises:
            StreamMerError: It failed; what came before was published.
        """

    def stop(self) -> None:
        """End soon, from any thread; idempotent."""


class Companion(Protocol):
    """Something that runs beside the server: it watches the hub, or controls it."""

    @property
    def notice(self) -> str:
        """A line about it for whoever started the server, once it runs."""

    def start(self, hub: Hub) -> None:
        """Begin, before anything is published; returns at once.

        Raises:
            StreamMerError: It cannot; nothing is served then.
        """

    def stop(self) -> None:
        """End, after everything was published; may take a few seconds, and is called from another thread."""


async def host(
    hub: Hub,
    performers: Mapping[str, Performer],
    settings: ServeSettings,
    *,
    info: ServerInfo,
    on_ready: Callable[[Server], None],
    inlets: Mapping[str, Inlet] | None = None,
    outputs: Sequence[ShowOutput] = (),
    companions: Sequence[Companion] = (),
) -> None:
    """Serve what performers publish until SIGINT or SIGTERM; one that ends by itself leaves the server up.

    Args:
        hub: Where they publish; it has a sink for each stream already.
        performers: What fills the hub, by what each is called in the log; there may be none.
        settings: Where to listen.
        info: What to tell clients of the process.
        on_ready: Called once the server listens.
        inlets: Streams that take audio from clients.
        outputs: What else the streams are sent to, such as desks and lights.
        companions: What else runs beside the server.

    Raises:
        ServeError: The server cannot start.
        StreamMerError: The only performer failed. Where there are several, the others go on.
    """
    make_room(settings.max_clients)
    stopping, loop = stop_signals(), asyncio.get_running_loop()
    show = ShowRunner(outputs)
    async with (
        Server(hub, settings, info, inlets=inlets, outputs=show.statistics) as server,
        _accompanied(hub, [*companions, show]),
    ):
        on_ready(server)
        with ThreadPoolExecutor(max(1, len(performers)), thread_name_prefix="feel") as threads:
            running = {loop.run_in_executor(threads, one.run): name for name, one in performers.items()}
            stop_asked = asyncio.create_task(stopping.wait())
            try:
                await _watch(running, stop_asked)
            finally:
                stop_asked.cancel()
                for performer in performers.values():
                    performer.stop()
                if running:
                    await asyncio.wait(running)
                for stream in running:
                    stream.exception()  # whoever stops does not care any more


def stop_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set from now on."""
    stopping = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


@contextlib.asynccontextmanager
async def _accompanied(hub: Hub, companions: Sequence[Companion | ShowRunner]) -> AsyncIterator[None]:
    """Let companions run; those that have started are stopped, the last one first."""
    async with contextlib.AsyncExitStack() as started:
        for companion in companions:
            companion.start(hub)
            started.push_async_callback(asyncio.to_thread, companion.stop)
        yield


async def _watch(running: Mapping[asyncio.Future[None], str], stop_asked: asyncio.Future[Any]) -> None:
    """Wait until somebody asks to stop, and say which streams end before.

    Raises:
        SourceError: The only stream failed.
    """
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
