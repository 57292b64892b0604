"""``stream-mer serve``."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from stream_mer.cli.echo import echo
from stream_mer.cli.options import engine_options, engine_settings, mask_settings, nats_identity_options
from stream_mer.cli.serving_options import (
    SourceOrPath,
    open_outputs,
    open_plugins,
    open_sources,
    output_options,
    output_settings,
    print_addresses,
    server_options,
    server_settings,
    split_name,
    typed_sources,
)
from stream_mer.cli.settings import CONFIG, SAVED_TO
from stream_mer.cli.setup_file import SetupFile
from stream_mer.config import EngineSettings, NatsSettings, ServeSettings, SmoothingSettings, Snapshot, StreamSettings
from stream_mer.errors import SettingError, brief
from stream_mer.outputs.runner import ShowOutput
from stream_mer.ports import AudioSource, EventHub
from stream_mer.runner import host, serve
from stream_mer.server.messages import Hello
from stream_mer.server.server import Server
from stream_mer.server.session import ServerInfo, hello
from stream_mer.utils.sanitise import redact_argument

if TYPE_CHECKING:  # they need arrays: not for --help or --from
    from stream_mer.outputs.recording.recorder import Recorder
    from stream_mer.setup import ServeSetup

_OF_SOURCES = {
    "rate_hz": "rate",
    "sample_format": "sample_format",
    "channels": "channels",
    "gain_db": "gain",
    "track": "track",
}
"""Options of ``open_sources``, and the parameters of the command that set them."""


@click.command("serve", context_settings={"allow_extra_args": True})
@click.option(
    "--source",
    "sources",
    type=SourceOrPath(),
    multiple=True,
    default=("demo",),
    metavar="[NAME=]SOURCE",
    help="Audio source: demo, a file, mic, mic:NAME (see `stream-mer devices`), monitor (what this machine plays), "
    "an address such as http://radio.example/live, remote (audio that a client sends), or - (raw PCM or a file on "
    "stdin). Repeat it, each with a name, for several streams.  [default: demo]",
)
@click.option(
    "--from",
    "nats_url",
    metavar="URL",
    help="Serve channels that `stream-mer worker` computes, instead of sources: address of NATS.",
)
@click.option("--only", multiple=True, metavar="CHANNEL", help="With --from: only this channel; may be repeated.")
@nats_identity_options
@click.option("--name", help="Name of the stream.  [default: that of the source]")
@click.option("--loop", is_flag=True, help="Files: start again at the end.")
@click.option("--track", metavar="NUMBER|TITLE", help="Files and addresses: audio track.")
@click.option("--rate", type=int, help="Raw PCM: samples per second.  [default: 44100]")
@click.option("--format", "sample_format", help="Raw PCM: s16le, s24le, s32le, f32le, u8, ...  [default: s16le]")
@click.option("--channels", help="Microphone: channels to use, such as 3,4. Raw PCM: their number.  [default: 1,2; 1]")
@click.option("--gain", type=float, help="Microphone: amplification in dB.  [default: 0]")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="DIR", help="Record the show, in a new folder in this one."
)
@click.option(
    "--setup/--no-setup",
    default=True,
    show_default=True,
    help="Let operators change sources, outputs and settings from the page (docs/SETUP.md).",
)
@click.option("--record-audio", is_flag=True, help="Also record the audio, as FLAC.")
@server_options
@output_options
@engine_options
def command(
    *,
    sources: Sequence[str],
    nats_url: str | None,
    nats_creds: Path | None,
    nats_ca: Path | None,
    only: tuple[str, ...],
    name: str | None,
    loop: bool,
    record: Path | None,
    record_audio: bool,
    **options: Any,
) -> None:
    """Serve the emotion of live music over websockets.

    \b
    Examples:
      stream-mer serve                              the built-in demo song, no sound card needed
      stream-mer serve --source mic                 the default microphone
      stream-mer serve --source "mic:USB Audio"     a device by name
      stream-mer serve --source monitor             what this machine plays
      stream-mer serve --source set.flac --loop     a file, played as live
      stream-mer serve --source http://host/live    internet radio; rtsp, rtp, rtmp, udp and tcp work alike
      stream-mer serve --source remote              audio that a client sends (docs/PROTOCOL.md)
      stream-mer serve --source A=mic --source B=set.flac --no-lyrics     two streams
      stream-mer serve --osc resolume --osc eos@192.168.1.5               to visuals and a desk
      stream-mer serve --source mic --record shows                        and record it (see stream-mer replay)
      stream-mer serve --host 0.0.0.0 --token                             for the whole network
      stream-mer serve --from nats://127.0.0.1:4222                       channels of workers (docs/SCALING.md)
      arecord -t raw -f S16_LE -r 44100 | stream-mer serve --source -

    Open the printed address in a browser, or connect any websocket client. It gets every emotion, lyrics, change and
    status message without sending anything.
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _refuse_words(click.get_current_context().args)
    settings = server_settings(options)
    if nats_url is not None:
        if click.get_current_context().get_parameter_source("sources") is ParameterSource.COMMANDLINE or record_audio:
            raise SettingError("--from takes what workers compute: leave --source and --record-audio out, or --from")
        nats = NatsSettings(url=nats_url, credentials=nats_creds, authorities=nats_ca)
        _serve_from(nats, settings, options, record=record, only=only)
        return
    if only:
        raise SettingError("--only chooses among the channels of --from: give that too, or leave it out")
    given = {key: options.pop(parameter) for key, parameter in _OF_SOURCES.items()}
    streams = open_sources(sources, name=name, loop=loop, options=given)
    typed = typed_sources(sources, streams, loop=loop, options=given)
    _serve_sources(streams, settings, options, typed=typed, record=record, record_audio=record_audio)


