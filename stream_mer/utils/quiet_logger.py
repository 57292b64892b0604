"""The logger of websockets. A module of its own: the client needs it without the server's connections."""

from __future__ import annotations

import logging


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that never logs at DEBUG: there websockets would log every frame and header, including tokens."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is that of logging
        return level > logging.DEBUG and super().isEnabledFor(level)


websockets_logger = _QuietLogger(logging.getLogger("stream_mer.server.websockets"), {})
"""For ``websockets.serve`` and ``websockets.connect``."""
