"""The model card: tables and pictures beside the weights."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stream_mer.emotion.checkpoint import Calibration, Checkpoint
from stream_mer.training.calibrate import CalibrationReport
from stream_mer.training.evaluate import AS_RECORDED, COLUMNS, STAGE_SCORES, WORD_SCORES, FoldTable, StageReport
from stream_mer.training.metrics import SCORES, LiveReport, cell_text
from stream_mer.types import CATEGORIES, CLUSTERS
from stream_mer.utils.files import replace_text, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

RELIABILITY = "reliability.svg"
INK, FAINT, PAPER = "#222222", "#999999", "#ffffff"  # an opaque ground reads the same on light and dark pages
_COLOURS = {"category": "#2a7fb8", "cluster": "#d2691e"}
NAMES = {"category": CATEGORIES, "cluster": CLUSTERS}

_TEXT = """# {name}

A joint model of music emotion: valence and arousal (main task), Russell's quadrants and the five MIREX mood clusters
(auxiliary task), from 10 s of audio and the lyrics heard so far. Read by stream_mer {version}; see
`docs/ARCHITECTURE.md` for its parts.

## Figures

{folds}, artist-disjoint, causal frames averaged over the clip, {members} networks averaged as an ensemble,
95 % intervals of a bootstrap over artists. `stream-mer evaluate` gives the table
alone. The shipped weights were then trained on all clips with the same recipe, from the same seed, by

    {command}

{table}
{words}
{live}What is taken for what, audio only (clips; the true class in rows, the predicted one in columns):

{confusions}

{stage}## Calibration

Prediction intervals at {level:.0%} around the published values (split-conformal, out of fold), by the seconds heard:

| heard, s | valence | arousal |
| --- | --- | --- |
{errors}

Temperatures: category {category_t:.2f}, cluster {cluster_t:.2f}. Link between point and category: weight {link:g}.
{calibration}

## Data

{data}
Valence and arousal are taught by what listeners said of the recordings, while they listened and afterwards. Mood words
(their ratings by Warriner et al. 2013) teach only which clip is more pleasant or livelier than another.

The audio branch is MSD-MusiCNN (Pons & Serra 2019, ISC licence) beside YAMNet (Google, Apache-2.0; `models/yamnet-v1`),
their weights unchanged; see `NOTICE`. Lyrics are read
through the Universal Sentence Encoder multilingual v3 (Apache-2.0), which is not part of this checkpoint.

## Limits

- It was taught by excerpts of about 30 s, mostly of Western popular music. Other traditions, classical music and plain
  speech were hardly among them.
- The table above shows its blind spots: what is off the diagonal.
- It says what listeners hear in music on average, not what one listener feels. The published value is the best
  estimate, so its spread is smaller than that of the ratings.
- Where the columns with lyrics do not differ from audio alone by more than their intervals, words have not paid.
"""


_KEPT_PROMISES = """
Measured on each fold with the calibration of the other four. Share of the ratings within the {level:.0%} interval
of the published (smoothed) value, by the seconds heard:

| heard, s | valence | arousal |
| --- | --- | --- |
{coverage}

Probabilities of single frames with 10 s heard and the recognised lyrics of that time:

| figure | |
| --- | --- |
| calibration error of the category, bare → with its temperature | {category_bare} → {category} |
| calibration error of the cluster, bare → with its temperature | {cluster_bare} → {cluster} |

What it costs and brings to call the category `unknown` below a confidence (`--min-confidence`). The accuracy expected
of a frame of just that confidence is what `--min-accuracy` asks for.

| confidence | accuracy expected there | frames kept | accuracy of those |
| --- | --- | --- | --- |
{unknown}
"""


_STAGE = """## On a stage

The same folds, audio only, heard under one trouble at a time, in place of the clean clips (`--stage`); in brackets the
difference to the recording, paired by clip. {taught}

| heard | {titles} |
| --- | {line} |
{rows}

