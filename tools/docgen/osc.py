"""The tables of ``docs/OSC.md``."""

from __future__ import annotations

from stream_mer.outputs.osc.mapping import FIELDS, OscField
from stream_mer.outputs.osc.targets import OTHER_RECEIVERS, PRESETS
from tools.docgen.generated_page import GeneratedPage


def tables() -> str:
    """Return what each preset sends, and all fields, as Markdown."""
    parts = ["## The presets", ""]
    for name, preset in PRESETS.items():
        parts += [f"### `{name}`", "", f"{preset.about} Default: `{preset.target.place}`.", "", preset.setup, ""]
        if name != "generic":
            parts += [_table(preset.target.mapping.sent), ""]
    parts += ["### `wled`, `ledfx`", "", "These speak no OSC; `--osc` takes them all the same.", ""]
    for name, other in OTHER_RECEIVERS.items():
        parts += [f"- `{name}` ({other.speaks}): {other.about} {other.setup}"]
    parts += [""]
    fields = tuple(OscField(name=name) for name in FIELDS)
    parts += ["## The fields", "", "What can be sent, and where the preset `generic` sends it.", "", _table(fields), ""]
    return "\n".join(parts)


def _table(fields: tuple[OscField, ...]) -> str:
    rows = [
        f"| `{field.address.replace('{field}', field.name)}` | `{field.name}` | {field.values} | {field.source.about} |"
        for field in fields
    ]
    return "\n".join(("| address | field | values | |", "| --- | --- | --- | --- |", *rows))


PAGE = GeneratedPage(page="docs/OSC.md", make=tables)
