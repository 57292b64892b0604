"""What goes over the network to Art-Net, WLED and LedFx, received on this machine."""

import contextlib
import json
import re
import socket
import struct
import threading
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from helpers import FakeClock, free_port, wait_for
from stupidArtnet import StupidArtnetServer

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.links import LEDFX_EVERY_S, LEDS, ArtnetLink, LedFxLink, art_dmx
from stream_mer.outputs.dmx.output import ledfx_output, wled_output
from stream_mer.outputs.dmx.rig import ArtnetSettings
from stream_mer.outputs.values import ShowValues

ONE = bytes([255, 128, 7]) + bytes(509)
LIVE = ShowValues(valence=0.6, arousal=0.4, category="happy", alive=True)


@pytest.fixture
def output(receiver):
    output = wled_output("127.0.0.1", receiver.getsockname()[1], stream="main")
    output.open()
    yield output
    output.close()


def shown(receiver: socket.socket) -> list[bytes]:
    """The colours of a packet, LED by LED."""
    packet = receiver.recv(4096)
    assert (packet[0], packet[1]) == (2, 3), "DRGB, and back to its own effect after three seconds"
    assert len(packet) == 2 + 3 * LEDS <= 1472, "as much as WLED reads"
    return [packet[i : i + 3] for i in range(2, len(packet), 3)]


def newest(receiver: socket.socket) -> list[bytes]:
    """The colours of the newest packet."""
    leds: list[bytes] = []
    receiver.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            leds = shown(receiver)
    return leds


def test_colours_lie_along_the_strip(output, receiver):
    assert (output.stream, output.wants_levels) == ("main", False)
    assert output.name == f"wled at 127.0.0.1:{receiver.getsockname()[1]}"
    for i in range(90):
        sent = output.send(i / 30, LIVE)
    assert sent == 1
    leds = newest(receiver)
    assert 2 < len(set(leds)) <= 14
    assert all(max(led) > 100 for led in leds)
    assert all(leds[i : i + 35] == [leds[i]] * 35 for i in range(0, LEDS, 35))


def test_a_blackout_is_dark(output, receiver):
    output.send(0.0, LIVE)
    for i in range(30):
        output.send(1 + i / 30, replace(LIVE, hold="blackout"))
    leds = newest(receiver)
    assert set(leds) == {b"\0\0\0"}


def test_before_there_is_music_the_strip_is_left_alone_and_at_the_end_it_is_given_back(output, receiver):
    assert output.send(0.0, ShowValues()) == 0
    output.send(0.1, LIVE)
    shown(receiver)
    output.finish()
    packet = receiver.recv(4096)
    while len(packet) > 2:
        packet = receiver.recv(4096)
    assert packet == b"\2\0", "no time-out: back to its own effect at once"


def test_closing_twice_is_closing_once_and_it_can_be_opened_again(output, receiver):
    bound = output._link._socket
    output.close()
    output.close()
    assert bound.fileno() == -1, "the socket is closed"
    output.open()
    assert output.send(0.0, LIVE) == 1
    assert len(shown(receiver)) == LEDS


EXCITED = ShowValues(valence=0.6, arousal=1.0, category="happy", alive=True)
GRADIENT = r"linear-gradient\(90deg, rgb\(\d+, \d+, \d+\) 0%, rgb\(\d+, \d+, \d+\) 50%, rgb\(\d+, \d+, \d+\) 100%\)"


