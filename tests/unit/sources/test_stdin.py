"""What is piped in is heard, whether it is raw PCM or a file."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_mer.errors import SourceError
from stream_mer.sources.resampling import PcmFormat
from stream_mer.sources.stdin import PipeReader, StdinSource, container_of
from stream_mer.types import SAMPLE_RATE_HZ

PATIENCE_S = 30.0
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
    assert "stdin holds WAV, no raw PCM" in caplog.text


def test_raw_pcm_is_heard_as_before(music: Music) -> None:
    samples = music(2.0)
    data = (samples.clip(-1, 1) * 32_767).astype("<i2").tobytes()
    found = heard(io.BytesIO(data), pcm=PcmFormat(rate_hz=SAMPLE_RATE_HZ))
    np.testing.assert_allclose(found, samples.clip(-1, 1), atol=1e-3)


@pytest.mark.parametrize("data", [b"", b"\x01\x02", b"\xff\xfb"])
def test_next_to_nothing_is_raw_pcm(data: bytes) -> None:
    assert len(heard(io.BytesIO(data), pcm=PcmFormat(rate_hz=SAMPLE_RATE_HZ))) == len(data) // 2


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
        assert container_of(shifted.astype(kind).tobytes()[:4096]) is None
    assert container_of(b"\xff" * 4096) is None
    assert container_of(bytes(4096)) is None


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


def test_a_stream_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    stream = (tmp_path / "x").open("wb+")
    stream.close()
    with pytest.raises(SourceError, match="cannot read stdin"):
        heard(stream)
