"""Files by real codecs: every format, whole and damaged, and containers that change their mind or lie; and raw PCM.

Every input is made here: chained Ogg, several tracks, sound that begins late, gaps, files cut short, surround sound,
DSD, and titles in other encodings.
"""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec
import numpy as np
import pytest

from stream_mer.errors import SourceError
from stream_mer.sources.decoding import duration_s
from stream_mer.sources.file import FileSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, Samples

TONE_HZ = 440.0
LEVEL_TOLERANCE_DB = 0.5
"""Lossy codecs change the level of a tone by less."""

PADDING_S = 0.06
"""Lossy codecs pad to whole packets."""


def tone(length_s: float, rate_hz: int = 48_000, amplitude: float = 0.25) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * TONE_HZ * np.arange(round(length_s * rate_hz)) / rate_hz)).astype(np.float32)


def encode(
    path: Path,
    tracks: Sequence[dict[str, Any]],
    *,
    container_format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write audio tracks: ``codec``, ``audio`` (shape [channels, n] or [n]), ``rate_hz``, ``layout``, ``title``,
    ``begins_s``, and ``pauses`` as pairs of (at, length) in seconds."""
    with av.open(str(path), "w", format=container_format, options=options or {}) as out:
        streams = []
        for track in tracks:
            stream = out.add_stream(track["codec"], rate=track.get("rate_hz", 48_000), options=track.get("options", {}))
            audio = np.atleast_2d(track["audio"])
            stream.codec_context.layout = track.get("layout") or {1: "mono", 2: "stereo"}[len(audio)]
            stream.codec_context.format = stream.codec_context.codec.audio_formats[0].name
            if "title" in track:
                stream.metadata["title"] = track["title"]
            stream.bit_rate = 128_000
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            write(out, stream, track)
    return path


def write(out: Any, stream: Any, track: dict[str, Any]) -> None:
    rate_hz = track.get("rate_hz", 48_000)
    layout = stream.codec_context.layout.name
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(np.atleast_2d(track["audio"])), format="fltp", layout=layout
    )
    frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
    converter = av.AudioResampler(
        format=stream.codec_context.format,
        layout=layout,
        rate=rate_hz,
        frame_size=stream.codec_context.frame_size or 1_024,
    )
    for block in [*converter.resample(frame), *converter.resample(None), None]:
        for packet in stream.encode(block):
            at_s = float(packet.pts * packet.time_base)
            later_s = track.get("begins_s", 0.0) + sum(length for at, length in track.get("pauses", ()) if at_s >= at)
            packet.pts = packet.dts = packet.pts + round(later_s / packet.time_base)
            out.mux(packet)


def write_video(out: Any) -> None:
    """Six seconds of pictures."""
    picture = out.add_stream("mpeg4", rate=10)
    picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
    for k in range(60):
        image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * k, np.uint8), format="rgb24")
        out.mux(picture.encode(image))
    out.mux(picture.encode(None))


def ogg(path: Path, codec: str, *, channels: int = 2, rate_hz: int = 48_000, quality: float | None = None) -> bytes:
    """3 s of the tone."""
    options = {"strict": "experimental"} if codec == "vorbis" else {}
    if quality is not None:
        options["global_quality"] = str(round(quality * 118))  # FF_QP2LAMBDA
        options["flags"] = "+qscale"
    audio = np.stack([tone(3.0, rate_hz)] * channels)
    track = {"codec": codec, "audio": audio, "rate_hz": rate_hz, "options": options}
    return encode(path, [track], container_format="ogg").read_bytes()


def hear(source: FileSource) -> tuple[Samples, float]:
    """All samples, with silence where there are none, and where the first of them lies, seconds."""
    chunks = list(source.chunks())
    whole = np.zeros(chunks[-1].end_sample, np.float32)
    for chunk in chunks:
        whole[chunk.start_sample : chunk.end_sample] = chunk.samples
    return whole, chunks[0].start_sample / SAMPLE_RATE_HZ


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def frequency_hz(samples: Samples) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * SAMPLE_RATE_HZ / len(samples))


CHAINS = {
    "the same again": [{"codec": "vorbis"}, {"codec": "vorbis"}],
    "another quality": [{"codec": "vorbis", "quality": 2}, {"codec": "vorbis", "quality": 9}],
    "another rate": [{"codec": "vorbis", "rate_hz": 44_100}, {"codec": "vorbis", "rate_hz": 22_050}],
    "another codec": [{"codec": "vorbis"}, {"codec": "libopus"}, {"codec": "flac"}],
    "fewer channels": [{"codec": "libopus"}, {"codec": "libopus", "channels": 1}],
    "more channels": [{"codec": "flac", "channels": 1}, {"codec": "flac", "rate_hz": 44_100}],
}


@pytest.mark.parametrize("name", CHAINS)
def test_every_link_of_an_ogg_stream_is_heard_equally_loud(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    links = [ogg(tmp_path / f"{i}.ogg", **link) for i, link in enumerate(CHAINS[name])]
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(links))
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(path))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(3.0 * len(links), abs=PADDING_S * len(links))
    for i in range(len(links)):
        middle = whole[round((3 * i + 0.5) * SAMPLE_RATE_HZ) : round((3 * i + 2.5) * SAMPLE_RATE_HZ)]
        assert level_db(middle) == pytest.approx(level_db(tone(2.0)), abs=LEVEL_TOLERANCE_DB)
        assert frequency_hz(middle) == pytest.approx(TONE_HZ, abs=1.0)
    assert caplog.text == ""


def test_one_error_at_the_end_of_each_link_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Liquidsoap ends every title with a packet of no bytes."""
    links = []
    for i in range(3):
        data = bytearray(ogg(tmp_path / f"{i}.ogg", "libopus"))
        last = data.rfind(b"OggS")
        assert data[last + 5] & 4  # the end of the stream
        data[last + 5] = 0
        links.append(bytes(data) + empty_last_page(data, last))
    path = tmp_path / "radio.opus"
    path.write_bytes(b"".join(links))
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(path))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(9.0, abs=3 * PADDING_S)
    assert caplog.text == ""


