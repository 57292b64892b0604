"""One channel at work in a worker: its pipeline in a thread, and what comes of it on its way to NATS."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from stream_mer.cluster.coalescing import Coalescer
from stream_mer.cluster.continuation import Continuation
from stream_mer.cluster.envelope import kind_of
from stream_mer.pipeline import Pipeline
from stream_mer.types import EmotionFrame, StreamEvent, StreamStatus
from stream_mer.utils.threads import in_thread

log = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 60.0
"""Pause before a channel that failed is tried again: doubled each time."""

HANGS_AFTER_S = 30.0
"""A pipeline whose loop does not come round for so long hangs; without audio it comes round every 3 s."""

END_WITHIN_S = 3.0
"""A pipeline may take so long to end; one that hangs is left behind, and the worker goes on."""


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A channel that this worker has.

    Attributes:
        token: The channel's key.
        name: Its name.
        epoch: Revision of the claim by which we have it.
        channel: Revision of what it listens to.
        late: Windows that came too late for the model, since this worker has it.
        failure: Why the pipeline ended; None if by itself or because it was asked to.
        failures: Attempts that failed, one after the other.
        retry_at: When to try again, by the monotonic clock.
        last_word: What the pipeline said when it ended.
        is_mute: Whether what it says counts no more: the channel is another's.
        attempt: Number of the pipeline that counts: what one says that was left behind does not.
    """

    token: str
    name: str
    epoch: int
    channel: int
    late: int = 0
    failure: BaseException | None = None
    failures: int = 0
    retry_at: float = 0.0
    last_word: StreamEvent | None = None
    is_mute: bool = False
    attempt: int = 0
    _pipeline: Pipeline | None = None
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Counter[str] = field(default_factory=Counter)

    @property
    def is_idle(self) -> bool:
        """Whether no pipeline is there: it failed, and the next attempt is due some time."""
        return self._pipeline is None

    @property
    def has_ended(self) -> bool:
        """Whether the pipeline ended without having been asked to; ``failure`` says why."""
        return self._pipeline is not None and self._done.is_set()

    def hangs(self, now: float) -> bool:
        """Tell whether the pipeline does nothing any more, and does not even say that no audio comes.

        Args:
            now: Monotonic clock, seconds.
        """
        running = self._pipeline is not None and not self._done.is_set()
        return running and self._pipeline is not None and now - self._pipeline.turned_at > HANGS_AFTER_S

    def begin(self, pipeline: Pipeline, ended: Callable[[], None]) -> None:
        """Let the pipeline run, in a thread of its own; ``ended`` is called in the loop when it is done."""
        self._pipeline, self.failure = pipeline, None
        self._done = done = asyncio.Event()

        def note(outcome: asyncio.Future[None]) -> None:
            failure = outcome.exception()
            if self._done is done:  # else it had been left behind
                self.failure = failure
                done.set()
                ended()

        in_thread(pipeline.run, name=f"feel {self.name}").add_done_callback(note)

    async def end(self) -> None:
        """Stop the pipeline, if there is one, and wait for it, but not for ever."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await in_thread(pipeline.stop, name=f"stop {self.name}")
                await self._done.wait()
        except TimeoutError:
            log.error("%s: does not end within %g s; it is left behind", self.name, END_WITHIN_S)  # noqa: TRY400 - no fault of ours to trace
            self._done = asyncio.Event()
            self.attempt += 1

    def plan_retry(self) -> None:
        """After a failure: plan the next attempt."""
        self.retry_at = time.monotonic() + min(FIRST_RETRY_S * 2**self.failures, LONGEST_RETRY_S)
        self.failures += 1
        self._pipeline = None

    def new_epoch(self, epoch: int) -> None:
        """Go on under another claim."""
        self.epoch = epoch
        self._numbers.clear()

    def next_number(self, kind: str) -> int:
        """Return the number of the next event of a kind in this epoch."""
        number = self._numbers[kind]
        self._numbers[kind] += 1
        return number


Outgoing = Coalescer[tuple[Run, StreamEvent]]
"""What waits to be sent: each event with the run that it comes from."""


class ChannelSink:
    """Where the pipeline of one channel publishes: what leaves are events of the channel, on its clock and count.

    That a pipeline has ended is kept back: whether the channel has, the worker knows.

    Args:
        run: The channel at work.
        outgoing: Takes the events.
        continuation: Where the channel stood.
    """

    def __init__(self, run: Run, outgoing: Outgoing, continuation: Continuation) -> None:
        self._run = run
        self._attempt = run.attempt
        self._outgoing = outgoing
        self._continuation = continuation

    def publish(self, event: StreamEvent) -> None:
        """Implements ``ports.EventSink``."""
        if self._run.is_mute or self._attempt != self._run.attempt:
            return
        if isinstance(event, StreamStatus) and event.source == "ended":
            self._run.last_word = self._continuation.shift(event)
            return
        if isinstance(event, EmotionFrame):
            self._run.late, self._run.failures = event.dropped, 0
        self._outgoing.put(self._run.name, kind_of(event), (self._run, self._continuation.shift(event)))
