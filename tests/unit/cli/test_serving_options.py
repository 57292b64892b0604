"""Named streams, outputs and plugins, from what is typed."""

from __future__ import annotations

from types import SimpleNamespace

import click
import pytest

from stream_mer.cli import serving_options
from stream_mer.cli.serving_options import (
    OutputOption,
    RigOrPath,
    SourceOrPath,
    open_outputs,
    open_plugins,
    open_sources,
    parse_limits,
    split_name,
)
from stream_mer.errors import SettingError
from stream_mer.outputs.catalogue import OutputKind
from stream_mer.sources.file import demo_song


@pytest.mark.parametrize(
    ("typed", "split"),
    [
        ("demo", (None, "demo")),
        ("main=demo", ("main", "demo")),
        ("Stage 1=mic:USB Audio", ("Stage 1", "mic:USB Audio")),
        ("http://radio.example/live?key=1", (None, "http://radio.example/live?key=1")),
        ("radio=http://radio.example/live?key=1", ("radio", "http://radio.example/live?key=1")),
        ("mic:A=B", (None, "mic:A=B")),
        ("/music/a=b.wav", (None, "/music/a=b.wav")),
        ("=demo", (None, "=demo")),
    ],
)
def test_a_name_stands_before_the_source(typed, split):
    assert split_name(typed) == split


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.ogg").write_bytes(demo_song().read_bytes())
    assert split_name("a=b.ogg") == (None, "a=b.ogg")


NOTHING = {"rate_hz": None, "sample_format": None, "channels": None, "gain_db": None}


def test_streams_are_called_as_they_were_named_or_as_their_source_is():
    streams = open_sources(["left=demo", str(demo_song())], name=None, loop=False, options=NOTHING)
    assert list(streams) == ["left", "demo.ogg"]
    assert list(open_sources(["demo"], name="hall", loop=False, options=NOTHING)) == ["hall"]


@pytest.mark.parametrize(
    ("sources", "name", "says"),
    [
        (["demo", "demo"], None, "two streams are called 'demo': name them"),
        (["a=demo", "a=remote"], None, "two streams are called 'a'"),
        (["a=demo", "b=remote"], "hall", "--name is for a single source"),
        (["a=-", "b=-"], None, "standard input can be one source only"),
        (["a=dmo"], None, "no source is called 'dmo'"),
    ],
)
def test_what_cannot_be_is_refused(sources, name, says):
    with pytest.raises(SettingError, match=says):
        open_sources(sources, name=name, loop=False, options=NOTHING)


def test_an_option_goes_to_the_sources_that_it_fits():
    options = NOTHING | {"rate_hz": 48_000}
    assert set(open_sources(["a=demo", "b=remote"], name=None, loop=False, options=options)) == {"a", "b"}
    with pytest.raises(SettingError, match="rate and format are for raw PCM"):
        open_sources(["demo"], name=None, loop=False, options=options)


def test_limits_are_read_by_the_names_that_hello_has():
    assert parse_limits(["max_clients=7", "stuck_after_s=2.5"]) == {"max_clients": 7, "stuck_after_s": 2.5}
    with pytest.raises(SettingError, match="did you mean 'max_clients'"):
        parse_limits(["max_client=7"])
    with pytest.raises(SettingError, match=r"a number, such as max_clients=1000; not 'many'"):
        parse_limits(["max_clients=many"])
    with pytest.raises(SettingError, match="not ''"):
        parse_limits(["max_clients"])


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """Two kinds of outputs that need nothing."""
    monkeypatch.setattr(
        serving_options,
        "_OUTPUTS",
        tuple(
            OutputOption(
                kind=OutputKind(
                    kind=name,
                    title=name,
                    hint="",
                    presets=lambda: (),
                    open=lambda spec, stream, name=name: SimpleNamespace(
                        name=f"{name} {spec}", stream=stream, claims={f"{name} for {stream} in {spec}"}
                    ),
                ),
                type=SourceOrPath(),
                metavar="WHERE",
                help="",
            )
            for name in ("smoke", "water")
        ),
    )


def opened(streams=("main", "foyer"), **typed):
    options = {"smoke": (), "water": (), "hop": 0.5} | typed
    outputs = [(output.name, output.stream) for output in open_outputs(options, streams)]
    assert options == {"hop": 0.5}, "the others are left to others"
    return outputs


def test_nothing_asked_for_is_nothing_made():
    assert opened() == []


