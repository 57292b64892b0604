"""The ``stream-mer`` command. Subcommands are in modules beside this one, imported when they are called."""

from __future__ import annotations

import _thread
import importlib
import io
import logging
import os
import signal
import sys
import threading
import traceback
from types import ModuleType, TracebackType
from typing import Any

import click

from stream_mer.cli.settings import add_settings, explain, explain_bad_parameter
from stream_mer.errors import StreamMerError, brief, did_you_mean
from stream_mer.utils.sanitise import escape, redact
from stream_mer.utils.stopping import abandoned, exit_process
from stream_mer.version import __version__

COMMANDS = {
    "serve": "Serve the emotion of live music over websockets.",
    "worker": "Compute channels for servers on other machines, over NATS.",
    "channels": "List, add or remove the channels that workers compute.",
    "tag": "Tag files: frames, lyrics and a summary as JSON lines or CSV.",
    "replay": "Serve a recorded show again.",
    "send": "Send audio to a server on another machine.",
    "listen": "Follow a server in the terminal.",
    "osc": "List OSC presets, show their addresses, test a connection.",
    "midi": "List MIDI presets and ports, show what is sent, test a connection.",
    "lights": "List presets for lamps, check a rig, preview a show.",
    "devices": "List the sound inputs of this machine.",
    "config": "Print the effective settings and where each is from.",
    "diagnose": "Check this machine and say what to fix.",
    "train": "Train a joint model on a labelled corpus.",
    "train-vocals": "Train the voice-activity gate on unlabelled music.",
    "evaluate": "Evaluate a checkpoint, or a recipe by cross-validation.",
    "protocol": "Print the wire protocol as an AsyncAPI document or JSON Schema.",
}

_MODULES = {
    "worker": "cluster",
    "channels": "cluster",
    "listen": "clients",
    "protocol": "clients",
    "train": "training",
    "train-vocals": "training",
    "evaluate": "training",
}
"""Modules of the commands that share one; others have one of their name."""


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is called, so that ``--help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        module = _import(_MODULES.get(cmd_name, cmd_name), cmd_name)
        commands = (one for one in vars(module).values() if isinstance(one, click.Command))
        return add_settings(next(command for command in commands if command.name == cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command {brief(args[0])!r}{_meant(args[0])}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of a pipe ended, as with | head; click would report a failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        except click.BadParameter as error:
            explain_bad_parameter(error)
            raise
        except StreamMerError as error:
            explain(ctx, error)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _import(name: str, command: str) -> ModuleType:
    """Import the module of a command.

    Raises:
        click.UsageError: A package of the extra ``train`` is missing.
    """
    try:
        return importlib.import_module(f"stream_mer.cli.{name}")
    except ModuleNotFoundError as error:
        if name != "training" or (error.name or "").startswith("stream_mer"):
            raise
        raise click.UsageError(f"{command} needs {error.name}: pip install 'stream-mer[train]'") from error


def _meant(word: str) -> str:
    """Return the end of a message about a word that is no command: a near one, or what to do with a file."""
    if os.path.exists(word) or "://" in word:  # noqa: PTH110 - Path.exists raises where a name is too long
        verb, use = ("hear", "serve --source") if "://" in word else ("tag", "tag")
        return f"; to {verb} it: stream-mer {use} {word}"
    return did_you_mean(word, COMMANDS)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stream-mer")
@click.option(
    "-v", "--verbose", count=True, envvar="STREAM_MER_VERBOSE", help="Log more to stderr; twice for debug output."
)
def cli(verbose: int) -> None:
    """Tag music with its emotion, live: valence and arousal, a category, and the sung lyrics.

    Start with `stream-mer serve` (the built-in demo song) and open the address that it prints, or tag a file with
    `stream-mer tag song.mp3`. `stream-mer COMMAND --help` has examples.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RedactingFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


class _RedactingFormatter(logging.Formatter):
    """Masks secrets and escapes control characters, also in tracebacks and in what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(escape(super().format(record), keep_lines=True))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of logging
        """Return the line without traceback, as one line."""
        return escape(super().formatMessage(record))


def main() -> None:
    """Run the command line. An expected error is one line on stderr, never a traceback."""
    sys.excepthook = _print_redacted
    abandoned.clear()  # in a process that has done something else before
    # Read by prometheus_client when it is imported: a creation time beside each counter is of no use here.
    os.environ.setdefault("PROMETHEUS_DISABLE_CREATED_SERIES", "true")
    threading.excepthook = lambda failed: _print_redacted(failed.exc_type, failed.exc_value, failed.exc_traceback)
    sys.unraisablehook = _deliver_again
    try:
        exit_process(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        exit_process(stop.exit_code)
    except click.Abort:
        exit_process(130)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        click.echo(redact(escape(text.getvalue(), keep_lines=True)), err=True, nl=False)
        exit_process(error.exit_code)
    except StreamMerError as error:
        line = " ".join([f"stream-mer: {error}", *getattr(error, "__notes__", [])])
        click.echo(redact(escape(line)), err=True)
        exit_process(error.exit_code)
    except KeyboardInterrupt:
        exit_process(130)


_AGAIN_AFTER_S = 0.01


def _deliver_again(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt again where Python dropped the interrupt, in a finaliser or a callback of one; print other exceptions.

    Otherwise Ctrl-C would sometimes have no effect.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        _print_redacted(lost.exc_type, lost.exc_value, lost.exc_traceback)
        return
    again = threading.Timer(_AGAIN_AFTER_S, _interrupt)
    again.daemon = True
    again.start()


def _interrupt() -> None:
    """Interrupt the main thread as Ctrl-C does, also while it waits."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:  # Windows
        _thread.interrupt_main()


def _print_redacted(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """Print the traceback of an unexpected error, with secrets masked."""
    if not issubclass(kind, SystemExit):
        text = "".join(traceback.format_exception(kind, error, where))
        click.echo(redact(escape(text, keep_lines=True)), err=True, nl=False)
