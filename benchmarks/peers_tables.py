"""The tables: accuracy beside compute for reading, every figure with its interval and difference to ours, and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.peers_result import FIGURES, Judged, Way
from benchmarks.report import Cell, Column, Table
from stream_mer.training.corpus import Clip
from stream_mer.training.crossvalidation import Predictions
from stream_mer.training.dataset import ClipSet
from stream_mer.training.metrics import Figure
from stream_mer.training.scores import Score, score

Costs = Mapping[str, Sequence[float]]
"""CPU seconds a second of music by ``Way.how``, one a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What is told of one system, as it heard the clips.

    Attributes:
        of: The system and what it heard.
        figures: By the names of ``FIGURES``; those that can be told.
        differences: Each minus that of the base which heard as much, paired by clip; none of the base itself.
    """

    of: Judged
    figures: Mapping[str, Figure]
    differences: Mapping[str, Figure]


def score_all(clips: Sequence[Clip], judged: Sequence[Judged]) -> list[Scored]:
    """Score every system against the labels of the clips, and against ours."""
    scores = [score_clips(clips, one.predictions) for one in judged]
    bases = {one.heard: own for one, own in zip(judged, scores, strict=True) if one.is_base}
    return [_scored(one, own, bases.get(one.heard)) for one, own in zip(judged, scores, strict=True)]


def _scored(one: Judged, scores: Mapping[str, Score], base: Mapping[str, Score] | None) -> Scored:
    told = [name for name in FIGURES if name in one.told and len(scores[name].artists)]
    compared = [] if base is None or one.is_base else told
    return Scored(
        of=one,
        figures={name: scores[name].figure() for name in told},
        differences={name: scores[name].difference(base[name]) for name in compared if base is not None},
    )


def score_clips(clips: Sequence[Clip], predictions: Predictions) -> Mapping[str, Score]:
    """Scores of predictions; the clips' labels and artists are all that is read of them."""
    unheard = {clip.clip_id: np.zeros((1, 1), np.float16) for clip in clips}
    return score(ClipSet(clips, unheard, {}), predictions)


def accuracy_table(scored: Sequence[Scored], costs: Costs) -> Table:
    """One row a system: its figures, and what it costs to hear so."""
    rows = tuple(
        {
            "system": one.of.system,
            "heard": one.of.heard,
            **{name: one.figures[name].value if name in one.figures else None for name in FIGURES},
            "cpu_ms": 1e3 * median(costs[one.of.how]),
        }
        for one in scored
    )
    return Table(
        key="accuracy",
        title="Accuracy out of fold, no artist on both sides, beside compute",
        columns=(
            Column(key="system", title="system"),
            Column(key="heard", title="heard"),
            *(Column(key=name, title=title, digits=3) for name, title in FIGURES.items()),
            Column(key="cpu_ms", title="CPU ms / s of music", digits=1),
        ),
        rows=rows,
    )


def interval_table(scored: Sequence[Scored]) -> Table:
    """One row a system and figure, with 95 % intervals over artists and the difference to ours."""
    rows = tuple(
        {
            "system": one.of.system,
            "heard": one.of.heard,
            "figure": FIGURES[name],
            "clips": figure.n,
            **_interval("", figure),
            **_interval("minus_ours_", one.differences.get(name)),
        }
        for one in scored
        for name, figure in one.figures.items()
    )
    return Table(
        key="intervals",
        title="The same with 95 % intervals over artists; minus ours (audio alone, as much heard), paired by clip",
        columns=(
            Column(key="system", title="system"),
            Column(key="heard", title="heard"),
            Column(key="figure", title="figure"),
            Column(key="clips", title="clips"),
            *_interval_columns("", "value"),
            *_interval_columns("minus_ours_", "minus ours"),
        ),
        rows=rows,
    )


def cost_table(ways: Sequence[Way], costs: Costs) -> Table:
    """One row a way; ratios to ours are taken within a run."""
    base = next((costs[way.how] for way in ways if way.is_base), None)
    rows: list[dict[str, Cell]] = [
        {
            "how": way.how,
            "cpu_ms": 1e3 * median(costs[way.how]),
            "cpu_min_ms": 1e3 * min(costs[way.how]),
            "cpu_max_ms": 1e3 * max(costs[way.how]),
            "over_ours": None if base is None else median(a / b for a, b in zip(costs[way.how], base, strict=True)),
        }
        for way in ways
    ]
    return Table(
        key="cost",
        title="CPU for a second of music, one core",
        columns=(
            Column(key="how", title="how"),
            Column(key="cpu_ms", title="CPU ms / s of music", digits=1),
            Column(key="cpu_min_ms", title="min", digits=1),
            Column(key="cpu_max_ms", title="max", digits=1),
            Column(key="over_ours", title="/ ours", digits=2),
        ),
        rows=tuple(rows),
    )


def _interval(prefix: str, figure: Figure | None) -> dict[str, Cell]:
    return {f"{prefix}{part}": None if figure is None else getattr(figure, part) for part in ("value", "low", "high")}


def _interval_columns(prefix: str, title: str) -> tuple[Column, ...]:
    return tuple(
        Column(key=f"{prefix}{part}", title=title if part == "value" else part, digits=3)
        for part in ("value", "low", "high")
    )
