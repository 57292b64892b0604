"""Audio that clients send: which client sends to which stream, and when another one may take over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from stream_mer.errors import SettingError, SourceError
from stream_mer.server import messages as wire

SILENT_S = 1.0
"""Without tokens, a sender that has sent nothing for this long may be replaced, seconds."""


class Inlet(Protocol):
    """A stream that takes its audio from one sender at a time; see ``sources.remote.RemoteSource``."""

    def claim(self, *, rate_hz: int, sample_format: str, channels: int) -> None:
        """Begin to send.

        Raises:
            SettingError: Audio of this kind is not supported.
            SourceError: Another sender has the stream.
        """

    def push(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere; never waits.

        Raises:
            SourceError: The stream takes no more.
        """

    def release(self) -> None:
        """Stop sending."""


class Senders:
    """Which client sends to which stream.

    A sender whose network died keeps its stream until the server misses its pongs, which takes most of a minute. So a
    client that has proved the operator's role by a token takes over at once. Without tokens, a second sender by mistake
    cannot be told from the first one coming back: it takes over from a sender that is silent for ``SILENT_S``.

    Args:
        inlets: The streams that take audio, by name.
        guarded: Whether senders have to prove their role by a token.
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
        """Give a stream to a sender; the previous one is told.

        Raises:
            SettingError: Audio of this kind is not supported.
            SourceError: Another client sends, and goes on.
        """
        stream, inlet = message.stream, self.inlets[message.stream]
        previous = self._senders.get(stream)
        kind = {"rate_hz": message.rate_hz, "channels": message.channels}
        try:
            inlet.claim(sample_format=message.format, **kind)
        except SourceError:
            silent = self._clock() - self._heard_at.get(stream, 0.0) >= SILENT_S
            if previous is None or not (self._guarded or silent):
                raise
            self.release(previous, stream)
            inlet.claim(sample_format=message.format, **kind)
            previous.on_replaced()
        self._senders[stream] = sender
        self._heard_at[stream] = self._clock()

    def push(self, stream: str, data: bytes) -> None:
        """Pass audio on to a stream.

        Raises:
            SourceError: The stream takes no more.
        """
        self._heard_at[stream] = self._clock()
        self.inlets[stream].push(data)

    def release(self, sender: Ingest, stream: str) -> None:
        """Take a stream from a sender; ignored if it does not have it."""
        if self._senders.get(stream) is sender:
            del self._senders[stream]
            self.inlets[stream].release()


class Ingest:
    """The audio of one client, for one stream at a time.

    Args:
        senders: Which client sends to which stream.
        report: Sends an error to the client.
    """

    def __init__(self, senders: Senders, *, report: Callable[[wire.Error], None]) -> None:
        self._senders = senders
        self._report = report
        self._stream: str | None = None
        self._replaced = False

    @property
    def is_open(self) -> bool:
        """Whether binary messages are expected: also from a client that was replaced while some were on their way."""
        return self._stream is not None or self._replaced

    def start(self, message: wire.AudioStart) -> bool:
        """Begin to send; what was sent before ends. Returns True if the client was told why it may not."""
        self.end()
        stream, inlets = message.stream, self._senders.inlets
        if stream not in inlets:
            takers = ", ".join(inlets) or "none; start the server with --source remote"
            why = f"no stream {stream[:80]!r} takes audio from clients ({takers})"
            return self._refuse(wire.CloseCode.NO_STREAM, why)
        try:
            self._senders.claim(self, message)
        except SettingError as error:
            return self._refuse(wire.CloseCode.BAD_MESSAGE, str(error))
        except SourceError as error:
            return self._refuse(wire.CloseCode.FORBIDDEN, str(error))
        self._stream = stream
        return False

    def feed(self, data: bytes) -> bool:
        """Take a binary message. Returns True if the client was told that the stream takes no more."""
        if self._stream is None:  # it was on its way when another client took over
            return False
        try:
            self._senders.push(self._stream, data)
        except SourceError as error:
            self.end()
            return self._refuse(wire.CloseCode.BAD_MESSAGE, str(error))
        return False

    def on_replaced(self) -> None:
        """Called when another client takes over the stream; the client is told."""
        stream, self._stream, self._replaced = self._stream, None, True
        self._refuse(wire.CloseCode.FORBIDDEN, f"another client sends to {stream} now; audio.start takes it back")

    def end(self) -> None:
        """Stop sending; idempotent."""
        stream, self._stream, self._replaced = self._stream, None, False
        if stream is not None:
            self._senders.release(self, stream)

    def _refuse(self, code: wire.CloseCode, message: str) -> bool:
        self._report(wire.Error(code=code, message=message, fatal=False))
        return True
