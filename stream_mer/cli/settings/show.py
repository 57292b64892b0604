"""Settings as text: what counts and why, an example file, and the table of the documentation."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from stream_mer.cli.settings.kinds import is_secret, shown, takes_pairs
from stream_mer.cli.settings.resolve import Options, Setting, variable

_WIDTH = 100
_COMMENT_COLUMN = 44
_EXAMPLE_HEAD = """\
# Settings of stream-mer. Take the # away in front of a line without a space after it to set something.
#
# Stronger than this file are environment variables (STREAM_MER_SERVE_PORT, or STREAM_MER_PORT for every command with
# a port), and stronger than those are the options of the command line. Paths are relative to this file. What stands
# above the sections is for every command that has such an option.

#model = "joint-v3"
"""


def settings_toml(sections: Mapping[str, Iterable[Setting]], options: Mapping[str, Options], *, title: str) -> str:
    """Return settings as a file, with where each comes from as a comment."""
    blocks = [f"# {title}"]
    for section, settings in sections.items():
        lines = [f"[{section}]"]
        for setting in settings:
            value = shown(setting.result, secret=is_secret(setting.name, options[section][setting.name]))
            says = f"# {setting.name}" if value is None else f"{setting.name} = {to_toml(value)}"
            lines.append(f"{says:<{_COMMENT_COLUMN}}  # {_origin(setting, nothing=value is None)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def settings_json(
    sections: Mapping[str, Iterable[Setting]], options: Mapping[str, Options], *, file: Path | None, warnings: list[str]
) -> str:
    """Return the same as JSON."""
    told = {
        section: {one.name: _told(one, options[section][one.name]) for one in settings}
        for section, settings in sections.items()
    }
    document = {"file": None if file is None else str(file), "settings": told, "warnings": warnings}
    return json.dumps(document, indent=2, ensure_ascii=False)


def example_toml(options: Mapping[str, Options]) -> str:
    """Return a file with every setting there is, each commented out, with its default where it has one."""
    blocks = [_EXAMPLE_HEAD]
    for section, found in options.items():
        lines = [f"[{section}]"]
        for name, param in found.items():
            lines += textwrap.wrap(help_of(param), _WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"#{name} = {to_toml(_sample(param))}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def options_markdown(options: Mapping[str, Options]) -> str:
    """Return the tables of ``docs/SETTINGS.md``: one a command."""
    parts = []
    for section, found in options.items():
        rows = [f"### `[{section}]`\n", "| setting | environment | |", "| --- | --- | --- |"]
        for name, param in found.items():
            told = help_of(param).replace("|", "\\|")
            rows.append(f"| `{name}` | `{variable(section, name)}` | {told} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def help_of(param: click.Parameter) -> str:
    """Return what the command's help says of an option, with its default and its range."""
    if not isinstance(param, click.Option):
        return f"The argument {(param.name or '').upper()}.  [default: {param.default}]"
    record = param.get_help_record(click.Context(click.Command(None)))
    return record[1] if record is not None else ""


def default_of(param: click.Parameter) -> Any:
    """Return an option's default, or None where there is none."""
    value = param.get_default(click.Context(click.Command(None)))
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str | bool | int | float | Path):
        return value
    if getattr(param, "multiple", False):
        return []
    return False if getattr(param, "is_bool_flag", False) else None  # click has a mark of its own for nothing


def to_toml(value: Any) -> str:
    """Write a value as TOML does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(one) for one in value)}]"
    # A string of JSON is one of TOML, but for what neither may hold as it is.
    return re.sub("\x7f", r"\\u007f", json.dumps(str(value), ensure_ascii=False))


def _origin(setting: Setting, *, nothing: bool) -> str:
    if setting.origin == "default":
        return "not set" if nothing else "default"
    return setting.where


def _told(setting: Setting, param: click.Parameter) -> dict[str, Any]:
    told = {"value": shown(setting.result, secret=is_secret(setting.name, param)), "from": setting.origin}
    if setting.where:
        told["where"] = setting.where
    return told


def _sample(param: click.Parameter) -> Any:
    value = default_of(param)
    if value is not None and value != []:
        return value
    kind: object = param.type
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return getattr(kind, "min", None) or 0
    text = (param.metavar or "...").lower()
    return [] if takes_pairs(param) else [text] if getattr(param, "multiple", False) else text
