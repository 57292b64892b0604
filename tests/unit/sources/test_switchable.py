"""A stream whose source changes: its clock goes on, the gap is counted, and a source that fails changes nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from helpers import PATIENCE_S, FakeClock, wait_for

from stream_mer.errors import DeviceError, SettingError, SourceError
from stream_mer.ports import Preview
from stream_mer.sources import switchable
from stream_mer.sources.capture import CaptureBackend
from stream_mer.sources.devices import InputDevice
from stream_mer.sources.microphone import MicrophoneSource
from stream_mer.sources.remote import RemoteSource
from stream_mer.sources.switchable import MIN_LOST_SAMPLES, SwitchableSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, SourceState

LENGTH = 1600
CLOCK = FakeClock()


class Scripted:
    """Delivers chunks one by one as a test lets it, and marks them with its value."""

    def __init__(self, name: str, value: float, *, chunks: int = 1_000_000, error: Exception | None = None) -> None:
        self.name = name
        self.live = True
        self.closed = threading.Event()
        self.released = threading.Event()
        self.delivers = threading.Event()
        self.delivers.set()
        self.state: SourceState = "live"
        self._value, self._n, self._error = value, chunks, error

    def chunks(self) -> Iterator[AudioChunk]:
        try:
            for index in range(self._n):
                while not self.delivers.wait(0.01):
                    if self.closed.is_set():
                        return
                if self.closed.is_set():
                    return
                samples = np.full(LENGTH, self._value, np.float32)
                yield AudioChunk(start_sample=index * LENGTH, samples=samples, captured_at=CLOCK(), source=self.state)
            if self._error is not None:
                raise self._error
        finally:
            self.released.set()

    def close(self) -> None:
        self.closed.set()


class Listener:
    """Iterates a source in a thread, as a pipeline does, and lets one chunk through at a time."""

    def __init__(self, source: SwitchableSource) -> None:
        self.chunks: list[AudioChunk] = []
        self.failure: Exception | None = None
        self.ended = threading.Event()
        self._source = source
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._source.chunks():
                self.chunks.append(chunk)
                threading.Event().wait(0.002)
        except SourceError as error:
            self.failure = error
        self.ended.set()

    def values(self) -> set[float]:
        return {float(chunk.samples[0]) for chunk in list(self.chunks) if len(chunk.samples)}

    def wait_for_value(self, value: float) -> None:
        wait_for(lambda: any(len(one.samples) and one.samples[0] == value for one in list(self.chunks)[-3:]))


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    monkeypatch.setattr(switchable, "TAKE_OVER_WITHIN_S", PATIENCE_S)


@pytest.fixture
def listening() -> Iterator[Callable[[SwitchableSource], Listener]]:
    sources = []

    def listen(source: SwitchableSource) -> Listener:
        sources.append(source)
        return Listener(source)

    yield listen
    for source in sources:
        source.close()


def test_another_source_goes_on_where_the_first_one_was(listening) -> None:
    first, second = Scripted("first", 0.1), Scripted("second", 0.2)
    source = SwitchableSource(first, clock=CLOCK)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))
    source.switch(lambda: second)
    listener.wait_for_value(np.float32(0.2))
    assert source.name == "second"
    assert first.closed.is_set()
    assert first.released.wait(PATIENCE_S)
    chunks = list(listener.chunks)
    at = next(i for i, chunk in enumerate(chunks) if chunk.new_source == "second")
    assert [chunk.new_source for chunk in chunks].count("second") == 1
    assert len(chunks[at].samples) == 0
    assert chunks[at + 1].start_sample - chunks[at - 1].end_sample == MIN_LOST_SAMPLES
    starts = [chunk.start_sample for chunk in chunks]
    assert starts == sorted(starts)
    assert all(later.start_sample == before.end_sample for before, later in itertools.pairwise(chunks[at + 1 :]))


def test_time_without_audio_is_lost(listening) -> None:
    clock = CLOCK.now
    source = SwitchableSource(Scripted("first", 0.1, chunks=1), clock=CLOCK)
    listener = listening(source)
    wait_for(lambda: listener.chunks and listener.chunks[-1].source == "ended")
    CLOCK.now = clock + 5.0
    try:
        source.switch(lambda: Scripted("second", 0.2))
        listener.wait_for_value(np.float32(0.2))
    finally:
        CLOCK.now = clock
    begun = next(chunk for chunk in listener.chunks if len(chunk.samples) and chunk.samples[0] == np.float32(0.2))
    assert begun.end_sample == LENGTH + 5 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("opener", "error"),
    [
        pytest.param(lambda: Scripted("bad", 0.5, chunks=0, error=SourceError("damaged")), "damaged", id="fails"),
        pytest.param(lambda: Scripted("bad", 0.5, chunks=0), "no audio", id="empty"),
    ],
)
def test_a_source_that_cannot_be_opened_leaves_the_first(listening, opener, error) -> None:
    first = Scripted("first", 0.1)
    source = SwitchableSource(first, clock=CLOCK)
    listener = listening(source)
    with pytest.raises(SourceError, match=error):
        source.switch(opener)
    assert source.name == "first"
    n = len(listener.chunks)
    wait_for(lambda: len(listener.chunks) > n + 3)
    assert listener.values() == {np.float32(0.1)}
    assert not first.closed.is_set()


def test_a_source_that_does_not_exist_leaves_the_first(listening) -> None:
    def no_such() -> Scripted:
        raise SettingError("no source is called so")

    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    listening(source)
    with pytest.raises(SettingError, match="no source"):
        source.switch(no_such)


def test_a_source_that_gives_nothing_is_waited_for_only_so_long(listening) -> None:
    silent = Scripted("silent", 0.5)
    silent.delivers.clear()
    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    listening(source)
    with pytest.raises(SourceError, match=r"within 0\.05 s"):
        source.switch(lambda: silent, within_s=0.05)
    assert silent.closed.is_set()


def test_a_device_that_delivers_only_replaced_audio_is_not_taken(listening) -> None:
    gone = Scripted("gone", 0.5)
    gone.state = "reconnecting"
    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    listening(source)
    with pytest.raises(SourceError, match="no audio"):
        source.switch(lambda: gone)


def test_a_running_source_that_blocks_is_closed(listening) -> None:
    stuck = Scripted("stuck", 0.1)
    stuck.delivers.clear()
    source = SwitchableSource(stuck, clock=CLOCK)
    listener = listening(source)
    source.switch(lambda: Scripted("second", 0.2))
    listener.wait_for_value(np.float32(0.2))
    assert next(chunk for chunk in listener.chunks if len(chunk.samples)).start_sample == 0


def test_audio_of_clients_is_not_waited_for(listening) -> None:
    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))
    remote = RemoteSource(clock=CLOCK)
    source.switch(lambda: remote)
    wait_for(lambda: listener.chunks[-1].new_source == "remote")
    assert listener.chunks[-1].source == "reconnecting"
    end = listener.chunks[-1].end_sample
    remote.claim(rate_hz=SAMPLE_RATE_HZ, sample_format="f32le", channels=1)
    remote.push(np.full(4 * LENGTH, 0.3, "<f4").tobytes())
    wait_for(lambda: len(listener.chunks[-1].samples))
    first = next(chunk for chunk in listener.chunks if chunk.start_sample >= end and len(chunk.samples))
    assert first.start_sample == end + MIN_LOST_SAMPLES


def test_a_source_that_fails_later_ends_the_first_stream_only(listening) -> None:
    listener = listening(SwitchableSource(Scripted("first", 0.1, chunks=2, error=SourceError("gone")), clock=CLOCK))
    assert listener.ended.wait(PATIENCE_S)
    assert str(listener.failure) == "gone"

    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    listener = listening(source)
    source.switch(lambda: Scripted("second", 0.2, chunks=3, error=SourceError("gone")))
    wait_for(lambda: listener.chunks[-1].source == "ended")
    source.switch(lambda: Scripted("third", 0.3))
    listener.wait_for_value(np.float32(0.3))


def test_a_closed_stream_takes_no_source() -> None:
    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    source.close()
    assert list(source.chunks()) == []
    with pytest.raises(SourceError, match="has ended"):
        source.switch(lambda: Scripted("second", 0.2))


def test_closing_ends_the_wait_for_a_new_source() -> None:
    silent = Scripted("silent", 0.5)
    silent.delivers.clear()
    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    listener = Listener(source)
    failures = []

    def switch() -> None:
        with pytest.raises(SourceError) as failure:
            source.switch(lambda: silent)
        failures.append(failure)

    thread = threading.Thread(target=switch)
    thread.start()
    wait_for(lambda: source._candidate is silent)
    source.close()
    thread.join(PATIENCE_S)
    assert failures
    assert listener.ended.wait(PATIENCE_S)


def test_stored_audio_is_cut_at_the_hops_of_the_stream(listening) -> None:
    seen: list[int] = []

    class Chunkable(Scripted):
        def set_chunker(self, chunker: Callable[[int], int]) -> None:
            self.chunker = chunker

        def chunks(self) -> Iterator[AudioChunk]:
            start = 0
            while not self.closed.is_set():
                end = self.chunker(start)
                yield AudioChunk(start_sample=start, samples=np.full(end - start, 0.2, np.float32), captured_at=CLOCK())
                start = end

    def chunker(start: int) -> int:
        seen.append(start)
        return (start // 8000 + 1) * 8000

    source = SwitchableSource(Scripted("first", 0.1), clock=CLOCK)
    source.set_chunker(chunker)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))
    source.switch(lambda: Chunkable("second", 0.2))
    wait_for(lambda: sum(len(chunk.samples) == 8000 for chunk in list(listener.chunks)) > 3)
    ends = [chunk.end_sample for chunk in listener.chunks if len(chunk.samples) and chunk.samples[0] == np.float32(0.2)]
    assert all(end % 8000 == 0 for end in ends[1:])


def test_each_source_is_shown_on_the_clock_of_the_stream_once_it_is_the_current_one(listening) -> None:
    class Previewable(Scripted):
        def set_preview(self, preview: Preview, wanted: Callable[[], bool]) -> None:
            assert wanted()
            self.preview = preview

        def chunks(self) -> Iterator[AudioChunk]:
            for chunk in super().chunks():
                self.preview(chunk.start_sample, chunk.samples, CLOCK(), self.closed.is_set)
                yield chunk

    shown: list[tuple[int, float]] = []

    def preview(start: int, samples: np.ndarray, _due_at: float, is_closed: Callable[[], bool]) -> None:
        if not is_closed():
            shown.append((start, float(samples[0])))

    source = SwitchableSource(Previewable("first", 0.1), clock=CLOCK)
    source.set_preview(preview, lambda: True)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))
    source.switch(lambda: Previewable("second", 0.2))
    wait_for(lambda: sum(value == np.float32(0.2) for _, value in list(shown)) > 3)
    source.close()
    assert listener.ended.wait(PATIENCE_S)
    heard = [(chunk.start_sample, float(chunk.samples[0])) for chunk in listener.chunks if len(chunk.samples)]
    first_of_second = next(one for one in heard if one[1] == np.float32(0.2))
    assert first_of_second not in shown  # it was awaited while the first source was heard
    assert [one for one in shown if one in heard] == [one for one in heard if one != first_of_second]


class OneAtATime(CaptureBackend):
    """A device that only one capture may hold; ``MicrophoneSource.chunks`` is replaced by what the test delivers."""

    held: object | None = None

    def devices(self) -> tuple[InputDevice, ...]:
        return (InputDevice(name="USB", host_api="ALSA", channels=2, rate_hz=48_000, is_default=True),)

    def open(self, device: InputDevice, channels: int) -> object:
        raise NotImplementedError


class HeldMicrophone(MicrophoneSource):
    def __init__(
        self, backend: OneAtATime, value: float, *, broken: bool = False, released_after_s: float = 0.0
    ) -> None:
        super().__init__(None, backend=backend)
        self.backend, self.value, self.broken = backend, value, broken
        self._released_after_s = released_after_s

    def chunks(self) -> Iterator[AudioChunk]:
        if self.backend.held is not None or self.broken:
            raise DeviceError("busy")
        self.backend.held = self
        try:
            start = 0
            while not self._closed.is_set():
                samples = np.full(LENGTH, self.value, np.float32)
                yield AudioChunk(start_sample=start, samples=samples, captured_at=CLOCK())
                start += LENGTH
        finally:
            time.sleep(self._released_after_s)
            self.backend.held = None


@pytest.fixture
def no_silence_in_time(monkeypatch) -> None:
    """The next source is always there before the first silence is due."""
    monkeypatch.setattr(switchable, "_FILL_S", 10 * PATIENCE_S)
    monkeypatch.setattr(switchable, "_RELEASED_AFTER_S", 0.0)


@pytest.mark.usefixtures("no_silence_in_time")
def test_a_device_that_only_one_may_open_is_closed_first(listening) -> None:
    backend = OneAtATime()
    source = SwitchableSource(HeldMicrophone(backend, 0.1), reopen=lambda: HeldMicrophone(backend, 0.1), clock=CLOCK)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))
    source.switch(lambda: HeldMicrophone(backend, 0.2))
    listener.wait_for_value(np.float32(0.2))
    assert any(chunk.source == "reconnecting" for chunk in listener.chunks)

    with pytest.raises(DeviceError, match="busy"):
        source.switch(lambda: HeldMicrophone(backend, 0.3, broken=True))
    n = len(listener.chunks)
    wait_for(lambda: any(len(chunk.samples) and chunk.samples[0] == np.float32(0.2) for chunk in listener.chunks[n:]))


@pytest.mark.usefixtures("no_silence_in_time")
def test_a_device_that_takes_long_to_close_is_waited_for(listening) -> None:
    backend = OneAtATime()
    source = SwitchableSource(HeldMicrophone(backend, 0.1, released_after_s=0.3), clock=CLOCK)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))
    source.switch(lambda: HeldMicrophone(backend, 0.2))
    listener.wait_for_value(np.float32(0.2))


def test_a_device_that_takes_long_to_open_is_replaced_by_silence(listening, monkeypatch) -> None:
    monkeypatch.setattr(switchable, "_RELEASED_AFTER_S", 0.0)
    clock, backend = FakeClock(), OneAtATime()
    source = SwitchableSource(HeldMicrophone(backend, 0.1), clock=clock)
    listener = listening(source)
    listener.wait_for_value(np.float32(0.1))

    def open_late() -> HeldMicrophone:
        if source._paused:
            clock.now += 2.0
            wait_for(lambda: listener.values() >= {np.float32(0.0)})
        return HeldMicrophone(backend, 0.2)

    source.switch(open_late)
    listener.wait_for_value(np.float32(0.2))
    silence = [chunk for chunk in listener.chunks if len(chunk.samples) and chunk.samples[0] == 0.0]
    assert {chunk.source for chunk in silence} == {"reconnecting"}
    assert sum(len(chunk.samples) for chunk in silence) == 2 * SAMPLE_RATE_HZ
