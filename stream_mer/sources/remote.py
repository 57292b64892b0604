"""Audio that another machine sends, such as over the websocket; the receiver pushes it into the source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from stream_mer.errors import SourceError
from stream_mer.sources.resampling import PcmFormat
from stream_mer.sources.timeline import CapturedBlock, Timeline
from stream_mer.types import AudioChunk, SourceState
from stream_mer.utils.mailbox import Mailbox, MailboxClosed

HELD_S = 2.0
"""Audio that may wait to be read before the oldest is dropped."""

MIN_BLOCK_S = 0.005
"""No block counts as shorter, so that the number of waiting blocks is bounded too."""

_POLL_S = 0.05


class RemoteSource:
    """A stream owned by one sender at a time, which sends in real time, like a microphone.

    ``claim``, ``push`` and ``release`` are for the receiver of the audio, from any one thread; they never wait. From
    the first audio on, silence replaces what does not arrive, so that frames continue.

    Args:
        name: Name of the stream.
        clock: Monotonic clock, seconds.
    """

    live = True

    def __init__(self, name: str = "remote", *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._blocks: Mailbox[tuple[PcmFormat, CapturedBlock]] = Mailbox(
            capacity=round(HELD_S / MIN_BLOCK_S), when_full="drop_oldest"
        )
        self._format: PcmFormat | None = None
        self._rest = b""
        self._start = 0
        self._closed = threading.Event()

    @property
    def owned(self) -> bool:
        """Whether it has a sender."""
        return self._format is not None

    def claim(self, *, rate_hz: int, sample_format: str, channels: int) -> None:
        """Start to send.

        Args:
            rate_hz: As of ``PcmFormat``; likewise the others.
            sample_format: See there.
            channels: See there.

        Raises:
            SettingError: The format is not possible.
            SourceError: The stream has a sender.
        """
        wanted = PcmFormat(rate_hz=rate_hz, sample_format=sample_format, channels=channels)
        if self._format is not None:
            raise SourceError(f"{self.name} gets its audio from another client; one at a time may send")
        self._format, self._rest, self._start = wanted, b"", 0

    def push(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere.

        Raises:
            SourceError: The stream is not claimed, it has ended, or ``data`` is more audio than may wait.
        """
        if self._format is None:
            raise SourceError(f"no client has begun to send audio to {self.name}")
        samples, self._rest = self._format.split(self._rest + data)
        if len(samples) > HELD_S * self._format.rate_hz:
            raise SourceError(
                f"more than {HELD_S:g} s of audio in one message; send it in real time, some 20 to 100 ms at a time"
            )
        if not len(samples):
            return
        block = CapturedBlock(start=self._start, samples=samples, captured_at=self._clock())
        self._start += len(samples)
        try:
            self._blocks.put((self._format, block))
        except MailboxClosed as closed:
            raise SourceError(f"{self.name} has ended") from closed

    def release(self) -> None:
        """Stop sending; idempotent."""
        self._format = None

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield what arrives until ``close`` is called; from the first audio on, silence for what does not."""
        timeline = Timeline()
        current: PcmFormat | None = None
        while not self._closed.is_set():
            try:
                pcm_format, block = self._blocks.get(timeout_s=_POLL_S)
            except TimeoutError:
                missing: SourceState = "stalled" if self.owned else "reconnecting"
                yield from timeline.fill(self._clock(), missing)
                continue
            except MailboxClosed:
                return
            if pcm_format is not current:  # every sender has its own object, even with equal values
                current = pcm_format
                timeline.begin(pcm_format.rate_hz)
            yield from timeline.feed(block)

    def close(self) -> None:
        """End the iteration; idempotent."""
        self._closed.set()
        self._blocks.close()