"""


def write_card(
    folder: Path,
    checkpoint: Checkpoint,
    table: FoldTable,
    *,
    origin: str,
    report: CalibrationReport | None = None,
    live: LiveReport | None = None,
    stage: StageReport | None = None,
) -> None:
    """Write ``CARD.md`` with its pictures beside the weights.

    Args:
        folder: Of the checkpoint.
        checkpoint: Its ``training`` holds the rest.
        table: Its figures.
        origin: Where the clips come from, in a sentence or two.
        report: How well it is calibrated; without it the card is silent about that.
        live: How well the published frames do; likewise.
        stage: How far it holds on a stage; likewise.
    """
    training = checkpoint.training
    calibration: Calibration = checkpoint.calibration
    counts = training["clips"]
    data = (
        f"{counts['all']} clips: {counts['category']} with a quadrant, {counts['cluster']} with a cluster, "
        f"{counts['recognised']} with recognised and {counts['printed']} with printed lyrics. {origin}"
    )
    pictures = write_pictures(folder, {name: (training["confusions"][name], NAMES[name]) for name in NAMES}, report)
    text = _TEXT.format(
        name=checkpoint.name,
        version=training["version"],
        confusions=_confusions(training["confusions"], pictures),
        calibration="" if report is None else _kept_promises(report, pictures),
        stage="" if stage is None or len(stage.sounds) < 2 else _stage(stage, training["stage_copies"]),
        folds="Five folds",
        command=_command(checkpoint.name, training),
        members=training["members"],
        table=_markdown(table),
        words=_words(table),
        level=calibration.level,
        errors="\n".join(f"| {e.heard_s:g} | ± {e.valence:.2f} | ± {e.arousal:.2f} |" for e in calibration.errors),
        link=calibration.category_link.weight,
        live="" if live is None else _live(live),
        category_t=calibration.category_temperature,
        cluster_t=calibration.cluster_temperature,
        data=data,
    )
    replace_text(folder / "CARD.md", text)


def _command(name: str, training: Mapping[str, Any]) -> str:
    options = [f"--corpus {corpus}" for corpus in training["corpora"]]
    options += ["--no-transcripts"] * (not training["transcribed"])
    options += [f"--stage-copies {training['stage_copies']}"] * bool(training["stage_copies"])
    options += [f"--words {title}.csv" for title in training["words"]]
    return " ".join(["stream-mer train", *options, f"--out {name}"])


def _confusions(counts: Mapping[str, list[list[int]]], pictures: Sequence[str]) -> str:
    shown = [
        f"![Confusion matrix of the {name}, the same numbers as in the table](confusion-{name}.svg)"
        for name in NAMES
        if f"confusion-{name}.svg" in pictures
    ]
    return "\n\n".join([*shown, *(_matrix(counts[name], NAMES[name]) for name in NAMES)])


def _kept_promises(report: CalibrationReport, pictures: Sequence[str]) -> str:
    text = _KEPT_PROMISES.format(
        level=report.level,
        coverage="\n".join(f"| {row.heard_s:g} | {row.valence} | {row.arousal} |" for row in report.coverage),
        category_bare=report.category.before,
        category=report.category.after,
        cluster_bare=report.cluster.before,
        cluster=report.cluster.after,
        unknown="\n".join(
            f"| {row.confidence:g} | {row.expected:.2f} | {row.share:.0%} | {row.kept} |" for row in report.unknown
        ),
    )
    if RELIABILITY in pictures:
        text += f"\n![Accuracy against confidence, and what unknown costs and brings]({RELIABILITY})"
    return text.rstrip()


def _stage(report: StageReport, copies: int) -> str:
    noun = "copy" if copies == 1 else "copies"
    taught = (
        f"The model was also trained on {copies} degraded {noun} of each clip (`docs/TRAINING.md`)."
        if copies
        else "It learned from the clips as recorded alone."
    )
    rows = [
        f"| {sound} | {' | '.join(cell_text(cells[name], compared=sound != AS_RECORDED) for name in STAGE_SCORES)} |"
        for sound, cells in report.sounds.items()
    ]
    return _STAGE.format(
        taught=taught,
        titles=" | ".join(SCORES[name] for name in STAGE_SCORES),
        line=" | ".join("---" for _ in STAGE_SCORES),
        rows="\n".join(rows),
    )


def _live(report: LiveReport) -> str:
    rows = [f"| {title} | {figure.n} | {figure} |" for title, figure in report.figures.items()]
    head = ["What a listener is shown (linked, smoothed, a frame every half second), audio only:", ""]
    return "\n".join([*head, "| figure | clips | |", "| --- | --- | --- |", *rows, "", ""])


def _matrix(rows: list[list[int]], names: tuple[str, ...]) -> str:
    head = f"| | {' | '.join(names)} |\n| --- | {' | '.join('---' for _ in names)} |"
    body = [f"| {name} | {' | '.join(str(n) for n in row)} |" for name, row in zip(names, rows, strict=True)]
    return "\n".join([head, *body])


def _markdown(table: FoldTable) -> str:
    head = f"| figure | clips | {' | '.join(COLUMNS.values())} |\n| --- | --- | {' | '.join('---' for _ in COLUMNS)} |"
    rows = [
        f"| {title} | {table.figures['none'][name].n} | "
        + " | ".join(str(table.figures[kind][name]) for kind in COLUMNS)
        + " |"
        for name, title in SCORES.items()
    ]
    return "\n".join([head, *rows])


def _words(table: FoldTable) -> str:
    if not table.words:
        return ""
    head = f"| set | songs | {' | '.join(SCORES[name] for name in WORD_SCORES)} |"
    line = f"| --- | --- | {' | '.join('---' for _ in WORD_SCORES)} |"
    rows = [
        f"| {title} | {max(figure.n for figure in figures.values())} | "
        + " | ".join(str(figures[name]) for name in WORD_SCORES)
        + " |"
        for title, figures in table.words.items()
    ]
    return "\n".join(["", "Words alone, songs without audio:", "", head, line, *rows, ""])


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
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors=PAPER, linewidth=2)
        axes.invert_yaxis()
        for (row, column), share in np.ndenumerate(shares):
            text = f"{matrix[row, column]:.0f}\n{share:.0%}"
            ink = PAPER if share > 0.6 else INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink)
        places = np.arange(len(names)) + 0.5
        axes.set_xticks(places, names)
        axes.set_yticks(places, names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true", title=title, aspect="equal")

    return draw_svg(draw, size=(5.0, 5.0))


def reliability_svg(report: CalibrationReport) -> bytes:
    """Draw accuracy against confidence, and beside it what ``unknown`` below a confidence costs and brings."""

    def draw(figure: Figure) -> None:
        curve, trade = figure.subplots(1, 2)
        _draw_reliability(curve, report)
        _draw_trade(trade, report)

    return draw_svg(draw, size=(9.0, 4.6))


def _draw_reliability(axes: Axes, report: CalibrationReport) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--", label="as promised")
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
        ("kept", [row.share for row in report.unknown], FAINT, "s"),
        ("right, of those kept", [row.kept.value for row in report.unknown], _COLOURS["category"], "o"),
        ("expected at this confidence", [row.expected for row in report.unknown], INK, "^"),
    )
    for label, values, colour, marker in lines:
        axes.plot(confidence, values, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="below this, unknown", ylabel="share", title="Category or unknown")
    axes.legend(loc="lower left", fontsize=8, frameon=False)


def draw_svg(draw: Callable[[Figure], None], *, size: tuple[float, float]) -> bytes:
    """Return what ``draw`` draws on a figure of this size, inches, as an SVG; needs matplotlib."""
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
        figure = Figure(figsize=size, layout="constrained", facecolor=PAPER)
        draw(figure)
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()
