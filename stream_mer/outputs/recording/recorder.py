"""Records a show: a plugin of the server that watches the hub, and taps the audio where that is wanted."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from stream_mer.errors import SettingError
from stream_mer.outputs.recording.audio_file import FlacKeeper
from stream_mer.outputs.recording.format import MESSAGES, Entry, Header
from stream_mer.outputs.recording.writing import END_WITHIN_S, BackgroundWriter
from stream_mer.ports import AudioSource, PieceEnd
from stream_mer.server import messages as wire
from stream_mer.server.hub import Hub
from stream_mer.sources.pacing import divide
from stream_mer.types import AudioChunk
from stream_mer.utils.file_names import file_names
from stream_mer.utils.threads import call_all

WAITING_MESSAGES = 4096
"""A minute of one stream with its levels."""

WAITING_CHUNKS = 1024
"""Of each stream: 20 s of a sound card's blocks."""

DECIMALS = 4

Timed = tuple[float, wire.EventMessage]
"""Seconds since the recording began, and what was published then."""


class Recorder:
    """Writes everything that the hub publishes to a new folder, from ``start`` to ``stop``.

    Args:
        parent: Where the folder is made.
        hello: Makes what clients are told, for the first line.
        audio: Keep the audio of sources, too, that pass through ``tap``.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        parent: Path,
        *,
        hello: Callable[[Hub], wire.Hello],
        audio: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parent = parent
        self._hello = hello
        self._audio = audio
        self._clock = clock
        self._began_at = 0.0
        self._folder: Path | None = None
        self._messages: BackgroundWriter[Timed] | None = None
        self._sounds: dict[str, BackgroundWriter[AudioChunk]] = {}

    @property
    def notice(self) -> str:
        return f"recorded   {self.folder}"

    @property
    def folder(self) -> Path:
        """Where it is recorded to, once it has started."""
        return self._folder or self._parent

    def start(self, hub: Hub) -> None:
        """Make the folder, and begin.

        Raises:
            SettingError: It cannot be made, or nothing can be written there.
        """
        now = dt.datetime.now().astimezone()
        folder = self._parent / f"{now:%Y-%m-%d_%H-%M-%S}_{hub.session}"
        streams = hub.streams if self._audio else ()
        files = {stream: f"{name}.flac" for stream, name in zip(streams, file_names(streams), strict=True)}
        hello = self._hello(hub)
        header = Header(server=hello.server, started_at=now.isoformat(), hello=hello, audio=files)
        try:
            with contextlib.ExitStack() as opened:
                folder.mkdir(parents=True)
                keeper = _MessageKeeper(folder / MESSAGES, header, clock=self._now)
                opened.callback(keeper.close)
                sounds: dict[str, FlacKeeper] = {}
                for stream, name in files.items():
                    sounds[stream] = FlacKeeper((folder / name).open("xb"))
                    opened.callback(sounds[stream].close)
                opened.pop_all()  # from here on the writers close them
        except OSError as error:
            raise SettingError(f"cannot record to {self._parent}: {error.strerror or error}") from error
        self._folder, self._began_at = folder, self._clock()
        self._messages = BackgroundWriter(keeper, "the messages", capacity=WAITING_MESSAGES)
        self._messages.start()
        for stream, sound in sounds.items():
            self._sounds[stream] = BackgroundWriter(sound, f"the audio of {stream}", capacity=WAITING_CHUNKS)
            self._sounds[stream].start()
        hub.watch(self, levels=True)

    def see(self, message: wire.EventMessage) -> None:
        """Take a message; never waits."""
        if self._messages is not None:
            self._messages.put((self._now(), message))

    def tap(self, stream: str, source: AudioSource) -> AudioSource:
        """Return a source that is the same, and whose audio is recorded once this has started."""
        return _TappedSource(source, lambda chunk: self._hear(stream, chunk)) if self._audio else source

    def stop(self) -> None:
        """Write what waits, and end; idempotent, from any thread."""
        call_all([writer.stop for writer in self._writers()], within_s=END_WITHIN_S + 1.0)

    def _writers(self) -> list[BackgroundWriter[Timed] | BackgroundWriter[AudioChunk]]:
        return [*self._sounds.values(), *([] if self._messages is None else [self._messages])]

    def _hear(self, stream: str, chunk: AudioChunk) -> None:
        sound = self._sounds.get(stream)
        if sound is not None:
            sound.put(chunk)

    def _now(self) -> float:
        return round(self._clock() - self._began_at, DECIMALS)


class _MessageKeeper:
    """Writes messages as lines of JSON."""

    def __init__(self, path: Path, header: Header, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO = path.open("xb")
        self._file.write(self._encoder.encode(header) + b"\n")
        self._file.flush()

    def write(self, item: Timed, *, lost: int) -> None:
        at, message = item
        self._add(Entry(at=at, message=message, lost=lost))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        try:
            self._add(Entry(at=self._clock(), ended=True))
        finally:
            self._file.close()

    def _add(self, entry: Entry) -> None:
        self._file.write(self._encoder.encode(entry) + b"\n")


class _TappedSource:
    """A source whose audio somebody else hears, too."""

    def __init__(self, source: AudioSource, hear: Callable[[AudioChunk], None]) -> None:
        self._source = source
        self._hear = hear

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def live(self) -> bool:
        return self._source.live

    def divide(self, piece_end: PieceEnd) -> None:
        divide(self._source, piece_end)

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in self._source.chunks():
            self._hear(chunk)
            yield chunk

    def close(self) -> None:
        self._source.close()
