"""The set-up of a running server as the section ``[serve]`` of the settings file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from stream_mer.cli.config import to_toml
from stream_mer.cli.settings import HasPath, SettingsFile, WrongTypeError, from_toml, options_of, origin_of, sections_of
from stream_mer.config import OutputSettings, Snapshot, StreamSettings
from stream_mer.errors import SettingError
from stream_mer.outputs.catalogue import OUTPUT_KINDS
from stream_mer.server.messages import PreviewPart
from stream_mer.utils.files import replace_text
from stream_mer.utils.sanitise import redact, redact_argument
from stream_mer.utils.toml_edit import difference, set_values
from stream_mer.utils.toml_file import BadTomlError, parse_toml, read_text

SECTION = "serve"

_OF_STREAMS: Mapping[str, Callable[[StreamSettings], Any]] = {
    "hop": lambda stream: stream.hop_s,
    "attack": lambda stream: stream.smoothing.attack_s,
    "release": lambda stream: stream.smoothing.release_s,
    "dwell": lambda stream: stream.smoothing.dwell_s,
    "hysteresis": lambda stream: stream.smoothing.margin,
    "no-lyrics": lambda stream: stream.lyrics == "off",
    "language": lambda stream: list(stream.languages),
    "spread": lambda stream: stream.spread,
}
"""Settings that the file has once for all streams, and where a stream has them."""


class SetupFile:
    """Implements ``setup.SettingsStore``.

    Args:
        context: Of the command ``serve``.
        path: The file, which need not exist.
        named: Names that the user gave to streams; others are named by their source.
        initial: What runs at the start.
    """

    def __init__(
        self, context: click.Context, path: Path, *, named: Iterable[str], initial: Mapping[str, StreamSettings]
    ) -> None:
        self._context = context
        self._options = options_of(context.command)
        self._path = path
        self._named = frozenset(named)
        self._initial = dict(initial)

    @property
    def path(self) -> str:
        return str(self._path)

    def preview(self, snapshot: Snapshot) -> PreviewPart:
        """Implement ``SettingsStore``; secrets are masked."""
        before = self._text()
        after, notes = self._edited(before, snapshot)
        diff = difference(before, after)
        for text in {*_texts(self._wanted(snapshot)[0]), *_texts(self._in_file(before))}:
            # A value as a whole, because an address in a text ends at white space.
            diff = diff.replace(to_toml(text)[1:-1], to_toml(redact_argument(text))[1:-1])
        return PreviewPart(path=self.path, diff=redact(diff), notes=tuple(notes))

    def save(self, snapshot: Snapshot) -> None:
        """Implement ``SettingsStore``."""
        before = self._text()
        after, _ = self._edited(before, snapshot)
        if after == before:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                self._path.touch(mode=0o600)  # an address may hold a password
        except OSError as error:
            raise SettingError(f"cannot write {self._path}: {error.strerror or error}") from error
        replace_text(self._path, after)

    def _text(self) -> str:
        """Return what the file holds now: it may have been edited meanwhile.

        Raises:
            SettingError: It cannot be read.
        """
        try:
            return read_text(self._path)
        except FileNotFoundError:
            return ""
        except BadTomlError as error:
            raise SettingError(f"{self._path} {error}") from error
        except OSError as error:
            raise SettingError(f"cannot read the settings in {self._path}: {error.strerror or error}") from error

    def _edited(self, text: str, snapshot: Snapshot) -> tuple[str, list[str]]:
        """Return the file with what differs, and what is to be known about it.

        Raises:
            SettingError: It cannot be changed.
        """
        wanted, notes = self._wanted(snapshot)
        values: dict[str, str | None] = {}
        try:
            in_file = self._in_file(text)
            for name, value in wanted.items():
                if not _same(value, in_file.get(name, self._default(name))):
                    values[name] = _as_toml(value)
                    notes += self._overridden(name, value)
            return set_values(text, SECTION, values), notes
        except BadTomlError as error:
            raise SettingError(f"{self._path} {error}") from error

    def _wanted(self, snapshot: Snapshot) -> tuple[dict[str, Any], list[str]]:
        """Return the value of each option that gives this set-up; None for an option that is to be left out."""
        streams = snapshot.streams
        notes: list[str] = []
        wanted: dict[str, Any] = {"source": [self._source(name, one) for name, one in streams.items()]}
        for name, value_of in _OF_STREAMS.items():
            _add_common(wanted, notes, name, [value_of(one) for one in streams.values()])
        devices = [one for one in streams.values() if one.source in ("mic", "monitor") or one.source[:4] == "mic:"]
        if all(one.source != "-" for one in streams.values()):
            _add_common(wanted, notes, "channels", [one.channels for one in devices] or [None])
        _add_common(wanted, notes, "gain", [one.gain_db for one in devices] or [None])
        _add_common(wanted, notes, "track", [one.track for one in streams.values() if one not in devices] or [None])
        _add_common(wanted, notes, "loop", [one.loop for one in streams.values() if one not in devices] or [False])
        if any(
            one.smoothing.min_confidence != self._initial[name].smoothing.min_confidence
            for name, one in streams.items()
        ):
            _add_common(wanted, notes, "min-confidence", [one.smoothing.min_confidence for one in streams.values()])
            wanted["min-accuracy"] = None
        if all(one.lyrics != "known" for one in streams.values()):
            wanted["lyrics"] = None
        for kind in OUTPUT_KINDS:
            wanted[kind] = [self._output(one) for one in snapshot.outputs if one.kind == kind]
        return wanted, notes

    def _source(self, name: str, stream: StreamSettings) -> str:
        text = self._with_path("source", stream.source)
        return f"{name}={text}" if len(self._initial) > 1 or name in self._named else text

    def _output(self, output: OutputSettings) -> str:
        text = self._with_path(output.kind, output.spec)
        return text if output.stream is None else f"{output.stream}={text}"

    def _with_path(self, name: str, text: str) -> str:
        """Return what was typed with its path, if it holds one, from the root: the file is elsewhere."""
        kind: object = self._options[name].type
        return kind.relative_to(text, Path.cwd()) if isinstance(kind, HasPath) else text

    def _in_file(self, text: str) -> dict[str, Any]:
        """Return what the file gives to the command, by the names of options.

        Raises:
            BadTomlError: It is no TOML, or a value has the wrong type.
        """
        file = SettingsFile(path=self._path, values=parse_toml(text))
        parent = self._context.parent
        group = None if parent is None else parent.command
        sections = sections_of(group, parent) if parent is not None and isinstance(group, click.Group) else [SECTION]
        found = {}
        for name, param in self._options.items():
            place = file.find(SECTION, name, sections)
            if place is not None:
                try:
                    found[name] = from_toml(param, place[1], folder=self._path.absolute().parent)
                except WrongTypeError as error:
                    raise BadTomlError(f"cannot be changed: {name} {error}") from error
        return found

    def _default(self, name: str) -> Any:
        value: object = self._options[name].get_default(self._context, call=False)
        if getattr(self._options[name], "multiple", False):
            return list(value) if isinstance(value, list | tuple) else []
        return value if isinstance(value, str | bool | int | float) else None  # else click's mark for none

    def _overridden(self, name: str, value: Any) -> list[str]:
        """Return a note where the command line or the environment gives another value, which will win again."""
        param = self._options[name]
        origin, where = origin_of(self._context, name, param)
        given = self._context.params.get(str(param.name))
        if origin not in ("flag", "environment") or _same(value, list(given) if isinstance(given, tuple) else given):
            return []
        return [f"{where} overrides {name} in the file: leave it out at the next start"]


def _add_common(wanted: dict[str, Any], notes: list[str], name: str, values: Sequence[Any]) -> None:
    """Add a setting that is the same for all streams; else a note, because the file has it once."""
    if all(value == values[0] for value in values):
        wanted[name] = values[0]
    else:
        notes.append(f"{name} differs between streams, and the file has it once: it is not saved")


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield all values that are text, also in lists."""
    for value in values.values():
        yield from (
            one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str) and one
        )


def _as_toml(value: Any) -> str | None:
    """Return a value as the file has it: a list of one as that one; None for no value."""
    if value is None:
        return None
    return to_toml(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _same(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, list):
        return wanted == [str(one) for one in there or ()]
    return bool(wanted == there) or (wanted in (None, False) and there in (None, False))
