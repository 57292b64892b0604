"""Records a show to disk: all events and, if requested, the audio. The show never waits for the disk."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Protocol, TypeVar

import msgspec
import numpy as np

from stream_mer.errors import SettingError
from stream_mer.event_json import MessageEncoder
from stream_mer.outputs.recording.format import MESSAGES, Entry, Header, Hello
from stream_mer.ports import AudioSource, Chunker, EventHub, Preview
from stream_mer.sources.file import set_chunker, set_preview
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, StreamEvent, StreamStatus
from stream_mer.utils.files import file_names
from stream_mer.utils.mailbox import Mailbox, MailboxClosed
from stream_mer.utils.threads import call_all

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

log = logging.getLogger(__name__)

QUEUED_EVENTS = 4096
"""About a minute of one stream with its levels."""

QUEUED_CHUNKS = 1024
"""For each stream: 20 s of a sound card's blocks."""

FLUSH_EVERY_S = 0.5
"""At most this much is lost when the process crashes."""

END_WITHIN_S = 10.0
"""How long the end of a show waits for a slow disk."""

DECIMALS = 4

_SILENCE_SAMPLES = SAMPLE_RATE_HZ
"""Gaps are filled with silence in blocks of this length."""

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

Timed = tuple[float, str, StreamEvent]
"""Seconds since the recording began, the stream, and the event."""


