"""Audio that is pushed in: one sender at a time, one clock for all of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from helpers import FakeClock

from stream_mer.errors import SettingError, SourceError
from stream_mer.sources.remote import HELD_S, RemoteSource
from stream_mer.types import AudioChunk, seconds

RATE_HZ = 16_000
FORMAT = {"rate_hz": RATE_HZ, "sample_format": "s16le", "channels": 1}
PATIENCE_S = 60.0


def pcm(n_s: float, value: int = 8192) -> bytes:
    return np.full(round(n_s * RATE_HZ), value, "<i2").tobytes()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(clock: FakeClock) -> Iterator[RemoteSource]:
    made = RemoteSource("desk", clock=clock)
    yield made
    made.close()


class Listener:
    """Reads a source beside the test."""

    def __init__(self, source: RemoteSource) -> None:
        self.chunks: list[AudioChunk] = []
        self._source = source
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for chunk in self._source.chunks():
            with self._changed:
                self.chunks.append(chunk)
                self._changed.notify_all()

    def wait_for(self, is_there: Callable[[list[AudioChunk]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: is_there(self.chunks), PATIENCE_S), self.chunks[-1:]

    def end(self) -> list[AudioChunk]:
        self._source.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.chunks


def live_samples(chunks: list[AudioChunk]) -> int:
    return sum(len(chunk.samples) for chunk in chunks if chunk.source == "live")


def test_what_is_sent_comes_out_at_its_time_wherever_the_bytes_are_cut(source: RemoteSource, clock: FakeClock) -> None:
    listener = Listener(source)
    source.claim(**FORMAT)
    data = pcm(0.4)
    for start in range(0, len(data), 1601):  # an odd number of bytes: samples are cut in two
        clock.now += 0.05
        source.push(data[start : start + 1601])
    listener.wait_for(lambda chunks: live_samples(chunks) >= len(data) // 2 - 20)
    chunks = listener.end()
    live = np.concatenate([chunk.samples for chunk in chunks if chunk.source == "live"])
    assert chunks[0].start_sample == 0
    assert len(live) == pytest.approx(0.4 * RATE_HZ, abs=20)
    np.testing.assert_allclose(live, 0.25, atol=1e-4)


def test_while_nobody_sends_time_goes_on_in_silence_and_the_next_sender_is_placed_by_it(
    source: RemoteSource, clock: FakeClock
) -> None:
    listener = Listener(source)
    source.claim(**FORMAT)
    clock.now += 0.5
    source.push(pcm(0.5))
    listener.wait_for(lambda chunks: live_samples(chunks) > 0)
    source.release()
    assert not source.owned
    clock.now += 1.2
    listener.wait_for(lambda chunks: chunks[-1].source == "reconnecting")
    clock.now += 0.5
    source.claim(**FORMAT)
    source.push(pcm(0.5))
    listener.wait_for(lambda chunks: chunks[-1].source == "live")
    chunks = listener.end()
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample >= before.end_sample
    assert [state for state, _ in itertools.groupby(chunk.source for chunk in chunks)] == [
        "live",
        "reconnecting",
        "live",
    ]
    assert seconds(chunks[-1].start_sample) == pytest.approx(1.7, abs=1e-3)


def test_one_sender_at_a_time(source: RemoteSource) -> None:
    with pytest.raises(SourceError, match="no client has begun"):
        source.push(pcm(0.1))
    source.claim(**FORMAT)
    with pytest.raises(SourceError, match="another client"):
        source.claim(**FORMAT)
    source.release()
    source.release()
    source.claim(**FORMAT)


@pytest.mark.parametrize("wrong", [{"rate_hz": 0}, {"rate_hz": 10**9}, {"channels": 0}, {"sample_format": "mp3"}])
def test_audio_that_cannot_be_is_refused_and_the_stream_stays_free(
    source: RemoteSource, wrong: dict[str, object]
) -> None:
    with pytest.raises(SettingError):
        source.claim(**FORMAT | wrong)  # type: ignore[arg-type]
    source.claim(**FORMAT)


def test_what_waits_is_bounded(source: RemoteSource) -> None:
    source.claim(**FORMAT)
    with pytest.raises(SourceError, match="in one message"):
        source.push(pcm(HELD_S + 0.1))
    for _ in range(2000):
        source.push(pcm(0.01))
    assert source._blocks.statistics().waiting <= 400


def test_samples_that_are_no_numbers_are_silence(source: RemoteSource) -> None:
    listener = Listener(source)
    source.claim(rate_hz=RATE_HZ, sample_format="f32le", channels=2)
    source.push(np.full((8000, 2), np.nan, "<f4").tobytes())
    listener.wait_for(lambda chunks: live_samples(chunks) > 7000)
    chunks = listener.end()
    assert not any(chunk.samples.any() for chunk in chunks)


def test_a_stream_that_ended_takes_nothing(source: RemoteSource) -> None:
    source.claim(**FORMAT)
    source.close()
    with pytest.raises(SourceError, match="has ended"):
        source.push(pcm(0.1))
