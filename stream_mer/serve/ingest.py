"""Audio that a client sends in: which stream it goes to, and why it may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stream_mer.errors import SettingError, SourceError
from stream_mer.serve import messages as wire


class Inlet(Protocol):
    """Where a stream takes its audio from whoever sends it; one sender at a time."""

    def claim(self, *, rate_hz: int, sample_format: str, channels: int) -> None:
        """Begin to send.

        Raises:
            SettingError: The audio cannot be of this kind.
            SourceError: Somebody else sends already.
        """
        ...

    def push(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere; never waits.

        Raises:
            SourceError: The stream takes no more.
        """
        ...

    def release(self) -> None:
        """Stop to send."""
        ...


class Ingest:
    """What one client sends: audio for one stream at a time.

    Args:
        inlets: By the streams' names.
    """

    def __init__(self, inlets: Mapping[str, Inlet]) -> None:
        self._inlets = inlets
        self._open: Inlet | None = None

    @property
    def is_open(self) -> bool:
        """Whether binary messages are awaited."""
        return self._open is not None

    def start(self, message: wire.AudioStart) -> wire.Error | None:
        """Begin; an ``audio.start`` in the middle ends what was sent before. Return why it may not be, if so."""
        self.end()
        inlet = self._inlets.get(message.stream)
        if inlet is None:
            takers = ", ".join(self._inlets) or "none; start the server with --source remote"
            return _refusal(
                wire.CloseCode.NO_STREAM, f"no stream {message.stream[:80]!r} takes audio from clients ({takers})"
            )
        try:
            inlet.claim(rate_hz=message.rate_hz, sample_format=message.format, channels=message.channels)
        except SettingError as error:
            return _refusal(wire.CloseCode.BAD_MESSAGE, str(error))
        except SourceError as error:
            return _refusal(wire.CloseCode.FORBIDDEN, str(error))
        self._open = inlet
        return None

    def feed(self, data: bytes) -> wire.Error | None:
        """Take a binary message; return why the stream takes no more, if so: then it has to be started anew."""
        assert self._open is not None  # noqa: S101 - whoever calls has asked is_open
        try:
            self._open.push(data)
        except SourceError as error:
            self.end()
            return _refusal(wire.CloseCode.BAD_MESSAGE, str(error))
        return None

    def end(self) -> None:
        """Send no more; idempotent."""
        if self._open is not None:
            self._open.release()
            self._open = None


def _refusal(code: wire.CloseCode, message: str) -> wire.Error:
    return wire.Error(code=code, message=message, fatal=False)
