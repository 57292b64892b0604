"""Standard input: raw PCM, or a file of audio such as WAV or MP3, which is recognised by its first bytes."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Iterator
from io import UnsupportedOperation
from typing import BinaryIO

from stream_mer.errors import SourceError
from stream_mer.ports import AudioSource
from stream_mer.sources.file import FileSource
from stream_mer.sources.resampling import PcmDecoder, PcmFormat
from stream_mer.types import AudioChunk, Samples

_LOG = logging.getLogger(__name__)

_POLL_MS = 100
_READ_BYTES = 65_536
_SIGNATURE_BYTES = 16
_MPEG_BYTES = 4096
"""Two frames of MP3 or AAC: the first alone could be PCM."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (8, b"WAVE", "WAV"),
    (8, b"AVI ", "AVI"),
    (8, b"AIFF", "AIFF"),
    (8, b"AIFC", "AIFF"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (4, b"ftyp", "MP4"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"TTA1", "True Audio"),
    (0, b"DSD ", "DSF"),
    (0, b"#!AMR", "AMR"),
    (0, b"FLV\x01", "FLV"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
)
"""Place, bytes, name."""

_MPEG_RATES_KBPS = {  # by MPEG-1 or not, and by layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class StdinSource:
    """Raw PCM, or whatever else PyAV decodes, from a stream of bytes.

    Raw PCM is heard as it comes, and never waits for more than there is. A file of audio is recognised by how it
    begins, and heard as files are.

    Args:
        stream: Opened for reading bytes, with nothing read from it yet. It is not closed by this source.
        pcm: What raw PCM is.
        pcm_is_given: Somebody said so: then MP3 and AAC without a header, which PCM can resemble, are not looked for.
        paced: Deliver a file of audio as real time would; else as fast as the reader takes it.
        name: What a person would call it.
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
        self._inner: AudioSource | None = None

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield the audio until the stream ends or ``close`` is called.

        Raises:
            SourceError: The stream cannot be read, or holds a file that cannot be decoded.
        """
        try:
            reader = PipeReader(self._stream, self._closed)
            head = reader.peek(_SIGNATURE_BYTES)
            if not self._pcm_is_given and _may_be_mpeg(head):
                head = reader.peek(_MPEG_BYTES)
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot read {self.name}: {error}; start the writer again") from error
        kind = container_of(head, look_for_mpeg=not self._pcm_is_given)
        if kind is None:
            yield from self._open(
                PcmSource(
                    reader,  # type: ignore[arg-type]  # reads and does no more
                    rate_hz=self._pcm.rate_hz,
                    sample_format=self._pcm.sample_format,
                    channels=self._pcm.channels,
                    name=self.name,
                )
            ).chunks()
            return
        if self._pcm_is_given:
            _LOG.warning("%s holds %s, no raw PCM: it is heard as what it is", self.name, kind)
        else:
            _LOG.info("%s holds %s", self.name, kind)
        yield from self._decoded(reader, kind)

    def close(self) -> None:
        self._closed.set()
        if self._inner is not None:
            self._inner.close()

    def _open(self, source: AudioSource) -> AudioSource:
        self._inner = source
        if self._closed.is_set():
            source.close()
        return source

    def _decoded(self, reader: PipeReader, kind: str) -> Iterator[AudioChunk]:
        """Hear a file of audio through a pipe of our own, since its first bytes have been read already."""
        if os.name != "posix":
            raise SourceError(f"{self.name} holds {kind}: save it and give the file, or send raw PCM")
        reading, writing = os.pipe()
        path = f"/dev/fd/{reading}"
        threading.Thread(target=_relay, args=(reader, writing), name="stdin", daemon=True).start()
        try:
            yield from self._open(FileSource(path, paced=self._paced)).chunks()
        except SourceError as error:
            if self._closed.is_set():  # cut off by whoever closed it
                return
            raise SourceError(str(error).replace(path, self.name)) from error
        finally:
            os.close(reading)


class PipeReader:
    """Reads what comes, and can look at it beforehand; a wait ends when ``closed`` is set.

    Args:
        stream: Opened for reading bytes.
        closed: Ends every wait within 0.1 s where the system can poll the stream.
    """

    def __init__(self, stream: BinaryIO, closed: threading.Event) -> None:
        # ``read1`` gives what is there after at most one read of the system. It leaves nothing in the stream's own
        # buffer when asked for more than that holds, so that polling the descriptor misses nothing.
        self._read = getattr(stream, "read1", stream.read)
        self._poller = _poller(stream)
        self._closed = closed
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end, and keep them for ``read``."""
        while len(self._ahead) < size and (more := self._next()):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Return at least one byte, and ``size`` at most; none at the end or once it is closed."""
        data = self._ahead or self._next()
        self._ahead = data[size:]
        return data[:size]

    def _next(self) -> bytes:
        while not self._closed.is_set():
            if self._poller is not None and not self._poller.poll(_POLL_MS):
                continue
            data: bytes | None = self._read(_READ_BYTES)
            if data is not None:
                return data
            self._closed.wait(_POLL_MS / 1000)  # a stream set to non-blocking has nothing now
        return b""


def container_of(head: bytes, *, look_for_mpeg: bool = True) -> str | None:
    """Return what kind of file begins so; None for raw PCM.

    Args:
        head: The first bytes.
        look_for_mpeg: Look for frames of MP3 and AAC, too.
    """
    for at, signature, name in _SIGNATURES:
        if head[at : at + len(signature)] == signature:
            return name
    # A tag has a version below 255 and a length in bytes of seven bits.
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and max(head[6:10]) < 0x80:
        return "MP3"
    if look_for_mpeg and _may_be_mpeg(head):
        length = _frame_length(head)
        following = head[length or len(head) :][:4]
        # The same kind and rate again where the next frame must begin.
        if length and len(following) == 4 and following[:2] == head[:2] and (following[2] ^ head[2]) & 0x0C == 0:
            return "AAC" if _is_adts(head) else "MP3"
    return None


def _may_be_mpeg(head: bytes) -> bool:
    return len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _is_adts(head: bytes) -> bool:
    return head[1] & 0xF6 == 0xF0


def _frame_length(head: bytes) -> int | None:
    """Length of the frame of MPEG audio that begins here, bytes; None if none does."""
    if _is_adts(head):
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if len(head) > 5 else 0
        return length if length > 7 else None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbps_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps_index in {0, 15} or rate_index == 3:
        return None
    bit_rate = 1000 * _MPEG_RATES_KBPS[version == 3, layer][kbps_index - 1]
    rate_hz = _MPEG_SAMPLE_RATES[version][rate_index]
    if layer == 1:
        return (12 * bit_rate // rate_hz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bit_rate // rate_hz + padding


def _relay(reader: PipeReader, writing: int) -> None:
    """Pass on what comes until it ends, or nobody reads it any more."""
    try:
        while data := reader.read(_READ_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(writing, view) :]
    except OSError:
        pass
    finally:
        os.close(writing)


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
        sample_format: One of ``stream_mer.sources.resampling.SAMPLE_FORMATS``.
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
