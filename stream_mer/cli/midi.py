"""``stream-mer midi``."""

from __future__ import annotations

from contextlib import closing

import click
from rich.table import Table

from stream_mer.cli.echo import echo
from stream_mer.cli.osc import run_sweep
from stream_mer.errors import ServeError, SettingError
from stream_mer.outputs.midi import PRESETS, MidiPort, MidiTarget, encode, find_midi, list_ports
from stream_mer.outputs.osc.composer import Sweep
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.sanitise import escape


@click.command("midi")
@click.argument("where", required=False)
@click.option(
    "--test", is_flag=True, help="Move each control and play each note, one after another, so that a program can learn."
)
@click.option("--once", is_flag=True, help="With --test: stop after one round.")
def command(*, where: str | None, test: bool, once: bool) -> None:
    """List the MIDI presets and ports, show what WHERE gets, or test a connection.

    \b
    Examples:
      stream-mer midi                               the presets, and the ports of this machine
      stream-mer midi generic                       the control changes and notes that it gets
      stream-mer midi my-show.toml                  the same for a mapping file, which checks it
      stream-mer midi "generic@IAC Driver" --test   move each control, so that a program can learn it
      stream-mer midi light --test                  the same by a virtual port, to which other programs connect

    WHERE is what `stream-mer serve --midi WHERE` takes: PRESET or FILE.toml, @PORT, #CHANNEL.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if where is None:
        if test:
            raise click.UsageError("--test sends: say WHERE to")
        _list()
    elif test:
        _test(find_midi(where), once=once)
    else:
        _show(find_midi(where))


def _list() -> None:
    for name, preset in PRESETS.items():
        echo(f"{name:<10}{preset.about}")
    echo("\nPorts:")
    try:
        ports = list_ports()
    except (OSError, SettingError) as error:
        echo(f"  {error}")
        return
    for port in ports:
        echo(escape(f"  {port}"))
    if not ports:
        echo("  none; without @PORT a virtual port is made, to which other programs connect")
    echo("\nMore of one: stream-mer midi NAME. Send: stream-mer serve --midi NAME@PORT")


def _show(target: MidiTarget) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("sent as", "values", "what"):
        table.add_column(title, overflow="fold", no_wrap=title == "sent as")
    for field in target.mapping.sent:
        table.add_row(target.sent(field), field.values, field.source.about)
    echo(escape(f"{target.name} at {target.place}, up to {target.rate_hz:g} times a second"))
    console = EscapingConsole(highlight=False, markup=False)
    console.print(table, width=None if console.is_terminal else 200)
    if target.name in PRESETS:
        echo(f"\n{PRESETS[target.name].setup}")


def _test(target: MidiTarget, *, once: bool) -> None:
    try:
        with closing(MidiPort(target)) as port:
            run_sweep(
                Sweep(target.mapping, stream=""),
                place=target.place,
                rate_hz=target.rate_hz,
                once=once,
                send=lambda message: port.send(encode(message, target.channel)),
                title=target.sent,
            )
    except OSError as error:
        raise ServeError(f"{target.place} cannot be sent to: {error.strerror or error}") from error
