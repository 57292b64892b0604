"""One's own mapping, as a TOML file. Pure but for the reading of the file.

::

    preset = "resolume"            # begin with what a preset has; without it, everything is said here
    host = "192.168.1.20"
    port = 7000
    transport = "udp"              # udp, tcp (OSC 1.0) or slip (OSC 1.1)
    prefix = "/show"               # before every address
    rate_hz = 30
    strings = false                # whether texts are sent
    light = false                  # whether they are faders of light: no flashes, and 0 in a blackout
    step = 0.001                   # smaller changes, as a share of the range, are not sent at once
    hold_s = 10                    # without audio or model: the last values stay for so long,
    fade_s = 5                     # and fade to neutral in this time

    [fields]                       # these alone are sent
    valence = "/composition/layers/1/video/effects/hue/effect/hue"
    arousal = { address = "/composition/speed", scale = "0-1", slew_per_s = 0.5 }
    to_happy = { address = "/composition/columns/1/connect", scale = "int 0-1", release = true }
    onset = [{ address = "/a" }, { address = "/b", scale = "0-100" }]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.osc.addresses import ADDRESS, FIELDS, OscField, OscMapping, parse_scale
from stream_mer.outputs.osc.presets import PRESETS
from stream_mer.outputs.osc.target import OscTarget
from stream_mer.utils.toml_file import read_toml

_OF_TARGET: Mapping[str, type] = {"host": str, "port": int, "transport": str, "rate_hz": float}
_OF_MAPPING: Mapping[str, type] = {"strings": bool, "light": bool, "step": float, "hold_s": float, "fade_s": float}
_OF_FIELD: Mapping[str, type] = {"address": str, "scale": str, "slew_per_s": float, "release": bool}
_KEYS: Mapping[str, type] = {"preset": str, "prefix": str, **_OF_TARGET, **_OF_MAPPING, "fields": dict}

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}


def read_target(path: Path) -> OscTarget:
    """Read a mapping file.

    Raises:
        SettingError: It cannot be read, is no TOML, or holds what cannot be; with the name of the file.
    """
    return read_toml(path, target_of)


def target_of(table: Mapping[str, Any], *, name: str) -> OscTarget:
    """Make a target of what a mapping file says.

    Raises:
        SettingError: A key is unknown, or a value cannot be.
    """
    _check(table, _KEYS, where="")
    base = None
    if "preset" in table:
        if table["preset"] not in PRESETS:
            raise SettingError(
                f"no preset is called {brief(repr(table['preset']))}{did_you_mean(table['preset'], PRESETS)}"
            )
        base = PRESETS[table["preset"]].target
    elif not {"port", "fields"} <= table.keys():
        raise SettingError("a mapping without a preset says at least the port and, under [fields], what is sent")
    fields = () if base is None else base.mapping.fields
    if "fields" in table:
        fields = tuple(field for key, value in table["fields"].items() for field in _fields(key, value))
    mapping = OscMapping(fields=fields, **_said(table, _OF_MAPPING, None if base is None else base.mapping))
    return OscTarget(name=name, mapping=mapping.under(table.get("prefix", "")), **_said(table, _OF_TARGET, base))


def _said(table: Mapping[str, Any], keys: Iterable[str], base: object | None) -> dict[str, Any]:
    """Return what a table says of some keys, else what the preset has."""
    inherited = {} if base is None else {key: getattr(base, key) for key in keys}
    return inherited | {key: table[key] for key in keys if key in table}


def _fields(name: str, value: Any) -> list[OscField]:
    """Read one line under ``[fields]``: an address, a table, or a list of both."""
    if name not in FIELDS:
        raise SettingError(f"no OSC field is called {name!r}{did_you_mean(name, FIELDS)}")
    if isinstance(value, list):
        return [field for each in value for field in _fields(name, each)]
    if isinstance(value, str):
        value = {"address": value}
    if not isinstance(value, dict):
        raise SettingError(f'fields.{name} is an address such as "/a", a table with one, or a list of them')
    _check(value, _OF_FIELD, where=f"fields.{name}.")
    scale = parse_scale(value["scale"]) if "scale" in value else None
    return [
        OscField(
            name=name,
            address=value.get("address", ADDRESS),
            scale=scale,
            slew_per_s=value.get("slew_per_s"),
            release=value.get("release", False),
        )
    ]


def _check(table: Mapping[str, Any], known: Mapping[str, type], *, where: str) -> None:
    """Refuse keys that are not known, and values of another kind."""
    for key, value in table.items():
        if key not in known:
            raise SettingError(f"there is no setting {where}{key}{did_you_mean(key, known)}")
        wanted = known[key]
        fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
        if not fits or (isinstance(value, bool) and wanted is not bool):
            raise SettingError(f"{where}{key} is {_WORDS[wanted]}, not {brief(repr(value))}")
