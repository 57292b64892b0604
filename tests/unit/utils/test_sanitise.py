"""No message shows a secret of an address, and nothing that comes from outside steers a terminal."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

import stream_mer
from stream_mer import cli, errors
from stream_mer.cli import COMMANDS
from stream_mer.cli.echo import EscapingFile, echo
from stream_mer.cli.settings import shown
from stream_mer.cluster import bus
from stream_mer.errors import SettingError
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.sanitise import escape, public_address, redact, redact_address

SECRETS = ("pa55word", "k3yk3y", "t0k3n", "fr4gment")
ADDRESS = "http://dj:pa55word@127.0.0.1:9/live?key=k3yk3y&x=t0k3n#fr4gment"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("http://u:p@h:80/x?key=abc&b=c#f", "http://***@h:80/x?key=***&b=***#***"),
        ("cannot open 'http://u:p@ss@h/x?key=a'; check", "cannot open 'http://***@h/x?key=***'; check"),
        ("(http://h/?a=b).", "(http://h/?a=***)."),
        ("nats://a:b@h1,nats://c:d@h2: no", "nats://***@h1,nats://***@h2: no"),
        ("nats://to/ken@h:4222", "nats://***@h:4222"),
        ("rtsp://h/user=admin_password=abc_channel=1", "rtsp://h/user=admin_password=***"),
        ("rtsp://h/user=a&password=abc&channel=1.sdp", "rtsp://h/user=a&password=***&channel=1.sdp"),
        ("http:/u:p@h/a.lrc", "http:/***@h/a.lrc"),  # as a path type writes it
        ("http://user:pa/ss@h/x", "http://***@h/x"),
        ("http://user:pa?ss@h/x", "http://***@h/x"),
        ("HTTPS://u:p@[::1]:8000/x", "HTTPS://***@[::1]:8000/x"),
        ("srt://h:1?streamid=x&passphrase=y", "srt://h:1?streamid=***&passphrase=***"),
        ("http://h?abc", "http://h?***"),
        ("GET /live?token=abc HTTP/1.1", "GET /live?token=*** HTTP/1.1"),
        # Nothing secret in these:
        ("http://[::1]:8000/@artist/live.mp3", "http://[::1]:8000/@artist/live.mp3"),
        ("C:/music/me@home.wav", "C:/music/me@home.wav"),
        ("file:///home/me@work/x?y=1.wav", "file:///home/me@work/x?y=1.wav"),
        ("eos@192.168.1.5:3032 and mic:USB@desk", "eos@192.168.1.5:3032 and mic:USB@desk"),
    ],
)
def test_addresses_in_a_text_are_masked_and_the_rest_stays(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


def test_a_single_address_may_hold_what_no_text_can() -> None:
    assert redact_address("http://user:my pass@h/x") == "http://***@h/x"
    assert redact_address("me:pa@ss@host:4222") == "***@host:4222"
    assert redact_address("host:8765/?token=abc") == "host:8765/?token=***"
    assert redact_address("nats://me:half") == "nats://me:***"  # a comma in the password ends the address


@given(st.text(st.characters(exclude_characters="@*:/?#[]", exclude_categories=("Cs", "Z", "C")), min_size=6))
def test_whatever_a_password_holds_it_is_masked(password: str) -> None:
    for address in (f"http://user:{password}@host/live", f"http://host/live?key={password}", f"nats://{password}@host"):
        assert password not in redact_address(address)


def test_a_name_made_of_an_address_keeps_port_and_brackets() -> None:
    assert public_address("https://dj:x@radio.example:8000/live.mp3?key=abc") == "https://radio.example:8000/live.mp3"
    assert public_address("http://u:x@[::1]:8000/live") == "http://[::1]:8000/live"


def test_every_error_is_redacted_when_it_is_made() -> None:
    for kind in (errors.StreamMerError, *errors.StreamMerError.__subclasses__()):
        assert str(kind(f"cannot use {ADDRESS}; check it")) == f"cannot use {redact(ADDRESS)}; check it"


def test_settings_are_shown_redacted() -> None:
    assert shown([ADDRESS, "a.wav"]) == ["http://***@127.0.0.1:9/live?key=***&x=***#***", "a.wav"]


def test_what_is_logged_is_redacted_with_its_traceback() -> None:
    formatter = cli._RedactingFormatter("%(message)s")
    failure = OSError(ADDRESS)
    failed = (OSError, failure, failure.__traceback__)
    record = logging.LogRecord("a", logging.ERROR, "", 0, "lost %s", (ADDRESS,), failed)
    printed = formatter.format(record)
    assert f"OSError: {redact(ADDRESS)}" in printed
    assert not any(secret in printed for secret in SECRETS)


def test_a_fault_of_our_own_is_reported_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    cli._print_redacted(ValueError, ValueError(ADDRESS), None)
    printed = capsys.readouterr().err
    assert f"ValueError: {redact(ADDRESS)}" in printed
    assert not any(secret in printed for secret in SECRETS)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command line in this process and returns all that it prints; none of it may be secret."""

    monkeypatch.setattr(bus, "FIRST_CONNECT_TIMEOUT_S", 0.3)

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["stream-mer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main()
        printed = "".join(capsys.readouterr())
        assert not any(secret in printed for secret in SECRETS), printed
        return printed

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_the_settings_of_every_command_are_printed_redacted(command: str, run: Callable[..., str]) -> None:
    found = cli.cli.get_command(click.Context(cli.cli), command)
    assert found is not None
    options = [one for one in found.params if isinstance(one, click.Option) and one.expose_value and not one.is_flag]
    for option in options:
        flag = max(option.opts, key=len)
        printed = run("config", command, flag, ADDRESS) if command != "config" else run("config", flag, ADDRESS)
        assert printed
        run("config", "--json", command, flag, f"name={ADDRESS}")


NATS = ADDRESS.replace("http", "nats")


@pytest.mark.parametrize(
    "arguments",
    [
        [ADDRESS],
        ["tag", ADDRESS],
        ["tag", ADDRESS.removeprefix("http://")],
        ["tag", ADDRESS.replace("http://", "http:")],
        ["tag", "a.wav", "--lyrics", ADDRESS],
        ["tag", "a.wav", "--model", ADDRESS],
        ["tag", "a.wav", "--out", ADDRESS],
        ["serve", ADDRESS],
        ["serve", "--source", ADDRESS, "--rate", "8000"],
        ["serve", "--source", ADDRESS, "--gain", "3"],
        ["serve", "--source", ADDRESS.replace("http", "ftp")],
        ["serve", "--source", f"A={ADDRESS}", "--source", f"A={ADDRESS}"],
        ["serve", "--source", ADDRESS, "--source", ADDRESS],
        ["serve", "--source", ADDRESS, "--port", ADDRESS],
        ["serve", "--from", ADDRESS],
        ["serve", "--from", NATS],
        ["serve", "--source", "demo", "--model", ADDRESS],
        ["serve", "--source", "demo", "--osc", ADDRESS],
        ["serve", "--source", "demo", "--sacn", ADDRESS],
        ["replay", ADDRESS],
        ["listen", ADDRESS, "--no-wait"],
        ["listen", ADDRESS.replace("http", "ftp")],
        ["listen", ADDRESS, "extra"],
        ["worker", "--nats", ADDRESS],
        ["worker", "--nats", "nats://me:pa55word,t0k3n@127.0.0.1:9"],
        ["channels", "--nats", NATS],
        ["channels", "add", "radio", ADDRESS, "--nats", NATS],
        ["channels", "add", ADDRESS],
        ["devices", ADDRESS],
        ["osc", ADDRESS],
        ["lights", ADDRESS],
        ["protocol", ADDRESS],
        ["diagnose", ADDRESS],
        ["config", ADDRESS],
        ["config", "--config", ADDRESS],
        ["train", "--corpus", ADDRESS, "--out", "x"],
        ["train-vocals", ADDRESS],
        ["evaluate", "--corpus", ADDRESS],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_no_command_tells_what_is_secret_in_an_address(arguments: list[str], run: Callable[..., str]) -> None:
    printed = run(*arguments)
    assert printed
    assert "Traceback" not in printed


def test_a_radio_that_does_not_answer_is_reported_redacted(tiny_model: Path, run: Callable[..., str]) -> None:
    printed = run("serve", "--source", ADDRESS, "--model", tiny_model, "--no-lyrics", "--port", "0")
    assert "http://***@127.0.0.1:9/live?key=***" in printed


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
    (printed,) = capsys.readouterr().err.splitlines()
    assert r"\u001b]0;owned" in printed or r"one\u000atwo" in printed


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
