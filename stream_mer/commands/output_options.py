"""The options that name outputs of a show, and what they become: one entry of ``_KINDS`` for each kind of output."""

from __future__ import annotations

import difflib
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from stream_mer.commands.named_sources import split_name
from stream_mer.errors import SettingError
from stream_mer.show.output import ShowOutput

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


_KINDS: tuple[OutputKind, ...] = ()


def output_options(function: F) -> F:
    """Add the options of all kinds of outputs; ``open_outputs`` reads them."""
    for kind in reversed(_KINDS):
        function = kind.option(function)
    return function


def open_outputs(options: MutableMapping[str, Any], streams: Sequence[str]) -> list[ShowOutput]:
    """Make the outputs that were asked for.

    Args:
        options: The parameters of a command; those of outputs are taken out.
        streams: Names of all streams, at least one; the first one is followed where none is named.

    Raises:
        SettingError: There is no such stream, preset or file, or the output cannot be.
    """
    typed = [(kind, text) for kind in _KINDS for text in options.pop(kind.parameter)]
    outputs: dict[tuple[str, str | None], ShowOutput] = {}
    for kind, text in typed:
        output = _open(kind, text, streams)
        if (output.name, output.stream) in outputs:
            raise SettingError(f"{kind.flag} {text} is given twice: once is enough")
        outputs[output.name, output.stream] = output
    return list(outputs.values())


def _open(kind: OutputKind, text: str, streams: Sequence[str]) -> ShowOutput:
    stream, spec = split_name(text)
    if stream is not None and stream not in streams:
        near = difflib.get_close_matches(stream, streams, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(streams)}"
        raise SettingError(f"{kind.flag} {text}: there is no stream {stream!r}; {meant}")
    return kind.open(spec, stream or streams[0])
