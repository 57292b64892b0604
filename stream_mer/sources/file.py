"""Stored audio as a source: a file, the sound of a video, the packaged demo song, silence."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from stream_mer.errors import SettingError, SourceError
from stream_mer.ports import AudioSource, ChunkableSource, Chunker, Preview, PreviewableSource
from stream_mer.sources.decoding import DecodedAudio, check_file, cut_out, decode_file, duration_s
from stream_mer.sources.resampling import MonoResampler, Polarity
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, TrackTitle, seconds
from stream_mer.utils.files import as_text

CHUNK_SAMPLES = SAMPLE_RATE_HZ // 10
"""Length of an unpaced chunk: 0.1 s."""

FINE_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 50
"""20 ms, as a sound card delivers, where no chunker is set."""

LYRICS_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 10
"""With lyrics recognition: 0.1 s is little beside the 1.5 s between two decodes."""

COARSE_CHUNK_SAMPLES = SAMPLE_RATE_HZ // 2
"""With windows alone: a new reader of levels waits this long for the first ones."""


DECODE_LATER_S = 0.02
"""A paced file goes on decoding this long after a chunk, which often ends a hop: that hop's frame comes first."""


def preview_nothing(_start_sample: int, _samples: Samples, _due_at: float, _is_closed: Callable[[], bool]) -> None:
    """Implement ``ports.Preview`` where no preview is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A part of a file; the default is all of it.

    Attributes:
        start_s: Where it starts in the file, seconds.
        duration_s: Its length, seconds; None goes to the end of the file.

    Raises:
        SettingError: The start is negative, or the duration is not positive.
    """

    start_s: float = 0.0
    duration_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < math.inf:
            raise SettingError(f"the start must be 0 or more seconds, not {self.start_s:g}")
        if self.duration_s is not None and not 0 < self.duration_s < math.inf:
            raise SettingError(f"the duration must be more than 0 seconds, not {self.duration_s:g}")

    def of(self, length_s: float) -> float:
        """Return its duration within a file of this length, seconds."""
        rest_s = max(0.0, length_s - self.start_s)
        return rest_s if self.duration_s is None else min(self.duration_s, rest_s)


WHOLE = Excerpt()


