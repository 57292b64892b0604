"""The sockets of the port, and how many connections may be open on it, counted from the accept.

What is counted later (after a TLS handshake, after a request) is too late: a connection that never says a word holds a
descriptor, and with TLS a quarter of a megabyte, from the accept on. So the listening socket itself counts what it
accepts. Where there are too many, the one that has waited longest without becoming a client makes room: somebody who
comes in good faith is through the handshake long before.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import ipaddress
import logging
import os
import socket
import time
from collections import OrderedDict
from typing import Any

from stream_mer.utils.log_limit import LimitedLog

logger = logging.getLogger(__name__)

REFUSED_AT_ONCE = 32
"""So many connections are refused in a row before the rest of the process gets its turn."""

COLLECT_AFTER = 64
"""After a flood in which so many were hung up on, garbage is collected at once: a failed TLS handshake leaves a quarter
of a megabyte in a cycle of references."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""The system has no descriptor, or no memory, for one more connection."""

_PAUSE_S = 0.01


class ConnectionLimit:
    """How many connections may be open, and which one makes room for the next.

    Used in the thread of the event loop only.

    Args:
        most: Connections at once, at least 1.
        most_waiting: Of these so many may be no clients yet, at least 1.
        log: Where refusals are told; None for the log of this module.
    """

    def __init__(self, most: int, *, most_waiting: int, log: LimitedLog | None = None) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._log = log or LimitedLog(logger)
        self._open: dict[int, _Accepted] = {}
        self._waiting: OrderedDict[int, _Accepted] = OrderedDict()
        self._evicted = 0
        # Given back for a moment where the process has no descriptor left, so that whoever knocks can be turned away.
        self._spare: int | None = None
        self._take_spare()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def waiting(self) -> int:
        """How many of them are no clients yet."""
        return len(self._waiting)

    def settled(self, descriptor: int) -> None:
        """Take note that a connection has become that of a client: it makes room for nobody any more."""
        self._waiting.pop(descriptor, None)

    def close(self) -> None:
        """Give the spare descriptor back; idempotent."""
        spare, self._spare = self._spare, None
        if spare is not None:
            os.close(spare)

    def admit(self, connection: _Accepted) -> bool:
        """Count a connection that was accepted; False where there is no room, and it has to be closed."""
        full = len(self._open) >= self._most
        if (full or len(self._waiting) >= self._most_waiting) and not self._make_room() and full:
            self._warn(
                f"all {self._most} connections that this server bears are open; others are hung up on: "
                "take fewer clients, or raise the limit of open files (ulimit -n)"
            )
            return False
        descriptor = connection.fileno()
        self._open[descriptor] = self._waiting[descriptor] = connection
        return True

    def forget(self, descriptor: int, connection: _Accepted) -> None:
        """Take note that a connection is closed; idempotent."""
        if self._open.get(descriptor) is connection:
            del self._open[descriptor]
            self._waiting.pop(descriptor, None)
        if self._evicted >= COLLECT_AFTER and not self._waiting:
            self._evicted = 0
            gc.collect()

    def exhausted(self, listener: Listener) -> None:
        """Turn one connection away, because there is no descriptor for it."""
        self._warn("this process has no file descriptor left for another connection: raise the limit (ulimit -n)")
        self._make_room()
        self.close()
        try:
            with contextlib.suppress(OSError):
                listener.refuse()
        finally:
            self._take_spare()
        if self._spare is None:
            time.sleep(_PAUSE_S)  # nothing else keeps a loop without descriptors from spinning

    def _make_room(self) -> bool:
        """Hang up on the connection that has waited longest; False where none waits."""
        if not self._waiting:
            return False
        self._evicted += 1
        descriptor, oldest = self._waiting.popitem(last=False)
        del self._open[descriptor]
        with contextlib.suppress(OSError):  # it is gone already
            oldest.shutdown(socket.SHUT_RDWR)  # the loop reads the end, and closes
        self._warn(
            f"more than {min(self._most, self._most_waiting)} connections wait without becoming clients; "
            "those that have waited longest are hung up on"
        )
        return True

    def _warn(self, message: str) -> None:
        """Log at most one line a minute, whatever happens."""
        self._log.log(logging.WARNING, "connections", message)

    def _take_spare(self) -> None:
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)


class Listener(socket.socket):
    """A listening socket that counts what it accepts, for an event loop that calls ``accept`` (all but Windows')."""

    limit: ConnectionLimit

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection that there is room for; others are hung up on.

        Raises:
            BlockingIOError: None is there, or others get their turn first.
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
            OSError: None is there.
        """
        plain, _ = super().accept()
        plain.close()


class _Accepted(socket.socket):
    """A connection that tells when it is closed."""

    limit: ConnectionLimit

    def close(self) -> None:
        descriptor = self.fileno()
        super().close()
        self.limit.forget(descriptor, self)


def listen_on(host: str, port: int, limit: ConnectionLimit) -> list[Listener]:
    """Bind all addresses that a host means: one, those of a name, or, for ``""``, those of both families.

    ``::`` takes IPv4, too, where the system lets one socket do so.

    Raises:
        OSError: An address cannot be bound.
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
    except BaseException:
        for listener in listeners:
            listener.close()
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


def reachable_host(host: str, bound: str) -> str:
    """Return the host of an address that a browser on this machine can open, in brackets where it is IPv6.

    Args:
        host: What was asked for.
        bound: The IP address that was bound for it.
    """
    address = ipaddress.ip_address(bound.partition("%")[0])
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{host}]" if ":" in host else host
