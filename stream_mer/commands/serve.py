"""``stream-mer serve``."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from stream_mer.app import Engine, serve
from stream_mer.commands.options import engine_options, engine_settings
from stream_mer.serve.server import Server, ServerInfo
from stream_mer.serve.settings import ServeSettings
from stream_mer.sources.catalogue import open_source


@click.command("serve")
@click.option(
    "--source",
    default="demo",
    show_default=True,
    help="What to listen to: demo, a file, mic, mic:NAME (see `stream-mer devices`), monitor for what this machine "
    "plays, an address such as http://radio.example/live, remote for audio that a client sends, or - for raw PCM on "
    "stdin.",
)
@click.option("--host", default=ServeSettings().host, show_default=True, help="Address to bind.")
@click.option("--port", default=ServeSettings().port, show_default=True, help="Port; 0 takes any free one.")
@click.option("--token", envvar="STREAM_MER_TOKEN", help="Secret that clients must know; needed for a public address.")
@click.option("--name", help="Name of the stream on the wire.  [default: that of the source]")
@click.option("--loop", is_flag=True, help="Files: begin again at the end.")
@click.option("--rate", type=int, help="Raw PCM: samples per second.  [default: 44100]")
@click.option("--format", "sample_format", help="Raw PCM: s16le, s24le, s32le, f32le, u8, ...  [default: s16le]")
@click.option("--channels", help="Microphone: which ones to hear, such as 3,4. Raw PCM: how many.  [default: 1,2; 1]")
@click.option("--gain", type=float, help="Microphone: amplification in dB.  [default: 0]")
@engine_options
def command(
    *,
    source: str,
    host: str,
    port: int,
    token: str | None,
    name: str | None,
    loop: bool,
    rate: int | None,
    sample_format: str | None,
    channels: str | None,
    gain: float | None,
    **engine: Any,
) -> None:
    """Listen to music and stream what it feels like over websockets.

    \b
    Examples:
      stream-mer serve                              the built-in demo song, no sound card needed
      stream-mer serve --source mic                 the default microphone
      stream-mer serve --source "mic:USB Audio"     a device by name
      stream-mer serve --source monitor             what this machine itself plays
      stream-mer serve --source set.flac --loop     a file, played as live
      stream-mer serve --source http://host/live    internet radio; rtsp, rtp, rtmp, srt, udp and tcp work alike
      stream-mer serve --source remote              audio that a client sends (docs/PROTOCOL.md)
      arecord -t raw -f S16_LE -r 44100 | stream-mer serve --source -

    Open the printed address in a browser, or connect any websocket client: without a word from it, it gets every
    emotion, lyrics, change and status message.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    settings = ServeSettings(host=host, port=port, token=token)
    audio = open_source(source, rate_hz=rate, sample_format=sample_format, channels=channels, gain_db=gain, loop=loop)
    loaded = Engine(engine_settings(**engine))

    def tell(server: Server) -> None:
        click.echo(f"Listening to {audio.name}\n  page       {server.page_url}\n  websocket  {server.stream_url}")
        click.echo("Stop with Ctrl-C.")

    window = loaded.settings.window
    info = ServerInfo(window_s=window.context_s, hop_s=window.hop_s)
    asyncio.run(serve(loaded, audio, settings, info=info, stream=name or audio.name, on_ready=tell))
