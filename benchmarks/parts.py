"""Processor time of the live path by part: a timer around each function with which a part begins.

Each function's time is that of its thread, without the functions timed within it, so that parts add up. ``SEAMS`` is
the only list of names; one that is gone is an error, so that no part silently reads 0.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stream_mer.errors import StreamMerError


class Seam(NamedTuple):
    """A function, ``module:name`` as it is looked up when called, and the part that begins with it."""

    function: str
    part: str


MODEL_SEAMS = (
    Seam("stream_mer.emotion.audio_branch:AudioBranch.feed", "features"),
    Seam("stream_mer.emotion.musicnn:StreamingBackbone.feed", "musicnn"),
    Seam("stream_mer.emotion.musicnn:StreamingBackbone.tokens", "musicnn"),
    Seam("stream_mer.audio.yamnet:Yamnet.run", "yamnet"),
    Seam("stream_mer.emotion.predictor:EmotionPredictor.predict", "fusion"),
)
"""Of the emotion model; *fusion* is all of the joint model."""

SEAMS = (
    Seam("stream_mer.sources.file:decode_file", "decode"),
    Seam("stream_mer.sources.resampling:MonoResampler.feed", "resample"),
    Seam("stream_mer.sources.file:FileSource.chunks", "chunking"),
    Seam("stream_mer.pipeline:ChunkProcessor.process", "chunking"),
    Seam("stream_mer.audio.level_meter:LevelMeter.feed", "levels"),
    Seam("stream_mer.pipeline:StatusReporter.measure", "status"),
    Seam("stream_mer.pipeline:StatusReporter.report", "status"),
    *MODEL_SEAMS,
    Seam("stream_mer.pipeline:FrameBuilder.build", "smoothing"),
    Seam("stream_mer.event_json:MessageEncoder.message", "encode"),
    Seam("stream_mer.server.hub:encode", "encode"),
    Seam("stream_mer.server.hub:Hub.publish", "deliver"),
    Seam("stream_mer.server.outbox:Dispatcher._run", "deliver"),
    Seam("stream_mer.utils.scheduler:TickScheduler._run", "deliver"),
    Seam("stream_mer.sources.file:Pacer.hold", "waiting"),
    Seam("stream_mer.utils.mailbox:Mailbox.put", "waiting"),
    Seam("stream_mer.utils.mailbox:Mailbox.get", "waiting"),
    Seam("stream_mer.emotion.predictor:Batcher.submit", "waiting"),
)
"""Of a pipeline, from its file to the sockets of its clients; *waiting* is what waits between threads cost."""


@contextlib.contextmanager
def time_parts(seams: Sequence[Seam]) -> Iterator[PartTimers]:
    """Time functions within the block, in all threads. Streams must be opened within it, too.

    Raises:
        StreamMerError: A function is gone.
    """
    timers = PartTimers(seams)
    with contextlib.ExitStack() as stack:
        for seam in seams:
            owner, name, function = _look_up(seam.function)
            setattr(owner, name, timers.wrap(function, seam))
            stack.callback(setattr, owner, name, function)
        yield timers


_ENDED = object()


class PartTimers:
    """The timers of ``time_parts``.

    Args:
        seams: What will be timed.

    Attributes:
        parts: Names of the parts, in the order of ``seams``.
    """

    def __init__(self, seams: Sequence[Seam]) -> None:
        self.parts = tuple(dict.fromkeys(seam.part for seam in seams))
        self._local = threading.local()
        self._threads: list[_ThreadTimes] = []
        self._uncalled = {seam.function for seam in seams}

    @property
    def uncalled(self) -> list[str]:
        """Functions that have not been called so far."""
        return sorted(self._uncalled)

    def read_ms(self) -> Mapping[str, float]:
        """Return the processor time that all threads have spent in each part so far, ms."""
        sums = (sum(times.ns[i] for times in self._threads) for i in range(len(self.parts)))
        return {part: ns / 1e6 for part, ns in zip(self.parts, sums, strict=True)}

    def _times(self) -> _ThreadTimes:
        """Return the times of this thread."""
        try:
            times: _ThreadTimes = self._local.times
        except AttributeError:
            times = self._local.times = _ThreadTimes(len(self.parts))
            self._threads.append(times)
        return times

    def wrap(self, function: Callable[..., Any], seam: Seam) -> Callable[..., Any]:
        """Return a function that does the same, timed; a generator is timed step by step."""
        part = self.parts.index(seam.part)

        def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            times = self._times()
            outer = times.switch(part)
            try:
                return function(*args, **kwargs)
            finally:
                times.switch(outer)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._uncalled.discard(seam.function)
            return run(function, *args, **kwargs)

        @functools.wraps(function)
        def timed_generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
            self._uncalled.discard(seam.function)
            with contextlib.closing(function(*args, **kwargs)) as items:
                while (item := run(next, items, _ENDED)) is not _ENDED:
                    yield item

        return timed_generator if inspect.isgeneratorfunction(function) else timed


class _ThreadTimes:
    """Times of one thread, ns: one for each part, and a last one for what is outside of all."""

    __slots__ = ("_part", "_since", "ns")

    def __init__(self, parts: int) -> None:
        self.ns = [0] * (parts + 1)
        self._part = parts
        self._since = time.thread_time_ns()

    def switch(self, part: int) -> int:
        """Book the time until now on the part that is running, and run another one; return the former."""
        now = time.thread_time_ns()
        outer = self._part
        self.ns[outer] += now - self._since
        self._part, self._since = part, now
        return outer


def _look_up(path: str) -> tuple[Any, str, Callable[..., Any]]:
    """Return what holds a function, its name there, and the function."""
    module, _, names = path.partition(":")
    *owners, name = names.split(".")
    try:
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        return owner, name, vars(owner)[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise StreamMerError(f"{path} is gone: change the list in benchmarks/parts.py") from error
