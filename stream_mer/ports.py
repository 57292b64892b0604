"""Protocols between the packages: what the pipeline and the outputs need from others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

from stream_mer.types import (
    AudioChunk,
    ControlCommand,
    EmotionEstimate,
    LyricLine,
    LyricState,
    Samples,
    StreamEvent,
    Window,
)


class AudioSource(Protocol):
    """Where audio comes from. Iterated by a thread of its own, so it may block."""

    @property
    def name(self) -> str:
        """Name for people: of the file or of the device."""
        ...

    @property
    def live(self) -> bool:
        """True for live audio: late audio is dropped. False if reading may wait: nothing is lost."""
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


Chunker: TypeAlias = Callable[[int], int]
"""Takes the sample index at which a chunk starts; returns the index at which it ends, which is larger."""


@runtime_checkable
class ChunkableSource(AudioSource, Protocol):
    """A source of stored audio, whose chunks may have any length."""

    def set_chunker(self, chunker: Chunker) -> None:
        """Set where ``chunks`` cuts; to be called before it is iterated."""
        ...


Preview: TypeAlias = Callable[[int, Samples, float, Callable[[], bool]], None]
"""Takes a chunk before it is delivered: its first sample index, its samples, the time at which the first sample is due
(monotonic clock, seconds), and a function that returns True once the source is closed. Must not block."""


Schedule: TypeAlias = Callable[[Iterable[tuple[float, Callable[[], None]]]], None]
"""Takes times (monotonic clock, seconds) and functions, and has each called at its time. Must not block."""


@runtime_checkable
class PreviewableSource(AudioSource, Protocol):
    """A source that has audio before it delivers it, at the pace of real time."""

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:
        """Have each chunk looked at before it is delivered; to be called before ``chunks`` is iterated.

        Args:
            preview: Looks at it.
            wanted: Returns whether it would do anything now; asked once a chunk.
        """
        ...


class EmotionStream(Protocol):
    """The joint model on one stream, with the state that it keeps between windows."""

    def predict(self, window: Window, lyrics: LyricState) -> EmotionEstimate:
        """Compute the estimate of one window.

        Windows come in order. Some may be missing; the overlap of the next window supplies their audio.
        """
        ...


class LyricFeed(Protocol):
    """Turns audio into lyrics beside the emotion model.

    A live feed never blocks. An offline feed may work inside ``feed``, so that its results depend on the sample clock
    alone.
    """

    def feed(self, chunk: AudioChunk) -> None:
        """Take the next audio."""
        ...

    def finish(self) -> None:
        """Commit what can be committed at the end of the audio. Blocks until done if offline."""
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


OnEvent: TypeAlias = Callable[[str, StreamEvent], None]
"""Called with the name of a stream and what it published."""


class EventHub(Protocol):
    """The streams of a process as outputs see them, without the server: what ``server.hub.Hub`` offers to them."""

    session: str
    """Random name of this run of the hub."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams."""
        ...

    def sink(self, stream: str) -> EventSink:
        """Return the sink of a stream; the stream is added if it is new."""
        ...

    def subscribe(
        self, on_event: OnEvent, *, levels: bool = False, on_remove: Callable[[str], None] | None = None
    ) -> None:
        """Have a function called with every event that is published from now on, in the publishing thread.

        Args:
            on_event: Must not block. An exception is logged and does not affect other subscribers.
            levels: Also have levels measured.
            on_remove: Called with the name of each stream that is removed, after its last event.
        """
        ...

    def unsubscribe(self, on_event: OnEvent) -> None:
        """Call a function of ``subscribe`` no more; idempotent."""
        ...

    def control(self, command: ControlCommand) -> None:
        """Carry out an operator's command; unknown streams are ignored. From any thread."""
        ...

    def is_wanted(self, stream: str, kind: str) -> bool:
        """Return whether any client or subscriber wants messages of this kind, such as ``levels``, now."""
        ...
