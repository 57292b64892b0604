"""Chained Ogg streams, taken apart without decoding them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from stream_mer.sources.containers import ChainedOgg


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
