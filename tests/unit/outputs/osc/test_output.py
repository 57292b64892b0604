"""What is sent when, and real receivers get it: python-osc's own servers, over UDP and TCP, and ones that misbehave."""

import contextlib
import itertools
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby, pairwise
from operator import itemgetter

import pytest
from helpers import PATIENCE_S, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.osc_tcp_server import ThreadingOSCTCPServer

from stream_mer.outputs.osc.composer import STEP_S, TRIGGER_REST_S, OscComposer, Sweep
from stream_mer.outputs.osc.mapping import FIELDS, PERCENT, SLEW_PER_S, OscField, OscMapping
from stream_mer.outputs.osc.output import OscOutput
from stream_mer.outputs.osc.targets import PRESETS, OscTarget
from stream_mer.outputs.osc.transport import encode, open_link
from stream_mer.outputs.values import ShowValues
from stream_mer.types import CATEGORIES

RATE_HZ = 20
LIVE = ShowValues(
    valence=0.5,
    arousal=-0.5,
    confidence=0.7,
    probs=dict(zip(CATEGORIES, (0.7, 0.1, 0.1, 0.1), strict=True)),
    category="happy",
    line="and the morning comes again",
    rms_db=-30.0,
    peak_db=-6.0,
    onset=0.4,
    alive=True,
    changes=3,
)
ALL = OscMapping(fields=tuple(OscField(name=name) for name in FIELDS))


def mapping(*names, **options) -> OscMapping:
    return OscMapping(fields=tuple(OscField(name=name, address=f"/{name}") for name in names), **options)


class Desk:
    """Remembers the newest of every address, as a receiver does."""

    def __init__(self, what: OscMapping) -> None:
        self.composer = OscComposer(what, stream="main")
        self.t = 0.0
        self.newest = {}

    def show(self, values: ShowValues, seconds: float = 1 / RATE_HZ) -> list[dict]:
        """Feed the same values for a while; return what came, call by call."""
        came = []
        for _ in range(max(1, round(seconds * RATE_HZ))):
            messages = {message.address: message.argument for message in self.composer.update(self.t, values)}
            self.newest |= messages
            came.append(messages)
            self.t += 1 / RATE_HZ
        return came


def test_values_arrive_as_they_are():
    desk = Desk(ALL)
    desk.show(LIVE, 2.0)
    newest = {address.rpartition("/")[2]: value for address, value in desk.newest.items()}
    assert newest["valence"] == pytest.approx(0.5)
    assert newest["arousal"] == pytest.approx(-0.5)
    assert newest["happy"] == pytest.approx(0.7)
    assert (newest["rms"], newest["peak"], newest["onset"]) == pytest.approx((0.5, 0.9, 0.4))
    assert (newest["category"], newest["category_name"], newest["line"]) == (1, "happy", LIVE.line)
    assert (newest["hold"], newest["hold_name"], newest["blackout"], newest["alive"]) == (0, "none", 0.0, 1.0)
    assert "change" not in newest, "nothing changed since the receiver is there"


def test_what_stays_as_it_is_comes_once_a_second_and_what_changes_at_once():
    desk = Desk(mapping("valence", "category", "line"))
    desk.show(LIVE, 5.0)
    quiet = desk.show(LIVE, 3.0)
    assert [len(messages) for messages in quiet if messages] == [3, 3, 3]
    assert desk.show(replace(LIVE, line="new"))[0] == {"/line": "new"}
    assert desk.newest["/line"] == "new"


def test_changes_too_small_to_see_wait_for_the_refresh():
    desk = Desk(mapping("confidence", step=0.01))
    desk.show(LIVE, 5.0)
    while not desk.show(LIVE)[0]:
        pass  # until everything was just sent
    came = desk.show(replace(LIVE, confidence=0.709), 0.8)
    assert came == [{}] * len(came)
    desk.show(replace(LIVE, confidence=0.709), 0.4)
    assert desk.newest["/confidence"] == pytest.approx(0.709)


def test_after_a_break_everything_is_sent_again():
    desk = Desk(mapping("valence", "alive"))
    desk.show(LIVE, 3.3)
    assert desk.show(LIVE) == [{}]
    desk.composer.reset()
    assert desk.show(LIVE)[0].keys() == {"/valence", "/alive"}


def test_numbers_glide_and_levels_jump():
    desk = Desk(mapping("valence", "onset"))
    desk.show(replace(LIVE, valence=-1.0, onset=0.0), 2.0)
    first = desk.show(replace(LIVE, valence=1.0, onset=1.0))[0]
    assert first["/onset"] == 1.0
    assert first["/valence"] == pytest.approx(-1.0 + 2 * SLEW_PER_S / RATE_HZ)
    desk.show(replace(LIVE, valence=1.0), 1.0)
    assert desk.newest["/valence"] == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40), st.floats(0.1, 5))
