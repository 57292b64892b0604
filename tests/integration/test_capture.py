"""Live input on a real sound server that is killed, stalled and robbed of its device: it goes on, and time stays true.

Each test prints how long the recovery took (``pytest -rP``).
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE_S

from stream_mer.audio.windowing import GapFiller, Windower
from stream_mer.config import WindowSettings
from stream_mer.sources.microphone import MicrophoneSource
from stream_mer.sources.timeline import Timeline
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, SourceState

pytestmark = pytest.mark.pulse


CLICK_TOLERANCE_S = 0.15
"""A player has a delay of its own, of some hundredths of a second."""

LAG_TOLERANCE_S = Timeline.TOLERANCE_S


@dataclass(kw_only=True)
class Heard:
    """Chunks, each with the time it was given at."""

    chunks: list[tuple[float, AudioChunk]]
    audio: np.ndarray

    def states(self) -> list[SourceState]:
        return changes(chunk.source for _, chunk in self.chunks)

    def losses(self) -> list[SourceState]:
        """The same without stalls: on a busy machine there may be one at any time, and it ends by itself."""
        return changes(state for state in self.states() if state != "stalled")

    def windows(self) -> list[int]:
        gap_filler, windower = GapFiller(WindowSettings()), Windower(WindowSettings())
        runs = (run for _, chunk in self.chunks for run in gap_filler.fill(chunk))
        return [window.index for run in runs for window in windower.feed(run)]

    def lost_s(self) -> float:
        lost, end = 0, self.chunks[0][1].start_sample
        for _, chunk in self.chunks:
            lost += chunk.start_sample - end + (len(chunk.samples) if chunk.lost else 0)
            end = chunk.end_sample
        return lost / SAMPLE_RATE_HZ

    def epoch(self, *, before: float = float("inf"), after: float = 0.0) -> float:
        """When sample 0 was, by the chunks that were captured in between, monotonic clock, seconds."""
        return min(
            chunk.captured_at - chunk.end_sample / SAMPLE_RATE_HZ
            for _, chunk in self.chunks
            if not chunk.lost and len(chunk.samples) and after < chunk.captured_at < before
        )

    def phases(self, epoch_s: float) -> list[tuple[float, float]]:
        """(When, monotonic clock, and how far from a whole second, both in seconds) of each click."""
        times = [t + epoch_s for t, _ in self.clicks()]
        return [(t, (t + 0.5) % 1.0 - 0.5) for t in times]

    def clicks(self) -> list[tuple[float, float]]:
        """(Seconds on the sample clock, peak) of each click."""
        found, position = [], 0
        loud = np.abs(self.audio)
        while (rest := np.flatnonzero(loud[position:] > 0.1)).size:
            start = position + int(rest[0])
            peak = start + int(np.argmax(loud[start : start + 800]))
            found.append((peak / SAMPLE_RATE_HZ, float(loud[peak])))
            position = start + 800
        return found


def changes(states: Iterable[SourceState]) -> list[SourceState]:
    return [state for state, _ in itertools.groupby(states)]


class Listening:
    """A microphone iterated by a thread of its own."""

    def __init__(self, microphone: MicrophoneSource) -> None:
        self.microphone = microphone
        self._chunks: list[tuple[float, AudioChunk]] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._iterate, daemon=True)
        self._thread.start()

    def _iterate(self) -> None:
        for chunk in self.microphone.chunks():
            with self._changed:
                self._chunks.append((time.monotonic(), chunk))
                self._changed.notify_all()

    def wait_for(self, what: Callable[[AudioChunk], bool]) -> AudioChunk:
        """The first chunk from now on that is so."""
        with self._changed:
            seen = len(self._chunks)

            def found() -> bool:
                return any(what(chunk) for _, chunk in self._chunks[seen:])

            assert self._changed.wait_for(found, PATIENCE_S), self._chunks[-1:]
            return next(chunk for _, chunk in self._chunks[seen:] if what(chunk))

    def wait(self, duration_s: float) -> None:
        """Until so much more time has passed on the sample clock."""
        with self._changed:
            target = duration_s * SAMPLE_RATE_HZ + (self._chunks[-1][1].end_sample if self._chunks else 0)
        self.wait_for(lambda chunk: chunk.end_sample >= target)

    def wait_for_clicks(self, count: int) -> None:
        """Until so many more clicks were heard: a new player on a busy machine takes its time to start."""
        with self._changed:
            seen = len(self._chunks)
        give_up = time.monotonic() + PATIENCE_S
        while len((heard := self.heard(since=seen)).clicks()) < count:
            assert time.monotonic() < give_up, heard.clicks()
            self.wait(0.5)
        self.wait(0.1)  # a click that has only just begun has its peak in what comes next

    def play_on_time(self, stage, count: int) -> None:
        """Until so many clicks in a row were heard on time.

        A player that a busy machine held up for a moment stays late with all that it plays: then another one.
        """
        give_up, late = time.monotonic() + 2 * PATIENCE_S, [1.0]
        while max(map(abs, late)) > CLICK_TOLERANCE_S:
            assert time.monotonic() < give_up, late
            stage.play()
            with self._changed:
                seen = len(self._chunks)
            self.wait_for_clicks(count)
            heard = self.heard(since=seen)
            late = [phase for _, phase in heard.phases(heard.epoch())[-count:]]

    def heard(self, *, since: int = 0) -> Heard:
        """What came so far, from this chunk on."""
        with self._changed:
            chunks = self._chunks[since:]
        audio = np.zeros(max((chunk.end_sample for _, chunk in chunks), default=0), np.float32)
        for _, chunk in chunks:
            audio[chunk.start_sample : chunk.end_sample] = chunk.samples
        return Heard(chunks=chunks, audio=audio)

    def stop(self) -> Heard:
        self.microphone.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.heard()


@pytest.fixture
def listening(stage) -> Iterator[Listening]:
    listener = Listening(MicrophoneSource("mer"))
    listener.wait_for(is_audio)
    listener.play_on_time(stage, 1)
    yield listener
    listener.microphone.close()


def capture_processes() -> list[int]:
    """Processes that this one started and that run the capture."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"capture_child" in (words := path.read_bytes())
        and words
        and int((path.parent / "stat").read_text().rsplit(")", 1)[1].split()[1]) == os.getpid()
    ]


