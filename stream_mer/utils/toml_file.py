"""Reads TOML files (settings, mappings, rigs) within bounds, and validates their tables with msgspec structs.

The parser of the standard library takes time quadratic in the parts of a key, accepts integers of any length, and has
no limit of depth. So extreme input is refused before and after it. Every error is one line that names the file, the
key, the value and what would be right: the range, the type, or the name that was probably meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

import msgspec

from stream_mer.errors import SettingError, brief, did_you_mean

MAX_BYTES = 1_000_000
"""Maximum size of a file."""

MAX_PARTS = 16
"""Parts of one key, and tables or lists inside one another."""

MAX_KEY, MAX_TEXT = 200, 20_000
"""Characters of one part of a key, and of one value."""

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_TOO_MANY_PARTS = re.compile(rf"(?:^|[\[{{,])\s*+{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_PARTS}}}", re.MULTILINE)

T = TypeVar("T")
StructT = TypeVar("StructT", bound=msgspec.Struct)


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
}
_ERROR = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]")


class BadTomlError(ValueError):
    """Text that is not TOML, or beyond the limits; the message continues after the name of the file."""


def read_toml(path: Path, make: Callable[[dict[str, Any], str], T]) -> T:
    """Read a file and make an object of it.

    Args:
        path: The file.
        make: Returns the object; gets the table and the name of the file without its suffix.

    Raises:
        SettingError: The file cannot be read, is not TOML, or is not valid; one line that begins with its path.
    """
    try:
        table = parse_toml(read_text(path))
    except BadTomlError as error:
        raise SettingError(f"{path} {error}") from error
    except (OSError, ValueError) as error:
        raise SettingError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return make(table, path.stem)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Read a text as TOML.

    Raises:
        BadTomlError: It is not TOML, or its depth, keys or values are beyond the limits.
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
    """Refuse values that are nested too deeply, and keys and values that are too long."""
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


def validated(table: object, kind: type[StructT], *, where: str = "", base: StructT | None = None) -> StructT:
    """Make a struct of a table.

    Args:
        table: A part of a TOML file.
        kind: The struct. Its ``Meta`` annotations give the ranges, and a ``description`` says in words what a key
            wants. Unknown keys are refused.
        where: Name of the table in errors, such as ``look``; empty for the top of the file.
        base: Values of keys that the table leaves out; None for the defaults of the struct.

    Raises:
        SettingError: The table does not fit; one line.
    """
    if not isinstance(table, Mapping):
        raise SettingError(f"{where or 'the file'} is a table, not {brief(repr(table))}")
    _check_keys(table, kind, where)
    _refuse_infinite(table, where)
    try:
        return msgspec.convert({**({} if base is None else msgspec.to_builtins(base)), **table}, kind)
    except msgspec.ValidationError as error:
        raise SettingError(_explained(str(error), table, kind, where)) from None


def _check_keys(table: Mapping[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    """Refuse unknown keys of a table and of the tables in it."""
    hints = get_type_hints(kind)
    for key, value in table.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in kind.__struct_fields__:
            raise SettingError(f"there is no setting {name}{did_you_mean(key, kind.__struct_fields__)}")
        if isinstance(value, Mapping) and isinstance(hints[key], type) and issubclass(hints[key], msgspec.Struct):
            _check_keys(value, hints[key], name)


def _refuse_infinite(value: Any, name: str) -> None:
    """Refuse infinity and NaN: TOML has them, and ranges let some of them pass."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _refuse_infinite(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for each in value:
            _refuse_infinite(each, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise SettingError(f"{name} is a number, not {value:g}")


def _explained(message: str, table: Mapping[str, Any], kind: type[msgspec.Struct], where: str) -> str:  # noqa: PLR0911 - one for each error
    """Return an error of msgspec in the words of a file's author."""
    found = _ERROR.fullmatch(message)
    what, path = (found["what"], found["path"] or "") if found else (message, "")
    name, value, wanted = where, cast("Any", table), cast("Any", kind)
    for step in _STEP.finditer(path):
        if step["key"] is not None:
            name, value = f"{name}.{step['key']}" if name else step["key"], value[step["key"]]
            wanted = get_type_hints(wanted, include_extras=True)[step["key"]] if _is_struct(wanted) else wanted
            if description := _first(wanted, "description"):
                return f"{name} is {description}, not {brief(repr(value))}"
        else:
            value = value[int(step["index"])]
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"{name}.{missing[1]} is missing".removeprefix(".")
    if what.startswith("Invalid enum value"):
        return f"{name}: there is no {brief(repr(value))}{did_you_mean(value, _literals(wanted))}"
    if wrong_type := re.fullmatch(r"Expected `([a-z]+)(?: \| null)?`, got .*", what):
        return f"{name} is {_TYPES.get(wrong_type[1], wrong_type[1])}, not {brief(repr(value))}"
    low, above, high = (_first(wanted, bound) for bound in ("ge", "gt", "le"))
    shown = brief(f"{value:g}" if isinstance(value, float) else repr(value))
    if above is not None:
        return f"{name} is above {above:g} and at most {high:g}, not {shown}"
    if low is not None:
        return f"{name} is {low:g} to {high:g}, not {shown}"
    return f"{name}: {what}"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _first(kind: Any, name: str) -> Any:
    """Return the first value that a ``Meta`` in a type gives to one of its attributes; None for none."""
    for each in (*getattr(kind, "__metadata__", ()), *get_args(kind)):
        value = getattr(each, name) if isinstance(each, msgspec.Meta) else _first(each, name)
        if value is not None:
            return value
    return None


def _literals(kind: Any) -> list[str]:
    """Return the words that a type with a ``Literal`` in it allows."""
    return [word for each in get_args(kind) for word in ([each] if isinstance(each, str) else _literals(each))]
