"""Rigs as TOML files. Pure but for the reading of the file.

A table of the file is one of the nouns of ``rig`` and ``look``, and its keys are their attributes: what may be written,
and of what kind it must be, is said there once.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.dmx.colour import Colour, parse_colour
from stream_mer.outputs.dmx.look import PALETTES, Look, Palette, Range
from stream_mer.outputs.dmx.patch import lamps_of
from stream_mer.outputs.dmx.presets import LOOKS, preset
from stream_mer.outputs.dmx.rig import CHANNELS, FINE, ArtnetSettings, Channel, Fixture, Rig, SacnSettings, Safety
from stream_mer.utils.toml_file import read_toml

T = TypeVar("T")

TABLES: Mapping[str, type[Any]] = types.MappingProxyType(
    {"look": Look, "safety": Safety, "sacn": SacnSettings, "artnet": ArtnetSettings}
)
"""The tables of a rig file beside ``[[fixtures]]``."""


def read_rig(path: Path) -> Rig:
    """Read a rig file.

    Raises:
        SettingError: It cannot be read, is no TOML, or holds what cannot be; with the name of the file.
    """
    return read_toml(path, rig_of)


def rig_of(table: Mapping[str, Any], *, name: str) -> Rig:
    """Make a rig of what a file says.

    Args:
        table: The file.
        name: Of the rig, unless the file says another.

    Raises:
        SettingError: A key is unknown, a value cannot be, or lamps lie over one another.
    """
    _check_keys(table, [*(field.name for field in fields(Rig)), "preset"], where="")
    of_preset = _text(table.get("preset", LOOKS[0]), LOOKS, where="preset")
    base = preset(of_preset)
    parts: dict[str, Any] = {"name": table.get("name", name), "rate_hz": table.get("rate_hz", base.rate_hz)}
    parts = {key: _value(typing.get_type_hints(Rig)[key], value, where=key) for key, value in parts.items()}
    for key, kind in TABLES.items():
        parts[key] = _noun(kind, table.get(key, {}), base=getattr(base, key), where=key)
    fixtures = table.get("fixtures", [])
    if not isinstance(fixtures, list):
        raise SettingError("fixtures is written [[fixtures]], once for each kind of lamp")
    # A file that names a preset and no lamps has those of the preset, too; one that says neither has forgotten them.
    of_base = "preset" in table and "fixtures" not in table
    parts["fixtures"] = base.fixtures if of_base else tuple(_fixture(each, i) for i, each in enumerate(fixtures, 1))
    rig = Rig(**parts)
    lamps_of(rig.fixtures)
    return rig


def _fixture(table: Any, number: int) -> Fixture:
    where = f"fixtures[{number}]"
    if not isinstance(table, dict):
        raise SettingError(f"{where} is a table, not {brief(repr(table))}")
    if isinstance(table.get("name"), str):
        where = table["name"]
    if "channels" not in table:
        # Perhaps it is there, with a typing mistake.
        _check_keys(table, typing.get_type_hints(Fixture), where=f"{where}.")
        raise SettingError(f'{where}: channels is missing, such as channels = ["red", "green", "blue"]')
    return _noun(Fixture, {"name": where, **table}, base=None, where=where)


def _noun(kind: type[T], table: Any, *, base: T | None, where: str) -> T:
    """Make a noun of a table; what the table does not say is as in ``base``, or the noun's own default."""
    if not isinstance(table, dict):
        raise SettingError(f"{where} is a table, not {brief(repr(table))}")
    hints = typing.get_type_hints(kind)
    _check_keys(table, hints, where=f"{where}.")
    values = {key: _value(hints[key], value, where=f"{where}.{key}") for key, value in table.items()}
    if base is None:
        return kind(**values)
    return typing.cast("T", dataclasses.replace(typing.cast("Any", base), **values))


def _value(kind: Any, value: Any, *, where: str) -> Any:  # noqa: PLR0911 - one way out for each kind
    """Read one value of a kind.

    Raises:
        SettingError: It is of another.
    """
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE:
        return float(value)
    if kind in {int, str} and isinstance(value, kind) and not isinstance(value, bool):
        return value
    if typing.get_origin(kind) is Literal:
        return _text(value, typing.get_args(kind), where=where)
    if kind == Colour and isinstance(value, str):
        return parse_colour(value)
    if kind == Range and isinstance(value, list) and len(value) == 2:
        low, high = (_value(float, end, where=where) for end in value)
        return low, high
    if kind == Mapping[str, Palette] and isinstance(value, dict):
        _check_keys(value, PALETTES, where=f"{where}.")
        return {**PALETTES, **{name: _colours(each, where=f"{where}.{name}") for name, each in value.items()}}
    if kind == tuple[Channel, ...] and isinstance(value, list):
        return tuple(_channel(each, where=where) for each in value)
    if kind == tuple[str, ...]:
        return tuple(_value(str, each, where=where) for each in (value if isinstance(value, list) else [value]))
    raise SettingError(f"{where} is {_WORDS.get(str(kind), 'something else')}, not {brief(repr(value))}")


_HUGE = 1e300
"""No number of a rig comes near; what is beyond could not even be compared."""

_WORDS = {
    str(float): "a number",
    str(int): "a whole number",
    str(str): "a text",
    str(Colour): 'a colour such as "#ff9a4d"',
    str(Range): "two numbers in brackets, such as [0.3, 1.0]",
    str(Mapping[str, Palette]): "a table of palettes",
    str(tuple[Channel, ...]): 'a list such as ["dimmer", "red", "green", "blue"]',
}


def _colours(value: Any, *, where: str) -> Palette:
    if not (isinstance(value, list) and value and all(isinstance(each, str) for each in value)):
        raise SettingError(f'{where} is a list of colours, such as ["#ffb000", "#ff6a00"], not {brief(repr(value))}')
    return tuple(parse_colour(each) for each in value)


def _channel(value: Any, *, where: str) -> Channel:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= 255:
            raise SettingError(f"{where}: a fixed value is 0 to 255, not {value}")
        return value
    return _text(value, (*CHANNELS, *FINE), where=where)


def _text(value: Any, known: Iterable[str], *, where: str) -> str:
    """Return one of some words."""
    if value not in tuple(known):
        raise SettingError(f"{where}: there is no {brief(repr(value))}{did_you_mean(value, known)}")
    return str(value)


def _check_keys(table: Mapping[str, Any], known: Iterable[str], *, where: str) -> None:
    names = tuple(known)
    for key in table:
        if key not in names:
            raise SettingError(f"there is no setting {where}{key}{did_you_mean(key, names)}")
