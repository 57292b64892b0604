"""Real receivers get what is sent: python-osc's own servers, over UDP and TCP, and ones that misbehave."""

import contextlib
import socket
import threading
from contextlib import closing, contextmanager
from functools import partial

import pytest
from helpers import wait_for
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.osc_tcp_server import ThreadingOSCTCPServer

from stream_mer.outputs import runner
from stream_mer.outputs.osc.mapping import OscField, OscMapping
from stream_mer.outputs.osc.output import OscOutput
from stream_mer.outputs.osc.targets import OscTarget
from stream_mer.outputs.osc.transport import encode, open_link
from stream_mer.outputs.runner import Backoff, ShowRunner
from stream_mer.outputs.values import ShowValues
from stream_mer.server.hub import Hub
from tools.examples import FRAME

PATIENCE_S = 20.0
VALUES = ShowValues(valence=0.25, arousal=-0.5, alive=True, line="la la")
MAPPING = OscMapping(fields=tuple(OscField(name=name) for name in ("valence", "arousal", "line", "alive")))
EXPECTED = {
    "/mer/main/valence": (0.25,),
    "/mer/main/arousal": (-0.5,),
    "/mer/main/line": ("la la",),
    "/mer/main/alive": (1.0,),
}


class TcpServer(ThreadingOSCTCPServer):
    """python-osc's own, which knows who is connected: it would wait for them for ever when it is to end."""

    allow_reuse_address = True

    def __init__(self, *args, **options):
        self.connections = []
        super().__init__(*args, **options)

    def process_request(self, request, client_address):
        self.connections.append(request)
        super().process_request(request, client_address)


class Received:
    """A real OSC server that remembers the newest of every address."""

    def __init__(self, transport, port=0):
        self.newest = {}
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(lambda address, *arguments: self.newest.__setitem__(address, arguments))
        if transport == "udp":
            self.server = BlockingOSCUDPServer(("127.0.0.1", port), dispatcher)
        else:
            mode = "1.0" if transport == "tcp" else "1.1"
            self.server = TcpServer(("127.0.0.1", port), dispatcher, mode=mode)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        for connection in getattr(self.server, "connections", ()):
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        self.server.server_close()
        self.thread.join(PATIENCE_S)


@contextmanager
def receiving(transport):
    received = Received(transport)
    try:
        yield received
    finally:
        received.stop()


def output_to(port, transport="udp", **options) -> OscOutput:
    target = OscTarget(name="desk", port=port, transport=transport, mapping=MAPPING, **options)
    return OscOutput(target, stream="main")


@pytest.mark.parametrize("transport", ["udp", "tcp", "slip"])
def test_a_real_server_gets_every_value_and_the_finish(transport):
    with receiving(transport) as received:
        output = output_to(received.port, transport)
        output.open()
        assert output.send(0.0, VALUES) == len(EXPECTED)
        wait_for(lambda: received.newest == EXPECTED, "all values")
        assert output.send(0.01, VALUES) == 0, "nothing changed"
        output.finish()
        wait_for(lambda: received.newest["/mer/main/alive"] == (0.0,), "the finish")
        assert received.newest | EXPECTED == EXPECTED, "nothing else changes"
        output.close()
        output.close()


def test_it_says_what_it_is():
    output = output_to(7000, rate_hz=25.0)
    assert output.name == "osc desk at udp://127.0.0.1:7000"
    assert (output.stream, output.rate_hz, output.wants_levels) == ("main", 25.0, False)
    levels = OscMapping(fields=(OscField(name="onset"),))
    assert OscOutput(OscTarget(name="x", port=1, mapping=levels), stream="main").wants_levels


def test_localhost_is_where_receivers_listen():
    with receiving("udp") as received, closing(open_link("udp", "localhost", received.port)) as link:
        link.send(encode("/a", 1))
        wait_for(lambda: received.newest == {"/a": (1,)})


def test_with_udp_nobody_at_the_other_end_is_no_error():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    output = output_to(port)
    output.open()
    for i in range(20):
        assert output.send(2.0 * i, VALUES) == len(EXPECTED)
    output.close()


def test_a_desk_that_is_not_there_is_told():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        output = output_to(taken.getsockname()[1], "tcp")
        with pytest.raises(ConnectionRefusedError):
            output.open()
        output.close()


def send_until_it_fails(output):
    for i in range(1_000_000):
        output.send(1000.0 + 2.0 * i, VALUES)


def test_what_a_desk_says_is_read_and_its_end_is_noticed():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        output = output_to(server.getsockname()[1], "tcp")
        output.open()
        desk, _ = server.accept()
        with closing(desk):
            desk.settimeout(PATIENCE_S)
            for i in range(30):
                desk.sendall(b"chatter" * 20_000)  # more than fits into the buffers of both ends
                output.send(2.0 * i, VALUES)
        with pytest.raises(ConnectionError):
            send_until_it_fails(output)
        output.close()


def test_a_desk_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("stream_mer.outputs.osc.transport.STUCK_S", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        output = output_to(server.getsockname()[1], "tcp")
        output.open()
        desk, _ = server.accept()
        with closing(desk), pytest.raises(TimeoutError):
            send_until_it_fails(output)
        output.close()


def test_a_desk_that_restarts_gets_everything_again(monkeypatch):
    monkeypatch.setattr(runner, "Backoff", partial(Backoff, first_s=0.05, longest_s=0.05))
    hub = Hub()
    sink = hub.sink("main")
    first = Received("tcp")
    show = ShowRunner([output_to(first.port, "tcp")])
    show.start(hub)
    try:
        sink.publish(FRAME)
        wait_for(lambda: first.newest.get("/mer/main/alive") == (1.0,), "the first desk")
        first.stop()
        wait_for(lambda: show.statistics()[0].errors, "the loss")
        second = Received("tcp", port=first.port)
        try:
            wait_for(lambda: second.newest.keys() == EXPECTED.keys(), "the second desk")
            wait_for(lambda: show.statistics()[0].up)
        finally:
            second.stop()
    finally:
        show.stop()
