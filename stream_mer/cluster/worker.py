"""A worker: takes channels, computes them, publishes what comes of it, and gives them back when it is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stream_mer import __version__
from stream_mer.cluster.bus import Bus
from stream_mer.cluster.continuation import Continuation, ContinuedSource
from stream_mer.cluster.holder import LeaseHolder
from stream_mer.cluster.names import WANTED, check_name, split_subject
from stream_mer.cluster.planning import to_claim, to_hand_over
from stream_mer.cluster.records import CLAIMS, Channel, Claim, ClaimState, Worker, encode
from stream_mer.cluster.roster import Roster
from stream_mer.cluster.run import HANGS_AFTER_S, ChannelSink, Run
from stream_mer.cluster.sender import Sender
from stream_mer.cluster.standing import where_it_stands
from stream_mer.cluster.store import ConflictError
from stream_mer.cluster.tables import follow_tables
from stream_mer.cluster.tasks import end
from stream_mer.config import WindowSettings
from stream_mer.errors import ClusterError, SettingError, SourceError, StreamMerError
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource, EventSink
from stream_mer.types import StreamStatus
from stream_mer.utils.log_limit import LimitedLog
from stream_mer.utils.redaction import redact
from stream_mer.utils.threads import in_thread

log = logging.getLogger(__name__)

TICK_S = 0.25
OVERDUE_S = 1.0
"""A channel that nobody took for so long goes to anybody with room."""

PLAN_EVERY_S = 1.0
HAND_OVER_EVERY_S = 1.0
GIVE_UP_AFTER_S = 30.0
"""A worker that is cut off for so long stops its pipelines: others have had its channels for long."""

WANTED_S = 3.0
"""What a serving node wants is made for so long, unless it says so again."""

DRAIN_S = 5.0
OPEN_WITHIN_S = 15.0
"""A source may take so long to open; a file on a server that is gone takes for ever."""

STUCK_AFTER_S = 60.0
"""A worker that has not looked after any channel for so long hangs: it gives its lease up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker is.

    Attributes:
        name: For people.
        max_channels: It takes no more, 1..10,000.
        window: How its audio is cut.
    """

    name: str = field(default_factory=lambda: f"{socket.gethostname().partition('.')[0]}-{os.getpid()}")
    max_channels: int = 100
    window: WindowSettings = field(default_factory=WindowSettings)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 1 <= self.max_channels <= 10_000:
            raise SettingError(f"the channels of a worker must be 1 to 10000, not {self.max_channels}")


PipelineBuilder = Callable[[AudioSource, EventSink, Callable[[], bool]], Pipeline]
"""Builds a stream from its source, its sink, and what tells whether levels are wanted now."""

SourceOpener = Callable[[Channel], AudioSource]


class ChannelWorker:
    """Works for a cluster for as long as ``run`` runs.

    Args:
        bus: The connection.
        settings: What it is.
        open_source: Opens what a channel listens to.
        build: Builds the pipeline of a channel.
    """

    def __init__(self, bus: Bus, settings: WorkerSettings, open_source: SourceOpener, build: PipelineBuilder) -> None:
        self._bus = bus
        self._settings = settings
        self._open_source = open_source
        self._build = build
        self._roster = Roster()
        self._runs: dict[str, Run] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._poke = asyncio.Event()
        self._sender = Sender(bus, self._may_send)
        self._opening = asyncio.Lock()  # one by one: the libraries that are imported then want no two threads
        self._looked_after_at = time.monotonic()
        self._lease = LeaseHolder(bus, self._row, self._poke.set, self._looks_after_channels)
        self._told: dict[str, int] = {}  # the last claim of ours on each channel that was confirmed
        self._claimed_for = ""  # the session under which all runs have been claimed
        self._connected_since = time.monotonic()
        self._free_since: dict[str, float] = {}
        self._news = True
        self._planned_at = 0.0
        self._handed_over_at = 0.0
        self._wanted: dict[tuple[str, str], float] = {}
        self._draining = False
        self._limited = LimitedLog(log)
        self._cpu_at = (time.monotonic(), time.process_time())
        self._cpu = 0.0
        bus.watch(self._note_connection)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping`` is set, then give everything back.

        Raises:
            ClusterError: NATS refuses from the start.
        """
        await self._bus.subscribe(f"{WANTED}.*.*", self._note_wanted)
        tasks = [
            asyncio.create_task(work)
            for work in (
                follow_tables(self._bus, self._roster, self._note_roster),
                self._lease.run(),
                self._tend_always(),
                self._sender.run(),
            )
        ]
        asked = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {asked}:
                task.result()  # none of them ends but by an error of ours
            await self._drain(tending=tasks[2])
        finally:
            await end([asked, *tasks])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await asyncio.gather(*self._ending, *(run.end() for run in self._runs.values()))

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
            late=sum(run.late for run in self._runs.values()),
            hop_s=self._settings.window.hop_s,
            context_s=self._settings.window.context_s,
            version=__version__,
        )

    def _looks_after_channels(self) -> bool:
        return self._draining or time.monotonic() - self._looked_after_at < STUCK_AFTER_S

    def _may_send(self) -> bool:
        return self._bus.connected and self._lease.holds and self._claimed_for == self._lease.session

    def _note_connection(self) -> None:
        self._connected_since = time.monotonic()
        self._poke.set()

    def _note_roster(self) -> None:
        self._news = True
        self._poke.set()

    def _note_wanted(self, subject: str, data: bytes) -> None:
        del data
        about = split_subject(subject)
        if about is not None and about[0] in {run.name for run in self._runs.values()}:
            self._wanted[about] = time.monotonic() + WANTED_S

    # What is ours

    async def _tend_always(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._poke.wait()
            except TimeoutError:
                pass
            self._poke.clear()
            self._looked_after_at = time.monotonic()
            try:
                await self._tend()
            except ClusterError as exc:
                log.debug("cannot look after the channels now: %s", exc)
            except Exception as error:  # what is wrong with one channel must not end the worker
                self._limited.log(logging.ERROR, "tend", f"looking after the channels failed: {error}", error=error)

    async def _tend(self) -> None:
        if self._lease.lost_for_s > GIVE_UP_AFTER_S and self._runs:
            log.warning("cut off from NATS for %g s: stopping %d channels", GIVE_UP_AFTER_S, len(self._runs))
            for run in list(self._runs.values()):
                self._let_go(run)
        if not (self._bus.connected and self._lease.holds and self._roster.complete):
            return
        if self._claimed_for != self._lease.session:
            await self._claim_again()
        await self._for_each_run(self._drop_unless_ours)
        await self._for_each_run(self._look_after_end)
        if not self._draining and self._plan_is_due():
            await self._claim_what_is_free()
            await self._even_out()

    def _plan_is_due(self) -> bool:
        """Tell whether to look at all channels: after a change, while some are free, and once a second."""
        due = self._news or bool(self._free_since) or time.monotonic() - self._planned_at >= PLAN_EVERY_S
        if due:
            self._news, self._planned_at = False, time.monotonic()
        return due

    async def _claim_again(self) -> None:
        """A new session has begun: claim what we have under it, if nobody else has in the meantime."""
        session = self._lease.session

        async def claim(run: Run) -> None:
            try:
                await self._tell_claim(run, "failed" if run.is_idle else "running")
            except ConflictError:
                log.warning("%s: another worker has it now", run.name)
                self._let_go(run)

        await asyncio.gather(*(claim(run) for run in list(self._runs.values())))
        self._claimed_for = session

    async def _for_each_run(self, handle: Callable[[Run], Awaitable[None]]) -> None:
        """Handle every channel that we have; what goes wrong with one is logged, and the others are handled."""
        for run in list(self._runs.values()):
            self._looked_after_at = time.monotonic()
            try:
                await handle(run)
            except ClusterError:
                raise
            except Exception as error:
                message = f"{run.name}: looking after it failed: {error}"
                self._limited.log(logging.ERROR, run.name, message, error=error)

    async def _drop_unless_ours(self, run: Run) -> None:
        channel = self._roster.channels.rows.get(run.token)
        claim = self._roster.claims.rows.get(run.token)
        if channel is None:
            log.info("%s: was removed", run.name)
            await run.end()
            await self._say_end(run)
            await self._bus.store.remove(CLAIMS, run.token)
            self._runs.pop(run.token, None)
        elif claim is not None and claim.revision > run.epoch and claim.record.session == self._lease.session:
            run.new_epoch(claim.revision)  # ours, but the answer was lost on its way
        elif claim is not None and claim.revision > run.epoch:
            log.warning("%s: another worker has it now", run.name)
            self._let_go(run)
        elif channel.revision != run.channel:
            log.info("%s: listens to something else now", run.name)
            await run.end()
            run.channel, run.failures = channel.revision, 0
            await self._tell_claim(run, "running")
            await self._start(run)

    async def _look_after_end(self, run: Run) -> None:
        if run.has_ended and run.failure is None:
            log.info("%s: has ended", run.name)
            await self._tell_claim(run, "ended")
            await self._say_end(run)
            self._runs.pop(run.token, None)
        elif run.has_ended:
            await self._note_failure(run, run.failure)
        elif run.hangs(time.monotonic()):
            await run.end()
            await self._note_failure(run, SourceError(f"it did nothing for {HANGS_AFTER_S:g} s"))
        elif run.is_idle and time.monotonic() >= run.retry_at:
            await self._tell_claim(run, "running")
            await self._start(run)

    async def _claim_what_is_free(self) -> None:
        now, roster = time.monotonic(), self._roster
        free = {token for token in roster.names() if roster.owner(token) is None and not roster.has_ended(token)}
        self._free_since = {token: self._free_since.get(token, now) for token in free}
        overdue = {token for token, since in self._free_since.items() if now - since >= OVERDUE_S}
        # Whoever was cut off itself cannot tell who is gone from who is only later to come back: it waits for them.
        takeover = now - self._connected_since >= self._bus.lease_s
        tokens = to_claim(roster, self._lease.session, takeover=takeover, overdue=overdue)
        await asyncio.gather(*(self._take(token) for token in tokens if token not in self._runs))
        for token in roster.names():  # claimed by us, but the answer was lost on its way
            claim = roster.claims.rows.get(token)
            ours = claim is not None and claim.record.state == "running" and claim.record.session == self._lease.session
            if claim is not None and ours and claim.revision > self._told.get(token, 0) and token not in self._runs:
                await self._adopt(token, claim.revision)

    async def _take(self, token: str) -> None:
        before = self._roster.claims.rows.get(token)
        record = self._claim(self._roster.channels.rows[token].revision, "running")
        try:
            if before is None:
                epoch = await self._bus.store.create(CLAIMS, token, encode(record))
            else:
                epoch = await self._bus.store.replace(CLAIMS, token, encode(record), before.revision)
        except ConflictError:
            log.debug("%s: another worker was faster", token)
            return
        self._told[token] = epoch
        await self._adopt(token, epoch)

    async def _adopt(self, token: str, epoch: int) -> None:
        name, channel = self._roster.names().get(token), self._roster.channels.rows.get(token)
        if name is None or channel is None or token in self._runs:
            return
        run = self._runs[token] = Run(token=token, name=name, epoch=epoch, channel=channel.revision)
        log.info("%s: taken", name)
        await self._start(run)

    async def _even_out(self) -> None:
        now = time.monotonic()
        if now - self._handed_over_at < HAND_OVER_EVERY_S or self._free_since:
            return
        runs = [self._runs[token] for token in to_hand_over(self._roster, self._lease.session) if token in self._runs]
        if runs:
            self._handed_over_at = now
            log.info("handing %s over to a worker with fewer", ", ".join(run.name for run in runs))
            await asyncio.gather(*map(self._give_back, runs))

    # One channel

    async def _start(self, run: Run) -> None:
        channel = self._roster.channels.rows[run.token].record
        try:
            stands = await where_it_stands(
                self._bus.store,
                run.name,
                now=time.monotonic() + self._lease.offset_s,
                hop_samples=self._settings.window.hop_samples,
            )
            async with self._opening:
                pipeline = await self._opened(run, channel, stands)
        except ClusterError as error:
            log.debug("%s: cannot be started now: %s", run.name, error)
            run.plan_retry()
        except Exception as error:  # what is wrong with one channel must not harm the others
            await self._note_failure(run, error)
        else:
            run.begin(pipeline, self._poke.set)

    async def _opened(self, run: Run, channel: Channel, stands: Continuation) -> Pipeline:
        """Open a channel in a thread; what comes of it too late is closed.

        Raises:
            SourceError: It takes too long.
        """
        self._looked_after_at = time.monotonic()
        opening = in_thread(lambda: self._open(run, channel, stands), name=f"open {run.name}")
        await asyncio.wait([opening], timeout=OPEN_WITHIN_S)
        if opening.done():
            return opening.result()
        run.attempt += 1
        opening.add_done_callback(_close_late)
        raise SourceError(
            f"{channel.source} cannot be opened within {OPEN_WITHIN_S:g} s; is it on a server that is gone?"
        )

    def _open(self, run: Run, channel: Channel, stands: Continuation) -> Pipeline:
        source = ContinuedSource(self._open_source(channel), stands.start_sample)
        levels = (run.name, "levels")
        return self._build(
            source,
            ChannelSink(run, self._sender.outgoing, stands),
            lambda: self._wanted.get(levels, 0.0) > time.monotonic(),
        )

    def _claim(self, channel: int, state: ClaimState, reason: str = "") -> Claim:
        return Claim(
            session=self._lease.session,
            worker=self._settings.name,
            state=state,
            channel=channel,
            reason=reason,
        )

    async def _tell_claim(self, run: Run, state: ClaimState, reason: str = "") -> None:
        """Change our claim; what it was about goes on in a new epoch."""
        record = self._claim(run.channel, state, reason)
        run.new_epoch(await self._bus.store.replace(CLAIMS, run.token, encode(record), run.epoch))
        self._told[run.token] = run.epoch

    async def _note_failure(self, run: Run, error: BaseException | None) -> None:
        expected = isinstance(error, StreamMerError)
        log.error("%s: failed, and is tried again: %s", run.name, error, exc_info=None if expected else error)
        run.plan_retry()
        await self._tell_claim(run, "failed", redact(str(error)) or type(error).__name__)
        # Only now: whoever has heard of the new epoch believes nothing of the one before.
        self._sender.put(run, StreamStatus(source="reconnecting", device=run.name, lyrics="off"))

    async def _say_end(self, run: Run) -> None:
        self._sender.put(run, run.last_word or StreamStatus(source="ended", device=run.name, lyrics="off"))
        await self._sender.until_sent(run)

    def _let_go(self, run: Run) -> None:
        """Stop what is another's now; nobody waits for how long that takes."""
        self._runs.pop(run.token, None)
        run.is_mute = True
        self._sender.outgoing.forget(run.name)
        ending = asyncio.create_task(run.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _give_back(self, run: Run) -> None:
        await run.end()
        await self._sender.until_sent(run)
        await self._tell_claim(run, "free")  # while that fails it is ours, and goes on with the next look
        self._runs.pop(run.token, None)

    async def _drain(self, tending: asyncio.Task[None]) -> None:
        self._draining = True
        log.info("giving back %d channels", len(self._runs))
        await end([tending])
        try:
            async with asyncio.timeout(DRAIN_S):
                if self._bus.connected and self._lease.holds:
                    await self._lease.renew_now()
                    runs = list(self._runs.values())
                    await asyncio.gather(*map(self._give_back, runs), return_exceptions=True)
                    await self._lease.leave()
        except (ClusterError, TimeoutError) as exc:
            log.warning("could not give everything back (%s); others take it when the lease has run out", exc)


def _close_late(opening: asyncio.Future[Pipeline]) -> None:
    if opening.exception() is None:
        in_thread(opening.result().close, name="close")
