"""From chunks of audio to overlapping windows on the sample clock. Pure; numpy alone.

``GapFiller`` makes the chunks one continuous signal, and ``Windower`` cuts it. The content of a window depends on the
sample clock alone, not on how the audio was cut into chunks::

    sample clock   0      1 hop   2 hops  3 hops  ...
    windows        [0 ----]                              index 0
                   [0 ------------]                      index 1
                   ...                                   grows until it holds ``context_samples``
                           [k+1 hops - context ---- k+1 hops]   index k
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stream_mer.config import WindowSettings
from stream_mer.errors import SourceError
from stream_mer.types import AudioChunk, Samples, Window


class GapFiller:
    """Puts silence in place of audio that is missing between the chunks of a source.

    * Silence is a chunk like those of a source that stalls (``AudioChunk.lost``).
    * Of a gap longer than the context, the first part is filled: one context, and the rest of its hop. Then the sample
      clock skips whole hops, so that hours without audio cost neither memory nor work.
    * The stream starts where its first chunk starts. Empty chunks are left out.

    Args:
        settings: Hop and context.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self._hop = settings.hop_samples
        self._context = settings.context_samples
        self._position: int | None = None

    def set_hop(self, hop_samples: int) -> None:
        """Skip whole hops of another length from now on."""
        self._hop = hop_samples

    def fill(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        """Yield silence for the audio that is missing before a chunk, then the chunk.

        Raises:
            SourceError: The chunk starts before the end of the one before it; it is ignored.
        """
        if not len(chunk.samples):
            return
        start = chunk.start_sample
        position = start if self._position is None else self._position
        if start < position:
            raise SourceError(
                f"audio went back from sample {position} to {start}; restart the stream, "
                "and report it as a bug of its source"
            )
        self._position = chunk.end_sample
        filled = position + self._context
        filled += -filled % self._hop
        if start > filled:
            yield _silence(position, filled, chunk)
            position = start - start % self._hop
        if start > position:
            yield _silence(position, start, chunk)
        yield chunk


def _silence(start: int, stop: int, chunk: AudioChunk) -> AudioChunk:
    samples = np.zeros(stop - start, np.float32)
    return AudioChunk(start_sample=start, samples=samples, captured_at=chunk.captured_at, source="stalled")


class Windower:
    """Cuts the continuous signal of a ``GapFiller`` into windows.

    Window ``index`` ends at sample ``(index + 1) * hop_samples`` and holds up to ``context_samples`` that end there:
    fewer at the start of the stream, without padding. The stream starts where its first chunk starts. Where the sample
    clock skips, indices are left out, and the windows after it hold the silence before it.

    Windows share memory: each is a read-only view of a buffer that is only appended to, and replaced when it is full. A
    chunk costs the copy of its samples, plus one copy of the context per context of audio.

    Args:
        settings: Hop and context.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self.settings = settings
        self._hop = settings.hop_samples
        self._context = settings.context_samples
        # A new buffer starts with one context of history; the other half is free. It always has room for one hop: the
        # context is at least 3 s, the hop at most 2 s.
        self._buffer: Samples = np.empty(2 * self._context, np.float32)
        self._filled = 0
        self._position = 0
        self._finished = False
        self._lost_in_hop = 0
        self._captured_at = 0.0
        self._index_offset = 0

    @property
    def hop_samples(self) -> int:
        """Windows end at multiples of this on the sample clock."""
        return self._hop

    def set_hop(self, hop_samples: int) -> None:
        """Cut at multiples of another hop from now on; the index goes on, and the context stays.

        Args:
            hop_samples: 0.1 to 2 s.
        """
        self._index_offset += self._position // self._hop - self._position // hop_samples
        self._hop = hop_samples

    def restart(self) -> None:
        """Begin a new context with the next audio, also after ``finish``; index and sample clock go on."""
        if self._finished and self._position % self._hop:
            self._index_offset += 1  # the shorter last window had the index of this hop
        self._filled = 0
        self._finished = False

    def feed(self, chunk: AudioChunk) -> list[Window]:
        """Take the next audio and return the windows that it completes, oldest first.

        Raises:
            RuntimeError: ``finish`` was called before.
        """
        if self._finished:
            raise RuntimeError("this windower is finished; a new stream needs a new one")
        self._position = chunk.start_sample
        self._captured_at = chunk.captured_at
        windows = []
        done = 0
        while done < len(chunk.samples):
            to_boundary = self._hop - self._position % self._hop
            piece = chunk.samples[done : done + to_boundary]
            self._write(piece)
            done += len(piece)
            if chunk.lost:
                self._lost_in_hop += len(piece)
            if self._position % self._hop == 0:
                windows.append(self._window())
        return windows

    def finish(self) -> Window | None:
        """End the stream.

        Returns:
            The rest, shorter than a hop, as a last window that ends where the audio ends; None if nothing is left, or
            this was called before.
        """
        tail = not self._finished and self._filled and self._position % self._hop != 0
        self._finished = True
        return self._window() if tail else None

    def _write(self, piece: Samples) -> None:
        """Append at most one hop to the buffer; a full buffer is replaced."""
        if self._filled + len(piece) > len(self._buffer):
            kept = min(self._filled, self._context)
            fresh = np.empty_like(self._buffer)
            fresh[:kept] = self._buffer[self._filled - kept : self._filled]
            self._buffer, self._filled = fresh, kept
        self._buffer[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        self._position += len(piece)

    def _window(self) -> Window:
        """Make the window that ends here, and reset the count of lost samples."""
        length = min(self._filled, self._context)
        samples = self._buffer[self._filled - length : self._filled]
        samples.flags.writeable = False
        window = Window(
            index=(self._position - 1) // self._hop + self._index_offset,
            start_sample=self._position - length,
            samples=samples,
            lost_samples=self._lost_in_hop,
            captured_at=self._captured_at,
        )
        self._lost_in_hop = 0
        return window
