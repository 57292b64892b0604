"""Chained Ogg streams, taken apart without decoding them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from stream_mer.sources.ogg import ChainedOgg


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


def test_one_link_is_one() -> None:
    assert links(link(b"abc", streams=3)) == [link(b"abc", streams=3)]


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
