"""``stream-mer diagnose``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream_mer.cli.diagnosis import machine, models
from stream_mer.cli.diagnosis.finding import Check, Finding, run_checks
from stream_mer.cli.echo import echo
from stream_mer.cli.settings import NameOrPath
from stream_mer.config import DEFAULT_MODEL, LyricsSettings
from stream_mer.server.settings import ServeSettings
from stream_mer.utils.escaping_console import EscapingConsole

LIMIT_S = 60.0
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command("diagnose")
@click.option(
    "--model", type=NameOrPath(), default=DEFAULT_MODEL, show_default=True, help="Checkpoint: a name or a folder."
)
@click.option(
    "--asr-model",
    type=NameOrPath(),
    default=LyricsSettings().model,
    show_default=True,
    help="Whisper model: a name or a folder.",
)
@click.option("--host", default=ServeSettings().host, show_default=True, help="Address that serve is to listen on.")
@click.option("--port", default=ServeSettings().port, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, for a request for help.")
def command(*, model: str, asr_model: str, host: str, port: int, as_json: bool) -> None:
    """Check this machine: models, sound, port, speed; and say what to fix.

    Everything is really done: the model follows a song, the recogniser hears its words. The exit status is 1 if the
    main job will not work here. What works without a microphone is no failure without one.
    """
    checks = (
        Check("versions", machine.versions),
        Check("decoding", models.decoding),
        Check("emotion", partial(models.emotion, model)),
        Check("recogniser", partial(models.recogniser, asr_model), needed=False),
        Check("vocal gate", models.vocal_gate, needed=False),
        Check("lyric lines", models.sentence_encoder, needed=False),
        Check("sound inputs", machine.microphones, needed=False),
        Check("loopback", machine.loopback, needed=False),
        Check("port", partial(machine.port, host, port)),
        Check("cache", machine.cache, needed=False),
    )
    console = EscapingConsole(highlight=False)
    found: list[tuple[Check, Finding]] = []
    for check, finding in run_checks(checks, limit_s=LIMIT_S):
        found.append((check, finding))
        if not as_json:
            _show(console, check, finding)
    levels = [finding.level for _, finding in found]
    if as_json:
        told = [{"check": check.title, **_told(finding)} for check, finding in found]
        echo(json.dumps({"checks": told}, indent=2))
    else:
        console.print(_summary(levels))
    if "fail" in levels:
        raise click.exceptions.Exit(1)


def _told(finding: Finding) -> dict[str, str]:
    return {"level": finding.level, "said": finding.said, "advice": finding.advice}


def _show(console: Console, check: Check, finding: Finding) -> None:
    style = STYLES[finding.level]
    table = Table.grid(padding=(0, 1))
    table.add_column(width=4, style=style)
    table.add_column(width=12, style="bold")
    table.add_column(overflow="fold")
    table.add_row(finding.level, check.title, Text(finding.said))
    if finding.advice:
        table.add_row("", "", Text.assemble(("→ ", style), finding.advice))
    console.print(table)


def _summary(levels: Sequence[str]) -> Text:
    if "fail" in levels:
        return Text("stream-mer serve will not work here until what failed is fixed.", style=STYLES["fail"])
    if "warn" in levels:
        return Text("stream-mer serve works here, but for what is warned of above.", style=STYLES["warn"])
    return Text("All is well: stream-mer serve", style=STYLES["ok"])
