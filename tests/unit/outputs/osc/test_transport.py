"""Bytes as other implementations of OSC expect them, and bytes that nobody expects."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder

from stream_mer.outputs.osc.transport import BadPacketError, decode, encode, with_length, with_slip


def test_a_message_is_what_the_specification_says():
    assert encode("/oscillator/4/frequency", 440.0) == (
        b"/oscillator/4/frequency\0" + b",f\0\0" + struct.pack(">f", 440.0)
    )
    assert encode("/a", 3) == b"/a\0\0,i\0\0\0\0\0\3"
    assert encode("/a", "né") == b"/a\0\0,s\0\0n\xc3\xa9\0"


TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(-1, 1, width=32), TEXTS))
def test_what_is_encoded_can_be_decoded(argument):
    packet = encode("/mer/main/x", argument)
    assert len(packet) % 4 == 0
    assert decode(packet) == [("/mer/main/x", (argument,))]


def test_bundles_are_understood():
    builder = OscBundleBuilder(IMMEDIATELY)
    for address in ("/a", "/b"):
        message = OscMessageBuilder(address)
        message.add_arg(1)
        builder.add_content(message.build())
    assert decode(builder.build().dgram) == [("/a", (1,)), ("/b", (1,))]


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda tail: b"#bundle\0" + tail)))
def test_any_bytes_are_messages_or_an_error(packet):
    with contextlib.suppress(BadPacketError):
        for address, arguments in decode(packet):
            assert isinstance(address, str)
            assert isinstance(arguments, tuple)


def test_bundles_in_bundles_without_end_are_an_error():
    packet = b""
    for _ in range(3000):
        packet = b"#bundle\0" + struct.pack(">qi", 1, len(packet)) + packet
    with pytest.raises(BadPacketError):
        decode(packet)


@given(st.binary(max_size=300))
def test_tcp_frames_can_be_taken_apart(packet):
    framed = with_length(packet)
    assert struct.unpack(">i", framed[:4]) == (len(packet),)
    assert framed[4:] == packet
    slipped = with_slip(packet)
    assert (slipped[:1], slipped[-1:]) == (b"\xc0", b"\xc0")
    assert b"\xc0" not in slipped[1:-1]
    assert slipped[1:-1].replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb") == packet
