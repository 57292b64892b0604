"""Bounded reading of TOML files (settings, mappings, rigs); every error names the file.

The parser of the standard library takes time quadratic in the parts of a key, accepts integers of any length, and has
no limit of depth. So extreme input is refused before and after it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stream_mer.errors import SettingError, brief

MAX_BYTES = 1_000_000
"""Maximum size of a file."""

MAX_PARTS = 16
"""Parts of one key, and tables or lists inside one another."""

MAX_KEY, MAX_TEXT = 200, 20_000
"""Characters of one part of a key, and of one value."""

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_TOO_MANY_PARTS = re.compile(rf"(?:^|[\[{{,])\s*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_PARTS}}}", re.MULTILINE)

T_co = TypeVar("T_co", covariant=True)


class BadTomlError(ValueError):
    """Text that is no TOML, or none that somebody wrote; the message goes on from the name of the file."""


class Maker(Protocol[T_co]):
    """Makes something of what a file says."""

    def __call__(self, table: Mapping[str, Any], *, name: str) -> T_co:
        """Return it.

        Args:
            table: The file.
            name: That of the file, without its ending.

        Raises:
            SettingError: The file holds what cannot be.
        """


def read_toml(path: Path, make: Maker[T_co]) -> T_co:
    """Read a file and make something of it.

    Raises:
        SettingError: It cannot be read, is no TOML, or holds what cannot be; in one line that begins with the file.
    """
    table = _table(path)
    try:
        return make(table, name=path.stem)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Read a text as TOML.

    Raises:
        BadTomlError: It is none, or its keys, depth or values are beyond all that somebody writes.
    """
    import tomllib  # noqa: PLC0415 - most runs read no file

    if _TOO_MANY_PARTS.search(text):
        raise BadTomlError(f"is no TOML that can be read: it is nested too deeply, more than {MAX_PARTS} times")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise BadTomlError("is no TOML that can be read: it is nested too deeply") from None
    except ValueError as error:  # also an integer of more digits than Python reads
        raise BadTomlError(f"is no TOML: {brief(' '.join(str(error).split()))}") from None
    _check(table, depth=0)
    return table


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Read a file of text.

    Raises:
        OSError: It cannot be read.
        BadTomlError: It is too large, or not UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BadTomlError(f"has more than {max_bytes} bytes: that is no file of settings")
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError:
        raise BadTomlError("is no TOML: it is not text in UTF-8") from None


def _check(value: Any, *, depth: int) -> None:
    """Refuse what is nested too deeply, and keys and values that are too long.

    Raises:
        BadTomlError: There is some.
    """
    if depth > MAX_PARTS:
        raise BadTomlError(f"is nested too deeply, more than {MAX_PARTS} times")
    if isinstance(value, dict):
        for key, each in value.items():
            if len(key) > MAX_KEY:
                raise BadTomlError(f"has a key of {len(key)} characters, {key[:40]!r}…: give {MAX_KEY} at most")
            if not key.isprintable():
                raise BadTomlError(f"has a key with characters that cannot be printed, {key!r}")
            _check(each, depth=depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth=depth + 1)
    elif isinstance(value, str) and len(value) > MAX_TEXT:
        raise BadTomlError(f"has a text of {len(value)} characters: give {MAX_TEXT} at most")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadTomlError("has a whole number of more than 64 bits")


def _table(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_text(path))
    except (OSError, ValueError) as error:
        if isinstance(error, BadTomlError):
            raise SettingError(f"{path} {error}") from error
        raise SettingError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
