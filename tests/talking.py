"""A websocket client that speaks JSON, for tests of a server; import it as ``from talking import ...``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import websockets.asyncio.client
from helpers import PATIENCE_S
from websockets.exceptions import ConnectionClosed

from stream_mer.server.server import Server

Message = dict[str, Any]


class Talk:
    """Sends and reads messages, one JSON object at a time.

    Attributes:
        socket: The websocket below.
    """

    def __init__(self, socket: websockets.asyncio.client.ClientConnection) -> None:
        self.socket = socket

    async def read(self) -> Message:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            message: Message = json.loads(await self.socket.recv())
            return message

    async def until(self, kind: str, **fields: object) -> Message:
        """The next message of this type with these fields; others are passed over."""
        while True:
            message = await self.read()
            if message["type"] == kind and fields.items() <= message.items():
                return message

    async def send(self, data: str | bytes) -> None:
        """Send text or bytes as they are; nothing happens where the server has closed."""
        with contextlib.suppress(ConnectionClosed):
            await self.socket.send(data)

    async def say(self, kind: str, **fields: object) -> None:
        """Send a message."""
        await self.send(json.dumps({"type": kind, **fields}))

    async def ask(self, kind: str, **fields: object) -> Message:
        """Send a request and return its answer."""
        await self.say(kind, **fields)
        return await self.until("ready" if kind == "identify" else "result")

    async def all_so_far(self) -> list[Message]:
        """Everything that was sent before a ping of now."""
        await self.say("ping", id="so far")
        messages = []
        while (message := await self.read())["type"] != "pong":
            messages.append(message)
        return messages

    async def closed_with(self) -> tuple[list[Message], int | None]:
        """Read to the end; return what came, and the close code."""
        messages = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                messages.append(await self.read())
        return messages, self.socket.close_code


@contextlib.asynccontextmanager
async def talking(server: Server | str, **options: Any) -> AsyncIterator[Talk]:
    """Connect to a server, or to a URL; options are those of websockets."""
    url = server if isinstance(server, str) else server.stream_url
    async with websockets.asyncio.client.connect(url, **options) as socket:
        yield Talk(socket)
