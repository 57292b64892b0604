"""``stream-mer config``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click

from stream_mer.cli.echo import echo
from stream_mer.cli.settings.file import SettingsFile
from stream_mer.cli.settings.flag import CONFIG, open_settings, options_by_command
from stream_mer.cli.settings.kinds import WrongKindError, check
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
from stream_mer.cli.settings.show import default_of, example_toml, settings_json, settings_toml
from stream_mer.errors import SettingError, did_you_mean


@click.command("config", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--config", CONFIG, metavar="FILE", help="The settings file, in place of the one that is found.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--example", is_flag=True, help="Print a file with every setting there is, commented out.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ITS OPTIONS]]")
@click.pass_context
def command(
    context: click.Context, *, config_file: str | None, as_json: bool, example: bool, arguments: Sequence[str]
) -> None:
    """Print the settings that would count, and where each comes from; of all commands, or of one.

    Flags are stronger than the environment, that is stronger than the file, and that than the defaults. The file is
    the one given with --config, else that of STREAM_MER_CONFIG, else stream_mer/config.toml in the user's folder of
    settings (~/.config). Secrets are shown as stars.

    \b
    Examples:
      stream-mer config                                    what all commands would do
      stream-mer config --config show.toml serve --hop 1   what this would do
      stream-mer config --example > show.toml              to begin with
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    group = context.parent.command if context.parent is not None else None
    assert isinstance(group, click.Group)  # noqa: S101 - narrows the type
    options = options_by_command(group, context)
    if example:
        echo(example_toml(options), nl=False)
        return
    wanted = _wanted(arguments[0], options) if arguments else list(options)
    flags = _flags(group.get_command(context, arguments[0]), arguments) if arguments else {}
    given = flags.pop(CONFIG).value if CONFIG in flags else config_file
    file = open_settings(given, os.environ)
    if file is not None:
        for name, found in options.items():
            check_file(file, name, found, options, lambda: _all_names(options))
    sections = {name: _effective(name, options, file, flags) for name in wanted}
    warnings = _warnings(options)
    path = None if file is None else file.path
    if as_json:
        echo(settings_json(sections, options, file=path, warnings=warnings))
        return
    sources = "flags, environment, " + (f"{path}, " if path else "(no file), ")
    echo(settings_toml(sections, options, title=f"Strongest first: {sources}defaults."), nl=False)
    for said in warnings:
        echo(f"stream-mer: {said}", err=True)


def _wanted(name: str, options: Mapping[str, Options]) -> list[str]:
    if name not in options:
        raise SettingError(f"there is no command {name}{did_you_mean(name, options, or_all=False)}")
    return [name]


def _flags(command: click.Command | None, arguments: Sequence[str]) -> dict[str, Setting]:
    """What the flags say, and under ``CONFIG`` which file they name."""
    assert command is not None  # noqa: S101 - narrows the type
    context = click.Context(command, info_name=command.name)
    given, _, _ = command.make_parser(context).parse_args(list(arguments[1:]))
    names = {str(param.name): (name, param) for name, param in options_of(command).items()}
    flags = {}
    for key, value in given.items():
        if key == CONFIG:
            flags[CONFIG] = Setting(name="config", value=value, result=value, origin="flag")
        elif key in names and isinstance(value, str | bool | int | list):  # an argument that is not there is neither
            name, param = names[key]
            flag = max(param.opts, key=len)
            try:
                result = check(param, value)
            except WrongKindError as error:
                raise SettingError(f"{flag} {error}") from None
            flags[name] = Setting(name=name, value=value, result=result, origin="flag", where=flag)
    return flags


def _effective(
    command: str, options: Mapping[str, Options], file: SettingsFile | None, flags: Mapping[str, Setting]
) -> list[Setting]:
    own = options[command]
    said = {**resolve(command, own, file, os.environ, commands=options), **flags}
    for name, param in own.items():
        default = default_of(param)
        said.setdefault(name, Setting(name=name, value=default, result=default, origin="default"))
    return [said[name] for name in own]


def _all_names(options: Mapping[str, Options]) -> set[str]:
    return {name for found in options.values() for name in found}


def _warnings(options: Mapping[str, Options]) -> list[str]:
    known = set(map(variable, _all_names(options)))
    own = [
        said
        for name, found in options.items()
        for said in unknown_variables(name, found, options, os.environ, lambda: _all_names(options))
    ]
    shared = [name for name in shared_variables(options, os.environ) if name not in known]
    return own + [f"{name} is no setting{did_you_mean(name, known, prefix=PREFIX, or_all=False)}" for name in shared]
