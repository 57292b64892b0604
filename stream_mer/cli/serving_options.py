"""Options of ``serve`` and ``replay``: sources, server, outputs and plugins."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.options import option_group
from stream_mer.cli.settings import NameOrPath
from stream_mer.config import SHORTEST_TOKEN, OutputSettings, ServeSettings, StreamSettings, new_token
from stream_mer.errors import SettingError, did_you_mean
from stream_mer.outputs.catalogue import OUTPUT_KINDS, OutputKind
from stream_mer.outputs.runner import ShowOutput
from stream_mer.ports import AudioSource
from stream_mer.runner import Plugin
from stream_mer.server.messages import LimitsPart
from stream_mer.server.server import Server
from stream_mer.utils.files import as_text
from stream_mer.utils.qr_code import qr_terminal
from stream_mer.utils.sanitise import MASK

_NAMED = re.compile(r"(?P<name>[\w][\w .-]{0,63})=(?P<spec>.+)", re.DOTALL)


def _has_tracks(spec: str) -> bool:
    from stream_mer.sources.catalogue import has_tracks  # noqa: PLC0415 - needs arrays: not for recordings or --from

    return has_tracks(spec)


_FITS: Mapping[str, Callable[[str], bool]] = {
    "rate_hz": lambda spec: spec == "-",
    "sample_format": lambda spec: spec == "-",
    "channels": lambda spec: spec in {"-", "mic", "monitor"} or spec.startswith("mic:"),
    "track": _has_tracks,
    "gain_db": lambda spec: spec in {"mic", "monitor"} or spec.startswith("mic:"),
}
"""Which sources an option applies to, if there are several."""


def split_name(source: str) -> tuple[str | None, str]:
    """Split ``NAME=SOURCE``; the name is None where none is given. A file whose name holds a ``=`` is a source."""
    named = _NAMED.fullmatch(source)
    if named is None or Path(source).exists():
        return None, source
    return named["name"], named["spec"]


class SourceOrPath(NameOrPath):
    """``[NAME=]SOURCE``, or ``[NAME=]FILE@HOST``: in a settings file, a path is relative to that file."""

    def relative_to(self, text: str, folder: Path) -> str:
        """Return the same with the path, if the source is one, from the folder."""
        name, spec = split_name(text)
        prefix = "file:" if spec.startswith("file:") else ""
        there = self._relative(spec.removeprefix(prefix), folder)
        return (f"{name}=" if name is not None else "") + prefix + there

    def _relative(self, text: str, folder: Path) -> str:
        there = super().relative_to(text, folder)
        path, at, host = text.rpartition("@")
        return super().relative_to(path, folder) + at + host if at and there == text else there


def open_sources(
    sources: Sequence[str], *, name: str | None, loop: bool, options: Mapping[str, Any]
) -> dict[str, AudioSource]:
    """Open all sources; return them by the names of their streams.

    Args:
        sources: ``SOURCE`` or ``NAME=SOURCE`` each; at least one.
        name: Name of the stream where there is one source.
        loop: Files: start again at the end.
        options: Options of ``open_source``, each for the sources that it applies to.

    Raises:
        SettingError: Two streams have the same name, or there is no such source.
        SourceError: A file is missing, a folder or empty.
    """
    if name is not None and len(sources) > 1:
        raise SettingError("--name is for a single source; name several with --source NAME=SOURCE")
    if sum(split_name(source)[1] == "-" for source in sources) > 1:
        raise SettingError("standard input can be one source only: give - once")
    from stream_mer.sources.catalogue import open_source  # noqa: PLC0415 - as above

    streams: dict[str, AudioSource] = {}
    for source in sources:
        given, spec = split_name(source)
        fitting = {key: value for key, value in options.items() if len(sources) == 1 or _FITS[key](spec)}
        audio = open_source(spec, loop=loop, **fitting)
        stream = as_text(given or name or audio.name)
        if stream in streams:
            raise SettingError(f"two streams are called {stream!r}: name them with --source NAME=SOURCE")
        streams[stream] = audio
    return streams


def typed_sources(
    sources: Sequence[str], streams: Iterable[str], *, loop: bool, options: Mapping[str, Any]
) -> dict[str, StreamSettings]:
    """Return what was typed for each stream; the arguments are those of ``open_sources`` and the names it returned."""
    typed = {}
    for name, source in zip(streams, sources, strict=True):
        _, spec = split_name(source)
        fitting = {key: options[key] for key in ("channels", "gain_db", "track") if _FITS[key](spec)}
        typed[name] = StreamSettings(source=spec, loop=loop, **fitting)
    return typed


F = TypeVar("F", bound=Callable[..., Any])

MAKE_ONE = "(made)"
"""Stands for an option without a value; too short to be a token."""

_LIMITS: dict[str, int | float] = {name: getattr(ServeSettings(), name) for name in LimitsPart.__struct_fields__}


class Limit(click.types.StringParamType):
    """``NAME=VALUE`` of a limit; the names are those of ``hello.limits``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged if the limit exists and its value is in its range."""
        try:
            ServeSettings(**parse_limits([value]))
        except SettingError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def parse_limits(limits: Sequence[str]) -> dict[str, Any]:
    """Return the values of limits written as ``NAME=VALUE``, by their names.

    Raises:
        SettingError: There is no such limit, or the value is not a number.
    """
    parsed: dict[str, Any] = {}
    for limit in limits:
        name, _, value = limit.partition("=")
        if name not in _LIMITS:
            raise SettingError(f"there is no limit {name!r}{did_you_mean(name, _LIMITS)}")
        try:
            parsed[name] = type(_LIMITS[name])(value)
        except ValueError:
            raise SettingError(f"the limit {name} is a number, such as {name}={_LIMITS[name]}; not {value!r}") from None
    return parsed


server_options = option_group(
    click.option("--host", default=ServeSettings().host, show_default=True, help="Address to listen on."),
    click.option(
        "--port", default=ServeSettings().port, show_default=True, help="Port to listen on; 0 for any free one."
    ),
    click.option(
        "--token",
        is_flag=False,
        flag_value=MAKE_ONE,
        help=f"Token that clients must send, at least {SHORTEST_TOKEN} characters; required for a public address. "
        "Without a value, one is generated and printed.",
    ),
    click.option(
        "--operator-token",
        is_flag=False,
        flag_value=MAKE_ONE,
        help="Token of operators, who may also freeze, override and send audio.  [default: every client may]",
    ),
    click.option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="Origin of a web page that may connect, such as https://example.org; null for pages opened from a file, "
        "* for all. The server's own page and pages of this machine always may.",
    ),
    click.option(
        "--allow-frame",
        "frame_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Origin of a web page that may show /overlay in a frame, such as https://example.org; * for all. "
        "The main page is never shown in a frame.",
    ),
    click.option(
        "--proxy",
        "proxies",
        multiple=True,
        metavar="ADDRESS",
        help="IP address of a reverse proxy whose X-Forwarded-For is trusted (docs/PROXY.md).",
    ),
    click.option("--tls-certificate", type=click.Path(path_type=Path), help="Serve https and wss: certificate (PEM)."),
    click.option(
        "--tls-key", type=click.Path(path_type=Path), help="Key (PEM) of the certificate, if it is in another file."
    ),
    click.option(
        "--limit",
        "limits",
        type=Limit(),
        multiple=True,
        metavar="NAME=VALUE",
        help="Change a limit: " + ", ".join(f"{name} ({value})" for name, value in _LIMITS.items()) + ".",
    ),
)
"""Options of the server; ``server_settings`` reads them."""


def server_settings(options: MutableMapping[str, Any]) -> ServeSettings:
    """Return the settings of the server from the parameters of a command, and remove those from the mapping.

    Raises:
        SettingError: A value is out of range, or two contradict each other.
    """
    limits: Sequence[str] = options.pop("limits")
    certificate, key = options.pop("tls_certificate"), options.pop("tls_key")
    return ServeSettings(
        host=options.pop("host"),
        port=options.pop("port"),
        token=_token(options.pop("token"), "clients"),
        operator_token=_token(options.pop("operator_token"), "operators"),
        allowed_origins=tuple(options.pop("origins")),
        frame_origins=tuple(options.pop("frame_origins")),
        proxies=tuple(options.pop("proxies")),
        tls_certificate=certificate,
        tls_key=key,
        **parse_limits(limits),
    )


def _token(given: str | None, whose: str) -> str | None:
    """Return the given token; a generated one is printed."""
    if given != MAKE_ONE:
        return given
    made = new_token()
    echo(f"Token for {whose}: {made}")
    return made


def print_addresses(server: Server, outputs: Sequence[ShowOutput], plugins: Sequence[Plugin], *, several: bool) -> None:
    """Print where the server listens and what else runs.

    Args:
        server: The server.
        outputs: The outputs.
        plugins: The plugins.
        several: Whether there are several streams; then each output's stream is printed.
    """
    addresses = server.network_urls()
    echo(f"  page       {server.page_url}\n  websocket  {server.stream_url}")
    _print_network(addresses)
    for output in outputs:
        echo(f"  sent to    {output.name}" + (f" ({output.stream})" if several else ""))
    for plugin in plugins:
        echo(f"  {plugin.notice}")
    echo("Stop with Ctrl-C.")


def _print_network(addresses: Sequence[str]) -> None:
    """Print the addresses for other devices, and on a terminal the first one as a QR code.

    They hold the token, which is for a terminal alone: other output is kept in logs.
    """
    is_terminal = sys.stdout.isatty()
    for address in addresses:
        page, mark, token = address.partition("#token=")
        echo(f"  network    {page}{mark}{token if is_terminal or not token else MASK}")
    if addresses and is_terminal:
        echo(qr_terminal(addresses[0]), nl=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOption:
    """The option of one kind of output; it may be given more than once.

    Attributes:
        kind: The kind.
        type: What is typed.
        metavar: How it is shown in the help.
        help: Description.
    """

    kind: OutputKind
    type: click.types.StringParamType
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        return f"--{self.kind.kind}"

    def add(self, function: Any) -> Any:
        """Add the option to a command."""
        option = click.option(
            self.flag, self.kind.kind, type=self.type, multiple=True, metavar=self.metavar, help=self.help
        )
        return option(function)


class RigOrPath(SourceOrPath):
    """``[STREAM=]FILE[@PLACE]``: in a settings file, the path of a rig or mapping is relative to that file."""

    def relative_to(self, text: str, folder: Path) -> str:
        """Return the same with the path, if there is one, from the folder."""
        rig, at, host = text.rpartition("@")
        return super().relative_to(rig, folder) + at + host if at else super().relative_to(text, folder)


_OUTPUTS: tuple[OutputOption, ...] = (
    OutputOption(
        kind=OUTPUT_KINDS["osc"],
        type=SourceOrPath(),
        metavar="[STREAM=]WHERE",
        help="Send OSC: a preset, with where it is (resolume, eos@192.168.1.5, touchdesigner@desk:7000), any "
        "HOST:PORT, or a mapping file (.toml). `stream-mer osc` lists the presets. May be repeated.",
    ),
    OutputOption(
        kind=OUTPUT_KINDS["sacn"],
        type=RigOrPath(),
        metavar="[STREAM=]RIG[@HOST]",
        help="Drive lamps by sACN: a preset (mood, palette, wash) or a rig file (.toml), by multicast, or to a "
        "HOST alone. See `stream-mer lights`. May be repeated.",
    ),
    OutputOption(
        kind=OUTPUT_KINDS["artnet"],
        type=RigOrPath(),
        metavar="[STREAM=]RIG@HOST",
        help="Drive lamps by Art-Net, at a HOST; 255.255.255.255 for the whole network.",
    ),
    OutputOption(
        kind=OUTPUT_KINDS["midi"],
        type=RigOrPath(),
        metavar="[STREAM=]WHAT[@PORT][#CHANNEL]",
        help="Send MIDI: a preset (generic, synth, light) or a mapping file (.toml), to a port by a part of its name; "
        "without one, by a virtual port. `stream-mer midi` lists both. May be repeated.",
    ),
    OutputOption(
        kind=OUTPUT_KINDS["mqtt"],
        type=click.types.StringParamType(),
        metavar="[STREAM=]URL",
        help="Publish to an MQTT broker, such as Home Assistant's: mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX], or "
        "mqtts:// for TLS. May be repeated.",
    ),
)

_SPREAD = click.option(
    "--spread/--no-spread",
    default=True,
    show_default=True,
    help="Outputs: map valence and arousal to the range of listeners' ratings. The published values stay closer to the "
    "middle.",
)

_OSC_IN = click.option(
    "--osc-in",
    metavar="[HOST:]PORT",
    help="Take operator commands over OSC (UDP): /mer/control/freeze, blackout, override, resume. OSC has no "
    "authentication: without a HOST only this machine may send.",
)


def output_options(function: F) -> F:
    """Add the options of all outputs and plugins; ``open_outputs`` and ``open_plugins`` read all but ``spread``."""
    return option_group(*(option.add for option in _OUTPUTS), _SPREAD, _OSC_IN)(function)


def open_outputs(options: MutableMapping[str, Any], streams: Sequence[str]) -> list[ShowOutput]:
    """Return the outputs that the options name.

    Args:
        options: The parameters of a command; those of outputs are removed.
        streams: Names of all streams, at least one; an output without ``STREAM=`` follows the first.

    Raises:
        SettingError: A stream, preset or file does not exist, an output is not possible, or two drive the same lamps.
    """
    typed = [(option, text) for option in _OUTPUTS for text in options.pop(option.kind.kind, ())]
    outputs = [_open(option, text, streams) for option, text in typed]
    driven_by: dict[str, str] = {}
    for (option, text), output in zip(typed, outputs, strict=True):
        said = f"{option.flag} {text}"
        for claim in sorted(output.claims):
            if claim in driven_by:
                raise SettingError(f"{said}: {claim} is driven by {driven_by[claim]} already, and only one can")
            driven_by[claim] = said
    return outputs


def output_settings(options: Mapping[str, Any]) -> tuple[OutputSettings, ...]:
    """Return what was typed for outputs, in the order of ``open_outputs``, which has to come after."""
    typed = [(option, *split_name(text)) for option in _OUTPUTS for text in options.get(option.kind.kind, ())]
    return tuple(OutputSettings(kind=option.kind.kind, spec=spec, stream=stream) for option, stream, spec in typed)


def open_plugins(options: MutableMapping[str, Any]) -> list[Plugin]:
    """Return the plugins that the options name.

    Args:
        options: The parameters of a command; those of plugins are removed.

    Raises:
        SettingError: A plugin is not possible.
    """
    place = options.pop("osc_in", None)
    if place is None:
        return []
    from stream_mer.outputs.osc.input import OscInput, parse_place  # noqa: PLC0415 - as above

    return [OscInput(*parse_place(place))]


def _open(option: OutputOption, text: str, streams: Sequence[str]) -> ShowOutput:
    stream, spec = split_name(text)
    if stream is not None and stream not in streams:
        raise SettingError(f"{option.flag} {text}: there is no stream {stream!r}{did_you_mean(stream, streams)}")
    return option.kind.open(spec, stream or streams[0])
