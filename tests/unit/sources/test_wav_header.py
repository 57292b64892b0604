"""WAV files that lie: about their length, their rate, their channels, and samples that are no numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from stream_mer.errors import SourceError
from stream_mer.sources.containers import wrong_length
from stream_mer.sources.file import FileSource

PCM, FLOAT = 1, 3
ONE_SECOND = (np.sin(np.arange(16_000) / 10) * 8000).astype("<i2").tobytes()


def wav(
    path: Path,
    data: bytes = ONE_SECOND,
    *,
    claim: int | None = None,
    rate_hz: int = 16_000,
    channels: int = 1,
    form: int = PCM,
    before: bytes = b"",
    after: bytes = b"",
) -> Path:
    """A WAV file whose header may say anything."""
    width = 2 if form == PCM else 4
    head = struct.pack("<HHIIHH", form, channels, rate_hz, rate_hz * width, width * channels, 8 * width)
    length = len(data) if claim is None else claim
    body = (
        b"WAVEfmt " + struct.pack("<I", len(head)) + head + before + b"data" + struct.pack("<I", length) + data + after
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def heard(path: Path) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in FileSource(path).chunks()])


def test_an_honest_file_is_heard_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = wav(
        tmp_path / "a.wav", before=b"junk\x03\x00\x00\x00abc\x00", after=b"LIST" + struct.pack("<I", 100) + b"INFO" * 25
    )
    assert wrong_length(path) == ""
    assert len(heard(path)) == 16_000
    assert caplog.records == []


def test_a_file_cut_short_is_heard_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(heard(wav(tmp_path / "a.wav", claim=10**9))) == 16_000
    assert "says that it holds 1,000,000,000 bytes of audio and holds 32,000" in caplog.text


def test_audio_behind_the_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(heard(wav(tmp_path / "a.wav", claim=16_000))) == 8_000
    assert "16,000 more follow, which are not heard" in caplog.text


@pytest.mark.parametrize("claim", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_what_was_written_into_a_pipe_did_not_know_its_length(claim: int, tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", claim=claim)
    assert wrong_length(path) == ""
    assert len(heard(path)) == 16_000


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"OggS" + bytes(100), bytes(1000)])
def test_what_is_no_wav_is_taken_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    assert wrong_length(tmp_path / "a.wav") == ""


def test_chunks_without_end_are_not_walked_forever(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", before=(b"junk" + bytes(4)) * 100_000, claim=10**9)
    assert wrong_length(path) == ""


@pytest.mark.parametrize("rate_hz", [1, 10_000_000])
def test_a_rate_that_no_music_has_is_an_error(rate_hz: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"has {rate_hz} samples a second, which no music has"):
        heard(wav(tmp_path / "a.wav", rate_hz=rate_hz))


@pytest.mark.parametrize("wrong", [{"rate_hz": 0}, {"channels": 0}])
def test_no_rate_and_no_channel_are_errors(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.wav"):
        heard(wav(tmp_path / "a.wav", rate_hz=wrong.get("rate_hz", 16_000), channels=wrong.get("channels", 1)))


def test_samples_that_are_no_numbers_are_silence_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = np.full(16_000, 0.25, "<f4")
    samples[100:150], samples[200] = np.nan, np.inf
    found = heard(wav(tmp_path / "a.wav", samples.tobytes(), form=FLOAT))
    assert not found[[*range(100, 150), 200]].any()
    assert (found[300:] == 0.25).all()
    assert "51 samples are no numbers, taken as silence" in caplog.text
