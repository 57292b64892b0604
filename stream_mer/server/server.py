"""The websockets shell: one port for the stream, the page and the health checks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self, cast

from websockets.asyncio.server import Server as WebsocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.server.admission import GuessLimit, client_address, shown_token, why_full, why_malformed, why_refused
from stream_mer.server.connection import Connection, Websocket
from stream_mer.server.delivery import Delivery
from stream_mer.server.farewell import Goodbye, first_goodbye, part
from stream_mer.server.hello import ServerInfo as ServerInfo
from stream_mer.server.hello import hello
from stream_mer.server.hub import Hub
from stream_mer.server.ingest import Inlet, Senders
from stream_mer.server.library_log import library_logger
from stream_mer.server.listening import ConnectionLimit, Listener, listen_on, reachable_host
from stream_mer.server.metrics import Metrics
from stream_mer.server.open_files import most_connections
from stream_mer.server.pages import Pages
from stream_mer.server.session import Session
from stream_mer.server.settings import ServeSettings
from stream_mer.server.tls import tls_context
from stream_mer.server.wake import LoopWaker
from stream_mer.types import OutputStatistics
from stream_mer.utils.log_limit import LimitedLog

logger = logging.getLogger(__name__)

SEND_BUFFER_BYTES = 8192
"""Kernel buffer of one client. With the default one, a client that reads nothing looks healthy for many minutes."""

WRITE_LIMIT_BYTES = 4096
"""What may wait in the process for the kernel before the writer waits: a few messages."""

FRAMES_A_MESSAGE = 4
"""So many frames, pings among them, may come for each message that a client may send; more are read later."""

HARD_LIMIT_FACTOR = 16
"""Messages over ``max_message_bytes`` get an explanation; over so many times that, the connection is cut unread."""

TURNED_AWAY_WITHIN_S = 0.5
"""A client that is refused before its hello may take so long to say goodbye itself: a few round trips."""

SPARE_CONNECTIONS = 256
"""So many connections may be open beside those of clients: for pages, for what is no websocket yet or no client."""

MOST_WAITING_TLS = 256
"""With TLS so many may be open that are no clients: before its handshake each costs a quarter of a megabyte."""

EXPIRE_EVERY_S = 0.1
"""So much later than promised may an override end where no frames come."""

MOST_TURNED_AWAY = 64
"""While so many say goodbye, the next ones are told why and hung up on at once."""


class Server:
    """Serves a hub's events. Everything runs in the event loop that called ``start``; the hub may be fed from threads.

    Args:
        hub: Where the events come from.
        settings: Where to listen and what to bear.
        info: What to tell of the process.
        inlets: Streams that take audio from clients, by name.
        outputs: Tells how the outputs of the show fare, for the metrics; None where there are none.
        guesses: Makes guessing tokens slow; None for one with the real clock.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServeSettings | None = None,
        info: ServerInfo | None = None,
        *,
        inlets: Mapping[str, Inlet] | None = None,
        outputs: Callable[[], Sequence[OutputStatistics]] | None = None,
        guesses: GuessLimit | None = None,
    ) -> None:
        self._hub = hub
        self._settings = settings or ServeSettings()
        self._senders = Senders(inlets or {}, guarded=self._settings.is_guarded)
        self._info = info or ServerInfo()
        self._metrics = Metrics(hub, outputs=outputs)
        self._pages = Pages(
            is_ready=lambda: hub.has_frames, metrics=self._metrics.text, framed_by=self._settings.frame_origins
        )
        self._guesses = guesses or GuessLimit()
        self._log = LimitedLog(logger)
        self._sessions: dict[Session, asyncio.Task[object] | None] = {}
        self._clients: set[Session] = set()  # those that were let in
        self._turned_away = 0
        self._listeners: list[Listener] = []
        self._limit: ConnectionLimit | None = None
        self._servers: list[WebsocketServer] = []  # one for each address
        self._expiring: asyncio.Task[None] | None = None
        self._stopping: Goodbye | None = None

    @property
    def port(self) -> int:
        """The bound port; differs from the setting where that is 0."""
        return int(self._bound()[1])

    @property
    def page_url(self) -> str:
        """Address of the page."""
        return f"http{self._s}://{self._netloc}/"

    @property
    def stream_url(self) -> str:
        """Address of the websocket."""
        return f"ws{self._s}://{self._netloc}{wire.STREAM_PATH}"

    @property
    def _netloc(self) -> str:
        """Host and port as a browser on this machine can open them."""
        return f"{reachable_host(self._settings.host, self._bound()[0])}:{self.port}"

    @property
    def _server(self) -> WebsocketServer | None:
        """The one of the first address, most often the only one; None before the start."""
        return self._servers[0] if self._servers else None

    def _bound(self) -> tuple[str, int]:
        if self._server is None:
            raise ServeError("the server has no address before it is started")
        host, port, *_ = self._server.sockets[0].getsockname()
        return str(host), int(port)

    @property
    def _s(self) -> str:
        """What makes ``http`` and ``ws`` secure."""
        return "" if self._settings.tls_certificate is None else "s"

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ServeError: The address cannot be bound.
            SettingError: The certificate cannot be used.
        """
        if self._server is not None:
            raise ServeError("the server is started already")
        tls = tls_context(self._settings)
        most = most_connections(self._settings.max_clients + SPARE_CONNECTIONS)
        self._limit = ConnectionLimit(most, most_waiting=most if tls is None else min(most, MOST_WAITING_TLS))
        try:
            self._listeners = listen_on(self._settings.host, self._settings.port, self._limit)
        except OSError as exc:
            self._limit.close()
            raise ServeError(_why_not_bound(exc, self._settings)) from exc
        delivery = Delivery(LoopWaker(asyncio.get_running_loop()))
        self._stopping = None
        try:
            for listener in self._listeners:
                self._servers.append(await self._serve(listener, tls, delivery))
        except OSError as exc:  # somebody else listens there since
            await self.stop()
            raise ServeError(_why_not_bound(exc, self._settings)) from exc
        self._expiring = asyncio.create_task(self._expire())

    async def _serve(self, listener: Listener, tls: ssl.SSLContext | None, delivery: Delivery) -> WebsocketServer:
        limit = self._settings.max_message_bytes
        return await serve(
            functools.partial(self._handle, delivery=delivery),
            sock=listener,
            ssl=tls,
            subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
            select_subprotocol=_select_subprotocol,
            process_request=self._process_request,
            server_header=None,
            logger=library_logger,
            compression=None,
            max_size=max(limit * HARD_LIMIT_FACTOR, self._settings.max_audio_bytes),
            max_queue=4,
            write_limit=WRITE_LIMIT_BYTES,
            open_timeout=self._settings.handshake_timeout_s,
            ping_interval=self._settings.pong_timeout_s,
            ping_timeout=self._settings.pong_timeout_s,
            create_connection=cast(
                "type[ServerConnection]",
                functools.partial(
                    Websocket,
                    most_frames_per_s=_most_frames_per_s(self._settings),
                    is_crowded=self._is_crowded,
                ),
            ),
            close_timeout=self._settings.close_timeout_s,
        )

    async def stop(self, code: int = wire.CloseCode.GOING_AWAY) -> None:
        """Stop listening, tell every client why, and wait for them for at most a few seconds; idempotent."""
        servers, self._servers = self._servers, []
        for listener in self._listeners:
            if not servers:
                listener.close()  # no server that would
        self._listeners = []
        if self._limit is not None:
            self._limit.close()
        if self._expiring is not None:
            self._expiring.cancel()
        if not servers:
            return
        restart = code == wire.CloseCode.RESTART
        self._stopping = Goodbye(
            wire.CloseCode(code),
            "the server restarts" if restart else "the server is shutting down",
            retry_after_s=1.0 if restart else None,
        )
        # Ours, not the library's, say goodbye: it would wait for ever for a client that reads nothing.
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

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            try:
                self._hub.expire()
            except Exception as exc:  # the next override has to end all the same
                self._log.log(logging.ERROR, "overrides", "overrides could not be ended", error=exc)

    def _is_crowded(self) -> bool:
        """Tell whether there are too many connections, where the event loop accepts past the listener (Windows)."""
        if self._limit is not None and self._limit.open:
            return False
        connections = sum(len(server.handler_tasks) for server in self._servers)
        return connections > self._settings.max_clients + SPARE_CONNECTIONS

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        malformed = why_malformed(request.headers)
        if malformed is not None:
            self._metrics.bad_request()
            told = f"a request from {self._address_of(connection)} was refused: {malformed}"
            self._log.log(logging.WARNING, "requests", told)
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{malformed}\n")
        if request.path.partition("?")[0] == wire.STREAM_PATH:
            return None
        if "Upgrade" in request.headers:
            return connection.respond(HTTPStatus.NOT_FOUND, f"the websocket is at {wire.STREAM_PATH}\n")
        answer = self._pages.answer(request.path, method=request.method)
        body = b"" if request.method == "HEAD" else answer.body
        return Response(answer.status, answer.status.phrase, Headers(answer.headers()), body)

    async def _handle(self, connection: ServerConnection, *, delivery: Delivery) -> None:
        kernel = connection.transport.get_extra_info("socket")
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        headers = connection.request.headers if connection.request is not None else Headers()
        self._metrics.connected()
        try:
            role = await self._role_of(shown_token(headers), self._address_of(connection))
            self._check(headers, role)
            await self._converse(connection, delivery=delivery, role=role)
        except* Goodbye as refusals:
            with contextlib.suppress(ConnectionClosed):
                await self._turn_away(connection, first_goodbye(refusals))
        except* ConnectionClosed:
            pass  # how most conversations end
        except* Exception as failures:
            self._log.log(logging.ERROR, "conversations", "a conversation failed", error=failures)
            why = Goodbye(wire.CloseCode.INTERNAL_ERROR, "the server failed; its log says how", retry_after_s=1.0)
            with contextlib.suppress(ConnectionClosed):
                await part(Connection(connection), why, timeout_s=self._settings.close_timeout_s)
        finally:
            # A client that takes nothing would keep its buffers, and a stop waiting.
            Connection(connection).abort()
            self._metrics.closed(connection.close_code)

    async def _role_of(self, shown: str | None, address: str) -> wire.Role | None:
        """Return what a client may do that shows this token, or none; a guess waits for the turn of its address.

        Raises:
            Goodbye: Too many wrong tokens came from this address.
        """
        if shown is None or not self._settings.is_guarded:
            return self._settings.role_of(shown)
        wait_s, may_wait = self._guesses.book(address)
        if not may_wait:
            self._log.log(logging.WARNING, "guesses", f"wrong tokens come from {address}; its next ones have to wait")
            why = "wrong tokens came from this address, so the next one has to wait; try again later"
            raise Goodbye(wire.CloseCode.TOO_MANY_MESSAGES, why, retry_after_s=round(wait_s, 1))
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        role = self._settings.role_of(shown)
        if role is None:
            self._guesses.was_wrong(address)
            self._metrics.wrong_token()
            self._log.log(logging.WARNING, "guesses", f"a wrong token came from {address}")
        return role

    def _check(self, headers: Headers, role: wire.Role | None) -> None:
        """Let a client in, or not.

        Raises:
            Goodbye: Not.
        """
        refusal = self._stopping or why_refused(headers, clients=len(self._clients), role=role, settings=self._settings)
        if refusal is not None:
            raise refusal

    def _address_of(self, connection: ServerConnection) -> str:
        """Return the address of a client, as the proxies say that are believed."""
        peer = connection.remote_address
        forwarded = connection.request.headers.get_all("X-Forwarded-For") if connection.request is not None else []
        return client_address(str(peer[0]) if peer else "", forwarded, proxies=self._settings.proxies)

    def _let_in(self, session: Session, connection: ServerConnection) -> None:
        """Give a client its place.

        Raises:
            Goodbye: All are taken.
        """
        if session in self._clients:
            return
        full = why_full(len(self._clients), self._settings)
        if full is not None:
            raise full
        self._clients.add(session)
        if self._limit is not None:
            self._limit.settled(connection.transport.get_extra_info("socket").fileno())

    async def _turn_away(self, connection: ServerConnection, why: Goodbye) -> None:
        """Tell a client that has no place why; however many come, they hold few sockets, and not for long."""
        is_crowd = self._turned_away >= MOST_TURNED_AWAY
        self._turned_away += 1
        try:
            await part(Connection(connection), why, timeout_s=0.0 if is_crowd else TURNED_AWAY_WITHIN_S)
        finally:
            self._turned_away -= 1

    async def _converse(self, connection: ServerConnection, *, delivery: Delivery, role: wire.Role | None) -> None:
        session = Session(
            socket=Connection(connection),
            hub=self._hub,
            settings=self._settings,
            hello=hello(self._hub, self._settings, self._info),
            delivery=delivery,
            role=role,
            senders=self._senders,
            role_of=lambda shown: self._role_of(shown, self._address_of(connection)),
            let_in=lambda: self._let_in(session, connection),
        )
        self._sessions[session] = asyncio.current_task()
        try:
            await session.run()
        finally:
            del self._sessions[session]
            self._clients.discard(session)


def _most_frames_per_s(settings: ServeSettings) -> int:
    """Return how many frames make the messages that a client may send, with room for pings and fragments."""
    return FRAMES_A_MESSAGE * (settings.max_messages_per_s + settings.max_audio_messages_per_s)


def _select_subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Agree on ours where it is offered; a client that offers none, or others, is served all the same."""
    del connection
    ours = Subprotocol(wire.SUBPROTOCOL)
    return ours if ours in offered else None


def _why_not_bound(exc: OSError, settings: ServeSettings) -> str:
    host, port = settings.host, settings.port
    if exc.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use, perhaps by another stream-mer: stop that one, "
            f"or take another port: stream-mer serve --port {port + 1 if port < 65_535 else 8765}"
        )
    if exc.errno == errno.EACCES:
        return f"port {port} may not be opened by this user: take one above 1023, such as --port 8765"
    if exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror):
        return f"{host} is no address of this machine: take one of its own, or leave --host out"
    return f"cannot listen on {host} port {port}: {exc.strerror or exc}"
