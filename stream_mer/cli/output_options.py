"""The options that name what a show is sent to and steered by, and what they become.

One entry of ``_KINDS`` for each kind of output, one of ``_PLUGINS`` for all else that runs beside the server.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from stream_mer.cli.named_sources import SourceOrPath, split_name
from stream_mer.errors import SettingError, did_you_mean
from stream_mer.outputs.runner import ShowOutput
from stream_mer.runner import Plugin

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputKind:
    """One kind of output on the command line.

    Attributes:
        parameter: Name of its option's parameter.
        option: Adds its option, which may be given more than once, to a command.
        open: Makes one output of what was typed, without ``STREAM=``, and the name of the stream. Raises
            ``SettingError`` for what cannot be. Imports the room of the output itself: who does without pays nothing.
    """

    parameter: str
    option: Callable[[Any], Any]
    open: Callable[[str, str], ShowOutput]

    @property
    def flag(self) -> str:
        return "--" + self.parameter.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginKind:
    """One kind of plugin on the command line.

    Attributes:
        parameter: Name of its option's parameter.
        option: Adds its option to a command.
        open: Makes one of what was typed; only called where something was. Raises ``SettingError`` for what cannot be.
    """

    parameter: str
    option: Callable[[Any], Any]
    open: Callable[[Any], Plugin]


def _open_osc(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.osc.targets import find_other, open_other  # noqa: PLC0415 - who does without pays nothing

    other = find_other(spec)
    if other is not None:
        return open_other(other, spec, stream=stream)
    from stream_mer.outputs.osc.output import OscOutput  # noqa: PLC0415 - as above, and python-osc may be missing
    from stream_mer.outputs.osc.targets import find_target  # noqa: PLC0415 - as above

    return OscOutput(find_target(spec), stream=stream)


def _open_osc_in(place: str) -> Plugin:
    from stream_mer.outputs.osc.input import OscInput, parse_place  # noqa: PLC0415 - as above

    return OscInput(*parse_place(place))


def _open_sacn(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.dmx.output import open_sacn  # noqa: PLC0415 - as above

    return open_sacn(spec, stream)


def _open_artnet(spec: str, stream: str) -> ShowOutput:
    from stream_mer.outputs.dmx.output import open_artnet  # noqa: PLC0415 - as above

    return open_artnet(spec, stream)


class RigOrPath(SourceOrPath):
    """``[STREAM=]RIG[@HOST]``: in a settings file, the path of a rig file is relative to that file."""

    def relative_to(self, text: str, folder: Path) -> str:
        """Return the same with the path, if the rig is one, from the folder."""
        rig, at, host = text.rpartition("@")
        return super().relative_to(rig, folder) + at + host if at else super().relative_to(text, folder)


_KINDS: tuple[OutputKind, ...] = (
    OutputKind(
        parameter="osc",
        option=click.option(
            "--osc",
            type=SourceOrPath(),
            multiple=True,
            metavar="[STREAM=]WHERE",
            help="Send OSC: a preset, with where it is (resolume, eos@192.168.1.5, touchdesigner@desk:7000), any "
            "HOST:PORT, or a mapping file (.toml). `stream-mer osc` lists the presets. May be given more than once.",
        ),
        open=_open_osc,
    ),
    OutputKind(
        parameter="sacn",
        option=click.option(
            "--sacn",
            type=RigOrPath(),
            multiple=True,
            metavar="[STREAM=]RIG[@HOST]",
            help="Drive lamps by sACN: a preset (mood, palette, wash) or a rig file (.toml), by multicast, or to a "
            "HOST alone. `stream-mer lights` tells more. May be given more than once.",
        ),
        open=_open_sacn,
    ),
    OutputKind(
        parameter="artnet",
        option=click.option(
            "--artnet",
            type=RigOrPath(),
            multiple=True,
            metavar="[STREAM=]RIG@HOST",
            help="The same by Art-Net, to a HOST; 255.255.255.255 for all of this network.",
        ),
        open=_open_artnet,
    ),
)

_SPREAD = click.option(
    "--spread/--no-spread",
    default=True,
    show_default=True,
    help="Outputs: map valence and arousal to the range of listeners' ratings. The published values stay closer to the "
    "middle.",
)

_PLUGINS: tuple[PluginKind, ...] = (
    PluginKind(
        parameter="osc_in",
        option=click.option(
            "--osc-in",
            metavar="[HOST:]PORT",
            help="Take an operator's commands over OSC (UDP): /mer/control/freeze, blackout, override, resume. OSC "
            "knows no token: without a HOST only this machine is heard.",
        ),
        open=_open_osc_in,
    ),
)


def output_options(function: F) -> F:
    """Add the options of all outputs and plugins; ``open_outputs`` and ``open_plugins`` read all but ``spread``."""
    options = [*(kind.option for kind in _KINDS), _SPREAD, *(kind.option for kind in _PLUGINS)]
    for option in reversed(options):
        function = option(function)
    return function


def open_outputs(options: MutableMapping[str, Any], streams: Sequence[str]) -> list[ShowOutput]:
    """Make the outputs that were asked for.

    Args:
        options: The parameters of a command; those of outputs are taken out.
        streams: Names of all streams, at least one; the first one is followed where none is named.

    Raises:
        SettingError: There is no such stream, preset or file, the output cannot be, or two drive the same.
    """
    typed = [(kind, text) for kind in _KINDS for text in options.pop(kind.parameter, ())]
    outputs = [_open(kind, text, streams) for kind, text in typed]
    driven_by: dict[str, str] = {}
    for (kind, text), output in zip(typed, outputs, strict=True):
        said = f"{kind.flag} {text}"
        for claim in sorted(output.claims):
            if claim in driven_by:
                raise SettingError(f"{said}: {claim} is driven by {driven_by[claim]} already, and only one can")
            driven_by[claim] = said
    return outputs


def open_plugins(options: MutableMapping[str, Any]) -> list[Plugin]:
    """Make the plugins that were asked for.

    Args:
        options: The parameters of a command; those of plugins are taken out.

    Raises:
        SettingError: One cannot be.
    """
    typed = [(kind, options.pop(kind.parameter, None)) for kind in _PLUGINS]
    return [kind.open(value) for kind, value in typed if value is not None]


def _open(kind: OutputKind, text: str, streams: Sequence[str]) -> ShowOutput:
    stream, spec = split_name(text)
    if stream is not None and stream not in streams:
        raise SettingError(f"{kind.flag} {text}: there is no stream {stream!r}{did_you_mean(stream, streams)}")
    return kind.open(spec, stream or streams[0])
