"""What is piped in is heard, whether it is raw PCM or a file."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

import av
import numpy as np
import pytest
from helpers import PATIENCE_S
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_mer.errors import SourceError
from stream_mer.sources.file import HopChunker, preview_nothing
from stream_mer.sources.resampling import PcmFormat
from stream_mer.sources.stdin import PipeReader, StdinSource, container_name
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk

Music = Callable[..., NDArray[np.float32]]


def encoded(samples: NDArray[np.float32], codec: str, container: str) -> bytes:
    """The samples in a format, as it is written into a pipe."""
    file = io.BytesIO()
    options = {"id3v2_version": "0", "write_xing": "0"} if container == "mp3" else {}
    with av.open(file, "w", format=container, options=options) as out:
        rate_hz = 48_000 if codec == "libopus" else 44_100
        stream = out.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


def heard(stream: BinaryIO, **options: object) -> NDArray[np.float32]:
    source = StdinSource(stream, paced=False, **options)  # type: ignore[arg-type]
    return np.concatenate([chunk.samples for chunk in source.chunks()] or [np.empty(0, np.float32)])


def likeness(found: NDArray[np.float32], played: NDArray[np.float32]) -> float:
    """Correlation of the loudness of both, 10 ms each: codecs change the waveform, and begin up to 0.1 s late."""

    def at(delay: int) -> float:
        late = found[delay:]
        n = min(len(late), len(played)) // 160 * 160
        return float(np.corrcoef(*(np.abs(x[:n]).reshape(-1, 160).mean(1) for x in (late, played)))[0, 1])

    return max(at(delay) for delay in range(0, SAMPLE_RATE_HZ // 10, 80))


@pytest.mark.skipif(os.name != "posix", reason="wants pipes of POSIX")
@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("pcm_s16le", "wav"),
        ("libmp3lame", "mp3"),
        ("aac", "adts"),
        ("flac", "flac"),
        ("libopus", "ogg"),
        ("pcm_s16be", "aiff"),
        ("libopus", "webm"),
    ],
)
def test_a_file_that_is_piped_in_is_heard(codec: str, container: str, music: Music) -> None:
    samples = music(3.0)
    found = heard(io.BytesIO(encoded(samples, codec, container)))
    assert len(found) == pytest.approx(3 * SAMPLE_RATE_HZ, abs=0.1 * SAMPLE_RATE_HZ)
    assert likeness(found, samples) > 0.9


@pytest.mark.skipif(os.name != "posix", reason="wants pipes of POSIX")
def test_a_file_is_heard_as_it_is_though_somebody_said_it_is_pcm(
    music: Music, caplog: pytest.LogCaptureFixture
) -> None:
    samples = music(2.0)
    found = heard(io.BytesIO(encoded(samples, "pcm_s16le", "wav")), pcm=PcmFormat(rate_hz=8000), pcm_is_given=True)
    assert likeness(found, samples) > 0.9
    assert "stdin is WAV, not raw PCM" in caplog.text


@pytest.mark.parametrize("data", [b"", b"\x01\x02", b"\xff\xfb"])
def test_next_to_nothing_is_raw_pcm(data: bytes) -> None:
    assert len(heard(io.BytesIO(data), pcm=PcmFormat(rate_hz=SAMPLE_RATE_HZ))) == len(data) // 2


HOP = SAMPLE_RATE_HZ // 2


class Blocks:
    """A stream that gives a block a read, and counts them."""

    def __init__(self, data: bytes, block_bytes: int) -> None:
        self._stream, self._block_bytes = io.BytesIO(data), block_bytes
        self.given = 0

    def read(self, _size: int) -> bytes:
        self.given += 1
        return self._stream.read(self._block_bytes)


def delivered(rate_hz: int, *, levels: bool, chunked: bool = True) -> list[tuple[int, AudioChunk]]:
    """The chunks of 3.1 s of noise that arrives 20 ms at a time, each with the number of blocks that had arrived."""
    noise = np.random.default_rng(0).integers(-9_000, 9_000, (31 * rate_hz // 10, 2)).astype("<i2")
    blocks = Blocks(noise.tobytes(), 4 * (rate_hz // 50))
    source = StdinSource(blocks, pcm=PcmFormat(rate_hz=rate_hz, channels=2), pcm_is_given=True)  # type: ignore[arg-type]
    if chunked:
        source.set_chunker(HopChunker(hop_samples=HOP, longest_samples=HOP))
        source.set_preview(preview_nothing, lambda: levels)
    return [(blocks.given, chunk) for chunk in source.chunks()]


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_raw_pcm_comes_a_hop_at_a_time_as_early_as_block_by_block(rate_hz: int) -> None:
    found, by_block = delivered(rate_hz, levels=False), delivered(rate_hz, levels=False, chunked=False)
    watched = delivered(rate_hz, levels=True)
    assert [(given, chunk.end_sample) for given, chunk in watched] == [(n, one.end_sample) for n, one in by_block]
    assert len(by_block) > 90
    assert len(found) <= 7 * (1 if rate_hz == SAMPLE_RATE_HZ else 4)  # a resampler delays audio by two blocks
    for end in range(HOP, 3 * SAMPLE_RATE_HZ + 1, HOP):
        given, expected = (next(n for n, one in run if one.end_sample >= end) for run in (found, by_block))
        assert given == expected
    for run in (found, watched):
        assert [one.start_sample for _, one in run] == [0, *(one.end_sample for _, one in run[:-1])]
        samples, whole = (np.concatenate([one.samples for _, one in those]) for those in (run, by_block))
        np.testing.assert_array_equal(samples, whole)


@pytest.mark.skipif(os.name != "posix", reason="wants pipes of POSIX")
def test_a_damaged_file_is_told_without_paths_of_our_own() -> None:
    with pytest.raises(SourceError) as failed:
        heard(io.BytesIO(b"fLaC" + np.random.default_rng(0).bytes(20_000)))
    assert "stdin" in str(failed.value)
    assert "/dev/fd" not in str(failed.value)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 0.01, 0.1, 0.5]))
def test_no_pcm_is_taken_for_a_file(seed: int, level: float) -> None:
    noise = np.random.default_rng(seed).standard_normal(4096) * level
    for kind, scale in (("<i2", 32_767), ("<i4", 2**31 - 1), ("<f4", 1.0), ("u1", 127.0)):
        shifted = noise.clip(-1, 1) * scale + (127.0 if kind == "u1" else 0.0)
        assert container_name(shifted.astype(kind).tobytes()[:4096]) is None
    assert container_name(b"\xff" * 4096) is None
    assert container_name(bytes(4096)) is None


@pytest.mark.skipif(os.name != "posix", reason="wants pipes of POSIX")
@pytest.mark.parametrize("head", [b"", b"RI", b"RIFF\x00\x00\x00\x00WAVEfmt ", bytes(64)])
def test_an_idle_writer_does_not_hold_the_end_up(head: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, head)
    with os.fdopen(reading, "rb") as stream:
        source = StdinSource(stream)
        hearing = threading.Thread(target=lambda: list(source.chunks()), daemon=True)
        hearing.start()
        hearing.join(0.2)
        source.close()
        hearing.join(PATIENCE_S)
        assert not hearing.is_alive()
    os.close(writing)


def test_what_was_looked_at_is_read_again() -> None:
    reader = PipeReader(io.BytesIO(b"abcdef"), threading.Event())
    assert reader.peek(4) == b"abcd"
    assert reader.peek(10) == b"abcdef"
    assert [reader.read(4), reader.read(4), reader.read(4)] == [b"abcd", b"ef", b""]


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


def source(stream: BinaryIO, rate_hz: int = 16_000) -> StdinSource:
    return StdinSource(stream, pcm=PcmFormat(rate_hz=rate_hz), pcm_is_given=True)


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


def test_chunks_are_modest_however_much_waits() -> None:
    chunks = list(source(io.BytesIO(ramp(32_000))).chunks())
    assert max(len(chunk.samples) for chunk in chunks) <= 1_600


def test_a_stream_that_fails_is_one_clear_error() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(SourceError, match=r"cannot read stdin.*Input/output error"):
        list(source(io.BufferedReader(Broken())).chunks())
