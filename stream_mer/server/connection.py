"""One client's websocket: written immediately while the client keeps up, awaited only if it does not.

``send`` of websockets costs every message of every client a frame of its own and a switch of tasks. Frames from a
server are neither masked nor, here, compressed, so the frame of a message is the same for all clients: it is built once
and written into each transport that has nothing waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.protocol import Event, State

from stream_mer.event_json import encode
from stream_mer.server import messages as wire

MAX_REASON_BYTES = 120
"""A close frame holds 123 bytes beside its code (RFC 6455, 5.5)."""


class CloseConnection(Exception):  # noqa: N818 - it ends a connection; usually nothing is wrong
    """The server ends a connection.

    Attributes:
        code: Close code.
        message: What happened and what to do, for the people who run the client.
        retry_after_s: When to reconnect, seconds; None if that would not help.
    """

    def __init__(self, code: wire.CloseCode, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

    @classmethod
    def first_of(cls, group: BaseExceptionGroup[CloseConnection]) -> CloseConnection:
        """Return the first exception of a group."""
        first = group.exceptions[0]
        return cls.first_of(first) if isinstance(first, BaseExceptionGroup) else first


class Websocket(ServerConnection):
    """A websocket that is read no faster than the other clients can bear.

    The library answers each ping and accepts any number of fragments, before any limit on messages applies. A client
    that does not read the answers would fill the memory; one that does would keep the event loop busy.

    Args:
        max_frames_per_s: After this many frames of all kinds nothing is read for the rest of the second.
        is_crowded: Tells whether there are too many connections; then a new one is cut.
        *args: Those of ``ServerConnection``.
        **kwargs: Those of ``ServerConnection``.
    """

    def __init__(self, *args: Any, max_frames_per_s: int, is_crowded: Callable[[], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_crowded = is_crowded
        self._max_frames_per_s = max_frames_per_s
        self._frames_this_second = 0
        self._second_ends_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once the connection is open."""
        super().connection_made(transport)
        if self._is_crowded():
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        """Called with the request and then with each frame."""
        super().process_event(event)
        now_s = self.loop.time()
        if now_s >= self._second_ends_s:
            self._second_ends_s, self._frames_this_second = now_s + 1.0, 0
        self._frames_this_second += 1
        if self._frames_this_second > self._max_frames_per_s and self.transport.is_reading():
            self.transport.pause_reading()
            self.loop.call_at(self._second_ends_s, self._resume_reading)

    def pause_writing(self) -> None:
        """Called when more waits for the kernel than ``write_limit``."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called when the client has caught up."""
        super().resume_writing()
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self.paused or self.recv_messages.paused):
            self.transport.resume_reading()


class Connection:
    """One client's websocket as a session uses it.

    Args:
        websocket: The open connection, without extensions.
    """

    def __init__(self, websocket: ServerConnection) -> None:
        self._websocket = websocket
        self._transport = websocket.transport

    def write(self, messages: Sequence[bytes]) -> bool:
        """Write text messages now; return False, and write nothing, if earlier ones still wait for the client."""
        transport = self._transport
        # A connection that broke a moment ago is open for the library until the next iteration of the event loop.
        if (
            self._websocket.protocol.state is not State.OPEN
            or transport.is_closing()
            or transport.get_write_buffer_size()
        ):
            return False
        transport.write(text_frame(messages[0]) if len(messages) == 1 else b"".join(map(text_frame, messages)))
        return True

    async def send(self, message: bytes) -> None:
        """Write a text message, waiting until the client has taken what came before.

        Raises:
            ConnectionClosed: The connection is closed.
        """
        with self._connection_errors():
            await self._websocket.send(message, text=True)

    async def recv(self) -> str | bytes:
        """Return the next message of the client.

        Raises:
            ConnectionClosed: The connection is closed.
        """
        with self._connection_errors():
            return await self._websocket.recv()

    async def close(self, why: CloseConnection, *, timeout_s: float) -> None:
        """Send an ``error`` that says why, then close; wait at most ``timeout_s`` seconds for each.

        Raises:
            ConnectionClosed: The client closed first.
        """
        error = wire.Error(code=why.code, message=why.message, fatal=True, retry_after_s=why.retry_after_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.send(encode(error))
        reason = why.message.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        with contextlib.suppress(TimeoutError), self._connection_errors():
            async with asyncio.timeout(timeout_s):
                await self._websocket.close(why.code, reason)

    def abort(self) -> None:
        """Cut the connection, whatever waits; idempotent."""
        with contextlib.suppress(AttributeError):  # see below
            self._transport.abort()

    @contextlib.contextmanager
    def _connection_errors(self) -> Iterator[None]:
        """Raise ConnectionClosed where asyncio raises AttributeError for a connection that is closed.

        A transport that was closed while bytes waited in it, and has sent them since, has forgotten its loop (Python
        3.11 to 3.13 at least): ``abort``, which websockets calls then, raises AttributeError.
        """
        try:
            yield
        except AttributeError:
            if self._websocket.state is not State.CLOSED:
                raise
            raise self._websocket.protocol.close_exc from None


@lru_cache(maxsize=8)
def text_frame(message: bytes) -> bytes:
    """Return the frame of a text message from a server (RFC 6455, 5.2): final, neither masked nor compressed.

    Cached for the other clients that get the same message.
    """
    length = len(message)
    if length < 126:
        return b"\x81%c%b" % (length, message)
    if length < 1 << 16:
        return b"\x81\x7e%b%b" % (length.to_bytes(2), message)
    return b"\x81\x7f%b%b" % (length.to_bytes(8), message)