def test_whatever_comes_numbers_stay_in_range_and_move_no_faster_than_they_may(wished, slew_per_s):
    what = OscMapping(fields=(OscField(name="valence", address="/v", scale=PERCENT, slew_per_s=slew_per_s),), step=0.0)
    composer = OscComposer(what, stream="main")
    sent = []
    for i, valence in enumerate(wished):
        sent += [(i / RATE_HZ, m.argument) for m in composer.update(i / RATE_HZ, replace(LIVE, valence=valence))]
    assert all(0 <= number <= 100 for _, number in sent)
    for (t0, before), (t1, after) in itertools.pairwise(sent):
        assert abs(after - before) <= 100 * slew_per_s * (t1 - t0) + 1e-6


def test_before_the_first_frame_everything_is_neutral():
    desk = Desk(ALL)
    desk.show(ShowValues(), 2.0)
    newest = {address.rpartition("/")[2]: value for address, value in desk.newest.items()}
    assert (newest["valence"], newest["arousal"], newest["alive"], newest["category_name"]) == (
        0.0,
        0.0,
        0.0,
        "unknown",
    )
    assert newest["happy"] == newest["sad"] == pytest.approx(0.25)


def test_on_loss_values_hold_then_fade_to_neutral_and_come_back_slowly():
    desk = Desk(mapping("valence", "happy", "category", "alive", hold_s=3.0, fade_s=2.0))
    desk.show(LIVE, 2.0)
    lost = replace(LIVE, alive=False)
    desk.show(lost, 2.9)
    assert (desk.newest["/valence"], desk.newest["/alive"], desk.newest["/category"]) == (pytest.approx(0.5), 0.0, 1)
    faded = [each["/valence"] for each in desk.show(lost, 2.4) if "/valence" in each]
    assert faded == sorted(faded, reverse=True)
    assert faded[-1] == pytest.approx(0.0, abs=1e-6)
    assert (desk.newest["/happy"], desk.newest["/category"]) == (pytest.approx(0.25), 0)
    assert desk.show(LIVE)[0]["/valence"] < 0.1, "no jump back"
    desk.show(LIVE, 2.0)
    assert (desk.newest["/valence"], desk.newest["/category"]) == (pytest.approx(0.5), 1)


def test_what_an_operator_holds_stays_whatever_happens_to_the_audio():
    desk = Desk(mapping("valence", "hold", "hold_name", "alive", hold_s=1.0, fade_s=1.0))
    held = replace(LIVE, valence=-0.8, hold="override", alive=False)
    desk.show(held, 8.0)
    assert desk.newest["/valence"] == pytest.approx(-0.8)
    assert (desk.newest["/hold"], desk.newest["/hold_name"], desk.newest["/alive"]) == (3, "override", 0.0)


def test_a_blackout_is_sent_and_darkens_what_is_light():
    plain, light = Desk(mapping("happy", "blackout")), Desk(mapping("happy", "blackout", light=True))
    for desk in (plain, light):
        desk.show(LIVE, 2.0)
        desk.show(replace(LIVE, hold="blackout"), 2.0)
        assert desk.newest["/blackout"] == 1.0
    assert (plain.newest["/happy"], light.newest["/happy"]) == (pytest.approx(0.7), 0.0)
    light.show(LIVE, 2.0)
    assert light.newest["/happy"] == pytest.approx(0.7)


def test_faders_of_light_do_not_flash_whatever_is_asked_of_them():
    what = OscMapping(fields=(OscField(name="onset", address="/o", scale=PERCENT),), light=True)
    desk = Desk(what)
    wild = [desk.show(replace(LIVE, onset=float(i % 2)))[0].get("/o") for i in range(5 * RATE_HZ)]
    sent = [(i / RATE_HZ, value) for i, value in enumerate(wild) if value is not None]
    turns = [t1 for (_, before), (t1, after) in itertools.pairwise(sent) if abs(after - before) >= 10]
    assert turns, "it moves at all"
    assert max(sum(t <= u < t + 1 for u in turns) for t in turns) <= 4, "two flashes a second at most"


def test_a_change_fires_once_and_is_never_repeated():
    desk = Desk(mapping("change", "to_sad", "to_happy"))
    assert not any(desk.show(LIVE, 3.0))
    came = desk.show(replace(LIVE, changes=4, category="sad"), 3.0)
    assert [each for each in came if each] == [{"/change": 1.0, "/to_sad": 1.0}]
    came = desk.show(replace(LIVE, changes=5), 1.0)
    assert [each for each in came if each] == [{"/change": 1.0, "/to_happy": 1.0}]


