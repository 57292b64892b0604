"""``stream-mer lights``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stream_mer.cli.echo import echo
from stream_mer.cli.settings import NameOrPath
from stream_mer.config import EngineSettings, LyricsSettings
from stream_mer.errors import ServeError, SettingError
from stream_mer.event_json import EventMessage, event_of
from stream_mer.outputs.dmx.look import Colour, hex_of
from stream_mer.outputs.dmx.render import Moment, preview
from stream_mer.outputs.dmx.rig import ABOUT, EXAMPLES, LOOKS, Lamp, Rig, find_rig, lamps_of, used_channels
from stream_mer.outputs.plot import check_picture, save_figure
from stream_mer.server.messages import decode_server
from stream_mer.types import StreamEvent
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.files import check_targets

_ROWS = 40
"""Number of moments of a show that are printed."""

_SHOWN_LAMPS = 32


@click.command("lights")
@click.argument("rig", required=False, type=NameOrPath())
@click.option("--example", type=click.Choice(list(EXAMPLES)), help="Print a rig file to start from.")
@click.option(
    "--tags",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="JSONL",
    help="Preview with recorded messages: the output of `stream-mer tag`. - for stdin.",
)
@click.option("--demo", is_flag=True, help="Preview with the demo song.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PNG",
    help="Also draw the preview: lamps over time.",
)
def command(*, rig: str | None, example: str | None, tags: str | None, demo: bool, picture: Path | None) -> None:
    """List the presets for lamps, check a rig and show its channels, or preview a show.

    \b
    Examples:
      stream-mer lights                                the presets
      stream-mer lights --example rig > rig.toml       a rig file to start from; wled for a strip on WLED
      stream-mer lights rig.toml                       check it, and list every lamp with its channels
      stream-mer lights mood --demo                    a preview with the demo song
      stream-mer tag song.mp3 --out tags.jsonl && stream-mer lights rig.toml --tags tags.jsonl --picture rig.png

    RIG is what `stream-mer serve --sacn RIG` takes: mood, palette, wash or a rig file.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if example is not None:
        echo(EXAMPLES[example], nl=False)
        return
    if tags is not None and demo:
        raise click.UsageError("--tags and --demo are two shows: give one")
    if picture is not None and tags is None and not demo:
        raise click.UsageError("--picture draws a show: give --tags or --demo with it")
    if picture is not None:
        check_picture(picture, "--picture")
        check_targets([picture], inputs=[Path(one) for one in (rig, tags) if one is not None])
    if rig is None:
        if tags is not None or demo:
            raise click.UsageError("say which RIG to show: mood, palette, wash or a rig file")
        _list_presets()
        return
    found = find_rig(rig)
    if tags is None and not demo:
        _show_patch(found)
        return
    moments = list(preview(found, _tagged(tags) if tags is not None else _demo_events()))
    if not moments:
        raise SettingError("nothing to preview: no message of a stream was found")
    _print(found, moments)
    if picture is not None:
        _draw(moments, lamps_of(found.fixtures), picture, f"{found.name}: what the lamps look like")


def _list_presets() -> None:
    for name in LOOKS:
        echo(f"{name:<10}{ABOUT[name]}")
    echo("\nSend: stream-mer serve --sacn mood, or --artnet mood@HOST. A file: stream-mer lights --example rig")


