"""Cut a stream of audio into overlapping windows on the sample clock. Pure: no I/O, no clock, no framework.

What a window holds depends on the sample clock alone, never on how the audio was cut into chunks::

    sample clock   0      1 hop   2 hops  3 hops  ...
    windows        [0 ----]                              index 0
                   [0 ------------]                      index 1
                   ...                                   grows until it holds ``context_samples``
                           [k+1 hops - context ---- k+1 hops]   index k
"""

from __future__ import annotations

import numpy as np

from stream_mer.config import WindowSettings
from stream_mer.errors import SourceError
from stream_mer.types import AudioChunk, Samples, Window


class Windower:
    """Turns chunks of audio into windows.

    * Window ``index`` ends at sample ``(index + 1) * hop_samples`` and holds up to ``context_samples`` that end there:
      fewer at the start of the stream, never padded in front. The stream starts where its first chunk starts.
    * A gap between two chunks is filled with silence, counted in ``Window.lost_samples`` of the hop it lies in; so is a
      chunk that is such silence itself (``AudioChunk.lost``).
    * A gap longer than the context is leapt over, so that hours of it cost neither memory nor work: the hop that was
      begun is completed with silence, the indices whose newest hop holds nothing but silence are left out, and the
      windows after the gap hold silence where it was, as always. One call therefore returns at most
      ``context / hop + 1`` windows more than its own audio fills.
    * A chunk that starts before the end of the one before it is an error: the sample clock cannot go back, and a source
      that repeats audio would be heard twice.

    Windows share memory: each is a read-only view of a buffer that is only ever appended to and is left to them when
    it is full. A chunk costs the copy of its samples, plus one copy of the context for each context's length of audio.

    Args:
        settings: Hop and context.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self._hop = settings.hop_samples
        self._context = settings.context_samples
        # The context is the history that a new buffer begins with; the other half is room to append to. Settings hold
        # a context at 3 s or more and a hop at 2 s or less, so that room is never smaller than one hop.
        self._buffer: Samples = np.empty(2 * self._context, np.float32)
        self._filled = 0
        self._position = 0
        self._started = False
        self._finished = False
        self._lost_in_hop = 0
        self._captured_at = 0.0

    @property
    def hop_samples(self) -> int:
        """Windows end at the multiples of this on the sample clock."""
        return self._hop

    def feed(self, chunk: AudioChunk) -> list[Window]:
        """Take the next audio and return the windows that it completes, oldest first.

        An empty chunk changes nothing.

        Raises:
            SourceError: The chunk starts before the end of the one before it; it is not taken.
            RuntimeError: ``finish`` was called before.
        """
        if self._finished:
            raise RuntimeError("this windower is finished; a new stream needs a new one")
        if not len(chunk.samples):
            return []
        if not self._started:
            self._started = True
            self._position = chunk.start_sample
        gap = chunk.start_sample - self._position
        if gap < 0:
            raise SourceError(
                f"audio went back from sample {self._position} to {chunk.start_sample}; restart the stream, "
                "and report it as an error of its source"
            )
        self._captured_at = chunk.captured_at
        filling = self._leap(chunk.start_sample) if gap > self._context else self._append_silence(gap)
        return filling + self._append(chunk.samples, lost=chunk.lost)

    def finish(self) -> Window | None:
        """The audio ended: return what is left.

        Returns:
            The tail, shorter than a hop, as one last window that ends exactly where the audio ends; None if the audio
            ended where a window did, if there was none, or if this was called before.
        """
        tail = self._started and not self._finished and self._position % self._hop != 0
        self._finished = True
        return self._window() if tail else None

    def _append(self, samples: Samples, *, lost: bool = False) -> list[Window]:
        windows = []
        done = 0
        while done < len(samples):
            to_boundary = self._hop - self._position % self._hop
            piece = samples[done : done + to_boundary]
            self._write(piece)
            done += len(piece)
            if lost:
                self._lost_in_hop += len(piece)
            if self._position % self._hop == 0:
                windows.append(self._window())
        return windows

    def _append_silence(self, length_samples: int) -> list[Window]:
        return self._append(np.zeros(length_samples, np.float32), lost=True) if length_samples else []

    def _leap(self, to_sample: int) -> list[Window]:
        """Pass over a gap longer than the context, up to ``to_sample``."""
        windows = self._append_silence(-self._position % self._hop)
        self._buffer = np.empty(2 * self._context, np.float32)
        self._buffer[: self._context] = 0.0
        self._filled = self._context
        self._position = to_sample
        self._lost_in_hop = to_sample % self._hop
        return windows

    def _write(self, piece: Samples) -> None:
        """Append at most one hop to the buffer; a full buffer is left to its windows and a new one begun."""
        if self._filled + len(piece) > len(self._buffer):
            kept = min(self._filled, self._context)
            fresh = np.empty_like(self._buffer)
            fresh[:kept] = self._buffer[self._filled - kept : self._filled]
            self._buffer, self._filled = fresh, kept
        self._buffer[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        self._position += len(piece)

    def _window(self) -> Window:
        """The window that ends here; begins a new count of lost samples."""
        length = min(self._filled, self._context)
        samples = self._buffer[self._filled - length : self._filled]
        samples.flags.writeable = False
        window = Window(
            index=(self._position - 1) // self._hop,
            start_sample=self._position - length,
            samples=samples,
            lost_samples=self._lost_in_hop,
            captured_at=self._captured_at,
        )
        self._lost_in_hop = 0
        return window
