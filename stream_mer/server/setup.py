"""Set-up over the websocket: what a server needs of the program that sets it up, and the requests of one operator."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from msgspec import UNSET

from stream_mer.errors import StreamMerError
from stream_mer.server import messages as wire

logger = logging.getLogger(__name__)

MAX_WAITING = 16
"""Requests of one client that may wait; each may take seconds."""

_POLL_S = 0.1


class SetupClient(Protocol):
    """An operator's connection."""

    def send(self, update: wire.SetupUpdate) -> None:
        """Send what changed, in the event loop's thread. For a slow client the newest of each part wins."""


class SetupHandler(Protocol):
    """Carries out requests; all methods are called in the event loop's thread."""

    async def handle(self, request: wire.Setup, client: SetupClient) -> wire.SetupPart | None:
        """Carry out a request.

        Raises:
            StreamMerError: It cannot be carried out; the message says why.
        """

    def leave(self, client: SetupClient) -> None:
        """Send nothing more to a client; idempotent."""


class SetupRequests:
    """The requests of one operator, which are carried out one after another beside everything else.

    Args:
        handler: Carries them out.
        answer: Sends a message to the client.
        is_blocked: Tells whether the client does not keep up with what is sent to it.
    """

    def __init__(
        self, handler: SetupHandler, *, answer: Callable[[wire.Message], None], is_blocked: Callable[[], bool]
    ) -> None:
        self._handler = handler
        self._answer = answer
        self._is_blocked = is_blocked
        self._waiting: asyncio.Queue[wire.Setup] = asyncio.Queue(MAX_WAITING)
        self._updates: dict[str, wire.SetupUpdate] = {}  # the newest of each part
        self._has_updates = asyncio.Event()

    def put(self, request: wire.Setup) -> bool:
        """Take a request; False if too many wait."""
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            return False
        return True

    def send(self, update: wire.SetupUpdate) -> None:
        """Implement ``SetupClient``."""
        part = next(name for name in update.__struct_fields__ if getattr(update, name) is not None)
        self._updates[part] = update
        self._has_updates.set()

    async def run(self) -> None:
        """Carry out requests and send updates until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._handle_requests())
                tasks.create_task(self._send_updates())
        finally:
            self._handler.leave(self)

    async def _handle_requests(self) -> None:
        while True:
            request = await self._waiting.get()
            self._answer(await self._handle(request))

    async def _handle(self, request: wire.Setup) -> wire.Result:
        try:
            part = await self._handler.handle(request, self)
        except StreamMerError as error:
            refusal = wire.RefusalPart(code=wire.CloseCode.BAD_MESSAGE, message=str(error))
        except Exception:
            logger.exception("set-up failed: %s", request.action)
            message = "the server failed; its log says how"
            refusal = wire.RefusalPart(code=wire.CloseCode.INTERNAL_ERROR, message=message)
        else:
            return wire.Result(id=request.id, ok=True, setup=UNSET if part is None else part)
        return wire.Result(id=request.id, ok=False, error=refusal)

    async def _send_updates(self) -> None:
        while True:
            await self._has_updates.wait()
            while self._is_blocked():  # noqa: ASYNC110 - a slow client is rare
                await asyncio.sleep(_POLL_S)
            self._has_updates.clear()
            updates, self._updates = self._updates, {}
            for update in updates.values():
                self._answer(update)
