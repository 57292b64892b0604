"""Titles between the audio of a station, and in the tags of files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.sources.file import FileSource
from stream_mer.sources.titles import MAX_TITLE_CHARACTERS, IcySplitter, title_of_tags
from stream_mer.types import TrackTitle


def block(text: bytes) -> bytes:
    """A block as a station sends it: its length in 16 bytes, and the text filled up with zeros."""
    units = -(-len(text) // 16)
    return bytes([units]) + text.ljust(16 * units, b"\0")


def said(text: bytes) -> TrackTitle | None:
    splitter = IcySplitter(4)
    assert splitter.feed(b"abcd" + block(text) + b"ef") == b"abcdef"
    return splitter.title_at(None)


@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=8), interval=st.integers(1, 7))
def test_audio_and_titles_are_told_apart_however_the_bytes_are_cut(cuts: list[int], interval: int) -> None:
    audio = bytes(range(5 * interval + 1))
    titles = [b"StreamTitle='one';", b"", b"StreamTitle='two';StreamUrl='';", b"StreamTitle='two';", b"StreamTitle='';"]
    sent = b"".join(audio[i * interval : (i + 1) * interval] + (block(titles[i]) if i < 5 else b"") for i in range(6))
    splitter, heard, at, turn = IcySplitter(interval), b"", 0, 0
    while at < len(sent):
        size = cuts[turn % len(cuts)]
        heard += splitter.feed(sent[at : at + size])
        at, turn = at + size, turn + 1
    assert heard == audio
    found = [splitter.title_at(position) for position in range(5 * interval + 1)]
    one, two, none = TrackTitle(title="one"), TrackTitle(title="two"), TrackTitle()
    assert found == [None] * interval + [one] * 2 * interval + [two] * 2 * interval + [none]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (b"StreamTitle='Bj\xf6rk - J\xf3ga';", "Björk - Jóga"),
        ("StreamTitle='Björk - Jóga';".encode(), "Björk - Jóga"),
        (b"StreamTitle='Don't stop; it's me';StreamUrl='http://a';", "Don't stop; it's me"),
        (b"StreamTitle='no end'", "no end"),
        (b"StreamTitle='a\x1b[31m\r\nb\x00';", "a [31m b"),
        ("StreamTitle='\u202eevil\u2066';".encode(), "evil"),
        (b"StreamTitle='" + b"x" * 900 + b"';", "x" * (MAX_TITLE_CHARACTERS - 1) + "…"),
    ],
)
def test_a_title_is_one_safe_line_in_the_encoding_that_was_meant(text: bytes, title: str) -> None:
    assert said(text) == TrackTitle(title=title)


def test_a_block_without_a_title_says_nothing() -> None:
    assert said(b"StreamUrl='http://a';") is None


def test_tags_in_any_case_and_encoding_are_read() -> None:
    latin = b"J\xf3ga".decode("utf-8", "surrogateescape")
    assert title_of_tags({"TITLE": latin, "artist": "Björk"}) == TrackTitle(title="Jóga", artist="Björk")
    assert title_of_tags({"comment": "x"}) == TrackTitle()


def test_a_file_says_its_title_with_its_first_audio(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.zeros(16_000, np.int16).tobytes())
    tags = b"INFO"
    for name, text in ((b"INAM", b"J\xf3ga"), (b"IART", b"Bj\xf6k")):
        tags += name + len(text).to_bytes(4, "little") + text
    data = path.read_bytes() + b"LIST" + len(tags).to_bytes(4, "little") + tags
    path.write_bytes(b"RIFF" + (len(data) - 8).to_bytes(4, "little") + data[8:])
    chunks = list(FileSource(path).chunks())
    assert {chunk.title for chunk in chunks} == {TrackTitle(title="Jóga", artist="Bjök")}
