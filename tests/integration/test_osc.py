"""OSC out and in, as a show uses them: the real ``stream-mer serve`` on the demo song, real receivers, a real sender.

Loads the shipped model and lets it listen for some seconds: some 20 s altogether.
"""

import contextlib
import json
import threading
import time
from collections import defaultdict

import numpy as np
import pytest
import websockets.sync.client
from helpers import PATIENCE_S, wait_for
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.osc_tcp_server import ThreadingOSCTCPServer
from pythonosc.udp_client import SimpleUDPClient

from stream_mer.config import EngineSettings
from stream_mer.emotion.checkpoint import find_model

SEEN = 0.0025
"""How far a value may be off that is not worth a message of its own, before the next refresh."""


class Receiver:
    """python-osc's own server, which keeps everything by address, in the order in which it came."""

    def __init__(self, kind, **options):
        self.values = defaultdict(list)
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(lambda address, value: self.values[address].append(value))
        self.server = kind(("127.0.0.1", 0), dispatcher, **options)
        self.server.daemon_threads, self.server.block_on_close = True, False  # connections end with their other end
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def newest(self, address):
        return self.values[address][-1] if self.values[address] else None

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(PATIENCE_S)


@contextlib.contextmanager
def receiver(kind, **options):
    receiver = Receiver(kind, **options)
    try:
        yield receiver
    finally:
        receiver.stop()


class Screen:
    """A websocket client that reads emotions."""

    def __init__(self, socket):
        self.socket = socket

    def emotion(self, fits=bool):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = json.loads(self.socket.recv(PATIENCE_S))
            if message["type"] == "emotion" and fits(message):
                return message
        raise AssertionError("no such emotion came")


@pytest.fixture(scope="module")
def show(started):
    with (
        receiver(BlockingOSCUDPServer) as visuals,
        receiver(ThreadingOSCTCPServer, mode="1.0") as desk,
        contextlib.ExitStack() as stack,
    ):
        served = started(
            *("-m", "stream_mer", "serve", "--port", 0, "--no-lyrics"),
            *("--osc", f"127.0.0.1:{visuals.port}"),
            *("--osc", f"demo=eos@127.0.0.1:{desk.port}"),
            *("--osc-in", "0"),
        )
        socket = stack.enter_context(websockets.sync.client.connect(served.word_after("websocket"), ping_interval=None))
        socket.send('{"type":"identify","subscribe":[{"events":["emotion"]}]}')
        tablet = SimpleUDPClient("127.0.0.1", int(served.word_after("OSC in").rpartition(":")[2]))
        stack.callback(tablet._sock.close)
        yield served, Screen(socket), visuals, desk, tablet


def test_it_says_where_it_sends_and_listens(show):
    served, _, visuals, desk, _ = show
    assert served.word_after("sent to    osc generic") == f"udp://127.0.0.1:{visuals.port}"
    assert served.word_after("sent to    osc eos") == f"tcp://127.0.0.1:{desk.port}"


CALIBRATION = json.loads((find_model(EngineSettings().model) / "config.json").read_text())["calibration"]


def mapped(frame, name):
    """Valence or arousal of a frame over the raters' range, by the maps of the shipped model."""
    knots = CALIBRATION[f"{name}_spread"]
    assert len(knots) > 2, "the model has a map"
    return float(np.interp(frame[name], *zip(*knots, strict=True)))


def came(visuals, frame):
    """Whether each value of a frame was received, at any time."""
    values = {
        "valence": mapped(frame, "valence"),
        "arousal": mapped(frame, "arousal"),
        "confidence": frame["confidence"],
    }
    return all(
        any(abs(each - told) < SEEN for each in list(visuals.values[f"/mer/demo/{name}"]))
        for name, told in (values | frame["category"]["probs"] | frame["clusters"]).items()
    )


def test_values_are_those_of_the_websocket_over_the_raters_range(show):
    _, screen, visuals, desk, _ = show
    frames = []

    def five_came():
        frames.append(screen.emotion())  # on a busy machine OSC may leave one out, as it should
        return sum(came(visuals, frame) for frame in frames) >= 5

    wait_for(five_came, "the values of five frames")
    assert visuals.newest("/mer/demo/alive") == 1.0
    assert 0 < max(visuals.values["/mer/demo/rms"]) <= 1, "levels are measured because somebody wants them"
    assert max(visuals.values["/mer/demo/onset"]) > 0.3
    assert set(desk.values) == {f"/eos/sub/{number}" for number in range(101, 107)}
    assert all(0 <= value <= 1 for values in desk.values.values() for value in values)


def test_osc_in_freezes_what_everybody_sees(show):
    _, screen, visuals, desk, tablet = show
    tablet.send_message("/mer/control/freeze", 1.0)
    frozen = screen.emotion(lambda message: message["hold"] == "freeze")
    later = screen.emotion(lambda message: message["index"] > frozen["index"])
    assert (later["valence"], later["arousal"]) == (frozen["valence"], frozen["arousal"])
    wait_for(lambda: visuals.newest("/mer/demo/hold_name") == "freeze", "the hold")
    assert visuals.newest("/mer/demo/hold") == 1
    for name in ("valence", "arousal"):
        address = f"/mer/demo/{name}"
        wait_for(lambda name=name, address=address: abs(visuals.newest(address) - mapped(frozen, name)) < 2e-3, name)
    wait_for(lambda: abs(desk.newest("/eos/sub/105") - (mapped(frozen, "valence") + 1) / 2) < 2e-3, "the desk")


def test_a_blackout_reaches_the_desk_and_an_override_ends_by_itself(show):
    _, screen, visuals, desk, tablet = show
    tablet.send_message("/mer/demo/control/blackout", [])
    screen.emotion(lambda message: message["hold"] == "blackout")
    wait_for(lambda: visuals.newest("/mer/demo/blackout") == 1.0, "the flag")
    wait_for(lambda: all(desk.newest(address) == 0.0 for address in list(desk.values)), "a dark desk")
    known = {address: len(values) for address, values in visuals.values.items()}

    def since(address):
        return visuals.values[address][known.get(address, 0) :]

    tablet.send_message("/mer/control/override", [-0.5, 0.5, 5.0])
    held = screen.emotion(lambda message: message["hold"] == "override")
    assert (held["valence"], held["arousal"], held["category"]["top"]) == (-0.5, 0.5, "angry")
    wait_for(lambda: "override" in since("/mer/demo/hold_name"), "the override")
    wait_for(
        lambda: any(abs(value + 0.5) < 1e-4 for value in since("/mer/demo/valence")),
        "the override's own value, unmapped",
    )
    screen.emotion(lambda message: message["hold"] is None)
    wait_for(lambda: visuals.newest("/mer/demo/hold_name") == "none", "the end of the override")


def test_at_the_end_it_says_goodbye(show):
    served, _, visuals, _, tablet = show
    tablet.send_message("/mer/control/frz", 1)
    code, complaints = served.end()
    assert code == 0
    wait_for(lambda: visuals.newest("/mer/demo/alive") == 0.0, "the farewell")
    assert "Traceback" not in complaints
