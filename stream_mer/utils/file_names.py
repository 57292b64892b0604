"""Names of files and names for files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

LONGEST = 80


def as_text(name: str) -> str:
    r"""Return a name of the file system as text for every message: bytes that are no UTF-8 become ``\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def file_names(names: Iterable[str]) -> list[str]:
    """Return a name for each, without an ending, such as every file system allows; no two are alike on any."""
    given: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w .-]+", "_", name)[:LONGEST].strip("._ ") or "stream"
        unique, number = plain, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain}-{number}"
        taken.add(unique.casefold())
        given.append(unique)
    return given