def test_a_hand_that_crosses_to_and_fro_fires_no_volley_and_ends_where_it_is():
    desk = Desk(mapping("change", "to_sad", "to_happy"))
    desk.show(LIVE)
    came = [
        messages
        for i in range(40)  # four seconds, ten crossings in each
        for messages in desk.show(replace(LIVE, changes=4 + i, category=("sad", "happy")[i % 2]), 0.1)
    ]
    came += desk.show(replace(LIVE, changes=43), 3.0)
    for address in ("/change", "/to_sad", "/to_happy"):
        fired = [i / RATE_HZ for i, messages in enumerate(came) if address in messages]
        assert 6 <= len(fired) <= 10
        assert min(b - a for a, b in itertools.pairwise(fired)) >= TRIGGER_REST_S - 1e-9
    last = [messages for messages in came if "/to_sad" in messages or "/to_happy" in messages][-1]
    assert "/to_happy" in last
    assert not any(came[-RATE_HZ:])


def test_a_button_is_let_go_after_it_was_pressed():
    desk = Desk(OscMapping(fields=(OscField(name="change", address="/go", release=True),)))
    desk.show(LIVE)
    came = desk.show(replace(LIVE, changes=4), 1.0)
    assert [each["/go"] for each in came if each] == [1.0, 0.0]


def test_long_texts_are_cut_and_hold_no_zero_byte():
    desk = Desk(mapping("line"))
    desk.show(replace(LIVE, line="a\0b" * 400))
    assert desk.newest["/line"] == ("ab" * 400)[:512]


def test_the_end_says_that_nothing_is_alive_and_touches_no_fader():
    desk = Desk(ALL)
    desk.show(LIVE)
    assert [(message.address, message.argument) for message in desk.composer.last_messages()] == [
        ("/mer/main/alive", 0.0)
    ]


def moved(mapping, rate_hz=20.0):
    sweep = Sweep(mapping, stream="main")
    steps = [sweep.update(i / rate_hz) for i in range(round(sweep.duration_s * rate_hz))]
    return [(step.message.address, step.message.argument) for step in steps if step.message is not None]


def test_one_address_moves_at_a_time_from_end_to_end_and_back():
    mapping = PRESETS["grandma3"].target.mapping
    turns = [(address, [value for _, value in group]) for address, group in groupby(moved(mapping), itemgetter(0))]
    assert [address for address, _ in turns] == [field.address_of("main") for field in mapping.sent]
    for _, values in turns:
        top = values.index(max(values))
        assert (values[0], values[-1]) == (0.0, 0.0)
        assert max(values) > 95
        assert values[: top + 1] == sorted(values[: top + 1])
        assert values[top:] == sorted(values[top:], reverse=True)
        assert all(abs(b - a) < 6 for a, b in pairwise(values)), "slowly"


def test_everything_that_can_be_sent_moves():
    sent = moved(OscMapping(fields=tuple(OscField(name=name) for name in FIELDS)))
    assert {address.rpartition("/")[2] for address, _ in sent} == set(FIELDS)
    assert [value for address, value in sent if address.endswith("/category")] == [0, 1, 2, 3, 4]
    assert [value for address, value in sent if address.endswith("/alive")] == [1.0, 0.0]


def test_it_goes_round_and_round():
    sweep = Sweep(OscMapping(fields=(OscField(name="valence"), OscField(name="arousal"))), stream="main")
    names = [sweep.update(turn * STEP_S + 0.1).field.name for turn in range(5)]
    assert names == ["valence", "arousal", "valence", "arousal", "valence"]


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
        output.open()
        assert output.send(0.02, VALUES) == len(EXPECTED), "a receiver that restarts gets everything again"
        output.close()


def test_it_says_what_it_is():
    output = output_to(7000, rate_hz=25.0)
    assert output.name == "osc desk at udp://127.0.0.1:7000"
    assert (output.stream, output.rate_hz, output.wants_levels) == ("main", 25.0, False)


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


def test_a_desk_that_is_not_there_is_an_error():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        output = output_to(taken.getsockname()[1], "tcp")
        with pytest.raises(ConnectionRefusedError):
            output.open()
        output.close()


def send_until_it_fails(output):
    for i in range(1_000_000):
        output.send(1000.0 + 2.0 * i, VALUES)


@pytest.mark.parametrize("answers", [0, 30])
def test_what_a_desk_says_is_read_and_its_end_is_noticed(answers):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        output = output_to(server.getsockname()[1], "tcp")
        output.open()
        desk, _ = server.accept()
        with closing(desk):
            desk.settimeout(PATIENCE_S)
            for i in range(answers):
                desk.sendall(b"chatter" * 20_000)  # more than fits into the buffers of both ends
                output.send(2.0 * i, VALUES)
        with pytest.raises(ConnectionError):
            send_until_it_fails(output)
        output.close()


def test_a_desk_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("stream_mer.outputs.osc.transport.STUCK_S", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # else the kernel takes a lot in its place
        output = output_to(server.getsockname()[1], "tcp")
        output.open()
        desk, _ = server.accept()
        with closing(desk), pytest.raises(TimeoutError):
            send_until_it_fails(output)
        output.close()
