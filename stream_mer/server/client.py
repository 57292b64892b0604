"""The Python client of ``mer.v1``.

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
import random
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from stream_mer.errors import ServeError, SettingError, TokenError, UnreachableError
from stream_mer.event_json import encode, kind_of
from stream_mer.server import messages as wire
from stream_mer.server.messages import decode_server
from stream_mer.server.subscriptions import DesiredSubscriptions
from stream_mer.types import ControlAction
from stream_mer.utils.quiet_logger import websockets_logger
from stream_mer.utils.sanitise import redact_address

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8765

DEFAULT_URL = f"ws://127.0.0.1:{DEFAULT_PORT}{wire.STREAM_PATH}"
"""Where ``stream-mer serve`` listens by default."""

MAX_MESSAGE_BYTES = 2**24
"""A ``ready`` holds the newest messages of every stream; a few hundred streams fit."""

MAX_STREAMS = 1024
"""Number of streams of one server whose ``seq`` a client remembers."""

FIRST_DELAY_S, MAX_DELAY_S = 0.25, 8.0
"""Back-off between attempts to connect: doubled each time, with jitter so that many clients spread."""

OPEN_TIMEOUT_S, PING_INTERVAL_S, PING_TIMEOUT_S = 10.0, 5.0, 10.0
"""Only a missing pong shows that a cable was pulled."""

_PERMANENT = frozenset(
    {
        wire.CloseCode.BAD_MESSAGE,
        wire.CloseCode.BAD_TOKEN,
        wire.CloseCode.FORBIDDEN,
        wire.CloseCode.NO_STREAM,
        wire.CloseCode.IDENTIFY_TIMEOUT,
    }
)
"""Close codes that another attempt would only repeat."""

_OF_TOKENS = frozenset({wire.CloseCode.BAD_TOKEN, wire.CloseCode.IDENTIFY_TIMEOUT})

_SCHEMES = {"": "ws", "ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}


def complete_url(address: str) -> str:
    """Complete the address of a server: ``host``, ``host:port``, the URL of the page or of the websocket.

    A path that ends with ``/`` is that of a page, which a reverse proxy may serve below a prefix.

    Raises:
        SettingError: It is not an address.
    """
    typed, _, rest = address.strip().rpartition("://")
    scheme = _SCHEMES.get(typed.lower())
    netloc, _, path = rest.partition("/")
    if scheme == "ws" and ":" not in netloc.rpartition("]")[2]:
        netloc += f":{DEFAULT_PORT}"
    if scheme is None or not _is_netloc(netloc):
        raise _bad_address(address)
    path, is_page = path.strip("/"), path.endswith("/") or not path
    if is_page and not f"/{path}".endswith(wire.STREAM_PATH):
        path = f"{path}{wire.STREAM_PATH}".lstrip("/")
    return f"{scheme}://{netloc}/{path}"


def _bad_address(address: str) -> SettingError:
    return SettingError(f"{redact_address(address)!r} is not the address of a server; one looks like {DEFAULT_URL}")


def _is_netloc(netloc: str) -> bool:
    try:
        parts = urlsplit(f"//{netloc}")
        (parts.hostname or "").encode("idna")  # as for the look-up; it refuses labels that are empty or too long
        return bool(parts.hostname) and parts.port != 0 and netloc.isprintable() and " " not in netloc
    except ValueError:  # the port is no number up to 65,535, or a bracket is missing
        return False


def client_tls_context(authorities: Path) -> ssl.SSLContext:
    """Return a context that trusts the servers certified by these certificates (PEM), and no others.

    Raises:
        SettingError: The file cannot be read, or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=authorities)
    except ssl.SSLError:
        raise SettingError(f"{authorities} holds no certificates: it must be a PEM file") from None
    except OSError as exc:
        raise SettingError(f"cannot read {authorities}: {exc.strerror or exc}") from None


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
        url: URL of the websocket; ``host``, ``host:port`` or the URL of the page are completed.
        token: The server's secret, if it has one.
        subscribe: What to get; None for emotion, lyrics, change and status of every stream.
        name: Name of this client, for the server's log.
        kind: Kind of client: ``visuals``, ``lights``, ...
        reconnect: After a connection is lost, reconnect for ever and resume, instead of ending the iteration. The first
            connection must succeed all the same.
        tls: How to check the certificate of a ``wss`` URL; None for the authorities that this machine trusts.

    Returns:
        The client; it connects on entering, and then raises ServeError if nothing answers or it is refused.

    Raises:
        SettingError: The address is not one, or ``subscribe`` holds something else than ``messages.Subscription``.
    """
    if not isinstance(url, str):
        raise SettingError(f"the address of a server is text such as {DEFAULT_URL}, not {url!r}")
    if subscribe is not None and not isinstance(subscribe, Sequence):
        subscribe = (subscribe,)  # the loop refuses it
    for one in subscribe or ():
        if not isinstance(one, wire.Subscription):
            raise SettingError(f"subscribe takes a list like [messages.Subscription(events=('levels',))], not {one!r}")
        if one.max_hz is not None and not one.max_hz > 0:
            raise SettingError(f"max_hz is a rate above 0, or None for all messages, not {one.max_hz!r}")
    identify = wire.Identify(token=token, client=wire.ClientPart(name=name, kind=kind))
    desired = DesiredSubscriptions(subscribe)
    return Client(complete_url(url), identify=identify, desired=desired, reconnect=reconnect, tls=tls)


class ResumePoint:
    """The last ``seq`` seen of each stream and kind: where to go on after a reconnection.

    Only the ``MAX_STREAMS`` streams that published last are kept: a server that invents a name for each message fills
    no memory.
    """

    def __init__(self) -> None:
        self._session: str | None = None
        self._last_seq: dict[str, dict[str, int]] = {}

    def on_message(self, message: wire.ServerMessage | None) -> None:
        """Note the ``seq`` of a message."""
        match message:
            case wire.Ready():
                for entry in message.snapshot:
                    self.on_message(entry.message)
            case wire.Emotion() | wire.Lyrics() | wire.Change() | wire.Status():
                counts = self._last_seq.pop(message.stream, {})
                counts[kind_of(message)] = message.seq
                self._last_seq[message.stream] = counts  # now the last to be dropped
                if len(self._last_seq) > MAX_STREAMS:
                    del self._last_seq[next(iter(self._last_seq))]

    def resume(self, hello: wire.Hello) -> wire.ResumePart | None:
        """Return where to go on after this ``hello``; None if nothing of its session was seen."""
        if hello.session != self._session:
            self._session = hello.session
            known = hello.streams[:MAX_STREAMS]
            self._last_seq = {stream: dict.fromkeys(wire.DEFAULT_KINDS, -1) for stream in known}
            return None
        return wire.ResumePart(session=hello.session, last_seq=self._last_seq)


def reconnect_delay_s(delay_s: float, last_error: wire.Error | None) -> float:
    """Return the time until the next attempt, seconds: the back-off with jitter, at least what the server requested."""
    asked_s = 0.0 if last_error is None else last_error.retry_after_s or 0.0
    return max(asked_s, delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads clients, it hides nothing


def batches(messages: Sequence[wire.ClientMessage], *, per_s: int) -> list[Sequence[wire.ClientMessage]]:
    """Split requests into batches to be sent one second apart.

    All at once could exceed the server's limit (``per_s`` messages in one of its seconds), after every reconnection.
    """
    size = max(1, per_s // 3)
    return [messages[i : i + size] for i in range(0, len(messages), size)]


class Client:
    """Yields the server's messages, ``hello`` first, each as its struct.

    Messages of a type that this version does not know are skipped; words that it does not know, such as a new
    ``status.source``, are passed on. After a reconnection ``hello`` and ``ready`` come again, then what was missed, as
    far as the server keeps it.

    Attributes:
        connected: True from entering until the connection is lost or left.
        hello: The newest ``hello``; None before entering.
    """

    def __init__(
        self,
        url: str,
        *,
        identify: wire.Identify,
        desired: DesiredSubscriptions,
        reconnect: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._shown_url = redact_address(url)
        self._identify = identify
        self._desired = desired
        self._reconnect = reconnect
        self._tls = tls
        self._entered = False
        self._is_ready = False
        self._socket: ClientConnection | None = None
        self._pending_hello: wire.Hello | None = None
        self._last_error: wire.Error | None = None
        self._resume_point = ResumePoint()
        self._ids = itertools.count(1)
        self.connected = False
        self.hello: wire.Hello | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._join()
        except _LostError as lost:
            kind = UnreachableError if isinstance(lost, _NoAnswerError) else ServeError
            raise kind(str(lost)) from None
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

    async def send_audio(self, data: bytes) -> None:
        """Send audio, after ``AudioStart``.

        Raises:
            ServeError: There is no connection now.
        """
        if self._socket is None or not self.connected:
            raise ServeError(f"there is no connection to {self._shown_url} now; wait for the next hello")
        try:
            await self._socket.send(data)
        except ConnectionClosed:
            raise ServeError(f"the connection to {self._shown_url} was lost; wait for the next hello") from None

    async def subscribe(self, *events: str, streams: Sequence[str] = (), max_hz: float | None = None) -> int:
        """Subscribe to more; kept after a reconnection.

        Args:
            events: Kinds of messages; none for the default ones.
            streams: Names of streams; none for all.
            max_hz: Maximum rate of ``emotion`` and ``levels`` of each stream, per second; None for all.

        Returns:
            The ``id`` of the ``result`` that comes among the messages.

        Raises:
            ServeError: There is no connection now.
        """
        message = wire.Subscribe(id=next(self._ids), streams=tuple(streams), events=events, max_hz=max_hz)
        return await self._change(message)

    async def unsubscribe(self, *events: str, streams: Sequence[str] = ()) -> int:
        """Unsubscribe; no events or streams means all. Returns the ``id`` of the ``result``.

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
        """Override the values of streams, or resume; for operators. Returns the ``id`` of the ``result``.

        Raises:
            ServeError: There is no connection now.
        """
        message = wire.Control(id=next(self._ids), action=action, streams=tuple(streams), override=override)
        await self.send(message)
        return int(message.id or 0)

    async def _change(self, message: wire.Subscribe | wire.Unsubscribe) -> int:
        await self.send(message)
        self._desired.add(message)
        return int(message.id or 0)

    async def __aiter__(self) -> AsyncIterator[wire.ServerMessage]:
        """Yield messages until the server closes; with ``reconnect``, until the client is left.

        Raises:
            ServeError: The server refused this client, or (without ``reconnect``) the connection broke.
        """
        if not self._entered:
            raise ServeError("enter a client before iterating it: async with connect(...) as client")
        delay_s = FIRST_DELAY_S
        while self._entered:
            try:
                if self._socket is None:
                    await self._join()
                    delay_s = FIRST_DELAY_S
                    if not self._entered:  # left by another task meanwhile
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
            await asyncio.sleep(reconnect_delay_s(delay_s, self._last_error))
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    async def _join(self) -> None:
        """Connect, and answer the server's ``hello``, which is yielded later."""
        self._last_error, self._is_ready = None, False
        socket = await self._open()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                first = decode_server(await socket.recv())
            match first:
                case wire.Hello():
                    await self._send_identify(socket, first)
                case wire.Error():
                    self._last_error = first
                    await socket.recv()
            if not self.connected:
                raise ServeError(f"{self._shown_url} answers, but not as stream-mer: its first message is no hello")
        except ConnectionClosed as closed:
            self._check_close(closed)
            raise _LostError(f"{self._shown_url} closed the connection immediately: {self._why(closed)}") from None
        except TimeoutError:
            raise _LostError(f"{self._shown_url} answers, but sends no hello; is it stream-mer serve?") from None
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
                logger=websockets_logger,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=2,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_TIMEOUT_S,
            )
        except InvalidURI:
            raise _bad_address(self._url) from None
        except InvalidStatus as exc:
            raise _LostError(
                f"{self._shown_url} answers, but not as stream-mer (HTTP {exc.response.status_code}); check the address"
            ) from None
        except ssl.SSLCertVerificationError as exc:
            raise ServeError(
                f"the certificate of {self._shown_url} is not trusted here: {exc.verify_message}; "
                "name the authority (stream-mer listen --ca FILE, in Python tls=...)"
            ) from None
        except InvalidMessage:
            raise _LostError(
                f"something at {self._shown_url} closes without an HTTP response; "
                "if the server has a certificate, use wss://"
            ) from None
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as exc:
            why = str(exc) or type(exc).__name__
            raise _NoAnswerError(
                f"nothing answers at {self._shown_url} ({why}); is stream-mer serve running there?"
            ) from None

    async def _messages(self) -> AsyncIterator[wire.ServerMessage]:
        socket = self._socket
        assert socket is not None  # noqa: S101 - narrows the type
        try:
            if self._pending_hello is not None:
                hello, self._pending_hello = self._pending_hello, None
                yield hello
            while True:
                message = decode_server(await socket.recv())
                match message:
                    case wire.Ready():
                        self._is_ready = True
                    case wire.Error():
                        self._last_error = message
                        self._check_identify(message)
                    case wire.Result(ok=False):
                        self._desired.discard(message.id)
                    case wire.Emotion() | wire.Lyrics() | wire.Change() | wire.Status() if not self._is_ready:
                        continue  # the default of one that has not identified; what is subscribed to comes after ready
                self._resume_point.on_message(message)
                if message is not None:
                    yield message
        except ConnectionClosed as closed:
            self._socket = None
            self.connected = False
            self._check_close(closed)

    async def _send_identify(self, socket: ClientConnection, hello: wire.Hello) -> None:
        self.hello = self._pending_hello = hello
        first, later = self._desired.requests()
        resume = self._resume_point.resume(hello)
        identify = msgspec.structs.replace(self._identify, subscribe=first, resume=resume)
        if len(encode(identify)) > hello.limits.max_message_bytes:
            # With a hundred streams the numbers do not fit; what was missed stays missed.
            identify = msgspec.structs.replace(identify, resume=None)
        for number, messages in enumerate(batches((identify, *later), per_s=hello.limits.max_messages_per_s)):
            await asyncio.sleep(min(number, 1.0))  # none before the first
            for message in messages:
                await socket.send(encode(message), text=True)
        self.connected = True

    def _check_identify(self, error: wire.Error) -> None:
        """Raise ServeError if the server did not accept ``identify``, which is the first message of a connection."""
        if not (self._is_ready or error.fatal) and error.code == wire.CloseCode.BAD_MESSAGE:
            raise ServeError(f"{self._shown_url} refused what this client asks for: {error.message}")

    def _check_close(self, closed: ConnectionClosed) -> None:
        """Return if the server closed normally.

        Raises:
            ServeError: It refused this client; as ``_LostError`` if another attempt may help.
        """
        code = closed.rcvd.code if closed.rcvd is not None else None
        if code in {1000, wire.CloseCode.GOING_AWAY, wire.CloseCode.RESTART}:
            return
        if code in _PERMANENT:
            refused = TokenError if code in _OF_TOKENS else ServeError
            raise refused(f"{self._shown_url} closed the connection: {self._why(closed)}")
        raise _LostError(f"the connection to {self._shown_url} was lost: {self._why(closed)}")

    def _why(self, closed: ConnectionClosed) -> str:
        last = self._last_error
        return last.message if last is not None and last.fatal else str(closed)


class _LostError(ServeError):
    """Another attempt may help."""


class _NoAnswerError(_LostError):
    """Nothing answers at the address."""
