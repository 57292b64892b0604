"""Silence for C libraries that write to standard error on their own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2

_LONGEST_S = 5.0
"""A call that hangs must not take the program's own messages with it for good."""


class _Silence:
    """File descriptor 2 sent to nowhere while at least one holder wants it so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: set[object] = set()
        self._saved: int | None = None

    def begin(self, holder: object) -> None:
        with self._lock:
            self._holders.add(holder)
            if self._saved is not None:
                return
            try:
                self._saved = os.dup(_STDERR)
            except OSError:  # A service may run without standard error: there is nothing to silence.
                return
            if sys.stderr is not None:
                sys.stderr.flush()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDERR)
            os.close(nowhere)

    def end(self, holder: object) -> None:
        with self._lock:
            self._holders.discard(holder)
            if self._holders or self._saved is None:
                return
            os.dup2(self._saved, _STDERR)
            os.close(self._saved)
            self._saved = None


_SILENCE = _Silence()


@contextmanager
def silenced_stderr(longest_s: float = _LONGEST_S) -> Iterator[None]:
    """Send file descriptor 2 to nowhere for as long as the block runs, and for ``longest_s`` seconds at most.

    ALSA and JACK write some 80 lines each time that PortAudio starts, past ``sys.stderr``. The descriptor belongs to
    the whole process: what other threads write to it meanwhile is lost too, so keep the block short.
    """
    holder = object()
    limit = threading.Timer(longest_s, _SILENCE.end, [holder])
    limit.daemon = True
    limit.start()
    _SILENCE.begin(holder)
    try:
        yield
    finally:
        limit.cancel()
        _SILENCE.end(holder)
