"""The conversation with one client, over anything that sends and receives messages.

What the outbox holds is written straight from the hub's wake-up while the client keeps up. Two tasks do the rest: one
reads, one waits for a client that does not keep up. Whatever ends the conversation first ends the rest; every end that
is ours says why in an ``error`` before the close. There are few tasks and timers on purpose: with a thousand clients
they cost more than the messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from stream_mer.errors import ServeError
from stream_mer.server import messages as wire
from stream_mer.server.codec import decode_client, encode
from stream_mer.server.delivery import Delivery
from stream_mer.server.farewell import Goodbye, Socket, first_goodbye, part
from stream_mer.server.hub import Hub
from stream_mer.server.ingest import Ingest, Senders
from stream_mer.server.outbox import Outbox
from stream_mer.server.requests import Requests
from stream_mer.server.settings import ServeSettings

logger = logging.getLogger(__name__)


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
        delivery: Brings what the hub's threads publish into this loop.
        role: What the client may do by what its headers say; None where it has to identify first.
        senders: Who sends audio to which stream.
        role_of: Returns what a token allows, once its turn has come; raises Goodbye where that is too far off.
        let_in: Gives the client its place, once it has a role; raises Goodbye where all are taken.
    """

    def __init__(
        self,
        *,
        socket: Socket,
        hub: Hub,
        settings: ServeSettings,
        hello: wire.Hello,
        delivery: Delivery,
        role: wire.Role | None = None,
        senders: Senders,
        role_of: Callable[[str], Awaitable[wire.Role | None]],
        let_in: Callable[[], None],
    ) -> None:
        self._socket = socket
        self._hub = hub
        self._settings = settings
        self._hello = hello
        self._outbox = Outbox(
            capacity=settings.queued_messages,
            wake=lambda: delivery.waker.wake(self._flush),
            write_now=self._write_now,
            clock=asyncio.get_running_loop().time,
        )
        self._unsent: bytes | None = None
        self._must_wait = asyncio.Event()
        self._all_written = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._ended = False
        self._requests = Requests(
            hub=hub, outbox=self._outbox, delivery=delivery, settings=settings, role=role, let_in=let_in
        )
        self._role_of, self._let_in = role_of, let_in
        self._is_deciding = False
        self._goodbye: asyncio.Future[Goodbye] = asyncio.get_running_loop().create_future()
        self._ingest = Ingest(senders, tell=lambda error: self._outbox.put_all([encode(error)]))
        self._texts = RateLimit(settings.max_messages_per_s)
        self._audio = RateLimit(settings.max_audio_messages_per_s)

    async def run(self) -> None:
        """Talk until one side ends. Raises what the socket raises when the other side went."""
        try:
            if self._requests.role is not None:
                self._let_in()
            await self._talk()
        except* Goodbye as goodbyes:
            goodbye = first_goodbye(goodbyes)
            logger.debug("client %s: closing with %d: %s", self._requests.client_id, goodbye.code, goodbye.message)
            self._flush()  # what was answered before the end
            self._ended = True
            await part(self._socket, goodbye, timeout_s=self._settings.close_timeout_s)
        finally:
            self._ended = True
            self._set_alarm(None)
            self._ingest.end()
            self._hub.detach(self._outbox)

    def end(self, goodbye: Goodbye) -> None:
        """End the conversation from the server's side; idempotent. To be called in the loop's thread."""
        if not self._goodbye.done():
            self._goodbye.set_result(goodbye)

    async def _talk(self) -> None:
        self._outbox.put_all([encode(self._hello)])
        self._flush()
        loop = asyncio.get_running_loop()
        identify_timer = loop.call_later(self._settings.identify_timeout_s, self._identify_is_due)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_to_the_slow())
                tasks.create_task(self._read())
                raise await self._goodbye
        finally:
            identify_timer.cancel()

    def _write_now(self, data: bytes) -> bool:
        return self._unsent is None and not self._ended and self._socket.write(data)

    def _flush(self) -> None:
        """Write what waits; stop at the first message that the client has no room for."""
        if self._ended or self._unsent is not None:
            return
        outbox = self._outbox
        while (data := outbox.take()) is not None:
            if not self._socket.write(data):
                self._unsent = data
                self._must_wait.set()
                return
            if outbox.is_at_rest:
                break
        self._all_written.set()
        self._set_alarm(outbox.alarm_at)

    def _set_alarm(self, at: float | None) -> None:
        """Look again at this time, by the loop's clock, for something that was too early."""
        if self._alarm is None and at is None:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if at is None else asyncio.get_running_loop().call_at(at, self._flush)

    async def _write_to_the_slow(self) -> None:
        stuck_after_s = self._settings.stuck_after_s
        while True:
            await self._must_wait.wait()
            self._must_wait.clear()
            if self._unsent is not None:
                try:
                    async with asyncio.timeout(stuck_after_s):
                        await self._socket.send(self._unsent)
                except TimeoutError:
                    why = f"this client took nothing for {stuck_after_s:g} seconds; read faster"
                    raise Goodbye(wire.CloseCode.TOO_SLOW, why, retry_after_s=1.0) from None
                self._unsent = None
            self._flush()

    async def _read(self) -> None:
        while True:
            data = await self._socket.recv()
            now = asyncio.get_running_loop().time()
            if isinstance(data, bytes):
                self._audio.count(now)
                await self._answer(self._hear(data))
                continue
            self._texts.count(now)
            match message := self._decode(data):
                case wire.Identify() | wire.Subscribe() | wire.Unsubscribe() | wire.Control():
                    await self._request(message)
                case wire.Ping():
                    await self._answer(wire.Pong(id=message.id, t=message.t))
                case wire.AudioStart():
                    await self._answer(self._start_audio(message))
                case wire.AudioEnd():
                    self._ingest.end()
                case wire.Pong():
                    pass

    async def _request(self, message: wire.Identify | wire.Subscribe | wire.Unsubscribe | wire.Control) -> None:
        """Have it answered; whoever asks more than it reads has to wait, because answers are never dropped."""
        role = None
        if isinstance(message, wire.Identify) and message.token is not None:
            self._is_deciding = True
            role = await self._role_of(message.token)
            self._is_deciding = False
        self._all_written.clear()
        match message:
            case wire.Identify():
                self._requests.identify(message, role=role)
            case wire.Subscribe():
                self._requests.subscribe(message)
            case wire.Unsubscribe():
                self._requests.unsubscribe(message)
            case wire.Control():
                self._requests.control(message)
        await self._all_written.wait()

    async def _answer(self, message: wire.Message | None) -> None:
        """Answer, if there is anything to say; the same holds."""
        if message is not None:
            self._all_written.clear()
            self._outbox.put_all([encode(message)])
            await self._all_written.wait()

    def _start_audio(self, message: wire.AudioStart) -> wire.Error | None:
        if self._requests.require_role() == "operator":
            return self._ingest.start(message)
        why = "only operators may send audio to this server; identify with the operator's token"
        return wire.Error(code=wire.CloseCode.FORBIDDEN, message=why, fatal=False)

    def _hear(self, data: bytes) -> wire.Error | None:
        bad, limit = wire.CloseCode.BAD_MESSAGE, self._settings.max_audio_bytes
        if not self._ingest.is_open:
            raise Goodbye(bad, "a binary message makes no sense here; send JSON as text, or audio.start before audio")
        if len(data) > limit:
            raise Goodbye(bad, f"{len(data)} bytes of audio are too much for one message; at most {limit} bytes")
        return self._ingest.feed(data)

    def _decode(self, data: str) -> wire.ClientMessage:
        bad = wire.CloseCode.BAD_MESSAGE
        size, limit = len(data.encode()), self._settings.max_message_bytes
        if size > limit:
            raise Goodbye(bad, f"a message of {size} bytes is too large; at most {limit} bytes")
        try:
            return decode_client(data)
        except ServeError as exc:
            raise Goodbye(bad, str(exc)) from None

    def _identify_is_due(self) -> None:
        if self._requests.has_spoken or self._is_deciding:
            return
        if self._requests.role is not None:
            self._requests.begin_by_default()
            return
        why = f"no identify within {self._settings.identify_timeout_s:g} seconds; this server wants a token in it"
        self.end(Goodbye(wire.CloseCode.IDENTIFY_TIMEOUT, why, retry_after_s=0.0))
