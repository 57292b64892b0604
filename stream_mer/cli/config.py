"""``stream-mer config``, and settings as text: an example file and the tables of the documentation."""

from __future__ import annotations

import copy
import json
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.settings import (
    CONFIG,
    PREFIX,
    QUIET,
    Options,
    SettingsFile,
    check_keys,
    explain_bad_parameter,
    is_secret,
    options_by_command,
    options_of,
    origin_of,
    shared_variables,
    shown,
    takes_pairs,
    unknown_variables,
    variable,
)
from stream_mer.errors import SettingError, did_you_mean

_WIDTH = 100
_COMMENT_COLUMN = 44
_EXAMPLE_HEAD = """\
# Settings of stream-mer. To set something, remove the # in front of a line without a space after it.
#
# Environment variables override this file (STREAM_MER_SERVE_PORT, or STREAM_MER_PORT for every command with a port),
# and options on the command line override those. Paths are relative to this file. Settings above the sections are for
# every command that has such an option.

#model = "joint-v3"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The value of one option.

    Attributes:
        name: Name of the option, without leading dashes.
        value: As the command gets it, without secrets.
        origin: ``flag``, ``environment``, ``file`` or ``default``.
        where: The flag, the variable, or the file with its line; empty for defaults.
    """

    name: str
    value: Any
    origin: str
    where: str


@click.command("config", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--config", CONFIG, metavar="FILE", help="The settings file, instead of the one that is found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--example", is_flag=True, help="Print a file with every setting, commented out.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ITS OPTIONS]]")
@click.pass_context
def command(
    context: click.Context, *, config_file: str | None, as_json: bool, example: bool, arguments: Sequence[str]
) -> None:
    """Print the effective settings and where each value is from, for all commands or for one.

    Options override the environment, the environment overrides the file, and the file overrides the defaults. The file
    is the one given with --config, else that of STREAM_MER_CONFIG, else stream_mer/config.toml in the user's folder of
    settings (~/.config). Secrets are shown as stars.

    \b
    Examples:
      stream-mer config                                    the settings of all commands
      stream-mer config --config show.toml serve --hop 1   the settings of this call
      stream-mer config --example > show.toml              a file to start from
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    parent = context.parent
    assert parent is not None  # noqa: S101 - narrows the type
    group = parent.command
    assert isinstance(group, click.Group)  # noqa: S101 - narrows the type
    options = options_by_command(group, context)
    if example:
        echo(example_toml(options), nl=False)
        return
    if arguments and arguments[0] not in options:
        raise SettingError(f"there is no command {arguments[0]}{did_you_mean(arguments[0], options, or_all=False)}")
    context.meta[QUIET] = True
    wanted = arguments[:1] or list(options)
    given = [*([] if config_file is None else ["--config", config_file]), *arguments[1:]]
    sections = {}
    for name in wanted:
        one = group.get_command(context, name)
        assert one is not None  # noqa: S101 - narrows the type
        sections[name] = _settings(one, parent, given)
    file: SettingsFile | None = context.meta[CONFIG]
    if file is not None:
        for name, found in options.items():
            check_keys(file, name, found, options, lambda: _all_names(options))
    path, warnings = None if file is None else file.path, _warnings(options)
    if as_json:
        echo(_as_json(sections, path, warnings))
        return
    sources = "options, environment, " + (f"{path}, " if path else "(no file), ")
    echo(_as_toml(sections, title=f"Strongest first: {sources}defaults."), nl=False)
    for warning in warnings:
        echo(f"stream-mer: {warning}", err=True)


def _settings(command: click.Command, parent: click.Context, arguments: Sequence[str]) -> list[Setting]:
    """Return the settings that a command would get; required ones may be missing."""
    lenient = copy.copy(command)
    lenient.params = [copy.copy(param) for param in command.params]
    for param in lenient.params:
        param.required = False
    try:
        context = lenient.make_context(command.name, list(arguments), parent=parent)
    except click.BadParameter as error:
        explain_bad_parameter(error)
        raise
    settings = []
    for name, param in options_of(lenient).items():
        origin, where = origin_of(context, name, param)
        value = shown(context.params[str(param.name)], secret=is_secret(name, param))
        settings.append(Setting(name=name, value=value, origin=origin, where=where))
    return settings


def _all_names(options: Mapping[str, Options]) -> set[str]:
    return {name for found in options.values() for name in found}


def _warnings(options: Mapping[str, Options]) -> list[str]:
    known = set(map(variable, _all_names(options)))
    own = [
        warning
        for name, found in options.items()
        for warning in unknown_variables(name, found, options, os.environ, lambda: _all_names(options))
    ]
    shared = [name for name in shared_variables(options, os.environ) if name not in known]
    return own + [f"{name} is no setting{did_you_mean(name, known, prefix=PREFIX, or_all=False)}" for name in shared]


def _as_toml(sections: Mapping[str, Iterable[Setting]], *, title: str) -> str:
    blocks = [f"# {title}"]
    for section, settings in sections.items():
        lines = [f"[{section}]"]
        for one in settings:
            assigned = f"# {one.name}" if one.value is None else f"{one.name} = {to_toml(one.value)}"
            where = one.where or ("not set" if one.value is None else "default")
            lines.append(f"{assigned:<{_COMMENT_COLUMN}}  # {where}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _as_json(sections: Mapping[str, Iterable[Setting]], path: Path | None, warnings: list[str]) -> str:
    def entry(one: Setting) -> dict[str, Any]:
        return {"value": one.value, "from": one.origin, **({"where": one.where} if one.where else {})}

    settings = {section: {one.name: entry(one) for one in found} for section, found in sections.items()}
    document = {"file": None if path is None else str(path), "settings": settings, "warnings": warnings}
    return json.dumps(document, indent=2, ensure_ascii=False)


def example_toml(options: Mapping[str, Options]) -> str:
    """Return a file with every setting, each commented out, with its default where it has one."""
    blocks = [_EXAMPLE_HEAD]
    for section, found in options.items():
        lines = [f"[{section}]"]
        for name, param in found.items():
            lines += textwrap.wrap(_help_of(param), _WIDTH, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"#{name} = {to_toml(_sample(param))}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def options_markdown(options: Mapping[str, Options]) -> str:
    """Return the tables of ``docs/SETTINGS.md``, one a command."""
    parts = []
    for section, found in options.items():
        rows = [f"### `[{section}]`\n", "| setting | environment | |", "| --- | --- | --- |"]
        for name, param in found.items():
            about = _help_of(param).replace("|", "\\|")
            rows.append(f"| `{name}` | `{variable(section, name)}` | {about} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def to_toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(one) for one in value)}]"
    # A string of JSON is one of TOML, but for the one character that TOML wants escaped.
    return re.sub("\x7f", r"\\u007f", json.dumps(str(value), ensure_ascii=False))


def _help_of(param: click.Parameter) -> str:
    """The help of an option, with its default and its range."""
    if not isinstance(param, click.Option):
        return f"The argument {(param.name or '').upper()}.  [default: {param.default}]"
    record = param.get_help_record(click.Context(click.Command(None)))
    return record[1] if record is not None else ""


def _sample(param: click.Parameter) -> Any:
    """The default of an option, or an example of its type."""
    value = param.get_default(click.Context(click.Command(None)))
    if isinstance(value, str | bool | int | float | Path) or (isinstance(value, list | tuple) and value):
        return value
    kind: object = param.type
    if getattr(param, "is_bool_flag", False):
        return False
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return getattr(kind, "min", None) or 0
    text = (param.metavar or "...").lower()
    return [] if takes_pairs(param) else [text] if getattr(param, "multiple", False) else text
