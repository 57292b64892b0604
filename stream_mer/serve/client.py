"""A small client of ``mer.v1`` in Python: for ``stream-mer listen``, for tests, and for programs of others.

::

    async with connect("ws://127.0.0.1:8765/v1/stream") as client:
        async for message in client:
            print(message)
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from stream_mer.errors import ServeError, SettingError
from stream_mer.serve import messages as wire
from stream_mer.serve.codec import decode_server, encode

DEFAULT_URL = f"ws://127.0.0.1:8765{wire.STREAM_PATH}"
"""Where ``stream-mer serve`` listens unless told otherwise."""

FIRST_DELAY_S, LAST_DELAY_S = 0.25, 8.0
"""Back-off between attempts to connect: doubled each time, less a random part so that many clients spread."""

_GIVE_UP_ON = frozenset(
    {
        wire.CloseCode.BAD_MESSAGE,
        wire.CloseCode.BAD_TOKEN,
        wire.CloseCode.FORBIDDEN,
        wire.CloseCode.NO_STREAM,
        wire.CloseCode.IDENTIFY_TIMEOUT,
    }
)
"""Closes that would only repeat."""


def connect(url: str = DEFAULT_URL, *, identify: wire.Identify | None = None, reconnect: bool = False) -> Client:
    """Return a client to be entered with ``async with``.

    Args:
        url: Address of the websocket; ``host:port`` alone is completed.
        identify: Sent after ``hello``; None sends none, and the events start a few seconds later.
        reconnect: After a connection is lost, try again for ever, instead of ending the iteration. The first one must
            succeed all the same.

    Raises:
        SettingError: On entering: the address is none.
        ServeError: On entering: nothing answers there.
    """
    return Client(complete_url(url), identify=identify, reconnect=reconnect)


class Client:
    """Yields the server's messages, ``hello`` first, each as its struct.

    Messages of a type that this version does not know are skipped.

    Attributes:
        connected: True from ``hello`` until the connection is lost.
        hello: The newest ``hello``; None before the first.
    """

    def __init__(self, url: str, *, identify: wire.Identify | None, reconnect: bool) -> None:
        self._url = url
        self._identify = identify
        self._reconnect = reconnect
        self._socket: ClientConnection | None = None
        self._last_error: wire.Error | None = None
        self.connected = False
        self.hello: wire.Hello | None = None

    async def __aenter__(self) -> Self:
        self._socket = await self._open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connected = False
        if self._socket is not None:
            await self._socket.close()

    async def send(self, message: wire.ClientMessage) -> None:
        """Send a message.

        Raises:
            ServeError: There is no connection now.
        """
        if self._socket is None:
            raise _LostError(f"there is no connection to {self._url} now; wait for its hello")
        try:
            await self._socket.send(encode(message), text=True)
        except ConnectionClosed:
            raise _LostError(f"the connection to {self._url} was lost; connect again") from None

    async def __aiter__(self) -> AsyncIterator[wire.ServerMessage]:
        """Yield messages until the server goes away in peace; with ``reconnect``, for ever.

        Raises:
            ServeError: The server refused this client, or (without ``reconnect``) the connection broke.
        """
        delay_s = FIRST_DELAY_S
        while True:
            try:
                if self._socket is None:
                    self._socket = await self._open()
                async for message in self._messages(self._socket):
                    delay_s = FIRST_DELAY_S
                    yield message
            except _LostError as lost:
                if not self._reconnect:
                    raise ServeError(str(lost)) from None
            finally:
                self.connected = False
            if not self._reconnect:
                return
            self._socket = None
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads clients, it hides nothing
            delay_s = min(2 * delay_s, LAST_DELAY_S)

    async def _open(self) -> ClientConnection:
        try:
            return await websocket_connect(
                self._url,
                subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
                compression=None,
                open_timeout=5,
                close_timeout=2,
            )
        except InvalidURI:
            raise SettingError(f"{self._url} is no websocket address; it looks like {DEFAULT_URL}") from None
        except InvalidStatus as exc:
            raise _LostError(
                f"{self._url} answers, but not as stream-mer (HTTP {exc.response.status_code}); check the address"
            ) from None
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as exc:
            raise _LostError(f"nothing answers at {self._url} ({exc}); is stream-mer serve running there?") from None

    async def _messages(self, socket: ClientConnection) -> AsyncIterator[wire.ServerMessage]:
        try:
            while True:
                message = decode_server(await socket.recv())
                if isinstance(message, wire.Hello):
                    self.hello = message
                    self.connected = True
                    if self._identify is not None:
                        await self.send(self._identify)
                elif isinstance(message, wire.Error):
                    self._last_error = message
                if message is not None:
                    yield message
        except ConnectionClosed as closed:
            self._judge(closed)

    def _judge(self, closed: ConnectionClosed) -> None:
        """Return if the end was peaceful; raise why not otherwise."""
        code = closed.rcvd.code if closed.rcvd is not None else None
        if code in {1000, wire.CloseCode.GOING_AWAY, wire.CloseCode.RESTART}:
            return
        fatal = self._last_error
        why = fatal.message if fatal is not None and fatal.fatal else str(closed)
        if code in _GIVE_UP_ON:
            raise ServeError(f"{self._url} closed the connection: {why}")
        raise _LostError(f"the connection to {self._url} was lost: {why}")


class _LostError(ServeError):
    """Trying again may help."""


def complete_url(address: str) -> str:
    """Complete what people type: ``host``, ``host:port``, ``http://host:port/`` or the address itself."""
    url = address.strip().rstrip("/")
    for page, stream in (("http://", "ws://"), ("https://", "wss://")):
        if url.startswith(page):
            url = stream + url.removeprefix(page)
    if not url.startswith(("ws://", "wss://")):
        url = f"ws://{url}"
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    if ":" not in netloc.rpartition("]")[2] and scheme == "ws":
        netloc += ":8765"
    return f"{scheme}://{netloc}/{path}" if slash else f"{scheme}://{netloc}{wire.STREAM_PATH}"
