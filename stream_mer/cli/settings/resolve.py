"""Which value of an option counts: flag over environment over file over default.

A section ``[serve]`` of the file, and variables such as ``STREAM_MER_SERVE_PORT``, are for one command. What stands
above the sections, and variables such as ``STREAM_MER_PORT``, are for every command with such an option, and weaker
than those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import click

from stream_mer.cli.settings.file import FILE_VARIABLE, SettingsFile
from stream_mer.cli.settings.kinds import WrongKindError, check, from_text, from_toml, is_secret
from stream_mer.errors import SettingError, did_you_mean

PREFIX = "STREAM_MER"
OTHER_VARIABLES = frozenset(
    {
        FILE_VARIABLE,
        "STREAM_MER_CACHE",  # the folder of all that is kept; the --cache of train is a folder in it
        "STREAM_MER_VERBOSE",  # the -v in front of any command
        "STREAM_MER_SONGS",  # of the benchmarks
        "STREAM_MER_MUSICNN",  # of the tests
    }
)
"""Variables of this name that are no command's option."""

Options = Mapping[str, click.Parameter]
"""The options of a command that can be set, by their names without dashes in front."""
Origin = Literal["default", "file", "environment", "flag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One option's value, and who said so.

    Attributes:
        name: Of the option, without dashes in front.
        value: As click takes it.
        result: As the command gets it.
        origin: What said so.
        where: The file and line, the variable or the flag.
    """

    name: str
    value: Any
    result: Any
    origin: Origin
    where: str = ""


def options_of(command: click.Command) -> dict[str, click.Parameter]:
    """Return what can be set of a command: its options, and arguments that it can do without."""
    found: dict[str, click.Parameter] = {}
    for param in command.params:
        if isinstance(param, click.Argument):
            if param.nargs == 1 and isinstance(param.default, str) and param.name:
                found[param.name.replace("_", "-")] = param
        elif param.expose_value and not param.is_eager:
            found[_long(param.opts).lstrip("-")] = param
    return found


def variable(*names: str) -> str:
    """Return the environment variable of an option, or of an option of one command."""
    return "_".join((PREFIX, *names)).replace("-", "_").upper()


def variables_of(command: str, name: str) -> list[str]:
    """Return the variables that set an option of a command, the strongest first."""
    return [one for one in (variable(command, name), variable(name)) if one not in OTHER_VARIABLES]


def resolve(
    command: str,
    options: Options,
    file: SettingsFile | None,
    environ: Mapping[str, str],
    *,
    commands: Iterable[str],
) -> dict[str, Setting]:
    """Return what the environment and the file say of a command's options, each where it is the stronger.

    Args:
        command: Whose options they are.
        options: These.
        file: What was read, or None.
        environ: The environment.
        commands: The names that a section can have. An option may be called like one of them: a table of that name is
            the section.

    Raises:
        SettingError: A value cannot be; the message names the variable, or the file, line and key.
    """
    found: dict[str, Setting] = {}
    sections = frozenset(commands)
    for name, param in options.items():
        setting = _from_environment(command, name, param, environ)
        if setting is None and file is not None:
            setting = _from_file(command, name, param, file, sections)
        if setting is not None:
            found[name] = setting
    return found


def check_file(
    file: SettingsFile, command: str, options: Options, commands: Iterable[str], others: Callable[[], Iterable[str]]
) -> None:
    """Refuse keys that mean nothing: those for this command, and those above the sections.

    Args:
        file: What was read.
        command: Whose section is looked at.
        options: Of this command.
        commands: The names that a section can have.
        others: Goes through the names of all options of all commands; asked only for what this command does not have,
            and only until it is found, because each command is imported on the way.

    Raises:
        SettingError: There is such a key; the message has the nearest name.
    """
    sections = set(commands)
    for key, value in file.values.items():
        if key in sections and isinstance(value, Mapping):
            if key == command:
                _refuse_unknown(file, key, value, options)
        elif key in sections and key not in options:
            raise SettingError(f"{file.where(key)}: {key} is a section: write [{key}], and below it what is for {key}")
        elif key not in options and key not in others():
            known = set(others())
            meant = did_you_mean(key, known | sections if isinstance(value, Mapping) else known, or_all=False)
            what = f"section [{key}]" if isinstance(value, Mapping) else f"setting {key}"
            raise SettingError(f"{file.where(key)}: there is no {what}{meant}")


def unknown_variables(
    command: str,
    options: Options,
    commands: Iterable[str],
    environ: Mapping[str, str],
    others: Callable[[], Iterable[str]],
) -> Iterator[str]:
    """Say of each variable that begins like one of this command and names no option: STREAM_MER_OSC_IN is of serve.

    Args:
        command: Whose variables are looked at.
        options: Of this command.
        commands: The names of all commands.
        environ: The environment.
        others: As in ``check_file``.
    """
    known = {variable(command, name) for name in options}
    for name in sorted(environ):
        if _addressed(name, commands) == command and name not in known and name not in map(variable, others()):
            yield f"{name} is no setting{did_you_mean(name, known, prefix=variable(command), or_all=False)}"


def shared_variables(commands: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Return the variables that are for every command with such an option, whether there is one or not."""
    ours = (name for name in sorted(environ) if name.startswith(f"{PREFIX}_") and name not in OTHER_VARIABLES)
    sections = list(commands)
    return [name for name in ours if _addressed(name, sections) is None]


def _from_environment(command: str, name: str, param: click.Parameter, environ: Mapping[str, str]) -> Setting | None:
    for one in variables_of(command, name):
        text = environ.get(one)
        if not text:  # empty counts as not set, as is the custom
            continue
        try:
            value = from_text(param, text)
            result = check(param, value)
        except WrongKindError as error:
            raise SettingError(f"{one} {_without_value(error, secret=is_secret(name, param))}") from None
        return Setting(name=name, value=value, result=result, origin="environment", where=one)
    return None


def _from_file(
    command: str, name: str, param: click.Parameter, file: SettingsFile, sections: Collection[str]
) -> Setting | None:
    section = file.values.get(command)
    own: Mapping[str, Any] = section if isinstance(section, Mapping) else {}
    shared = {key: one for key, one in file.values.items() if not (key in sections and isinstance(one, Mapping))}
    if name not in own and name not in shared:
        return None
    keys = (command, name) if name in own else (name,)
    raw = own[name] if name in own else shared[name]
    secret = is_secret(name, param)
    try:
        value = from_toml(param, raw, folder=file.path.absolute().parent, secret=secret)
        result = check(param, value)
    except WrongKindError as error:
        key = f"[{command}] {name}" if name in own else name
        raise SettingError(f"{file.where(*keys)}: {key} {_without_value(error, secret=secret)}") from None
    return Setting(name=name, value=value, result=result, origin="file", where=file.where(*keys))


def _refuse_unknown(file: SettingsFile, section: str, values: Mapping[str, Any], options: Options) -> None:
    for key in values:
        if key not in options:
            meant = did_you_mean(key, options, or_all=False)
            raise SettingError(f"{file.where(section, key)}: [{section}] has no setting {key}{meant}")


def _addressed(name: str, commands: Iterable[str]) -> str | None:
    """The command that a variable is for; the longest name wins, as in train and train-vocals."""
    fitting = (one for one in commands if name.startswith(f"{variable(one)}_"))
    return max(fitting, key=len, default=None)


def _without_value(error: WrongKindError, *, secret: bool) -> str:
    return "cannot be what it is" if secret and str(error).startswith("cannot be") else str(error)


def _long(names: Iterable[str]) -> str:
    return max(names, key=len)
