"""Writing to disk beside a show that must not wait for it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Generic, Protocol, TypeVar

from stream_mer.utils.mailbox import Mailbox, MailboxClosed

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.5
"""What a crash of the process may cost at most."""

END_WITHIN_S = 10.0
"""So long the end of a show waits for a slow disk."""

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Keeper(Protocol[T_contra]):
    """What items are written to, in one thread; every method may raise ``OSError``."""

    def write(self, item: T_contra, *, lost: int) -> None:
        """Write an item, before which so many were lost."""

    def flush(self) -> None:
        """Let nothing wait in the process."""

    def close(self) -> None:
        """Write what stands at the end."""


class BackgroundWriter(Generic[T]):
    """Hands items to a keeper in a thread of its own.

    Whoever puts never waits. If the disk is too slow the oldest are lost and counted; if it is full, or gone, that is
    said once and nothing more is written.

    Args:
        keeper: Writes.
        what: What is written, for people.
        capacity: How many items may wait.
    """

    def __init__(self, keeper: Keeper[T], what: str, *, capacity: int) -> None:
        self._keeper = keeper
        self._what = what
        self._items: Mailbox[T] = Mailbox(capacity=capacity, when_full="drop_oldest")
        self._lost_told = 0
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"record {what}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T) -> None:
        """Add an item; after the end, or once the disk failed, it is dropped."""
        with contextlib.suppress(MailboxClosed):
            self._items.put(item)

    def stop(self) -> None:
        """Write what waits, and end; idempotent."""
        self._items.close()
        if self._thread.ident is not None:
            self._thread.join(END_WITHIN_S)
            if self._thread.is_alive():
                log.error("the disk is too slow: the end of %s is lost", self._what)

    def _run(self) -> None:
        try:
            self._write_until_end()
        except Exception as error:  # whatever a keeper does, the show goes on
            reason = (isinstance(error, OSError) and error.strerror) or error or type(error).__name__
            log.error("%s: %s; no more of it is recorded, the show goes on", self._what, reason)  # noqa: TRY400 - a full disk needs no traceback
        finally:
            self._items.close()

    def _write_until_end(self) -> None:
        try:
            flushed_at = time.monotonic()
            while True:
                try:
                    self._write(self._items.get(timeout_s=FLUSH_EVERY_S))
                except TimeoutError:
                    pass
                except MailboxClosed:
                    break
                if time.monotonic() - flushed_at >= FLUSH_EVERY_S:
                    self._keeper.flush()
                    flushed_at = time.monotonic()
        except Exception:
            with contextlib.suppress(Exception):  # it says the same again, in words of its own
                self._keeper.close()
            raise
        self._keeper.close()

    def _write(self, item: T) -> None:
        lost = self._items.statistics().dropped - self._lost_told
        if lost:
            log.warning("the disk is too slow: %d of %s are lost", lost, self._what)
        self._lost_told += lost
        self._keeper.write(item, lost=lost)