class FileSource:
    """An audio file, or the best audio stream of a video file: whatever PyAV decodes.

    Time 0 is the start of the file: if the sound starts after the picture, the first chunk starts later. Damaged data
    is skipped with a warning. Where time stamps show how much audio is missing, it becomes a gap. Every call of
    ``chunks`` starts at the beginning.

    Args:
        path: The file.
        paced: Deliver in real time, never ahead of the clock; else as fast as the reader takes it.
        loop: Start again at the end, without a seam: the sample index goes on.
        track: Number (from 1) or title of the audio track; None for FFmpeg's choice.
        excerpt: Deliver only this part of the file; its start is time 0.

    Raises:
        SourceError: The file is missing, a folder or empty.
    """

    live = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        paced: bool = False,
        loop: bool = False,
        track: str | None = None,
        excerpt: Excerpt | None = None,
    ) -> None:
        self._track = track
        self._excerpt = excerpt or WHOLE
        self._path = Path(path)
        check_file(self._path)
        self.name = as_text(self._path.name)
        self._paced = paced
        self._loop = loop
        self._closed = threading.Event()
        length_samples = FINE_CHUNK_SAMPLES if paced else CHUNK_SAMPLES
        self._chunker: Chunker = lambda start_sample: start_sample + length_samples
        self._preview: Preview = preview_nothing

    def set_chunker(self, chunker: Chunker) -> None:
        """Implement ``ports.ChunkableSource``; an unpaced file or a pipe keeps its chunks."""
        if self._paced and self._path.is_file():
            self._chunker = chunker

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:  # noqa: ARG002 - it costs nothing
        """Implement ``ports.PreviewableSource``; an unpaced file or a pipe is not looked at."""
        if self._paced and self._path.is_file():
            self._preview = preview

    def duration_s(self) -> float | None:
        """Return the duration of one pass by what the file states, seconds; None if it states none.

        Raises:
            SourceError: The file cannot be opened, or has no audio.
        """
        stated_s = duration_s(self._path)
        return None if stated_s is None else self._excerpt.of(stated_s)

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield chunks of 0.1 s, or 20 ms for a paced file without a chunker; shorter before a gap and at the end.

        Raises:
            SourceError: The file cannot be opened or decoded, has no audio stream, or ends before the excerpt starts.
        """
        pacer, joiner = Pacer(self._closed), _Joiner(self._chunker)
        for start_sample, samples in self._joined(joiner):
            if self._closed.is_set() or (self._paced and not self._wait(pacer, start_sample, samples)):
                return
            yield AudioChunk(
                start_sample=start_sample, samples=samples, captured_at=time.monotonic(), title=joiner.title
            )

    def close(self) -> None:
        """End the iteration soon; idempotent."""
        self._closed.set()

    def _wait(self, pacer: Pacer, start_sample: int, samples: Samples) -> bool:
        """Have a chunk looked at, and wait until it is due, as ``Pacer.hold`` does."""
        self._preview(start_sample, samples, pacer.due_at(start_sample), self._closed.is_set)
        return pacer.hold(start_sample + len(samples))

    def _later(self, runs: Iterator[DecodedAudio]) -> Iterator[DecodedAudio]:
        """Yield runs; each but the first is decoded ``DECODE_LATER_S`` after it is asked for."""
        for run in runs:
            yield run
            self._closed.wait(DECODE_LATER_S)

    def _joined(self, joiner: _Joiner) -> Iterator[tuple[int, Samples]]:
        part = self._excerpt
        while not self._closed.is_set():
            decoding = decode_file(self._path, track=self._track, stopped=self._closed.is_set)
            empty = True
            if self._paced and self._path.is_file():
                decoding = self._later(decoding)
            for decoded in cut_out(decoding, start_s=part.start_s, duration_s=part.duration_s):
                empty = False
                yield from joiner.feed(decoded)
            if empty and part.start_s and not self._closed.is_set():
                raise SourceError(f"{self._path} ends before {part.start_s:g} s, where the excerpt starts")
            if not self._loop:
                break
        yield from joiner.finish()


class _Joiner:
    """Converts decoded audio to mono at 16 kHz on one sample clock, and cuts it into chunks.

    The chunker is called when a chunk is wanted, not when its audio is decoded.
    """

    def __init__(self, chunker: Chunker) -> None:
        self._chunker = chunker
        self._resampler: MonoResampler | None = None
        self._polarity = Polarity()
        self._pending: list[Samples] = []
        self._n_pending = 0
        self._position = 0
        self.title: TrackTitle | None = None
        """Of the newest audio."""

    def feed(self, decoded: DecodedAudio) -> Iterator[tuple[int, Samples]]:
        """Take the next audio; yield (first sample, samples)."""
        changed = self._resampler is not None and self._resampler.rate_hz != decoded.rate_hz
        if decoded.gap_s or changed:
            yield from self.finish()
            self._position += round(decoded.gap_s * SAMPLE_RATE_HZ)
        if self._resampler is None:
            self._resampler = MonoResampler(decoded.rate_hz, self._polarity)
        self.title = decoded.title
        yield from self._cut(self._resampler.feed(decoded.samples))

    def finish(self) -> Iterator[tuple[int, Samples]]:
        """End the run of gapless audio: yield the rest. The next run gets a fresh resampler."""
        if self._resampler is not None:
            yield from self._cut(self._resampler.finish())
            self._resampler = None
        if self._n_pending:
            yield self._take(self._n_pending)

    def _cut(self, samples: Samples) -> Iterator[tuple[int, Samples]]:
        self._pending.append(samples)
        self._n_pending += len(samples)
        while self._n_pending >= (length := self._chunker(self._position) - self._position):
            yield self._take(length)

    def _take(self, length: int) -> tuple[int, Samples]:
        joined = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        self._pending, self._n_pending = [joined[length:]], len(joined) - length
        self._position += length
        return self._position - length, joined[:length]


def demo_song() -> Path:
    """Return the path of the packaged song.

    Raises:
        SourceError: The installation lacks it.
    """
    path = Path(str(resources.files("stream_mer.demo") / "demo.ogg"))
    if not path.is_file():
        raise SourceError(f"the demo song is missing from this installation ({path}); install stream-mer again")
    return path


class DemoSource(FileSource):
    """The packaged song in real time, in a loop.

    Raises:
        SourceError: The installation lacks it.
    """

    def __init__(self) -> None:
        super().__init__(demo_song(), paced=True, loop=True)
        self.name = "demo"


class SilenceSource:
    """Digital silence, as fast as the reader takes it: for lyrics without audio, which need only a clock.

    Args:
        name: Name of the stream.
        duration_s: Duration, seconds.
    """

    live = False
    _CHUNK_SAMPLES = SAMPLE_RATE_HZ  # 1 s

    def __init__(self, name: str, duration_s: float) -> None:
        self.name = name
        self._samples = round(duration_s * SAMPLE_RATE_HZ)
        self._closed = threading.Event()

    def duration_s(self) -> float:
        """Return the duration, seconds."""
        return self._samples / SAMPLE_RATE_HZ

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield chunks of zeros until the end or ``close``."""
        for start in range(0, self._samples, self._CHUNK_SAMPLES):
            if self._closed.is_set():
                return
            length = min(self._CHUNK_SAMPLES, self._samples - start)
            yield AudioChunk(start_sample=start, samples=np.zeros(length, np.float32))

    def close(self) -> None:
        """End the iteration soon; idempotent."""
        self._closed.set()


