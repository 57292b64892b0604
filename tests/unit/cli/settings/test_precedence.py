"""Flag over environment over file over default, for every kind of option."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_mer.cli.settings import variables_of

Run = Callable[..., Any]
Write = Callable[[str], Path]

PLACES = ("shared in the file", "in the section", "shared variable", "own variable", "flag")
"""Where a setting may stand, the weakest first."""

CASES: dict[str, tuple[str, list[str], list[Any]]] = {
    # option: its parameter, how it is written in each place, what comes out
    "port": ("port", ["1", "2", "3", "4", "5"], [1, 2, 3, 4, 5]),
    "gain": ("gain", ["1", "2.5", "-3", "4e1", "5"], [1.0, 2.5, -3.0, 40.0, 5.0]),
    "title": ("heading", ['"a"', '"b"', "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    "layout": ("layout", ['"tall"', '"wide"', "tall", "wide", "tall"], ["tall", "wide", "tall", "wide", "tall"]),
    "loop": ("loop", ["true", "false", "yes", "0", "--loop"], [True, False, True, False, True]),
    "no-words": ("no_words", ["true", "false", "on", "off", "--no-words"], [True, False, True, False, True]),
    "verbose": ("verbose", ["1", "2", "3", "4", "-"], [1, 2, 3, 4, 1]),
    "limit": (
        "limits",
        ['["a=1"]', "{ a = 2 }", "a=3", '["a=4", "b=5"]', "a=6"],
        [("a=1",), ("a=2",), ("a=3",), ("a=4", "b=5"), ("a=6",)],
    ),
    "url": ("url", ['"ws://a"', '"ws://b"', "ws://c", "ws://d", "ws://e"], [f"ws://{one}" for one in "abcde"]),
}
DEFAULTS = {
    "port": 8765,
    "gain": None,
    "heading": None,
    "layout": "wide",
    "loop": False,
    "no_words": False,
    "verbose": 0,
    "limits": (),
    "url": "ws://here",
}
SWITCHES = ("loop", "no-words", "verbose")


@pytest.mark.parametrize(
    "places", [set(some) for n in range(6) for some in itertools.combinations(range(5), n)], ids=str
)
@pytest.mark.parametrize("option", CASES)
def test_the_strongest_place_wins(toy: Run, write: Write, option: str, places: set[int]) -> None:
    parameter, written, expected = CASES[option]
    shared = f"{option} = {written[0]}\n" if 0 in places else ""
    own = f"[play]\n{option} = {written[1]}\n" if 1 in places else ""
    own_variable, shared_variable = (
        variables_of("play", option) if option != "verbose" else ("STREAM_MER_PLAY_VERBOSE", "")
    )
    environ = {name: written[i] for i, name in ((2, shared_variable), (3, own_variable)) if i in places and name}
    flags = [f"--{option}"] if option in SWITCHES else [written[4]] if option == "url" else [f"--{option}", written[4]]
    ran = toy("play", "--config", write(shared + own), *(flags if 4 in places else []), **environ)
    places = places - {2} if not shared_variable else places
    assert ran.error == ""
    assert ran.params is not None
    assert ran.params[parameter] == (expected[max(places)] if places else DEFAULTS[parameter])


@given(st.sets(st.sampled_from(sorted(CASES)[:-1])), st.sets(st.sampled_from(sorted(CASES))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_settings_do_not_touch_one_another(toy: Run, write: Write, in_file: set[str], in_environment: set[str]) -> None:
    in_environment -= {"verbose"}
    file = write("".join(f"{one} = {CASES[one][1][0]}\n" for one in in_file))
    ran = toy("play", "--config", file, **{variables_of("play", one)[0]: CASES[one][1][3] for one in in_environment})
    for option, (parameter, _, expected) in CASES.items():
        wanted = expected[3] if option in in_environment else expected[0] if option in in_file else DEFAULTS[parameter]
        assert ran.params is not None
        assert ran.params[parameter] == wanted


def test_what_a_command_needs_may_come_from_a_file(toy: Run, write: Write) -> None:
    assert "Missing option '--after'" in toy("stop").error
    assert toy("stop", "--config", write("[stop]\nafter = 3\n")).params["after"] == 3.0
    assert toy("stop", STREAM_MER_STOP_AFTER="4").params["after"] == 4.0


def test_flags_switch_off_what_a_file_switches_on(toy: Run, write: Write) -> None:
    file = write("[play]\nloop = true\nno-words = true\nwarm = false\n")
    params = toy("play", "--config", file, "--no-loop", "--with-words", "--warm").params
    assert (params["loop"], params["no_words"], params["warm"]) == (False, False, True)


def test_an_empty_variable_counts_as_not_set(toy: Run, write: Write) -> None:
    params = toy("play", "--config", write("port = 1\n"), STREAM_MER_PORT="", STREAM_MER_PLAY_PORT="").params
    assert params["port"] == 1


def test_an_option_of_tomorrow_takes_part_without_being_named(toy: Run, write: Write) -> None:
    assert toy("stop", "--config", write("after = 1\nvolume = 3\n")).params["volume"] == 3


def test_the_users_own_file_is_read_and_said(toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_MER_CONFIG")
    own = tmp_path / "stream_mer" / "config.toml"
    own.parent.mkdir()
    own.write_text("port = 3\n", encoding="utf-8")
    ran = toy("play", XDG_CONFIG_HOME=str(tmp_path))
    assert (ran.params["port"], ran.err) == (3, f"Settings: {own}\n")
    ran = toy("play-again", XDG_CONFIG_HOME=str(tmp_path))
    assert (ran.params["times"], ran.err) == (1, ""), "no setting is from the file"
    assert toy("play", "--config", "", XDG_CONFIG_HOME=str(tmp_path)).params["port"] == 8765
    assert toy("play", "--config", own).err == "", "the user named the file"


def test_paths_are_relative_to_the_file_and_names_stay_names(
    toy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    folder = tmp_path / "evening"
    (folder / "mine").mkdir(parents=True)
    file = folder / "show.toml"
    file.write_text('[play]\nplot = "a.png"\nsong = ["../b.flac", "/c.flac", "~/d.flac"]\nmodel = "mine"\n', "utf-8")
    params = toy("play", "--config", file).params
    assert params["plot"] == folder / "a.png"
    assert params["songs"] == (folder / "../b.flac", Path("/c.flac"), Path("/home/me/d.flac"))
    assert params["model"] == str(folder / "mine")
    for name, stays in (("base", "base"), ("./x", str(folder / "x")), ("http://base", "http://base"), ("-", "-")):
        file.write_text(f'[play]\nmodel = "{name}"\n', encoding="utf-8")
        assert toy("play", "--config", file).params["model"] == stays
    assert toy("play", STREAM_MER_PLOT="a.png").params["plot"] == Path("a.png"), "of the environment: as of a flag"
