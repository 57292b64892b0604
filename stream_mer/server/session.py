"""The conversation with one client, from ``hello`` to the close, and the audio that it may send.

Messages are written straight from the hub's dispatcher while the client keeps up. Two tasks do the rest: one reads and
answers, one waits for a client that does not keep up. Whichever ends first ends the other one; when the server ends the
conversation, an ``error`` says why before the close. There are few tasks and timers on purpose: with a thousand clients
they cost more than the messages.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_mer.config import ServeSettings, WindowSettings
from stream_mer.errors import ServeError, SettingError, SourceError
from stream_mer.event_json import encode
from stream_mer.ports import EventHub
from stream_mer.server import messages as wire
from stream_mer.server.connection import CloseConnection, Connection
from stream_mer.server.hub import Hub
from stream_mer.server.messages import decode_client, override_values
from stream_mer.server.outbox import Dispatcher, Outbox
from stream_mer.server.setup import SetupHandler, SetupRequests
from stream_mer.server.subscriptions import DEFAULT_SUBSCRIPTIONS, Rule, SubscriptionSet, grant
from stream_mer.types import CATEGORIES, CLUSTERS, ControlCommand
from stream_mer.version import __version__

if TYPE_CHECKING:  # it loads the libraries that decode audio
    from stream_mer.sources.remote import RemoteSource

logger = logging.getLogger(__name__)

MAX_SILENT_S = 0.25
"""A client that need not identify, and has not this long after ``hello``, gets the default events, seconds.

After half a hop if that is shorter, so that its first frame comes within a hop. It is longer than most round trips: a
client that identifies right away gets nothing that it did not ask for.
"""

SILENT_S = 1.0
"""Without tokens, a sender that has sent nothing for this long may be replaced, seconds."""


class Senders:
    """Which client sends to which stream.

    A sender whose network died keeps its stream until the server misses its pongs, which takes most of a minute. So a
    client that has proved the operator's role by a token takes over immediately. Without tokens, a second sender by
    mistake looks like the first one after a reconnection: it takes over from a sender that is silent for ``SILENT_S``.

    Args:
        inlets: The streams that take audio, by name.
        guarded: Whether senders have to prove their role by a token.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, inlets: Mapping[str, RemoteSource], *, guarded: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inlets = inlets
        self._guarded = guarded
        self._clock = clock
        self._senders: dict[str, Ingest] = {}
        self._received_at: dict[str, float] = {}

    def claim(self, sender: Ingest, message: wire.AudioStart) -> None:
        """Give a stream to a sender; the previous one gets an error.

        Raises:
            SettingError: Audio of this kind is not supported.
            SourceError: Another client sends, and goes on.
        """
        stream, inlet = message.stream, self.inlets[message.stream]
        previous = self._senders.get(stream)
        kind = {"rate_hz": message.rate_hz, "channels": message.channels}
        try:
            inlet.claim(sample_format=message.format, **kind)
        except SourceError:
            silent = self._clock() - self._received_at.get(stream, 0.0) >= SILENT_S
            if previous is None or not (self._guarded or silent):
                raise
            self.release(previous, stream)
            inlet.claim(sample_format=message.format, **kind)
            previous.on_replaced()
        self._senders[stream] = sender
        self._received_at[stream] = self._clock()

    def push(self, stream: str, data: bytes) -> None:
        """Pass audio on to a stream.

        Raises:
            SourceError: The stream takes no more.
        """
        self._received_at[stream] = self._clock()
        self.inlets[stream].push(data)

    def release(self, sender: Ingest, stream: str) -> None:
        """Take a stream from a sender; ignored if it does not have it."""
        if self._senders.get(stream) is sender:
            del self._senders[stream]
            self.inlets[stream].release()


