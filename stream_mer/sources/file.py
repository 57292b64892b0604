"""An audio file, or the sound of a video, as a source."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np

from stream_mer.errors import SourceError
from stream_mer.ports import PieceEnd
from stream_mer.sources.decoding import DecodedAudio, check_file, decode_file, duration_s
from stream_mer.sources.pacing import FINE_SAMPLES, Pacer
from stream_mer.sources.resampling import MonoResampler, Polarity
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples
from stream_mer.utils.file_names import as_text

CHUNK_SAMPLES = SAMPLE_RATE_HZ // 10
"""Length of a chunk: 0.1 s."""

PACED_CHUNK_SAMPLES = FINE_SAMPLES
"""Of a chunk at the pace of real time, unless others are asked for."""


class FileSource:
    """Whatever PyAV decodes: audio files, and the best audio stream of video files.

    Time 0 is the beginning of the file: where the sound begins after the picture, the first chunk starts later. Damage
    in the middle is left out with a warning; where the format's time stamps tell how much is missing, it shows as a
    gap. Every call of ``chunks`` starts at the beginning.

    Args:
        path: The file.
        paced: Deliver as real time would, never ahead of the clock; else as fast as the reader takes it.
        loop: Begin again at the end, without end and without a seam: the sample index goes on.
        track: Number (from 1) or title of the audio track to hear; None for the one that FFmpeg takes for the best.

    Raises:
        SourceError: The file is missing, a folder or empty.
    """

    live = False

    def __init__(
        self, path: str | os.PathLike[str], *, paced: bool = False, loop: bool = False, track: str | None = None
    ) -> None:
        self._track = track
        self._path = Path(path)
        check_file(self._path)
        self.name = as_text(self._path.name)
        self._paced = paced
        self._loop = loop
        self._closed = threading.Event()
        length_samples = PACED_CHUNK_SAMPLES if paced else CHUNK_SAMPLES
        self._piece_end: PieceEnd = lambda start_sample: start_sample + length_samples

    def divide(self, piece_end: PieceEnd) -> None:
        """Implements ``ports.DivisibleSource``; counts where the file is paced, and no pipe that somebody writes to."""
        if self._paced and self._path.is_file():
            self._piece_end = piece_end

    def duration_s(self) -> float | None:
        """How long the file says that it is (one pass of it), seconds; None if it does not say.

        Raises:
            SourceError: It cannot be opened, or holds no audio.
        """
        return duration_s(self._path)

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield the audio in chunks of 0.1 s, or 20 ms where it is paced and not divided otherwise.

        They are shorter only before a gap and at the end.

        Raises:
            SourceError: The file cannot be opened, holds no audio stream, or nothing of it can be decoded.
        """
        pacer = Pacer(self._closed)
        for start_sample, samples in self._pieces():
            if self._closed.is_set() or (self._paced and not pacer.hold(start_sample + len(samples))):
                return
            yield AudioChunk(start_sample=start_sample, samples=samples, captured_at=time.monotonic())

    def close(self) -> None:
        self._closed.set()

    def _pieces(self) -> Iterator[tuple[int, Samples]]:
        assembly = _Assembly(self._piece_end)
        while not self._closed.is_set():
            for decoded in decode_file(self._path, track=self._track, stopped=self._closed.is_set):
                yield from assembly.feed(decoded)
            if not self._loop:
                break
        yield from assembly.finish()


class _Assembly:
    """Joins what is decoded to mono at 16 kHz on one sample clock, and cuts it into pieces.

    Where a piece ends is asked when somebody wants it, not when its audio is decoded.
    """

    def __init__(self, piece_end: PieceEnd) -> None:
        self._piece_end = piece_end
        self._resampler: MonoResampler | None = None
        self._polarity = Polarity()
        self._waiting: list[Samples] = []
        self._n_waiting = 0
        self._position = 0

    def feed(self, decoded: DecodedAudio) -> Iterator[tuple[int, Samples]]:
        """Take the next audio; yield (first sample, samples)."""
        changed = self._resampler is not None and self._resampler.rate_hz != decoded.rate_hz
        if decoded.gap_s or changed:
            yield from self.finish()
            self._position += round(decoded.gap_s * SAMPLE_RATE_HZ)
        if self._resampler is None:
            self._resampler = MonoResampler(decoded.rate_hz, self._polarity)
        yield from self._take(self._resampler.feed(decoded.samples))

    def finish(self) -> Iterator[tuple[int, Samples]]:
        """End the run of gapless audio: yield all that waits. The next one begins with a fresh resampler."""
        if self._resampler is not None:
            yield from self._take(self._resampler.finish())
            self._resampler = None
        if self._n_waiting:
            yield self._give(self._n_waiting)

    def _take(self, samples: Samples) -> Iterator[tuple[int, Samples]]:
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        while self._n_waiting >= (length := self._piece_end(self._position) - self._position):
            yield self._give(length)

    def _give(self, length: int) -> tuple[int, Samples]:
        """Cut off so much of what waits."""
        joined = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [joined[length:]], len(joined) - length
        start = self._position
        self._position += length
        return start, joined[:length]


def demo_song() -> Path:
    """Path of the packaged song.

    Raises:
        SourceError: The installation lacks it.
    """
    path = Path(str(resources.files("stream_mer.demo") / "demo.ogg"))
    if not path.is_file():
        raise SourceError(f"the demo song is missing from this installation ({path}); install stream-mer again")
    return path


class DemoSource(FileSource):
    """The packaged song as a listener would hear it: in real time, over and over.

    Raises:
        SourceError: The installation lacks it.
    """

    def __init__(self) -> None:
        super().__init__(demo_song(), paced=True, loop=True)
        self.name = "demo"


_CHUNK_SAMPLES = SAMPLE_RATE_HZ  # 1 s: nothing waits for it


class SilenceSource:
    """Digital silence of a given length, as fast as the reader takes it.

    Args:
        name: What a person would call it.
        duration_s: Its length, seconds.
    """

    live = False

    def __init__(self, name: str, duration_s: float) -> None:
        self.name = name
        self._samples = round(duration_s * SAMPLE_RATE_HZ)
        self._closed = threading.Event()

    def duration_s(self) -> float:
        """Its length, seconds."""
        return self._samples / SAMPLE_RATE_HZ

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield chunks of zeros until the length is reached or ``close`` is called."""
        for start in range(0, self._samples, _CHUNK_SAMPLES):
            if self._closed.is_set():
                return
            length = min(_CHUNK_SAMPLES, self._samples - start)
            yield AudioChunk(start_sample=start, samples=np.zeros(length, np.float32))

    def close(self) -> None:
        """End the iteration; idempotent."""
        self._closed.set()
