"""Raw PCM through pipes: what is there comes at once, and nothing is lost."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pytest

from stream_mer.errors import SettingError, SourceError
from stream_mer.sources.stdin import PcmSource
from stream_mer.types import AudioChunk


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb", buffering=0) as writer:
        yield reader, writer


def ramp(n: int) -> bytes:
    return np.arange(n, dtype="<i2").tobytes()


def joined(chunks: list[AudioChunk]) -> np.ndarray:
    position = 0
    for chunk in chunks:
        assert chunk.start_sample == position
        position = chunk.end_sample
    return np.concatenate([np.empty(0, np.float32), *(chunk.samples for chunk in chunks)])


def source(stream: BinaryIO, rate_hz: int = 16_000) -> PcmSource:
    return PcmSource(stream, rate_hz=rate_hz, sample_format="s16le", channels=1)


def test_a_few_samples_arrive_while_the_writer_holds_the_pipe_open(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, writer = pipe
    chunks = source(reader).chunks()
    for n in (10, 3, 500):
        writer.write(ramp(n))
        np.testing.assert_array_equal(next(chunks).samples, np.arange(n, dtype=np.float32) / 32_768)


def test_a_sample_in_two_writes_is_put_together(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, writer = pipe
    chunks = source(reader).chunks()
    data = ramp(300)
    writer.write(data[:301])
    assert len(next(chunks).samples) == 150
    writer.write(data[301:])
    assert next(chunks).samples[0] == np.float32(150 / 32_768)


def test_everything_comes_until_the_writer_closes(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, writer = pipe
    data = np.random.default_rng(0).integers(-32_768, 32_767, 200_000, dtype="<i2")

    def write() -> None:
        writer.write(data.tobytes() + b"\x01")
        writer.close()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    samples = joined(list(source(reader).chunks()))
    thread.join()
    np.testing.assert_array_equal(samples, data.astype(np.float32) / 32_768)


def test_close_ends_a_read_that_waits(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, writer = pipe
    pcm = source(reader)
    heard: list[AudioChunk] = []
    first = threading.Event()

    def iterate() -> None:
        for chunk in pcm.chunks():
            heard.append(chunk)
            first.set()

    thread = threading.Thread(target=iterate, daemon=True)
    thread.start()
    writer.write(ramp(100))
    assert first.wait(30)
    pcm.close()
    pcm.close()
    thread.join(30)
    assert not thread.is_alive()
    assert len(heard) == 1


def test_a_closed_source_gives_nothing(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    pcm = source(pipe[0])
    pcm.close()
    assert list(pcm.chunks()) == []


def test_a_stream_without_a_descriptor_works_too() -> None:
    samples = joined(list(source(io.BytesIO(ramp(40_000)), rate_hz=44_100).chunks()))
    assert abs(len(samples) - round(40_000 * 16_000 / 44_100)) <= 1


def test_a_regular_file_works_too() -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(ramp(30_000))
        stream.seek(0)
        np.testing.assert_array_equal(
            joined(list(source(stream).chunks())), np.arange(30_000, dtype="<i2").astype(np.float32) / 32_768
        )


def test_an_empty_stream_gives_nothing() -> None:
    assert list(source(io.BytesIO()).chunks()) == []


def test_chunks_are_modest_however_much_waits() -> None:
    chunks = list(source(io.BytesIO(ramp(32_000))).chunks())
    assert max(len(chunk.samples) for chunk in chunks) <= 1_600


def test_a_stream_that_fails_is_one_clear_error() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(SourceError, match=r"cannot read raw audio from stdin.*Input/output error"):
        list(source(io.BufferedReader(Broken())).chunks())


def test_bad_settings_are_told_at_once() -> None:
    with pytest.raises(SettingError):
        PcmSource(io.BytesIO(), rate_hz=1)


def test_it_waits_for_its_reader() -> None:
    assert source(io.BytesIO()).live is False