class Recorder:
    """Writes all events to a new folder, from ``start`` to ``stop``; a ``Plugin`` of ``runner``.

    Args:
        parent: Folder in which the new one is made.
        hello: Makes the server's first message to its clients, which goes into the header.
        audio: Also record the audio of the sources that pass through ``tap``.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        parent: Path,
        *,
        hello: Callable[[EventHub], Any],
        audio: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parent = parent
        self._hello = hello
        self._audio = audio
        self._clock = clock
        self._began_at = 0.0
        self._folder: Path | None = None
        self._events: BackgroundWriter[Timed] | None = None
        self._sounds: dict[str, BackgroundWriter[AudioChunk]] = {}

    @property
    def notice(self) -> str:
        return f"recorded   {self.folder}"

    @property
    def folder(self) -> Path:
        """The folder of the recording, once it has started."""
        return self._folder or self._parent

    def start(self, hub: EventHub) -> None:
        """Make the folder and start to record.

        Raises:
            SettingError: The folder cannot be made, or nothing can be written there.
        """
        now = dt.datetime.now().astimezone()
        folder = self._parent / f"{now:%Y-%m-%d_%H-%M-%S}_{hub.session}"
        streams = hub.streams if self._audio else ()
        files = {stream: f"{name}.flac" for stream, name in zip(streams, file_names(streams), strict=True)}
        header = _header(self._hello(hub), started_at=now.isoformat(), audio=files)
        try:
            with contextlib.ExitStack() as opened:
                folder.mkdir(parents=True)
                events = _EventFile(folder / MESSAGES, header, clock=self._now)
                opened.callback(events.close)
                sounds: dict[str, FlacFile] = {}
                for stream, name in files.items():
                    sounds[stream] = FlacFile((folder / name).open("xb"))
                    opened.callback(sounds[stream].close)
                opened.pop_all()  # from here on the writers close them
        except OSError as error:
            raise SettingError(f"cannot record to {self._parent}: {error.strerror or error}") from error
        self._folder, self._began_at = folder, self._clock()
        self._events = BackgroundWriter(events, "the events", capacity=QUEUED_EVENTS)
        self._events.start()
        for stream, sound in sounds.items():
            self._sounds[stream] = BackgroundWriter(sound, f"the audio of {stream}", capacity=QUEUED_CHUNKS)
            self._sounds[stream].start()
        hub.subscribe(self.on_event, levels=True)

    def on_event(self, stream: str, event: StreamEvent) -> None:
        """Queue an event; never waits."""
        if self._events is not None:
            self._events.put((self._now(), stream, event))

    def tap(self, stream: str, source: AudioSource) -> AudioSource:
        """Return an equal source whose audio is recorded once the recorder has started."""
        return _TappedSource(source, lambda chunk: self._on_chunk(stream, chunk)) if self._audio else source

    def stop(self) -> None:
        """Write all queued items, and end; idempotent, from any thread."""
        stops = [sound.stop for sound in self._sounds.values()]
        if self._events is not None:
            stops.append(self._events.stop)
        call_all(stops, within_s=END_WITHIN_S + 1.0)

    def _on_chunk(self, stream: str, chunk: AudioChunk) -> None:
        sound = self._sounds.get(stream)
        if sound is not None:
            sound.put(chunk)

    def _now(self) -> float:
        return round(self._clock() - self._began_at, DECIMALS)


class _TappedSource:
    """A source whose chunks are also handed to a callback."""

    def __init__(self, source: AudioSource, on_chunk: Callable[[AudioChunk], None]) -> None:
        self._source = source
        self._on_chunk = on_chunk

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def live(self) -> bool:
        return self._source.live

    def set_chunker(self, chunker: Chunker) -> None:
        set_chunker(self._source, chunker)

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:
        set_preview(self._source, preview, wanted)

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in self._source.chunks():
            self._on_chunk(chunk)
            yield chunk

    def close(self) -> None:
        self._source.close()


class RecordedFile(Protocol[T_contra]):
    """A file that a ``BackgroundWriter`` writes to, in one thread; every method may raise ``OSError``."""

    def write(self, item: T_contra, *, lost: int) -> None:
        """Write an item, before which ``lost`` items were dropped."""

    def flush(self) -> None:
        """Hand everything to the operating system."""

    def close(self) -> None:
        """Complete and close the file."""


class BackgroundWriter(Generic[T]):
    """Writes items to a file in its own thread.

    ``put`` never waits. If the disk is too slow, the oldest items are dropped and counted. If it is full or gone, that
    is logged once and nothing more is written.

    Args:
        file: The file.
        what: Name of the content, for log messages.
        capacity: How many items may be queued.
    """

    def __init__(self, file: RecordedFile[T], what: str, *, capacity: int) -> None:
        self._file = file
        self._what = what
        self._items: Mailbox[T] = Mailbox(capacity=capacity, when_full="drop_oldest")
        self._lost = 0
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"record {what}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T) -> None:
        """Queue an item; it is dropped after the end, or once the disk has failed."""
        with contextlib.suppress(MailboxClosed):
            self._items.put(item)

    def stop(self) -> None:
        """Write all queued items, and end; idempotent."""
        self._items.close()
        if self._thread.ident is not None:
            self._thread.join(END_WITHIN_S)
            if self._thread.is_alive():
                log.error("the disk is too slow: the end of %s is lost", self._what)

    def _run(self) -> None:
        try:
            self._write_until_end()
        except Exception as error:  # whatever goes wrong with the file, the show goes on
            reason = (isinstance(error, OSError) and error.strerror) or error or type(error).__name__
            log.error("%s: %s; no more of it is recorded, the show goes on", self._what, reason)  # noqa: TRY400 - a full disk needs no traceback
        finally:
            self._items.close()

    def _write_until_end(self) -> None:
        try:
            flushed_at = time.monotonic()
            while True:
                try:
                    self._write(self._items.get(timeout_s=FLUSH_EVERY_S))
                except TimeoutError:
                    pass
                except MailboxClosed:
                    break
                if time.monotonic() - flushed_at >= FLUSH_EVERY_S:
                    self._file.flush()
                    flushed_at = time.monotonic()
        except Exception:
            with contextlib.suppress(Exception):  # it fails for the same reason
                self._file.close()
            raise
        self._file.close()

    def _write(self, item: T) -> None:
        lost = self._items.statistics().dropped - self._lost
        if lost:
            log.warning("the disk is too slow: %d of %s are lost", lost, self._what)
        self._lost += lost
        self._file.write(item, lost=lost)


def _header(hello: Any, *, started_at: str, audio: dict[str, str]) -> dict[str, Any]:
    """Return the first line: a ``Header`` with the whole first message that clients get."""
    read = msgspec.convert(hello, Hello, from_attributes=True)
    header = Header(server=hello.server, started_at=started_at, hello=read, audio=audio)
    return {**msgspec.to_builtins(header), "hello": hello}


class _EventFile:
    """``messages.jsonl``."""

    def __init__(self, path: Path, header: dict[str, Any], *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._encoder = msgspec.json.Encoder()
        self._messages: dict[str, MessageEncoder] = {}
        self._file: BinaryIO = path.open("xb")
        self._file.write(self._encoder.encode(header) + b"\n")
        self._file.flush()

    def write(self, item: Timed, *, lost: int) -> None:
        at, stream, event = item
        encoder = self._messages.setdefault(stream, MessageEncoder(stream))
        spread = event.spread if isinstance(event, StreamStatus) else None
        self._add(Entry(at=at, message=encoder.message(event), lost=lost, spread=spread))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        try:
            self._add(Entry(at=self._clock(), ended=True))
        finally:
            self._file.close()

    def _add(self, entry: Entry) -> None:
        self._file.write(self._encoder.encode(entry) + b"\n")


class FlacFile:
    """The audio of one stream as FLAC: half the size of WAV, and readable up to where a crash cut it off.

    Sample n of the file is sample n of the stream. Missing audio is silence.

    Args:
        file: Empty, open for writing bytes; closed at the end.
    """

    def __init__(self, file: BinaryIO) -> None:
        import av  # noqa: PLC0415 - takes 0.1 s: only for recordings with audio

        self._frames = av.AudioFrame
        self._file = file
        # Packets go straight to the file: a crash would lose the content of FFmpeg's own buffer.
        self._container: Any = av.open(self._file, "w", format="flac", container_options={"flush_packets": "1"})
        self._stream: AudioStream = self._container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        self._position = 0

    def write(self, item: AudioChunk, *, lost: int) -> None:  # noqa: ARG002 - a gap in the samples shows it
        """Write a chunk, after silence for samples missing before it; samples that were written before are skipped."""
        while self._position < item.start_sample:
            self._encode(np.zeros(min(_SILENCE_SAMPLES, item.start_sample - self._position), np.float32))
        self._encode(item.samples[max(0, self._position - item.start_sample) :])

    def flush(self) -> None:
        """Hand all packets to the operating system; the encoder holds back up to 0.3 s."""
        self._file.flush()

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        finally:
            self._file.close()

    def _encode(self, samples: Samples) -> None:
        if not len(samples):
            return
        pcm = np.rint(samples.clip(-1.0, 1.0) * 32_767).astype(np.int16)
        frame = self._frames.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = self._position
        self._position += len(samples)
        self._container.mux(self._stream.encode(frame))
