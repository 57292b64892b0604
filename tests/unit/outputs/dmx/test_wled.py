"""WLED's own protocol: one packet for the whole strip, received by a bare UDP socket."""

import socket
from dataclasses import replace

import pytest

from stream_mer.outputs.dmx.wled import LEDS, wled_output
from stream_mer.outputs.values import ShowValues

LIVE = ShowValues(valence=0.6, arousal=0.4, category="happy", alive=True)


@pytest.fixture
def strip():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(20)
        yield bound


@pytest.fixture
def output(strip):
    output = wled_output("127.0.0.1", strip.getsockname()[1], stream="main")
    output.open()
    yield output
    output.close()


def shown(strip) -> list[bytes]:
    """The colours of a packet, LED by LED."""
    packet = strip.recv(4096)
    assert (packet[0], packet[1]) == (2, 3), "DRGB, and back to its own effect after three seconds"
    assert len(packet) == 2 + 3 * LEDS <= 1472, "as much as WLED reads"
    return [packet[i : i + 3] for i in range(2, len(packet), 3)]


def test_colours_lie_along_the_strip(output, strip):
    assert (output.stream, output.wants_levels) == ("main", False)
    assert output.name == f"wled at 127.0.0.1:{strip.getsockname()[1]}"
    for i in range(90):
        sent = output.send(i / 30, LIVE)
    assert sent == 1
    strip.setblocking(False)
    leds = []
    while True:
        try:
            leds = shown(strip)
        except BlockingIOError:
            break
    assert 2 < len(set(leds)) <= 14
    assert all(max(led) > 100 for led in leds)
    assert all(leds[i : i + 35] == [leds[i]] * 35 for i in range(0, LEDS, 35))


def test_a_blackout_is_dark(output, strip):
    output.send(0.0, LIVE)
    for i in range(30):
        output.send(1 + i / 30, replace(LIVE, hold="blackout"))
    strip.setblocking(False)
    leds = [b"?"]
    while True:
        try:
            leds = shown(strip)
        except BlockingIOError:
            break
    assert set(leds) == {b"\0\0\0"}


def test_before_there_is_music_the_strip_is_left_alone_and_at_the_end_it_is_given_back(output, strip):
    assert output.send(0.0, ShowValues()) == 0
    output.send(0.1, LIVE)
    shown(strip)
    output.farewell()
    packet = strip.recv(4096)
    while len(packet) > 2:
        packet = strip.recv(4096)
    assert packet == b"\2\0", "no time-out: back to its own effect at once"


def test_closing_twice_is_closing_once_and_it_can_be_opened_again(output, strip):
    bound = output._link._socket
    output.close()
    output.close()
    assert bound.fileno() == -1, "the socket is closed"
    output.open()
    assert output.send(0.0, LIVE) == 1
    assert len(shown(strip)) == LEDS
