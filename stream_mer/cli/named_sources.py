"""``--source NAME=SOURCE``, given once or more: from what a person typed to named streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_mer.cli.settings import NameOrPath
from stream_mer.errors import SettingError
from stream_mer.ports import AudioSource
from stream_mer.sources.catalogue import has_tracks, open_source
from stream_mer.utils.file_names import as_text

_NAMED = re.compile(r"(?P<name>[\w][\w .-]{0,63})=(?P<spec>.+)", re.DOTALL)

_FITS: Mapping[str, Callable[[str], bool]] = {
    "rate_hz": lambda spec: spec == "-",
    "sample_format": lambda spec: spec == "-",
    "channels": lambda spec: spec in {"-", "mic", "monitor"} or spec.startswith("mic:"),
    "track": has_tracks,
    "gain_db": lambda spec: spec in {"mic", "monitor"} or spec.startswith("mic:"),
}
"""Which sources an option is for; where there are several sources, it goes to those."""


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
    """Make all sources, by the names of their streams.

    Args:
        sources: ``SOURCE`` or ``NAME=SOURCE`` each; at least one.
        name: Name of the stream where there is one source.
        loop: Files: begin again at the end.
        options: Of ``open_source``, for the sources that they fit.

    Raises:
        SettingError: Two streams have the same name, or no source is called so.
        SourceError: A file is missing, a folder or empty.
    """
    if name is not None and len(sources) > 1:
        raise SettingError("--name is for a single source; name several with --source NAME=SOURCE")
    if sum(split_name(source)[1] == "-" for source in sources) > 1:
        raise SettingError("standard input can be one source only: give - once")
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
