"""Audio that a client sends in: which stream it goes to, and why it may not."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from stream_mer.errors import SettingError, SourceError
from stream_mer.server import messages as wire

SILENT_S = 1.0
"""A sender that has sent nothing for so long may be taken over from without a token, seconds."""


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


class Senders:
    """Which client sends to which stream, and who may take over.

    A sender whose network died holds its stream until the server misses its pongs, which takes most of a minute. So
    whoever has shown an operator's token takes over at once. Where there is no token, nothing tells a second sender by
    mistake from the first one coming back: it takes over from one that has sent nothing for ``SILENT_S``.

    Args:
        inlets: The streams that take audio, by name.
        guarded: Whether senders have to show a token.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, inlets: Mapping[str, Inlet], *, guarded: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inlets = inlets
        self._guarded = guarded
        self._clock = clock
        self._senders: dict[str, Ingest] = {}
        self._heard_at: dict[str, float] = {}

    def claim(self, sender: Ingest, message: wire.AudioStart) -> None:
        """Give a stream to a sender; the one before is told.

        Raises:
            SettingError: The audio cannot be of this kind.
            SourceError: Somebody else sends, and goes on.
        """
        stream, inlet = message.stream, self.inlets[message.stream]
        claim = functools.partial(
            inlet.claim, rate_hz=message.rate_hz, sample_format=message.format, channels=message.channels
        )
        before = self._senders.get(stream)
        try:
            claim()
        except SourceError:
            if before is None or not self._may_be_replaced(stream):
                raise
            self.release(before, stream)
            claim()
            before.lose()
        self._senders[stream] = sender
        self.heard(stream)

    def _may_be_replaced(self, stream: str) -> bool:
        return self._guarded or self._clock() - self._heard_at[stream] >= SILENT_S

    def heard(self, stream: str) -> None:
        """Take note that the sender of a stream sent something."""
        self._heard_at[stream] = self._clock()

    def release(self, sender: Ingest, stream: str) -> None:
        """Take a stream from a sender; nothing happens if it has it no more."""
        if self._senders.get(stream) is sender:
            del self._senders[stream]
            self.inlets[stream].release()


class Ingest:
    """What one client sends: audio for one stream at a time.

    Args:
        senders: Who sends to which stream.
        tell: Sends the client a message that it did not ask for.
    """

    def __init__(self, senders: Senders, *, tell: Callable[[wire.Error], None]) -> None:
        self._senders = senders
        self._tell = tell
        self._stream: str | None = None
        self._lost = False

    @property
    def is_open(self) -> bool:
        """Whether binary messages are awaited; those of a stream that another client took over are on their way yet."""
        return self._stream is not None or self._lost

    def start(self, message: wire.AudioStart) -> wire.Error | None:
        """Begin; an ``audio.start`` in the middle ends what was sent before. Return why it may not be, if so."""
        self.end()
        inlets = self._senders.inlets
        if message.stream not in inlets:
            takers = ", ".join(inlets) or "none; start the server with --source remote"
            return _refusal(
                wire.CloseCode.NO_STREAM, f"no stream {message.stream[:80]!r} takes audio from clients ({takers})"
            )
        try:
            self._senders.claim(self, message)
        except SettingError as error:
            return _refusal(wire.CloseCode.BAD_MESSAGE, str(error))
        except SourceError as error:
            return _refusal(wire.CloseCode.FORBIDDEN, str(error))
        self._stream = message.stream
        return None

    def feed(self, data: bytes) -> wire.Error | None:
        """Take a binary message; return why the stream takes no more, if so: then it has to be started anew."""
        if self._stream is None:  # what was on its way when another client took over
            return None
        self._senders.heard(self._stream)
        try:
            self._senders.inlets[self._stream].push(data)
        except SourceError as error:
            self.end()
            return _refusal(wire.CloseCode.BAD_MESSAGE, str(error))
        return None

    def lose(self) -> None:
        """Take note that another client sends to the stream from now on, and tell this one."""
        stream, self._stream, self._lost = self._stream, None, True
        why = f"another client sends to {stream} now; audio.start takes it back"
        self._tell(_refusal(wire.CloseCode.FORBIDDEN, why))

    def end(self) -> None:
        """Send no more; idempotent."""
        stream, self._stream, self._lost = self._stream, None, False
        if stream is not None:
            self._senders.release(self, stream)


def _refusal(code: wire.CloseCode, message: str) -> wire.Error:
    return wire.Error(code=code, message=message, fatal=False)
