"""From what a person typed to outputs of a show."""

from types import SimpleNamespace

import click
import pytest

from stream_mer.cli import output_options
from stream_mer.cli.output_options import OutputKind, RigOrPath, open_outputs, open_plugins
from stream_mer.errors import SettingError


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """Two kinds of outputs that need nothing."""
    monkeypatch.setattr(
        output_options,
        "_KINDS",
        tuple(
            OutputKind(
                parameter=name,
                option=click.option(f"--{name.replace('_', '-')}", name, multiple=True),
                open=lambda spec, stream, name=name: SimpleNamespace(
                    name=f"{name} {spec}", stream=stream, claims={f"{name} for {stream} in {spec}"}
                ),
            )
            for name in ("smoke", "water_jet")
        ),
    )


def opened(streams=("main", "foyer"), **typed):
    options = {"smoke": (), "water_jet": (), "hop": 0.5} | typed
    outputs = [(output.name, output.stream) for output in open_outputs(options, streams)]
    assert options == {"hop": 0.5}, "the others are left to others"
    return outputs


def test_nothing_asked_for_is_nothing_made():
    assert opened() == []


def test_outputs_follow_the_stream_that_is_named_or_the_first_one():
    assert opened(smoke=("hall@10.0.0.1", "foyer=hall@10.0.0.1"), water_jet=("x",)) == [
        ("smoke hall@10.0.0.1", "main"),
        ("smoke hall@10.0.0.1", "foyer"),
        ("water_jet x", "main"),
    ]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("foyr=x", "--water-jet foyr=x: there is no stream 'foyr'; did you mean 'foyer'?"),
        ("z=x", "there is no stream 'z'; choose from main, foyer"),
    ],
)
def test_a_stream_that_is_not_there_is_told(typed, told):
    with pytest.raises(SettingError) as error:
        opened(water_jet=(typed,))
    assert told in str(error.value)


def test_the_same_output_twice_is_told():
    with pytest.raises(SettingError, match="--smoke main=x: smoke for main in x is driven by --smoke x already"):
        opened(smoke=("x", "main=x"))


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"sacn": ("mood", "foyer=wash")}, "sACN universe 1 at multicast:5568 is driven by --sacn mood already"),
        ({"sacn": ("mood@10.0.0.1", "foyer=wash@10.0.0.9,10.0.0.1")}, "sACN universe 1 at 10.0.0.1:5568 is driven"),
        ({"artnet": ("mood@10.0.0.1", "foyer=wash@10.0.0.1")}, "Art-Net universe 0 at 10.0.0.1:6454 is driven"),
        ({"osc": ("wled@10.0.0.1", "foyer=wled@10.0.0.1")}, "wled at 10.0.0.1:21324 is driven"),
        ({"osc": ("ledfx", "foyer=ledfx")}, "ledfx at 127.0.0.1:8888 is driven"),
        (
            {"osc": ("eos@desk", "foyer=eos@desk")},
            "/eos/sub/101 at tcp://desk:3032 is driven by --osc eos@desk already",
        ),
    ],
)
def test_two_outputs_that_would_make_the_same_lamp_flicker_are_told(monkeypatch, typed, told):
    monkeypatch.undo()
    with pytest.raises(SettingError) as error:
        open_outputs(dict(typed), ("main", "foyer"))
    assert told in str(error.value)


def test_streams_that_have_addresses_of_their_own_share_a_receiver(monkeypatch):
    monkeypatch.undo()
    typed = {"osc": ("touchdesigner", "foyer=touchdesigner", "resolume@10.0.0.1", "foyer=resolume@10.0.0.2")}
    assert len(open_outputs(typed, ("main", "foyer"))) == 4


def test_a_command_gets_all_options():
    @click.command()
    @output_options.output_options
    def command(**options):
        click.echo(options)

    flags = [flag for parameter in command.params for flag in parameter.opts]
    assert flags[:2] == ["--smoke", "--water-jet"]
    assert "--osc-in" in flags


def test_plugins_are_those_that_were_asked_for():
    options = {"osc_in": None, "hop": 0.5}
    assert open_plugins(options) == []
    (osc_in,) = open_plugins(options | {"osc_in": "9001"})
    assert osc_in.notice.endswith("udp://127.0.0.1:9001")
    assert options == {"hop": 0.5}


def test_osc_is_sent_to_what_was_typed(monkeypatch):
    monkeypatch.undo()
    nothing = {kind.parameter: () for kind in output_options._KINDS}
    (output,) = open_outputs(nothing | {"osc": ("foyer=eos@desk",)}, ("main", "foyer"))
    assert (output.name, output.stream) == ("osc eos at tcp://desk:3032", "foyer")


def test_lamps_are_driven_by_what_was_typed(monkeypatch):
    monkeypatch.undo()
    typed = {"sacn": ("mood", "foyer=wash@10.0.0.1"), "artnet": ("palette@10.0.0.2",)}
    outputs = open_outputs(typed, ("main", "foyer"))
    assert [(output.name, output.stream) for output in outputs] == [
        ("sacn stream_mer mood multicast", "main"),
        ("sacn stream_mer wash 10.0.0.1", "foyer"),
        ("artnet stream_mer palette 10.0.0.2", "main"),
    ]


def test_in_a_settings_file_a_rig_file_is_relative_to_that_file(tmp_path):
    (tmp_path / "rig.toml").touch()
    place = RigOrPath().relative_to
    assert place("rig.toml", tmp_path) == str(tmp_path / "rig.toml")
    assert place("foyer=rig.toml@10.0.0.1", tmp_path) == f"foyer={tmp_path / 'rig.toml'}@10.0.0.1"
    assert place("mood@10.0.0.1", tmp_path) == "mood@10.0.0.1"
    assert place("mood", tmp_path) == "mood"
