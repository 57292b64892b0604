"""``stream-mer devices``: the sound inputs, and a level meter in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream_mer.audio.levels import AIM_DBFS
from stream_mer.cli.echo import echo
from stream_mer.errors import SettingError
from stream_mer.sources.devices import InputDevice, parse_channels
from stream_mer.sources.microphone import NAME as MONITOR
from stream_mer.sources.microphone import ChannelLevel, MicrophoneSource, Reading, list_devices, open_monitor
from stream_mer.utils.escaping_console import EscapingConsole

_LOWEST_DBFS = -60.0
_BAR_CELLS = 40
_QUIET_DBFS = -45.0
"""Music below this level is close to the hum of an open input."""

_LOW_DBFS, _GAIN_TO_DBFS = -10.0, -3.0
"""The model is trained on music at the level of records: 12 dB lower, one clip in eight changes its category."""


def show_meter(readings: Iterable[Reading], *, name: str, console: Console) -> None:
    """Show a live meter on a terminal, and print the measurement at the end.

    Args:
        readings: As they come.
        name: What the input is called.
        console: Where to.
    """
    last: Reading | None = None
    console.print(Text(name, style="bold"))
    if console.is_terminal:
        with Live(console=console, transient=True, auto_refresh=False) as live:
            for reading in readings:
                last = reading
                live.update(Group(*(_bar(now) for now in reading.now)), refresh=True)
    else:
        for reading in readings:
            last = reading
    for each in last.whole if last is not None else ():
        console.print(Text(f"channel {each.channel:<3} {_numbers(each)}  {verdict(each)}"))


def verdict(measured: ChannelLevel) -> str:
    """Return advice on this level."""
    if measured.clipped_samples:
        return "too loud, it clips: turn the input down"
    if measured.level.peak_dbfs <= _LOWEST_DBFS:
        return "silent: no signal"
    if measured.level.peak_dbfs < _QUIET_DBFS:
        return "very quiet: turn the input up"
    if measured.level.peak_dbfs < _LOW_DBFS:
        more_db = _GAIN_TO_DBFS - measured.level.peak_dbfs
        return f"low: if this was a loud passage, turn the input up or add --gain {more_db:.0f}"
    return "good"


def _bar(measured: ChannelLevel) -> Text:
    cells, peak = _cells(measured.level.rms_dbfs), _cells(measured.level.peak_dbfs)
    loud = _cells(AIM_DBFS[1])
    text = Text(f"{measured.channel:>3} ")
    for cell in range(_BAR_CELLS):
        filled = "█" if cell < cells else "│" if cell == peak - 1 else "·"
        text.append(filled, style="red" if measured.clipped_samples else "yellow" if cell >= loud else "green")
    text.append(f"  {_numbers(measured)}")
    if measured.clipped_samples:
        text.append("  TOO LOUD", style="bold red")
    return text


def _cells(dbfs: float) -> int:
    return max(0, min(_BAR_CELLS, round(_BAR_CELLS * (dbfs - _LOWEST_DBFS) / -_LOWEST_DBFS)))


def _numbers(measured: ChannelLevel) -> str:
    return f"peak {measured.level.peak_dbfs:6.1f} dBFS  rms {measured.level.rms_dbfs:6.1f} dBFS"


@click.command("devices")
@click.argument("name", required=False)
@click.option("--meter", is_flag=True, help="Measure the level of NAME, or of the default input.")
@click.option("--seconds", type=click.FloatRange(0.5, 3600), default=5.0, show_default=True, help="Meter: how long.")
@click.option("--channels", help="Meter: which channels, such as 3,4.  [default: 1,2]")
def command(*, name: str | None, meter: bool, seconds: float, channels: str | None) -> None:
    """List the sound inputs of this machine, or measure the level of one.

    Use a name with `stream-mer serve --source "mic:NAME"`; a part of it is enough if it matches one device only.
    Devices have names and no numbers here, because numbers change whenever something is plugged in. A monitor captures
    the sound that the machine itself plays.

    \b
    Examples:
      stream-mer devices                                   all inputs
      stream-mer devices --meter                           the level of the default input
      stream-mer devices "USB Audio" --meter --channels 3,4
      stream-mer devices monitor --meter                   the level of what this machine plays
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
