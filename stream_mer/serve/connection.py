"""A websocket that writes at once while the other side keeps up, and waits only for one that does not.

``send`` of websockets costs every message of every client a frame of its own and a switch of tasks. Frames from a
server are not masked and here not compressed, so the frame of a message is the same for all clients: it is made once
and written straight into each transport that has nothing waiting. Only a client that reads too slowly is left to
``send``, which waits for it.
"""

from __future__ import annotations

from functools import lru_cache

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State


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
        if self._websocket.protocol.state is not State.OPEN or self._transport.get_write_buffer_size():
            return False
        self._transport.write(text_frame(message))
        return True

    async def send(self, message: bytes) -> None:
        """Write a text message, waiting until the client has taken what came before.

        Raises:
            ConnectionClosed: The client is gone.
        """
        await self._websocket.send(message, text=True)

    async def recv(self) -> str | bytes:
        """Return the next message of the client.

        Raises:
            ConnectionClosed: The client is gone.
        """
        return await self._websocket.recv()

    async def close(self, code: int, reason: str) -> None:
        await self._websocket.close(code, reason)


@lru_cache(maxsize=8)
def text_frame(message: bytes) -> bytes:
    """Return the frame of a text message from a server; it is remembered for the other clients of the same message."""
    return Frame(Opcode.TEXT, message).serialize(mask=False)
