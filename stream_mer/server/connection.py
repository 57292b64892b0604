"""A websocket that writes at once while the other side keeps up, and waits only for one that does not.

``send`` of websockets costs every message of every client a frame of its own and a switch of tasks. Frames from a
server are not masked and here not compressed, so the frame of a message is the same for all clients: it is made once
and written straight into each transport that has nothing waiting. Only a client that reads too slowly is left to
``send``, which waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, State


class Websocket(ServerConnection):
    """A websocket that is read from no faster than is good for everybody else.

    The library answers each ping at once and takes fragments without end, before any limit on messages is asked. A
    client that reads no answers would fill the memory as fast as it can send; one that does would keep the loop busy.

    Args:
        most_frames_per_s: After so many frames of all kinds nothing is read for the rest of the second.
        is_crowded: Tells of a new connection whether there are too many: then it is cut before it said a word.
        *args: Those of ``ServerConnection``.
        **kwargs: Those of ``ServerConnection``.
    """

    def __init__(self, *args: Any, most_frames_per_s: int, is_crowded: Callable[[], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_crowded = is_crowded
        self._most_frames_per_s = most_frames_per_s
        self._frames_this_second = 0
        self._second_ends_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once it can be read from."""
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
        if self._frames_this_second > self._most_frames_per_s and self.transport.is_reading():
            self.transport.pause_reading()
            self.loop.call_at(self._second_ends_s, self._read_on)

    def pause_writing(self) -> None:
        """Called when more waits for the kernel than ``write_limit``."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called when the client has caught up."""
        super().resume_writing()
        self._read_on()

    def _read_on(self) -> None:
        if not (self.paused or self.recv_messages.paused):
            self.transport.resume_reading()


class Connection:
    """One client's websocket as a session uses it.

    Args:
        websocket: The open connection; without extensions.
    """

    def __init__(self, websocket: ServerConnection) -> None:
        self._websocket = websocket
        self._transport = websocket.transport

    def write(self, message: bytes) -> bool:
        """Write a text message at once; False, and nothing done, if the client has not taken what came before."""
        transport = self._transport
        # One that broke a moment ago is still open for the library, which will be told in the next turn of the loop.
        if (
            self._websocket.protocol.state is not State.OPEN
            or transport.is_closing()
            or transport.get_write_buffer_size()
        ):
            return False
        transport.write(text_frame(message))
        return True

    async def send(self, message: bytes) -> None:
        """Write a text message, waiting until the client has taken what came before.

        Raises:
            ConnectionClosed: The client is gone.
        """
        with self._gone_for_good():
            await self._websocket.send(message, text=True)

    async def recv(self) -> str | bytes:
        """Return the next message of the client.

        Raises:
            ConnectionClosed: The client is gone.
        """
        with self._gone_for_good():
            return await self._websocket.recv()

    async def close(self, code: int, reason: str) -> None:
        with self._gone_for_good():
            await self._websocket.close(code, reason)

    def abort(self) -> None:
        """Cut the connection, whatever waits; idempotent."""
        with contextlib.suppress(AttributeError):  # see below
            self._transport.abort()

    @contextlib.contextmanager
    def _gone_for_good(self) -> Iterator[None]:
        """Say that the client is gone where asyncio stumbles over it.

        A transport that was closed while bytes waited in it, and has sent them since, has forgotten its loop (Python
        3.11 to 3.13 at least): ``abort``, which websockets calls then to be on the safe side, raises AttributeError.
        """
        try:
            yield
        except AttributeError:
            if self._websocket.state is not State.CLOSED:
                raise
            raise self._websocket.protocol.close_exc from None


@lru_cache(maxsize=8)
def text_frame(message: bytes) -> bytes:
    """Return the frame of a text message from a server; it is remembered for the other clients of the same message."""
    return Frame(Opcode.TEXT, message).serialize(mask=False)
