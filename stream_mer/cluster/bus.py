"""The connection to NATS: messages, and what JetStream keeps. Only this module imports the client library.

A connection is never repaired. A lost one is discarded with all its pending messages, and a new one is made, so that
nothing is sent later under a claim that may have a new owner by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.kv import KeyValue

from stream_mer.cluster.records import CHANNELS, CLAIMS, EVENT_SUBJECTS, OVERRIDES, WORKERS, Entry
from stream_mer.config import NatsSettings
from stream_mer.errors import ClusterError
from stream_mer.server.messages import LATEST_WINS
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

T = TypeVar("T")

LATEST, LINES = "MER_LATEST", "MER_LINES"
"""Streams: the last frame and status of each channel, and its last lyric lines and category changes."""

LINES_KEPT = 64
LINES_KEPT_S = 3600.0
"""Lyric lines and category changes kept for each channel, for nodes that connect or reconnect."""

REQUEST_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 2.0
FIRST_CONNECT_TIMEOUT_S = 6.0
RETRY_S = 0.25
POLL_S = 0.25
INACTIVE_S = 5.0
"""Consumers without a reader expire after this long; the default is five minutes, and a server allows not many."""

CANCEL_AGAIN_S = 0.25
PING_S, PINGS_MISSED = 1.0, 2
"""A server that answers no ping for this long is lost; the library's default is two minutes."""

PENDING_OUT_BYTES = 1 << 20
PENDING_IN_MESSAGES, PENDING_IN_BYTES = 8192, 16 << 20
"""Bounds of the library's buffers. Handlers only sort messages, so a second's worth is plenty."""

WRONG_LAST_SEQUENCE = 10071
"""Error of JetStream: the entry has another revision."""

QUEUED_IN_ORDER = 1024
"""Events of ordered kinds, of all channels together, that a ``CoalescingQueue`` holds."""

ACCESS_DENIED = "the user, password, token or credentials are wrong"
NO_JETSTREAM = "it runs without JetStream, or JetStream is not ready; start it with: nats-server --jetstream"

Handler: TypeAlias = Callable[[str, bytes], None]
"""Called with subject and data of a message; must return quickly."""


