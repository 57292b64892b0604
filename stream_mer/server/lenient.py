"""Messages of a server that is newer than this client.

Within ``mer.v1``, what is one of a few words may become another one (``status.source``, ``category.top``), and a list
may hold messages of new types (``ready.snapshot``). The decoders of ``messages`` refuse both, as a server must. Here an
unknown word is passed on as it is, and an entry of an unknown type is left out.
"""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

Hint: TypeAlias = Any
"""A type as an annotation."""


class _UnknownTypeError(Exception):
    """A message of a type that this client does not know."""


def convert(value: Any, hint: Hint) -> Any:
    """Return decoded JSON as a message, whatever unknown words and types it holds.

    Args:
        value: The decoded JSON.
        hint: What it is: a message, a union of messages, or the type of a field.

    Raises:
        msgspec.ValidationError: Something else is wrong with it.
    """
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        choices = _choices(hint)
        if isinstance(value, str) and any(_origin(choice) is Literal for choice in choices):
            return value
        if isinstance(value, dict) and (structs := [one for one in choices if _is_struct(one)]):
            return _convert_struct(value, structs)
        if isinstance(value, list) and (items := _item_hint(choices)) is not None:
            return _convert_items(value, items)
        raise


def _choices(hint: Hint) -> list[Hint]:
    """Return the alternatives of a type, without what is said of them."""
    if _origin(hint) is Annotated:
        return _choices(get_args(hint)[0])
    if _origin(hint) in {Union, types.UnionType}:
        return [choice for one in get_args(hint) for choice in _choices(one)]
    return [hint]


def _origin(hint: Hint) -> Any:
    return get_origin(hint)


def _is_struct(hint: Hint) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _item_hint(choices: list[Hint]) -> Hint | None:
    """Return what the list holds that is among the alternatives; None if there is no list of any length."""
    for choice in choices:
        if _origin(choice) is tuple and get_args(choice)[1:] == (...,):
            return get_args(choice)[0]
    return None


def _convert_struct(value: dict[str, Any], structs: list[type[msgspec.Struct]]) -> msgspec.Struct:
    struct = next((one for one in structs if one.__struct_config__.tag in {None, value.get("type")}), None)
    if struct is None:
        raise _UnknownTypeError
    hints = _hints(struct)
    names = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    fields = {name: convert(value[key], hints[name]) for name, key in names if key in value}
    try:
        return struct(**fields)
    except TypeError as missing:
        raise msgspec.ValidationError(str(missing)) from None


def _convert_items(values: list[Any], item: Hint) -> tuple[Any, ...]:
    converted = []
    for value in values:
        try:
            converted.append(convert(value, item))
        except _UnknownTypeError:
            continue
    return tuple(converted)


@cache
def _hints(struct: type[msgspec.Struct]) -> dict[str, Hint]:
    return get_type_hints(struct, include_extras=True)