def empty_last_page(stream: bytearray, last: int) -> bytes:
    """A page that ends the stream with one packet of no bytes, after the page at ``last``."""
    page = bytearray(stream[last : last + 26]) + bytes([1, 0])
    page[5] = 4
    page[18:22] = (int.from_bytes(page[18:22], "little") + 1).to_bytes(4, "little")
    page[22:26] = bytes(4)
    page[22:26] = ogg_checksum(page).to_bytes(4, "little")
    return bytes(page)


def ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


def test_a_chain_states_no_length_and_one_link_does(tmp_path: Path) -> None:
    one = ogg(tmp_path / "one.ogg", "libopus")
    (tmp_path / "two.ogg").write_bytes(one + one)
    assert duration_s(tmp_path / "one.ogg") == pytest.approx(3.0, abs=PADDING_S)
    assert duration_s(tmp_path / "two.ogg") is None


@pytest.mark.parametrize(("extension", "codec"), [("mkv", "libopus"), ("mp4", "aac")])
def test_sound_that_begins_after_the_picture_is_heard_where_it_is(tmp_path: Path, extension: str, codec: str) -> None:
    path = tmp_path / f"film.{extension}"
    with av.open(str(path), "w") as out:
        sound = out.add_stream(codec, rate=48_000)
        sound.codec_context.layout = "stereo"
        sound.codec_context.format = sound.codec_context.codec.audio_formats[0].name
        write_video(out)
        write(out, sound, {"audio": np.stack([tone(2.0)] * 2), "begins_s": 3.5})
    whole, begins_s = hear(FileSource(path))
    assert begins_s == pytest.approx(3.5, abs=PADDING_S)
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(5.5, abs=PADDING_S)


@pytest.mark.parametrize("pause_s", [0.5, 55.0, 70.0, 3_600.0])
def test_a_pause_in_the_time_stamps_is_as_long_as_they_say(
    tmp_path: Path, pause_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "paused.mka"
    encode(path, [{"codec": "libopus", "audio": tone(4.0), "pauses": [(2.0, pause_s)]}])
    with caplog.at_level(logging.WARNING, "stream_mer"):
        chunks = list(FileSource(path).chunks())
    assert chunks[-1].end_sample / SAMPLE_RATE_HZ == pytest.approx(4.0 + pause_s, abs=PADDING_S)
    assert sum(len(chunk.samples) for chunk in chunks) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=PADDING_S)
    assert caplog.text.count("audio missing") == 1


KNOW_THEIR_LENGTH = {
    "wav": "pcm_s16le",
    "w64": "pcm_s16le",
    "aiff": "pcm_s16be",
    "au": "pcm_s16be",
    "caf": "pcm_s16be",
    "flac": "flac",
    "mka": "libopus",
    "webm": "libopus",
    "mp3": "libmp3lame",
    "wv": "wavpack",
    "tta": "tta",
    "avi": "pcm_s16le",
    "voc": "pcm_s16le",
    "sox": "pcm_s32le",
    "flv": "aac",
    "m4a": "aac",
    "mov": "pcm_s16le",
}


