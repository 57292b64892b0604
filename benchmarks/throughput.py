"""How many channels one process keeps in time, and what each costs.

Each row is a fresh process with that many whole pipelines, each over audio of its own at the pace of real time, as
``stream-mer serve`` with as many sources: from memory, which shows what a channel costs without its source, or decoded
by each channel from a file. In time means: at most one frame in two hundred is missing, and 99 of 100 are out before
the next is due.

With lyrics, one recogniser serves all channels in turn. Where it cannot keep up, the lyrics lag, and the frames say so.
With a folder of songs (DIR/*/audio.opus, as for ``lyrics``) the channels with lyrics sing different songs, else the
same one from other positions.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import numpy as np

from benchmarks.harness import (
    Measurement,
    Row,
    Table,
    answer,
    find_checkpoint,
    hop_option,
    memory_mib,
    model_option,
    path_option,
    read_song,
    run_child,
    seconds_option,
    song_option,
)
from stream_mer.config import EngineSettings, LyricsSettings, WindowSettings
from stream_mer.engine import Engine
from stream_mer.pipeline import Pipeline
from stream_mer.ports import AudioSource, Chunker
from stream_mer.sources.file import FileSource, Pacer
from stream_mer.training.progress import track
from stream_mer.types import AudioChunk, EmotionFrame, LyricLine, Samples, StreamEvent
from stream_mer.utils.blas import use_one_thread

IN_TIME_SHARE = 0.995
CHUNK_SAMPLES = 1_600  # 0.1 s at a time
_TIMEOUT_S = 300.0
_JOIN_TIMEOUT_S = 60.0


def _counts(name: str, variable: str, default: tuple[int, ...], text: str) -> click.Option:
    count = click.IntRange(min=1)
    return click.Option([name, variable], type=count, multiple=True, default=default, show_default=True, help=text)


OPTIONS = (
    _counts("--channels", "counts", (1, 10, 50, 100, 200), "Without lyrics."),
    _counts("--channels-decoded", "decoded_counts", (10, 50, 100), "Without lyrics, each decoding a file of its own."),
    _counts("--channels-with-lyrics", "lyric_counts", (1, 2, 4, 8, 20), "With lyrics."),
    path_option("--songs", "Folder of songs for the channels with lyrics.", "STREAM_MER_SONGS"),
    click.Option(["--no-decoding"], is_flag=True, help="Leave the rows with decoding out."),
    click.Option(["--no-lyrics"], is_flag=True, help="Leave the rows with lyrics out."),
    seconds_option("--seconds", "duration_s", 20.0, "Counted in each row.", least=1),
    hop_option(),
    click.Option(["--device"], default="cpu", show_default=True, help="cpu, cuda or cuda:N, for the emotion model."),
    song_option(),
    model_option(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row.

    Attributes:
        channels: Streams at once.
        seconds: How long is counted, after ``warm_s``.
        hop_s: Seconds between two frames of a channel.
        model: Folder of the checkpoint.
        song: Audio of every channel, each from another position.
        songs: Audio of the channels in turn, in place of ``song``.
        device: Device of the model.
        lyrics: Whether lyrics are recognised.
        decoded: Whether every channel decodes the song itself, from its beginning.
        levels: Whether a client subscribes to the levels of all channels; for ``profile``.
        max_hz: How many messages of each channel and kind it wants a second; None for all. Likewise.
        warm_s: What comes first and does not count, while the recogniser loads.
    """

    channels: int
    seconds: float
    hop_s: float
    model: str
    song: str
    songs: tuple[str, ...] = ()
    device: str = "cpu"
    lyrics: bool = False
    decoded: bool = False
    levels: bool = False
    max_hz: float | None = None
    warm_s: float = 3.0


def measure(
    *,
    counts: tuple[int, ...],
    decoded_counts: tuple[int, ...],
    lyric_counts: tuple[int, ...],
    no_decoding: bool,
    no_lyrics: bool,
    duration_s: float,
    hop_s: float,
    device: str,
    song: Path,
    songs: Path | None = None,
    model: str | None = None,
) -> Measurement:
    """Run each number of channels in a process of its own."""
    rows: list[Row] = []
    found = find_checkpoint(model)
    sung = sorted(str(path.resolve()) for path in songs.glob("*/audio.opus")) if songs else []
    for title, series in (
        ("Channels", counts),
        ("Decoded", () if no_decoding else decoded_counts),
        ("With lyrics", () if no_lyrics else lyric_counts),
    ):
        for channels in track(sorted(series), title, total=len(series)):
            job = Job(
                channels=channels,
                seconds=duration_s,
                hop_s=hop_s,
                model=str(found.folder),
                device=device,
                lyrics=title == "With lyrics",
                decoded=title == "Decoded",
                song=str(song.resolve()),
                songs=tuple(sung) if title == "With lyrics" else (),
            )
            rows.append(measure_channels(job))
    return Measurement(
        tables=(Table(key="channels", title="Channels in one process", rows=rows),),
        notes=(
            found.note,
            f"Each row: {duration_s:g} s of {song.name} in every channel, one frame every {hop_s:g} s, on {device}.",
            *([f"With lyrics: {len(sung)} songs in turn, each channel from another position."] if sung else []),
            "Age: from the arrival of the last sample of a frame's hop until the frame is published.",
        ),
    )