def _show_patch(rig: Rig) -> None:
    lamps = lamps_of(rig.fixtures)
    table = Table(box=None, pad_edge=False)
    for title in ("lamps", "universe", "address", "channels"):
        table.add_column(title, overflow="fold")
    for fixture in rig.fixtures:
        slots = [slot for lamp in lamps if lamp.fixture is fixture for slot in lamp.slots]
        ends = (slots[0], slots[-1]) if len(slots) > 1 else (slots[0],)
        each = f" of {fixture.pixels} pixels" if fixture.pixels > 1 else ""
        table.add_row(
            f"{fixture.count} {fixture.name}{each}",
            " .. ".join(dict.fromkeys(str(slot.universe) for slot in ends)),
            " .. ".join(str(slot.start + 1) for slot in ends),
            ", ".join(str(channel) for channel in fixture.channels),
        )
    console = EscapingConsole(highlight=False, markup=False)
    console.print(table, width=None if console.is_terminal else 200)
    used = ", ".join(f"{count} channels of universe {number}" for number, count in sorted(used_channels(lamps).items()))
    echo(f"\n{rig.name} uses {used}. No conflicts.")


def _tagged(path: str) -> Iterator[tuple[str, StreamEvent]]:
    try:
        with click.open_file(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                event = _event(line, where=f"{path}, line {number}") if line.strip() else None
                if event is not None:
                    yield event
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no text: it should hold what `stream-mer tag` wrote") from error


def _event(line: str, *, where: str) -> tuple[str, StreamEvent] | None:
    try:
        message = decode_server(line)
        return (message.stream, event_of(message)) if isinstance(message, EventMessage) else None
    except ServeError as error:
        raise SettingError(f"{where}: this is not what `stream-mer tag` writes; {error}") from error


def _demo_events() -> list[tuple[str, StreamEvent]]:
    from stream_mer.engine import Engine, configure_torch  # noqa: PLC0415 - loads torch: for --demo alone
    from stream_mer.sources.file import FileSource, demo_song  # noqa: PLC0415 - as above

    events: list[tuple[str, StreamEvent]] = []

    class Collector:
        def publish(self, event: StreamEvent) -> None:
            events.append(("demo", event))

    configure_torch()
    engine = Engine(EngineSettings(lyrics=LyricsSettings(mode="off")))
    engine.pipeline(FileSource(demo_song()), Collector(), in_real_time=False).run()
    return events


def _print(rig: Rig, moments: list[Moment]) -> None:
    console = EscapingConsole(highlight=False, markup=False)
    block = _block if console.is_terminal and console.color_system is not None else _code
    names = len(moments[-1].lamps)
    console.print(f"{rig.name}: {names} lamps, {moments[-1].t:.1f} s", soft_wrap=True)
    for moment in moments[:: max(1, len(moments) // _ROWS)]:
        values = moment.values
        text = Text(f"{moment.t:7.1f} s {values.valence:+.2f} {values.arousal:+.2f} {values.category:<8} ")
        for lamp in moment.lamps[:_SHOWN_LAMPS]:
            text.append(block(lamp))
        console.print(text, soft_wrap=True)


def _block(lamp: Colour) -> Text:
    return Text("  ", style=Style(bgcolor=hex_of(lamp)))


def _code(lamp: Colour) -> Text:
    return Text(hex_of(lamp) + " ")


def _draw(moments: list[Moment], lamps: tuple[Lamp, ...], path: Path, title: str) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, for --picture alone

    dark = [(0.0, 0.0, 0.0)] * len(lamps)
    image = [[(moment.lamps or dark)[i] for moment in moments[::4]] for i in range(len(lamps))]
    figure = Figure(figsize=(12, 5), dpi=120, layout="constrained")
    curves, lights = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    times = [moment.t for moment in moments]
    value_of: dict[str, Callable[[Moment], float]] = {
        "valence": lambda moment: moment.values.valence,
        "arousal": lambda moment: moment.values.arousal,
    }
    for name, value in value_of.items():
        curves.plot(times, [value(moment) for moment in moments], label=name)
    curves.set(ylim=(-1, 1), ylabel="-1 .. 1", title=title)
    curves.legend(loc="upper right", ncols=2)
    lights.imshow(image, aspect="auto", interpolation="nearest", extent=(0, times[-1], len(lamps) + 0.5, 0.5))
    lights.set(xlabel="seconds", ylabel="lamp")
    save_figure(figure, path)
