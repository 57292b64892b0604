"""Lines per module and function, typed functions, tests to source.

Everything is counted the same way for the peers, which are packages that happen to be installed beside stream_mer. A
module counts if it holds more than its docstring. A function's lines run from its ``def`` to its end, docstring,
comments and nested functions included; methods are functions. A function is typed if its result and all its arguments
but ``self`` and ``cls`` are annotated.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Cell, Column, Measurement, Table
from stream_mer.errors import SettingError

ROOT = Path(__file__).parent.parent
PEERS = ("websockets", "anyio", "rich", "faster_whisper")
LONGEST_SHOWN = 5

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function or method: ``name`` as ``module.Class.method``."""

    name: str
    lines: int
    typed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module: ``name`` is its path below the package's folder."""

    name: str
    lines: int
    functions: tuple[Function, ...]


def measure() -> Measurement:
    """Count the package beside this one, its tests, and the peers that are installed."""
    package = read_modules(ROOT / "stream_mer")
    test_lines = sum(module.lines for module in read_modules(ROOT / "tests"))
    rows = [_row("stream_mer", package, test_lines)]
    rows += [_row(name, read_modules(folder), None) for name, folder in _installed(PEERS)]
    return Measurement(
        tables=(_package_table(rows), _room_table(package), _longest_table(package)),
        notes=(
            "Peers are counted in the same run; their tests are not installed. Median / 90th percentile / longest.",
        ),
    )


def read_modules(folder: Path) -> list[Module]:
    """Read all Python modules below a folder, those that hold nothing but a docstring left out.

    Raises:
        SettingError: The folder holds none.
    """
    modules = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        if len(tree.body) > (ast.get_docstring(tree) is not None):
            name = path.relative_to(folder).as_posix()
            functions = tuple(_functions(tree, name.removesuffix(".py").replace("/", ".")))
            modules.append(Module(name=name, lines=len(text.splitlines()), functions=functions))
    if not modules:
        raise SettingError(f"there is no Python module in {folder}; run this in a checkout of the repository")
    return modules


def _functions(node: ast.AST, prefix: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FunctionNode):
            name = f"{prefix}.{child.name}"
            yield Function(
                name=name, lines=(child.end_lineno or child.lineno) - child.lineno + 1, typed=_is_typed(child)
            )
            yield from _functions(child, name)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}.{child.name}")
        else:
            yield from _functions(child, prefix)


def _is_typed(function: _FunctionNode) -> bool:
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    arguments += [extra for extra in (given.vararg, given.kwarg) if extra is not None]
    named = [argument for argument in arguments if argument.arg not in ("self", "cls")]
    return function.returns is not None and all(argument.annotation is not None for argument in named)


def _installed(names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            yield name, Path(spec.submodule_search_locations[0])


def _row(name: str, modules: list[Module], test_lines: int | None) -> dict[str, Cell]:
    functions = [function for module in modules for function in module.functions]
    lines = [module.lines for module in modules]
    spans = [function.lines for function in functions] or [0]
    return {
        "package": name,
        "lines": sum(lines),
        "modules": len(modules),
        "module_median": float(np.median(lines)),
        "module_p90": float(np.percentile(lines, 90)),
        "module_longest": max(lines),
        "functions": len(functions),
        "function_median": float(np.median(spans)),
        "function_p90": float(np.percentile(spans, 90)),
        "function_longest": max(spans),
        "typed_percent": 100 * sum(function.typed for function in functions) / max(1, len(functions)),
        "tests_per_source": None if test_lines is None else test_lines / sum(lines),
    }


def _package_table(rows: list[dict[str, Cell]]) -> Table:
    return Table(
        key="packages",
        title="Lines: median / 90th percentile / longest",
        columns=(
            Column(key="package", title="package"),
            Column(key="lines", title="lines"),
            Column(key="modules", title="modules"),
            Column(key="module_median", title="median", digits=0),
            Column(key="module_p90", title="p90", digits=0),
            Column(key="module_longest", title="longest"),
            Column(key="functions", title="functions"),
            Column(key="function_median", title="median", digits=0),
            Column(key="function_p90", title="p90", digits=0),
            Column(key="function_longest", title="longest"),
            Column(key="typed_percent", title="typed %", digits=0),
            Column(key="tests_per_source", title="tests : source"),
        ),
        rows=tuple(rows),
    )


def _room_table(package: list[Module]) -> Table:
    """One row for each folder of the package; modules at its top are the room ``.``."""
    rooms: dict[str, list[Module]] = {}
    for module in package:
        rooms.setdefault(module.name.split("/")[0] if "/" in module.name else ".", []).append(module)
    rows = [_row(room, modules, None) for room, modules in sorted(rooms.items())]
    return Table(
        key="rooms",
        title="stream_mer, room by room",
        columns=(
            Column(key="package", title="room"),
            Column(key="lines", title="lines"),
            Column(key="modules", title="modules"),
            Column(key="module_median", title="median", digits=0),
            Column(key="module_longest", title="longest"),
            Column(key="functions", title="functions"),
            Column(key="function_median", title="median", digits=0),
            Column(key="function_longest", title="longest"),
        ),
        rows=tuple({key: row[key] for key in _ROOM_KEYS} for row in rows),
    )


_ROOM_KEYS = (
    "package",
    "lines",
    "modules",
    "module_median",
    "module_longest",
    "functions",
    "function_median",
    "function_longest",
)


def _longest_table(package: list[Module]) -> Table:
    modules = sorted(package, key=lambda module: -module.lines)[:LONGEST_SHOWN]
    functions = [function for module in package for function in module.functions]
    longest = sorted(functions, key=lambda function: -function.lines)[:LONGEST_SHOWN]
    rows: list[dict[str, Cell]] = []
    rows += [{"kind": "module", "name": module.name, "lines": module.lines} for module in modules]
    rows += [{"kind": "function", "name": function.name, "lines": function.lines} for function in longest]
    return Table(
        key="longest",
        title="stream_mer, the longest",
        columns=(
            Column(key="kind", title="kind"),
            Column(key="name", title="name"),
            Column(key="lines", title="lines"),
        ),
        rows=tuple(rows),
    )
