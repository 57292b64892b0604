"""Pictures for a checkpoint's card: what is taken for what, and whether probabilities can be taken at their word."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stream_mer.training.calibrate import CalibrationReport
from stream_mer.utils.file_writing import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

RELIABILITY = "reliability.svg"

_INK, _FAINT, _PAPER = "#222222", "#999999", "#ffffff"  # an opaque ground reads the same on light and dark pages
_COLOURS = {"category": "#2a7fb8", "cluster": "#d2691e"}


def write_pictures(
    folder: Path,
    confusions: Mapping[str, tuple[Sequence[Sequence[int]], Sequence[str]]],
    report: CalibrationReport | None = None,
) -> tuple[str, ...]:
    """Write the pictures of a card.

    Args:
        folder: Of the checkpoint.
        confusions: For ``category`` and ``cluster``: counts, true class in rows, and the names of the classes.
        report: What calibration was found to keep of its promises; without it there is no picture of that.

    Returns:
        The names of the files; none, with a warning, where matplotlib is not installed.
    """
    try:
        drawn = {
            f"confusion-{name}.svg": confusion_svg(counts, names, title=f"Emotion {name}, clips of the folds")
            for name, (counts, names) in confusions.items()
        }
        if report is not None:
            drawn[RELIABILITY] = reliability_svg(report)
    except ImportError:
        _log.warning("the card gets no pictures, for lack of matplotlib: pip install 'stream-mer[train]'")
        return ()
    for name, svg in drawn.items():
        with replacing(folder / name) as file:
            file.write(svg)
    return tuple(drawn)


def confusion_svg(counts: Sequence[Sequence[int]], names: Sequence[str], *, title: str) -> bytes:
    """Draw a confusion matrix; a cell's shade is its share of the true class.

    Args:
        counts: [classes, classes], true class in rows.
        names: Of the classes.
        title: Above the picture.
    """
    matrix = np.array(counts, dtype=float)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors=_PAPER, linewidth=2)
        axes.invert_yaxis()
        for (row, column), share in np.ndenumerate(shares):
            text = f"{matrix[row, column]:.0f}\n{share:.0%}"
            ink = _PAPER if share > 0.6 else _INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink)
        places = np.arange(len(names)) + 0.5
        axes.set_xticks(places, names)
        axes.set_yticks(places, names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true", title=title, aspect="equal")

    return _svg(draw, size=(5.0, 5.0))


def reliability_svg(report: CalibrationReport) -> bytes:
    """Draw accuracy against confidence, and beside it what ``unknown`` below a confidence costs and brings."""

    def draw(figure: Figure) -> None:
        curve, trade = figure.subplots(1, 2)
        _draw_reliability(curve, report)
        _draw_trade(trade, report)

    return _svg(draw, size=(9.0, 4.6))


def _draw_reliability(axes: Axes, report: CalibrationReport) -> None:
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle="--", label="as promised")
    for name, found in (("category", report.category), ("cluster", report.cluster)):
        if not found.bins:
            continue
        confidence = [one.confidence for one in found.bins]
        accuracy = np.array([one.accuracy.value for one in found.bins])
        ends = np.array([(one.accuracy.low, one.accuracy.high) for one in found.bins]).T
        axes.errorbar(
            confidence,
            accuracy,
            yerr=np.abs(ends - accuracy),
            color=_COLOURS[name],
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.2,
            label=f"{name}, error {found.before.value:.3f} → {found.after.value:.3f}",
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="share that was right", title="Reliability")
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def _draw_trade(axes: Axes, report: CalibrationReport) -> None:
    confidence = [row.confidence for row in report.unknown]
    lines = (
        ("kept", [row.share for row in report.unknown], _FAINT, "s"),
        ("right, of those kept", [row.kept.value for row in report.unknown], _COLOURS["category"], "o"),
        ("expected at this confidence", [row.expected for row in report.unknown], _INK, "^"),
    )
    for label, values, colour, marker in lines:
        axes.plot(confidence, values, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="below this, unknown", ylabel="share", title="Category or unknown")
    axes.legend(loc="lower left", fontsize=8, frameon=False)


def _svg(draw: Callable[[Figure], None], *, size: tuple[float, float]) -> bytes:
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import, and an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    target = io.BytesIO()
    with rc_context(
        {
            "font.family": ["DejaVu Sans", "sans-serif"],
            "svg.fonttype": "none",  # text stays text: small, sharp, and there for those who have pages read out
            "svg.hashsalt": "stream_mer",  # the same figures give the same file
        }
    ):
        figure = Figure(figsize=size, layout="constrained", facecolor=_PAPER)
        draw(figure)
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()