def is_audio(chunk: AudioChunk) -> bool:
    return not chunk.lost and len(chunk.samples) > 0


def recover(listening: Listening, stage, mended_at: float, what: str) -> float:
    """Wait for audio again, tell how long that took, and listen to a few more clicks."""
    first = listening.wait_for(is_audio)
    print(f"{what}: audio again {first.captured_at - mended_at:.2f} s later")
    listening.play_on_time(stage, 2)
    return first.captured_at


def hold(heard: Heard, *, before: float, after: float) -> None:
    """What must be so whatever happened between the two times."""
    for (_, one), (_, other) in zip(heard.chunks, heard.chunks[1:], strict=False):
        assert other.start_sample >= one.end_sample
    windows = heard.windows()
    assert windows == list(range(len(windows))), "a window is missing"
    drift_s = heard.epoch(after=after) - heard.epoch(before=before)
    assert abs(drift_s) < LAG_TOLERANCE_S
    epoch_s = heard.epoch(before=before)
    early = [phase for t, phase in heard.phases(epoch_s) if t < before]
    late = [phase for t, phase in heard.phases(epoch_s) if t > after]
    print(
        f"clicks before {np.round(early, 3)}, after {np.round(late, 3)}; clock moved {1e3 * drift_s:.1f} ms;",
        f"lost {heard.lost_s():.2f} s; told {heard.states()}",
    )
    assert len(early) >= 1
    assert len(late) >= 2
    np.testing.assert_allclose(late[-2:], 0.0, atol=CLICK_TOLERANCE_S + LAG_TOLERANCE_S)


def test_a_sound_server_that_is_killed_and_started_again(listening, sound_server, stage) -> None:
    blow = time.monotonic()
    sound_server.die()
    lost = listening.wait_for(lambda chunk: chunk.source == "reconnecting")
    listening.wait(1.0)  # silence goes on at the rate of time
    sound_server.start()
    mended = time.monotonic()
    after = recover(listening, stage, mended, "server killed and started again")
    heard = listening.stop()
    assert lost.end_sample < heard.audio.size
    hold(heard, before=blow, after=after)
    assert heard.losses()[-2:] == ["reconnecting", "live"]
    assert heard.lost_s() > 1.0


def test_a_capture_process_that_is_killed(listening, stage) -> None:
    (pid,) = capture_processes()
    blow = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    listening.wait_for(lambda chunk: chunk.source == "reconnecting")
    after = recover(listening, stage, blow, "capture process killed")
    heard = listening.stop()
    hold(heard, before=blow, after=after)
    assert heard.losses()[:3] == ["live", "reconnecting", "live"]


def test_a_sink_that_is_unloaded_and_loaded_again(listening, sound_server, stage) -> None:
    blow = time.monotonic()
    sound_server.unload_sink()
    listening.wait_for(lambda chunk: chunk.source == "reconnecting")
    listening.wait(1.0)
    sound_server.load_sink()
    after = recover(listening, stage, time.monotonic(), "sink unloaded and loaded again")
    heard = listening.stop()
    hold(heard, before=blow, after=after)
    assert heard.losses()[-2:] == ["reconnecting", "live"]
    assert heard.lost_s() > 1.0


@pytest.mark.parametrize("stall_s", [2.0, 4.5])
def test_a_sound_server_that_stalls(listening, sound_server, stage, stall_s) -> None:
    blow = time.monotonic()
    sound_server.hit(signal.SIGSTOP)
    time.sleep(stall_s)
    sound_server.hit(signal.SIGCONT)
    after = recover(listening, stage, time.monotonic(), f"server stalled for {stall_s:g} s")
    heard = listening.stop()
    hold(heard, before=blow, after=after)
    assert heard.states()[:2] == ["live", "stalled"]
    assert heard.losses()[-1] == "live"
