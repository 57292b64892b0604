"""Rigs by name or file: the presets, the example files, and the reading of rig files (TOML)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.outputs.dmx.fixtures import lamps_of
from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.rig import ArtnetSettings, Fixture, Rate, Rig, SacnSettings, Safety
from stream_mer.utils.toml_file import read_toml
from stream_mer.utils.validation import validated

LOOKS = ("mood", "palette", "wash")
"""Names of the presets; a rig file that names none starts with the first."""

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "mood": "valence chooses the hue (blue, violet, red, amber), arousal intensity and speed",
        "palette": "each category has its colours, through which lamps wander; arousal is intensity and speed",
        "wash": "a subtle wash: pale hues that move slowly, intensity within narrow limits",
    }
)
"""What each preset does."""

_PRESETS: Mapping[str, tuple[Look, Safety]] = MappingProxyType(
    {
        "mood": (Look(), Safety()),
        "palette": (Look(colour="palette", speed=(0.1, 1.0)), Safety()),
        "wash": (
            Look(
                hue=(220.0, 400.0),
                saturation=(0.25, 0.45),
                wander=10.0,
                intensity=(0.45, 0.65),
                speed=(0.0, 0.3),
                rounds_per_min=2.0,
            ),
            Safety(colour_per_s=0.1, intensity_per_s=0.1, return_s=5.0),
        ),
    }
)

_LAMPS = Fixture(name="lamps", channels=("red", "green", "blue"), count=16, offset_step=1 / 16)

TABLES: Mapping[str, type[Struct]] = MappingProxyType(
    {"look": Look, "safety": Safety, "sacn": SacnSettings, "artnet": ArtnetSettings}
)
"""The tables of a rig file beside ``[[fixtures]]``."""


def preset(name: str) -> Rig:
    """Return a preset: its look on 16 RGB lamps, one after another from channel 1 of universe 1 on.

    Raises:
        SettingError: There is no preset of this name.
    """
    if name not in _PRESETS:
        raise SettingError(f"no preset is called {name!r}; there are {', '.join(LOOKS)}")
    look, safety = _PRESETS[name]
    return Rig(fixtures=(_LAMPS,), name=f"stream_mer {name}", look=look, safety=safety)


def find_rig(name: str) -> Rig:
    """Return a preset, or read a rig file.

    Raises:
        SettingError: The name is neither, or the file is not valid.
    """
    if name in LOOKS:
        return preset(name)
    path = Path(name)
    if path.suffix == ".toml" or os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long
        return read_toml(path, rig_of)
    raise SettingError(
        f"no rig is called {brief(repr(name))}, and a file would end in .toml{did_you_mean(name, LOOKS)}"
    )


class _Top(Struct, frozen=True, kw_only=True):
    """A rig file, before its tables are read."""

    preset: str = LOOKS[0]
    name: str | None = None
    rate_hz: Rate | None = None
    look: dict[str, Any] = {}
    safety: dict[str, Any] = {}
    sacn: dict[str, Any] = {}
    artnet: dict[str, Any] = {}
    fixtures: list[dict[str, Any]] | None = None


def rig_of(table: Mapping[str, Any], *, name: str) -> Rig:
    """Make a rig of a rig file. What the file does not say is as in its preset.

    Args:
        table: The file.
        name: Name of the rig, unless the file gives another.

    Raises:
        SettingError: A key is unknown, a value is not valid, or lamps overlap.
    """
    if not isinstance(table.get("fixtures", []), list):
        raise SettingError("fixtures is written [[fixtures]], once for each kind of lamp")
    top = validated(table, _Top)
    if top.preset not in LOOKS:
        raise SettingError(f"preset: there is no {brief(repr(top.preset))}{did_you_mean(top.preset, LOOKS)}")
    base = preset(top.preset)
    parts: dict[str, Any] = {key: _part(key, table.get(key, {}), getattr(base, key)) for key in TABLES}
    if top.fixtures is None and "preset" in table:
        fixtures = base.fixtures  # a file that names a preset and no lamps has those of the preset
    else:
        fixtures = tuple(_fixture(each, i) for i, each in enumerate(top.fixtures or [], 1))
    rate_hz = base.rate_hz if top.rate_hz is None else top.rate_hz
    rig = Rig(fixtures=fixtures, name=name if top.name is None else top.name, rate_hz=rate_hz, **parts)
    lamps_of(rig.fixtures)
    return rig


def _part(key: str, table: Mapping[str, Any], base: Struct) -> Struct:
    if key == "sacn" and isinstance(table.get("to"), str):
        table = {**table, "to": [table["to"]]}
    return validated(table, TABLES[key], where=key, base=base)


def _fixture(table: Mapping[str, Any], number: int) -> Fixture:
    given = table.get("name")
    where = given if isinstance(given, str) else f"fixtures[{number}]"
    return validated({"name": where, **table}, Fixture, where=where)


EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "rig": """\
# Lamps for `stream-mer serve --sacn rig.toml`; docs/DMX.md explains every key.
preset = "mood"                 # mood, palette or wash: gives what this file leaves out
name = "club"                   # what consoles show as the source

[sacn]
priority = 100                  # receivers follow the source of the highest priority
# to = ["192.168.1.50"]         # unicast; without it multicast

[artnet]
# to = "192.168.1.60"           # for --artnet rig.toml
first_universe = 0              # the Art-Net universe that universe 1 is sent to

[look]
intensity = [0.3, 1.0]          # at the calmest and at the most excited
hue = [240, 400]                # degrees, at the least and at the most pleasant

[safety]
hold_s = 10                     # without audio or model: hold for so long,
fade_s = 5                      # then fade so slowly
lost_colour = "#ff9a4d"         # to this colour
lost_intensity = 0.4
at_end = "hold"                 # at the end of the program: hold, look (that of lost_...) or dark

[[fixtures]]
name = "front"
universe = 1
address = 1
channels = ["dimmer", "red", "green", "blue", "white", "strobe"]
count = 4                       # one after another
offset_step = 0.25              # colours wander from lamp to lamp

[[fixtures]]
name = "heads"
universe = 1
address = 101
channels = ["dimmer", "dimmer fine", "red", "green", "blue", "speed", 255]    # 255: a shutter, held open
count = 2
""",
        "wled": """\
# A strip of 300 pixels on a WLED controller, for `stream-mer serve --sacn wled.toml@WLED-ADDRESS`.
# WLED: Config > Sync Interfaces > Realtime: type E1.31 (sACN), start universe 1, DMX mode "Multi RGB", start address 1.
# Without data for its time-out (2.5 s), and at the end of the stream, it goes back to its own effect.
preset = "palette"
name = "strip"

[[fixtures]]
name = "strip"
channels = ["red", "green", "blue"]     # the order of WLED's DMX mode; it knows that of the LEDs itself
count = 20                              # 20 lamps ...
pixels = 15                             # ... of 15 pixels each; past 170 pixels it goes on in universe 2
offset_step = 0.05
response = 1.0                          # 2.8 where "Disable realtime gamma correction" is not ticked
""",
    }
)
"""Example rig files, by name."""
