"""``stream-mer replay``."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.serving_options import (
    open_outputs,
    open_plugins,
    output_options,
    print_addresses,
    server_options,
    server_settings,
)
from stream_mer.outputs.recording.format import open_recording
from stream_mer.outputs.recording.player import MAX_SPEED, MIN_SPEED, Player, Playing
from stream_mer.runner import host
from stream_mer.server.hub import Hub
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo

_PLACE = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d{1,3}):)?(?P<seconds>\d+(?:\.\d+)?)")


class Place(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A time in a recording: seconds, or ``[h:]mm:ss``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        place = _PLACE.fullmatch(str(value).strip())
        if place is None:
            self.fail(f"{value!r} is not a time: give seconds, or minutes and seconds such as 1:30", param, ctx)
        return int(place["hours"] or 0) * 3600 + int(place["minutes"] or 0) * 60 + float(place["seconds"])


@click.command("replay")
@click.argument("recording", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--speed",
    default=Playing().speed,
    show_default=True,
    help=f"Speed, {MIN_SPEED:g} to {MAX_SPEED:g}; 1 is real time.",
)
@click.option("--loop", is_flag=True, help="Start again at the end.")
@click.option("--from", "from_s", type=Place(), default=0.0, help="Start there: seconds, or 1:30.  [default: 0]")
@server_options
@output_options
def command(*, recording: Path, speed: float, loop: bool, from_s: float, **options: Any) -> None:
    """Serve a recorded show again, with the same page, protocol and outputs as live.

    DIR is a recording of `stream-mer serve --record`, or a folder of recordings, of which the newest is played.
    Recorded audio lies there as FLAC. To draw or export a recording, use `stream-mer tag`.

    \b
    Examples:
      stream-mer replay shows                        the newest recording in this folder, in real time
      stream-mer replay shows --from 42:10 --loop    from there on, in a loop
      stream-mer replay shows --speed 4              four times as fast
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    settings = server_settings(options)
    playing = Playing(speed=speed, loop=loop, from_s=from_s)
    opened = open_recording(recording)
    outputs, plugins = open_outputs(options, opened.streams), open_plugins(options)
    spread = options.pop("spread")
    hub = Hub(history_messages=settings.history_messages)
    player = Player(opened, hub, playing)

    def announce(server: Server) -> None:
        minutes, seconds = divmod(round(player.duration_s), 60)
        echo(f"Playing {opened.folder}: {minutes}:{seconds:02d} of {', '.join(opened.streams)}")
        for stream, file in opened.header.audio.items():
            echo(f"  audio      {opened.folder / file}" + (f" ({stream})" if len(opened.streams) > 1 else ""))
        print_addresses(server, outputs, plugins, several=len(opened.streams) > 1)

    hello = opened.header.hello
    info = ServerInfo(window_s=hello.window_s, hop_s=hello.hop_s, masks_page=hello.masks_page)
    producers = {"the recording": player}
    running = host(
        hub, producers, settings, info=info, on_ready=announce, outputs=outputs, spread=spread, plugins=plugins
    )
    asyncio.run(running)
