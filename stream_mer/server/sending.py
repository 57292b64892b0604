"""Sends the audio of a source to a stream of a server (``--source remote``), in real time, across reconnections.

A thread iterates the source, and an event loop sends what it gives. Between them stands one bounded queue, which drops
its oldest audio while there is no connection: what is late is of no use to a live stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_mer.audio.levels import dbfs
from stream_mer.errors import ServeError, SettingError, UnreachableError, did_you_mean
from stream_mer.ports import AudioSource
from stream_mer.server import messages as wire
from stream_mer.server.client import Client, connect
from stream_mer.sources.file import Pacer
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples, seconds
from stream_mer.utils.threads import in_thread

BLOCK_SAMPLES = SAMPLE_RATE_HZ // 10
"""Most audio in one message: 0.1 s."""

HELD_S = 2.0
"""Audio that may wait to be sent before the oldest is dropped."""

MAX_FILLED_S = 10.0
"""Of a longer gap in the source, only this much silence is sent; the server fills the rest itself."""

RETRY_S = 1.0
"""Time between two attempts to reach a server that is not there yet."""

ANSWERED_S = 1.0
"""A refusal comes this soon after the claim."""

CLAIM_AGAIN_S, MAX_CLAIMS = 1.5, 8
"""After a reconnection the server may take a moment to notice that the former connection is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is.

    Attributes:
        stream: The stream that gets the audio; empty before it is known.
        sending: Whether the server takes it now.
        sent_s: Audio sent, seconds.
        dropped_s: Audio dropped because there was no connection, seconds.
        peak_db: Largest sample of the newest audio, dBFS; None before any.
    """

    stream: str = ""
    sending: bool = False
    sent_s: float = 0.0
    dropped_s: float = 0.0
    peak_db: float | None = None


class _Blocks:
    """Blocks of audio on their way from the thread of the source to the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[Samples] = deque()
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self._held = 0
        self.dropped = 0
        self.peak = 0.0
        self.has_ended = False

    def put(self, samples: Samples) -> None:
        """Take the next audio, from the thread of the source."""
        with self._lock:
            self.peak = float(np.abs(samples).max(initial=0.0))
            for start in range(0, len(samples), BLOCK_SAMPLES):
                self._blocks.append(samples[start : start + BLOCK_SAMPLES])
            self._held += len(samples)
            while self._held > HELD_S * SAMPLE_RATE_HZ:
                oldest = len(self._blocks.popleft())
                self._held -= oldest
                self.dropped += oldest
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.has_ended = True
        self._wake()

    async def wait(self) -> None:
        """Wait until there is a block, or the end."""
        await self._arrived.wait()

    def take(self) -> Samples | None:
        """Return the oldest block; None if none waits."""
        with self._lock:
            if not self._blocks:
                if not self.has_ended:
                    self._arrived.clear()
                return None
            block = self._blocks.popleft()
            self._held -= len(block)
            return block

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)


def read_source(source: AudioSource, put: Callable[[Samples], None]) -> None:
    """Iterate a source to its end, in real time; gaps become silence.

    Raises:
        SourceError: It failed.
    """
    stop = threading.Event()
    pacer, end = Pacer(stop), None
    for chunk in source.chunks():
        gap = 0 if end is None else min(chunk.start_sample - end, round(MAX_FILLED_S * SAMPLE_RATE_HZ))
        if gap > 0:
            put(np.zeros(gap, np.float32))
        end = chunk.end_sample
        if not source.live:
            pacer.hold(end)
        _put(chunk, put)


def _put(chunk: AudioChunk, put: Callable[[Samples], None]) -> None:
    if len(chunk.samples):
        put(chunk.samples)


def pcm(samples: Samples) -> bytes:
    """Return samples as ``s16le``."""
    return bytes(np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes())


def choose_stream(hello: wire.Hello, wanted: str | None) -> str:
    """Return the name of the stream that is to get the audio.

    Raises:
        SettingError: The server has no such stream, or it has several and none is named.
    """
    takers = hello.remote_streams
    if wanted is not None:
        if wanted not in takers and (takers or wanted not in hello.streams):
            raise SettingError(f"no stream {wanted!r} takes audio{did_you_mean(wanted, takers)}")
        return wanted
    if not takers:
        raise SettingError("no stream of this server takes audio: start it with stream-mer serve --source remote")
    if len(takers) > 1:
        raise SettingError(f"several streams take audio: choose one with --stream: {', '.join(takers)}")
    return takers[0]


