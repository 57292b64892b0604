"""The runner: finds the benchmarks, runs one, shows its tables and writes its figures."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.harness import run_and_report
from stream_mer.errors import SettingError, StreamMerError

FOLDER = Path(__file__).parent
LIST_WIDTH = 120
"""Columns of the list and of help: each benchmark keeps its one line."""
PIPE_WIDTH = 150
"""Columns of the output where it is no terminal, so that no table is folded to 80."""


def find_benchmarks() -> dict[str, str]:
    """Name and one-line description of each benchmark, without importing any."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or path.stem).split("\n", 1)[0]
    return found


class _Benchmarks(click.Group):
    """Imports a benchmark only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(find_benchmarks())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002 - click's signature
        known = find_benchmarks()
        if cmd_name not in known:
            raise SettingError(f"no benchmark is called {cmd_name!r}; there are: {', '.join(known)}")
        return _command(cmd_name, known[cmd_name])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        with formatter.section("Benchmarks"):
            formatter.write_dl(list(find_benchmarks().items()))


def _command(name: str, summary: str) -> click.Command:
    module = importlib.import_module(f"benchmarks.{name}")
    json_option = click.Option(
        ["--json", "json_file"],
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write the same figures there, as JSON.",
    )

    def run(*, json_file: Path | None, **options: Any) -> None:
        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
        run_and_report(name, lambda: module.measure(**options), console=console, json_file=json_file)

    return click.Command(
        name,
        params=[*getattr(module, "OPTIONS", ()), json_option],
        callback=run,
        help=module.__doc__,
        short_help=summary,
    )


@click.group(
    cls=_Benchmarks,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": LIST_WIDTH},
    options_metavar="",
    subcommand_metavar="NAME [--json FILE] [OPTIONS]",
)
@click.pass_context
def benchmarks(ctx: click.Context) -> None:
    """Run a benchmark: tables on stdout, and the same figures as JSON. NAME --help lists its options."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; an expected error is one line on stderr."""
    try:
        result = benchmarks.main(args=arguments, prog_name="python -m benchmarks", standalone_mode=False)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except StreamMerError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    return result if isinstance(result, int) else 0


def _fail(message: str, exit_code: int) -> int:
    click.echo(f"benchmarks: {message}", err=True)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
