"""OSC in, with real datagrams."""

import logging
import math
import socket
import threading
from contextlib import closing, contextmanager

import pytest
from helpers import wait_for
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.udp_client import SimpleUDPClient

from stream_mer.errors import ServeError, SettingError
from stream_mer.outputs.osc import input as osc_input
from stream_mer.outputs.osc.input import ACTIONS, MAX_COMMANDS_PER_S, BadCommandError, OscInput, command_of, parse_place
from stream_mer.types import ControlCommand, OverrideValues

STREAMS = ("main", "the foyer")


class Commands(list):
    """A hub that keeps its commands."""

    streams = STREAMS
    control = list.append


@pytest.fixture
def hub():
    return Commands()


@contextmanager
def listening(hub):
    osc_in = OscInput("127.0.0.1", 0)
    osc_in.start(hub)
    with closing(SimpleUDPClient("127.0.0.1", osc_in.port)) as client:
        try:
            yield client
        finally:
            osc_in.stop()


def test_commands_reach_the_hub(hub):
    with listening(hub) as client:
        client.send_message("/mer/control/freeze", [])
        client.send_message("/mer/control/resume", 1)
        client.send_message("/mer/the_foyer/control/blackout", 1.0)
        client.send_message("/mer/control/override", [-0.5, 0.75, 60.0])
        wait_for(lambda: len(hub) == 4)
    assert hub == [
        ControlCommand(action="freeze"),
        ControlCommand(action="resume"),
        ControlCommand(action="blackout", streams=("the foyer",)),
        ControlCommand(action="override", override=OverrideValues(valence=-0.5, arousal=0.75, ttl_s=60.0)),
    ]


def test_mistakes_are_logged_once_and_change_nothing(hub, caplog):
    with caplog.at_level(logging.WARNING), listening(hub) as client:
        for _ in range(5):
            client._sock.sendto(b"no osc at all", (client._address, client._port))
            client.send_message("/mer/control/freez", 1)
            client.send_message("/mer/control/override", [7, 7])
        client.send_message("/mer/control/blackout", 0)  # a button that is let go
        client.send_message("/mer/control/freeze", 1)
        wait_for(lambda: hub)
    assert hub == [ControlCommand(action="freeze")]
    logged = [record.getMessage() for record in caplog.records if record.name == osc_input.__name__]
    assert logged == [
        "OSC from 127.0.0.1 is ignored: 13 bytes that are not OSC",
        "OSC from 127.0.0.1 is ignored: no command is called 'freez'; did you mean 'freeze'?",
        "OSC from 127.0.0.1 is ignored: override takes valence and arousal from -1 to 1, not 7 and 7",
    ]


def test_an_error_of_the_hub_does_not_end_the_input(hub, caplog, monkeypatch):
    errors = [ZeroDivisionError("a bug")]

    def control(command):
        if errors:
            raise errors.pop()
        hub.append(command)

    monkeypatch.setattr(hub, "control", control, raising=False)
    with listening(hub) as client:
        client.send_message("/mer/control/freeze", [])
        wait_for(lambda: "goes on" in caplog.text)
        client.send_message("/mer/control/freeze", [])
        wait_for(lambda: hub)


def test_complaints_come_to_an_end(hub, caplog):
    osc_in = OscInput("127.0.0.1", 0)
    with caplog.at_level(logging.WARNING):
        for i in range(1000):
            osc_in._take(f"garbage {i}".encode() * i, "10.0.0.1", hub)
    assert len(caplog.records) <= 32


def test_a_flood_does_not_reach_the_clients(hub, caplog, monkeypatch):
    monkeypatch.setattr("stream_mer.outputs.osc.input.time.monotonic", lambda: 5.0)
    osc_in = OscInput("127.0.0.1", 0)
    for _ in range(1000):
        osc_in._take(b"/mer/control/freeze\0,\0\0\0", "10.0.0.1", hub)
    assert len(hub) == MAX_COMMANDS_PER_S
    monkeypatch.setattr("stream_mer.outputs.osc.input.time.monotonic", lambda: 6.0)
    osc_in._take(b"/mer/control/resume\0,\0\0\0", "10.0.0.1", hub)
    assert hub[-1].action == "resume"
    assert caplog.text.count("more than 50") == 1


def test_it_says_aloud_who_is_heard():
    assert OscInput("127.0.0.1", 9001).notice == "OSC in     udp://127.0.0.1:9001"
    assert OscInput("::1", 9001).notice == "OSC in     udp://[::1]:9001"
    assert "anyone in this network" in OscInput("10.0.0.1", 9001).notice


