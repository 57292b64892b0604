"""One channel in a worker: where it resumes after another worker, its pipeline, and its events on the way out."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from stream_mer.cluster.bus import LATEST, LINES, Bus, CoalescingQueue
from stream_mer.cluster.records import FrameEnd, event_subject, kind_of, unseal, unseal_frame_end
from stream_mer.errors import ClusterError
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource, Chunker, Preview
from stream_mer.sources.file import set_chunker, set_preview
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, LyricLine, Samples, StreamEvent, StreamStatus
from stream_mer.utils.threads import in_thread

log = logging.getLogger(__name__)

FIRST_AUDIO_S = 0.25
"""Audio that a new worker captures before its first frame. More, up to a second, makes that frame no better."""

FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 60.0
"""Delay before a failed channel is tried again: doubled each time."""

HANGS_AFTER_S = 30.0
"""A pipeline without progress for this long hangs; without audio it still makes progress every 3 s."""

END_WITHIN_S = 3.0
"""A pipeline that takes longer to end is abandoned."""


# Where a channel resumes


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """Where a worker resumes a channel: its clock and its counts go on.

    Attributes:
        start_sample: First sample that the new worker captures, on the channel's clock. A window ends ``FIRST_AUDIO_S``
            later, or a hop later if that is less.
        segments: Lyric lines so far.
        dropped: Windows dropped so far.
        lost_samples: Audio lost so far, including that between the workers.
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


def resume_after(
    *,
    frame: EmotionFrame | FrameEnd | None,
    line: LyricLine | None,
    status: StreamStatus | None,
    elapsed_s: float,
    hop_samples: int,
) -> ResumePoint:
    """Return where a channel resumes.

    Args:
        frame: Its last frame; None if it never had one: it starts at 0.
        line: Its last lyric line.
        status: Its last status.
        elapsed_s: Time since the frame was published, seconds, by one clock.
        hop_samples: Windows end at multiples of this.
    """
    segments = 0 if line is None else line.segment + 1
    if frame is None:
        return ResumePoint(segments=segments)
    end_sample = round(frame.t1 * SAMPLE_RATE_HZ)
    now_sample = end_sample + round(max(0.0, elapsed_s) * SAMPLE_RATE_HZ)
    first_samples = min(hop_samples, round(FIRST_AUDIO_S * SAMPLE_RATE_HZ))
    # A pipeline that is stopped publishes a last frame of part of a hop: the index of that hop is taken.
    next_hop = max(math.ceil((now_sample + first_samples) / hop_samples), math.ceil(end_sample / hop_samples) + 1)
    start_sample = next_hop * hop_samples - first_samples
    ended = status is not None and status.source == "ended"
    lost_samples = (0 if status is None else status.lost_samples) + (0 if ended else start_sample - end_sample)
    return ResumePoint(start_sample=start_sample, segments=segments, dropped=frame.dropped, lost_samples=lost_samples)


async def read_resume_point(bus: Bus, channel: str, *, now: float, hop_samples: int) -> ResumePoint:
    """Return where a channel resumes, according to the events that NATS keeps.

    Args:
        bus: The connection.
        channel: The channel's name.
        now: Server time, seconds.
        hop_samples: Windows end at multiples of this.

    Raises:
        ClusterError: NATS cannot be reached, or refuses.
    """
    kinds = {"emotion": LATEST, "status": LATEST, "lyrics": LINES}
    found = await asyncio.gather(*(bus.last(stream, event_subject(channel, kind)) for kind, stream in kinds.items()))
    entries = dict(zip(kinds, found, strict=True))
    events = {kind: _read_event(channel, kind, entry.value) for kind, entry in entries.items() if entry is not None}
    frame, line, status = events.get("emotion"), events.get("lyrics"), events.get("status")
    last_frame = entries["emotion"]
    return resume_after(
        frame=frame if isinstance(frame, EmotionFrame | FrameEnd) else None,
        line=line if isinstance(line, LyricLine) else None,
        status=status if isinstance(status, StreamStatus) else None,
        elapsed_s=0.0 if last_frame is None else now - last_frame.stored_at,
        hop_samples=hop_samples,
    )


def _read_event(channel: str, kind: str, data: bytes) -> StreamEvent | FrameEnd | None:
    """Read an event; an invalid one must not keep the channel from resuming."""
    try:
        return unseal(kind, data).event
    except ClusterError as error:
        end = unseal_frame_end(data) if kind == "emotion" else None
        log.warning("%s: %s; %s", channel, error, "using only its time" if end is not None else "ignoring it")
        return end


