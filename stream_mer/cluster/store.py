"""What NATS keeps for us, over one connection: buckets of entries, and streams of what was last said."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api
from nats.js.kv import KeyValue

from stream_mer.cluster.names import SUBJECTS
from stream_mer.cluster.records import CHANNELS, CLAIMS, HOLDS, WORKERS
from stream_mer.cluster.settings import NatsSettings
from stream_mer.errors import ClusterError

LATEST, LINES = "MER_LATEST", "MER_LINES"
"""Streams: the last value of what is latest-wins, and the last lines of what is kept in order."""

LINES_KEPT = 64
LINES_KEPT_S = 3600.0
"""Lyrics and changes that are remembered of each channel, for serving nodes that come, or come back."""

NOT_LET_IN = "the user, password, token or credentials are wrong"
NO_JETSTREAM = "it runs without JetStream, or that is not ready; start it with: nats-server --jetstream"
REQUEST_TIMEOUT_S = 2.0
LOOK_UP_S = 0.25

Handler = Callable[[str, bytes], None]
"""Takes a subject and what came on it; must be quick."""


class ConflictError(ClusterError):
    """Somebody else changed the entry before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a bucket, or a stream, holds under one key.

    Attributes:
        value: The bytes.
        revision: Grows with every change in the bucket.
        stored_at: The server's clock when it was stored, seconds.
    """

    value: bytes
    revision: int
    stored_at: float


class Store:
    """The buckets and streams; every method raises ``ClusterError`` where NATS cannot be reached, or refuses.

    A change that raised may have been made all the same: the answer was lost.

    Args:
        js: JetStream, over one connection.
        buckets: By their names.
        lease_s: Time to live of what is in the bucket of the workers, seconds.
    """

    def __init__(self, js: JetStreamContext, buckets: Mapping[str, KeyValue], lease_s: float) -> None:
        self._js = js
        self._buckets = buckets
        self.lease_s = lease_s

    @classmethod
    async def open(cls, js: JetStreamContext, settings: NatsSettings) -> Store:
        """Find everything, or make what is not there yet.

        Raises:
            ClusterError: NATS refuses, or has no JetStream.
        """
        with told():
            buckets = {}
            for name, ttl_s in ((CHANNELS, None), (CLAIMS, None), (HOLDS, None), (WORKERS, settings.lease_s)):
                try:
                    buckets[name] = await js.key_value(name)
                except nats.js.errors.BucketNotFoundError:
                    buckets[name] = await js.create_key_value(
                        bucket=name, ttl=ttl_s, replicas=settings.replicas, limit_marker_ttl=60.0, history=1
                    )
            for stream in _streams(settings.replicas):
                try:
                    await js.stream_info(str(stream.name))
                except nats.js.errors.NotFoundError:
                    await js.add_stream(stream)
            lease_s = (await buckets[WORKERS].status()).ttl
        return cls(js, buckets, lease_s or settings.lease_s)

    async def create(self, bucket: str, key: str, value: bytes) -> int:
        """Add an entry; return its revision.

        Raises:
            ConflictError: There is one.
        """
        with told():
            return await self._buckets[bucket].create(key, value)

    async def replace(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        """Change the entry that has this revision; return its new one.

        Raises:
            ConflictError: It has another one, or is gone.
        """
        with told():
            return await self._buckets[bucket].update(key, value, last=revision)

    async def put(self, bucket: str, key: str, value: bytes, *, ttl_s: float | None = None) -> int:
        """Add or change an entry, for a time to live of whole seconds, rounded up, or for good; return its revision."""
        ttl = None if ttl_s is None else max(1, math.ceil(ttl_s))
        with told():
            return (await self._js.publish(f"$KV.{bucket}.{key}", value, msg_ttl=ttl)).seq

    async def remove(self, bucket: str, key: str) -> None:
        """Remove an entry, if there is one."""
        with told():
            await self._buckets[bucket].delete(key)

    async def snapshot(self, bucket: str) -> dict[str, Entry]:
        """Return all entries of a bucket."""
        with told():
            watcher = await self._buckets[bucket].watchall()
            try:
                entries = {}
                while (found := await watcher.updates(timeout=REQUEST_TIMEOUT_S)) is not None:
                    if found.operation is None:
                        entries[found.key] = _entry(found)
                return entries
            finally:
                await watcher.stop()

    async def follow(
        self,
        bucket: str,
        *,
        known: Callable[[dict[str, Entry]], None],
        changed: Callable[[str, Entry | None], None],
        while_: Callable[[], bool],
    ) -> None:
        """Tell all entries of a bucket, then every change.

        Args:
            bucket: Its name.
            known: Takes all entries.
            changed: Takes a key and its entry; None where it was removed, or not renewed in time.
            while_: Tells whether to go on.
        """
        with told():
            watcher = await self._buckets[bucket].watchall()
            try:
                entries: dict[str, Entry] | None = {}
                while while_():
                    try:
                        found = await watcher.updates(timeout=LOOK_UP_S)
                    except nats.errors.TimeoutError:
                        continue
                    if found is None:
                        known(entries or {})
                        entries = None
                    elif entries is None:
                        changed(found.key, None if found.operation else _entry(found))
                    elif found.operation is None:
                        entries[found.key] = _entry(found)
            finally:
                with contextlib.suppress(Exception):  # the connection may be gone, and the watch with it
                    await watcher.stop()

    async def last(self, stream: str, subject: str) -> Entry | None:
        """Return the newest message that a stream keeps of a subject."""
        with told():
            try:
                return _stored(await self._js.get_last_msg(stream, subject))
            except nats.js.errors.NotFoundError:
                return None

    async def stored_at(self, bucket: str, revision: int) -> float:
        """Return when an entry was stored, by the server's clock, seconds."""
        with told():
            return _stored(await self._js.get_msg(f"KV_{bucket}", seq=revision)).stored_at

    async def replay(self, stream: str, handler: Handler) -> None:
        """Hand everything that a stream keeps to a handler, oldest first."""
        with told():
            if not (await self._js.stream_info(stream)).state.messages:
                return
            found = await self._js.subscribe(f"{SUBJECTS}.>", stream=stream, ordered_consumer=True)
            try:
                waiting = 1
                while waiting:
                    msg = await found.next_msg(timeout=REQUEST_TIMEOUT_S)
                    handler(msg.subject, msg.data)
                    waiting = msg.metadata.num_pending
            finally:
                await found.unsubscribe()

    async def forget(self, stream: str, subject: str) -> None:
        """Throw away what a stream keeps of a subject."""
        with told():
            await self._js.purge_stream(stream, subject=subject)


