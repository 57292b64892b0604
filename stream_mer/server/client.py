"""A small client of ``mer.v1`` in Python: for ``stream-mer listen``, for tests, and for programs of others.

::

    from stream_mer import connect

    async with connect("ws://127.0.0.1:8765") as client:
        async for message in client:
            print(message)
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from stream_mer.errors import ServeError, SettingError
from stream_mer.server import messages as wire
from stream_mer.server.address import DEFAULT_URL, complete_url, no_address
from stream_mer.server.codec import decode_server, encode
from stream_mer.server.coming_back import Seen, Wishes, in_turns, pause_s
from stream_mer.server.library_log import library_logger
from stream_mer.types import ControlAction
from stream_mer.utils.redaction import redact_address

logger = logging.getLogger(__name__)

LARGEST_MESSAGE_BYTES = 2**24
"""A ``ready`` holds the newest messages of every stream; a few hundred streams fit."""

FIRST_DELAY_S, LAST_DELAY_S = 0.25, 8.0
"""Back-off between attempts to connect: doubled each time, less a random part so that many clients spread."""

OPEN_WITHIN_S, PING_EVERY_S, ANSWER_WITHIN_S = 10.0, 5.0, 10.0
"""A cable that was pulled closes nothing; only the missing answer to a ping tells."""

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


def connect(
    url: str = DEFAULT_URL,
    *,
    token: str | None = None,
    subscribe: Sequence[wire.Subscription] | None = None,
    name: str = "",
    kind: str = "python",
    reconnect: bool = True,
    tls: ssl.SSLContext | None = None,
) -> Client:
    """Return a client to be entered with ``async with`` and iterated with ``async for``.

    Args:
        url: Address of the websocket; ``host``, ``host:port`` or that of the page are completed.
        token: The server's secret, if it has one.
        subscribe: What to get; None for emotion, lyrics, change and status of every stream.
        name: What the server's people may call this client.
        kind: What it is: ``visuals``, ``lights``, ...
        reconnect: After a connection is lost, try again for ever and resume, instead of ending the iteration. The
            first connection must succeed all the same.
        tls: How to check the certificate of a ``wss`` address; None for the authorities that this machine trusts.

    Raises:
        SettingError: The address is none, or what to get is no ``messages.Subscription``.
        ServeError: On entering: nothing answers there, or it has no place for this client.
    """
    for wish in subscribe or ():
        if not isinstance(wish, wire.Subscription):
            raise SettingError(f"subscribe takes a list like [messages.Subscription(events=('levels',))], not {wish!r}")
    identify = wire.Identify(token=token, client=wire.ClientPart(name=name, kind=kind))
    return Client(complete_url(url), identify=identify, wishes=Wishes(subscribe), reconnect=reconnect, tls=tls)


class Client:
    """Yields the server's messages, ``hello`` first, each as its struct.

    Messages of a type that this version does not know are skipped. After a reconnection ``hello`` and ``ready`` come
    again, then what was missed, as far as the server remembers it.

    Attributes:
        connected: True on entering, and until the connection is lost or left.
        hello: The newest ``hello``; None before entering.
    """

    def __init__(
        self,
        url: str,
        *,
        identify: wire.Identify,
        wishes: Wishes,
        reconnect: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._shown_url = redact_address(url)
        self._identify = identify
        self._wishes = wishes
        self._reconnect = reconnect
        self._tls = tls
        self._entered = False
        self._socket: ClientConnection | None = None
        self._untold: wire.Hello | None = None
        self._last_error: wire.Error | None = None
        self._seen = Seen()
        self._ids = itertools.count(1)
        self.connected = False
        self.hello: wire.Hello | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._join()
        except _LostError as lost:
            raise ServeError(str(lost)) from None
        self._entered = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = False
        await self._leave()

    async def _leave(self) -> None:
        self.connected = False
        if self._socket is not None:
            await self._socket.close()

    async def send(self, message: wire.ClientMessage) -> None:
        """Send a message.

        Raises:
            ServeError: There is no connection now.
        """
        if self._socket is None or not self.connected:
            raise ServeError(f"there is no connection to {self._shown_url} now; wait for the next hello")
        try:
            await self._socket.send(encode(message), text=True)
        except ConnectionClosed:
            raise ServeError(f"the connection to {self._shown_url} was lost; wait for the next hello") from None

    async def subscribe(self, *events: str, streams: Sequence[str] = (), max_hz: float | None = None) -> int:
        """Ask for more; returns the ``id`` of the ``result`` that comes among the messages. Kept after a reconnection.

        Args:
            events: Kinds of messages; none for the default ones.
            streams: Names of streams; none for all.
            max_hz: At most so many ``emotion`` and ``levels`` a second of each stream.

        Raises:
            ServeError: There is no connection now.
        """
        message = wire.Subscribe(id=next(self._ids), streams=tuple(streams), events=events, max_hz=max_hz)
        return await self._change(message)

    async def unsubscribe(self, *events: str, streams: Sequence[str] = ()) -> int:
        """Ask for less; none named means all. Returns the ``id`` of the ``result``.

        Raises:
            ServeError: There is no connection now.
        """
        return await self._change(wire.Unsubscribe(id=next(self._ids), streams=tuple(streams), events=events))

    async def control(
        self,
        action: ControlAction,
        *,
        streams: Sequence[str] = (),
        override: wire.OverridePart | None = None,
    ) -> int:
        """Hold the values of streams, or give them back; for operators. Returns the ``id`` of the ``result``.

        Raises:
            ServeError: There is no connection now.
        """
        message = wire.Control(id=next(self._ids), action=action, streams=tuple(streams), override=override)
        await self.send(message)
        return int(message.id or 0)

    async def _change(self, message: wire.Subscribe | wire.Unsubscribe) -> int:
        await self.send(message)
        self._wishes.add(message)
        return int(message.id or 0)

    async def __aiter__(self) -> AsyncIterator[wire.ServerMessage]:
        """Yield messages until the server goes away in peace; with ``reconnect``, until the client is left.

        Raises:
            ServeError: The server refused this client, or (without ``reconnect``) the connection broke.
        """
        if not self._entered:
            raise ServeError("a client is entered before it is iterated: async with connect(...) as client")
        delay_s = FIRST_DELAY_S
        while self._entered:
            try:
                if self._socket is None:
                    await self._join()
                    delay_s = FIRST_DELAY_S
                    if not self._entered:  # left by another task in the meantime
                        await self._leave()
                        return
                async for message in self._messages():
                    yield message
            except _LostError as lost:
                if not self._reconnect:
                    raise ServeError(str(lost)) from None
                logger.info("%s; trying again", lost)
            if not (self._reconnect and self._entered):
                return
            await asyncio.sleep(pause_s(delay_s, self._last_error))
            delay_s = min(2 * delay_s, LAST_DELAY_S)

    async def _join(self) -> None:
        """Connect and answer the server's ``hello``, which is yielded later."""
        self._last_error = None
        socket = await self._open()
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                first = decode_server(await socket.recv())
            match first:
                case wire.Hello():
                    await self._begin(socket, first)
                case wire.Error():
                    self._last_error = first
                    await socket.recv()
            if not self.connected:
                raise ServeError(f"{self._shown_url} answers, but not as stream-mer: it begins without a hello")
        except ConnectionClosed as closed:
            self._judge(closed)
            raise _LostError(f"{self._shown_url} closed the connection at once: {self._why(closed)}") from None
        except TimeoutError:
            raise _LostError(f"{self._shown_url} answers, but says no hello; is it stream-mer serve?") from None
        finally:
            if not self.connected:
                await socket.close()
        self._socket = socket

    async def _open(self) -> ClientConnection:
        try:
            return await websocket_connect(
                self._url,
                subprotocols=[Subprotocol(wire.SUBPROTOCOL)],
                ssl=(self._tls or True) if self._url.startswith("wss:") else None,
                compression=None,
                logger=library_logger,
                max_size=LARGEST_MESSAGE_BYTES,
                open_timeout=OPEN_WITHIN_S,
                close_timeout=2,
                ping_interval=PING_EVERY_S,
                ping_timeout=ANSWER_WITHIN_S,
            )
        except InvalidURI:
            raise no_address(self._url) from None
        except InvalidStatus as exc:
            raise _LostError(
                f"{self._shown_url} answers, but not as stream-mer (HTTP {exc.response.status_code}); check the address"
            ) from None
        except ssl.SSLCertVerificationError as exc:
            raise ServeError(
                f"the certificate of {self._shown_url} is not trusted here: {exc.verify_message}; "
                "say who vouches for it (stream-mer listen --ca FILE, in Python tls=...)"
            ) from None
        except InvalidMessage:
            raise _LostError(
                f"something at {self._shown_url} hangs up without a word of HTTP; "
                "if the server has a certificate, its address begins with wss://"
            ) from None
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as exc:
            why = str(exc) or type(exc).__name__
            raise _LostError(
                f"nothing answers at {self._shown_url} ({why}); is stream-mer serve running there?"
            ) from None

    async def _messages(self) -> AsyncIterator[wire.ServerMessage]:
        socket = self._socket
        assert socket is not None  # noqa: S101 - narrows the type
        try:
            if self._untold is not None:
                hello, self._untold = self._untold, None
                yield hello
            while True:
                message = decode_server(await socket.recv())
                match message:
                    case wire.Error():
                        self._last_error = message
                    case wire.Result(ok=False):
                        self._wishes.forget(message.id)
                self._seen.take(message)
                if message is not None:
                    yield message
        except ConnectionClosed as closed:
            self._socket = None
            self.connected = False
            self._judge(closed)

    async def _begin(self, socket: ClientConnection, hello: wire.Hello) -> None:
        self.hello = self._untold = hello
        first, later = self._wishes.again()
        resume = self._seen.resume(hello)
        identify = msgspec.structs.replace(self._identify, subscribe=first, resume=resume)
        if len(encode(identify)) > hello.limits.max_message_bytes:
            # With a hundred streams the numbers of all of them are too much to be read; what was missed stays missed.
            identify = msgspec.structs.replace(identify, resume=None)
        for turn, messages in enumerate(in_turns((identify, *later), per_s=hello.limits.max_messages_per_s)):
            await asyncio.sleep(min(turn, 1.0))  # none before the first
            for message in messages:
                await socket.send(encode(message), text=True)
        self.connected = True

    def _judge(self, closed: ConnectionClosed) -> None:
        """Return if the end was peaceful; raise why not otherwise."""
        code = closed.rcvd.code if closed.rcvd is not None else None
        if code in {1000, wire.CloseCode.GOING_AWAY, wire.CloseCode.RESTART}:
            return
        if code in _GIVE_UP_ON:
            raise ServeError(f"{self._shown_url} closed the connection: {self._why(closed)}")
        raise _LostError(f"the connection to {self._shown_url} was lost: {self._why(closed)}")

    def _why(self, closed: ConnectionClosed) -> str:
        last = self._last_error
        return last.message if last is not None and last.fatal else str(closed)


class _LostError(ServeError):
    """Trying again may help."""