def test_outputs_follow_the_stream_that_is_named_or_the_first_one():
    assert opened(smoke=("hall@10.0.0.1", "foyer=hall@10.0.0.1"), water=("x",)) == [
        ("smoke hall@10.0.0.1", "main"),
        ("smoke hall@10.0.0.1", "foyer"),
        ("water x", "main"),
    ]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("foyr=x", "--water foyr=x: there is no stream 'foyr'; did you mean 'foyer'?"),
        ("z=x", "there is no stream 'z'; choose from main, foyer"),
    ],
)
def test_a_stream_that_is_not_there_is_an_error(typed, says):
    with pytest.raises(SettingError) as error:
        opened(water=(typed,))
    assert says in str(error.value)


def test_the_same_output_twice_is_an_error():
    with pytest.raises(SettingError, match="--smoke main=x: smoke for main in x is driven by --smoke x already"):
        opened(smoke=("x", "main=x"))


@pytest.mark.parametrize(
    ("typed", "says"),
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
def test_two_outputs_that_would_make_the_same_lamp_flicker_are_an_error(monkeypatch, typed, says):
    monkeypatch.undo()
    with pytest.raises(SettingError) as error:
        open_outputs(dict(typed), ("main", "foyer"))
    assert says in str(error.value)


def test_streams_that_have_addresses_of_their_own_share_a_receiver(monkeypatch):
    monkeypatch.undo()
    typed = {"osc": ("touchdesigner", "foyer=touchdesigner", "resolume@10.0.0.1", "foyer=resolume@10.0.0.2")}
    assert len(open_outputs(typed, ("main", "foyer"))) == 4


def test_a_command_gets_all_options():
    @click.command()
    @serving_options.output_options
    def command(**options):
        click.echo(options)

    flags = [flag for parameter in command.params for flag in parameter.opts]
    assert flags[:2] == ["--smoke", "--water"]
    assert "--osc-in" in flags


def test_plugins_are_those_that_were_asked_for():
    options = {"osc_in": None, "hop": 0.5}
    assert open_plugins(options) == []
    (osc_in,) = open_plugins(options | {"osc_in": "9001"})
    assert osc_in.notice.endswith("udp://127.0.0.1:9001")
    assert options == {"hop": 0.5}


def test_osc_is_sent_to_what_was_typed(monkeypatch):
    monkeypatch.undo()
    nothing = {option.kind.kind: () for option in serving_options._OUTPUTS}
    (output,) = open_outputs(nothing | {"osc": ("foyer=eos@desk",)}, ("main", "foyer"))
    assert (output.name, output.stream) == ("osc eos at tcp://desk:3032", "foyer")


def test_lamps_are_driven_by_what_was_typed(monkeypatch):
    monkeypatch.undo()
    typed = {"sacn": ("mood", "foyer=wash@10.0.0.1"), "artnet": ("palette@10.0.0.2",)}
    outputs = open_outputs(typed, ("main", "foyer"))
    assert [(output.name, output.stream) for output in outputs] == [
        ("sacn stream_mer mood at multicast", "main"),
        ("sacn stream_mer wash at 10.0.0.1", "foyer"),
        ("artnet stream_mer palette at 10.0.0.2", "main"),
    ]


def test_in_a_settings_file_a_rig_file_is_relative_to_that_file(tmp_path):
    (tmp_path / "rig.toml").touch()
    place = RigOrPath().relative_to
    assert place("rig.toml", tmp_path) == str(tmp_path / "rig.toml")
    assert place("foyer=rig.toml@10.0.0.1", tmp_path) == f"foyer={tmp_path / 'rig.toml'}@10.0.0.1"
    assert place("mood@10.0.0.1", tmp_path) == "mood@10.0.0.1"
    assert place("mood", tmp_path) == "mood"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_other_devices_get_an_address_and_a_log_gets_no_token(is_terminal, monkeypatch, capsys) -> None:
    monkeypatch.setattr(serving_options.sys.stdout, "isatty", lambda: is_terminal)
    serving_options._print_network(["http://192.168.1.20:8765/#token=a-secret", "http://10.0.0.2:8765/"])
    printed = capsys.readouterr().out
    assert ("http://192.168.1.20:8765/#token=a-secret" in printed) is is_terminal
    assert ("http://192.168.1.20:8765/#token=***" in printed) is not is_terminal
    assert "  network    http://10.0.0.2:8765/\n" in printed
    assert ("█" in printed) is is_terminal


def test_on_this_machine_alone_nothing_is_printed_for_others(capsys) -> None:
    serving_options._print_network(())
    assert capsys.readouterr().out == ""
