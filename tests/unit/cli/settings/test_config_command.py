"""``config``: what counts, where it comes from, and nothing that is secret."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Write = Callable[[str], Path]


def document_of(ran: Any) -> Any:
    assert ran.error == ""
    return json.loads(ran.out)


def test_each_value_says_where_it_comes_from(toy: Run, write: Write) -> None:
    file = write("gain = 2\n[play]\nport = 1\nlayout = 'tall'\nsong = ['a']\n")
    document = document_of(
        toy("config", "--json", "--config", file, "play", "--port", "2", "--no-loop", STREAM_MER_LAYOUT="wide")
    )
    assert document["file"] == str(file)
    play = document["settings"]["play"]
    assert set(document["settings"]) == {"play"}
    assert play["port"] == {"value": 2, "from": "flag", "where": "--port"}
    assert play["loop"] == {"value": False, "from": "flag", "where": "--loop"}
    assert play["layout"] == {"value": "wide", "from": "environment", "where": "STREAM_MER_LAYOUT"}
    assert play["gain"] == {"value": 2.0, "from": "file", "where": f"{file}, line 1"}
    assert play["song"] == {"value": [str(file.parent / "a")], "from": "file", "where": f"{file}, line 5"}
    assert play["share"] == {"value": 0.5, "from": "default"}
    assert play["title"] == {"value": None, "from": "default"}
    assert play["url"] == {"value": "ws://here", "from": "default"}


def test_it_shows_the_same_that_the_command_gets(toy: Run, write: Write) -> None:
    file = write("[play]\nport = 1\nlimit = { a = 1, b = 2 }\nplot = 'x.png'\nwarm = false\n")
    play = document_of(toy("config", "--json", "--config", file, "play", STREAM_MER_GAIN="3"))["settings"]["play"]
    params = toy("play", "--config", file, STREAM_MER_GAIN="3").params
    named = {"title": "heading", "song": "songs", "limit": "limits", "no-words": "no_words"}
    as_json = json.loads(json.dumps(params, default=str))
    assert {name: one["value"] for name, one in play.items()} == {name: as_json[named.get(name, name)] for name in play}


def test_as_text_it_is_a_file_again(toy: Run, write: Write) -> None:
    file = write('[play]\nport = 1\ntitle = "a \\"b\\" \\\\ \\u007f ü"\nlimit = { a = 1 }\n')
    ran = toy("config", "--config", file)
    values = tomllib.loads(ran.out)
    assert set(values) == {"play", "stop", "play-again"}, "config itself has none"
    assert values["play"]["title"] == 'a "b" \\ \x7f ü'
    assert values["play"]["limit"] == ["a=1"]
    assert f"port = 1{' ' * 36}  # {file}, line 2" in ran.out.splitlines()
    assert ran.out.splitlines()[0] == f"# Strongest first: options, environment, {file}, defaults."
    again = write(ran.out.replace("# after", "after = 1"))
    assert tomllib.loads(toy("config", "--config", again).out)["play"] == values["play"]


def test_secrets_are_stars_wherever_they_come_from(toy: Run, write: Write) -> None:
    secret = "hunter2"  # noqa: S105 - what must not be seen
    file = write(f"token = '{secret}'\n[play]\nurl = 'nats://me:p@{secret}@host/x'\n")
    for ran in (
        toy("config", "--config", file),
        toy("config", "--config", file, "--json"),
        toy("config", STREAM_MER_TOKEN=secret),
        toy("config", "play", "--token", secret, "--limit", f"a=http://{secret}@b"),
    ):
        assert ran.error == ""
        assert secret not in ran.out + ran.err
        assert "***" in ran.out
    play = document_of(toy("config", "--config", file, "--json"))["settings"]["play"]
    assert play["token"]["value"] == "***"
    assert play["url"]["value"] == "nats://***@host/x"


def test_it_checks_all_sections_and_all_variables(toy: Run, write: Write) -> None:
    assert (
        "[stop] has no setting aftre; did you mean 'after'?"
        in toy("config", "--config", write("[stop]\naftre=1")).error
    )
    assert "there is no setting zzz" in toy("config", "--config", write("zzz=1"), "play").error
    ran = toy("config", "play", STREAM_MER_QQQ="1", STREAM_MER_STOP_AFTRE="2", STREAM_MER_SONGS="x")
    assert ran.err.splitlines() == [
        "stream-mer: STREAM_MER_STOP_AFTRE is no setting; did you mean 'STREAM_MER_STOP_AFTER'?",
        "stream-mer: STREAM_MER_QQQ is no setting",
    ]
    assert len(document_of(toy("config", "--json", STREAM_MER_QQQ="1"))["warnings"]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plai"], "there is no command plai; did you mean 'play'?"),
        (["config"], "there is no command config"),
        (["play", "--prot", "1"], "No such option"),
        (["play", "--port", "x"], "'x' is not a valid integer"),
    ],
)
def test_mistakes_are_document_of(toy: Run, arguments: list[str], says: str) -> None:
    assert says in toy("config", *arguments).error


def test_the_example_names_everything_and_says_nothing_until_asked(toy: Run, write: Write) -> None:
    example = toy("config", "--example").out
    assert tomllib.loads(example) == {"play": {}, "stop": {}, "play-again": {}}
    lines = [
        line.removeprefix("#") if line[:1] == "#" and line[1:2] not in (" ", "") else line
        for line in example.splitlines()
    ]
    uncommented = "\n".join(lines)
    assert toy("play", "--config", write(example)).params == toy("play").params
    ran = toy("config", "--json", "--config", write(uncommented))
    for section, settings in document_of(ran)["settings"].items():
        assert {one["from"] for one in settings.values()} == {"file"}, section
