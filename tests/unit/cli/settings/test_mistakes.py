"""What cannot be is one line that names the file, the line and the key, or the variable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Write = Callable[[str], Path]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[play]\nprot = 1\n", 2, "[play] has no setting prot; did you mean 'port'?"),
        ("[play]\nsongs = []\n", 2, "[play] has no setting songs; did you mean 'song'?"),
        ("[play]\nno_words = true\n", 2, "did you mean 'no-words'?"),
        ("[play]\nconfig = 'a'\n", 2, "[play] has no setting config"),
        ("[play]\nqqqqq = 1\n", 2, "[play] has no setting qqqqq"),
        ("vollume = 1\n", 1, "there is no setting vollume; did you mean 'volume'?"),
        ("[plai]\nport = 1\n", 1, "there is no section [plai]; did you mean 'play'?"),
        ("play = 3\n", 1, "play is a section: write [play]"),
        ("[play]\nport = '1'\n", 2, "[play] port must be a whole number, not '1'"),
        ("[play]\nport = 1.5\n", 2, "[play] port must be a whole number, not 1.5"),
        ("[play]\nport = true\n", 2, "[play] port must be a whole number, not True"),
        ("[play]\nport = 0\n", 2, "[play] port is not valid: 0 is not in the range 1<=x<=65535"),
        ("port = 70000\n", 1, "port is not valid: 70000 is not in the range"),
        ("[play]\nport = [1]\n", 2, "[play] port must be a whole number, not [1]"),
        ("[play.port]\na = 1\n", 1, "[play] port must be a whole number"),
        ("[play]\ngain = 'loud'\n", 2, "[play] gain must be a number, not 'loud'"),
        ("[play]\ngain = nan\n", 2, "[play] gain must be a number, not nan"),
        ("[play]\nshare = 2\n", 2, "[play] share is not valid: 2.0"),
        ("[play]\nloop = 1\n", 2, "[play] loop must be true or false, not 1"),
        ("[play]\nloop = 'yes'\n", 2, "[play] loop must be true or false, not 'yes'"),
        ("[play]\ntitle = 3\n", 2, "[play] title must be text, not 3"),
        ("[play]\ntitle = 2026-01-01\n", 2, "[play] title must be text, not '2026-01-01'"),
        ("[play]\nlayout = 'round'\n", 2, "[play] layout is not valid: 'round' is not one of 'wide', 'tall'"),
        ("[play]\nsong = [1]\n", 2, "[play] song must be text, or a list of that, not 1"),
        ("[play.song]\na = 'b'\n", 1, "[play] song must be text, or a list of that, not "),
        ("[play.limit]\na = [1]\n", 1, "[play] limit must be text, or a list of that, or a table of names, not [1]"),
        ("[play]\nverbose = 'x'\n", 2, "[play] verbose must be a whole number, not 'x'"),
        ("[[play]]\nport = 1\n", None, "play is a section"),
    ],
)
def test_of_a_file(toy: Run, write: Write, text: str, line: int | None, says: str) -> None:
    path = write(text)
    ran = toy("play", "--config", path)
    assert ran.params is None
    assert ran.error.startswith(f"{path}, line {line}: " if line else f"{path}: "), ran.error
    assert says in ran.error
    assert "\n" not in ran.error


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("STREAM_MER_PORT", "x", "STREAM_MER_PORT is not valid: 'x' is not a valid integer"),
        ("STREAM_MER_PLAY_PORT", "0", "STREAM_MER_PLAY_PORT is not valid: 0 is not in the range"),
        ("STREAM_MER_LOOP", "perhaps", "STREAM_MER_LOOP is not valid: 'perhaps' is not a valid boolean"),
        ("STREAM_MER_SONG", "[1]", "STREAM_MER_SONG must be text, or a list of that, not 1"),
        ("STREAM_MER_SONG", "[", "STREAM_MER_SONG must be one value, or several as"),
        ("STREAM_MER_LIMIT", "{a", "STREAM_MER_LIMIT must be one value, or several as"),
    ],
)
def test_of_the_environment(toy: Run, name: str, value: str, says: str) -> None:
    ran = toy("play", **{name: value})
    assert ran.params is None
    assert says in ran.error
    assert "\n" not in ran.error


def test_a_file_that_a_variable_names_and_that_is_missing_says_so(toy: Run, tmp_path: Path) -> None:
    ran = toy("play", STREAM_MER_CONFIG=str(tmp_path / "gone.toml"))
    assert ran.error.endswith("No such file or directory (STREAM_MER_CONFIG names it)")
    assert "names it" not in toy("play", "--config", tmp_path / "gone.toml").error


def test_sections_and_shared_settings_of_other_commands_are_no_mistake(toy: Run, write: Write) -> None:
    ran = toy("play", "--config", write("volume = 2\nport = 3\n[stop]\nafter = 'not looked at here'\n[play-again]\n"))
    assert ran.params["port"] == 3
    assert (ran.error, ran.err) == ("", "")


def test_a_variable_that_is_nearly_a_setting_gets_a_warning(toy: Run) -> None:
    environ = {"STREAM_MER_PLAY_PROT": "1", "STREAM_MER_PROT": "1", "STREAM_MER_CACHE": "/x", "STREAM_MER_VOLUME": "2"}
    ran = toy("play", **environ, STREAM_MER_PLAY_AGAIN_TIMES="2", STREAM_MER_STOP_NOTHING="1", STREAM_MER_QQQ="1")
    assert ran.params["port"] == 8765
    assert ran.err.splitlines() == [
        "stream-mer: STREAM_MER_PLAY_PROT is no setting; did you mean 'STREAM_MER_PLAY_PORT'?",
        "stream-mer: STREAM_MER_PROT is no setting; did you mean 'STREAM_MER_PORT'?",
    ]


@pytest.mark.parametrize("token", ["123456", "[123456]", "{ of = 123456 }"])
def test_a_secret_is_in_no_error(toy: Run, write: Write, token: str) -> None:
    ran = toy("play", "--config", write(f"[play]\ntoken = {token}\n"))
    assert "token must be text" in ran.error
    assert "123456" not in ran.error
