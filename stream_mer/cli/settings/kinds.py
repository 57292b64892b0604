"""Kinds of values: what the options take, read from TOML and from the text of an environment variable."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import click

from stream_mer.errors import brief
from stream_mer.utils.redaction import MASK, redact
from stream_mer.utils.toml_file import BadTomlError, parse_toml

_SECRET_WORDS = frozenset({"credentials", "key", "passphrase", "password", "secret", "token"})


@runtime_checkable
class Placed(Protocol):
    """A kind of option whose text may hold a path."""

    def beside(self, text: str, folder: Path) -> str:
        """Return the text with its path, if it holds one, relative to a folder."""
        ...


class NameOrPath(click.types.StringParamType):
    """Text that is a name or a path; in a settings file, a path is relative to that file."""

    def beside(self, text: str, folder: Path) -> str:
        """Return the path from the folder where there is such a file, or where it is written as a path."""
        is_path = text.startswith(("./", "../", "~")) or ("://" not in text and os.path.exists(folder / text))  # noqa: PTH110 - Path.exists raises where a name is too long
        return place(text, folder) if text and is_path else text


def place(path: str, folder: Path) -> str:
    """Return a path of a file of settings: ``~`` is the user's home, and what is relative is so to the folder."""
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError:  # there is no such user
        return str(folder / path)


class WrongKindError(ValueError):
    """A value is not of the kind that an option takes; the message reads on from the option's name."""


def is_secret(name: str, param: click.Parameter) -> bool:
    """Tell whether an option holds what nobody else may see: by its last word, unless that is the path of a file."""
    return name.rpartition("-")[2] in _SECRET_WORDS and not isinstance(param.type, click.Path)


def shown(value: Any, *, secret: bool = False) -> Any:
    """Return a value as it may be shown: a secret as stars, an address without what is secret in it."""
    if secret:
        return MASK if value else value
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact(str(value))


def takes_pairs(param: click.Parameter) -> bool:
    """Tell whether an option may be given several times as ``NAME=VALUE``, which a file may write as a table."""
    return bool(getattr(param, "multiple", False)) and "NAME" in (param.metavar or "") and "=" in (param.metavar or "")


def from_toml(param: click.Parameter, raw: Any, *, folder: Path, secret: bool = False) -> Any:
    """Return what click takes for a value of TOML.

    Args:
        param: The option.
        raw: Its value in the file.
        folder: The file's own; paths are relative to it.
        secret: Say nothing of the value in an error.

    Raises:
        WrongKindError: It is of another kind.
    """
    if not getattr(param, "multiple", False) and param.nargs == 1:
        return _scalar(param, raw, folder, secret=secret)
    if isinstance(raw, Mapping):
        if not takes_pairs(param):
            raise WrongKindError(_must_be(param, raw, secret=secret))
        pairs = ((name, _scalar_text(param, value, secret=secret)) for name, value in raw.items())
        return [_placed(param, f"{name}={value}", folder) for name, value in pairs]
    values = raw if isinstance(raw, list) else [raw]
    return [_scalar(param, value, folder, secret=secret) for value in values]


def from_text(param: click.Parameter, text: str) -> Any:
    """Return what click takes for the text of an environment variable.

    Several values of one option are written as a TOML array or inline table; anything else is a single value.

    Raises:
        WrongKindError: It begins like an array or a table and is none.
    """
    if not getattr(param, "multiple", False) and param.nargs == 1:
        return text
    if not text.startswith(("[", "{")):
        return [text]
    try:
        raw = parse_toml(f"value = {text}")["value"]
    except BadTomlError:
        raise WrongKindError('must be one value, or several as ["one", "another"]') from None
    return from_toml(param, raw, folder=Path())


def check(param: click.Parameter, value: Any) -> Any:
    """Return the value as the command gets it.

    Raises:
        WrongKindError: It is out of range, no choice, or a path that is not there.
    """
    context = click.Context(click.Command(None))
    try:
        return param.type_cast_value(context, value)
    except click.BadParameter as error:
        if _wanted(param) == "true or false":
            raise WrongKindError(_must_be(param, value, secret=False)) from None
        raise WrongKindError(f"cannot be: {brief(error.message.rstrip('.'))}") from None


def _scalar(param: click.Parameter, raw: Any, folder: Path, *, secret: bool) -> Any:
    wanted = _wanted(param)
    fits = {
        "true or false": isinstance(raw, bool),
        "a whole number": isinstance(raw, int) and not isinstance(raw, bool),
        "a number": isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw),
        "text": isinstance(raw, str),
    }[wanted]
    if not fits:
        raise WrongKindError(_must_be(param, raw, secret=secret))
    return _placed(param, raw, folder) if isinstance(raw, str) else raw


def _scalar_text(param: click.Parameter, raw: Any, *, secret: bool) -> str:
    if isinstance(raw, bool | list | Mapping):
        raise WrongKindError(_must_be(param, raw, secret=secret))
    return str(raw)


def _placed(param: click.Parameter, text: str, folder: Path) -> str:
    if isinstance(param.type, Placed):
        return param.type.beside(text, folder)
    if isinstance(param.type, click.Path | click.File) and text not in ("", "-"):
        return place(text, folder)
    return text


def _wanted(param: click.Parameter) -> str:
    if getattr(param, "is_bool_flag", False):
        return "true or false"
    kind: object = param.type
    if getattr(param, "count", False) or isinstance(kind, click.types.IntParamType):
        return "a whole number"
    if isinstance(kind, click.types.FloatParamType):
        return "a number"
    return "text"


def _must_be(param: click.Parameter, raw: Any, *, secret: bool) -> str:
    wanted = _wanted(param)
    if getattr(param, "multiple", False):
        wanted += ", or a list of that" + (", or a table of names" if takes_pairs(param) else "")
    what = f", not {brief(repr(shown(raw)))}" if not secret else ""
    return f"must be {wanted}{what}"