class Ingest:
    """The audio of one client, for one stream at a time.

    Args:
        senders: Which client sends to which stream.
        report: Sends an error to the client.
    """

    def __init__(self, senders: Senders, *, report: Callable[[wire.Error], None]) -> None:
        self._senders = senders
        self._report = report
        self._stream: str | None = None
        self._replaced = False

    @property
    def is_open(self) -> bool:
        """Whether binary messages are expected: also from a client that was replaced while some were on their way."""
        return self._stream is not None or self._replaced

    def start(self, message: wire.AudioStart) -> bool:
        """Begin to send; what was sent before ends. Returns True if it may not, and was sent an error."""
        self.end()
        stream, inlets = message.stream, self._senders.inlets
        if stream not in inlets:
            takers = ", ".join(inlets) or "none; start the server with --source remote"
            why = f"no stream {stream[:80]!r} takes audio from clients ({takers})"
            return self._refuse(wire.CloseCode.NO_STREAM, why)
        try:
            self._senders.claim(self, message)
        except SettingError as error:
            return self._refuse(wire.CloseCode.BAD_MESSAGE, str(error))
        except SourceError as error:
            return self._refuse(wire.CloseCode.FORBIDDEN, str(error))
        self._stream = stream
        return False

    def feed(self, data: bytes) -> bool:
        """Take a binary message. Returns True if the stream takes no more, and an error was sent."""
        if self._stream is None:  # it was on its way when another client took over
            return False
        try:
            self._senders.push(self._stream, data)
        except SourceError as error:
            self.end()
            return self._refuse(wire.CloseCode.BAD_MESSAGE, str(error))
        return False

    def on_replaced(self) -> None:
        """Called when another client takes over the stream; sends an error."""
        stream, self._stream, self._replaced = self._stream, None, True
        self._refuse(wire.CloseCode.FORBIDDEN, f"another client sends to {stream} now; audio.start takes it back")

    def end(self) -> None:
        """Stop sending; idempotent."""
        stream, self._stream, self._replaced = self._stream, None, False
        if stream is not None:
            self._senders.release(self, stream)

    def _refuse(self, code: wire.CloseCode, message: str) -> bool:
        self._report(wire.Error(code=code, message=message, fatal=False))
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What ``hello`` says of the process.

    Attributes:
        window_s: Length of the audio that one frame is computed from, seconds.
        hop_s: Time between frames, seconds.
        can_setup: Whether operators can set it up while it runs.
        masks_page: Whether the page masks words of lyrics.
        name: Name and version of the server.
    """

    window_s: float = WindowSettings().context_s
    hop_s: float = WindowSettings().hop_s
    can_setup: bool = False
    masks_page: bool = False
    name: str = f"stream-mer/{__version__}"


def hello(
    hub: EventHub, settings: ServeSettings, info: ServerInfo, *, remote_streams: Iterable[str] = ()
) -> wire.Hello:
    """Return the first message to a client that connects now."""
    return wire.Hello(
        protocol=wire.PROTOCOL,
        server=info.name,
        auth_required=settings.needs_token,
        session=hub.session,
        streams=hub.streams,
        categories=CATEGORIES,
        clusters=CLUSTERS,
        va_range=(-1.0, 1.0),
        window_s=info.window_s,
        hop_s=info.hop_s,
        limits=wire.LimitsPart(**{name: getattr(settings, name) for name in wire.LimitsPart.__struct_fields__}),
        can_setup=info.can_setup,
        masks_page=info.masks_page,
        remote_streams=tuple(remote_streams),
    )


def silence_s(settings: ServeSettings, *, hop_s: float, must_identify: bool) -> float:
    """Return how long a client may be silent: then it is closed if it must identify, else gets the default events."""
    return settings.identify_timeout_s if must_identify else min(settings.identify_timeout_s, MAX_SILENT_S, hop_s / 2)


class RateLimit:
    """Counts the messages of a client in each second.

    Args:
        per_s: Maximum messages in one second.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = 0
        self._messages_this_second = 0

    def count(self, now: float) -> None:
        """Count a message that came at ``now``, monotonic seconds.

        Raises:
            CloseConnection: It is one too many.
        """
        if int(now) != self._second:
            self._second, self._messages_this_second = int(now), 0
        self._messages_this_second += 1
        if self._messages_this_second > self._per_s:
            why = f"more than {self._per_s} messages in one second; send fewer"
            raise CloseConnection(wire.CloseCode.TOO_MANY_MESSAGES, why, retry_after_s=5.0)


