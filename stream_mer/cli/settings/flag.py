"""How every command comes to its settings: ``--config``, and a way to switch off what a file switches on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import click
from click.core import ParameterSource

from stream_mer.cli.settings.file import FILE_VARIABLE, SettingsFile, find_settings_file, read_settings_file
from stream_mer.cli.settings.kinds import shown
from stream_mer.cli.settings.resolve import (
    PREFIX,
    Options,
    Setting,
    check_file,
    options_of,
    resolve,
    shared_variables,
    unknown_variables,
    variable,
)
from stream_mer.errors import SettingError, StreamMerError, did_you_mean
from stream_mer.utils.terminal_text import escape

CONFIG = "config_file"
_META = "stream_mer.cli.settings"
_LEAST_TELLING = 4
"""A value of fewer characters says too little to find it again in an error."""


def take_part(command: click.Command) -> click.Command:
    """Make a command read settings: all its options, and those that it gets tomorrow."""
    if any(param.name == CONFIG for param in command.params):
        return command
    taken = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    for param in command.params:
        if isinstance(param, click.Option) and param.is_bool_flag and param.expose_value and not param.secondary_opts:
            off = _off_name(max(param.opts, key=len))
            param.secondary_opts = [] if off in taken else [off]
    command.params.append(
        click.Option(
            ["--config", CONFIG],
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=_apply,
            help="Settings (TOML), weaker than the environment and options here; '' for none (docs/SETTINGS.md).",
        )
    )
    return command


def sections_of(group: click.Group, context: click.Context) -> list[str]:
    """Return the commands that can be set, whose names are those of the sections."""
    return [name for name in group.list_commands(context) if name != "config"]


def options_by_command(group: click.Group, context: click.Context) -> dict[str, dict[str, click.Parameter]]:
    """Return what can be set of each command. This imports all of them: it may take seconds."""
    commands = {name: group.get_command(context, name) for name in sections_of(group, context)}
    return {name: options_of(one) for name, one in commands.items() if one is not None}


def open_settings(given: str | None, environ: Mapping[str, str]) -> SettingsFile | None:
    """Read the file that counts, or None where there is none.

    Raises:
        SettingError: It cannot be read, or is no TOML.
    """
    path = find_settings_file(given, environ)
    try:
        return None if path is None else read_settings_file(path)
    except SettingError as error:
        if given is None and FILE_VARIABLE in environ:
            error.add_note(f"({FILE_VARIABLE} names it)")
        raise


def explain(context: click.Context, error: StreamMerError) -> None:
    """Add to an error where those settings come from that it seems to be about, if no flag gave them."""
    about = [one for one in context.meta.get(_META, _nothing)() if _is_about(one, str(error))]
    if about:
        error.add_note(f"({', '.join(f'{one.name} is from {one.where}' for one in about)})")


def _apply(context: click.Context, _param: click.Parameter, given: str | None) -> None:
    """Read what the file and the environment say, and let it count for what no flag says."""
    if context.resilient_parsing or context.parent is None:
        return
    group, name = context.parent.command, context.info_name or ""
    assert isinstance(group, click.Group)  # noqa: S101 - narrows the type
    commands, options = sections_of(group, context.parent), options_of(context.command)

    def others() -> Iterator[str]:
        assert context.parent is not None  # noqa: S101 - narrows the type
        for other in commands:
            command = group.get_command(context.parent, other)
            yield from options_of(command) if command is not None else ()

    file = open_settings(given, os.environ)
    if file is not None:
        check_file(file, name, options, commands, others)
    for said in (
        *unknown_variables(name, options, commands, os.environ, others),
        *_misspelt(options, commands, others),
    ):
        click.echo(escape(f"stream-mer: {said}"), err=True)
    settings = resolve(name, options, file, os.environ, commands=commands)
    if file is not None and given is None and any(one.origin == "file" for one in settings.values()):
        click.echo(escape(f"Settings: {file.path}"), err=True)
    parameters = {str(options[name].name): one for name, one in settings.items()}
    context.default_map = {parameter: one.value for parameter, one in parameters.items()}

    def counting() -> list[Setting]:
        flag = ParameterSource.COMMANDLINE
        return [one for name, one in parameters.items() if context.get_parameter_source(name) is not flag]

    context.meta[_META] = counting


def _misspelt(options: Options, commands: Iterable[str], others: Callable[[], Iterable[str]]) -> Iterator[str]:
    """Say of shared variables that are nearly one of this command's, and none of another's."""
    known = {variable(option) for option in options}
    for name in shared_variables(commands, os.environ):
        meant = "" if name in known else did_you_mean(name, known, prefix=PREFIX, or_all=False)
        if meant and name not in map(variable, others()):
            yield f"{name} is no setting{meant}"


def _nothing() -> list[Setting]:
    return []


def _off_name(flag: str) -> str:
    return f"--with-{flag.removeprefix('--no-')}" if flag.startswith("--no-") else f"--no-{flag.removeprefix('--')}"


def _is_about(setting: Setting, message: str) -> bool:
    if re.search(rf"(?<![\w/-])(--)?{re.escape(setting.name)}(?![\w-])", message):
        return True
    values: Iterable[object] = setting.value if isinstance(setting.value, list) else [setting.value]
    return any(
        isinstance(one, str | Path) and len(str(one)) >= _LEAST_TELLING and str(shown(one)) in message for one in values
    )