class LedFx(HTTPServer):
    """Keeps its requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received = []
        self.answer = {"status": "success", "payload": {"type": "success", "reason": "Applied"}}
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer({"name": "LedFx Controller", "version": "2.2.1"} if self.path == "/api/info" else {})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        self.server.received.append((self.path, body))
        self._answer(self.server.answer)

    def _answer(self, body):
        said = json.dumps(body).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def ledfx():
    with LedFx() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(20)


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def gradient(ledfx, clock):
    gradient = ledfx_output("127.0.0.1", ledfx.server_port, stream="main")
    gradient._link = LedFxLink("127.0.0.1", ledfx.server_port, clock=clock)
    gradient.open()
    return gradient


def show(gradient, clock, values, seconds):
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        gradient.send(clock.now, values)


def test_the_category_is_the_gradient_and_arousal_the_brightness(ledfx, gradient, clock):
    show(gradient, clock, EXCITED, 10)
    path, excited = ledfx.received[-1]
    assert (path, excited["action"], excited["brightness"]) == ("/api/effects", "apply_global", 1.0)
    assert re.fullmatch(GRADIENT, excited["gradient"])
    show(gradient, clock, replace(EXCITED, category="sad", arousal=-1.0), 10)
    _, calm = ledfx.received[-1]
    assert calm["gradient"] != excited["gradient"]
    assert 0 < calm["brightness"] < 0.3
    assert len(ledfx.received) <= 20 / LEDFX_EVERY_S, "it writes to disk each time"
    count = len(ledfx.received)
    show(gradient, clock, replace(EXCITED, category="sad", arousal=-1.0), 30)
    assert len(ledfx.received) == count, "what it knows is not sent again"


def test_a_blackout_does_not_wait(ledfx, gradient, clock):
    show(gradient, clock, EXCITED, 4.1)
    show(gradient, clock, replace(EXCITED, hold="blackout"), 0.8)
    assert ledfx.received[-1][1]["brightness"] == 0.0


def test_after_a_break_everything_is_sent_again(ledfx, clock):
    link = LedFxLink("127.0.0.1", ledfx.server_port, clock=clock)
    channels = bytes([255, 1, 2, 3] * 3)
    link.open()
    assert [link.send(1, channels), link.send(1, channels)] == [1, 0]
    link.open()
    assert link.send(1, channels) == 1


def test_what_ledfx_refuses_is_reported_with_its_reason(ledfx, clock):
    link = LedFxLink("127.0.0.1", ledfx.server_port, clock=clock)
    ledfx.answer = {"status": "failed", "payload": {"type": "error", "reason": 'Invalid action "apply_global"'}}
    with pytest.raises(OSError, match=r"LedFx refuses PUT /api/effects.*Invalid action"):
        link.send(1, bytes(12))
    ledfx.status = 500
    with pytest.raises(OSError, match="LedFx answers 500 to GET /api/info"):
        link.open()


def test_another_server_than_ledfx_is_an_error():
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]

        def answer():
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"I am no web server\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="is not LedFx"):
            LedFxLink("127.0.0.1", port).open()
        thread.join(20)
    with pytest.raises(ConnectionRefusedError):
        LedFxLink("127.0.0.1", port).open()


def test_an_art_dmx_packet_is_as_the_specification_has_it():
    packet = art_dmx(0x1234, 200, bytes(range(10)))
    assert packet[:8] == b"Art-Net\0"
    assert struct.unpack("<H", packet[8:10]) == (0x5000,), "OpDmx, low byte first"
    assert struct.unpack(">H", packet[10:12]) == (14,), "protocol version, high byte first"
    assert packet[12:14] == bytes([200, 0]), "sequence, physical port"
    assert packet[14] == 0x34, "sub-net and universe"
    assert packet[15] == 0x12, "net"
    assert struct.unpack(">H", packet[16:18]) == (10,), "length, high byte first"
    assert packet[18:] == bytes(range(10))


def test_art_net_counts_from_1_to_255_and_numbers_universes_from_the_first_one(receiver):
    place = ArtnetSettings(to="127.0.0.1", first_universe=256, port=receiver.getsockname()[1])
    link = ArtnetLink(place, universes=(1, 2))
    link.open()
    packets = []
    for universe in [2] * 256 + [1]:
        assert link.send(universe, ONE) == 1
        packets += [receiver.recv(2048)]
    link.terminate()
    assert [packet[12] for packet in packets] == [*range(1, 256), 1, 1]
    assert packets[0][14:16] == bytes([1, 1]), "257"
    assert packets[-1][14:16] == bytes([0, 1]), "256"
    link.close()


@pytest.mark.parametrize("sync", [False, True])
def test_art_net_synchronises_where_the_rig_asks_for_it(receiver, sync):
    link = ArtnetLink(ArtnetSettings(to="127.0.0.1", port=receiver.getsockname()[1], sync=sync), universes=(1, 2))
    link.open()
    link.send(1, ONE)
    assert link.synchronise() == sync
    link.send(2, ONE)
    link.close()
    packets = [receiver.recv(2048) for _ in range(2 + sync)]
    opcodes = [struct.unpack("<H", packet[8:10])[0] for packet in packets]
    assert opcodes == ([0x5000, 0x5200, 0x5000] if sync else [0x5000, 0x5000])
    if sync:
        assert packets[1] == b"Art-Net\0\x00\x52\x00\x0e\x00\x00", "ArtSync, version 14, two spare bytes"


def test_a_real_art_net_receiver_takes_it(monkeypatch):
    threads = []

    def start(run, arguments):  # as _thread does it, but so that its end can be waited for
        threads.append(threading.Thread(target=run, args=arguments, daemon=True))
        threads[0].start()

    monkeypatch.setattr("_thread.start_new_thread", start)
    port = free_port(socket.SOCK_DGRAM)
    server = StupidArtnetServer(port=port)
    monkeypatch.undo()
    got = threading.Event()
    server.register_listener(universe=3, callback_function=lambda data: bytes(data) == ONE and got.set())
    link = ArtnetLink(ArtnetSettings(to="127.0.0.1", first_universe=3, port=port), universes=(1,))
    link.open()
    try:
        wait_for(lambda: link.send(1, ONE) and got.is_set())
    finally:
        server.listen = False  # which it looks at after the next packet
        while threads[0].is_alive():
            link.send(1, ONE)
            threads[0].join(0.05)
        link.close()
        server.socket_server.close()


def test_art_net_wants_to_know_where_to():
    with pytest.raises(SettingError, match="RIG@HOST"):
        ArtnetLink(ArtnetSettings(), universes=(1,))
    with pytest.raises(SettingError, match="32767"):
        ArtnetLink(ArtnetSettings(to="127.0.0.1"), universes=(40_000,))
