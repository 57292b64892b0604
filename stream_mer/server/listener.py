"""The listening sockets, TLS, and how many connections may be open, counted from the accept.

Counting later (after a TLS handshake, after a request) would be too late: a connection that never sends anything holds
a descriptor, and with TLS a quarter of a megabyte, from the accept on. So the listening socket itself counts what it
accepts. When there are too many, the connection that has waited longest without becoming a client is closed: clients in
good faith have finished the handshake long before.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import ipaddress
import logging
import os
import socket
import ssl
import time
from collections import OrderedDict
from typing import Any

from stream_mer.config import ServeSettings
from stream_mer.errors import ServeError, SettingError
from stream_mer.utils.log_limit import LimitedLog

logger = logging.getLogger(__name__)

REFUSED_AT_ONCE = 32
"""Connections that are refused in a row before the event loop goes on."""

COLLECT_AFTER = 64
"""After this many evictions garbage is collected: a failed TLS handshake leaves 250 kB in a reference cycle."""

OTHER_FILES = 512
"""Open files beside the clients: models, devices, outputs, pages, and connections that are not clients yet."""

KEPT_FREE = 64
"""Files that the rest of the process may still open when all connections are taken."""

MIN_CONNECTIONS = 16

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""The system has no descriptor, or no memory, for one more connection."""

_PAUSE_S = 0.01


def max_connections(wanted: int) -> int:
    """Return how many connections may be open at once: ``wanted``, or fewer where the limit of open files requires."""
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ImportError:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    try:
        in_use = len(os.listdir("/dev/fd"))  # noqa: PTH208 - names are enough
    except OSError:
        in_use = OTHER_FILES
    return min(wanted, max(MIN_CONNECTIONS, soft - in_use - KEPT_FREE))


def raise_file_limit(clients: int) -> None:
    """Raise this process's limit of open files so that ``clients`` clients can connect, as far as it may.

    Most systems allow 256 or 1,024 files unless a process asks for more.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ImportError:
        return
    wanted = clients + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):  # some systems allow less than their hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft < wanted:
        logger.warning(
            "this process may have %d open files, too few for %d clients: raise the limit (ulimit -Hn) to %d, "
            "or accept fewer with --limit max_clients=%d",
            soft, clients, wanted, max(1, soft - OTHER_FILES),
        )  # fmt: skip


def tls_context(settings: ServeSettings) -> ssl.SSLContext | None:
    """Return the context of a server for TLS 1.2 or newer; None where no certificate is set.

    Raises:
        SettingError: A file cannot be read, is not PEM, or the key belongs to another certificate.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as exc:
        why = "the key does not belong to the certificate" if "MISMATCH" in str(exc) else "they must be PEM files"
        raise SettingError(f"{certificate} and {key or 'the key in it'} cannot be used for TLS: {why}") from None
    except OSError as exc:
        raise SettingError(f"cannot read {exc.filename or certificate}: {exc.strerror or exc}") from None
    return context


def _no_password() -> str:
    raise SettingError("the TLS key has a password: remove it, so that the server can start unattended")


class ConnectionLimit:
    """How many connections may be open, and which one is closed to make room for the next.

    Used in the thread of the event loop only.

    Args:
        maximum: Connections at once, at least 1.
        max_waiting: How many of them may not be clients yet, at least 1.
        log: Where refusals are logged; None for the log of this module.
    """

    def __init__(self, maximum: int, *, max_waiting: int, log: LimitedLog | None = None) -> None:
        self._maximum = maximum
        self._max_waiting = max_waiting
        self._log = log or LimitedLog(logger)
        self._open: dict[int, _Accepted] = {}
        self._waiting: OrderedDict[int, _Accepted] = OrderedDict()
        self._evicted = 0
        # Closed for a moment where the process has no descriptor left, so that a connection can be accepted and closed.
        self._spare: int | None = None
        self._open_spare()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def waiting(self) -> int:
        """How many of them are not clients yet."""
        return len(self._waiting)

    def settled(self, descriptor: int) -> None:
        """Note that a connection has become a client: it is no longer closed to make room."""
        self._waiting.pop(descriptor, None)

    def close(self) -> None:
        """Close the spare descriptor; idempotent."""
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def admit(self, connection: _Accepted) -> bool:
        """Count a connection that was accepted; return False where there is no room, and it has to be closed."""
        full = len(self._open) >= self._maximum
        if (full or len(self._waiting) >= self._max_waiting) and not self._make_room() and full:
            self._warn(
                f"all {self._maximum} connections of this server are open; others are refused: "
                "accept fewer clients, or raise the limit of open files (ulimit -n)"
            )
            return False
        descriptor = connection.fileno()
        self._open[descriptor] = self._waiting[descriptor] = connection
        return True

    def forget(self, descriptor: int, connection: _Accepted) -> None:
        """Note that a connection is closed; idempotent."""
        if self._open.get(descriptor) is connection:
            del self._open[descriptor]
            self._waiting.pop(descriptor, None)
        if self._evicted >= COLLECT_AFTER and not self._waiting:
            self._evicted = 0
            gc.collect()

    def exhausted(self, listener: Listener) -> None:
        """Refuse one connection, because there is no descriptor for it."""
        self._warn("this process has no file descriptor left for another connection: raise the limit (ulimit -n)")
        self._make_room()
        self.close()
        try:
            with contextlib.suppress(OSError):
                listener.refuse()
        finally:
            self._open_spare()
        if self._spare is None:
            time.sleep(_PAUSE_S)  # nothing else keeps an event loop without descriptors from spinning

    def _make_room(self) -> bool:
        """Close the connection that has waited longest; return False where none waits."""
        if not self._waiting:
            return False
        self._evicted += 1
        descriptor, oldest = self._waiting.popitem(last=False)
        del self._open[descriptor]
        with contextlib.suppress(OSError):  # it is closed already
            oldest.shutdown(socket.SHUT_RDWR)  # the event loop reads the end, and closes
        self._warn(
            f"more than {min(self._maximum, self._max_waiting)} connections wait without becoming clients; "
            "those that have waited longest are closed"
        )
        return True

    def _warn(self, message: str) -> None:
        self._log.log(logging.WARNING, "connections", message)

    def _open_spare(self) -> None:
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)


