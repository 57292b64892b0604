"""A command line of its own to set: every kind of option that click knows, and none of stream_mer's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from stream_mer.cli import config
from stream_mer.cli.settings import NameOrPath, add_settings, explain, explain_bad_parameter
from stream_mer.errors import StreamMerError


class Ran(NamedTuple):
    """What a command was given, or why it was not run."""

    params: dict[str, Any] | None
    error: str
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``play`` or ``stop`` of a small command line in this process; keyword arguments are its environment."""
    for name in list(os.environ):
        if name.startswith("STREAM_MER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STREAM_MER_CONFIG", "")
    seen: list[dict[str, Any]] = []
    group = _group(seen)

    def run(*arguments: object, **environ: str) -> Ran:
        seen.clear()
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            try:
                group.main([str(one) for one in arguments], prog_name="toy", standalone_mode=False)
                error = ""
            except click.ClickException as caught:
                error = caught.format_message()
            except StreamMerError as caught:
                error = " ".join([str(caught), *getattr(caught, "__notes__", [])])
        out, err = capsys.readouterr()
        assert not error or not seen, "an error comes before the command runs"
        return Ran(dict(seen[0]) if seen else None, error, out, err)

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file of settings."""

    def write_file(text: str) -> Path:
        path = tmp_path / "show.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


class _Group(click.Group):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        return found and add_settings(found)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            explain_bad_parameter(error)
            raise
        except StreamMerError as error:
            explain(ctx, error)
            raise


def _group(seen: list[dict[str, Any]]) -> click.Group:
    group = _Group("toy")

    @group.command("play")
    @click.argument("url", default="ws://here")
    @click.option("--port", type=click.IntRange(1, 65_535), default=8765)
    @click.option("--gain", type=float)
    @click.option("--share", type=click.FloatRange(0, 1), default=0.5)
    @click.option("--title", "heading")
    @click.option("--layout", type=click.Choice(["wide", "tall"]), default="wide")
    @click.option("--loop", is_flag=True)
    @click.option("--no-words", is_flag=True)
    @click.option("--warm/--cold", default=True)
    @click.option("--model", type=NameOrPath(), default="base")
    @click.option("--plot", type=click.Path(path_type=Path))
    @click.option("--song", "songs", multiple=True, type=click.Path(path_type=Path))
    @click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE")
    @click.option("--token")
    @click.option("--verbose", count=True)
    def play(**given: Any) -> None:
        seen.append(given)

    @group.command("stop")
    @click.option("--token")
    @click.option("--after", type=float, required=True)
    @click.option("--volume", default=1)
    def stop(**given: Any) -> None:
        seen.append(given)

    @group.command("play-again")
    @click.option("--times", default=1)
    def again(**given: Any) -> None:
        seen.append(given)

    group.add_command(config.command)
    return group