class AudioSender:
    """Sends one source to one stream.

    Args:
        source: Its audio; closed at the end.
        url: Address of the server.
        stream: Name of the stream; None for the only one that takes audio.
        token: The operator's token, if the server has one.
        tls: As of ``client.connect``.
        wait: If nothing answers at first, try again until something does.
        report: Called with the progress, in the event loop, twice a second and whenever the connection changes.
    """

    REPORT_EVERY_S = 0.5

    def __init__(
        self,
        source: AudioSource,
        url: str,
        *,
        stream: str | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        wait: bool = False,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._stream = stream
        self._wait = wait
        self._report = report
        self._client: Client = connect(url, token=token, subscribe=(), name="send", kind="source", tls=tls)
        self._chosen = ""
        self._accepted = asyncio.Event()
        self._claims = 0
        self._claimed_at = 0.0
        self._sent = 0

    async def run(self) -> Progress:
        """Send until the source ends.

        Returns:
            What was sent.

        Raises:
            SourceError: The source failed.
            UnreachableError: Nothing answers at first, without ``wait``.
            ServeError: The server refuses.
            SettingError: No stream, or none of this name, takes audio.
        """
        try:
            self._blocks = _Blocks()
            async with contextlib.AsyncExitStack() as stack:
                await self._enter(stack)
                return await self._run()
        finally:
            self._source.close()

    async def _enter(self, stack: contextlib.AsyncExitStack) -> None:
        while True:
            try:
                await stack.enter_async_context(self._client)
            except UnreachableError:
                if not self._wait:
                    raise
                self._report(self._progress())
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _run(self) -> Progress:
        tasks = [asyncio.create_task(work) for work in (self._listen(), self._send(), self._report_progress())]
        reading: asyncio.Future[None] | None = None
        try:
            await self._first_accepted(tasks)
            reading = in_thread(lambda: read_source(self._source, self._blocks.put), name="send")
            await asyncio.wait([reading, *tasks[:2]], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                self._blocks.end()
            await self._first_done(tasks[:2])
            return self._progress()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_accepted(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until the server takes audio: only then the source begins."""
        accepted = asyncio.create_task(self._wait_until_accepted())
        try:
            await self._first_done([accepted, *tasks[:2]])
        finally:
            accepted.cancel()

    async def _wait_until_accepted(self) -> None:
        await self._accepted.wait()

    async def _first_done(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for the first of several tasks to end; raises what it raised."""
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _listen(self) -> None:
        """Follow the connection: begin to send on each, and end if the server refuses."""
        async for message in self._client:
            match message:
                case wire.Hello():
                    self._claims = 0
                    self._set_accepted(on=False)
                    self._chosen = choose_stream(message, self._stream)
                case wire.Ready(role="operator"):
                    await self._claim()
                case wire.Ready():
                    raise ServeError("only operators may send audio: give the operator's token with --token")
                case wire.Error(fatal=False):
                    await self._on_refused(message)
        raise ServeError("the server ended the connection")

    async def _claim(self) -> None:
        start = wire.AudioStart(stream=self._chosen, format="s16le", rate_hz=SAMPLE_RATE_HZ)
        self._claimed_at = asyncio.get_running_loop().time()
        with contextlib.suppress(ServeError):  # the next ``ready`` tries again
            await self._client.send(start)
            self._set_accepted(on=True)

    async def _on_refused(self, error: wire.Error) -> None:
        # An answer to a claim comes soon; a sender that is replaced later does not fight for its place.
        answers_claim = asyncio.get_running_loop().time() - self._claimed_at < ANSWERED_S
        may_claim = error.code == wire.CloseCode.FORBIDDEN and answers_claim and self._sent > 0
        self._set_accepted(on=False)
        self._claims += 1
        if not may_claim or self._claims > MAX_CLAIMS:
            raise ServeError(error.message)
        await asyncio.sleep(CLAIM_AGAIN_S)
        await self._claim()

    async def _send(self) -> None:
        """Send what the source gives, until it has ended and all of it is sent."""
        while True:
            await self._blocks.wait()
            await self._accepted.wait()
            block = self._blocks.take()
            if block is not None:
                await self._send_block(block)
            elif self._blocks.has_ended:
                await self._client.send(wire.AudioEnd())
                return

    async def _send_block(self, block: Samples) -> None:
        try:
            await self._client.send_audio(pcm(block))
        except ServeError:  # the connection is lost; ``_listen`` begins again on the next one
            self._set_accepted(on=False)
            self._blocks.dropped += len(block)
        else:
            self._sent += len(block)

    def _set_accepted(self, *, on: bool) -> None:
        if on == self._accepted.is_set():
            return
        if on:
            self._accepted.set()
        else:
            self._accepted.clear()
        self._report(self._progress())

    async def _report_progress(self) -> None:
        while True:
            await asyncio.sleep(self.REPORT_EVERY_S)
            self._report(self._progress())

    def _progress(self) -> Progress:
        return Progress(
            stream=self._chosen,
            sending=self._accepted.is_set(),
            sent_s=seconds(self._sent),
            dropped_s=seconds(self._blocks.dropped),
            peak_db=dbfs(self._blocks.peak) if self._sent else None,
        )
