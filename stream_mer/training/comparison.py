"""Tables of figures beside their differences to the first row, paired by clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from stream_mer.training.metrics import Figure
from stream_mer.training.scores import SCORES, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure of one row.

    Attributes:
        figure: Of the ensemble.
        difference: To the row of comparison, paired by clip.
        seeds: Of each member by itself: mean and standard deviation; None where members are not told apart.
    """

    figure: Figure
    difference: Figure
    seeds: tuple[float, float] | None = None


Cells = dict[str, Cell | None]
"""By the names of ``SCORES``; None where a figure means nothing."""


def compare(ours: Score, theirs: Score, members: Sequence[Score] = ()) -> Cell:
    """Our figure, its difference to theirs, and the figure of each member of our ensemble by itself."""
    alone = [member.statistic(np.arange(len(member.artists))) for member in members]
    return Cell(
        figure=ours.figure(),
        difference=ours.difference(theirs),
        seeds=(float(np.mean(alone)), float(np.std(alone))) if alone else None,
    )


def comparison_table(title: str, what: str, rows: Mapping[str, Cells], names: Sequence[str]) -> Table:
    """One row each; the first one is what the others are compared with.

    Args:
        title: Of the table.
        what: Heads the column of the rows' names.
        rows: Cells by the names of ``SCORES``, by the row's name.
        names: The columns.
    """
    table = Table(title=title)
    table.add_column(what)
    for name in names:
        table.add_column(SCORES[name], justify="right")
    for i, (row, cells) in enumerate(rows.items()):
        table.add_row(row, *(told(cells[name], compared=i > 0) for name in names))
    return table


def told(cell: Cell | None, *, compared: bool) -> str:
    """A cell in words: its figure with interval; or, ``compared``, its figure, and its difference with interval."""
    if cell is None or not cell.figure.n:
        return "-"
    seeds = f"\none by one {cell.seeds[0]:.3f} ± {cell.seeds[1]:.3f}" if cell.seeds else ""
    if not compared:
        return f"{cell.figure}{seeds}"
    d = cell.difference
    return f"{cell.figure.value:.3f} ({d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]){seeds}"
