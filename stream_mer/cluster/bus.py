"""The connection to NATS. It is never mended but thrown away with all that waits in it, and made anew.

So nothing that was meant for then is sent later. Whoever uses it asks ``connected``; what was subscribed goes on with
each new connection, and ``generation`` counts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from stream_mer.cluster.settings import NatsSettings
from stream_mer.cluster.store import NOT_LET_IN, REQUEST_TIMEOUT_S, Entry, Handler, Store, in_words, told
from stream_mer.cluster.tasks import end
from stream_mer.errors import ClusterError
from stream_mer.utils.log_limit import LimitedLog

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 2.0
FIRST_CONNECT_TIMEOUT_S = 6.0
RETRY_S = 0.25
PING_S, PINGS_MISSED = 1.0, 2
"""A server that answers no ping for so long is gone; the library's own two minutes are too many."""

PENDING_OUT_BYTES = 1 << 20
PENDING_IN_MESSAGES, PENDING_IN_BYTES = 8192, 16 << 20
"""What may wait in the library, for the server and for us. Handlers only sort, so it is a second's worth at most."""


class _SafeClient(Client):
    """Says nothing, least of all a password, to a server that does not speak TLS where it is asked to.

    The library speaks TLS where the server asks for it, and whoever stands between can have it not ask. Its public API
    tells of that only after the password went out, hence a private method, and one minor release of the library
    (``pyproject.toml``). A release without that method is refused.
    """

    if not hasattr(Client, "_process_info"):
        raise ImportError("this nats-py is not known to keep passwords from servers without TLS: install nats-py 2.16")

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's signature
        scheme = None if self._current_server is None else self._current_server.uri.scheme
        if (scheme == "tls" or "tls" in self.options) and not info.get("tls_required"):
            raise nats.errors.Error("it does not speak TLS, which tls:// and --nats-ca want")
        await super()._process_info(info, initial_connection)


