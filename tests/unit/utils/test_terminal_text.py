"""Nothing that comes from outside steers a terminal, whoever prints it."""

from __future__ import annotations

import ast
import io
import json
import logging
import tomllib
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import stream_mer
from stream_mer import cli
from stream_mer.cli.echo import EscapingFile, echo
from stream_mer.errors import SettingError
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.sanitise import escape

HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\u202edlrow\u2066e\r\x00\x7f\udcff"
ESCAPED = r"a\u001b]0;owned\u0007b\u009b2Jc\u202edlrow\u2066e\u000d\u0000\u007f\udcff"
PACKAGE = Path(stream_mer.__file__).parent


def test_control_c1_bidi_and_surrogates_are_written_out() -> None:
    assert escape(HOSTILE) == ESCAPED
    assert escape("two\nlines\tand\u2028more") == r"two\u000alines\u0009and\u2028more"
    assert escape("two\nlines\tand\u2028more", keep_lines=True) == "two\nlines\tand" + r"\u2028more"


def test_every_script_and_sign_of_ordinary_text_stays() -> None:
    for text in (
        "Björk – Jóga",
        "שלום",
        "مرحبا",
        "日本語",
        "نمی\u200cخواهم",
        "👩\u200d🎤 ♫",
        "a\u00a0b",
        "back\\slash",
    ):
        assert escape(text) == text


@given(st.text(st.characters()))
def test_whatever_comes_nothing_unsafe_is_left_and_twice_is_once(text: str) -> None:
    shown = escape(text)
    assert shown.encode() is not None
    assert not any(0x7F <= ord(sign) <= 0x9F or ord(sign) < 0x20 for sign in shown)
    assert escape(shown) == shown


def test_json_and_toml_read_the_same_text_again() -> None:
    text = HOSTILE.replace("\udcff", "")
    assert json.loads(escape(json.dumps(text, ensure_ascii=False))) == text
    assert tomllib.loads(escape('a = "title\u202e of \u2066a song"'))["a"] == "title\u202e of \u2066a song"


def test_a_command_prints_it_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"{HOSTILE}\nnext")
    echo(HOSTILE, err=True, nl=False)
    assert capsys.readouterr() == (f"{ESCAPED}\nnext\n", ESCAPED)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_console_draws_it_escaped_wherever_it_is(is_terminal: bool) -> None:
    out = io.StringIO()
    console = EscapingConsole(file=out, force_terminal=is_terminal, width=300, markup=False, highlight=False)
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(Text(HOSTILE, style="red"))
    console.print(HOSTILE, table)
    drawn = out.getvalue()
    assert drawn.count(r"\u001b]0;owned") == 4
    assert "\x1b]0;" not in drawn
    assert not set("\x07\x9b\u202e\u2066\r") & set(drawn)
    assert ("\x1b[31m" in drawn) is is_terminal, "its own colours stay"


def test_results_on_a_terminal_are_escaped_too() -> None:
    out = io.BytesIO()
    file = EscapingFile(out)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    text.write("title\r\nB\x1bj\u202eörk\n")
    text.flush()
    assert out.getvalue().decode() == "title\\u000d\nB\\u001bj\\u202eörk\n"


@pytest.mark.parametrize("error", [SettingError(HOSTILE), click.UsageError(HOSTILE), SettingError("one\ntwo")])
def test_an_error_is_one_line_that_steers_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert r"\u001b]0;owned" in told or r"one\u000atwo" in told


def test_a_log_line_is_one_line_that_steers_nothing() -> None:
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "from %s", (f"{HOSTILE}\nWARNING forged",), None)
    formatter = cli._RedactingFormatter("%(levelname)s %(name)s: %(message)s")
    assert formatter.format(record) == f"WARNING x: from {ESCAPED}\\u000aWARNING forged"


def test_no_command_prints_past_the_escaping() -> None:
    """``echo`` and ``EscapingConsole`` are the only ways out of a command; the group itself prints errors."""
    ways = {"click.echo", "click.secho", "print", "Console"}
    sources = {*(PACKAGE / "cli").glob("*.py"), PACKAGE / "server" / "terminal.py"}
    past = [
        f"{path.name}:{node.lineno}"
        for path in sorted(sources - {PACKAGE / "cli" / "echo.py", PACKAGE / "cli" / "__init__.py"})
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ways
    ]
    assert past == []