class Session:
    """One client.

    Args:
        connection: The open websocket.
        hub: Where events come from.
        settings: Limits and timeouts.
        hello: The first message.
        dispatcher: Delivers what the hub publishes in this event loop.
        role: The role that the request's headers prove; None where the client has to identify first.
        senders: Which client sends audio to which stream.
        role_of: Returns the role that a token proves, once guessing allows it to be checked, or None; raises
            CloseConnection where that would take too long.
        admit: Gives the client one of the places, once it has a role; raises CloseConnection where none is free.
        setup: Carries out what operators set up; None where they cannot.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        hub: Hub,
        settings: ServeSettings,
        hello: wire.Hello,
        dispatcher: Dispatcher,
        role: wire.Role | None = None,
        senders: Senders,
        role_of: Callable[[str], Awaitable[wire.Role | None]],
        admit: Callable[[], None],
        setup: SetupHandler | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._client_id = secrets.token_hex(4)
        self._connection = connection
        self._hub = hub
        self._settings = settings
        self._hello = hello
        self._role = role
        self._role_of, self._admit = role_of, admit
        self._outbox = Outbox(
            capacity=settings.queued_messages,
            wake=lambda: dispatcher.call_soon(self._flush),
            write=connection.write,
            dispatcher=dispatcher,
            clock=loop.time,
        )
        self._subscriptions = SubscriptionSet()
        self._has_subscribed = False  # until then it may have the default
        self._checks_token = self._gave_token = False
        self._is_blocked = asyncio.Event()
        self._is_flushed = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._end: asyncio.Future[CloseConnection] = loop.create_future()
        self._ingest = Ingest(senders, report=self._answer)
        self._setup = setup
        self._requests: SetupRequests | None = None  # once there was one
        self._tasks: asyncio.TaskGroup | None = None
        self._texts = RateLimit(settings.max_messages_per_s)
        self._audio = RateLimit(settings.max_audio_messages_per_s)

    async def run(self) -> None:
        """Exchange messages until one side ends.

        Raises:
            ConnectionClosed: The client ended.
        """
        try:
            if self._role is not None:
                self._admit()
            await self._exchange()
        except* CloseConnection as group:
            why = CloseConnection.first_of(group)
            logger.debug("client %s: closing with %d: %s", self._client_id, why.code, why.message)
            self._flush()  # what was answered before the end
            self._outbox.close()
            await self._connection.close(why, timeout_s=self._settings.close_timeout_s)
        finally:
            self._set_alarm(None)
            self._ingest.end()
            self._hub.detach(self._outbox)

    def end(self, why: CloseConnection) -> None:
        """End the conversation from the server's side; idempotent. In the event loop's thread only."""
        if not self._end.done():
            self._end.set_result(why)

    async def _exchange(self) -> None:
        self._answer(self._hello)
        self._flush()
        silent_s = silence_s(self._settings, hop_s=self._hello.hop_s, must_identify=self._role is None)
        identify_timer = asyncio.get_running_loop().call_later(silent_s, self._on_silence)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._write_when_blocked())
                tasks.create_task(self._read())
                raise await self._end
        finally:
            identify_timer.cancel()

    # Writing

    def _flush(self) -> None:
        """Write what waits, until the client has no room."""
        if self._outbox.unsent is not None:
            return
        self._outbox.flush()
        if self._outbox.unsent is not None:
            self._is_blocked.set()
            return
        self._is_flushed.set()
        self._set_alarm(self._outbox.alarm_at)

    def _set_alarm(self, at: float | None) -> None:
        """Flush again at this time, by the event loop's clock, for a message that is not due yet."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if at is None else asyncio.get_running_loop().call_at(at, self._flush)

    async def _write_when_blocked(self) -> None:
        stuck_after_s = self._settings.stuck_after_s
        while True:
            await self._is_blocked.wait()
            self._is_blocked.clear()
            if self._outbox.unsent is not None:
                try:
                    async with asyncio.timeout(stuck_after_s):
                        await self._connection.send(self._outbox.unsent)
                except TimeoutError:
                    why = f"this client took nothing for {stuck_after_s:g} seconds; read faster"
                    raise CloseConnection(wire.CloseCode.TOO_SLOW, why, retry_after_s=1.0) from None
                self._outbox.unsent = None
            self._flush()

    def _answer(self, *answers: wire.Message) -> None:
        self._outbox.put_answers([encode(answer) for answer in answers])

    def _answer_request(self, request_id: wire.Id, refused: wire.CloseCode | None = None, why: str = "") -> None:
        error = None if refused is None else wire.RefusalPart(code=refused, message=why)
        self._answer(wire.Result(id=request_id, ok=error is None, error=error))

    def _warn(self, code: wire.CloseCode, why: str) -> None:
        self._answer(wire.Error(code=code, message=why, fatal=False))

    # Reading

    async def _read(self) -> None:
        while True:
            data = await self._connection.recv()
            now = asyncio.get_running_loop().time()
            self._is_flushed.clear()
            if isinstance(data, bytes):
                self._audio.count(now)
                answers = self._take_audio(data)
            else:
                self._texts.count(now)
                answers = await self._handle_text(data)
            if answers:  # they are never dropped, so a client that does not read them has to wait
                await self._is_flushed.wait()

    async def _handle_text(self, data: str) -> bool:
        try:
            message = self._decode(data)
        except wire.BadRequestError as exc:
            self._refuse(exc)
            return True
        return await self._handle(message)

    def _refuse(self, error: wire.BadRequestError) -> None:
        """Answer a message that makes no sense.

        Raises:
            CloseConnection: The client has no role yet, and this is not how to get one.
        """
        if self._role is None and error.kind != "identify":
            raise CloseConnection(wire.CloseCode.BAD_MESSAGE, str(error))
        if error.wants_result:
            self._answer_request(error.request_id, wire.CloseCode.BAD_MESSAGE, str(error))
        else:
            self._warn(wire.CloseCode.BAD_MESSAGE, str(error))

    def _decode(self, data: str) -> wire.ClientMessage:
        size, limit = len(data.encode()), self._settings.max_message_bytes
        if size > limit:
            why = f"a message of {size} bytes is too large; at most {limit} bytes"
            raise CloseConnection(wire.CloseCode.BAD_MESSAGE, why)
        try:
            return decode_client(data)
        except wire.BadRequestError:
            raise
        except ServeError as exc:
            raise CloseConnection(wire.CloseCode.BAD_MESSAGE, str(exc)) from None

    async def _handle(self, message: wire.ClientMessage) -> bool:
        """Carry out what a client asks for; return whether it was answered."""
        match message:
            case wire.Identify():
                await self._identify(message)
            case wire.Subscribe():
                self._subscribe(message)
            case wire.Unsubscribe():
                self._unsubscribe(message)
            case wire.Control():
                self._control(message)
            case wire.Setup():
                return self._set_up(message)
            case wire.Ping():
                self._answer(wire.Pong(id=message.id, t=message.t))
            case wire.AudioStart():
                return self._start_audio(message)
            case wire.AudioEnd():
                self._ingest.end()
                return False
            case wire.Pong():
                return False
        return True

    async def _identify(self, message: wire.Identify) -> None:
        if message.token is not None:
            self._checks_token = self._gave_token = True
            self._role = await self._role_of(message.token)
            self._checks_token = False
        # An answer to something else may have been flushed in the meantime.
        self._is_flushed.clear()
        role = self._require_role()
        self._admit()
        granted = grant(message.subscribe)
        unknown = self._unknown_stream(name for subscription in granted for name in subscription.streams)
        if unknown is not None:
            raise CloseConnection(wire.CloseCode.NO_STREAM, unknown)
        subscriptions = SubscriptionSet.of(granted)
        if len(subscriptions.rules) > self._settings.max_subscriptions:
            raise CloseConnection(wire.CloseCode.BAD_MESSAGE, self._too_many_subscriptions())
        self._subscriptions, self._has_subscribed = subscriptions, True
        self._hub.welcome(
            self._outbox,
            subscriptions,
            client_id=self._client_id,
            role=role,
            granted=granted,
            resume=message.resume,
        )
        self._warn_of_unknown_events(kind for one in message.subscribe or () for kind in one.events)
        logger.debug("client %s is %.40r (%.40r)", self._client_id, message.client.name, message.client.kind)

    def _subscribe(self, message: wire.Subscribe) -> None:
        self._require_role()
        granted = grant([wire.Subscription(streams=message.streams, events=message.events, max_hz=message.max_hz)])
        unknown = self._unknown_stream(message.streams)
        if unknown is not None:
            self._answer_request(message.id, wire.CloseCode.NO_STREAM, unknown)
        elif not granted:
            self._answer_request(message.id, wire.CloseCode.BAD_MESSAGE, _unknown_events(message.events))
        else:
            before = self._subscriptions if self._has_subscribed else SubscriptionSet()  # not the default as well
            self._change_subscriptions(message.id, before.with_rule(Rule.of(granted[0])))
            self._warn_of_unknown_events(message.events)

    def _unsubscribe(self, message: wire.Unsubscribe) -> None:
        self._require_role()
        if message.events and not set(message.events) & set(wire.EVENT_KINDS):
            self._answer_request(message.id, wire.CloseCode.BAD_MESSAGE, _unknown_events(message.events))
        else:
            before = self._subscriptions if self._has_subscribed else DEFAULT_SUBSCRIPTIONS
            self._change_subscriptions(message.id, before.with_rule(Rule.of(message)))
            self._warn_of_unknown_events(message.events)

    def _change_subscriptions(self, request_id: wire.Id, subscriptions: SubscriptionSet) -> None:
        if len(subscriptions.rules) > self._settings.max_subscriptions:
            self._answer_request(request_id, wire.CloseCode.BAD_MESSAGE, self._too_many_subscriptions())
            return
        self._subscriptions, self._has_subscribed = subscriptions, True
        self._answer_request(request_id)
        self._hub.attach(self._outbox, subscriptions)

    def _warn_of_unknown_events(self, kinds: Iterable[str]) -> None:
        unknown = [kind for kind in kinds if kind not in wire.EVENT_KINDS]
        if unknown:
            self._warn(wire.CloseCode.BAD_MESSAGE, _unknown_events(unknown))

    def _control(self, message: wire.Control) -> None:
        role, unknown = self._require_role(), self._unknown_stream(message.streams)
        if role != "operator":
            why = "only operators may control; identify as one"
            self._answer_request(message.id, wire.CloseCode.FORBIDDEN, why)
        elif unknown is not None:
            self._answer_request(message.id, wire.CloseCode.NO_STREAM, unknown)
        elif (message.action == "override") != (message.override is not None):
            why = '"action":"override" goes with "override":{"valence":0.5,"arousal":0.2,"ttl_s":30}, others without'
            self._answer_request(message.id, wire.CloseCode.BAD_MESSAGE, why)
        else:
            streams = ", ".join(message.streams) or "all streams"
            logger.info("client %s: %s of %s %s", self._client_id, message.action, streams, message.override or "")
            self._answer_request(message.id)
            override = override_values(message.override)
            self._hub.control(ControlCommand(action=message.action, streams=message.streams, override=override))

    def _set_up(self, message: wire.Setup) -> bool:
        """Pass a request on; return whether it was refused."""
        if self._require_role() != "operator":
            why = "only operators may set up the server; identify as one"
            self._answer_request(message.id, wire.CloseCode.FORBIDDEN, why)
        elif self._setup is None:
            why = "this server cannot be set up while it runs"
            self._answer_request(message.id, wire.CloseCode.BAD_MESSAGE, why)
        elif not self._setup_requests(self._setup).put(message):
            why = "too many requests wait; ask again when some are answered"
            self._answer_request(message.id, wire.CloseCode.TOO_MANY_MESSAGES, why)
        else:
            logger.info("client %s: setup %s", self._client_id, message.action)
            return False
        return True

    def _setup_requests(self, handler: SetupHandler) -> SetupRequests:
        if self._requests is None:
            assert self._tasks is not None  # noqa: S101 - a client talks inside the group
            self._requests = SetupRequests(
                handler, answer=self._answer, is_blocked=lambda: self._outbox.unsent is not None
            )
            self._tasks.create_task(self._requests.run())
        return self._requests

    def _start_audio(self, message: wire.AudioStart) -> bool:
        """Begin to take audio; return whether an error was sent instead."""
        if self._require_role() == "operator":
            return self._ingest.start(message)
        why = "only operators may send audio to this server; identify with the operator's token"
        self._warn(wire.CloseCode.FORBIDDEN, why)
        return True

    def _take_audio(self, data: bytes) -> bool:
        """Pass audio on; return whether an error was sent because the stream takes no more."""
        limit = self._settings.max_audio_bytes
        if not self._ingest.is_open:
            why = "unexpected binary message; send JSON as text, or audio.start before audio"
        elif len(data) > limit:
            why = f"{len(data)} bytes of audio are too much for one message; at most {limit} bytes"
        else:
            return self._ingest.feed(data)
        raise CloseConnection(wire.CloseCode.BAD_MESSAGE, why)

    # Conditions

    def _on_silence(self) -> None:
        """Close a client that had to identify; send the default events to one that did not."""
        if self._has_subscribed or self._checks_token:
            return
        if self._role is None:
            why = f"no identify within {self._settings.identify_timeout_s:g} seconds; this server requires a token"
            self.end(CloseConnection(wire.CloseCode.IDENTIFY_TIMEOUT, why, retry_after_s=0.0))
            return
        self._subscriptions = DEFAULT_SUBSCRIPTIONS
        self._hub.attach(self._outbox, self._subscriptions)

    def _require_role(self) -> wire.Role:
        """Return the client's role; raises CloseConnection where it has none."""
        if self._role is None:
            wrong = "wrong token; ask those who run the server for the right one"
            why = wrong if self._gave_token else "this server requires a token; send it in identify"
            raise CloseConnection(wire.CloseCode.BAD_TOKEN, why)
        return self._role

    def _unknown_stream(self, names: Iterable[str]) -> str | None:
        """Return a message about the first name that is not the name of a stream; None if all are known."""
        streams = self._hub.streams
        for name in names:
            if name not in streams:
                return f"there is no stream {name[:80]!r}; there is {', '.join(streams)[:200] or 'none yet'}"
        return None

    def _too_many_subscriptions(self) -> str:
        return f"more than {self._settings.max_subscriptions} subscriptions; name several streams or events in one"


def _unknown_events(names: Iterable[str]) -> str:
    shown = ", ".join(map(repr, dict.fromkeys(names)))[:80]
    return f"there is no event {shown}; choose from {', '.join(wire.EVENT_KINDS)}"
