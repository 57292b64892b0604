"""The settings file: where it is, what stands in it, and on which line."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_mer.errors import SettingError
from stream_mer.utils.toml_file import BadTomlError, parse_toml, read_text

FILE_VARIABLE = "STREAM_MER_CONFIG"
"""Names the file where no flag does; set but empty, no file is read."""
MAX_BYTES = 1 << 20

_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_KEYS = rf"({_PART}(?:\s*\.\s*{_PART})*)"
_TABLE = re.compile(rf"\s*\[\s*{_KEYS}\s*\]\s*(?:#.*)?")
_ENTRY = re.compile(rf"\s*{_KEYS}\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """What one file says.

    Attributes:
        path: Where it lies; paths in it are relative to its folder.
        values: As read, tables within tables.
        lines: The line of each key, from 1, by its tables and name; those that are written in an unusual way lack.
    """

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def where(self, *keys: str) -> str:
        """Name the file, and the line of a key where that is known."""
        line = self.lines.get(keys)
        return str(self.path) if line is None else f"{self.path}, line {line}"


def find_settings_file(given: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one given, else ``STREAM_MER_CONFIG``, else the user's own where there is one.

    An empty name stands for no file at all.
    """
    named = given if given is not None else environ.get(FILE_VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    own = default_place(environ)
    return own if own is not None and own.is_file() else None


def default_place(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path | None:
    """Return where a user's own file is looked for; None for a user without a home."""
    base = environ.get("XDG_CONFIG_HOME") or (environ.get("APPDATA") if platform == "win32" else None)
    try:
        return (Path(base) if base else Path.home() / ".config") / "stream_mer" / "config.toml"
    except RuntimeError:
        return None


def read_settings_file(path: Path) -> SettingsFile:
    """Read a file.

    Raises:
        SettingError: It cannot be read, or is no TOML.
    """
    try:
        text = read_text(path, max_bytes=MAX_BYTES)
        return SettingsFile(path=path, values=parse_toml(text), lines=find_lines(text))
    except BadTomlError as error:
        raise SettingError(f"{path} {error}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"cannot read the settings in {path}: {reason}") from error


def find_lines(text: str) -> dict[tuple[str, ...], int]:
    """Find the line of each key that begins one, from 1; the parser of the standard library does not tell."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if heading := _TABLE.fullmatch(line):
            table = _split(heading[1])
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault((*table, *_split(entry[1])), number)
    return found


def _split(keys: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, keys))
