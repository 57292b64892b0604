"""A source that takes its audio from one source after another, while the stream goes on.

``SwitchableSource.switch`` opens the next source beside the running one and waits for its first audio. Then the thread
that iterates ``chunks`` takes over at a chunk boundary, on the same sample clock. A source that cannot be opened leaves
the running one as it is. A device that only one may open at a time is the exception: the running source is closed
first, silence keeps the clock going, and it is opened again if the next one fails.

A source that ends is not the end: the stream waits for the next one. What cannot be opened at the start still raises.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from stream_mer.errors import DeviceError, SourceError
from stream_mer.ports import AudioSource, Chunker, Preview
from stream_mer.sources.file import FINE_CHUNK_SAMPLES, preview_nothing, set_chunker, set_preview
from stream_mer.sources.microphone import MicrophoneSource
from stream_mer.sources.remote import RemoteSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, seconds

_LOG = logging.getLogger(__name__)

OPEN_WITHIN_S = 15.0
"""Longest wait for the first audio of a source: that of an address, and some."""

TAKE_OVER_WITHIN_S = 3.0
"""Longest wait for the running source to end."""

MIN_LOST_SAMPLES = SAMPLE_RATE_HZ // 50
"""A change of source counts as a gap of at least 20 ms: what comes after it does not continue what came before."""

_FILL_S = 0.1
_RELEASED_AFTER_S = 0.2
"""A sound system may take a moment to release a device that was closed."""

Opener: TypeAlias = Callable[[], AudioSource]
"""Makes a new source; raises ``SettingError`` or ``SourceError``."""

_NOTHING: Samples = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Playing:
    """A source that is being iterated."""

    source: AudioSource
    chunks: Iterator[AudioChunk]
    first: AudioChunk | None = None  # what it has delivered already

    def all_chunks(self) -> Iterable[AudioChunk]:
        return self.chunks if self.first is None else itertools.chain([self.first], self.chunks)

    def end(self) -> threading.Thread | None:
        """Close the source, and release what it holds without waiting for that; returns the thread that does."""
        self.source.close()
        release = getattr(self.chunks, "close", None)
        if release is None:
            return None
        releasing = threading.Thread(target=release, name=f"close {self.source.name}", daemon=True)
        releasing.start()
        return releasing


class SwitchableSource:
    """Implements ``ports.AudioSource`` and ``ports.ChunkableSource``.

    Args:
        source: The first source.
        reopen: Makes the first source again; None if that is not possible.
        clock: Monotonic clock, seconds; that of ``AudioChunk.captured_at``.
    """

    def __init__(
        self, source: AudioSource, *, reopen: Opener | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._chunker: Chunker | None = None
        self._preview: Preview = preview_nothing
        self._preview_wanted: Callable[[], bool] = lambda: False
        self._switching = threading.Lock()
        # Guards all below.
        self._changed = threading.Condition()
        self._current = source
        self._reopen = reopen
        self._candidate: AudioSource | None = None
        self._next: _Playing | None = None
        self._releasing: threading.Thread | None = None  # the source before
        self._pausing = False
        self._paused = False
        self._ended = False
        self._closed = False
        # Of the iterating thread alone.
        self._offset = 0
        self._end_sample = 0
        self._captured_at = 0.0

    @property
    def current(self) -> AudioSource:
        """The source that is iterated now."""
        return self._current

    @property
    def has_ended(self) -> bool:
        """Whether the stream waits for another source, after the end of the current one."""
        return self._ended

    @property
    def name(self) -> str:
        return self._current.name

    @property
    def live(self) -> bool:
        return self._current.live

    def set_chunker(self, chunker: Chunker) -> None:
        """Set where this source and those that follow it cut stored audio."""
        self._chunker = chunker
        set_chunker(self._current, self._chunk_end)

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:
        """Have the audio of this source and of those that follow it looked at, each while it is the current one."""
        self._preview, self._preview_wanted = preview, wanted
        set_preview(self._current, self._preview_of(self._current), wanted)

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield the audio of one source after another until ``close`` is called.

        A chunk without samples begins each further source; it has ``AudioChunk.new_source``. While no source delivers,
        a chunk without samples says so: ``ended``, or ``reconnecting`` while one is opened.

        Raises:
            SourceError: The first source fails before it was ever replaced.
        """
        playing: _Playing | None = _Playing(self._current, self._current.chunks())
        has_switched = False
        while playing is not None:
            try:
                yield from self._play(playing, is_new=has_switched)
            except SourceError as error:
                if not has_switched:
                    raise
                _LOG.error("%s has failed: %s", playing.source.name, error)
            finally:
                self._releasing = playing.end()
            playing, has_switched = (yield from self._following()), True

    def switch(self, opener: Opener, *, within_s: float = OPEN_WITHIN_S) -> None:
        """Take the audio from another source from now on. Waits for it; from any thread.

        Args:
            opener: Makes it.
            within_s: Longest wait for its first audio, seconds. Audio that clients send is not waited for.

        Raises:
            SettingError: There is no such source; nothing has changed.
            SourceError: It cannot be opened, gives no audio, or the stream has ended; the stream keeps its source.
        """
        with self._switching:
            self._require_open()
            source = opener()
            try:
                opened = self._open(source, within_s)
            except DeviceError:
                if not self._is_same_device(source):
                    raise
                opened = self._open_alone(opener, within_s)
            self._take_over(opened, opener)

    def close(self) -> None:
        """End the iteration soon, from any thread; idempotent."""
        with self._changed:
            self._closed = True
            waiting = [self._current, self._candidate, None if self._next is None else self._next.source]
            self._changed.notify_all()
        for source in waiting:
            if source is not None:
                source.close()

    # Of the iterating thread

    def _play(self, playing: _Playing, *, is_new: bool) -> Iterator[AudioChunk]:
        """Yield the audio of a source until it ends or is to be replaced."""
        is_placed = not is_new
        if is_new:
            state = "live" if playing.first is not None else "reconnecting"
            yield self._empty(state, new_source=playing.source.name)
        for chunk in playing.all_chunks():
            if not is_placed and len(chunk.samples):
                self._place(chunk)
                is_placed = True
            start = chunk.start_sample + self._offset
            self._end_sample = start + len(chunk.samples)
            self._captured_at = chunk.captured_at
            yield replace(chunk, start_sample=start) if self._offset else chunk
            if self._next is not None or self._pausing:
                return

    def _place(self, first: AudioChunk) -> None:
        """Place the first audio of a source on the clock: after the gap since the last audio, in real time."""
        lost = 0
        if self._end_sample:
            began_at = first.captured_at - seconds(len(first.samples))
            lost = max(MIN_LOST_SAMPLES, round((began_at - self._captured_at) * SAMPLE_RATE_HZ))
        self._offset = self._end_sample + lost - first.start_sample

    def _following(self) -> Generator[AudioChunk, None, _Playing | None]:
        """Wait for the next source, and return it; None once closed."""
        if self._pausing:
            yield from self._pause()
        with self._changed:
            self._ended = self._next is None and not self._closed
        if self._ended:
            _LOG.info("%s has ended; still serving its last values, stop with Ctrl-C", self.name)
            yield self._empty("ended")
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._closed)
            following, self._next = self._next, None
            if following is None or self._closed:
                return None
            self._current = following.source
            self._pausing = self._ended = False
            self._changed.notify_all()
        return following

    def _pause(self) -> Iterator[AudioChunk]:
        """Yield silence in real time while the device is closed, until another source or the same one is open."""
        began_at, began = self._clock(), self._end_sample
        with self._changed:
            self._paused = True
            self._changed.notify_all()
        yield self._empty("reconnecting")
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._next is not None or self._closed, _FILL_S):
                    self._paused = self._pausing = False
                    return
            now = self._clock()
            missing = began + round((now - began_at) * SAMPLE_RATE_HZ) - self._end_sample
            silence = np.zeros(max(0, missing), np.float32)
            yield replace(self._empty("reconnecting"), samples=silence)
            self._end_sample += len(silence)
            self._captured_at = now

    def _empty(self, state: str, *, new_source: str | None = None) -> AudioChunk:
        return AudioChunk(
            start_sample=self._end_sample,
            samples=_NOTHING,
            captured_at=self._clock(),
            source=state,  # type: ignore[arg-type]  # one of SourceState
            new_source=new_source,
        )

    def _chunk_end(self, start_sample: int) -> int:
        if self._chunker is None:
            return start_sample + FINE_CHUNK_SAMPLES
        return max(start_sample + 1, self._chunker(start_sample + self._offset) - self._offset)

    def _preview_of(self, source: AudioSource) -> Preview:
        def preview(start_sample: int, samples: Samples, due_at: float, is_closed: Callable[[], bool]) -> None:
            if source is self._current:  # and not a candidate, whose first audio is awaited
                self._preview(start_sample + self._offset, samples, due_at, is_closed)

        return preview

    # Of the switching thread

    def _open(self, source: AudioSource, within_s: float) -> _Playing:
        """Start a source and wait for its first audio.

        Raises:
            SourceError: It gives none.
        """
        self._prepare(source)
        with self._changed:
            self._candidate = source
        try:
            if isinstance(source, RemoteSource):  # it has no sender yet
                return _Playing(source, source.chunks())
            return _first_audio(source, within_s)
        except BaseException:
            source.close()
            raise
        finally:
            with self._changed:
                self._candidate = None

    def _prepare(self, source: AudioSource) -> None:
        set_chunker(source, self._chunk_end)
        set_preview(source, self._preview_of(source), self._preview_wanted)

    def _open_alone(self, opener: Opener, within_s: float) -> _Playing:
        """Close the running source, then open the next one; if that fails, open the former one again.

        Raises:
            SourceError: The next one gives no audio.
        """
        with self._changed:
            former = self._current
            self._pausing = True
        former.close()
        with self._changed:
            self._changed.wait_for(lambda: self._paused or self._closed, TAKE_OVER_WITHIN_S)
            releasing = self._releasing
        if releasing is not None:
            releasing.join(TAKE_OVER_WITHIN_S)
        time.sleep(_RELEASED_AFTER_S)
        try:
            return self._open(opener(), within_s)
        except Exception:
            if self._reopen is not None:
                source = self._reopen()
                self._prepare(source)
                # Not waited for: once it could be opened, so it is awaited without end.
                self._take_over(_Playing(source, source.chunks()), self._reopen)
            raise

    def _take_over(self, opened: _Playing, opener: Opener) -> None:
        """Hand a source to the iterating thread, and wait until that has it.

        Raises:
            SourceError: The running source does not end.
        """
        with self._changed:
            former = self._current
            self._next = opened
            self._changed.notify_all()
            is_closed = self._closed
        former.close()
        if is_closed:
            opened.end()
            self._require_open()
        with self._changed:
            if not self._changed.wait_for(lambda: self._next is not opened or self._closed, TAKE_OVER_WITHIN_S):
                raise SourceError(f"{former.name} does not end; {opened.source.name} follows as soon as it does")
            self._reopen = opener

    def _is_same_device(self, source: AudioSource) -> bool:
        current = self._current
        return (
            isinstance(source, MicrophoneSource)
            and isinstance(current, MicrophoneSource)
            and source.device == current.device
        )

    def _require_open(self) -> None:
        if self._closed:
            raise SourceError("this stream has ended; start stream-mer again")


def _first_audio(source: AudioSource, within_s: float) -> _Playing:
    """Iterate a source in a thread of its own up to its first audio.

    Raises:
        SourceError: It fails, ends before, or gives none in time.
    """
    done = threading.Event()
    outcome: list[_Playing | BaseException] = []

    def run() -> None:
        try:
            chunks = source.chunks()
            first = next((chunk for chunk in chunks if len(chunk.samples)), None)
            if first is None or first.lost:
                outcome.append(SourceError(f"{source.name} gives no audio"))
            else:
                outcome.append(_Playing(source, chunks, first))
        except BaseException as error:  # raised again in the thread that waits
            outcome.append(error)
        done.set()

    threading.Thread(target=run, name=f"open {source.name}", daemon=True).start()
    if not done.wait(within_s):
        raise SourceError(f"{source.name} gave no audio within {within_s:g} s; the former source goes on")
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result
