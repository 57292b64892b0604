"""The real command line: every option of every command can be set, and starting stays light."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from stream_mer import cli
from stream_mer.cli.serving_options import SourceOrPath
from stream_mer.cli.settings import OTHER_VARIABLES, is_secret, options_by_command, variable
from tools.docgen import SETTINGS as PAGE

ROOT = Path(__file__).parents[4]


Command = Callable[..., Any]


def _options() -> dict[str, dict[str, click.Parameter]]:
    return options_by_command(cli.cli, click.Context(cli.cli))


def test_no_two_settings_share_a_variable() -> None:
    own = [variable(command, name) for command, found in _options().items() for name in found]
    shared = {variable(name) for found in _options().values() for name in found}
    assert len(own) == len(set(own))
    assert not shared & set(own)
    assert not OTHER_VARIABLES & set(own)


def test_the_page_is_in_step_with_the_options() -> None:
    page = (ROOT / PAGE.page).read_text(encoding="utf-8")
    assert PAGE.refresh(page) == page, "run: python -m tools.docgen"


def test_every_setting_of_the_example_is_one(stream_mer: Command) -> None:
    code, example, err = stream_mer("config", "--example")
    assert (code, err) == (0, "")
    written = [line[1:] if line[:1] == "#" and line[1:2] not in ("", " ") else line for line in example.splitlines()]
    values = tomllib.loads("\n".join(written))
    for command, found in _options().items():
        assert set(values[command]) == set(found)


def test_every_command_takes_a_file_with_every_section(stream_mer: Command, tmp_path: Path) -> None:
    """Some sections are called like an option of another command: osc, channels."""
    file = tmp_path / "show.toml"
    file.write_text(stream_mer("config", "--example")[1], encoding="utf-8")
    for arguments in ([], *([command] for command in _options())):
        code, out, err = stream_mer("config", "--config", file, *arguments)
        assert (code, err) == (0, "")
        assert str(file) not in out.partition("\n")[2], "nothing in it counts before it is asked for"
    file.write_text('[channels]\nloop = true\n[osc]\ntest = true\n[serve]\nosc = "resolume"\n', encoding="utf-8")
    code, out, _ = stream_mer("config", "--config", file, "serve")
    serve = tomllib.loads(out)["serve"]
    assert (code, serve["osc"], "channels" in serve) == (0, ["resolume"], False)


def test_the_file_of_the_documentation_is_one(stream_mer: Command, tmp_path: Path) -> None:
    page = (ROOT / PAGE.page).read_text(encoding="utf-8")
    file = tmp_path / "show.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    code, out, err = stream_mer("config", "--config", file, "serve")
    assert (code, err) == (0, "")
    serve = tomllib.loads(out)["serve"]
    assert serve["source"] == ["floor=mic:USB Audio", f"bar={tmp_path}/../sets/friday.flac"]
    assert (serve["token"], serve["limit"], serve["hop"]) == ("***", ["max_clients=50"], 0.25)


def test_tokens_are_secrets_and_files_are_not() -> None:
    secrets = {name for found in _options().values() for name, param in found.items() if is_secret(name, param)}
    assert {"token", "operator-token"} <= secrets
    assert not {"tls-key", "tls-certificate", "model", "source"} & secrets


def test_variables_from_before_there_was_a_file_still_count(
    stream_mer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TOKEN", "a"), ("OPERATOR_TOKEN", "b"), ("CORPUS", "/c"), ("CACHE", "/d")):
        monkeypatch.setenv(f"STREAM_MER_{name}", value)
    _, out, _ = stream_mer("config", "--json")
    assert '"where": "STREAM_MER_OPERATOR_TOKEN"' in out
    assert out.count('"where": "STREAM_MER_TOKEN"') >= 2, "of serve and of listen"
    assert out.count('"where": "STREAM_MER_CORPUS"') == 2
    assert '"value": "/d/training",\n        "from": "default"' in out


@pytest.mark.parametrize("command", ["osc", "config"])
def test_a_variable_that_begins_like_another_command_is_none_of_its_mistakes(
    command: str, stream_mer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_MER_OSC_IN", "9001")
    assert stream_mer(command)[::2] == (0, "")
    monkeypatch.setenv("STREAM_MER_OSC_INN", "9001")
    assert stream_mer(command)[::2] == (0, "stream-mer: STREAM_MER_OSC_INN is no setting\n")


def test_an_error_from_deeper_down_says_which_file_the_setting_is_from(stream_mer: Command, tmp_path: Path) -> None:
    file = tmp_path / "show.toml"
    for text, says in (
        ("[serve]\nhop = 5\n", f"hop must be 0.1 to 2 seconds, not 5 (hop is from {file}, line 2)"),
        ("[serve]\nport = 70000\n", f"not 70000 (port is from {file}, line 2)"),
        ("[serve]\nsource = 'gone.flac'\n", f"(source is from {file}, line 2)"),
    ):
        file.write_text(text, encoding="utf-8")
        code, _, err = stream_mer("serve", "--config", file)
        assert code in (1, 2)
        assert len(err.splitlines()) == 1
        assert says in err
    for text, says in (
        ("min-accuracy = 3", "min-accuracy is not valid: 3.0 is not in the range"),
        (
            "limit = { max_clents = 3 }",
            "limit is not valid: there is no limit 'max_clents'; did you mean 'max_cl",
        ),
        ("limit = ['max_clients=x']", "limit is not valid: the limit max_clients is a number"),
        ("limit = ['max_clients=0']", "limit is not valid: max_clients must be 1 to 100000, not 0"),
    ):
        file.write_text(f"[serve]\n{text}\n", encoding="utf-8")
        for command in (["config", "serve"], ["serve"]):
            code, _, err = stream_mer(command[0], "--config", file, *command[1:])
            assert (code, len(err.splitlines())) == (2, 1)
            assert f"{file}, line 2: [serve] {says}" in err
    file.write_text("[serve]\nhop = 5\n", encoding="utf-8")
    assert "is from" not in stream_mer("serve", "--config", file, "--hop", "7")[2]


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ("a.flac", "{folder}/a.flac"),
        ("floor=a.flac", "floor={folder}/a.flac"),
        ("floor=file:./gone.flac", "floor=file:{folder}/gone.flac"),
        ("demo", "demo"),
        ("mic:USB Audio", "mic:USB Audio"),
        ("A=http://radio/live?x=1", "A=http://radio/live?x=1"),
        ("-", "-"),
        ("hall=rig.toml@10.0.0.5", "hall={folder}/rig.toml@10.0.0.5"),
        ("eos@10.0.0.5", "eos@10.0.0.5"),
        ("http://me:secret@radio/live", "http://me:secret@radio/live"),
    ],
)
def test_a_source_in_a_file_is_relative_to_it(tmp_path: Path, text: str, beside: str) -> None:
    (tmp_path / "a.flac").touch()
    (tmp_path / "rig.toml").touch()
    assert SourceOrPath().relative_to(text, tmp_path) == beside.format(folder=tmp_path)