def _refuse_words(words: Sequence[str]) -> None:
    """Refuse what is no option, and say how a source is given.

    Raises:
        SettingError: There is such a word.
    """
    if words:
        shown = redact_argument(brief(words[0]))
        source = f'"{shown}"' if " " in shown else shown
        raise SettingError(f"serve takes no {shown!r}; did you mean stream-mer serve --source {source}?")


def _serve_sources(
    streams: Mapping[str, AudioSource],
    settings: ServeSettings,
    options: MutableMapping[str, Any],
    *,
    typed: Mapping[str, StreamSettings],
    record: Path | None,
    record_audio: bool,
) -> None:
    may_set_up, given_outputs = options.pop("setup"), output_settings(options)
    outputs, plugins = open_outputs(options, tuple(streams)), open_plugins(options)
    spread = options.pop("spread")
    wanted = engine_settings(**options)
    if len(streams) > 1 and wanted.lyrics.mode == "known":
        raise SettingError("--lyrics belongs to one song: give a single --source with it, or leave it out")
    if record_audio and record is None:
        raise SettingError("--record-audio goes with --record DIR: give the folder, too")
    info = ServerInfo(window_s=wanted.window.context_s, hop_s=wanted.window.hop_s, masks_page=wanted.lyrics.mask.page)
    greet = functools.partial(hello, settings=settings, info=info)
    recorder = None if record is None else _recorder(record, greet, audio=record_audio)
    plugins = [*plugins, *([] if recorder is None else [recorder])]
    from stream_mer.engine import Engine  # noqa: PLC0415 - loads the models' runtime: not for --help or --from
    from stream_mer.utils.allocator import limit_arenas  # noqa: PLC0415 - likewise
    from stream_mer.utils.blas import use_one_thread  # noqa: PLC0415 - loads the models' runtime: not for --help or --from

    use_one_thread()
    limit_arenas()
    loaded = Engine(wanted)
    started = functools.partial(_as_started, wanted, loaded.smoothing, spread=spread)
    running = Snapshot(streams={name: started(one) for name, one in typed.items()}, outputs=given_outputs)
    setup = _setup(running, outputs) if may_set_up else None

    def announce(server: Server) -> None:
        for stream, audio in streams.items():
            echo(f"Listening to {audio.name}" + (f" as {stream}" if stream != audio.name else ""))
        print_addresses(server, outputs, plugins, several=len(streams) > 1)

    serving = serve(
        loaded,
        streams,
        settings,
        info=info,
        on_ready=announce,
        outputs=outputs,
        spread=spread,
        plugins=plugins,
        tap=None if recorder is None else recorder.tap,
        setup=setup,
    )
    asyncio.run(serving)