def _streams(replicas: int) -> tuple[api.StreamConfig, ...]:
    """What keeps the last values: written by the server as they pass, so nobody waits for it."""
    latest = [f"{SUBJECTS}.*.{kind}" for kind in ("emotion", "status")]
    lines = [f"{SUBJECTS}.*.{kind}" for kind in ("lyrics", "change")]
    shared: dict[str, Any] = {"num_replicas": replicas, "discard": api.DiscardPolicy.OLD, "no_ack": True}
    return (
        api.StreamConfig(name=LATEST, subjects=latest, max_msgs_per_subject=1, **shared),
        api.StreamConfig(name=LINES, subjects=lines, max_msgs_per_subject=LINES_KEPT, max_age=LINES_KEPT_S, **shared),
    )


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Tell the library's errors in our words."""
    try:
        yield
    except nats.js.errors.KeyWrongLastSequenceError as exc:
        raise ConflictError("somebody else was faster") from exc
    except nats.js.errors.ServiceUnavailableError as exc:
        raise ClusterError(NO_JETSTREAM) from exc
    except (nats.errors.Error, OSError, TimeoutError) as exc:
        raise ClusterError(f"NATS refuses: {in_words(exc)}") from exc


def in_words(error: BaseException) -> str:
    """Return what an error of the library says to people."""
    if isinstance(error, nats.js.errors.NoStreamResponseError | nats.errors.NoRespondersError):
        return NO_JETSTREAM
    if isinstance(error, nats.errors.AuthorizationError) or "authorization violation" in str(error).lower():
        return NOT_LET_IN
    return str(error) or type(error).__name__


def _entry(found: KeyValue.Entry) -> Entry:
    created: Any = found.created  # annotated as a number, and it is a date
    stored_at = created.timestamp() if isinstance(created, datetime) else 0.0
    return Entry(value=found.value or b"", revision=found.revision or 0, stored_at=stored_at)


def _stored(found: api.RawStreamMsg) -> Entry:
    stored_at = 0.0 if found.time is None else found.time.timestamp()
    return Entry(value=found.data or b"", revision=found.seq or 0, stored_at=stored_at)
