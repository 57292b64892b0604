"""Rate-limited logging: one line a minute for each subject, so that no remote peer can fill a disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

EVERY_S = 60.0
MAX_KEYS = 256
"""Maximum number of subjects; those beyond share one line."""

_OTHERS = "others"


class LimitedLog:
    """Logs at most one line a minute for each subject, from any thread.

    The first line is logged immediately. Each later one says how many were left out since the one before.

    Args:
        log: The logger.
        every_s: Time between two lines of a subject, seconds.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, log: logging.Logger, *, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._logged: dict[str, tuple[float, int]] = {}  # when, and how many were left out since

    def log(self, level: int, key: str, message: str, *, error: BaseException | None = None) -> None:
        """Log a message, unless one of the same subject was logged in the last minute.

        Args:
            level: Of ``logging``.
            key: The subject.
            message: One line.
            error: Its traceback is logged, too: for unexpected errors.
        """
        now = self._clock()
        with self._lock:
            if key not in self._logged and len(self._logged) >= MAX_KEYS:
                self._forget_old(now)
                key = key if len(self._logged) < MAX_KEYS else _OTHERS
            logged_at, left_out = self._logged.get(key, (float("-inf"), 0))
            is_due = now - logged_at >= self._every_s
            self._logged[key] = (now, 0) if is_due else (logged_at, left_out + 1)
        if is_due:
            more = f" (and {left_out} more like it since the line before)" if left_out else ""
            self._log.log(level, "%s%s", message, more, exc_info=error)

    def _forget_old(self, now: float) -> None:
        for key in [key for key, (logged_at, _) in self._logged.items() if now - logged_at >= self._every_s]:
            del self._logged[key]
