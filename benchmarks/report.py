"""A benchmark's result: tables of plain figures, shown to people and written as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.machine import describe_machine, load_average
from stream_mer.errors import SettingError

Cell: TypeAlias = str | int | float | None
"""A label, a figure, or None where there is none."""

BUSY_LOAD_PER_CORE = 0.75
"""Load a core above which a report warns that other work ran beside it."""

REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["benchmark", "machine", "notes", "tables"],
    "additionalProperties": False,
    "properties": {
        "benchmark": {"type": "string"},
        "machine": {
            "type": "object",
            "required": ["cpu", "cores", "torch", "threads", "load_before", "load_after", "date", "took_s"],
            "properties": {
                "cpu": {"type": "string"},
                "cores": {"type": "integer", "minimum": 1},
                "torch": {"type": "string"},
                "threads": {"type": "integer", "minimum": 1},
                "load_before": {"type": "array", "items": {"type": "number"}},
                "load_after": {"type": "array", "items": {"type": "number"}},
                "date": {"type": "string"},
                "took_s": {"type": "number", "minimum": 0},
            },
        },
        "notes": {"type": "array", "items": {"type": "string"}},
        "tables": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": {"type": ["number", "string", "null"]}},
            },
        },
    },
}
"""JSON Schema of what ``--json`` writes: each table is a list of rows, each row maps keys to plain values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        key: Its field in the JSON, with its unit.
        title: Its heading for people.
        digits: Decimals shown; the JSON has more.
    """

    key: str
    title: str
    digits: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures of one kind; each row holds exactly the columns' keys.

    Attributes:
        key: Its field in the JSON.
        title: What it shows, for people.
        columns: From left to right.
        rows: From top to bottom.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]

    def __post_init__(self) -> None:
        keys = [column.key for column in self.columns]
        for row in self.rows:
            if list(row) != keys:
                raise ValueError(f"a row of the table {self.key} has the fields {list(row)}, not {keys}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a benchmark returns.

    Attributes:
        tables: Its figures.
        notes: What a reader must know of them, one sentence each.
        threads: CPU threads that the measured code was allowed.
    """

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    threads: int = 1


def run_and_report(
    name: str, measure: Callable[[], Measurement], *, console: Console, json_file: Path | None = None
) -> dict[str, Any]:
    """Run a benchmark, show its tables, write its figures, and return them as they are written.

    Raises:
        SettingError: The file cannot be written; said before anything is measured if its folder is missing.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise SettingError(f"cannot write {json_file}: there is no folder {json_file.parent}; create it first")
    machine: dict[str, Any] = {**describe_machine(), "load_before": load_average()}
    started = time.perf_counter()
    measured = measure()
    machine |= {
        "threads": measured.threads,
        "load_after": load_average(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - started, 1),
    }
    report = {
        "benchmark": name,
        "machine": machine,
        "notes": [*measured.notes, *_load_notes(machine)],
        "tables": {table.key: [dict(row) for row in table.rows] for table in measured.tables},
    }
    _show(console, report, measured.tables)
    if json_file is not None:
        _write(json_file, report)
    return report


def _load_notes(machine: Mapping[str, Any]) -> list[str]:
    load = max([0.0, *machine["load_before"][:1]])
    if load <= BUSY_LOAD_PER_CORE * machine["cores"]:
        return []
    return [f"Other work ran beside this (load {load:g} on {machine['cores']} cores): read the ratios, not the times."]


def _show(console: Console, report: Mapping[str, Any], tables: tuple[Table, ...]) -> None:
    machine = report["machine"]
    console.print(Text(f"{report['benchmark']}  {machine['date']}", style="bold"))
    console.print(
        Text(
            f"{machine['cpu']}, {machine['cores']} cores, {machine['platform']}; torch {machine['torch']}, "
            f"threads {machine['threads']}; load {_loads(machine['load_before'])} before, "
            f"{_loads(machine['load_after'])} after; took {machine['took_s']:g} s",
            style="dim",
        )
    )
    for table in tables:
        console.print()
        console.print(_rich_table(table))
    for note in report["notes"]:
        console.print(Text(f"* {note}"))


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left", title_style="italic")
    for column in table.columns:
        is_text = any(isinstance(row[column.key], str) for row in table.rows)
        shown.add_column(column.title, justify="left" if is_text else "right")
    for row in table.rows:
        shown.add_row(*(Text(_in_words(row[column.key], column.digits)) for column in table.columns))
    return shown


def _in_words(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:,.{digits}f}" if isinstance(cell, float) else str(cell)


def _loads(loads: list[float]) -> str:
    return "/".join(f"{load:g}" for load in loads) or "unknown"


def _write(path: Path, report: Mapping[str, Any]) -> None:
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"cannot write {path}: {error.strerror or error}; the tables above hold the figures"
        ) from error