@pytest.mark.parametrize("extension", KNOW_THEIR_LENGTH)
def test_a_file_cut_short_is_heard_as_far_as_it_goes_with_one_warning(
    tmp_path: Path, extension: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"movflags": "faststart"} if extension in {"mov", "m4a"} else {}
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 44_100).astype(np.float32)
    track = {"codec": KNOW_THEIR_LENGTH[extension], "audio": audio, "rate_hz": 44_100}
    if extension in {"mka", "webm"}:
        track = {**track, "audio": tone(3.0), "rate_hz": 48_000}
    path = encode(tmp_path / f"song.{extension}", [track], options=options)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(path))
        assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=PADDING_S)
        assert caplog.text == ""
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        short, _ = hear(FileSource(path))
    assert 0.9 < len(short) / SAMPLE_RATE_HZ < 2.2  # TTA has frames of a second
    assert caplog.text.count("cut short") == 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize("extension", ["mp3", "aac"])
def test_a_length_that_was_only_estimated_is_no_reason_for_a_warning(
    tmp_path: Path, extension: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Loud noise, then silence, in a variable bit rate: the first packets say nothing about the rest."""
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 6 * 44_100).astype(np.float32)
    audio[44_100:] = 0.0
    codec, options = {
        "mp3": ("libmp3lame", {"flags": "+qscale", "global_quality": "118"}),
        "aac": ("aac", {"flags": "+qscale", "global_quality": "118"}),
    }[extension]
    track = {"codec": codec, "audio": audio, "rate_hz": 44_100, "options": options}
    path = encode(tmp_path / f"song.{extension}", [track], options={"write_xing": "0"} if extension == "mp3" else {})
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(path))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(6.0, abs=2 * PADDING_S)
    assert caplog.text == ""


def test_a_picture_that_goes_on_after_the_sound_is_no_reason_for_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "film.mkv"
    tracks = [{"codec": "libopus", "audio": tone(2.0)}, {"codec": "libopus", "audio": tone(6.0)}]
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(encode(path, tracks), track="1"))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=PADDING_S)
    assert caplog.text == ""


@pytest.fixture
def two_tracks(tmp_path: Path) -> Path:
    tracks = [
        {"codec": "libopus", "audio": np.zeros(96_000, np.float32), "title": "Mic"},
        {"codec": "libopus", "audio": tone(2.0), "title": "Music"},
    ]
    return encode(tmp_path / "obs.mkv", tracks)


def test_of_several_tracks_it_is_said_which_one_is_heard(two_tracks: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(two_tracks))
    assert not whole.any()
    assert "obs.mkv has 2 audio tracks (1 Mic, 2 Music): playing track 1; choose another with --track" in caplog.text


@pytest.mark.parametrize("track", ["2", "Music", "music"])
def test_a_track_is_chosen_by_number_or_title(two_tracks: Path, track: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stream_mer"):
        whole, _ = hear(FileSource(two_tracks, track=track))
    assert level_db(whole[8_000:-8_000]) == pytest.approx(level_db(tone(1.0)), abs=LEVEL_TOLERANCE_DB)
    assert caplog.text == ""


@pytest.mark.parametrize("track", ["0", "3", "Voice", "-1"])
def test_a_track_that_is_not_there_is_refused(two_tracks: Path, track: str) -> None:
    with pytest.raises(SourceError, match=r"no audio track .*; it has 1 Mic, 2 Music: give a number or a title"):
        hear(FileSource(two_tracks, track=track))


@pytest.mark.parametrize(("layout", "channels"), [("5.1(side)", 6), ("5.1", 6), ("5.0", 5), ("quad", 4), ("2.1", 3)])
def test_surround_with_sound_in_front_is_as_loud_as_in_stereo(tmp_path: Path, layout: str, channels: int) -> None:
    audio = np.zeros((channels, 96_000), np.float32)
    audio[:2] = tone(2.0)
    surround = encode(tmp_path / "surround.wav", [{"codec": "pcm_s16le", "audio": audio, "layout": layout}])
    stereo = encode(tmp_path / "stereo.wav", [{"codec": "pcm_s16le", "audio": audio[:2]}])
    np.testing.assert_allclose(hear(FileSource(surround))[0], hear(FileSource(stereo))[0], atol=1e-6)


@pytest.mark.parametrize("multiple", [64, 128, 256])
def test_dsd_of_every_rate_is_heard(tmp_path: Path, multiple: int) -> None:
    path = tmp_path / "tone.dsf"
    path.write_bytes(dsf(0.2, multiple * 44_100))
    whole, _ = hear(FileSource(path))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(0.2, abs=PADDING_S)
    assert frequency_hz(whole[800:2_400]) == pytest.approx(TONE_HZ, abs=10.0)


def dsf(length_s: float, rate_hz: int) -> bytes:
    """A tone as DSD: sigma-delta modulation of the first order, a bit a sample, the oldest in the lowest bit."""
    total = np.cumsum(0.5 + 0.25 * np.sin(2 * np.pi * TONE_HZ * np.arange(round(length_s * rate_hz)) / rate_hz))
    bits = np.diff(np.floor(total), prepend=0.0) > 0
    data = np.packbits(bits, bitorder="little").tobytes()
    n_blocks = -(-len(data) // 4_096)
    data = data.ljust(4_096 * n_blocks, b"\x69")
    numbers = [1, 0, 1, 1, rate_hz, 1]
    form = b"fmt " + (52).to_bytes(8, "little") + b"".join(number.to_bytes(4, "little") for number in numbers)
    form += len(bits).to_bytes(8, "little") + (4_096).to_bytes(4, "little") + bytes(4)
    head = b"DSD " + (28).to_bytes(8, "little") + (28 + 52 + 12 + len(data)).to_bytes(8, "little") + bytes(8)
    return head + form + b"data" + (12 + len(data)).to_bytes(8, "little") + data


@pytest.mark.parametrize("extension", ["wav", "flac", "mka", "m4a", "ogg"])
def test_a_title_in_another_encoding_keeps_nothing_from_being_heard(tmp_path: Path, extension: str) -> None:
    codec = {"wav": "pcm_s16le", "flac": "flac", "mka": "libopus", "m4a": "aac", "ogg": "libopus"}[extension]
    path = tmp_path / f"song.{extension}"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "Caf@ Ol@"
        stream = out.add_stream(codec, rate=48_000)
        stream.codec_context.layout = "mono"
        stream.codec_context.format = stream.codec_context.codec.audio_formats[0].name
        write(out, stream, {"audio": tone(2.0)})
    data = path.read_bytes()
    assert b"Caf@ Ol@" in data
    data = data.replace(b"Caf@ Ol@", b"Caf\xe9 Ol\xe9")
    if extension == "ogg":  # the second page has the title, and a checksum
        first, page, *rest = [b"OggS" + page for page in data.split(b"OggS")[1:]]
        checksum = ogg_checksum(page[:22] + bytes(4) + page[26:])
        data = b"".join([first, page[:22] + checksum.to_bytes(4, "little") + page[26:], *rest])
    path.write_bytes(data)
    whole, _ = hear(FileSource(path))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=PADDING_S)
    assert duration_s(path) == pytest.approx(2.0, abs=PADDING_S)


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


def make_audio(folder: Path, extension: str) -> Path:
    """3 s of the tone in stereo, at half of full scale."""
    codec, rate_hz = FORMATS[extension]
    audio = np.stack([tone(3.0, rate_hz, 0.5)] * 2)
    return encode(folder / f"tone.{extension}", [{"codec": codec, "audio": audio, "rate_hz": rate_hz}])


def read(path: Path) -> list[AudioChunk]:
    chunks = list(FileSource(path).chunks())
    assert chunks[0].start_sample == 0
    for before, after in itertools.pairwise(chunks):
        assert after.start_sample >= before.end_sample
    return chunks


def n_samples(chunks: list[AudioChunk]) -> int:
    return sum(len(chunk.samples) for chunk in chunks)


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_is_heard(tmp_path: Path, extension: str) -> None:
    whole, _ = hear(FileSource(make_audio(tmp_path, extension)))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=PADDING_S)
    middle = whole[8_000:40_000]
    assert frequency_hz(middle) == pytest.approx(TONE_HZ, abs=1.0)
    assert level_db(middle) == pytest.approx(level_db(tone(2.0, amplitude=0.5)), abs=LEVEL_TOLERANCE_DB)


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as out:
        write_video(out)
    with pytest.raises(SourceError, match=r"silent\.mp4 has no audio stream \(only video\)"):
        read(path)


@pytest.mark.parametrize("extension", ["wav", "mp3", "ogg", "flac", "m4a", "mka", "aac", "bin", ""])
def test_random_bytes(tmp_path: Path, extension: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"noise.{extension}"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    with pytest.raises(SourceError, match=r"noise\.") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # FFmpeg writes nothing past the logs


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
    assert n_samples(damaged) < n_samples(whole)
    # What follows the damage is where it was, to a sample or two of rounding.
    assert abs(damaged[-1].end_sample - whole[-1].end_sample) <= 2


def test_a_damaged_mp3_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """MP3 has no time stamps: what is missing cannot be told, but all the rest is heard."""
    path = make_audio(tmp_path, "mp3")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = bytes(3_000)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        length_s = n_samples(read(path)) / SAMPLE_RATE_HZ
    assert "tone.mp3 is damaged" in caplog.text
    assert 2.5 < length_s < 3.0


def test_a_damaged_start_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_audio(tmp_path, "aac")
    data = bytearray(path.read_bytes())
    data[: len(data) // 4] = np.random.default_rng(0).bytes(len(data) // 4)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "stream_mer"):
        length_s = n_samples(read(path)) / SAMPLE_RATE_HZ
    assert "damaged at its start" in caplog.text
    assert length_s > 1.5


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
