"""A worker: claims channels, computes them, publishes their events, and gives them back when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from stream_mer.cluster.bus import Bus, ConflictError, end_tasks
from stream_mer.cluster.channel_task import (
    HANGS_AFTER_S,
    ChannelSink,
    ChannelTask,
    OutgoingQueue,
    ResumedSource,
    ResumePoint,
    read_resume_point,
)
from stream_mer.cluster.failure_detector import FailureDetector
from stream_mer.cluster.records import (
    CLAIMS,
    WANTED_SUBJECTS,
    WORKERS,
    Channel,
    Claim,
    ClaimState,
    Worker,
    check_name,
    encode,
    event_subject,
    kind_of,
    seal,
    split_subject,
)
from stream_mer.cluster.state import ClusterState, channels_to_claim, channels_to_release
from stream_mer.config import WindowSettings
from stream_mer.errors import ClusterError, SettingError, SourceError, StreamMerError
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource, EventSink
from stream_mer.server.outbox import Dispatcher
from stream_mer.types import StreamEvent, StreamStatus
from stream_mer.utils.log_limit import LimitedLog
from stream_mer.utils.sanitise import redact
from stream_mer.utils.threads import in_thread
from stream_mer.version import __version__

log = logging.getLogger(__name__)

RENEW_RETRY_S = 0.1
RENEWALS = 5
"""Renewals within the time to live."""


class LeaseKeeper:
    """Keeps a row in the bucket of the workers while ``run`` runs.

    A *session* is one unbroken lease. When it was not renewed in time, NATS removes its row, and others may claim our
    channels: then a new session begins, in which every channel must be claimed again.

    NATS counts the time to live from the arrival of a renewal, the keeper from before it was sent. So the keeper gives
    up first, whatever the clocks show; they must only run at the same rate.

    Args:
        bus: The connection.
        describe: Returns the row.
        on_session: Called when a session begins.
        is_working: Returns whether this worker makes progress. While it does not, the lease is not renewed, so that
            others take over.
        clock: Seconds, monotonic.

    Attributes:
        session: Key of the row; empty before the first.
        generation: Of the connection over which it was renewed last.
        offset_s: Server time minus monotonic clock, seconds; never too large.
    """

    def __init__(
        self,
        bus: Bus,
        describe: Callable[[], Worker],
        on_session: Callable[[], None],
        *,
        is_working: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._describe = describe
        self._on_session = on_session
        self._is_working = is_working
        self._clock = clock
        self._revision: int | None = None
        self._valid_until = float("-inf")
        self._lost_at = clock()
        self._renewing = asyncio.Lock()
        self._left = False
        self.session = ""
        self.generation = 0
        self.offset_s = 0.0

    @property
    def is_held(self) -> bool:
        """Whether the lease cannot have expired for any other worker."""
        return self._clock() < self._valid_until

    @property
    def lost_for_s(self) -> float:
        """Time since the lease expired, seconds; 0 while it is held."""
        return 0.0 if self.is_held else self._clock() - self._lost_at

    async def run(self) -> None:
        """Create and renew the lease, forever."""
        while True:
            await self._bus.until_connected()
            if not self._is_working():
                if self.is_held:
                    log.error("this worker hangs: letting its lease expire, so that others take its channels")
                self._valid_until = float("-inf")
                await asyncio.sleep(self._bus.lease_s / RENEWALS)
                continue
            try:
                async with asyncio.timeout(self._bus.lease_s / 2):
                    await self.renew()
            except ConflictError:
                log.warning("the lease expired; beginning a new session")
                self._revision = None
                self._valid_until = float("-inf")
            except (ClusterError, TimeoutError) as exc:
                log.debug("the lease was not renewed: %s", exc)
                if not self.is_held:
                    self._bus.give_up("the lease could not be renewed")
                await asyncio.sleep(RENEW_RETRY_S)
            else:
                await self._bus.pause(self._bus.lease_s / RENEWALS)

    async def renew(self) -> None:
        """Create or renew the lease now, such as to publish a change of the row.

        Raises:
            ClusterError: NATS cannot be reached, or the lease expired.
        """
        async with self._renewing:
            if self._left:
                return
            sent_at, generation, row = self._clock(), self._bus.generation, encode(self._describe())
            if self._revision is not None:
                self._revision = await self._bus.replace(WORKERS, self.session, row, self._revision)
                self._extend(sent_at, generation)
                return
            session = secrets.token_hex(8)
            revision = await self._bus.create(WORKERS, session, row)
            self.offset_s = await self._bus.stored_at(WORKERS, revision) - self._clock()
            self.session, self._revision = session, revision
            self._extend(sent_at, generation)
            self._on_session()

    async def release(self) -> None:
        """Give the lease up for good.

        Raises:
            ClusterError: NATS cannot be reached; the lease will expire.
        """
        self._left = True
        self._valid_until = float("-inf")
        if self.session:
            await self._bus.remove(WORKERS, self.session)

    def _extend(self, sent_at: float, generation: int) -> None:
        self._valid_until = self._lost_at = sent_at + self._bus.lease_s
        self.generation = generation


log = logging.getLogger(__name__)

TICK_S = 0.25
PLAN_EVERY_S = 1.0
RELEASE_EVERY_S = 1.0
OVERDUE_S = 1.0
"""A channel that was not claimed for this long goes to any worker with room."""

GIVE_UP_AFTER_S = 30.0
"""A worker that is cut off for this long stops its pipelines: other workers have its channels by then."""

WANTED_S = 3.0
"""A node's request for an event kind is valid for this long."""

