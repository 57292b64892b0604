"""The seams: what the pipeline needs from the rooms around it, and nothing of how they do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

from stream_mer.types import AudioChunk, EmotionEstimate, LyricLine, LyricState, StreamEvent, Window


class AudioSource(Protocol):
    """Where audio comes from. Iterated by a thread of its own, so it may block."""

    @property
    def name(self) -> str:
        """What a person would call it: the file's name, the device's name."""
        ...

    @property
    def live(self) -> bool:
        """True if the world does not wait: late audio is dropped. False: reading waits, and nothing is lost."""
        ...

    def chunks(self) -> Iterator[AudioChunk]:
        """Yield mono audio at 16 kHz in order until the source ends or ``close`` is called.

        Raises:
            SourceError: The audio cannot be opened, read or decoded.
        """
        ...

    def close(self) -> None:
        """End the iteration soon, from any thread; idempotent."""
        ...


PieceEnd: TypeAlias = Callable[[int], int]
"""Tells where a piece of audio is to end that starts at a sample: at a later one."""


@runtime_checkable
class DivisibleSource(AudioSource, Protocol):
    """A source whose audio lies ready, and may be handed over in pieces of any length: each when its end is due."""

    def divide(self, piece_end: PieceEnd) -> None:
        """Cut by this what ``chunks`` yields, as far as there is audio; to be called before it is."""
        ...


class EmotionStream(Protocol):
    """The joint model at work on one stream: it carries the state between windows."""

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        """Compute the estimate of one window.

        Windows come in order; some may be missing, and their audio is caught up from the overlap.
        """
        ...


class LyricFeed(Protocol):
    """Turns audio into lyrics beside the emotion model.

    A live feed returns from every call at once; an offline feed may work inside ``feed``, so that what it says
    depends on the sample clock alone.
    """

    def feed(self, chunk: AudioChunk) -> None:
        """Take the next audio."""
        ...

    def finish(self) -> None:
        """The audio ended: commit what can be committed. Offline it blocks until done; live it does not wait."""
        ...

    def state(self) -> LyricState:
        """The newest state."""
        ...

    def take_lines(self) -> list[LyricLine]:
        """New and revised lines since the last call, oldest first."""
        ...

    def close(self) -> None:
        """Stop any worker; idempotent."""
        ...


class EventSink(Protocol):
    """Where a pipeline's events go: the hub, a file, the terminal."""

    def publish(self, event: StreamEvent) -> None:
        """Take one event. Must not block and must not raise for a slow reader."""
        ...
