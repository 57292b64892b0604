"""Change single values of a TOML file; comments, order and everything else stay as somebody wrote them."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stream_mer.utils.toml_file import BadTomlError, parse_toml

_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_TABLE = re.compile(rf"\s*\[\s*({_PART})\s*\]\s*(?:#.*)?")
_OTHER_TABLE = re.compile(r"\s*\[")
_ENTRY = re.compile(rf"\s*({_PART})\s*=")

_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class _Entry:
    """An assignment, or the heading of a table, which has no key; its lines are ``first`` to ``last``, from 0."""

    table: str | None
    key: str | None
    first: int
    last: int


def set_values(text: str, table: str, values: Mapping[str, str | None]) -> str:
    """Return a TOML text with these values in a table.

    Args:
        text: The file.
        table: Name of the table, which is added at the end if it is missing.
        values: TOML of each value, by its key; None removes the key from the table.

    Raises:
        BadTomlError: The text is no TOML, or is written so that this cannot change it, such as with an inline table.
    """
    before = parse_toml(text)
    if not values:
        return text
    wanted = {
        key: _MISSING if value is None else parse_toml(f"value = {value}")["value"] for key, value in values.items()
    }
    break_ = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    left = dict(values)
    entries = list(_entries(lines))
    for entry in reversed(entries):  # from the end, so that the numbers of lines stay right
        if entry.table == table and entry.key is not None and entry.key in left:
            value = left.pop(entry.key)
            comment = _comment("\n".join(lines[entry.first : entry.last + 1]))
            lines[entry.first : entry.last + 1] = [] if value is None else [f"{entry.key} = {value}{comment}"]
    new = [f"{key} = {value}" for key, value in left.items() if value is not None]
    if new:
        _add(lines, table, new)
    after = break_.join([*lines, ""]) if lines else ""
    _verify(before, after, table, wanted)
    return after


def difference(before: str, after: str) -> str:
    """Return the lines that differ, those of ``before`` behind ``- ``, those of ``after`` behind ``+ ``."""
    changed = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    lines = (f"{line[0]} {line[1:]}" for line in list(changed)[2:] if not line.startswith("@@"))
    return "".join(f"{line}\n" for line in lines)


def _add(lines: list[str], table: str, new: list[str]) -> None:
    """Add assignments below the last one of a table, or in a new table at the end."""
    last = max((entry.last for entry in _entries(lines) if entry.table == table), default=None)
    if last is None:
        lines += [*([""] if lines else []), f"[{table}]", *new]
    else:
        lines[last + 1 : last + 1] = new


def _entries(lines: list[str]) -> Iterator[_Entry]:
    table: str | None = ""
    number = 0
    while number < len(lines):
        line = lines[number]
        entry = _ENTRY.match(line)
        if entry is not None:
            last = _last_line(lines, number)
            yield _Entry(table, entry[1].strip("\"'"), number, last)
            number = last
        elif _OTHER_TABLE.match(line):
            heading = _TABLE.fullmatch(line)
            table = None if heading is None else heading[1].strip("\"'")
            yield _Entry(table, None, number, number)
        number += 1


def _last_line(lines: list[str], first: int) -> int:
    """Return the last line of the value that begins in line ``first``: the first one with which it is complete."""
    for last in range(first, len(lines)):
        if _value("\n".join(lines[first : last + 1])) is not None:
            return last
    return first


def _value(assignment: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(assignment)
    except (ValueError, RecursionError):
        return None


def _comment(assignment: str) -> str:
    """Return the comment after a value, with the space before it."""
    if "\n" in assignment:
        return ""
    whole = _value(assignment)
    for place in (found.start() for found in re.finditer("#", assignment)):
        if _value(assignment[:place]) == whole:
            return "  " + assignment[place:]
    return ""


def _verify(before: dict[str, Any], after: str, table: str, wanted: Mapping[str, Any]) -> None:
    """Check that the text says what it said, with the new values.

    Raises:
        BadTomlError: It does not.
    """
    try:
        now = parse_toml(after)
    except BadTomlError:
        now = {}
    old = before.get(table, {})
    inside = (old if isinstance(old, dict) else {}) | dict(wanted)
    inside = {key: value for key, value in inside.items() if value is not _MISSING}
    expected = before | ({table: inside} if inside or table in now else {})
    if now != expected:
        raise BadTomlError(f"is written so that [{table}] cannot be changed here; edit it by hand")
