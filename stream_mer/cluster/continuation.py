"""How a channel goes on with a new worker as if it had never been interrupted. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stream_mer.ports import AudioSource, PieceEnd
from stream_mer.sources.pacing import divide
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, LyricLine, StreamEvent, StreamStatus

FIRST_AUDIO_S = 0.25
"""So much is heard by a new worker before its first frame: with less than a second what it says is as good, or bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameEnd:
    """What counts of a channel's last frame, though this version may not be able to read all of it.

    Attributes:
        t1: End of its audio, seconds.
        dropped: Windows dropped so far.
    """

    t1: float
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Where a channel stands when a worker takes it: what counts goes on counting.

    Attributes:
        start_sample: Of the first audio that the new worker hears, on the channel's clock; ``FIRST_AUDIO_S`` before a
            window ends, or a hop where that is less.
        segments: Lines of lyrics so far.
        dropped: Windows dropped so far.
        lost_samples: Audio lost so far, with that between the workers.
    """

    start_sample: int = 0
    segments: int = 0
    dropped: int = 0
    lost_samples: int = 0

    def shift(self, event: StreamEvent) -> StreamEvent:
        """Return an event of the new worker's pipeline as an event of the channel."""
        match event:
            case EmotionFrame():
                return replace(event, dropped=event.dropped + self.dropped) if self.dropped else event
            case LyricLine():
                return replace(event, segment=event.segment + self.segments) if self.segments else event
            case StreamStatus():
                return replace(event, lost_samples=event.lost_samples + self.lost_samples)
        return event


def continue_after(
    *,
    frame: EmotionFrame | FrameEnd | None,
    line: LyricLine | None,
    status: StreamStatus | None,
    elapsed_s: float,
    hop_samples: int,
) -> Continuation:
    """Return where a channel goes on whose last events were these.

    Args:
        frame: The last one; None if the channel never had any: it begins at 0.
        line: The last one.
        status: The last one.
        elapsed_s: Time since the frame was published, seconds, by one clock.
        hop_samples: Windows end at its multiples.
    """
    segments = 0 if line is None else line.segment + 1
    if frame is None:
        return Continuation(segments=segments)
    end_sample = round(frame.t1 * SAMPLE_RATE_HZ)
    now_sample = end_sample + round(max(0.0, elapsed_s) * SAMPLE_RATE_HZ)
    first_samples = min(hop_samples, round(FIRST_AUDIO_S * SAMPLE_RATE_HZ))
    # The last frame may be of the piece of a hop that a pipeline leaves when it is stopped: its index is taken.
    next_hop = max(math.ceil((now_sample + first_samples) / hop_samples), math.ceil(end_sample / hop_samples) + 1)
    start_sample = next_hop * hop_samples - first_samples
    ended = status is not None and status.source == "ended"
    lost_samples = (0 if status is None else status.lost_samples) + (0 if ended else start_sample - end_sample)
    return Continuation(start_sample=start_sample, segments=segments, dropped=frame.dropped, lost_samples=lost_samples)


class ContinuedSource:
    """A source whose sample clock begins where the channel's stands."""

    def __init__(self, source: AudioSource, start_sample: int) -> None:
        self._source = source
        self._start_sample = start_sample
        self.name = source.name
        self.live = source.live

    def divide(self, piece_end: PieceEnd) -> None:
        """Implements ``ports.DivisibleSource``, on the channel's clock."""
        shift = self._start_sample
        divide(self._source, lambda start_sample: piece_end(start_sample + shift) - shift)

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in self._source.chunks():
            yield replace(chunk, start_sample=chunk.start_sample + self._start_sample)

    def close(self) -> None:
        self._source.close()
