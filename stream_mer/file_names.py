"""Names for files that are called like something of a user's."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 80


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