class ResumedSource:
    """A source whose sample clock starts where its channel resumes."""

    def __init__(self, source: AudioSource, start_sample: int) -> None:
        self._source = source
        self._start_sample = start_sample
        self.name = source.name
        self.live = source.live

    def set_chunker(self, chunker: Chunker) -> None:
        """Implements ``ports.ChunkableSource``, on the channel's clock."""
        shift = self._start_sample
        set_chunker(self._source, lambda start_sample: chunker(start_sample + shift) - shift)

    def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:
        """Implements ``ports.PreviewableSource``, likewise."""
        shift = self._start_sample

        def shifted(start_sample: int, samples: Samples, due_at: float, is_closed: Callable[[], bool]) -> None:
            preview(start_sample + shift, samples, due_at, is_closed)

        set_preview(self._source, shifted, wanted)

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in self._source.chunks():
            yield replace(chunk, start_sample=chunk.start_sample + self._start_sample)

    def close(self) -> None:
        self._source.close()


# The channel at work


@dataclass(slots=True, kw_only=True, eq=False)
class ChannelTask:
    """A channel that this worker owns.

    Attributes:
        token: The channel's key.
        name: Its name.
        epoch: Revision of our claim.
        channel: Revision of its configuration.
        late: Windows dropped because the model was late, since this worker owns it.
        failure: Why the pipeline ended; None if by itself or because it was stopped.
        failures: Consecutive failed attempts.
        retry_at: Monotonic time of the next attempt.
        last_status: What the pipeline published when it ended.
        is_muted: Whether its events are dropped: another worker owns the channel.
        attempt: Number of the current pipeline; events of abandoned ones are dropped.
    """

    token: str
    name: str
    epoch: int
    channel: int
    late: int = 0
    failure: BaseException | None = None
    failures: int = 0
    retry_at: float = 0.0
    last_status: StreamEvent | None = None
    is_muted: bool = False
    attempt: int = 0
    _pipeline: Pipeline | None = None
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Counter[str] = field(default_factory=Counter)

    @property
    def is_idle(self) -> bool:
        """Whether no pipeline runs: the last attempt failed, and the next one is scheduled."""
        return self._pipeline is None

    @property
    def has_ended(self) -> bool:
        """Whether the pipeline ended without having been stopped; ``failure`` says why."""
        return self._pipeline is not None and self._done.is_set()

    def hangs(self, now: float) -> bool:
        """Return whether the pipeline makes no progress, at a monotonic time."""
        pipeline = self._pipeline
        return pipeline is not None and not self._done.is_set() and now - pipeline.turned_at > HANGS_AFTER_S

    def start(self, pipeline: Pipeline, on_end: Callable[[], None]) -> asyncio.Future[None]:
        """Run the pipeline in a thread of its own; ``on_end`` is called in the event loop when it has ended.

        Returns:
            Done when the thread has ended, also if the pipeline was abandoned.
        """
        self._pipeline, self.failure = pipeline, None
        self._done = done = asyncio.Event()

        def finish(outcome: asyncio.Future[None]) -> None:
            failure = outcome.exception()
            if self._done is done:  # otherwise it was abandoned
                self.failure = failure
                done.set()
                on_end()

        running = in_thread(pipeline.run, name=f"infer {self.name}")
        running.add_done_callback(finish)
        return running

    async def stop(self) -> None:
        """Stop the pipeline, if there is one; one that does not end in time is abandoned."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await in_thread(pipeline.stop, name=f"stop {self.name}")
                await self._done.wait()
        except TimeoutError:
            log.error("%s: does not end within %g s; abandoning it", self.name, END_WITHIN_S)  # noqa: TRY400 - not our bug
            self._done = asyncio.Event()
            self.attempt += 1

    def schedule_retry(self) -> None:
        """After a failure: schedule the next attempt."""
        self.retry_at = time.monotonic() + min(FIRST_RETRY_S * 2**self.failures, LONGEST_RETRY_S)
        self.failures += 1
        self._pipeline = None

    def begin_epoch(self, epoch: int) -> None:
        """Continue under another claim."""
        self.epoch = epoch
        self._numbers.clear()

    def next_number(self, kind: str) -> int:
        """Return the number of the next event of a kind in this epoch."""
        number = self._numbers[kind]
        self._numbers[kind] += 1
        return number


OutgoingQueue: TypeAlias = CoalescingQueue[tuple[ChannelTask, StreamEvent]]
"""Events to be published, each with the task that it comes from."""


class ChannelSink:
    """Implements ``ports.EventSink`` for the pipeline of one channel: queues its events on the channel's clock.

    The end of a pipeline is not published: the worker knows whether the channel has ended.
    """

    def __init__(self, task: ChannelTask, outgoing: OutgoingQueue, resume_point: ResumePoint) -> None:
        self._task = task
        self._attempt = task.attempt
        self._outgoing = outgoing
        self._resume_point = resume_point

    def publish(self, event: StreamEvent) -> None:
        if self._task.is_muted or self._attempt != self._task.attempt:
            return
        if isinstance(event, StreamStatus) and event.source == "ended":
            self._task.last_status = self._resume_point.shift(event)
            return
        if isinstance(event, EmotionFrame):
            self._task.late, self._task.failures = event.dropped, 0
        self._outgoing.put(self._task.name, kind_of(event), (self._task, self._resume_point.shift(event)))
