"""The tables of ``docs/DMX.md``: every key of a rig file, from the structs that it becomes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream_mer.outputs.dmx.look import Palettes
from stream_mer.outputs.dmx.presets import ABOUT, LOOKS, TABLES
from stream_mer.outputs.dmx.rig import CHANNELS, FINE, Fixture, Rig
from tools.docgen.generated_page import GeneratedPage

_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")


def about_attributes(kind: type[Any]) -> Mapping[str, str]:
    """Return what the docstring of a struct says of each attribute."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    told: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if found := _ATTRIBUTE.match(line):
            name = found[1]
            told[name] = found[2]
        elif name:
            told[name] += " " + line.strip()
    return told


def tables() -> str:
    """Return everything that a rig file may hold, as Markdown."""
    presets = "; ".join(f"`{name}`: {ABOUT[name]}" for name in LOOKS)
    preset = f'| `preset` | `"{LOOKS[0]}"` | Whose look to begin with. {presets}. |'
    parts = ["### At the top\n", *_table(Rig, leave_out={"fixtures", *TABLES}, first=preset)]
    for name, kind in TABLES.items():
        parts += [f"\n### `[{name}]`\n", *_table(kind)]
    colours = (f"`{name}` {' '.join(palette)}" for name, palette in msgspec.structs.asdict(Palettes()).items())
    palettes = (
        '\nPalettes are written under `[look.palettes]`, such as `happy = ["#ffb000", "#ff6a00"]`; those that are not '
        f"written stay: {', '.join(colours)}."
    )
    channels = (
        f"\nChannels: {_listed(CHANNELS)}; for 16 bits beside them {_listed(FINE)}; any number from 0 to 255 is sent "
        "as it is (a shutter, a mode; 0 for a channel that is not used)."
    )
    return "\n".join([*parts, palettes, "\n### `[[fixtures]]`\n", *_table(Fixture), channels, ""])


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(kind: type[Any], *, leave_out: set[str] | None = None, first: str = "") -> Iterator[str]:
    told = about_attributes(kind)
    yield "| key | default | what |"
    yield "| --- | --- | --- |"
    if first:
        yield first
    for field in msgspec.structs.fields(kind):
        if field.name not in (leave_out or set()):
            yield f"| `{field.name}` | {_default(field)} | {told[field.name].replace('``', '`')} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT:
        return "needed"
    if isinstance(field.default, msgspec.Struct):
        return "as below"
    value = field.default
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{each:g}' for each in value)}]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"


PAGE = GeneratedPage(page="docs/DMX.md", make=tables)
