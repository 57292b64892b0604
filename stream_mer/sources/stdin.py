"""Standard input: raw PCM, or an audio file such as WAV or MP3, recognised by its first bytes."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from io import UnsupportedOperation
from typing import BinaryIO

import numpy as np

from stream_mer.errors import SourceError
from stream_mer.ports import Chunker, Preview
from stream_mer.sources.containers import MPEG_BYTES, SIGNATURE_BYTES, container_name, mpeg_frame_bytes
from stream_mer.sources.file import FileSource
from stream_mer.sources.resampling import PcmDecoder, PcmFormat
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk

_LOG = logging.getLogger(__name__)

_POLL_MS = 100
"""``close`` is noticed this soon while nothing arrives."""

_READ_BYTES = 65_536
_MAX_CHUNK_S = 0.1


class StdinSource:
    """Raw PCM, or whatever else PyAV decodes, from a stream of bytes.

    Raw PCM is delivered with the block that completes a chunk, or as it arrives while levels are wanted; an incomplete
    last sample is dropped. The reader's pace slows the writer down (``live`` is False). An audio file is recognised by
    its first bytes and played like a file. Where the system can poll the stream (pipes, files and terminals on POSIX),
    ``close`` ends the iteration within 0.1 s; elsewhere with the next bytes, so iterate in a daemon thread there.

    Args:
        stream: Opened for reading bytes, nothing read from it yet. This source does not close it.
        pcm: Format of raw PCM.
        pcm_is_given: The user named the format: MP3 and AAC without a header, which PCM can resemble, are not
            looked for.
        paced: Deliver an audio file in real time; else as fast as the reader takes it.
        name: Name of the stream.
    """

    live = False

    def __init__(
        self,
        stream: BinaryIO,
        *,
        pcm: PcmFormat | None = None,
        pcm_is_given: bool = False,
        paced: bool = True,
        name: str = "stdin",
    ) -> None:
        self.name = name
        self._stream = stream
        self._pcm = pcm or PcmFormat()
        self._pcm_is_given = pcm_is_given
        self._paced = paced
        self._closed = threading.Event()
        self._file: FileSource | None = None
        self._chunker: Chunker = lambda start_sample: start_sample + 1
        self._levels_wanted: Callable[[], bool] = lambda: False

    def set_chunker(self, chunker: Chunker) -> None:
        """Implement ``ports.ChunkableSource`` for raw PCM, as closely as the writer's blocks allow."""
        self._chunker = chunker

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:  # noqa: ARG002 - nothing is early
        """Implement ``ports.PreviewableSource``: while it is wanted, raw PCM is delivered as it arrives."""
        self._levels_wanted = wanted

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield the audio until the stream ends or ``close`` is called.

        Raises:
            SourceError: The stream cannot be read, or holds a file that cannot be decoded.
        """
        reader = PipeReader(self._stream, self._closed, name=self.name)
        head = reader.peek(SIGNATURE_BYTES)
        if not self._pcm_is_given and mpeg_frame_bytes(head):
            head = reader.peek(MPEG_BYTES)
        kind = container_name(head, find_mpeg=not self._pcm_is_given)
        if kind is None:
            yield from self._raw_chunks(reader)
            return
        if self._pcm_is_given:
            _LOG.warning("%s is %s, not raw PCM; decoding it as %s", self.name, kind, kind)
        else:
            _LOG.info("%s is %s", self.name, kind)
        yield from self._file_chunks(reader, kind)

    def close(self) -> None:
        """End the iteration soon; idempotent."""
        self._closed.set()
        if self._file is not None:
            self._file.close()

    def _raw_chunks(self, reader: PipeReader) -> Iterator[AudioChunk]:
        decoder, position, received, waiting = PcmDecoder(self._pcm), 0, 0, list[bytes]()
        max_bytes = max(1, round(_MAX_CHUNK_S * self._pcm.rate_hz)) * self._pcm.stride_bytes
        samples_per_byte = SAMPLE_RATE_HZ / self._pcm.rate_hz / self._pcm.stride_bytes
        data = None
        while data != b"":
            data = reader.read(max_bytes)
            arrived_at = time.monotonic()
            received += len(data)
            waiting.append(data)
            # Decoding and the stream's work cost as much for 20 ms as for a hop. The decoder may delay audio.
            is_incomplete = received * samples_per_byte < self._chunker(position)
            if data and is_incomplete and not self._levels_wanted():
                continue
            samples = decoder.feed(b"".join(waiting))
            waiting.clear()
            if not data:
                samples = np.concatenate([samples, decoder.finish()])
            if len(samples) and (data or not self._closed.is_set()):
                yield AudioChunk(start_sample=position, samples=samples, captured_at=arrived_at)
                position += len(samples)

    def _file_chunks(self, reader: PipeReader, kind: str) -> Iterator[AudioChunk]:
        """Decode a file through a pipe of our own, because its first bytes have been read already."""
        if os.name != "posix":
            raise SourceError(f"{self.name} is {kind}: save it and give the file, or send raw PCM")
        read_fd, write_fd = os.pipe()
        path = f"/dev/fd/{read_fd}"
        threading.Thread(target=_relay, args=(reader, write_fd), name="stdin", daemon=True).start()
        try:
            self._file = FileSource(path, paced=self._paced)
            if self._closed.is_set():
                self._file.close()
            yield from self._file.chunks()
        except SourceError as error:
            if not self._closed.is_set():  # else close cut the file off
                raise SourceError(str(error).replace(path, self.name)) from error
        finally:
            os.close(read_fd)


class PipeReader:
    """Reads bytes as they arrive, with look-ahead.

    Args:
        stream: Opened for reading bytes.
        closed: Ends every wait within 0.1 s where the system can poll the stream.
        name: Name of the stream, for errors.
    """

    def __init__(self, stream: BinaryIO, closed: threading.Event, *, name: str = "stdin") -> None:
        # ``read1`` reads from the system at most once. Asked for more than the stream's own buffer holds, it leaves
        # nothing in there, so that polling the descriptor misses nothing.
        self._read = getattr(stream, "read1", stream.read)
        self._stream = stream
        self._poller: select.poll | None = None
        self._closed = closed
        self._name = name
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end, and keep them for ``read``.

        Raises:
            SourceError: The stream cannot be read.
        """
        while len(self._ahead) < size and (more := self._next()):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes; ``b""`` at the end, or once closed.

        Raises:
            SourceError: The stream cannot be read.
        """
        data = self._ahead or self._next()
        self._ahead = data[size:]
        return data[:size]

    def _next(self) -> bytes:
        try:
            if self._poller is None:
                self._poller = _poller(self._stream)
            while not self._closed.is_set():
                if self._poller is not None and not self._poller.poll(_POLL_MS):
                    continue
                data: bytes | None = self._read(_READ_BYTES)
                if data is not None:
                    return data
                self._closed.wait(_POLL_MS / 1000)  # a non-blocking stream has nothing now
        except (OSError, ValueError) as error:
            if not self._closed.is_set():
                raise SourceError(f"cannot read {self._name}: {error}; start the writer again") from error
        return b""


def _relay(reader: PipeReader, write_fd: int) -> None:
    """Copy the stream into a pipe until it ends, fails, or the reader is gone."""
    try:
        while data := reader.read(_READ_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(write_fd, view) :]
    except (OSError, SourceError):
        pass
    finally:
        os.close(write_fd)


def _poller(stream: BinaryIO) -> select.poll | None:
    """Return a poller for new bytes; None if the stream has no descriptor, or the system cannot poll it."""
    if not hasattr(select, "poll"):  # Windows
        return None
    try:
        descriptor = stream.fileno()
    except (AttributeError, UnsupportedOperation):
        return None
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return poller
