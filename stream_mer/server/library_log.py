"""What the websocket library may write into the log."""

from __future__ import annotations

import logging


class WithoutFrames(logging.LoggerAdapter[logging.Logger]):
    """A logger that never logs at DEBUG: there the library would write every frame and header, tokens among them."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is that of logging
        return level > logging.DEBUG and super().isEnabledFor(level)


library_logger = WithoutFrames(logging.getLogger(f"{__name__}.websockets"), {})
"""For ``websockets.serve`` and ``websockets.connect``."""
