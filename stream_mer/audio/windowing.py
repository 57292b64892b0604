"""Cut a stream of audio into overlapping windows on the sample clock. Pure; numpy alone.

The content of a window depends on the sample clock alone, not on how the audio was cut into chunks::

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
    """Cuts chunks of audio into windows.

    * Window ``index`` ends at sample ``(index + 1) * hop_samples`` and holds up to ``context_samples`` that end there:
      fewer at the start of the stream, without padding. The stream starts where its first chunk starts.
    * A gap between two chunks is filled with silence, which counts in ``Window.lost_samples`` of its hop; so does a
      chunk of replaced audio (``AudioChunk.lost``).
    * A gap longer than the context is skipped, so that hours of it cost neither memory nor work: the current hop is
      completed with silence, the indices whose newest hop is silence alone are left out, and the windows after the gap
      hold silence in its place. So one call returns at most ``context / hop + 1`` windows more than its audio fills.
    * A chunk that starts before the end of the one before it is an error.

    Windows share memory: each is a read-only view of a buffer that is only appended to, and replaced when it is full. A
    chunk costs the copy of its samples, plus one copy of the context per context of audio.

    Args:
        settings: Hop and context.
    """

    def __init__(self, settings: WindowSettings) -> None:
        self._hop = settings.hop_samples
        self._context = settings.context_samples
        # A new buffer starts with one context of history; the other half is free. It always has room for one hop: the
        # context is at least 3 s, the hop at most 2 s.
        self._buffer: Samples = np.empty(2 * self._context, np.float32)
        self._filled = 0
        self._position = 0
        self._started = False
        self._finished = False
        self._lost_in_hop = 0
        self._captured_at = 0.0

    @property
    def hop_samples(self) -> int:
        """Windows end at multiples of this on the sample clock."""
        return self._hop

    def feed(self, chunk: AudioChunk) -> list[Window]:
        """Take the next audio and return the windows that it completes, oldest first.

        An empty chunk changes nothing.

        Raises:
            SourceError: The chunk starts before the end of the one before it; it is ignored.
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
                "and report it as a bug of its source"
            )
        self._captured_at = chunk.captured_at
        filling = self._skip_gap(chunk.start_sample) if gap > self._context else self._append_silence(gap)
        return filling + self._append(chunk.samples, lost=chunk.lost)

    def finish(self) -> Window | None:
        """End the stream.

        Returns:
            The rest, shorter than a hop, as a last window that ends where the audio ends; None if nothing is left, or
            this was called before.
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

    def _skip_gap(self, to_sample: int) -> list[Window]:
        """Skip a gap longer than the context, up to ``to_sample``."""
        windows = self._append_silence(-self._position % self._hop)
        self._buffer = np.empty(2 * self._context, np.float32)
        self._buffer[: self._context] = 0.0
        self._filled = self._context
        self._position = to_sample
        self._lost_in_hop = to_sample % self._hop
        return windows

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
            index=(self._position - 1) // self._hop,
            start_sample=self._position - length,
            samples=samples,
            lost_samples=self._lost_in_hop,
            captured_at=self._captured_at,
        )
        self._lost_in_hop = 0
        return window
