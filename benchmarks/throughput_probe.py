"""Runs in a fresh process for the benchmark ``throughput``: many channels at once, then how they fared, as JSON.

Arguments: one JSON object, the fields of ``Job``. Every channel is a whole pipeline of its own, as ``stream-mer serve``
builds it, over audio that comes as real time would bring it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np

from benchmarks.machine import memory_mib
from benchmarks.peers_timing import noisy_chord
from stream_mer.config import EngineSettings, LyricsSettings, WindowSettings
from stream_mer.engine import Engine
from stream_mer.ports import AudioSource
from stream_mer.sources.file import FileSource
from stream_mer.sources.pacing import Pacer
from stream_mer.types import AudioChunk, EmotionFrame, LyricLine, Samples, StreamEvent

CHUNK_SAMPLES = 1_600  # 0.1 s at a time
_STARTED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run.

    Attributes:
        channels: Streams at once.
        seconds: How long is counted, after ``warm_s``.
        hop_s: Between two frames of a channel.
        model: The checkpoint's folder.
        device: Where the model runs.
        lyrics: Whether words are recognised.
        decoded: Whether every channel decodes the song itself, as one that plays a file does; then all begin at its
            beginning.
        song: What every channel hears, from another moment each; a chord in noise if it is empty.
        warm_s: What comes first and does not count: the recogniser loads.
    """

    channels: int
    seconds: float
    hop_s: float
    model: str
    device: str = "cpu"
    lyrics: bool = False
    decoded: bool = False
    song: str = ""
    warm_s: float = 3.0


class Player:
    """An ``AudioSource`` that plays some audio for ever, as a sound card would."""

    live = True

    def __init__(self, name: str, audio: Samples, *, starts_at: int, delay_s: float) -> None:
        self.name = name
        self._audio, self._starts_at, self._delay_s = audio, starts_at, delay_s  # shared: no channel's own memory
        self._closed = threading.Event()

    def chunks(self) -> Iterator[AudioChunk]:
        self._closed.wait(self._delay_s)
        pacer, position = Pacer(self._closed), 0
        while not self._closed.is_set() and pacer.hold(position + CHUNK_SAMPLES):
            at = (self._starts_at + position) % len(self._audio)
            samples = self._audio.take(np.arange(at, at + CHUNK_SAMPLES), mode="wrap")
            yield AudioChunk(start_sample=position, samples=samples, captured_at=time.monotonic())
            position += CHUNK_SAMPLES

    def close(self) -> None:
        self._closed.set()


class Decoder(FileSource):
    """A file over and over, as real time would bring it, that begins a moment later."""

    def __init__(self, name: str, path: str, *, delay_s: float) -> None:
        super().__init__(path, paced=True, loop=True)
        self.name, self._delay_s = name, delay_s

    def chunks(self) -> Iterator[AudioChunk]:
        self._closed.wait(self._delay_s)
        yield from super().chunks()


@dataclass(slots=True)
class Counter:
    """An ``EventSink`` that counts while it is told to."""

    counting: bool = False
    ages_ms: list[float] = field(default_factory=list)
    lines: int = 0
    lagging: int = 0

    def publish(self, event: StreamEvent) -> None:
        if not self.counting:
            return
        if isinstance(event, EmotionFrame):
            self.ages_ms.append(event.latency.total)
            self.lagging += "lyrics_lagging" in event.raw.degraded
        elif isinstance(event, LyricLine) and event.committed:
            self.lines += 1


def run(job: Job) -> dict[str, float]:
    """Run the channels and say how they fared."""
    lyrics = LyricsSettings(mode="recognise" if job.lyrics else "off", allow_download=False)
    window = WindowSettings(hop_s=job.hop_s, context_s=10.0)
    engine = Engine(EngineSettings(model=job.model, device=job.device, window=window, lyrics=lyrics))
    audio = _song(job.song) if job.song else noisy_chord(60.0)
    at_rest_mib = memory_mib("VmRSS")
    counters = [Counter() for _ in range(job.channels)]
    sources = [_source(job, i, audio) for i in range(job.channels)]
    pipelines = [
        engine.pipeline(source, counter, in_real_time=True) for source, counter in zip(sources, counters, strict=True)
    ]
    threads = [threading.Thread(target=pipeline.run) for pipeline in pipelines]
    for thread in threads:
        thread.start()
    time.sleep(job.warm_s + 10.0 * job.lyrics)
    started, cpu_started = time.monotonic(), time.process_time()
    for counter in counters:
        counter.counting = True
    time.sleep(job.seconds)
    for counter in counters:
        counter.counting = False
    took_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
    n_threads, full_mib = threading.active_count(), memory_mib("VmRSS")
    for pipeline in pipelines:
        pipeline.stop()
    for thread in threads:
        thread.join(_STARTED_WITHIN_S)
    ages_ms = np.array([age for counter in counters for age in counter.ages_ms] or [np.nan])
    frames = sum(len(counter.ages_ms) for counter in counters)
    return {
        "frames_of_due": frames / (job.channels * took_s / job.hop_s),
        "age_p50_ms": float(np.percentile(ages_ms, 50)),
        "age_p99_ms": float(np.percentile(ages_ms, 99)),
        "cores": cpu_s / took_s,
        "cpu_ms_a_frame": 1e3 * cpu_s / max(frames, 1),
        "threads": n_threads,
        "mib_a_channel": (full_mib - at_rest_mib) / job.channels,
        "lines_a_minute": 60 * sum(counter.lines for counter in counters) / took_s / job.channels,
        "lagging": sum(counter.lagging for counter in counters) / max(frames, 1),
    }


def _source(job: Job, i: int, audio: Samples) -> AudioSource:
    """What a channel hears, from another moment of the hop each; from memory, from another moment of the song too."""
    name, delay_s = f"channel {i}", job.hop_s * i / job.channels
    if job.decoded:
        return Decoder(name, job.song, delay_s=delay_s)
    return Player(name, audio, starts_at=i * len(audio) // job.channels, delay_s=delay_s)


def _song(path: str) -> Samples:
    return np.concatenate([chunk.samples for chunk in FileSource(path).chunks()])


def encode(job: Job) -> str:
    return json.dumps(asdict(job))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(Job(**json.loads(sys.argv[1])))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a decode that is still under way cannot be interrupted, and would abort an orderly end
