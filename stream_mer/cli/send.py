"""``stream-mer send``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_mer.cli.echo import echo, rewrite_line
from stream_mer.cli.options import SERVER_URL, ca_option
from stream_mer.errors import SettingError
from stream_mer.types import clock
from stream_mer.utils.sanitise import escape, redact_address

if TYPE_CHECKING:  # slow to import: not for --help
    from stream_mer.server.sending import Progress

PLAIN_EVERY_S = 10.0
"""Seconds between two lines of progress where the output is no terminal."""


@click.command("send")
@click.argument("audio", default="mic", metavar="[SOURCE]")
@click.option("--to", "url", default=SERVER_URL, show_default=True, metavar="URL", help="The server.")
@click.option("--stream", help="Its stream that takes the audio.  [default: the only one]")
@click.option("--token", help="The operator's token; the server's token where there is no other.")
@ca_option
@click.option("--channels", help="Microphone: channels to use, such as 3,4. Raw PCM: their number.  [default: 1,2; 1]")
@click.option("--gain", type=float, help="Microphone: amplification in dB.  [default: 0]")
@click.option("--rate", type=int, help="Raw PCM: samples per second.  [default: 44100]")
@click.option("--format", "sample_format", help="Raw PCM: s16le, s24le, s32le, f32le, u8, ...  [default: s16le]")
@click.option("--track", metavar="NUMBER|TITLE", help="Files: audio track.")
@click.option("--loop", is_flag=True, help="Files: start again at the end.")
def command(
    *,
    audio: str,
    url: str,
    stream: str | None,
    token: str | None,
    authorities: Path | None,
    channels: str | None,
    gain: float | None,
    rate: int | None,
    sample_format: str | None,
    track: str | None,
    loop: bool,
) -> None:
    """Send audio to a server on another machine: a device, a file or standard input.

    The server has a stream for it: `stream-mer serve --source remote`. The audio is sent in real time, as 16 kHz mono,
    32 kB a second. A lost connection is made again; what was played meanwhile is dropped.

    \b
    Examples:
      stream-mer send --to stage-pc                                 the default microphone
      stream-mer send "mic:USB Audio" --to stage-pc --gain 6        a device by name (see stream-mer devices)
      stream-mer send monitor --to wss://show.example --token ...   what this machine plays
      stream-mer send set.flac --to stage-pc --stream floor         a file, in real time
      arecord -t raw -f S16_LE -r 44100 | stream-mer send - --to stage-pc
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if audio == "remote":
        raise SettingError("send takes audio of this machine, and remote is that of a client: name a device or a file")
    import asyncio  # noqa: PLC0415 - slow to import, like the next ones: not for --help

    from stream_mer.server.client import client_tls_context  # noqa: PLC0415
    from stream_mer.server.sending import AudioSender  # noqa: PLC0415
    from stream_mer.sources.catalogue import open_source  # noqa: PLC0415

    source = open_source(
        audio,
        rate_hz=rate,
        sample_format=sample_format,
        channels=channels,
        gain_db=gain,
        track=track,
        loop=loop,
    )
    shown = Shown(source.name, redact_address(url))
    tls = None if authorities is None else client_tls_context(authorities)

    async def run() -> Progress:
        return await AudioSender(source, url, stream=stream, token=token, tls=tls, wait=True, report=shown.show).run()

    try:
        done = asyncio.run(run())
    finally:
        shown.clear()
    echo(f"{source.name} has ended: {clock(done.sent_s)} sent to {done.stream}", err=True)


class Shown:
    """Shows the progress on standard error: on one line of a terminal, or a line now and then.

    Args:
        name: Of the source.
        where: The server, redacted.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name, self._where = escape(name), escape(where)
        self._is_terminal = sys.stderr.isatty()
        self._was_sending: bool | None = None
        self._printed_at = float("-inf")
        self._width = 0

    def show(self, progress: Progress) -> None:
        """Show the newest progress."""
        turned = progress.sending != self._was_sending
        self._was_sending = progress.sending
        line = progress_line(progress, self._name, self._where)
        now = time.monotonic()
        if self._is_terminal:
            rewrite_line(line.ljust(self._width))
            self._width = len(line)
        elif turned or now - self._printed_at >= PLAIN_EVERY_S:
            self._printed_at = now
            echo(line, err=True)

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self._is_terminal and self._width:
            rewrite_line(" " * self._width)
            rewrite_line("")


def progress_line(progress: Progress, name: str, where: str) -> str:
    """Return the progress in words."""
    lost = f", {progress.dropped_s:.0f} s dropped" if progress.dropped_s >= 1 else ""
    if not progress.sending:
        return f"no connection to {where}: trying again{lost}"
    peak = "" if progress.peak_db is None else f", peak {progress.peak_db:.0f} dBFS"
    return f"{name} to {escape(progress.stream)}: {clock(progress.sent_s)}{peak}{lost}"
