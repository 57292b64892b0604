"""Plays a recording into a hub, as if it happened now."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from stream_mer.errors import SettingError
from stream_mer.outputs.recording.format import RecordedEvent, Recording
from stream_mer.ports import EventHub
from stream_mer.types import CategoryChange, EmotionFrame, InputLevels, LyricLine, StreamEvent, StreamStatus

MIN_SPEED, MAX_SPEED = 0.01, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """How to play.

    Attributes:
        speed: Playback speed as a factor, ``MIN_SPEED`` to ``MAX_SPEED``.
        loop: Start again at the end, forever.
        from_s: Where to start, seconds since the recording began.
    """

    speed: float = 1.0
    loop: bool = False
    from_s: float = 0.0

    def __post_init__(self) -> None:
        if not MIN_SPEED <= self.speed <= MAX_SPEED:
            raise SettingError(f"the speed must be {MIN_SPEED:g} to {MAX_SPEED:g}, not {self.speed:g}")
        if not 0 <= self.from_s < math.inf:
            raise SettingError(f"a recording begins at 0 seconds; {self.from_s:g} is not a position in it")


class Player:
    """Publishes recorded events when their time has come; an ``EventProducer`` of ``runner``.

    With ``loop``, audio time, frame indices and lyric segments keep rising from lap to lap, as if the audio were
    played again.

    Args:
        recording: The recording.
        hub: Where to publish.
        playing: How.
        clock: Seconds, monotonic.

    Raises:
        SettingError: The recording ends before ``playing.from_s``.
        SourceError: The recording cannot be read.
    """

    def __init__(
        self,
        recording: Recording,
        hub: EventHub,
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
        # Reading hours of events takes seconds: only a loop has to know how far the counts go.
        self._lap = _survey(recording, self._playing.from_s) if self._playing.loop else _Lap()

    @property
    def duration_s(self) -> float:
        """How long one lap is, in the recording's own time, seconds."""
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
        """Stop; nothing stays open while it does not run."""
        self.stop()

    def _play(self, lap: int, starts_at: float) -> bool:
        """Play one lap; return False if it was stopped before the end."""
        playing = self._playing
        for one in self._from_start():
            due_at = starts_at + (one.at - playing.from_s) / playing.speed
            if self._stopping.wait(max(0.0, due_at - self._clock())):
                return False
            if one.stream not in self._sinks or not self._is_wanted(one):
                continue
            if isinstance(one.event, StreamStatus):
                if playing.loop and one.event.source == "ended":
                    continue  # the next lap follows
                self._statuses[one.stream] = one.event
            shift = self._lap.shifts.get(one.stream, Shift())
            self._sinks[one.stream].publish(shifted(one.event, shift, laps=lap))
        return True

    def _from_start(self) -> Iterator[RecordedEvent]:
        """Yield all events from ``from_s`` on; first the newest status of each stream before it."""
        statuses: dict[str, RecordedEvent] = {}
        for one in self._recording.events():
            if one.at >= self._playing.from_s:
                for status in statuses.values():
                    yield replace(status, at=self._playing.from_s)
                statuses.clear()
                yield one
            elif isinstance(one.event, StreamStatus):
                statuses[one.stream] = one

    def _is_wanted(self, one: RecordedEvent) -> bool:
        return not isinstance(one.event, InputLevels) or self._hub.is_wanted(one.stream, "levels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far the counts of a stream move in one lap.

    Attributes:
        t_s: Seconds of audio.
        index: Hops.
        segment: Lines of lyrics.
    """

    t_s: float = 0.0
    index: int = 0
    segment: int = 0


def shifted(event: StreamEvent, shift: Shift, *, laps: int = 1) -> StreamEvent:
    """Return an event as it is ``laps`` laps later."""
    t_s = laps * shift.t_s
    match event:
        case EmotionFrame():
            return replace(event, t0=event.t0 + t_s, t1=event.t1 + t_s, index=event.index + laps * shift.index)
        case LyricLine():
            words = tuple(replace(word, t0=word.t0 + t_s, t1=word.t1 + t_s) for word in event.words)
            segment = event.segment + laps * shift.segment
            return replace(event, t0=event.t0 + t_s, t1=event.t1 + t_s, words=words, segment=segment)
        case CategoryChange() | InputLevels():
            return replace(event, t=event.t + t_s)
        case StreamStatus():
            return event


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lap:
    """One pass through the recording.

    Attributes:
        length_s: From one start to the next, seconds.
        shifts: Increments of the counts of each stream.
    """

    length_s: float = 0.0
    shifts: Mapping[str, Shift] = field(default_factory=dict)


def _survey(recording: Recording, from_s: float) -> _Lap:
    """Read through a recording to find how far each stream counts."""
    t_range = (math.inf, 0.0)
    indices: dict[str, tuple[int, int]] = {}
    segments: dict[str, tuple[int, int]] = {}
    for one in recording.events():
        if one.at < from_s:
            continue
        match one.event:
            case EmotionFrame() as frame:
                t_range = min(t_range[0], frame.t1), max(t_range[1], frame.t1)
                indices[one.stream] = _widened(indices.get(one.stream), frame.index)
            case LyricLine() as line:
                segments[one.stream] = _widened(segments.get(one.stream), line.segment)
    hop_s = recording.header.hello.hop_s
    # Whole hops, so that the frames of every lap lie on the same grid.
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
