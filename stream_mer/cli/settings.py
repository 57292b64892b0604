"""Settings of every command from a TOML file and the environment, through click.

``add_settings`` gives each option of a command its environment variables and adds ``--config``, whose callback reads
the file into the context's ``default_map``. Click does the rest: the command line overrides the environment, that the
file, and that the defaults. This module converts values of TOML, resolves paths relative to the file, and makes errors
that name the file, the line and the key, or the variable.
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeAlias, runtime_checkable

import click
from click.core import ParameterSource

from stream_mer.cli.echo import echo
from stream_mer.errors import SettingError, StreamMerError, brief, did_you_mean
from stream_mer.utils.sanitise import MASK, escape, redact

PREFIX = "STREAM_MER"
FILE_VARIABLE = "STREAM_MER_CONFIG"
"""Names the file where no option does; set but empty, no file is read."""

OTHER_VARIABLES = frozenset(
    {
        FILE_VARIABLE,
        "STREAM_MER_CACHE",  # the folder of everything cached; --cache of train is a folder in it
        "STREAM_MER_VERBOSE",  # the -v in front of any command
        "STREAM_MER_SONGS",  # of the benchmarks
        "STREAM_MER_MUSICNN",  # of the tests
    }
)
"""Variables with the prefix that are not options of a command."""

MAX_FILE_BYTES = 1 << 20
CONFIG = "config_file"
SAVED_TO = "stream_mer.saved_to"
"""Key of ``Context.meta``: the path of the file that settings are saved to; None where no file is wanted."""

QUIET = "stream_mer.quiet"
"""Key of ``Context.meta``: the callback of ``--config`` prints nothing."""

Options: TypeAlias = Mapping[str, click.Parameter]
"""The options of a command that can be set, by their names without leading dashes."""

_CONTEXT = "stream_mer.context"
_SECRET_WORDS = frozenset({"credentials", "key", "passphrase", "password", "secret", "token"})
_SHORTEST_VALUE = 4
"""Values of fewer characters are too common to be recognised in an error."""


# --- The file


_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_KEYS = rf"({_PART}(?:\s*\.\s*{_PART})*)"
_TABLE = re.compile(rf"\s*\[\s*{_KEYS}\s*\]\s*(?:#.*)?")
_ENTRY = re.compile(rf"\s*{_KEYS}\s*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """A settings file.

    Attributes:
        path: Where it is; paths in it are relative to its folder.
        values: Its content, tables within tables.
        lines: Line of each key, from 1, by its tables and name; keys in inline tables have none.
    """

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def where(self, *keys: str) -> str:
        """Return the file, and the line of a key where that is known."""
        line = self.lines.get(keys)
        return str(self.path) if line is None else f"{self.path}, line {line}"

    def find(self, command: str, name: str, sections: Collection[str]) -> tuple[tuple[str, ...], Any] | None:
        """Return the keys and the value of a setting: of the command's section, else above the sections.

        Args:
            command: The command, which is the name of its section.
            name: The setting. Where it is called like a section, a table of that name is the section.
            sections: Names of all sections.
        """
        section = self.values.get(command)
        if isinstance(section, Mapping) and name in section:
            return (command, name), section[name]
        if name not in self.values or (name in sections and isinstance(self.values[name], Mapping)):
            return None
        return (name,), self.values[name]


def find_settings_file(given: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one given, else that of ``STREAM_MER_CONFIG``, else the user's own if it exists.

    An empty name means no file at all.
    """
    named = given if given is not None else environ.get(FILE_VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    own = default_path(environ)
    return own if own is not None and own.is_file() else None


def default_path(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path | None:
    """Return the path of a user's own file; None for a user without a home folder."""
    base = environ.get("XDG_CONFIG_HOME") or (environ.get("APPDATA") if platform == "win32" else None)
    try:
        return (Path(base) if base else Path.home() / ".config") / "stream_mer" / "config.toml"
    except RuntimeError:
        return None


def read_settings_file(path: Path) -> SettingsFile:
    """Read a file.

    Raises:
        SettingError: It cannot be read, or is not valid TOML.
    """
    from stream_mer.utils.toml_file import BadTomlError, parse_toml, read_text  # noqa: PLC0415 - only with such a file

    try:
        text = read_text(path, max_bytes=MAX_FILE_BYTES)
        return SettingsFile(path=path, values=parse_toml(text), lines=find_lines(text))
    except BadTomlError as error:
        raise SettingError(f"{path} {error}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"cannot read the settings in {path}: {reason}") from error


def find_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each key that begins one, from 1; ``tomllib`` does not report it."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if heading := _TABLE.fullmatch(line):
            table = _split_keys(heading[1])
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault((*table, *_split_keys(entry[1])), number)
    return found


def _split_keys(keys: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, keys))


def _open_settings(given: str | None, environ: Mapping[str, str]) -> SettingsFile | None:
    path = find_settings_file(given, environ)
    try:
        return None if path is None else read_settings_file(path)
    except SettingError as error:
        if given is None and FILE_VARIABLE in environ:
            error.add_note(f"({FILE_VARIABLE} names it)")
        raise


# --- Options and their variables


def add_settings(command: click.Command) -> click.Command:
    """Add ``--config`` to a command, and to each option its variables and a flag that switches it off.

    Returns:
        The same command.
    """
    if any(param.name == CONFIG for param in command.params):
        return command
    taken = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    for name, param in options_of(command).items():
        param.envvar = variables_of(command.name or "", name)
        if getattr(param, "multiple", False):
            param.value_from_envvar = functools.partial(_values_from_envvar, param)  # type: ignore[method-assign]  # several
        if isinstance(param, click.Option) and param.is_bool_flag and not param.secondary_opts:
            flag = max(param.opts, key=len)
            off = f"--with-{flag[5:]}" if flag.startswith("--no-") else f"--no-{flag[2:]}"
            param.secondary_opts = [] if off in taken else [off]
    command.params.append(
        click.Option(
            ["--config", CONFIG],
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help="Settings file (TOML); options and the environment override it; '' for none (docs/SETTINGS.md).",
        )
    )
    return command


def options_of(command: click.Command) -> dict[str, click.Parameter]:
    """Return the settings of a command: its options, and arguments that have a default."""
    found: dict[str, click.Parameter] = {}
    for param in command.params:
        if isinstance(param, click.Argument):
            if param.nargs == 1 and isinstance(param.default, str) and param.name:
                found[param.name.replace("_", "-")] = param
        elif param.expose_value and not param.is_eager:
            found[max(param.opts, key=len).lstrip("-")] = param
    return found


def sections_of(group: click.Group, context: click.Context) -> list[str]:
    """Return the names of the sections: those of all commands but ``config``."""
    return [name for name in group.list_commands(context) if name != "config"]


def options_by_command(group: click.Group, context: click.Context) -> dict[str, dict[str, click.Parameter]]:
    """Return the settings of each command. This imports all commands, which may take seconds."""
    commands = {name: group.get_command(context, name) for name in sections_of(group, context)}
    return {name: options_of(one) for name, one in commands.items() if one is not None}


def variable(*names: str) -> str:
    """Return the environment variable of an option, or of an option of one command."""
    return "_".join((PREFIX, *names)).replace("-", "_").upper()


def variables_of(command: str, name: str) -> list[str]:
    """Return the variables that set an option of a command, the strongest first."""
    return [one for one in (variable(command, name), variable(name)) if one not in OTHER_VARIABLES]


def is_secret(name: str, param: click.Parameter) -> bool:
    """Return whether an option's value is secret: by the last word of its name, unless it is the path of a file."""
    return name.rpartition("-")[2] in _SECRET_WORDS and not isinstance(param.type, click.Path)


def shown(value: Any, *, secret: bool = False) -> Any:
    """Return a value for display: a secret as stars, an address without its secrets."""
    if secret:
        return MASK if value else value
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact(str(value))


def _read_config(context: click.Context, _param: click.Parameter, given: str | None) -> None:
    """The eager callback of ``--config``: read the file into ``default_map``."""
    if context.resilient_parsing or context.parent is None:
        return
    context.meta[_CONTEXT] = context
    group, command, options = context.parent.command, context.info_name or "", options_of(context.command)
    assert isinstance(group, click.Group)  # noqa: S101 - narrows the type
    sections = sections_of(group, context.parent)

    def others() -> Iterator[str]:
        assert context.parent is not None  # noqa: S101 - narrows the type
        for name in sections:
            other = group.get_command(context.parent, name)
            yield from options_of(other) if other is not None else ()

    file = _open_settings(given, os.environ)
    values: dict[str, Any] = {}
    if file is not None:
        check_keys(file, command, options, sections, others)
        values = {str(options[name].name): value for name, value in _values_of(file, command, options, sections)}
    context.meta[CONFIG] = file
    named = os.environ.get(FILE_VARIABLE) if given is None else given
    context.meta[SAVED_TO] = (
        file.path.absolute() if file is not None else default_path(os.environ) if named != "" else None
    )
    context.default_map = values
    if context.meta.get(QUIET):
        return
    for warning in (
        *unknown_variables(command, options, sections, os.environ, others),
        *_misspelt(options, sections, others),
    ):
        echo(escape(f"stream-mer: {warning}"), err=True)
    if file is not None and given is None and values:
        echo(escape(f"Settings: {file.path}"), err=True)


def _values_of(
    file: SettingsFile, command: str, options: Options, sections: Collection[str]
) -> Iterator[tuple[str, Any]]:
    for name, param in options.items():
        found = file.find(command, name, sections)
        if found is not None:
            keys, raw = found
            try:
                yield name, from_toml(param, raw, folder=file.path.absolute().parent, secret=is_secret(name, param))
            except WrongTypeError as error:
                raise SettingError(f"{file.where(*keys)}: {_key(keys)} {error}") from None


# --- Values


@runtime_checkable
class HasPath(Protocol):
    """A type of option whose text may hold a path."""

    def relative_to(self, text: str, folder: Path) -> str:
        """Return the text with its path, if it holds one, relative to a folder."""
        ...


class NameOrPath(click.types.StringParamType):
    """Text that is a name or a path; in a settings file, a path is relative to that file."""

    def relative_to(self, text: str, folder: Path) -> str:
        """Return the path from the folder where there is such a file, or where it is written as a path."""
        is_path = text.startswith(("./", "../", "~")) or ("://" not in text and os.path.exists(folder / text))  # noqa: PTH110 - Path.exists raises where a name is too long
        return _from_folder(text, folder) if text and is_path else text


class WrongTypeError(ValueError):
    """A value is not of the type that an option takes; the message follows the option's name."""


def takes_pairs(param: click.Parameter) -> bool:
    """Whether an option may be given several times as ``NAME=VALUE``, which a file may write as a table."""
    return bool(getattr(param, "multiple", False)) and "NAME" in (param.metavar or "") and "=" in (param.metavar or "")


def from_toml(param: click.Parameter, raw: Any, *, folder: Path, secret: bool = False) -> Any:
    """Return a value of TOML as click takes it.

    Args:
        param: The option.
        raw: Its value in the file.
        folder: The file's own; paths are relative to it.
        secret: Leave the value out of errors.

    Raises:
        WrongTypeError: It is of another type.
    """
    if not getattr(param, "multiple", False) and param.nargs == 1:
        return _scalar(param, raw, folder, secret=secret)
    if isinstance(raw, Mapping):
        if not takes_pairs(param):
            _refuse_type(param, raw, secret=secret)
        for value in raw.values():
            if isinstance(value, bool | list | Mapping):
                _refuse_type(param, value, secret=secret)
        return [_with_path(param, f"{name}={value}", folder) for name, value in raw.items()]
    values = raw if isinstance(raw, list) else [raw]
    return [_scalar(param, value, folder, secret=secret) for value in values]


def _values_from_envvar(param: click.Parameter, context: click.Context) -> Any:
    """Values of an option that may be given several times: a TOML array or inline table, else a single value.

    Raises:
        SettingError: It begins like an array or a table and is not valid TOML.
    """
    text = param.resolve_envvar_value(context)
    if text is None or not text.startswith(("[", "{")):
        return None if text is None else [text]
    name = next(one for one in param.envvar or () if os.environ.get(one))
    from stream_mer.utils.toml_file import BadTomlError, parse_toml  # noqa: PLC0415 - only for such a value

    try:
        return from_toml(param, parse_toml(f"value = {text}")["value"], folder=Path())
    except BadTomlError:
        raise SettingError(f'{name} must be one value, or several as ["one", "another"]') from None
    except WrongTypeError as error:
        raise SettingError(f"{name} {error}") from None


def _scalar(param: click.Parameter, raw: Any, folder: Path, *, secret: bool) -> Any:
    fits = {
        "true or false": isinstance(raw, bool),
        "a whole number": isinstance(raw, int) and not isinstance(raw, bool),
        "a number": isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw),
        "text": isinstance(raw, str),
    }
    if not fits[_type_name(param)]:
        _refuse_type(param, raw, secret=secret)
    return _with_path(param, raw, folder) if isinstance(raw, str) else raw


def _with_path(param: click.Parameter, text: str, folder: Path) -> str:
    if isinstance(param.type, HasPath):
        return param.type.relative_to(text, folder)
    if isinstance(param.type, click.Path | click.File) and text not in ("", "-"):
        return _from_folder(text, folder)
    return text


def _from_folder(path: str, folder: Path) -> str:
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError:  # there is no such user
        return str(folder / path)


def _type_name(param: click.Parameter) -> str:
    if getattr(param, "is_bool_flag", False):
        return "true or false"
    kind: object = param.type
    if getattr(param, "count", False) or isinstance(kind, click.types.IntParamType):
        return "a whole number"
    return "a number" if isinstance(kind, click.types.FloatParamType) else "text"


def _refuse_type(param: click.Parameter, raw: Any, *, secret: bool) -> NoReturn:
    wanted = _type_name(param)
    if getattr(param, "multiple", False):
        wanted += ", or a list of that" + (", or a table of names" if takes_pairs(param) else "")
    raise WrongTypeError(f"must be {wanted}" + ("" if secret else f", not {brief(repr(shown(raw)))}"))


# --- Mistakes


def check_keys(
    file: SettingsFile, command: str, options: Options, sections: Iterable[str], others: Callable[[], Iterable[str]]
) -> None:
    """Refuse unknown keys: in the command's section, and above the sections.

    Args:
        file: The file.
        command: Its section is checked.
        options: Of this command.
        sections: Names of all sections.
        others: Returns the names of all options of all commands. Called only for keys that this command does not have,
            and read only until they are found, because it imports each command.

    Raises:
        SettingError: There is such a key; the message has the nearest name.
    """
    known = set(sections)
    for key, value in file.values.items():
        if key in known and isinstance(value, Mapping):
            for name in value if key == command else ():
                if name not in options:
                    meant = did_you_mean(name, options, or_all=False)
                    raise SettingError(f"{file.where(key, name)}: [{key}] has no setting {name}{meant}")
        elif key in known and key not in options:
            raise SettingError(f"{file.where(key)}: {key} is a section: write [{key}], and below it what is for {key}")
        elif key not in options and key not in others():
            names = set(others())
            meant = did_you_mean(key, names | known if isinstance(value, Mapping) else names, or_all=False)
            what = f"section [{key}]" if isinstance(value, Mapping) else f"setting {key}"
            raise SettingError(f"{file.where(key)}: there is no {what}{meant}")


def unknown_variables(
    command: str,
    options: Options,
    sections: Iterable[str],
    environ: Mapping[str, str],
    others: Callable[[], Iterable[str]],
) -> Iterator[str]:
    """Yield a warning for each variable with this command's prefix that is no option; arguments as for ``check_keys``.

    Another command's variable may have the prefix, too: STREAM_MER_OSC_IN belongs to serve, not to osc.
    """
    known = {variable(command, name) for name in options}
    for name in sorted(environ):
        if _command_of(name, sections) == command and name not in known and name not in map(variable, others()):
            yield f"{name} is no setting{did_you_mean(name, known, prefix=variable(command), or_all=False)}"


def shared_variables(sections: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Return the variables without a command in their names; such an option may or may not exist."""
    ours = (name for name in sorted(environ) if name.startswith(f"{PREFIX}_") and name not in OTHER_VARIABLES)
    known = list(sections)
    return [name for name in ours if _command_of(name, known) is None]


def _misspelt(options: Options, sections: Iterable[str], others: Callable[[], Iterable[str]]) -> Iterator[str]:
    """Yield a warning for each shared variable that nearly names an option of this command, and none of another."""
    known = {variable(option) for option in options}
    for name in shared_variables(sections, os.environ):
        meant = "" if name in known else did_you_mean(name, known, prefix=PREFIX, or_all=False)
        if meant and name not in map(variable, others()):
            yield f"{name} is no setting{meant}"


def _command_of(name: str, sections: Iterable[str]) -> str | None:
    """Return the command in a variable's name; the longest wins, as with train and train-vocals."""
    fitting = (one for one in sections if name.startswith(f"{variable(one)}_"))
    return max(fitting, key=len, default=None)


# --- Where a value is from


def origin_of(context: click.Context, name: str, param: click.Parameter) -> tuple[str, str]:
    """Return where the value of an option is from.

    Returns:
        ``flag``, ``environment``, ``file`` or ``default``; and the flag, the variable, or the file with its line.
    """
    source = context.get_parameter_source(str(param.name))
    if source is ParameterSource.COMMANDLINE:
        return "flag", max(param.opts, key=len)
    if source is ParameterSource.ENVIRONMENT:
        return "environment", next(one for one in variables_of(context.info_name or "", name) if os.environ.get(one))
    file: SettingsFile | None = context.meta.get(CONFIG)
    if source is ParameterSource.DEFAULT_MAP and file is not None:
        return "file", file.where(*_keys_in(file, context, name))
    return "default", ""


def _keys_in(file: SettingsFile, context: click.Context, name: str) -> tuple[str, ...]:
    parent = context.parent
    sections = sections_of(parent.command, parent) if parent and isinstance(parent.command, click.Group) else []
    found = file.find(context.info_name or "", name, sections)
    return found[0] if found is not None else (name,)


def _key(keys: Sequence[str]) -> str:
    return f"[{keys[0]}] {keys[1]}" if len(keys) == 2 else keys[0]


def explain_bad_parameter(error: click.BadParameter) -> None:
    """Replace the error by one that names the place, if the value is from a file or a variable.

    Raises:
        SettingError: The value is from a file or a variable.
    """
    context, param = error.ctx, error.param
    if context is None or param is None or isinstance(error, click.MissingParameter):
        return
    name = next((name for name, one in options_of(context.command).items() if one is param), None)
    origin, where = ("", "") if name is None else origin_of(context, name, param)
    if name is None or origin not in ("environment", "file"):
        return
    reason = "is not valid" + ("" if is_secret(name, param) else f": {brief(error.message.rstrip('.'))}")
    file: SettingsFile | None = context.meta.get(CONFIG)
    place = where if origin == "environment" or file is None else f"{where}: {_key(_keys_in(file, context, name))}"
    raise SettingError(f"{place} {reason}") from None


def explain(context: click.Context, error: StreamMerError) -> None:
    """Add a note to an error: which file or variable set the options that its message names."""
    about = context.meta.get(_CONTEXT)
    if about is None:
        return
    notes = []
    for name, param in options_of(about.command).items():
        origin, where = origin_of(about, name, param)
        if origin not in ("environment", "file") or where in str(error):
            continue
        if _is_about(name, about.params.get(str(param.name)), str(error)):
            notes.append(f"{name} is from {where}")
    if notes:
        error.add_note(f"({', '.join(notes)})")


def _is_about(name: str, value: object, message: str) -> bool:
    if re.search(rf"(?<![\w/-])(--)?{re.escape(name)}(?![\w-])", message):
        return True
    values: Iterable[object] = value if isinstance(value, list | tuple) else [value]
    return any(
        isinstance(one, str | Path) and len(str(one)) >= _SHORTEST_VALUE and str(shown(one)) in message
        for one in values
    )
