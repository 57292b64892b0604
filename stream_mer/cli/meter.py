"""A level meter in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from stream_mer.sources.microphone import ChannelLevel, Reading

_LOWEST_DBFS = -60.0
_BAR_CELLS = 40
_LOUD_DBFS = -6.0
_QUIET_DBFS = -45.0
"""Music this far down is heard, but close to what an open input hums."""

_LOW_DBFS, _AIM_DBFS = -10.0, -3.0
"""The model knows music as loud as it is on records: 12 dB quieter it takes one clip in eight for something else."""


def show_meter(readings: Iterable[Reading], *, name: str, console: Console) -> None:
    """Show a live meter where there is a terminal, and say what was measured in the end.

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
    """What to do about this level."""
    if measured.clipped_samples:
        return "clips: turn the input down"
    if measured.level.peak_dbfs <= _LOWEST_DBFS:
        return "silent: nothing is to be heard"
    if measured.level.peak_dbfs < _QUIET_DBFS:
        return "very quiet: turn the input up"
    if measured.level.peak_dbfs < _LOW_DBFS:
        more_db = _AIM_DBFS - measured.level.peak_dbfs
        return f"low: if this was a loud passage, turn the input up or add --gain {more_db:.0f}"
    return "good"


def _bar(measured: ChannelLevel) -> Text:
    cells, peak = _cells(measured.level.rms_dbfs), _cells(measured.level.peak_dbfs)
    loud = _cells(_LOUD_DBFS)
    text = Text(f"{measured.channel:>3} ")
    for cell in range(_BAR_CELLS):
        filled = "█" if cell < cells else "│" if cell == peak - 1 else "·"
        text.append(filled, style="red" if measured.clipped_samples else "yellow" if cell >= loud else "green")
    text.append(f"  {_numbers(measured)}")
    if measured.clipped_samples:
        text.append("  CLIP", style="bold red")
    return text


def _cells(dbfs: float) -> int:
    return max(0, min(_BAR_CELLS, round(_BAR_CELLS * (dbfs - _LOWEST_DBFS) / -_LOWEST_DBFS)))


def _numbers(measured: ChannelLevel) -> str:
    return f"peak {measured.level.peak_dbfs:6.1f} dBFS  rms {measured.level.rms_dbfs:6.1f} dBFS"