class ConflictError(ClusterError):
    """The entry was changed by another process in the meantime."""


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until the first one fails, or this one is cancelled; then end all of them."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await end_tasks(tasks)


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: the NATS client, and ``asyncio.wait_for`` of Python 3.11, swallow a cancellation when what they
    wait for completes at the same moment.
    """
    cancelled = False
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


class CoalescingQueue(Generic[T]):
    """A bounded queue for events of many channels, between any threads and one reader.

    Of each channel and latest-wins kind only the newest event is queued, in the place of the one that it replaces.
    Other kinds are queued in order; when there are too many, the oldest is dropped.

    Args:
        wake: Called from the putting thread when the queue is no longer empty. Must not block.
        capacity: Maximum number of queued events of the ordered kinds.

    Attributes:
        replaced: Events replaced by newer ones.
        dropped: Events dropped because there were too many.
    """

    def __init__(self, wake: Callable[[], None], capacity: int = QUEUED_IN_ORDER) -> None:
        self._wake = wake
        self._capacity = capacity
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str], T] = {}
        self._ordered: deque[tuple[str, str, T]] = deque()
        self._reader_waits = True
        self.replaced = 0
        self.dropped = 0

    def put(self, channel: str, kind: str, event: T) -> None:
        """Add an event."""
        with self._lock:
            if kind in LATEST_WINS:
                self.replaced += (channel, kind) in self._latest
                self._latest[channel, kind] = event
            else:
                if len(self._ordered) >= self._capacity:
                    self._ordered.popleft()
                    self.dropped += 1
                self._ordered.append((channel, kind, event))
            wake, self._reader_waits = self._reader_waits, False
        if wake:
            self._wake()

    def get(self) -> tuple[str, str, T] | None:
        """Return channel, kind and event, ordered kinds first; None if the queue is empty."""
        with self._lock:
            if self._ordered:
                return self._ordered.popleft()
            if self._latest:
                channel, kind = key = next(iter(self._latest))
                return channel, kind, self._latest.pop(key)
            self._reader_waits = True
            return None

    def has(self, channel: str) -> bool:
        """Return whether an event of a channel is queued."""
        with self._lock:
            return any(key[0] == channel for key in self._latest) or any(one[0] == channel for one in self._ordered)

    def discard(self, channel: str) -> None:
        """Drop the queued events of a channel."""
        with self._lock:
            self._latest = {key: event for key, event in self._latest.items() if key[0] != channel}
            self._ordered = deque(one for one in self._ordered if one[0] != channel)


def _stream_configs(replicas: int) -> tuple[api.StreamConfig, ...]:
    """The server stores events as they pass, without acknowledgements: no publisher waits for it."""
    latest = [f"{EVENT_SUBJECTS}.*.{kind}" for kind in ("emotion", "status")]
    lines = [f"{EVENT_SUBJECTS}.*.{kind}" for kind in ("lyrics", "change")]
    shared: dict[str, Any] = {"num_replicas": replicas, "discard": api.DiscardPolicy.OLD, "no_ack": True}
    return (
        api.StreamConfig(name=LATEST, subjects=latest, max_msgs_per_subject=1, **shared),
        api.StreamConfig(name=LINES, subjects=lines, max_msgs_per_subject=LINES_KEPT, max_age=LINES_KEPT_S, **shared),
    )


class _SafeClient(Client):
    """Sends nothing, least of all a password, to a server that does not speak TLS where TLS is required.

    The library speaks TLS if the server requests it, and a man in the middle can remove that request. The public API
    reports it only after the password was sent, hence a private method, and one minor release of the library
    (``pyproject.toml``). A release without that method is refused.
    """

    if not hasattr(Client, "_process_info"):
        raise ImportError("this nats-py is not known to keep passwords from servers without TLS: install nats-py 2.16")

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        scheme = None if self._current_server is None else self._current_server.uri.scheme
        if (scheme == "tls" or "tls" in self.options) and not info.get("tls_required"):
            raise nats.errors.Error("it does not speak TLS, which tls:// and --nats-ca require")
        await super()._process_info(info, initial_connection)


class Bus:
    """A connection to NATS with JetStream, for as long as ``async with`` lasts.

    Subscriptions continue with each new connection.

    Args:
        settings: Address, identity and defaults.
        name: Name of the connection, for the operators of NATS.

    Attributes:
        generation: Counts the connections; 0 before the first.
        connected_at: Monotonic time at which the last connection was made, seconds.
        lease_s: Time to live of a worker's lease, seconds; that of the bucket once connected.

    Raises:
        ClusterError: On entering: NATS cannot be reached, or refuses.
    """

    def __init__(self, settings: NatsSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._buckets: dict[str, KeyValue] = {}
        self._subscriptions: list[tuple[str, Handler]] = []
        self._presence: tuple[str, Handler] | None = None
        self._lost = asyncio.Event()
        self._changed = asyncio.Event()
        self._error = ""
        self._is_unreachable = True
        self._connecting: asyncio.Task[None] | None = None
        self._limited = LimitedLog(log)
        self.generation = 0
        self.connected_at = time.monotonic()
        self.lease_s = settings.lease_s

    async def __aenter__(self) -> Self:
        self._connecting = asyncio.create_task(self._stay_connected())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_CONNECT_TIMEOUT_S):
                while not self.connected and self._error != ACCESS_DENIED:
                    self._changed.clear()
                    await self._changed.wait()
        if not self.connected:
            await self._disconnect()
            advice = ". Start one with: nats-server --jetstream" if self._is_unreachable else ""
            raise ClusterError(f"cannot use NATS at {self._settings.shown}: {self._error or 'no answer'}{advice}")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None and self.connected:
            with contextlib.suppress(Exception):  # best effort
                await self._client.flush(1)
        await self._disconnect()

    async def _disconnect(self) -> None:
        if self._connecting is not None:
            await end_tasks([self._connecting])
        if self._client is not None:
            await _discard(self._client)
            self._client = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._client is not None and not self._lost.is_set()

    async def until_connected(self) -> None:
        """Wait for a connection."""
        while not self.connected:
            self._changed.clear()
            await self._changed.wait()

    async def pause(self, seconds: float) -> None:
        """Sleep, but not beyond the end of this connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lost.wait()

    def give_up(self, reason: str) -> None:
        """Discard a connection through which nothing comes any more."""
        if not self._lost.is_set():
            log.info("discarding the connection to NATS: %s", reason)
            self._lost.set()
            self._changed.set()

    async def _stay_connected(self) -> None:
        while True:
            client = _SafeClient()
            try:
                async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                    await self._connect(client)
            except asyncio.CancelledError:
                _abort(client)
                raise
            except Exception as exc:  # the library raises many kinds, such as for an invalid file of credentials
                self._error = str(exc) if isinstance(exc, ClusterError) else self._error or type(exc).__name__
                self._is_unreachable = isinstance(exc, OSError | nats.errors.NoServersError)
                log.debug("cannot connect to NATS: %s", self._error)
                self._changed.set()
                await _discard(client)
                await asyncio.sleep(RETRY_S)
                continue
            self._client = client
            self.generation += 1
            self.connected_at = time.monotonic()
            log.info("connected to NATS at %s", self._settings.shown)
            self._changed.set()
            await self._lost.wait()
            log.warning("lost the connection to NATS; reconnecting")
            self._client = None
            self._changed.set()
            await _discard(client)

    async def _connect(self, client: Client) -> None:
        lost = self._lost = asyncio.Event()

        async def on_lost() -> None:
            lost.set()
            self._changed.set()

        async def on_error(error: Exception) -> None:
            self._error = describe(error)
            is_slow = isinstance(error, nats.errors.SlowConsumerError)
            log.log(logging.WARNING if is_slow else logging.DEBUG, "NATS: %s", self._error)

        await client.connect(
            self._settings.servers,
            name=self._name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_TIMEOUT_S,  # type: ignore[arg-type]  # any number does
            ping_interval=PING_S,  # type: ignore[arg-type]  # likewise
            max_outstanding_pings=PINGS_MISSED,
            pending_size=PENDING_OUT_BYTES,
            flush_timeout=REQUEST_TIMEOUT_S,
            disconnected_cb=on_lost,
            closed_cb=on_lost,
            error_cb=on_error,
            user_credentials=None if self._settings.credentials is None else str(self._settings.credentials),
            tls=self._tls(),
        )
        with client_errors():
            if self._presence is not None:  # first: without it, this process seems to be gone
                await self._listen(client, *self._presence)
        await self._open_jetstream(client)
        with client_errors():
            for subject, handler in self._subscriptions:
                await self._listen(client, subject, handler)

    async def _open_jetstream(self, client: Client) -> None:
        """Find the buckets and streams, and create those that do not exist."""
        settings = self._settings
        js = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        with client_errors():
            buckets = {}
            for name, ttl_s in ((CHANNELS, None), (CLAIMS, None), (OVERRIDES, None), (WORKERS, settings.lease_s)):
                try:
                    buckets[name] = await js.key_value(name)
                except nats.js.errors.BucketNotFoundError:
                    buckets[name] = await js.create_key_value(
                        bucket=name, ttl=ttl_s, replicas=settings.replicas, limit_marker_ttl=60.0, history=1
                    )
            for stream in _stream_configs(settings.replicas):
                try:
                    await js.stream_info(str(stream.name))
                except nats.js.errors.NotFoundError:
                    await js.add_stream(stream)
            self.lease_s = (await buckets[WORKERS].status()).ttl or settings.lease_s
        self._jetstream, self._buckets = js, buckets
        if self.lease_s != settings.lease_s:
            log.info("using a lease of %g s, as set in NATS, not %g s", self.lease_s, settings.lease_s)

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.authorities is None:
            return None
        try:
            return ssl.create_default_context(cafile=str(self._settings.authorities))
        except (ssl.SSLError, OSError) as exc:
            raise ClusterError(f"{self._settings.authorities} contains no certificates (PEM): {exc}") from None

    async def publish(self, subject: str, data: bytes) -> bool:
        """Send a message; return False if there is no connection, or it broke."""
        if self._client is None or self._lost.is_set():
            return False
        try:
            await self._client.publish(subject, data)
        except (OSError, nats.errors.Error):
            return False
        return True

    async def subscribe(self, subject: str, handler: Handler) -> None:
        """Call a handler with each message on a subject, over this and later connections.

        Raises:
            ClusterError: NATS refuses.
        """
        self._subscriptions.append((subject, handler))
        if self._client is not None:
            with client_errors():
                await self._listen(self._client, subject, handler)

    async def announce(self, subject: str, handler: Handler) -> None:
        """Subscribe to a subject first of all on each new connection: ``has_subscriber`` shows that we are connected.

        Raises:
            ClusterError: NATS refuses.
        """
        self._presence = subject, handler
        if self._client is not None:
            with client_errors():
                await self._listen(self._client, subject, handler)

    async def has_subscriber(self, subject: str, *, within_s: float) -> bool:
        """Return False if NATS says that no process subscribes to a subject, which it does at once.

        Otherwise, also if nothing is known, return True after this time, or earlier.
        """
        if self._client is None or not self.connected:
            return True
        try:
            await self._client.request(subject, b"", timeout=within_s)
        except nats.errors.NoRespondersError:
            return False
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            log.debug("no answer on %s: %s", subject, describe(exc))
        return True

    async def _listen(self, client: Client, subject: str, handler: Handler) -> None:
        async def on_message(msg: Msg) -> None:
            try:
                handler(msg.subject, msg.data)
            except Exception as error:  # one message must not end the subscription
                message = f"a message on {msg.subject[:200]!r} failed: {error}"
                self._limited.log(logging.ERROR, subject, message, error=error)

        await client.subscribe(
            subject, cb=on_message, pending_msgs_limit=PENDING_IN_MESSAGES, pending_bytes_limit=PENDING_IN_BYTES
        )

    # What NATS keeps. These raise ClusterError if there is no connection, or NATS refuses. A change that raised may
    # have been made all the same: the answer was lost.

    @property
    def _js(self) -> JetStreamContext:
        if self._jetstream is None or not self.connected:
            raise ClusterError(f"there is no connection to NATS at {self._settings.shown}")
        return self._jetstream

    def _bucket(self, name: str) -> KeyValue:
        if not self.connected:
            raise ClusterError(f"there is no connection to NATS at {self._settings.shown}")
        return self._buckets[name]

    async def create(self, bucket: str, key: str, value: bytes) -> int:
        """Add an entry; return its revision.

        Raises:
            ConflictError: The key exists.
        """
        with client_errors():
            return await self._bucket(bucket).create(key, value)

    async def replace(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        """Change the entry that has this revision; return its new revision.

        Raises:
            ConflictError: The entry has another revision, or is gone.
        """
        with client_errors():
            return await self._bucket(bucket).update(key, value, last=revision)

    async def put(self, bucket: str, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Add or change an entry, for a time to live (rounded up to whole seconds) or for good; return its revision."""
        ttl = None if ttl_s is None else max(1, math.ceil(ttl_s))
        with client_errors():
            return (await self._js.publish(f"$KV.{bucket}.{key}", value, msg_ttl=ttl)).seq

    async def remove(self, bucket: str, key: str, revision: int | None = None) -> None:
        """Remove an entry, if it exists; with a revision, only if it has that one.

        Raises:
            ConflictError: The entry has another revision, or is gone.
        """
        with client_errors():
            try:
                await self._bucket(bucket).delete(key, last=revision)
            except nats.js.errors.APIError as exc:
                if exc.err_code != WRONG_LAST_SEQUENCE:
                    raise
                raise ConflictError("another process changed the entry first") from exc

    async def snapshot(self, bucket: str) -> dict[str, Entry]:
        """Return all entries of a bucket."""
        with client_errors():
            watcher = await self._bucket(bucket).watchall(inactive_threshold=INACTIVE_S)
            try:
                entries = {}
                while (found := await watcher.updates(timeout=REQUEST_TIMEOUT_S)) is not None:
                    if found.operation is None:
                        entries[found.key] = _entry(found)
                return entries
            finally:
                await watcher.stop()

    async def last(self, stream: str, subject: str) -> Entry | None:
        """Return the newest message of a subject that a stream keeps."""
        with client_errors():
            try:
                return _stored(await self._js.get_last_msg(stream, subject))
            except nats.js.errors.NotFoundError:
                return None

    async def stored_at(self, bucket: str, revision: int) -> float:
        """Return the server time at which an entry was stored, seconds."""
        with client_errors():
            return _stored(await self._js.get_msg(f"KV_{bucket}", seq=revision)).stored_at

    async def replay(self, stream: str, handler: Handler) -> None:
        """Pass everything that a stream keeps to a handler, oldest first."""
        with client_errors():
            if not (await self._js.stream_info(stream)).state.messages:
                return
            subscription = await self._js.subscribe(
                f"{EVENT_SUBJECTS}.>", stream=stream, ordered_consumer=True, inactive_threshold=INACTIVE_S
            )
            try:
                pending = 1
                while pending:
                    msg = await subscription.next_msg(timeout=REQUEST_TIMEOUT_S)
                    handler(msg.subject, msg.data)
                    pending = msg.metadata.num_pending
            finally:
                await subscription.unsubscribe()

    async def purge(self, stream: str, subject: str) -> None:
        """Delete everything that a stream keeps of a subject."""
        with client_errors():
            await self._js.purge_stream(stream, subject=subject)

    async def follow(
        self,
        bucket: str,
        *,
        on_snapshot: Callable[[dict[str, Entry]], None],
        on_change: Callable[[str, Entry | None], None],
    ) -> None:
        """Report all entries of a bucket, then every change, forever; after each new connection all entries again.

        Args:
            bucket: Its name.
            on_snapshot: Called with all entries.
            on_change: Called with a key and its entry; with None if it was removed, or expired.
        """
        while True:
            await self.until_connected()
            try:
                with client_errors():
                    await self._follow_connection(bucket, on_snapshot, on_change)
                continue
            except ClusterError as exc:
                log.debug("cannot follow %s: %s", bucket, exc)
            except Exception as error:  # of the library, or of a callback
                message = f"following {bucket} failed, and is restarted: {error}"
                self._limited.log(logging.ERROR, bucket, message, error=error)
            await asyncio.sleep(RETRY_S)

    async def _follow_connection(
        self,
        bucket: str,
        on_snapshot: Callable[[dict[str, Entry]], None],
        on_change: Callable[[str, Entry | None], None],
    ) -> None:
        """Follow a bucket until the connection is lost."""
        generation = self.generation
        watcher = await self._bucket(bucket).watchall(inactive_threshold=INACTIVE_S)
        snapshot: dict[str, Entry] | None = {}
        try:
            while self.connected and self.generation == generation:
                try:
                    found = await watcher.updates(timeout=POLL_S)
                except nats.errors.TimeoutError:
                    continue
                if found is None:
                    on_snapshot(snapshot or {})
                    snapshot = None
                elif snapshot is None:
                    on_change(found.key, None if found.operation else _entry(found))
                elif found.operation is None:
                    snapshot[found.key] = _entry(found)
        finally:
            with contextlib.suppress(Exception):  # the connection may be gone
                await watcher.stop()


async def _discard(client: Client) -> None:
    """Close a connection and drop its pending messages, without waiting for a server that does not answer."""
    _abort(client)
    with contextlib.suppress(Exception):  # the connection is broken
        async with asyncio.timeout(1.0):
            await client.close()


def _abort(client: Client) -> None:
    transport = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if transport is not None:
        transport.transport.abort()


@contextlib.contextmanager
def client_errors() -> Iterator[None]:
    """Raise the library's errors as ours."""
    try:
        yield
    except nats.js.errors.KeyWrongLastSequenceError as exc:
        raise ConflictError("another process changed the entry first") from exc
    except nats.js.errors.ServiceUnavailableError as exc:
        raise ClusterError(NO_JETSTREAM) from exc
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        raise ClusterError(f"NATS refuses: {describe(exc)}") from exc


def describe(error: BaseException) -> str:
    """Return what an error of the library means."""
    if isinstance(error, nats.js.errors.NoStreamResponseError | nats.errors.NoRespondersError):
        return NO_JETSTREAM
    if isinstance(error, nats.errors.AuthorizationError) or "authorization violation" in str(error).lower():
        return ACCESS_DENIED
    return str(error) or type(error).__name__


def _entry(found: KeyValue.Entry) -> Entry:
    created: Any = found.created  # annotated as a number, and it is a date
    stored_at = created.timestamp() if isinstance(created, datetime) else 0.0
    return Entry(value=found.value or b"", revision=found.revision or 0, stored_at=stored_at)


def _stored(found: api.RawStreamMsg) -> Entry:
    stored_at = 0.0 if found.time is None else found.time.timestamp()
    return Entry(value=found.data or b"", revision=found.seq or 0, stored_at=stored_at)