class Bus:
    """A connection to NATS with JetStream, for as long as ``async with`` lasts.

    Args:
        settings: Where it is.
        name: What its people see us as.

    Attributes:
        generation: Counts the connections; 0 before the first.
        lease_s: Time to live of what is in the bucket of the workers, seconds; known once connected.

    Raises:
        ClusterError: On entering: it cannot be reached, or refuses.
    """

    def __init__(self, settings: NatsSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._client: Client | None = None
        self._store: Store | None = None
        self._handlers: list[tuple[str, Handler]] = []
        self._lost = asyncio.Event()
        self._changed = asyncio.Event()
        self._why = ""
        self._is_unreachable = True
        self._keeper: asyncio.Task[None] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._limited = LimitedLog(log)
        self.generation = 0
        self.lease_s = settings.lease_s

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as anybody knows."""
        return self._client is not None and not self._lost.is_set()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call a function whenever the connection is lost or made."""
        self._watchers.append(changed)

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep_connected())
        try:
            async with asyncio.timeout(FIRST_CONNECT_TIMEOUT_S):
                while not self.connected and self._why != NOT_LET_IN:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        if not self.connected:
            await self._leave()
            how = ". Start one with: nats-server --jetstream" if self._is_unreachable else ""
            raise ClusterError(f"cannot use NATS at {self._settings.shown}: {self._why or 'nothing answers'}{how}")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client = self._client
        if client is not None and self.connected:
            with contextlib.suppress(Exception):  # whoever leaves does not care any more
                await client.flush(1)
        await self._leave()

    async def _leave(self) -> None:
        assert self._keeper is not None  # noqa: S101 - narrows the type
        await end([self._keeper])
        if self._client is not None:
            await _discard(self._client)
            self._client = None

    async def until_connected(self) -> None:
        """Wait for a connection."""
        while not self.connected:
            self._changed.clear()
            await self._changed.wait()

    def suspect(self, why: str) -> None:
        """Give the connection up: it is there, but nothing comes through."""
        if not self._lost.is_set():
            log.info("giving up the connection to NATS: %s", why)
            self._lost.set()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        for changed in self._watchers:
            changed()

    async def _keep_connected(self) -> None:
        while True:
            client = _SafeClient()
            try:
                async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                    await self._connect(client)
            except asyncio.CancelledError:
                _abort(client)
                raise
            except Exception as exc:  # also what the library makes of a file of credentials that is none
                self._why = str(exc) if isinstance(exc, ClusterError) else self._why or type(exc).__name__
                self._is_unreachable = isinstance(exc, OSError | nats.errors.NoServersError)
                log.debug("no connection to NATS: %s", self._why)
                self._changed.set()
                await _discard(client)
                await asyncio.sleep(RETRY_S)
                continue
            self._client = client
            self.generation += 1
            log.info("connected to NATS at %s", self._settings.shown)
            self._tell()
            await self._lost.wait()
            log.warning("the connection to NATS is lost; making a new one")
            self._client = None
            self._tell()
            await _discard(client)

    async def _connect(self, client: Client) -> None:
        gone = self._lost = asyncio.Event()

        async def lost() -> None:
            gone.set()
            self._tell()

        async def failed(error: Exception) -> None:
            self._why = in_words(error)
            slow = isinstance(error, nats.errors.SlowConsumerError)
            log.log(logging.WARNING if slow else logging.DEBUG, "NATS: %s", self._why)

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
            disconnected_cb=lost,
            closed_cb=lost,
            error_cb=failed,
            user_credentials=None if self._settings.credentials is None else str(self._settings.credentials),
            tls=self._tls(),
        )
        self._store = await Store.open(client.jetstream(timeout=REQUEST_TIMEOUT_S), self._settings)
        self.lease_s = self._store.lease_s
        if self.lease_s != self._settings.lease_s:
            log.info("the lease is %g s, as whoever came first decided; not %g s", self.lease_s, self._settings.lease_s)
        with told():
            for subject, handler in self._handlers:
                await self._listen(client, subject, handler)

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.authorities is None:
            return None
        try:
            return ssl.create_default_context(cafile=str(self._settings.authorities))
        except (ssl.SSLError, OSError) as exc:
            raise ClusterError(f"{self._settings.authorities} holds no certificates (PEM): {exc}") from None

    async def publish(self, subject: str, data: bytes) -> bool:
        """Send; return False where there is no connection, or it broke just then."""
        client = self._client
        if client is None or self._lost.is_set():
            return False
        try:
            await client.publish(subject, data)
        except (OSError, nats.errors.Error):
            return False
        return True

    async def subscribe(self, subject: str, handler: Handler) -> None:
        """Hand everything that comes on a subject to a handler, which must be quick, over this and later connections.

        Raises:
            ClusterError: It is refused.
        """
        self._handlers.append((subject, handler))
        if self._client is not None:
            with told():
                await self._listen(self._client, subject, handler)

    async def _listen(self, client: Client, subject: str, handler: Handler) -> None:
        async def take(msg: Msg) -> None:
            try:
                handler(msg.subject, msg.data)
            except Exception as error:  # one message that a handler cannot take must not end the subscription
                message = f"a message on {msg.subject[:200]!r} failed: {error}"
                self._limited.log(logging.ERROR, subject, message, error=error)

        await client.subscribe(
            subject, cb=take, pending_msgs_limit=PENDING_IN_MESSAGES, pending_bytes_limit=PENDING_IN_BYTES
        )

    @property
    def store(self) -> Store:
        """What NATS keeps, over the connection of now.

        Raises:
            ClusterError: There is none.
        """
        if self._store is None or not self.connected:
            raise ClusterError(f"there is no connection to NATS at {self._settings.shown} now")
        return self._store

    async def follow(
        self,
        bucket: str,
        *,
        known: Callable[[dict[str, Entry]], None],
        changed: Callable[[str, Entry | None], None],
    ) -> None:
        """Tell all entries of a bucket, then every change, for ever; after each new connection all entries again.

        Args:
            bucket: Its name.
            known: Takes all entries.
            changed: Takes a key and its entry; None where it was removed, or not renewed in time.
        """
        while True:
            await self.until_connected()
            generation = self.generation
            try:
                await self.store.follow(
                    bucket,
                    known=known,
                    changed=changed,
                    while_=lambda at=generation: self.connected and self.generation == at,  # type: ignore[misc]
                )
            except ClusterError as exc:
                log.debug("cannot follow %s: %s", bucket, exc)
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # of the library, or of whoever is told: it is followed on from the beginning
                message = f"following {bucket} failed, and begins anew: {error}"
                self._limited.log(logging.ERROR, bucket, message, error=error)
                await asyncio.sleep(RETRY_S)


async def _discard(client: Client) -> None:
    """Throw a connection away with what waits in it; never waits for a server that does not answer."""
    _abort(client)
    with contextlib.suppress(Exception):  # whatever it has to say of a connection that is broken
        async with asyncio.timeout(1.0):
            await client.close()


def _abort(client: Client) -> None:
    transport = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if transport is not None:
        transport.transport.abort()