DRAIN_S = 5.0
OPEN_WITHIN_S = 15.0
"""Time limit for opening a source: a file on a server that is gone would block forever."""

STUCK_AFTER_S = 60.0
"""A worker that has not maintained any channel for this long hangs: it stops renewing its lease."""

POLL_S = 0.05
FLUSH_WITHIN_S = 0.5

PipelineBuilder: TypeAlias = Callable[[AudioSource, EventSink, Callable[[], bool]], Pipeline]
"""Builds a pipeline from its source, its sink, and a function that returns whether levels are wanted now."""

SourceOpener: TypeAlias = Callable[[Channel], AudioSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of a worker.

    Attributes:
        name: For people; as ``records.check_name`` allows.
        max_channels: Maximum number of channels, 1..10,000.
        window: Hop and context of the frames.
    """

    name: str = field(default_factory=lambda: f"{socket.gethostname().partition('.')[0]}-{os.getpid()}")
    max_channels: int = 100
    window: WindowSettings = field(default_factory=WindowSettings)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 1 <= self.max_channels <= 10_000:
            raise SettingError(f"the channels of a worker must be 1 to 10000, not {self.max_channels}")


class Publisher:
    """Publishes the events of all channels, each with the epoch of its claim, while ``run`` runs.

    Args:
        bus: The connection.
        may_publish: Returns whether our claims are valid. While they are not, events wait, and newer ones replace them.

    Attributes:
        outgoing: The queue that pipelines fill, from any thread.
    """

    def __init__(self, bus: Bus, may_publish: Callable[[], bool]) -> None:
        self._bus = bus
        self._may_publish = may_publish
        self._queued = asyncio.Event()
        dispatcher = Dispatcher(asyncio.get_running_loop())
        self.outgoing: OutgoingQueue = OutgoingQueue(wake=lambda: dispatcher.call_soon(self._queued.set))

    def put(self, task: ChannelTask, event: StreamEvent) -> None:
        """Queue an event of the worker itself."""
        self.outgoing.put(task.name, kind_of(event), (task, event))

    async def run(self) -> None:
        """Publish, forever."""
        while True:
            self._queued.clear()
            if not self._may_publish():
                await asyncio.sleep(POLL_S)
                continue
            queued = self.outgoing.get()
            if queued is None:
                await self._queued.wait()
                continue
            name, kind, (task, event) = queued
            data = seal(event, epoch=task.epoch, number=task.next_number(kind))
            await self._bus.publish(event_subject(name, kind), data)

    async def flush(self, task: ChannelTask) -> None:
        """Wait until the events of a channel are published, up to ``FLUSH_WITHIN_S``."""
        for _ in range(round(FLUSH_WITHIN_S / POLL_S)):
            if not self.outgoing.has(task.name):
                return
            await asyncio.sleep(POLL_S)


class ChannelWorker:
    """Computes channels of a cluster while ``run`` runs.

    Args:
        bus: The connection.
        settings: Name and limits.
        open_source: Opens the source of a channel.
        build: Builds the pipeline of a channel.
    """

    def __init__(self, bus: Bus, settings: WorkerSettings, open_source: SourceOpener, build: PipelineBuilder) -> None:
        self._bus = bus
        self._settings = settings
        self._open_source = open_source
        self._build = build
        self._state = ClusterState()
        self._tasks: dict[str, ChannelTask] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Future[None]] = set()  # threads of pipelines, also of abandoned ones
        self._wake = asyncio.Event()
        self._publisher = Publisher(bus, self._may_publish)
        self._opening = asyncio.Lock()  # one at a time: some libraries that are imported then are not thread-safe
        self._maintained_at = time.monotonic()
        self._lease = LeaseKeeper(bus, self._row, self._wake.set, is_working=self._is_working)
        self._failures = FailureDetector(bus, self._state, lambda: self._lease.session if self._lease.is_held else None)
        self._confirmed: dict[str, int] = {}  # revision of our last confirmed claim on each channel
        self._claimed_session = ""  # the session in which all our channels have been claimed
        self._free_since: dict[str, float] = {}
        self._state_changed = True
        self._planned_at = 0.0
        self._released_at = 0.0
        self._wanted_until: dict[tuple[str, str], float] = {}
        self._draining = False
        self._limited = LimitedLog(log)
        self._cpu_at = (time.monotonic(), time.process_time())
        self._cpu = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, then give all channels back.

        Raises:
            ClusterError: NATS refuses.
        """
        await self._bus.subscribe(f"{WANTED_SUBJECTS}.*.*", self._on_wanted)
        maintaining = asyncio.create_task(self._maintain_loop())
        tasks = [
            maintaining,
            asyncio.create_task(self._state.follow(self._bus, self._on_state_change)),
            asyncio.create_task(self._lease.run()),
            asyncio.create_task(self._publisher.run()),
            asyncio.create_task(self._failures.run()),
        ]
        stop_asked = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([stop_asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop_asked}:
                task.result()  # raises: none of them returns
            self._draining = True
            await end_tasks([maintaining])
            await self._drain()
        finally:
            await end_tasks([stop_asked, *tasks])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await asyncio.gather(*self._stopping, *(task.stop() for task in self._tasks.values()))
            if self._running:  # a thread that computes while the interpreter exits would abort the process
                await asyncio.wait(self._running, timeout=DRAIN_S)

    def _row(self) -> Worker:
        (then, used), now, total = self._cpu_at, time.monotonic(), time.process_time()
        if now - then >= 1.0:
            self._cpu, self._cpu_at = (total - used) / (now - then), (now, total)
        return Worker(
            name=self._settings.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            capacity=self._settings.max_channels,
            draining=self._draining,
            cpu=round(self._cpu, 2),
            late=sum(task.late for task in self._tasks.values()),
            hop_s=self._settings.window.hop_s,
            context_s=self._settings.window.context_s,
            version=__version__,
            presence=self._failures.presence,
        )

    def _is_working(self) -> bool:
        return self._draining or time.monotonic() - self._maintained_at < STUCK_AFTER_S

    def _may_publish(self) -> bool:
        # After a reconnection only once it was renewed: meanwhile another worker may have removed it.
        renewed = self._lease.is_held and self._lease.generation == self._bus.generation
        return self._bus.connected and renewed and self._claimed_session == self._lease.session

    def _on_state_change(self) -> None:
        self._state_changed = True
        self._wake.set()

    def _on_wanted(self, subject: str, data: bytes) -> None:
        del data
        wanted = split_subject(subject)
        if wanted is not None and any(task.name == wanted[0] for task in self._tasks.values()):
            self._wanted_until[wanted] = time.monotonic() + WANTED_S

    # All channels

    async def _maintain_loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            self._maintained_at = time.monotonic()
            try:
                await self._maintain()
            except ClusterError as exc:
                log.debug("cannot maintain the channels now: %s", exc)
            except Exception as error:  # must not end the worker
                self._limited.log(logging.ERROR, "all", f"maintaining the channels failed: {error}", error=error)

    async def _maintain(self) -> None:
        if self._lease.lost_for_s > GIVE_UP_AFTER_S and self._tasks:
            log.warning("cut off from NATS for %g s: stopping %d channels", GIVE_UP_AFTER_S, len(self._tasks))
            for task in list(self._tasks.values()):
                self._abandon(task)
        if not (self._bus.connected and self._lease.is_held and self._state.complete):
            return
        if self._claimed_session != self._lease.session:
            await self._reclaim()
        await self._for_each_task(self._follow_claim)
        await self._for_each_task(self._follow_pipeline)
        if not self._draining and self._plan_is_due():
            await self._claim_free_channels()
            await self._rebalance()

    def _plan_is_due(self) -> bool:
        """Return whether to look at all channels: after a change, while some are free, and once a second."""
        due = self._state_changed or bool(self._free_since) or time.monotonic() - self._planned_at >= PLAN_EVERY_S
        if due:
            self._state_changed, self._planned_at = False, time.monotonic()
        return due

    async def _reclaim(self) -> None:
        """In a new session: claim again what we have, unless another worker has claimed it."""
        session = self._lease.session

        async def claim(task: ChannelTask) -> None:
            try:
                await self._update_claim(task, "failed" if task.is_idle else "running")
            except ConflictError:
                log.warning("%s: another worker has it now", task.name)
                self._abandon(task)

        await asyncio.gather(*(claim(task) for task in list(self._tasks.values())))
        self._claimed_session = session

    async def _for_each_task(self, handle: Callable[[ChannelTask], Awaitable[None]]) -> None:
        """Handle every channel that we have; an unexpected error of one is logged and does not affect the others."""
        for task in list(self._tasks.values()):
            self._maintained_at = time.monotonic()
            try:
                await handle(task)
            except ClusterError:
                raise
            except Exception as error:
                message = f"{task.name}: maintaining it failed: {error}"
                self._limited.log(logging.ERROR, task.name, message, error=error)

    async def _claim_free_channels(self) -> None:
        now, state = time.monotonic(), self._state
        free = [token for token in state.names() if state.owner(token) is None and not state.has_ended(token)]
        self._free_since = {token: self._free_since.get(token, now) for token in free}
        overdue = {token for token, since in self._free_since.items() if now - since >= OVERDUE_S}
        # After its own reconnection, a worker does not know which workers are gone and which only reconnect later.
        takeover = now - self._bus.connected_at >= self._bus.lease_s
        tokens = channels_to_claim(state, self._lease.session, takeover=takeover, overdue=overdue)
        await asyncio.gather(*(self._claim(token) for token in tokens if token not in self._tasks))
        for token in state.names():  # claimed by us, but the answer was lost
            claim = state.claims.rows.get(token)
            if claim is None or token in self._tasks or claim.revision <= self._confirmed.get(token, 0):
                continue
            if claim.record.state == "running" and claim.record.session == self._lease.session:
                await self._adopt(token, claim.revision)

    async def _claim(self, token: str) -> None:
        before = self._state.claims.rows.get(token)
        record = encode(self._claim_record(self._state.channels.rows[token].revision, "running"))
        try:
            if before is None:
                epoch = await self._bus.create(CLAIMS, token, record)
            else:
                epoch = await self._bus.replace(CLAIMS, token, record, before.revision)
        except ConflictError:
            log.debug("%s: another worker was faster", token)
            return
        self._confirmed[token] = epoch
        await self._adopt(token, epoch)

    async def _adopt(self, token: str, epoch: int) -> None:
        name, channel = self._state.names().get(token), self._state.channels.rows.get(token)
        if name is None or channel is None or token in self._tasks:
            return
        task = self._tasks[token] = ChannelTask(token=token, name=name, epoch=epoch, channel=channel.revision)
        log.info("%s: claimed", name)
        await self._start(task)

    async def _rebalance(self) -> None:
        now = time.monotonic()
        if now - self._released_at < RELEASE_EVERY_S or self._free_since:
            return
        tokens = channels_to_release(self._state, self._lease.session)
        tasks = [self._tasks[token] for token in tokens if token in self._tasks]
        if tasks:
            self._released_at = now
            log.info("releasing %s for a worker with fewer channels", ", ".join(task.name for task in tasks))
            await asyncio.gather(*map(self._release, tasks))

    async def _drain(self) -> None:
        log.info("giving back %d channels", len(self._tasks))
        try:
            async with asyncio.timeout(DRAIN_S):
                if self._bus.connected and self._lease.is_held:
                    await self._lease.renew()
                    tasks = list(self._tasks.values())
                    await asyncio.gather(*map(self._release, tasks), return_exceptions=True)
                    await self._lease.release()
        except (ClusterError, TimeoutError) as exc:
            log.warning("could not give everything back (%s); others take over when the lease expires", exc)

    # One channel

    async def _follow_claim(self, task: ChannelTask) -> None:
        """Stop a channel that was removed or that another worker has; restart one whose source was changed."""
        channel = self._state.channels.rows.get(task.token)
        claim = self._state.claims.rows.get(task.token)
        if channel is None:
            log.info("%s: was removed", task.name)
            await task.stop()
            await self._publish_end(task)
            await self._bus.remove(CLAIMS, task.token)
            self._tasks.pop(task.token, None)
        elif claim is not None and claim.revision > task.epoch and claim.record.session == self._lease.session:
            task.begin_epoch(claim.revision)  # ours, but the answer was lost
        elif claim is not None and claim.revision > task.epoch:
            log.warning("%s: another worker has it now", task.name)
            self._abandon(task)
        elif channel.revision != task.channel:
            log.info("%s: has another source now", task.name)
            await task.stop()
            task.channel, task.failures = channel.revision, 0
            await self._update_claim(task, "running")
            await self._start(task)

    async def _follow_pipeline(self, task: ChannelTask) -> None:
        """Give up a channel whose source has ended; schedule and start retries of one that failed or hangs."""
        if task.has_ended and task.failure is None:
            log.info("%s: has ended", task.name)
            await self._update_claim(task, "ended")
            await self._publish_end(task)
            self._tasks.pop(task.token, None)
        elif task.has_ended:
            await self._report_failure(task, task.failure)
        elif task.hangs(time.monotonic()):
            await task.stop()
            await self._report_failure(task, SourceError(f"no progress for {HANGS_AFTER_S:g} s"))
        elif task.is_idle and time.monotonic() >= task.retry_at:
            await self._update_claim(task, "running")
            await self._start(task)

    async def _start(self, task: ChannelTask) -> None:
        channel = self._state.channels.rows[task.token].record
        try:
            resume_point = await read_resume_point(
                self._bus,
                task.name,
                now=time.monotonic() + self._lease.offset_s,
                hop_samples=self._settings.window.hop_samples,
            )
            async with self._opening:
                pipeline = await self._open(task, channel, resume_point)
        except ClusterError as error:
            log.debug("%s: cannot be started now: %s", task.name, error)
            task.schedule_retry()
        except Exception as error:  # must not affect the other channels
            await self._report_failure(task, error)
        else:
            running = task.start(pipeline, self._wake.set)
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _open(self, task: ChannelTask, channel: Channel, resume_point: ResumePoint) -> Pipeline:
        """Open the source in a thread and build the pipeline; one that is ready too late is closed.

        Raises:
            SourceError: It took too long.
        """

        def build() -> Pipeline:
            source = ResumedSource(self._open_source(channel), resume_point.start_sample)
            sink = ChannelSink(task, self._publisher.outgoing, resume_point)
            wanted_until, levels = self._wanted_until, (task.name, "levels")
            return self._build(source, sink, lambda: wanted_until.get(levels, 0.0) > time.monotonic())

        self._maintained_at = time.monotonic()
        opening = in_thread(build, name=f"open {task.name}")
        await asyncio.wait([opening], timeout=OPEN_WITHIN_S)
        if opening.done():
            return opening.result()
        task.attempt += 1
        opening.add_done_callback(_close_late)
        raise SourceError(
            f"{channel.source} cannot be opened within {OPEN_WITHIN_S:g} s; is it on a server that is gone?"
        )

    def _claim_record(self, channel: int, state: ClaimState, reason: str = "") -> Claim:
        return Claim(
            session=self._lease.session, worker=self._settings.name, state=state, channel=channel, reason=reason
        )

    async def _update_claim(self, task: ChannelTask, state: ClaimState, reason: str = "") -> None:
        """Change our claim, which begins a new epoch."""
        record = encode(self._claim_record(task.channel, state, reason))
        task.begin_epoch(await self._bus.replace(CLAIMS, task.token, record, task.epoch))
        self._confirmed[task.token] = task.epoch

    async def _report_failure(self, task: ChannelTask, error: BaseException | None) -> None:
        expected = isinstance(error, StreamMerError)
        log.error("%s: failed, retrying later: %s", task.name, error, exc_info=None if expected else error)
        task.schedule_retry()
        await self._update_claim(task, "failed", redact(str(error)) or type(error).__name__)
        # Only now: nodes that know of the new epoch drop events of the one before.
        self._publisher.put(task, StreamStatus(source="reconnecting", device=task.name, lyrics="off"))

    async def _publish_end(self, task: ChannelTask) -> None:
        self._publisher.put(task, task.last_status or StreamStatus(source="ended", device=task.name, lyrics="off"))
        await self._publisher.flush(task)

    def _abandon(self, task: ChannelTask) -> None:
        """Drop a channel that another worker has, without waiting for its pipeline to stop."""
        self._tasks.pop(task.token, None)
        task.is_muted = True
        self._publisher.outgoing.discard(task.name)
        stopping = asyncio.create_task(task.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def _release(self, task: ChannelTask) -> None:
        await task.stop()
        await self._publisher.flush(task)
        await self._update_claim(task, "free")  # if this fails it stays ours, and is maintained as before
        self._tasks.pop(task.token, None)


def _close_late(opening: asyncio.Future[Pipeline]) -> None:
    if opening.exception() is None:
        in_thread(opening.result().close, name="close")
