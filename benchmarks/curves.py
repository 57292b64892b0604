"""Where the cost grows: with hop, context, lyrics, clients and channels, and a picture of it.

hop, context, lines  processor time of one update of the model, one value changed at a time (as `latency`)
clients              a server's processor time a frame at 10 frames a second, and the age of a frame (as `load`)
channels             a process's processor time a frame; each channel decodes a file (as `throughput`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from benchmarks import latency
from benchmarks.frames import raise_file_limit
from benchmarks.harness import (
    Cell,
    Measurement,
    Row,
    Table,
    count_option,
    describe_machine,
    find_checkpoint,
    load_average,
    model_option,
    path_option,
    seconds_option,
    song_option,
)
from benchmarks.load import Point as Load
from benchmarks.load import run_one
from benchmarks.throughput import Job, measure_channels
from stream_mer.errors import SettingError, StreamMerError
from stream_mer.training.card import FAINT, INK, PAPER, draw_svg
from stream_mer.training.progress import announce, track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HOP_S, CONTEXT_S = 0.5, 10.0
RATE_HZ = 10.0  # of the frames that clients get
Result = TypeVar("Result")
_COLOUR = "#2a7fb8"
_UPDATE_MS, _FRAME_MS = "an update, ms of processor time", "a frame, ms of processor time"


class Panel(NamedTuple):
    """One panel of the picture: a column of a table over its first one; ``marked`` is the value that it names."""

    curve: str
    column: str
    title: str
    x: str
    y: str
    marked: float


PANELS = (
    Panel("hop", "update_ms", "Hop", "seconds between frames", _UPDATE_MS, 0.5),
    Panel("context", "update_ms", "Context", "seconds of audio", _UPDATE_MS, 10.0),
    Panel("lines", "update_ms", "Lyrics", "lines in the context", _UPDATE_MS, 8),
    Panel("channels", "frame_ms", "Channels that decode a file", "channels in one process", _FRAME_MS, 100),
    Panel(
        "clients", "frame_ms", "Clients of one server", f"clients, {RATE_HZ:g} frames a second each", _FRAME_MS, 1_000
    ),
    Panel("clients", "age_p99_ms", "Age at these clients", "clients", "99th percentile, ms", 1_000),
)
CURVES = tuple(dict.fromkeys(panel.curve for panel in PANELS))


def _points(
    name: str, variable: str, default: tuple[float, ...], text: str, kind: click.ParamType[Any]
) -> click.Option:
    return click.Option(
        [name, variable], type=kind, multiple=True, default=default, show_default=True, help=f"Points: {text}."
    )


_COUNT = click.IntRange(min=1)
OPTIONS = (
    click.Option(
        ["--curve", "curves"],
        type=click.Choice(CURVES),
        multiple=True,
        default=CURVES,
        show_default=True,
        help="What to measure; may be repeated.",
    ),
    _points("--hop", "hops_s", (0.1, 0.25, 0.5, 1.0, 2.0), "seconds between frames", click.FLOAT),
    _points("--context", "contexts_s", (5.0, 10.0, 20.0, 40.0), "seconds of audio", click.FLOAT),
    _points("--lines", "line_counts", (0, 4, 8, 16, 32, 64), "lines of lyrics", click.IntRange(min=0)),
    _points("--channels", "channel_counts", (1, 10, 50, 100, 200, 400), "channels in one process", _COUNT),
    _points("--clients", "client_counts", (1, 100, 500, 1_000, 2_000), "clients of one server", _COUNT),
    count_option("--runs", 3, "Runs over all points."),
    seconds_option("--seconds", "duration_s", 8.0, "Counted with each number of clients and channels.", least=1),
    path_option("--picture", "Write the curves there, as an SVG."),
    song_option(),
    model_option(),
)


def measure(
    *,
    curves: Sequence[str],
    hops_s: Sequence[float],
    contexts_s: Sequence[float],
    line_counts: Sequence[int],
    channel_counts: Sequence[int],
    client_counts: Sequence[int],
    runs: int,
    duration_s: float,
    picture: Path | None,
    song: Path,
    model: str | None = None,
) -> Measurement:
    """Measure the curves, and draw them."""
    if picture is not None:
        _check_picture(picture)
    found, load = find_checkpoint(model), load_average()
    rows: dict[str, list[Row]] = {}
    points = {"hop": hops_s, "context": contexts_s, "lines": line_counts}
    of_updates = [curve for curve in points if curve in curves]
    for curve in track(of_updates, "Updates", total=len(of_updates)):
        rows[curve] = _update_rows(curve, sorted(points[curve]), runs, model)
    if "channels" in curves:
        job = Job(
            channels=1, seconds=duration_s, hop_s=HOP_S, model=str(found.folder), song=str(song.resolve()), decoded=True
        )
        rows["channels"] = _channel_rows(sorted(channel_counts), runs, job)
    if "clients" in curves:
        rows["clients"] = _client_rows(sorted(client_counts), runs, duration_s)
    if picture is not None:
        picture.write_bytes(draw_curves(rows, _caption(found.folder.name, load)))
    return Measurement(
        tables=tuple(Table(key=curve, title=curve.capitalize(), rows=rows[curve]) for curve in rows),
        notes=(
            found.note,
            f"Medians of {runs} runs. Hop, context and lines change one at a time; the others are .5 s, 10 s and 0.",
            f"Channels: {song.name}, a frame every .5 s. Clients: {RATE_HZ:g} frames a second; no model runs.",
        ),
    )


def _caption(model: str, load: Sequence[float]) -> str:
    machine, date = describe_machine(), datetime.now(UTC).date().isoformat()
    before = f"load {load[0]:g} before" if load else "load unknown"
    return f"{model} on {machine['cores']} cores of {machine['cpu']}, {machine['platform']}, {date}; {before}"


def _update_rows(curve: str, points: Sequence[Any], runs: int, model: str | None) -> list[Row]:
    """Time the updates of one curve; what it does not change has its default."""
    axes: dict[str, Sequence[Any]] = {"hop": (HOP_S,), "context": (CONTEXT_S,), "lines": (0,), curve: points}
    measured = latency.measure(
        hops_s=tuple(axes["hop"]),
        contexts_s=tuple(axes["context"]),
        line_counts=tuple(axes["lines"]),
        runs=runs,
        repeats=20,
        model=model,
    )
    key = "lines" if curve == "lines" else f"{curve}_s"
    (grid,) = (table for table in measured.tables if table.key == "grid")
    return [
        {key: row[key], "update_ms": row["total_ms"], "core_percent": row["real_time_percent"]} for row in grid.rows
    ]


def _channel_rows(counts: Sequence[int], runs: int, job: Job) -> list[Row]:
    found = _in_turn("channels", counts, runs, lambda n: measure_channels(replace(job, channels=n)))
    columns = {"frame_ms": "cpu_ms_a_frame", "cores": "cores", "age_p99_ms": "age_p99_ms", "in_time": "in_time"}
    return [
        {"channels": n, **{name: _median([row[column] for row in rows]) for name, column in columns.items()}}
        for n, rows in found.items()
    ]


def _client_rows(counts: Sequence[int], runs: int, duration_s: float) -> list[Row]:
    raise_file_limit(max(counts) + 100)
    found = _in_turn(
        "clients", counts, runs, lambda n: run_one("ours", Load(n, RATE_HZ), stuck=0, duration_s=duration_s)
    )
    return [
        {
            "clients": n,
            "frame_ms": median(10 * run.cpu_percent / RATE_HZ for run in those),
            "age_p99_ms": median(run.p99_ms for run in those),
            "delivered_percent": median(run.delivered_percent for run in those),
        }
        for n, those in found.items()
    ]


def _in_turn(what: str, counts: Sequence[int], runs: int, run: Callable[[int], Result]) -> dict[int, list[Result]]:
    """Return the results of all points, measured in turn; a run that fails is announced and left out."""
    found: dict[int, list[Result]] = {}
    for n in track([*counts] * runs, what.capitalize(), total=runs * len(counts)):
        try:
            found.setdefault(n, []).append(run(n))
        except StreamMerError as error:
            announce(f"{n} {what}: {error}")
    return {n: results for n, results in found.items() if results}


def _median(values: Sequence[Cell]) -> float | None:
    """The median of the figures; None where there are none, as when nothing came in time."""
    figures = [value for value in values if isinstance(value, int | float)]
    return median(figures) if figures else None


# The picture.


def _check_picture(path: Path) -> None:
    """Check before measuring what would fail after it.

    Raises:
        SettingError: The picture cannot be drawn or written.
    """
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415 - for the picture alone
    except ImportError as error:
        raise SettingError("--picture needs matplotlib: pip install 'stream-mer[train]'") from error
    if path.suffix != ".svg" or not path.parent.is_dir():
        raise SettingError(f"--picture takes a file that ends in .svg, in a folder that exists, not {path}")


def draw_curves(rows: dict[str, list[Row]], caption: str) -> bytes:
    """Draw one panel for each curve that was measured, as an SVG."""
    panels = [panel for panel in PANELS if rows.get(panel.curve)]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)

    def draw(figure: Figure) -> None:
        for i, panel in enumerate(panels, 1):
            _draw_panel(figure.add_subplot(lines, columns, i), panel, rows[panel.curve])
        figure.supxlabel(caption, fontsize=8, color=INK)

    return draw_svg(draw, size=(3.6 * columns, 3.0 * lines + 0.3))


def _draw_panel(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    key = next(iter(rows[0]))
    points: list[tuple[Any, Any]] = [(row[key], row[panel.column]) for row in rows if row[panel.column] is not None]
    late = [(row[key], row[panel.column]) for row in rows if row.get("in_time", 1) != 1]
    axes.plot(*zip(*points, strict=True), color=_COLOUR, marker="o", markersize=5, clip_on=False)
    if late:
        style: dict[str, Any] = {
            "color": _COLOUR,
            "marker": "o",
            "markersize": 5,
            "markerfacecolor": PAPER,
            "linestyle": "none",
        }
        axes.plot(*zip(*late, strict=True), **style, label="late", clip_on=False)
        axes.legend(frameon=False, fontsize=8)
    for x, y in points:
        if x == panel.marked:
            place: dict[str, Any] = {"textcoords": "offset points", "xytext": (4, -16)}
            axes.annotate(f"{y:.3g} ms", (x, y), **place, fontsize=9, fontweight="bold", color=INK)
    axes.set_title(panel.title, fontsize=10, color=INK)
    axes.set_xlabel(panel.x, fontsize=8, color=INK)
    axes.set_ylabel(panel.y, fontsize=8, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.set_ylim(bottom=0, top=1.25 * max(y for _, y in points))
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, alpha=0.3, linewidth=0.6)