@pytest.mark.parametrize(
    ("typed", "place"),
    [("9001", ("127.0.0.1", 9001)), ("10.0.0.1:9001", ("10.0.0.1", 9001)), ("[::1]:0", ("::1", 0))],
)
def test_a_port_alone_is_this_machine_alone(typed, place):
    assert parse_place(typed) == place


@pytest.mark.parametrize("typed", ["", "x", ":9001", "host:", "70000", "-1", "9001:host", "²"])
def test_what_is_no_place_is_an_error(typed):
    with pytest.raises(SettingError, match="give a port such as 9001"):
        parse_place(typed)


def test_an_address_that_cannot_be_bound_is_a_serve_error(hub):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ServeError, match="is in use"):
            OscInput("127.0.0.1", taken.getsockname()[1]).start(hub)
    with pytest.raises(ServeError, match="is no address of this machine"):
        OscInput("192.0.2.1", 9001).start(hub)


def test_stopping_before_the_start_leaves_nothing_and_stopping_twice_leaves_the_port_free(hub):
    before = threading.active_count()
    osc_in = OscInput("127.0.0.1", 0)
    osc_in.stop()
    assert (osc_in.port, threading.active_count()) == (0, before), "nothing was bound, and nobody listens"
    osc_in = OscInput("127.0.0.1", 0)
    osc_in.start(hub)
    port = osc_in.port
    osc_in.stop()
    osc_in.stop()
    assert threading.active_count() == before
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as another:
        another.bind(("127.0.0.1", port))
        assert another.getsockname()[1] == port


@pytest.mark.parametrize("action", ["freeze", "blackout", "resume"])
@pytest.mark.parametrize("arguments", [(), (1,), (1.0,), (True,), ("now",)])
def test_commands_hold_all_streams_or_one(action, arguments):
    assert command_of(f"/mer/control/{action}", arguments, streams=STREAMS) == ControlCommand(action=action)
    one = command_of(f"/mer/the_foyer/control/{action}", arguments, streams=STREAMS)
    assert one == ControlCommand(action=action, streams=("the foyer",))


@pytest.mark.parametrize("argument", [0, 0.0, False])
def test_a_button_that_is_let_go_means_nothing(argument):
    assert command_of("/mer/control/blackout", (argument,), streams=STREAMS) is None


@pytest.mark.parametrize(("arguments", "ttl_s"), [((0.5, -1), None), ((0.5, -1.0, 30), 30.0)])
def test_an_override_has_values_and_perhaps_an_end(arguments, ttl_s):
    command = command_of("/mer/control/override", arguments, streams=STREAMS)
    assert command.override == OverrideValues(valence=0.5, arousal=-1.0, ttl_s=ttl_s)
    assert command_of("/mer/control/override", (0, 0), streams=STREAMS).override.valence == 0, "no button"


@pytest.mark.parametrize(
    ("address", "arguments", "message"),
    [
        ("/mer/control/freze", (), "no command is called 'freze'; did you mean 'freeze'?"),
        ("/mer/control", (), "is no command; there is /mer/control/{freeze,"),
        ("/composition/x", (1,), "is no command"),
        ("", (), "is no command"),
        ("/mer/attic/control/freeze", (), "there is no stream 'attic'; there is main, the foyer"),
        ("/mer/control/override", (), "two or three numbers"),
        ("/mer/control/override", (0.5,), "two or three numbers"),
        ("/mer/control/override", (0.5, "0.5"), "two or three numbers"),
        ("/mer/control/override", (0.5, math.nan), "two or three numbers"),
        ("/mer/control/override", (0, 0, 0, 0), "two or three numbers"),
        ("/mer/control/override", (0, 0, 1e30), "at most 1e+09 seconds"),
        ("/mer/control/override", (1.5, 0), "from -1 to 1, not 1.5 and 0"),
        ("/mer/control/override", (1, 0, 0), "more than 0 seconds, not 0"),
    ],
)
def test_what_is_no_command_is_an_error(address, arguments, message):
    with pytest.raises(BadCommandError) as error:
        command_of(address, arguments, streams=STREAMS)
    assert message in str(error.value)


@given(
    st.one_of(st.text(), st.sampled_from([f"/mer/control/{action}" for action in ACTIONS])),
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()), max_size=4),
)
def test_any_message_is_a_command_or_an_error(address, arguments):
    try:
        command = command_of(address, tuple(arguments), streams=STREAMS)
    except BadCommandError:
        return
    assert command is None or (command.override is not None) == (command.action == "override")
