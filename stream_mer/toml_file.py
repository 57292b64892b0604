"""Files that people write in TOML, such as mappings and rigs: read whole, and every error says which file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stream_mer.errors import SettingError

MAX_BYTES = 1_000_000
"""More is no file that somebody wrote."""

T_co = TypeVar("T_co", covariant=True)


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


def _table(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise SettingError(f"{path} has more than {MAX_BYTES} bytes: nobody wrote that")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no TOML: it is not text in UTF-8") from error
    except RecursionError as error:
        raise SettingError(f"{path} is no TOML that can be read: it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is no TOML: {' '.join(str(error).split())}") from error
