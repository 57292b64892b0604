"""The websocket server: one port for the stream, the page, health and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import quote

from websockets.asyncio.server import Server as WebsocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.server.auth import Authenticator, GuessLimit, check_places, check_request, client_address, shown_token
from stream_mer.server.connection import CloseConnection, Connection, Websocket
from stream_mer.server.http import Pages, malformed_header
from stream_mer.server.hub import Hub
from stream_mer.server.listener import (
    ConnectionLimit,
    Listener,
    bind_error,
    listen_on,
    max_connections,
    reachable_host,
    tls_context,
)
from stream_mer.server.metrics import Metrics
from stream_mer.server.outbox import Dispatcher
from stream_mer.server.session import Senders, ServerInfo, Session, hello
from stream_mer.server.setup import SetupHandler
from stream_mer.types import OutputStatistics
from stream_mer.utils.local_addresses import local_addresses
from stream_mer.utils.log_limit import LimitedLog
from stream_mer.utils.quiet_logger import websockets_logger

if TYPE_CHECKING:  # it loads the libraries that decode audio
    from stream_mer.sources.remote import RemoteSource

logger = logging.getLogger(__name__)

SEND_BUFFER_BYTES = 8192
"""Kernel buffer of one client. With the default one, a client that reads nothing looks healthy for many minutes."""

WRITE_LIMIT_BYTES = 4096
"""Bytes that may wait in the process for the kernel before the writer waits: a few messages."""

FRAMES_PER_MESSAGE = 4
"""Frames, including pings, that are read for each message that a client may send; more are read later."""

HARD_LIMIT_FACTOR = 16
"""A message over ``max_message_bytes`` gets an explanation; one over this many times that, the connection is cut."""

REFUSAL_TIMEOUT_S = 0.5
"""Time for a client that is refused before its ``hello`` to close: a few round trips."""

MAX_REFUSALS = 64
"""When this many clients are being refused, the next ones get the reason and are cut."""

SPARE_CONNECTIONS = 256
"""Connections that may be open beside those of clients: for pages, and for connections that are not clients yet."""

MAX_WAITING_TLS = 256
"""With TLS, this many connections may not be clients yet: before its handshake each takes a quarter of a megabyte."""

EXPIRE_EVERY_S = 0.1
"""Least time between two looks for overrides that end, seconds: where no frames come, one may end this much later."""


class Server:
    """Serves the events of a hub. Runs in the event loop that calls ``start``; the hub may be fed from threads.

    Args:
        hub: Where the events come from.
        settings: Address, tokens and limits.
        info: What ``hello`` says of the process.
        inlets: Streams that take audio from clients, by name.
        outputs: Returns the state of the outputs, for the metrics; None where there are none.
        setup: Carries out what operators set up; None where they cannot.
        guesses: Slows down guessing of tokens; None for one with the real clock.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServeSettings | None = None,
        info: ServerInfo | None = None,
        *,
        inlets: Mapping[str, RemoteSource] | None = None,
        outputs: Callable[[], Sequence[OutputStatistics]] | None = None,
        setup: SetupHandler | None = None,
        guesses: GuessLimit | None = None,
    ) -> None:
        self._hub = hub
        self._settings = settings or ServeSettings()
        self._senders = Senders({} if inlets is None else inlets, guarded=self._settings.is_guarded)
        self._setup = setup
        self._info = replace(info or ServerInfo(), can_setup=setup is not None)
        self._metrics = Metrics(hub, outputs=outputs)
        self._pages = Pages(
            is_ready=lambda: hub.has_frames, metrics=self._metrics.text, framed_by=self._settings.frame_origins
        )
        self._authenticator = Authenticator(
            self._settings, guesses or GuessLimit(), on_wrong_token=self._metrics.wrong_tokens.inc
        )
        self._log = LimitedLog(logger)
        self._sessions: dict[Session, asyncio.Task[object] | None] = {}
        self._clients: set[Session] = set()  # those that have a place
        self._refusals = 0
        self._listeners: list[Listener] = []
        self._limit: ConnectionLimit | None = None
        self._servers: list[WebsocketServer] = []  # one for each address
        self._expire_task: asyncio.Task[None] | None = None
        self._stopping: CloseConnection | None = None

    @property
    def port(self) -> int:
        """The bound port; differs from the setting where that is 0."""
        return int(self._bound_address()[1])

    @property
    def page_url(self) -> str:
        """URL of the page, as a browser on this machine can open it."""
        return self._url("http", "/")

    @property
    def stream_url(self) -> str:
        """URL of the websocket, as a browser on this machine can open it."""
        return self._url("ws", wire.STREAM_PATH)

    def network_urls(self) -> tuple[str, ...]:
        """URLs of the page for other devices, with the token that they need; none where they cannot reach it."""
        if self._settings.is_private:
            return ()
        bound, _ = self._bound_address()
        is_open = ipaddress.ip_address(bound.partition("%")[0]).is_unspecified
        hosts = local_addresses() if is_open else [reachable_host(self._settings.host, bound)]
        token = "" if self._settings.token is None else f"#token={quote(self._settings.token, safe='')}"
        return tuple(self._url("http", f"/{token}", host=host) for host in hosts)

    def set_hop(self, hop_s: float) -> None:
        """Change the time between frames in ``hello``, seconds."""
        self._info = replace(self._info, hop_s=hop_s)

    def _url(self, scheme: str, path: str, *, host: str | None = None) -> str:
        secure = "" if self._settings.tls_certificate is None else "s"
        bound, port = self._bound_address()
        return f"{scheme}{secure}://{host or reachable_host(self._settings.host, bound)}:{port}{path}"

    def _bound_address(self) -> tuple[str, int]:
        if not self._servers:
            raise ServeError("the server has no address before it is started")
        host, port, *_ = self._servers[0].sockets[0].getsockname()
        return str(host), int(port)

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ServeError: The address cannot be bound.
            SettingError: The certificate cannot be used.
        """
        if self._servers:
            raise ServeError("the server is started already")
        tls = tls_context(self._settings)
        most = max_connections(self._settings.max_clients + SPARE_CONNECTIONS)
        self._limit = ConnectionLimit(most, max_waiting=most if tls is None else min(most, MAX_WAITING_TLS))
        try:
            self._listeners = listen_on(self._settings.host, self._settings.port, self._limit)
        except ServeError:
            self._limit.close()
            raise
        dispatcher = Dispatcher(asyncio.get_running_loop())
        self._stopping = None
        try:
            for listener in self._listeners:
                self._servers.append(await self._serve(listener, tls, dispatcher))
        except OSError as exc:  # another process listens there since
            await self.stop()
            raise bind_error(exc, self._settings.host, self._settings.port) from exc
        is_overridden = asyncio.Event()
        self._hub.on_timed_override = functools.partial(dispatcher.call_soon, is_overridden.set)
        self._expire_task = asyncio.create_task(self._expire(is_overridden))

    async def _serve(self, listener: Listener, tls: ssl.SSLContext | None, dispatcher: Dispatcher) -> WebsocketServer:
        settings = self._settings
        max_frames_per_s = FRAMES_PER_MESSAGE * (settings.max_messages_per_s + settings.max_audio_messages_per_s)
        create_connection = functools.partial(Websocket, max_frames_per_s=max_frames_per_s, is_crowded=self._is_crowded)
        return await serve(
            functools.partial(self._handle, dispatcher=dispatcher),
            sock=listener,
            ssl=tls,
            subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
            select_subprotocol=_select_subprotocol,
            process_request=self._process_request,
            server_header=None,
            logger=websockets_logger,
            compression=None,
            max_size=max(settings.max_message_bytes * HARD_LIMIT_FACTOR, settings.max_audio_bytes),
            max_queue=4,
            write_limit=WRITE_LIMIT_BYTES,
            open_timeout=settings.handshake_timeout_s,
            ping_interval=settings.pong_timeout_s,
            ping_timeout=settings.pong_timeout_s,
            create_connection=cast("type[ServerConnection]", create_connection),
            close_timeout=settings.close_timeout_s,
        )

    async def stop(self, code: int = wire.CloseCode.GOING_AWAY) -> None:
        """Stop listening, send every client the reason, and wait for them for at most a few seconds; idempotent."""
        servers, self._servers = self._servers, []
        for listener in self._listeners:
            if not servers:
                listener.close()  # else the servers close them
        self._listeners = []
        if self._limit is not None:
            self._limit.close()
        if self._expire_task is not None:
            self._expire_task.cancel()
        if not servers:
            return
        restart = code == wire.CloseCode.RESTART
        self._stopping = CloseConnection(
            wire.CloseCode(code),
            "the server restarts" if restart else "the server is shutting down",
            retry_after_s=1.0 if restart else None,
        )
        # The sessions close their connections: the library would wait for ever for a client that reads nothing.
        for server in servers:
            server.close(close_connections=False)
        for session in self._sessions:
            session.end(self._stopping)
        conversations = [task for task in self._sessions.values() if task is not None]
        if conversations:
            await asyncio.wait(conversations, timeout=2 * self._settings.close_timeout_s + 1)
        # Connections that never sent a request (browsers open some in advance) are not waited for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                for server in servers:
                    await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _expire(self, is_overridden: asyncio.Event) -> None:
        """End overrides where no frames come; sleeps while none has an end."""
        while True:
            is_overridden.clear()
            ends_in_s: float | None = EXPIRE_EVERY_S
            try:
                ends_in_s = self._hub.expire()
            except Exception as exc:  # the next override has to end all the same
                self._log.log(logging.ERROR, "overrides", "cannot end overrides", error=exc)
            wait_s = None if ends_in_s is None else max(EXPIRE_EVERY_S, ends_in_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await is_overridden.wait()

    def _is_crowded(self) -> bool:
        """Tell whether there are too many connections where the event loop does not call the listener (Windows)."""
        if self._limit is not None and self._limit.open:
            return False
        connections = sum(len(server.handler_tasks) for server in self._servers)
        return connections > self._settings.max_clients + SPARE_CONNECTIONS

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        malformed = malformed_header(request.headers.get_all)
        if malformed is not None:
            self._metrics.bad_requests.inc()
            message = f"a request from {self._address_of(connection)} was refused: {malformed}"
            self._log.log(logging.WARNING, "requests", message)
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{malformed}\n")
        if request.path.partition("?")[0] == wire.STREAM_PATH:
            return None
        if "Upgrade" in request.headers:
            return connection.respond(HTTPStatus.NOT_FOUND, f"the websocket is at {wire.STREAM_PATH}\n")
        answer = self._pages.answer(request.path, method=request.method)
        body = b"" if request.method == "HEAD" else answer.body
        return Response(answer.status, answer.status.phrase, Headers(answer.headers()), body)

    async def _handle(self, websocket: ServerConnection, *, dispatcher: Dispatcher) -> None:
        kernel = websocket.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        headers = websocket.request.headers if websocket.request is not None else Headers()
        connection = Connection(websocket)
        self._metrics.connections.inc()
        try:
            role = await self._authenticator.role_of(shown_token(headers), self._address_of(websocket))
            if self._stopping is not None:
                raise self._stopping  # noqa: TRY301 - refused below, as every other client
            check_request(headers, clients=len(self._clients), role=role, settings=self._settings)
            await self._converse(websocket, connection, dispatcher=dispatcher, role=role)
        except* CloseConnection as group:
            with contextlib.suppress(ConnectionClosed):
                await self._refuse(connection, CloseConnection.first_of(group))
        except* ConnectionClosed:
            pass  # how most conversations end
        except* Exception as failures:
            self._log.log(logging.ERROR, "conversations", "a conversation failed", error=failures)
            why = CloseConnection(
                wire.CloseCode.INTERNAL_ERROR, "the server failed; its log says how", retry_after_s=1.0
            )
            with contextlib.suppress(ConnectionClosed):
                await connection.close(why, timeout_s=self._settings.close_timeout_s)
        finally:
            # A client that takes nothing would keep its buffers, and delay the end of the server.
            connection.abort()
            self._metrics.count_close(websocket.close_code)

    async def _converse(
        self, websocket: ServerConnection, connection: Connection, *, dispatcher: Dispatcher, role: wire.Role | None
    ) -> None:
        session = Session(
            connection=connection,
            hub=self._hub,
            settings=self._settings,
            hello=hello(self._hub, self._settings, self._info, remote_streams=self._senders.inlets),
            dispatcher=dispatcher,
            role=role,
            senders=self._senders,
            role_of=lambda shown: self._authenticator.role_of(shown, self._address_of(websocket)),
            admit=lambda: self._admit(session, websocket),
            setup=self._setup,
        )
        self._sessions[session] = asyncio.current_task()
        try:
            await session.run()
        finally:
            del self._sessions[session]
            self._clients.discard(session)

    def _admit(self, session: Session, websocket: ServerConnection) -> None:
        """Give a client its place; raises CloseConnection where there is none."""
        if session in self._clients:
            return
        check_places(len(self._clients), self._settings)
        self._clients.add(session)
        if self._limit is not None:
            self._limit.settled(websocket.transport.get_extra_info("socket").fileno())

    async def _refuse(self, connection: Connection, why: CloseConnection) -> None:
        """Close a client without a place with the reason; even many take few sockets, and for a short time."""
        is_crowd = self._refusals >= MAX_REFUSALS
        self._refusals += 1
        try:
            await connection.close(why, timeout_s=0.0 if is_crowd else REFUSAL_TIMEOUT_S)
        finally:
            self._refusals -= 1

    def _address_of(self, connection: ServerConnection) -> str:
        """Return the address of a client, as trusted proxies report it."""
        peer = connection.remote_address
        forwarded = connection.request.headers.get_all("X-Forwarded-For") if connection.request is not None else []
        return client_address(str(peer[0]) if peer else "", forwarded, proxies=self._settings.proxies)


def _select_subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Agree on ours where it is offered; clients that do not offer it are served, too."""
    del connection
    ours = Subprotocol(wire.SUBPROTOCOL)
    return ours if ours in offered else None