class Listener(socket.socket):
    """A listening socket that counts what it accepts, for event loops that call ``accept`` (all but Windows')."""

    limit: ConnectionLimit

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection for which there is room; others are refused.

        Raises:
            BlockingIOError: There is none, or the event loop is to go on first.
        """
        for _ in range(REFUSED_AT_ONCE):
            try:
                plain, address = super().accept()
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self.limit.exhausted(self)
                continue
            accepted = _Accepted(self.family, self.type, self.proto, fileno=plain.detach())
            accepted.limit = self.limit
            if self.limit.admit(accepted):
                return accepted, address
            accepted.close()
        raise BlockingIOError

    def refuse(self) -> None:
        """Accept a connection and close it.

        Raises:
            OSError: There is none.
        """
        plain, _ = super().accept()
        plain.close()


class _Accepted(socket.socket):
    """A connection that reports when it is closed."""

    limit: ConnectionLimit

    def close(self) -> None:
        descriptor = self.fileno()
        super().close()
        self.limit.forget(descriptor, self)


def listen_on(host: str, port: int, limit: ConnectionLimit) -> list[Listener]:
    """Bind all addresses of a host: one, those of a name, or, for ``""``, those of both families.

    ``::`` includes IPv4 where the system lets one socket do so.

    Raises:
        ServeError: An address cannot be bound.
    """
    listeners: list[Listener] = []
    missing: OSError | None = None
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if family in {socket.AF_INET, socket.AF_INET6}:
                bound_port = listeners[0].getsockname()[1] if listeners else port
                where: tuple[Any, ...] = (address[0], bound_port, *address[2:])
                try:
                    listeners.append(_listener(family, kind, protocol, where, limit, both=host == "::"))
                except OSError as exc:
                    missing = exc
                    if exc.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                        raise
        if missing is not None and not listeners:
            raise missing  # noqa: TRY301 - there is nothing to close
    except BaseException as exc:
        for listener in listeners:
            listener.close()
        if isinstance(exc, OSError):
            raise bind_error(exc, host, port) from exc
        raise
    return listeners


def _listener(
    family: int, kind: int, protocol: int, address: tuple[Any, ...], limit: ConnectionLimit, *, both: bool
) -> Listener:
    listener = Listener(family, kind, protocol)
    listener.limit = limit
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Without both, one socket for each family: those of "" would take each other's port.
            with contextlib.suppress(OSError):
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        listener.setblocking(False)  # noqa: FBT003 - the name is that of the library
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def bind_error(exc: OSError, host: str, port: int) -> ServeError:
    """Return the error for an address that cannot be bound, with what to do."""
    if exc.errno == errno.EADDRINUSE:
        return ServeError(
            f"port {port} on {host} is in use, perhaps by another stream-mer: stop that one, "
            f"or use another port: stream-mer serve --port {port + 1 if port < 65_535 else 8765}"
        )
    if exc.errno == errno.EACCES:
        return ServeError(f"this user may not open port {port}: use one above 1023, such as --port 8765")
    if exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror):
        return ServeError(f"{host} is not an address of this machine: use one of its own, or leave --host out")
    return ServeError(f"cannot listen on {host} port {port}: {exc.strerror or exc}")


def reachable_host(host: str, bound: str) -> str:
    """Return the host of an address that a browser on this machine can open, in brackets where it is IPv6.

    Args:
        host: The host of the settings.
        bound: The IP address that was bound for it.
    """
    address = ipaddress.ip_address(bound.partition("%")[0])
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{host}]" if ":" in host else host
