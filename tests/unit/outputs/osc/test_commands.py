"""What an operator may say over OSC."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mer.outputs.osc.commands import ACTIONS, BadCommandError, command_of
from stream_mer.types import ControlCommand, OverrideValues

STREAMS = ("main", "the foyer")


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
    ("address", "arguments", "told"),
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
def test_what_makes_no_sense_is_told(address, arguments, told):
    with pytest.raises(BadCommandError) as error:
        command_of(address, arguments, streams=STREAMS)
    assert told in str(error.value)


@given(
    st.one_of(st.text(), st.sampled_from([f"/mer/control/{action}" for action in ACTIONS])),
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()), max_size=4),
)
def test_any_message_is_a_command_or_told_to_be_none(address, arguments):
    try:
        command = command_of(address, tuple(arguments), streams=STREAMS)
    except BadCommandError:
        return
    assert command is None or (command.override is not None) == (command.action == "override")
