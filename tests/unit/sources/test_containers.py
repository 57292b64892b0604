"""What playlists name."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from stream_mer.errors import SourceError
from stream_mer.sources.containers import (
    ChainedOgg,
    Playlist,
    find_mpeg_frames,
    may_be_playlist,
    parse_playlist,
    wrong_length,
)
from stream_mer.sources.file import FileSource

AUDIO = [
    b"ID3\x04\0\0",
    b"OggS\0\x02",
    b"fLaC",
    b"RIFF\0\0\0\0WAVE",
    b"\xff\xfb\x90\0",
    b"",
    b"#!AMR\n",
    b"<html>",
    b"v=0\r\n",
]


@pytest.mark.parametrize("head", AUDIO)
def test_audio_and_other_text_are_no_playlist(head: bytes) -> None:
    assert not may_be_playlist(head)
    assert parse_playlist(head) is None


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:8,a\nhttp://a/live\n#EXTINF:9,b\nb.mp3\n",
        "\ufeff#EXTM3U\r\nhttp://a/live\r\nb.mp3\r\n",
        "http://a/live\nb.mp3",
        "# a comment of the station: http://www\nhttp://a/live\nb.mp3",
        "[playlist]\nFile1=http://a/live\nTitle1=A\nFile2=b.mp3\nNumberOfEntries=2\n",
        "[Playlist]\r\nnumberofentries=2\r\nfile1 = http://a/live\r\nfile2=b.mp3\r\n",
    ],
)
def test_m3u_and_pls_list_what_they_name(text: str) -> None:
    assert parse_playlist(text.encode()) == Playlist(kind="list", entries=("http://a/live", "b.mp3"))


def test_text_that_is_not_utf_8_is_latin_1() -> None:
    found = parse_playlist(b"#EXTM3U\nCaf\xe9.mp3\n")
    assert found is not None
    assert found.entries == ("Caf\xe9.mp3",)


def test_segments_make_an_hls_playlist_of_media() -> None:
    text = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXTINF:2,\nb.ts\n"
    assert parse_playlist(text) == Playlist(kind="hls media", entries=("a.ts", "b.ts"))


def test_the_best_sound_alone_is_heard_first() -> None:
    text = (
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360\nlarge\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=500000,RESOLUTION=320x180\nsmall\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2,x"\nlow\n#EXT-X-STREAM-INF:BANDWIDTH=128000\n\nhigh\n'
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="B",URI="other"\n'
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="A, B",DEFAULT=YES,URI="default"\n'
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",URI="words"\n'
    )
    found = parse_playlist(text.encode())
    assert found == Playlist(kind="hls master", entries=("default", "other", "high", "low", "small", "large"))


@pytest.mark.parametrize("text", [b"#EXTM3U\n", b"[playlist]\nNumberOfEntries=0\n", b"#EXTM3U\n#EXTINF:1,a\n"])
def test_a_playlist_of_nothing_is_none(text: bytes) -> None:
    assert parse_playlist(text) is None


def test_a_bandwidth_that_is_no_number_is_none() -> None:
    found = parse_playlist(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\na\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb\n")
    assert found is not None
    assert found.entries == ("b", "a")


def page(content: bytes, *, serial: int = 1, begins: bool = False) -> bytes:
    segments = bytes([255] * (len(content) // 255) + [len(content) % 255])
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, 2 if begins else 0, 0, serial, 0, 0, len(segments))
    return header + segments + content


def link(text: bytes, *, serial: int = 1, streams: int = 1) -> bytes:
    """All streams begin before any goes on, as the specification wants."""
    beginnings = b"".join(page(b"head", serial=serial + i, begins=True) for i in range(streams))
    return beginnings + page(text, serial=serial) + page(text, serial=serial + streams - 1)


def links(data: bytes, *, fetched: int = 10_000, read: int = 100) -> list[bytes]:
    raw = io.BytesIO(data)
    chain = ChainedOgg(lambda size: raw.read(min(size, fetched)))
    found = []
    while True:
        parts = list(iter(lambda: chain.read(read), b""))
        assert all(len(part) <= read for part in parts)
        found.append(b"".join(parts))
        if not chain.next_link():
            return found


@pytest.mark.parametrize("fetched", [1, 7, 100, 100_000])
@pytest.mark.parametrize("read", [1, 50, 100_000])
def test_each_link_is_found_however_the_bytes_come(fetched: int, read: int) -> None:
    wanted = [link(b"a" * 700), link(b"b" * 60_000, serial=9, streams=2), link(b"", serial=1)]
    assert links(b"".join(wanted), fetched=fetched, read=read) == wanted


def test_nothing_is_one_empty_link() -> None:
    assert links(b"") == [b""]


def test_a_stream_that_is_joined_in_its_middle_begins_a_link_at_the_next_beginning() -> None:
    middle = page(b"end of a song")
    assert links(middle + link(b"next")) == [middle, link(b"next")]


def test_what_is_left_out_of_a_link_does_not_come_with_the_next() -> None:
    raw = io.BytesIO(link(b"a" * 5_000) + link(b"b"))
    chain = ChainedOgg(raw.read)
    chain.read(10)
    assert chain.next_link()
    assert b"".join(iter(lambda: chain.read(4_096), b"")) == link(b"b")
    assert not chain.next_link()


def test_damage_is_passed_on_and_the_next_link_is_found() -> None:
    noise = np.random.default_rng(0).bytes(3_000).replace(b"OggS", b"____")
    first, second = link(b"a" * 900), link(b"b" * 900)
    assert links(first + noise + second) == [first + noise, second]


def test_a_stream_cut_off_inside_a_page_loses_no_byte() -> None:
    whole = link(b"a" * 900) + link(b"b" * 900)
    for length in range(0, len(whole), 13):
        assert b"".join(links(whole[:length])) == whole[:length]


@pytest.mark.parametrize("kept", [10, 30, 90])
@pytest.mark.parametrize("after", [b"", b"x" * 400])
def test_a_link_that_was_cut_off_in_a_page_does_not_swallow_the_next_one(kept: int, after: bytes) -> None:
    """As where a recording of a radio went on after the connection broke: the last page ends early."""
    first, second = link(b"one", serial=1) + page(b"a" * 100, serial=1)[:kept], link(b"two" + after, serial=2)
    assert links(first + second) == [first, second]


def test_a_whole_page_may_hold_what_looks_like_another_one() -> None:
    inner = page(b"x", serial=9, begins=True)
    content = page(inner, serial=1)
    whole = link(b"one", serial=1) + content[:22] + checksum(content).to_bytes(4, "little") + content[26:]
    assert links(whole) == [whole]


def checksum(data: bytes) -> int:
    register = 0
    for byte in data[:22] + bytes(4) + data[26:]:
        for bit in range(7, -1, -1):
            top = (register >> 31) ^ (byte >> bit & 1)
            register = (register << 1 & 0xFFFF_FFFF) ^ (0x04C11DB7 if top else 0)
    return register


MP3_128K = b"\xff\xfb\x90\x00" + bytes(413)
MP3_22K = b"\xff\xf3\x80\x00" + bytes(72_000 * 64 // 22_050 - 4)


def aac(length: int) -> bytes:
    return bytes([0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 31]) + bytes(length - 6)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (MP3_128K * 6, "mp3"),
        (MP3_22K * 6, "mp3"),
        (b"".join(aac(length) for length in (300, 411, 280, 999, 7 + 8, 500)), "aac"),
    ],
)
@pytest.mark.parametrize("skipped", [0, 1, 100, 250])
def test_frames_are_found_wherever_the_stream_is_joined(frames: bytes, expected: str, skipped: int) -> None:
    assert find_mpeg_frames(frames[skipped:]) == expected


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_frames(seed: int) -> None:
    assert find_mpeg_frames(np.random.default_rng(seed).bytes(50_000)) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff" * 10_000, MP3_128K * 3, bytes(10_000), aac(300) + MP3_128K * 3])
def test_too_little_is_nothing(data: bytes) -> None:
    assert find_mpeg_frames(data) is None


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
    assert "states 1,000,000,000 bytes and holds 32,000" in caplog.text


def test_audio_behind_the_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(heard(wav(tmp_path / "a.wav", claim=16_000))) == 8_000
    assert "16,000 more follow" in caplog.text


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
    with pytest.raises(SourceError, match=f"sample rate of {rate_hz} Hz, which no music has"):
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
    assert "51 samples are not finite" in caplog.text
