"""How many connections the operating system lets this process have."""

from __future__ import annotations

import contextlib
import logging
import os

logger = logging.getLogger(__name__)

OTHERS = 512
"""Open files beside the clients: models, devices, outputs, pages, and connections that are not clients yet."""


KEPT_FREE = 64
"""Files that the rest of the process may still open when all connections are taken."""

FEWEST_CONNECTIONS = 16


def most_connections(wanted: int) -> int:
    """Return how many connections may be open at once: so many as wanted, or as the limit of open files leaves."""
    try:
        import resource  # noqa: PLC0415 - see make_room
    except ImportError:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    try:
        in_use = len(os.listdir("/dev/fd"))  # noqa: PTH208 - names are enough
    except OSError:
        in_use = OTHERS
    return min(wanted, max(FEWEST_CONNECTIONS, soft - in_use - KEPT_FREE))


def make_room(clients: int) -> None:
    """Raise this process's limit of open files as far as it may, so that so many clients find room.

    Most systems let a process have 256 or 1,024 unless it asks for more.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ImportError:
        return
    wanted = clients + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    may_have = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):  # some systems bear less than they call their limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (may_have, hard))
        soft = may_have
    if soft < wanted:
        logger.warning(
            "this process may have %d open files, too few for %d clients: raise the limit (ulimit -Hn) to %d, "
            "or take fewer with --limit max_clients=%d",
            soft, clients, wanted, max(1, soft - OTHERS),
        )  # fmt: skip
