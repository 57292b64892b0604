"""Real files by real codecs, whole and damaged, and raw PCM from another process."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import av.codec
import numpy as np
import pytest

from stream_mer.audio.windowing import Windower
from stream_mer.config import WindowSettings
from stream_mer.errors import SourceError
from stream_mer.sources.file import FileSource
from stream_mer.types import AudioChunk, Samples

DURATION_S = 3.0
TONE_HZ = 440.0

# Lossy codecs pad to whole packets, and not every container says by how much (AAC: 1024 samples at either end).
LENGTH_TOLERANCE_S = 0.06

FORMATS = {
    "wav": ("pcm_s16le", 44_100),
    "flac": ("flac", 48_000),
    "mp3": ("libmp3lame", 44_100),
    "ogg": ("libopus", 48_000),
    "opus": ("libopus", 48_000),
    "m4a": ("aac", 22_050),
    "aac": ("aac", 44_100),
    "aiff": ("pcm_s16be", 96_000),
    "mka": ("pcm_s24le", 8_000),
}


def tone(rate_hz: int, duration_s: float = DURATION_S) -> Samples:
    return (0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(round(rate_hz * duration_s)) / rate_hz)).astype(np.float32)


def require_encoder(name: str) -> None:
    try:
        av.codec.Codec(name, "w")
    except av.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg has no encoder {name}")


def add_audio(out: av.container.OutputContainer, codec: str, rate_hz: int) -> Callable[[], None]:
    """Add a stereo audio stream; what is returned writes the tone into it."""
    stream = out.add_stream(codec, rate=rate_hz)
    stream.codec_context.layout = "stereo"
    stream.codec_context.format = stream.codec_context.codec.audio_formats[0].name

    def write() -> None:
        whole = av.AudioFrame.from_ndarray(np.stack([tone(rate_hz)] * 2), format="fltp", layout="stereo")
        whole.sample_rate, whole.time_base, whole.pts = rate_hz, Fraction(1, rate_hz), 0
        converter = av.AudioResampler(
            format=stream.codec_context.format,
            layout="stereo",
            rate=rate_hz,
            frame_size=stream.codec_context.frame_size or 1_024,
        )
        for block in [*converter.resample(whole), *converter.resample(None), None]:
            out.mux(stream.encode(block))

    return write


def add_video(out: av.container.OutputContainer) -> Callable[[], None]:
    stream = out.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"

    def write() -> None:
        for k in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * k, np.uint8), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))

    return write


def make_audio(folder: Path, extension: str) -> Path:
    codec, rate_hz = FORMATS[extension]
    require_encoder(codec)
    path = folder / f"tone.{extension}"
    with av.open(str(path), "w") as out:
        add_audio(out, codec, rate_hz)()
    return path


def read(path: Path) -> list[AudioChunk]:
    chunks = list(FileSource(path).chunks())
    assert chunks[0].start_sample == 0
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample >= before.end_sample
    return chunks


def joined(chunks: list[AudioChunk]) -> Samples:
    return np.concatenate([chunk.samples for chunk in chunks])


def assert_is_the_tone(samples: Samples) -> None:
    middle = samples[8_000:40_000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert abs(np.argmax(spectrum) * 16_000 / len(middle) - TONE_HZ) < 1.0
    # Half of full scale; lossy codecs come within a few hundredths.
    assert abs(np.sqrt(2 * np.mean(middle**2)) - 0.5) < 0.05


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_is_heard(tmp_path: Path, extension: str) -> None:
    path = make_audio(tmp_path, extension)
    samples = joined(read(path))
    assert abs(len(samples) / 16_000 - DURATION_S) < LENGTH_TOLERANCE_S
    assert_is_the_tone(samples)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_the_sound_of_a_video(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"film.{container}"
    with av.open(str(path), "w") as out:
        write_video, write_audio = add_video(out), add_audio(out, "aac", 44_100)
        write_video()
        write_audio()
    samples = joined(read(path))
    assert abs(len(samples) / 16_000 - DURATION_S) < LENGTH_TOLERANCE_S
    assert_is_the_tone(samples)


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as out:
        add_video(out)()
    with pytest.raises(SourceError, match=r"silent\.mp4 has no audio stream \(only video\)"):
        read(path)


@pytest.mark.parametrize("extension", ["wav", "mp3", "ogg", "flac", "m4a", "mka", "aac", "bin", ""])
@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(tmp_path: Path, extension: str, seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"noise.{extension}"
    path.write_bytes(np.random.default_rng(seed).bytes(100_000))
    with pytest.raises(SourceError, match=r"noise\.") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # FFmpeg writes nothing past the logs


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "mka"])
def test_a_file_cut_short_is_heard_as_far_as_it_goes(tmp_path: Path, extension: str) -> None:
    path = make_audio(tmp_path, extension)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    length_s = read(path)[-1].end_sample / 16_000
    assert 1.0 < length_s < 2.5


def test_a_file_cut_short_whose_index_stood_at_its_end(tmp_path: Path) -> None:
    path = make_audio(tmp_path, "m4a")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(SourceError, match="cut short"):
        read(path)


@pytest.mark.parametrize("extension", ["flac", "ogg", "m4a"])
def test_damage_in_the_middle_is_silence_of_its_length(
    tmp_path: Path, extension: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_audio(tmp_path, extension)
    whole = read(path)
    data = bytearray(path.read_bytes())
    first, length = len(data) // 2, len(data) // 10
    data[first : first + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        damaged = read(path)
    assert "audio missing" in caplog.text
    assert path.name in caplog.text
    assert capfd.readouterr().err == ""
    assert len(joined(damaged)) < len(joined(whole))
    # What follows the damage is where it was, to a sample or two of rounding.
    assert abs(damaged[-1].end_sample - whole[-1].end_sample) <= 2


def test_a_damaged_mp3_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """MP3 has no time stamps: what is missing cannot be told, but all the rest is heard."""
    path = make_audio(tmp_path, "mp3")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = bytes(3_000)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        length_s = len(joined(read(path))) / 16_000
    assert "tone.mp3 is damaged" in caplog.text
    assert DURATION_S - 0.5 < length_s < DURATION_S


def test_a_damaged_start_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_audio(tmp_path, "aac")
    data = bytearray(path.read_bytes())
    data[: len(data) // 4] = np.random.default_rng(0).bytes(len(data) // 4)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        samples = joined(read(path))
    assert "damaged at its start" in caplog.text
    assert len(samples) / 16_000 > DURATION_S / 2


def test_a_file_gives_the_same_windows_every_time(tmp_path: Path) -> None:
    path = make_audio(tmp_path, "mp3")

    def windows() -> list[tuple[int, int, bytes]]:
        windower = Windower(WindowSettings(hop_s=0.7, context_s=3.0))
        found = [window for chunk in FileSource(path).chunks() for window in windower.feed(chunk)]
        tail = windower.finish()
        assert tail is not None
        return [(w.index, w.start_sample, w.samples.tobytes()) for w in [*found, tail]]

    first = windows()
    assert first == windows()
    assert len(first) == 5


def test_raw_audio_from_another_process_is_heard_while_it_goes_on() -> None:
    """A child reads its standard input; each part is written only after the child told of the one before."""
    code = """
        import sys
        from stream_mer.sources.catalogue import open_source
        source = open_source("-", rate_hz=16_000, sample_format="f32le", channels=1)
        for chunk in source.chunks():
            print(chunk.start_sample, len(chunk.samples), float(chunk.samples[0]), flush=True)
        print("ended", flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        for k in range(4):
            child.stdin.write(np.full(100, k / 4, "<f4").tobytes())
            child.stdin.flush()
            assert child.stdout.readline().split() == [b"%d" % (100 * k), b"100", str(k / 4).encode()]
        child.stdin.write(b"\x00\x00")  # no whole sample
        child.stdin.close()
        assert child.stdout.readline() == b"ended\n"
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait(30)
        child.stdout.close()
