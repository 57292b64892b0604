"""LedFx's HTTP interface, as LedFx 2.2.1 was seen to answer, spoken by a real HTTP server."""

import json
import re
import socket
import threading
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stream_mer.outputs.dmx.ledfx import EVERY_S, LedFxLink, ledfx_output
from stream_mer.outputs.values import ShowValues

LIVE = ShowValues(valence=0.6, arousal=1.0, category="happy", alive=True)
GRADIENT = r"linear-gradient\(90deg, rgb\(\d+, \d+, \d+\) 0%, rgb\(\d+, \d+, \d+\) 50%, rgb\(\d+, \d+, \d+\) 100%\)"


class LedFx(HTTPServer):
    """Remembers what it was told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.told = []
        self.answer = {"status": "success", "payload": {"type": "success", "reason": "Applied"}}
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer({"name": "LedFx Controller", "version": "2.2.1"} if self.path == "/api/info" else {})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/json"
        self.server.told.append((self.path, body))
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


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def output(ledfx, clock):
    output = ledfx_output("127.0.0.1", ledfx.server_port, stream="main")
    output._link = LedFxLink("127.0.0.1", ledfx.server_port, clock=clock)
    output.open()
    return output


def show(output, clock, values, seconds):
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        output.send(clock.now, values)


def test_the_category_is_the_gradient_and_arousal_the_brightness(ledfx, output, clock):
    show(output, clock, LIVE, 10)
    path, excited = ledfx.told[-1]
    assert (path, excited["action"], excited["brightness"]) == ("/api/effects", "apply_global", 1.0)
    assert re.fullmatch(GRADIENT, excited["gradient"])
    show(output, clock, replace(LIVE, category="sad", arousal=-1.0), 10)
    _, calm = ledfx.told[-1]
    assert calm["gradient"] != excited["gradient"]
    assert 0 < calm["brightness"] < 0.3
    assert len(ledfx.told) <= 20 / EVERY_S, "it writes to disk each time"
    count = len(ledfx.told)
    show(output, clock, replace(LIVE, category="sad", arousal=-1.0), 30)
    assert len(ledfx.told) == count, "what it knows is not told again"


def test_a_blackout_does_not_wait(ledfx, output, clock):
    show(output, clock, LIVE, 4.1)
    show(output, clock, replace(LIVE, hold="blackout"), 0.8)
    assert ledfx.told[-1][1]["brightness"] == 0.0


def test_after_a_break_it_is_told_again(ledfx, clock):
    link = LedFxLink("127.0.0.1", ledfx.server_port, clock=clock)
    channels = bytes([255, 1, 2, 3] * 3)
    link.open()
    assert [link.send(1, channels), link.send(1, channels)] == [1, 0]
    link.open()
    assert link.send(1, channels) == 1


def test_what_ledfx_refuses_is_told_with_its_reason(ledfx, clock):
    link = LedFxLink("127.0.0.1", ledfx.server_port, clock=clock)
    ledfx.answer = {"status": "failed", "payload": {"type": "error", "reason": 'Invalid action "apply_global"'}}
    with pytest.raises(OSError, match=r"LedFx refuses PUT /api/effects.*Invalid action"):
        link.send(1, bytes(12))
    ledfx.status = 500
    with pytest.raises(OSError, match="LedFx answers 500 to GET /api/info"):
        link.open()


def test_what_is_no_ledfx_is_told():
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
