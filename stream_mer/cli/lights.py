"""``stream-mer lights``."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import click
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stream_mer.cli.echo import echo
from stream_mer.cli.settings import NameOrPath
from stream_mer.config import EngineSettings, LyricsSettings
from stream_mer.errors import ServeError, SettingError
from stream_mer.event_json import EventMessage, event_of
from stream_mer.outputs.dmx.links import LightLink
from stream_mer.outputs.dmx.look import Colour, hex_of
from stream_mer.outputs.dmx.output import open_test
from stream_mer.outputs.dmx.render import Moment, preview
from stream_mer.outputs.dmx.rig import ABOUT, EXAMPLES, LOOKS, Lamp, Rig, find_rig, lamps_of, used_channels
from stream_mer.outputs.dmx.sweep import ChannelSweep, SweepStep
from stream_mer.outputs.plot import check_picture, save_figure
from stream_mer.server.messages import decode_server
from stream_mer.types import StreamEvent
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.files import check_targets

_ROWS = 40
"""Number of moments of a show that are printed."""

_SHOWN_LAMPS = 32

_TEST_RATE_HZ = 25.0


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
@click.option("--test", is_flag=True, help="Move each channel of each lamp slowly, one after another.")
@click.option("--artnet", is_flag=True, help="With --test: over Art-Net, not sACN.")
@click.option("--once", is_flag=True, help="With --test: stop after one round.")
def command(
    *,
    rig: str | None,
    example: str | None,
    tags: str | None,
    demo: bool,
    picture: Path | None,
    test: bool,
    artnet: bool,
    once: bool,
) -> None:
    """List the presets for lamps, check a rig and show its channels, test the lamps, or preview a show.

    \b
    Examples:
      stream-mer lights                                the presets
      stream-mer lights --example rig > rig.toml       a rig file to start from; wled for a strip on WLED
      stream-mer lights rig.toml                       check it, and list every lamp with its channels
      stream-mer lights rig.toml --test                move each channel on the lamps, to see that it is the right one
      stream-mer lights rig.toml@10.0.0.5 --test --artnet
      stream-mer lights mood --demo                    a preview with the demo song
      stream-mer tag song.mp3 --out tags.jsonl && stream-mer lights rig.toml --tags tags.jsonl --picture rig.png

    RIG is what `stream-mer serve --sacn RIG` takes: mood, palette, wash or a rig file.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if example is not None:
        echo(EXAMPLES[example], nl=False)
        return
    show = tags is not None or demo
    _check_combination(test=test, only_test=artnet or once, show=show, both=tags is not None and demo)
    if picture is not None:
        _check_picture(picture, rig, tags, show=show)
    if rig is None:
        if test or show:
            raise click.UsageError("say which RIG: mood, palette, wash or a rig file")
        _list_presets()
        return
    if test:
        _test(rig, "artnet" if artnet else "sacn", once=once)
        return
    found = find_rig(rig)
    if not show:
        _show_patch(found)
        return
    moments = list(preview(found, _tagged(tags) if tags is not None else _demo_events()))
    if not moments:
        raise SettingError("nothing to preview: no message of a stream was found")
    _print(found, moments)
    if picture is not None:
        _draw(moments, lamps_of(found.fixtures), picture, f"{found.name}: what the lamps look like")


def _check_combination(*, test: bool, only_test: bool, show: bool, both: bool) -> None:
    if both:
        raise click.UsageError("--tags and --demo are two shows: give one")
    if test and show:
        raise click.UsageError("--test moves lamps, --tags and --demo preview a show: give one")
    if only_test and not test:
        raise click.UsageError("--artnet and --once go with --test")


def _check_picture(picture: Path, rig: str | None, tags: str | None, *, show: bool) -> None:
    if not show:
        raise click.UsageError("--picture draws a show: give --tags or --demo with it")
    check_picture(picture, "--picture")
    check_targets([picture], inputs=[Path(one) for one in (rig, tags) if one is not None])


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


def _test(spec: str, protocol: Literal["sacn", "artnet"], *, once: bool) -> None:
    rig, link = open_test(spec, protocol)
    sweep = ChannelSweep(rig)
    if not sweep.duration_s:
        raise SettingError(f"{rig.name} has no channel that can be moved")
    shown: object = None
    try:
        with contextlib.closing(link):
            link.open()
            try:
                echo(f"Sending {rig.name}: {sweep.duration_s:g} s a round. Stop with Ctrl-C.")
                for t in _moments(_TEST_RATE_HZ, until=sweep.duration_s if once else math.inf):
                    step = sweep.update(t)
                    if shown != (step.lamp, step.channel):
                        shown = (step.lamp, step.channel)
                        slot = step.lamp.slots[0]
                        place = f"universe {slot.universe}, channel {_place(step)}"
                        echo(f"  {step.lamp.fixture.name} {step.number:<4} {step.channel:<10} {place}")
                    _send(link, t, step.universes)
            finally:
                _send(link, math.inf, sweep.dark())
                link.terminate()
    except OSError as error:
        raise ServeError(f"{rig.name} cannot be sent: {error.strerror or error}") from error


def _moments(rate_hz: float, *, until: float) -> Iterator[float]:
    """Seconds since the first one, at a steady rate."""
    start = time.monotonic()
    while (t := time.monotonic() - start) < until:
        yield t
        time.sleep(1 / rate_hz)


def _place(step: SweepStep) -> int:
    """Return the channel that moves, as desks count: from 1."""
    return step.lamp.slots[0].start + step.lamp.fixture.channels.index(step.channel) + 1


def _send(link: LightLink, t: float, universes: Mapping[int, bytes]) -> None:
    link.refresh(t)
    for number, channels in universes.items():
        link.send(number, channels)
    link.synchronise()


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
    from stream_mer.engine import Engine  # noqa: PLC0415 - loads the models' runtime: for --demo alone
    from stream_mer.sources.file import FileSource, demo_song  # noqa: PLC0415 - as above
    from stream_mer.utils.blas import use_one_thread  # noqa: PLC0415 - loads the models' runtime: for --demo alone

    events: list[tuple[str, StreamEvent]] = []

    class Collector:
        def publish(self, event: StreamEvent) -> None:
            events.append(("demo", event))

    use_one_thread()
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