def _recorder(folder: Path, greet: Callable[[EventHub], Hello], *, audio: bool) -> Recorder:
    from stream_mer.outputs.recording.recorder import Recorder  # noqa: PLC0415 - as above

    return Recorder(folder, hello=greet, audio=audio)


def _as_started(
    wanted: EngineSettings, smoothing: SmoothingSettings, typed: StreamSettings, *, spread: bool
) -> StreamSettings:
    """Return the settings with which a stream starts."""
    return replace(
        typed,
        lyrics=wanted.lyrics.mode,
        languages=wanted.lyrics.languages,
        hop_s=wanted.window.hop_s,
        smoothing=smoothing,
        spread=spread,
    )


def _setup(running: Snapshot, outputs: Sequence[ShowOutput]) -> ServeSetup:
    """Return what lets operators change and save what runs."""
    from stream_mer.setup import ServeSetup  # noqa: PLC0415 - as above

    context = click.get_current_context()
    path: Path | None = context.meta.get(SAVED_TO)
    named = [name for name, _ in map(split_name, context.params["sources"]) if name is not None]
    store = None if path is None else SetupFile(context, path, named=named, initial=running.streams)
    is_default = context.get_parameter_source("sources") is ParameterSource.DEFAULT
    first_start = is_default and not outputs and context.meta.get(CONFIG) is None
    return ServeSetup(running, outputs, store=store, first_start=first_start)


def _serve_from(
    nats: NatsSettings,
    settings: ServeSettings,
    options: MutableMapping[str, Any],
    *,
    record: Path | None,
    only: Sequence[str],
) -> None:
    from stream_mer.cluster.node import ClusterProducer, SharedHub, read_state  # noqa: PLC0415 - imports nats-py: optional

    found = asyncio.run(read_state(nats))
    existing = tuple(found.names().values())
    channels = tuple(only) or existing
    unknown = [name for name in only if name not in existing]
    if unknown:
        there = ", ".join(existing)[:200] or "none"
        raise SettingError(f"there is no channel {unknown[0][:80]!r}; there is {there}")
    options.pop("setup")
    outputs, plugins = open_outputs(options, channels or ("",)), open_plugins(options)
    spread = options.pop("spread")
    if outputs and not channels:
        raise SettingError("there is no channel yet to send anywhere; add one: stream-mer channels add NAME SOURCE")
    mask = mask_settings(options["mask_words"], everywhere=options["mask_all"])  # the workers do it
    info = ServerInfo(masks_page=mask.page)
    if found.window is not None:
        info = replace(info, window_s=found.window[0], hop_s=found.window[1])
    if record is not None:
        plugins.append(_recorder(record, functools.partial(hello, settings=settings, info=info), audio=False))
    hub = SharedHub(history_messages=settings.history_messages)
    producers = {"the cluster": ClusterProducer(nats, hub, only=only)}

    def announce(server: Server) -> None:
        echo(f"Serving {len(channels)} channels of NATS at {nats.shown}")
        print_addresses(server, outputs, plugins, several=True)

    running = host(
        hub, producers, settings, info=info, on_ready=announce, outputs=outputs, spread=spread, plugins=plugins
    )
    asyncio.run(running)
