"""``stream-mer devices``."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from stream_mer.sources.microphone import list_devices


@click.command("devices")
def command() -> None:
    """List the sound inputs of this machine.

    Use a name with `stream-mer serve --source "mic:NAME"`. Devices are chosen by name, never by number, because numbers
    change whenever something is plugged in. A monitor hears what the machine itself plays.
    """
    devices = list_devices()
    if not devices:
        click.echo("No sound inputs were found. Is the device plugged in, and does the sound server run?", err=True)
        raise click.exceptions.Exit(1)
    table = Table(box=None, pad_edge=False)
    for title in ("name", "channels", "rate", "system", ""):
        table.add_column(title, overflow="fold")
    for device in devices:
        marks = [text for text, on in (("default", device.is_default), ("monitor", device.is_monitor)) if on]
        table.add_row(device.name, str(device.channels), f"{device.rate_hz:g} Hz", device.host_api, ", ".join(marks))
    Console().print(table)
