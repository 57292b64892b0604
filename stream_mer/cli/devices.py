"""``stream-mer devices``."""

from __future__ import annotations

import click
from rich.table import Table

from stream_mer.cli.echo import echo
from stream_mer.cli.meter import show_meter
from stream_mer.errors import SettingError
from stream_mer.sources.devices import InputDevice, parse_channels
from stream_mer.sources.microphone import NAME as MONITOR
from stream_mer.sources.microphone import MicrophoneSource, list_devices, open_monitor
from stream_mer.utils.escaping_console import EscapingConsole


@click.command("devices")
@click.argument("name", required=False)
@click.option("--meter", is_flag=True, help="Measure the level of NAME, or of the default input.")
@click.option("--seconds", type=click.FloatRange(0.5, 3600), default=5.0, show_default=True, help="Meter: how long.")
@click.option("--channels", help="Meter: which channels, such as 3,4.  [default: 1,2]")
def command(*, name: str | None, meter: bool, seconds: float, channels: str | None) -> None:
    """List the sound inputs of this machine, or measure how loud one is.

    Use a name with `stream-mer serve --source "mic:NAME"`; a part of it that fits one device alone will do. Devices are
    chosen by name, never by number, because numbers change whenever something is plugged in. A monitor hears what the
    machine itself plays.

    \b
    Examples:
      stream-mer devices                                   what there is
      stream-mer devices --meter                           how loud the default input is
      stream-mer devices "USB Audio" --meter --channels 3,4
      stream-mer devices monitor --meter                   what this machine plays
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    console = EscapingConsole()
    if meter:
        picked = None if channels is None else parse_channels(channels)
        source = open_monitor(channels=picked) if name == MONITOR else MicrophoneSource(name, channels=picked)
        show_meter(source.read_meter(seconds), name=source.name, console=console)
        return
    if channels is not None:
        raise SettingError("--channels is for --meter: give both")
    devices = list_devices()
    if not devices:
        echo("No sound inputs were found. Is the device plugged in, and does the sound server run?", err=True)
        raise click.exceptions.Exit(1)
    matching = [device for device in devices if name is None or name.casefold() in device.name.casefold()]
    if not matching:
        there = ", ".join(dict.fromkeys(repr(device.name) for device in devices))
        raise SettingError(f"no sound input is called like {name!r}; there are: {there}")
    console.print(_table(matching))


def _table(devices: list[InputDevice]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("name", "channels", "rate", "system", ""):
        table.add_column(title, overflow="fold")
    for device in devices:
        marks = [text for text, on in (("default", device.is_default), ("monitor", device.is_monitor)) if on]
        table.add_row(device.name, str(device.channels), f"{device.rate_hz:g} Hz", device.host_api, ", ".join(marks))
    return table