class HopChunker:
    """A ``ports.Chunker`` whose chunks are no shorter than needed, and never cross the end of a hop.

    Every chunk wakes a thread, and a hundred streams that wake fifty times a second spend more on that than on the
    model. At the end of a hop a window waits for its last sample.

    Args:
        hop_samples: Length of a hop, samples.
        longest_samples: Length of a chunk, samples.
    """

    def __init__(self, *, hop_samples: int, longest_samples: int) -> None:
        self._hop = hop_samples
        self._longest = longest_samples

    def __call__(self, start_sample: int) -> int:
        """Return the end of the chunk that starts at ``start_sample``."""
        return min(start_sample + self._longest, (start_sample // self._hop + 1) * self._hop)


def set_chunker(source: AudioSource, chunker: Chunker) -> None:
    """Set the chunker of a source that accepts one; others keep their chunks."""
    if isinstance(source, ChunkableSource):
        source.set_chunker(chunker)


def set_preview(source: AudioSource, preview: Preview, wanted: Callable[[], bool]) -> None:
    """Set the preview of a source that has audio before it is due; others are not looked at."""
    if isinstance(source, PreviewableSource):
        source.set_preview(preview, wanted)


class Pacer:
    """Delays audio until it would have been captured.

    A reader that falls behind catches up as fast as it can, and never gets ahead of the clock.

    Args:
        stop: Ends any wait.
        clock: Monotonic clock, seconds.
        wait: Waits at most the given time in seconds; returns True if it was interrupted. Default: ``stop.wait``.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._clock = clock
        self._wait = stop.wait if wait is None else wait
        self._started_at: float | None = None

    def due_at(self, sample: int) -> float:
        """Return the time of a sample by the clock, seconds; the first call starts the clock at sample 0."""
        if self._started_at is None:
            self._started_at = self._clock()
        return self._started_at + seconds(sample)

    def hold(self, end_sample: int) -> bool:
        """Wait until the time of ``end_sample`` has come.

        Returns:
            False if the wait was interrupted.
        """
        due_at = self.due_at(end_sample)
        # A wait may end early by the resolution of the system's timer.
        while (ahead_s := due_at - self._clock()) > 0:
            if self._wait(ahead_s):
                return False
        return True
