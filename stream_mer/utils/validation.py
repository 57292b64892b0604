"""Validates a table of a TOML file with a msgspec struct, and says what is wrong with it. Pure.

``msgspec`` finds the error; here it becomes one line that names the key, the value and what would be right: the range,
the type, or the name that was probably meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args, get_type_hints

import msgspec

from stream_mer.errors import SettingError, brief, did_you_mean

T = TypeVar("T", bound=msgspec.Struct)

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


def validated(table: object, kind: type[T], *, where: str = "", base: T | None = None) -> T:
    """Make a struct of a table.

    Args:
        table: A part of a TOML file.
        kind: The struct. Its ``Meta`` annotations give the ranges, and a ``description`` says in words what a key
            wants. Unknown keys are refused.
        where: What the table is called in errors, such as ``look``; empty for the top of the file.
        base: Gives what the table does not say; None for the defaults of the struct.

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
    """Refuse unknown keys of a table and of the tables in it.

    Raises:
        SettingError: There is one.
    """
    hints = get_type_hints(kind)
    for key, value in table.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in kind.__struct_fields__:
            raise SettingError(f"there is no setting {name}{did_you_mean(key, kind.__struct_fields__)}")
        if isinstance(value, Mapping) and isinstance(hints[key], type) and issubclass(hints[key], msgspec.Struct):
            _check_keys(value, hints[key], name)


def _refuse_infinite(value: Any, name: str) -> None:
    """Refuse infinite numbers and those that are none: TOML has them, and ranges let some of them pass.

    Raises:
        SettingError: There is one.
    """
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
