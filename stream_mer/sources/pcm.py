"""Raw PCM from a binary stream, such as standard input."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from io import UnsupportedOperation
from typing import BinaryIO

from stream_mer.errors import SourceError
from stream_mer.sources.pcm_format import PcmDecoder, PcmFormat
from stream_mer.types import AudioChunk, Samples

_POLL_MS = 100
"""How soon ``close`` is noticed while nothing comes."""

_READ_S = 0.1
"""Most audio taken at once, seconds; less is taken as soon as it is there."""


class PcmSource:
    """Raw PCM as it comes through a pipe: never waits for more than there is, and never drops any.

    The writer is slowed down by the pipe where the reader is slower (``live`` is False). A last sample that is not
    whole is dropped. Where the system can poll the stream (pipes, files and terminals on POSIX), ``close`` ends the
    iteration within 0.1 s; elsewhere with the next bytes, so iterate in a daemon thread there.

    Args:
        stream: Opened for reading bytes, with nothing read from it yet. It is not closed by this source.
        rate_hz: 4000 to 384000.
        sample_format: One of ``stream_mer.sources.pcm_format.SAMPLE_FORMATS``.
        channels: 1 to 64, interleaved; their mean is taken.
        name: What a person would call it.

    Raises:
        SettingError: The rate, format or number of channels is not possible.
    """

    live = False

    def __init__(
        self,
        stream: BinaryIO,
        *,
        rate_hz: int = 44_100,
        sample_format: str = "s16le",
        channels: int = 1,
        name: str = "stdin",
    ) -> None:
        self.name = name
        self._format = PcmFormat(rate_hz=rate_hz, sample_format=sample_format, channels=channels)
        self._stream = stream
        self._closed = threading.Event()

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield the audio as it comes, until the stream ends or ``close`` is called.

        Raises:
            SourceError: The stream cannot be read.
        """
        decoder = PcmDecoder(self._format)
        position = 0
        for data in self._reads():
            samples = decoder.feed(data)
            if len(samples):
                yield _chunk(position, samples)
                position += len(samples)
        rest = decoder.finish()
        if len(rest) and not self._closed.is_set():
            yield _chunk(position, rest)

    def close(self) -> None:
        self._closed.set()

    def _reads(self) -> Iterator[bytes]:
        most = max(1, round(_READ_S * self._format.rate_hz)) * self._format.stride_bytes
        # ``read1`` gives what is there after at most one read of the system. It leaves nothing in the stream's own
        # buffer when asked for more than that holds, so that polling the descriptor misses nothing.
        read = getattr(self._stream, "read1", self._stream.read)
        poller = _poller(self._stream)
        while not self._closed.is_set():
            try:
                if poller is not None and not poller.poll(_POLL_MS):
                    continue
                data = read(most)
            except (OSError, ValueError) as error:
                if self._closed.is_set():
                    return
                raise SourceError(f"cannot read raw audio from {self.name}: {error}; start the writer again") from error
            if data is None:  # A stream set to non-blocking has nothing now.
                self._closed.wait(_POLL_MS / 1000)
            elif not data:
                return
            else:
                yield data


def _chunk(position: int, samples: Samples) -> AudioChunk:
    return AudioChunk(start_sample=position, samples=samples, captured_at=time.monotonic())


def _poller(stream: BinaryIO) -> select.poll | None:
    """Something to wait for bytes with, or None where the stream has no descriptor or the system cannot poll it."""
    if not hasattr(select, "poll"):  # Windows
        return None
    try:
        descriptor = stream.fileno()
    except (AttributeError, UnsupportedOperation):
        return None
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return poller