def measure_channels(job: Job) -> Row:
    """Run one row in a process of its own."""
    arguments = ["-m", "benchmarks.throughput", json.dumps(asdict(job))]
    found: dict[str, float] = run_child(arguments, timeout_s=_TIMEOUT_S + job.seconds)
    in_time = found["frames_of_due"] >= IN_TIME_SHARE and found["age_p99_ms"] <= 1e3 * job.hop_s
    return {
        "channels": job.channels,
        "audio": "decoded" if job.decoded else "in memory",
        "lyrics": "on" if job.lyrics else "off",
        "in_time": int(in_time),
        **{name: None if math.isnan(value) else value for name, value in found.items()},
    }


# In the child process.


class Player:
    """A ``ChunkableSource`` that loops over samples in real time, as a file whose audio costs nothing."""

    live = True

    def __init__(self, name: str, audio: Samples, *, starts_at: int, delay_s: float) -> None:
        self.name = name
        self._audio, self._starts_at, self._delay_s = audio, starts_at, delay_s  # the samples are shared
        self._closed = threading.Event()
        self._chunker: Chunker = lambda start_sample: start_sample + CHUNK_SAMPLES

    def set_chunker(self, chunker: Chunker) -> None:
        self._chunker = chunker

    def chunks(self) -> Iterator[AudioChunk]:
        self._closed.wait(self._delay_s)
        pacer, position = Pacer(self._closed), 0
        while not self._closed.is_set() and pacer.hold(end := self._chunker(position)):
            at = (self._starts_at + position) % len(self._audio)
            samples = self._audio[at : at + end - position]
            if len(samples) < end - position:  # it begins again
                samples = np.concatenate([samples, self._audio[: end - position - len(samples)]])
            yield AudioChunk(start_sample=position, samples=samples, captured_at=time.monotonic())
            position = end

    def close(self) -> None:
        self._closed.set()


class Decoder(FileSource):
    """A looped file at the pace of real time, with a delayed start."""

    def __init__(self, name: str, path: str, *, delay_s: float) -> None:
        super().__init__(path, paced=True, loop=True)
        self.name, self._delay_s = name, delay_s

    def chunks(self) -> Iterator[AudioChunk]:
        self._closed.wait(self._delay_s)
        yield from super().chunks()


@dataclass(slots=True)
class Counter:
    """An ``EventSink`` that counts while ``counting``."""

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


def open_engine(job: Job) -> Engine:
    """Load the models of a row."""
    lyrics = LyricsSettings(mode="recognise" if job.lyrics else "off", allow_download=False)
    window = WindowSettings(hop_s=job.hop_s, context_s=10.0)
    use_one_thread()
    return Engine(EngineSettings(model=job.model, device=job.device, window=window, lyrics=lyrics))


@contextlib.contextmanager
def running(pipelines: Sequence[Pipeline], *, warm_s: float) -> Iterator[None]:
    """Run pipelines, each in its threads; enter after ``warm_s``, and stop them at the end."""
    threads = [threading.Thread(target=pipeline.run) for pipeline in pipelines]
    for thread in threads:
        thread.start()
    time.sleep(warm_s)
    try:
        yield
    finally:
        for pipeline in pipelines:
            pipeline.stop()
        for thread in threads:
            thread.join(_JOIN_TIMEOUT_S)


def run_channels(job: Job) -> dict[str, float]:
    """Run the channels of one row; return its figures."""
    engine = open_engine(job)
    songs = [read_song(song) for song in job.songs or [job.song]]
    at_rest_mib = memory_mib("VmRSS")
    counters = [Counter() for _ in range(job.channels)]
    pipelines = [
        engine.pipeline(open_source(job, i, songs[i % len(songs)]), counter, in_real_time=True)
        for i, counter in enumerate(counters)
    ]
    with running(pipelines, warm_s=job.warm_s + (10.0 + job.channels / 2) * job.lyrics):
        started, cpu_started = time.monotonic(), time.process_time()
        for counter in counters:
            counter.counting = True
        time.sleep(job.seconds)
        for counter in counters:
            counter.counting = False
        took_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_started
        n_threads, full_mib = threading.active_count(), memory_mib("VmRSS")
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


def open_source(job: Job, i: int, audio: Samples) -> AudioSource:
    """Source of one channel, at an own phase of the hop; from memory, at an own position in the song, too."""
    name, delay_s = f"channel {i}", job.hop_s * i / job.channels
    if job.decoded:
        return Decoder(name, job.song, delay_s=delay_s)
    return Player(name, audio, starts_at=i * len(audio) // job.channels, delay_s=delay_s)


if __name__ == "__main__":
    answer(run_channels(Job(**json.loads(sys.argv[1]))))
    os._exit(0)  # a running decode cannot be interrupted, and would abort an orderly exit
