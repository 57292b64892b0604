"""Plays a recording into a hub, as if it happened now."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from stream_mer.errors import SettingError
from stream_mer.outputs.recording.events import Shift, event_of, shifted
from stream_mer.outputs.recording.format import Entry, Recording
from stream_mer.server import messages as wire
from stream_mer.server.codec import kind_of
from stream_mer.server.hub import Hub
from stream_mer.types import StreamStatus

MIN_SPEED, MAX_SPEED = 0.01, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """How to play.

    Attributes:
        speed: Times as fast as it was, .01..100.
        loop: Begin again at the end, without end.
        from_s: Where to begin, seconds since the recording began.
    """

    speed: float = 1.0
    loop: bool = False
    from_s: float = 0.0

    def __post_init__(self) -> None:
        if not MIN_SPEED <= self.speed <= MAX_SPEED:
            raise SettingError(f"the speed must be {MIN_SPEED:g} to {MAX_SPEED:g}, not {self.speed:g}")
        if not 0 <= self.from_s < float("inf"):
            raise SettingError(f"a recording begins at 0 seconds; {self.from_s:g} is no place in it")


class Player:
    """Publishes what was recorded when its time has come; an ``EventProducer`` of ``runner``.

    What is played again by ``loop`` goes on counting: time, hops and lines, as if the audio were played again.

    Args:
        recording: What to play.
        hub: Where to; it gets a sink for each stream at once.
        playing: How.
        clock: Seconds, monotonic.

    Raises:
        SettingError: There is nothing to be played from there on.
        SourceError: The recording cannot be read.
    """

    def __init__(
        self,
        recording: Recording,
        hub: Hub,
        playing: Playing | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recording = recording
        self._hub = hub
        self._playing = playing or Playing()
        self._clock = clock
        self._stopping = threading.Event()
        self._sinks = {stream: hub.sink(stream) for stream in recording.streams}
        self._statuses: dict[str, StreamStatus] = {}
        if self._playing.from_s >= recording.end_s:
            raise SettingError(
                f"{recording.folder} ends after {recording.end_s:.1f} s: there is nothing from "
                f"{self._playing.from_s:g} s on"
            )
        # Of hours it takes seconds: only who plays it again has to know how far it counts.
        self._lap = _survey(recording, self._playing.from_s) if self._playing.loop else _Lap()

    @property
    def duration_s(self) -> float:
        """How long one pass of it takes as it was recorded, seconds."""
        return self._recording.end_s - self._playing.from_s

    def run(self) -> None:
        """Play until the end, or until ``stop`` is called; then all streams have ended.

        Raises:
            SourceError: The recording can no longer be read.
        """
        began_at = self._clock()
        try:
            for lap in itertools.count() if self._playing.loop else range(1):
                starts_at = began_at + lap * self._lap.length_s / self._playing.speed
                if not self._play(lap, starts_at):
                    return
        finally:
            for stream, status in self._statuses.items():
                if status.source != "ended":
                    self._sinks[stream].publish(replace(status, source="ended"))

    def stop(self) -> None:
        """End soon, from any thread; idempotent."""
        self._stopping.set()

    def close(self) -> None:
        """Stop: nothing is open but while it runs."""
        self.stop()

    def _play(self, lap: int, starts_at: float) -> bool:
        """Play it once; return False if it was stopped before the end."""
        playing, shifts = self._playing, {name: one * lap for name, one in self._lap.shifts.items()}
        for entry, message in self._from_there():
            due_at = starts_at + (entry.at - playing.from_s) / playing.speed
            if self._stopping.wait(max(0.0, due_at - self._clock())):
                return False
            if message.stream in self._sinks and self._is_wanted(message):
                if playing.loop and isinstance(message, wire.Status) and message.source == "ended":
                    continue  # it goes on
                event = shifted(event_of(message), shifts.get(message.stream, Shift()))
                if isinstance(event, StreamStatus):
                    self._statuses[message.stream] = event
                self._sinks[message.stream].publish(event)
        return True

    def _from_there(self) -> Iterator[tuple[Entry, wire.EventMessage]]:
        """All messages from the beginning asked for on; first what was last said of each stream's state before it."""
        statuses: dict[str, wire.Status] = {}
        for entry in self._recording.entries():
            message = entry.message
            if message is None:
                continue
            if entry.at >= self._playing.from_s:
                for status in statuses.values():
                    yield Entry(at=self._playing.from_s), status
                statuses.clear()
                yield entry, message
            elif isinstance(message, wire.Status):
                statuses[message.stream] = message

    def _is_wanted(self, message: wire.EventMessage) -> bool:
        kind = kind_of(message)
        return kind != "levels" or self._hub.is_wanted(message.stream, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lap:
    """One pass of what is to be played.

    Attributes:
        length_s: From one beginning to the next.
        shifts: What it adds to the counts of each stream.
    """

    length_s: float = 0.0
    shifts: Mapping[str, Shift] = field(default_factory=dict)


def _survey(recording: Recording, from_s: float) -> _Lap:
    """Read through a recording, for how far each stream counts."""
    t_range = (float("inf"), 0.0)
    indices: dict[str, tuple[int, int]] = {}
    segments: dict[str, tuple[int, int]] = {}
    for entry in recording.entries():
        if entry.at < from_s:
            continue
        match entry.message:
            case wire.Emotion() as frame:
                t_range = min(t_range[0], frame.t1), max(t_range[1], frame.t1)
                indices[frame.stream] = _widened(indices.get(frame.stream), frame.index)
            case wire.Lyrics() as line:
                segments[line.stream] = _widened(segments.get(line.stream), line.segment)
    hop_s = recording.header.hello.hop_s
    # Whole hops, so that the frames of every pass lie on the same grid.
    lap_s = hop_s * (math.floor(max(recording.end_s - from_s, t_range[1] - t_range[0]) / hop_s) + 1)
    shifts = {
        stream: Shift(t_s=lap_s, index=_length(indices.get(stream)), segment=_length(segments.get(stream)))
        for stream in recording.streams
    }
    return _Lap(length_s=lap_s, shifts=shifts)


def _widened(bounds: tuple[int, int] | None, value: int) -> tuple[int, int]:
    return (value, value) if bounds is None else (min(bounds[0], value), max(bounds[1], value))


def _length(bounds: tuple[int, int] | None) -> int:
    return 0 if bounds is None else bounds[1] - bounds[0] + 1
