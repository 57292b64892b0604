"""How the server ends a conversation: it says why, then closes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from stream_mer.server import messages as wire
from stream_mer.server.codec import encode

_LONGEST_REASON = 120
"""Bytes that fit into a close frame beside its code (RFC 6455, 5.5), less a little."""


class Socket(Protocol):
    """What a session needs of a websocket; each coroutine may raise whatever says that the other side is gone.

    ``write`` sends at once and returns False where it cannot; ``send`` waits until it can.
    """

    def write(self, message: bytes) -> bool: ...

    async def send(self, message: bytes) -> None: ...

    async def recv(self) -> str | bytes: ...

    async def close(self, code: int, reason: str) -> None: ...


class Goodbye(Exception):  # noqa: N818 - it ends a conversation; most often nothing is wrong
    """The server ends the conversation.

    Attributes:
        code: Close code.
        message: What happened and what to do, for the client's people.
        retry_after_s: When to come back; None for not as things are.
    """

    def __init__(self, code: wire.CloseCode, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


def first_goodbye(group: BaseExceptionGroup[Goodbye]) -> Goodbye:
    """Return the first of those that ended a conversation at the same time."""
    for exc in group.exceptions:
        return first_goodbye(exc) if isinstance(exc, BaseExceptionGroup) else exc
    raise AssertionError("a group of exceptions is never empty")


async def part(socket: Socket, goodbye: Goodbye, *, timeout_s: float) -> None:
    """Tell a client why, then close; give up on one that takes neither within ``timeout_s`` seconds each."""
    error = wire.Error(code=goodbye.code, message=goodbye.message, fatal=True, retry_after_s=goodbye.retry_after_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await socket.send(encode(error))
    reason = goodbye.message.encode()[:_LONGEST_REASON].decode(errors="ignore")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await socket.close(goodbye.code, reason)
