"""The conversation with one client, over anything that sends and receives messages.

Five tasks: one reads, one writes what the outbox holds, one watches for a write that takes too long, one waits for the
time to identify to pass, one for the server to end. Whichever ends first ends the others; every end that is ours says
why in an ``error`` before the close.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import Protocol

from stream_mer.errors import ServeError
from stream_mer.serve import messages as wire
from stream_mer.serve.codec import decode_client, encode
from stream_mer.serve.hub import DEFAULT_INTEREST, Hub, grant
from stream_mer.serve.ingest import Ingest, Inlet
from stream_mer.serve.outbox import Outbox
from stream_mer.serve.settings import ServeSettings
from stream_mer.serve.wake import LoopWaker

logger = logging.getLogger(__name__)

_LONGEST_REASON = 120
"""Bytes that fit into a close frame beside its code (RFC 6455, 5.5), less a little."""


class Socket(Protocol):
    """What a session needs of a websocket; each method may raise whatever says that the other side is gone."""

    async def send(self, message: bytes, *, text: bool) -> None: ...

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


class RateLimit:
    """Messages of one kind that a client may send in one second.

    Args:
        per_s: At most.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = 0
        self._messages_this_second = 0

    def count(self, now: float) -> None:
        """Count a message that came at ``now``, monotonic seconds.

        Raises:
            Goodbye: It was one too many.
        """
        if int(now) != self._second:
            self._second, self._messages_this_second = int(now), 0
        self._messages_this_second += 1
        if self._messages_this_second > self._per_s:
            raise Goodbye(
                wire.CloseCode.TOO_MANY_MESSAGES,
                f"more than {self._per_s} messages in one second; send fewer",
                retry_after_s=5.0,
            )


