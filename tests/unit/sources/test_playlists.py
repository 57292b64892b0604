"""What playlists name."""

from __future__ import annotations

import pytest

from stream_mer.sources.containers import Playlist, may_be_playlist, parse_playlist

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