class Session:
    """One client, from ``hello`` to the close.

    Args:
        socket: The open websocket.
        hub: Where events come from.
        settings: Limits, token and times.
        hello: The first message.
        waker: Wakes the writer from the hub's threads.
        authorised: True if the client has shown the token already, in a header.
        inlets: Streams that take audio from clients, by name.
    """

    def __init__(
        self,
        *,
        socket: Socket,
        hub: Hub,
        settings: ServeSettings,
        hello: wire.Hello,
        waker: LoopWaker,
        authorised: bool = False,
        inlets: Mapping[str, Inlet] | None = None,
    ) -> None:
        self._socket = socket
        self._hub = hub
        self._settings = settings
        self._hello = hello
        self._authorised = authorised or settings.token is None
        self._client_id = secrets.token_hex(4)
        self._identified = False
        self._something_waits = asyncio.Event()
        self._outbox = Outbox(capacity=settings.queued_messages, wake=lambda: waker.wake(self._something_waits))
        self._goodbye: asyncio.Future[Goodbye] = asyncio.get_running_loop().create_future()
        self._sending_since: float | None = None
        self._ingest = Ingest(inlets or {})
        self._texts = RateLimit(settings.max_messages_per_s)
        self._audio = RateLimit(settings.max_audio_messages_per_s)

    async def run(self) -> None:
        """Talk until one side ends. Raises what the socket raises when the other side went."""
        try:
            await self._talk()
        except* Goodbye as goodbyes:
            goodbye = _first(goodbyes)
            logger.debug("client %s: closing with %d: %s", self._client_id, goodbye.code, goodbye.message)
            await part(self._socket, goodbye, timeout_s=self._settings.close_timeout_s)
        finally:
            self._ingest.end()
            self._hub.detach(self._outbox)

    def end(self, goodbye: Goodbye) -> None:
        """End the conversation from the server's side; idempotent. To be called in the loop's thread."""
        if not self._goodbye.done():
            self._goodbye.set_result(goodbye)

    async def _talk(self) -> None:
        self._outbox.put_ordered(encode(self._hello))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            tasks.create_task(self._watch_for_stuck())
            tasks.create_task(self._read())
            tasks.create_task(self._await_identify())
            tasks.create_task(self._await_end())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._something_waits.wait()
            self._something_waits.clear()
            while (data := self._outbox.take()) is not None:
                self._sending_since = loop.time()
                await self._socket.send(data, text=True)
                self._sending_since = None

    async def _watch_for_stuck(self) -> None:
        # A watch for each client and not a time-out around each message: with 1,000 clients at 10 Hz those took a
        # quarter of the server's processor time.
        stuck_after_s = self._settings.stuck_after_s
        while True:
            await asyncio.sleep(stuck_after_s / 4)
            since = self._sending_since
            if since is not None and asyncio.get_running_loop().time() - since >= stuck_after_s:
                raise Goodbye(
                    wire.CloseCode.TOO_SLOW,
                    f"this client took nothing for {stuck_after_s:g} seconds; read faster",
                    retry_after_s=1.0,
                )

    async def _read(self) -> None:
        while True:
            data = await self._socket.recv()
            now = asyncio.get_running_loop().time()
            if isinstance(data, bytes):
                self._audio.count(now)
                self._hear(data)
                continue
            self._texts.count(now)
            match message := self._decode(data):
                case wire.Identify():
                    self._identify(message)
                case wire.Ping():
                    self._outbox.put_ordered(encode(wire.Pong(id=message.id, t=message.t)))
                case wire.AudioStart():
                    self._require_token()
                    self._answer(self._ingest.start(message))
                case wire.AudioEnd():
                    self._ingest.end()
                case wire.Pong():
                    pass

    def _hear(self, data: bytes) -> None:
        bad, limit = wire.CloseCode.BAD_MESSAGE, self._settings.max_audio_bytes
        if not self._ingest.is_open:
            raise Goodbye(bad, "a binary message makes no sense here; send JSON as text, or audio.start before audio")
        if len(data) > limit:
            raise Goodbye(bad, f"{len(data)} bytes of audio are too much for one message; at most {limit} bytes")
        self._answer(self._ingest.feed(data))

    def _answer(self, refusal: wire.Error | None) -> None:
        if refusal is not None:
            self._outbox.put_ordered(encode(refusal))

    def _decode(self, data: str) -> wire.ClientMessage:
        bad = wire.CloseCode.BAD_MESSAGE
        size, limit = len(data.encode()), self._settings.max_message_bytes
        if size > limit:
            raise Goodbye(bad, f"a message of {size} bytes is too large; at most {limit} bytes")
        try:
            return decode_client(data)
        except ServeError as exc:
            raise Goodbye(bad, str(exc)) from None

    def _identify(self, message: wire.Identify) -> None:
        token = self._settings.token
        if token is not None and message.token is not None:
            self._authorised = hmac.compare_digest(message.token.encode(), token.encode())
        self._require_token()
        self._identified = True
        self._hub.attach(self._outbox, grant(message.subscribe), client_id=self._client_id)
        logger.debug("client %s is %.40r (%.40r)", self._client_id, message.client.name, message.client.kind)

    def _require_token(self) -> None:
        if not self._authorised:
            raise Goodbye(
                wire.CloseCode.BAD_TOKEN, "the token is missing or wrong; send the server's token in identify"
            )

    async def _await_identify(self) -> None:
        await asyncio.sleep(self._settings.identify_timeout_s)
        if self._identified:
            return
        if not self._authorised:
            raise Goodbye(
                wire.CloseCode.IDENTIFY_TIMEOUT,
                f"no identify within {self._settings.identify_timeout_s:g} seconds; this server wants a token in it",
                retry_after_s=0.0,
            )
        self._hub.attach(self._outbox, DEFAULT_INTEREST)

    async def _await_end(self) -> None:
        raise await self._goodbye


async def part(socket: Socket, goodbye: Goodbye, *, timeout_s: float) -> None:
    """Tell a client why, then close; give up on one that takes neither within ``timeout_s`` seconds each."""
    error = wire.Error(code=goodbye.code, message=goodbye.message, fatal=True, retry_after_s=goodbye.retry_after_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await socket.send(encode(error), text=True)
    reason = goodbye.message.encode()[:_LONGEST_REASON].decode(errors="ignore")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await socket.close(goodbye.code, reason)


def _first(group: BaseExceptionGroup[Goodbye]) -> Goodbye:
    for exc in group.exceptions:
        return _first(exc) if isinstance(exc, BaseExceptionGroup) else exc
    raise AssertionError("a group of exceptions is never empty")
