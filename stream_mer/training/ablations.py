"""What each part of the method is worth: the same folds without it, clip by clip against the whole.

Two questions, two tables. *Parts*: a model is trained anew without one part of the method. *Words*: the whole model is
given other words, or later ones, or none. Every difference has a 95 % interval of a bootstrap over artists; one that
holds zero says that this corpus does not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from stream_mer.training.calibrate import with_earned_strength
from stream_mer.training.crossvalidation import (
    AUDIO_ONLY,
    PRINTED,
    RECOGNISED,
    STANDARD_CONDITIONS,
    Condition,
    FoldResults,
    cross_validate,
)
from stream_mer.training.dataset import ClipSet, Sampling, corrupted_kind
from stream_mer.training.fit import Recipe
from stream_mer.training.metrics import SCORES, Cells, as_json, compare, comparison_table, score

CORRUPTED = (0.25, 0.5)
"""Shares of the words that are replaced by others."""


def _conditions(text: str, title: str) -> tuple[Condition, ...]:
    late = [Condition(name=f"{title}, {s:g} s late", text=text, delay_s=s) for s in (6.0,)] if text != "printed" else []
    return (
        *(Condition(name=corrupted_kind(text, share), text=corrupted_kind(text, share)) for share in CORRUPTED),
        *late,
        Condition(name=f"{title}, without audio", text=text, audio=False),
    )


WORD_CONDITIONS = (*_conditions("recognised", "recognised"), *_conditions("printed", "printed"))
"""Of the whole model, beside the standard ones. Recognised words are 3 s late wherever nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The method with one part changed.

    Attributes:
        title: What is changed.
        change: Makes the recipe of it.
        mute: Figures that the variant was never taught.
    """

    title: str
    change: Callable[[Recipe], Recipe]
    mute: frozenset[str] = frozenset()


def _losses(**weights: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, losses=replace(recipe.losses, **weights))


def _model(**switches: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, model=replace(recipe.model, **switches))


def _text(**shares: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, sampling=_treated(recipe.sampling, **shares))


def _treated(sampling: Sampling, **shares: Any) -> Sampling:
    return replace(sampling, text=replace(sampling.text, **shares))


def _without_words(recipe: Recipe) -> Recipe:
    return replace(recipe, songs_per_epoch=0, sampling=_treated(recipe.sampling, absent=1.0))


def _without_listeners(recipe: Recipe) -> Recipe:
    """Mood words in place of listeners teach the main task, as they taught the models before this one."""
    return replace(recipe, taught_by="tags")


_CLASSES = frozenset(name for name in SCORES if "f1" in name)
VARIANTS = (
    Variant(title="main task alone", change=_losses(category=0.0, cluster=0.0, agreement=0.0), mute=_CLASSES),
    Variant(title="auxiliary task alone", change=_losses(emotion=0.0), mute=frozenset(SCORES) - _CLASSES),
    Variant(title="no private layers", change=_model(private=False)),
    Variant(title="no shared layers", change=_model(shared=False)),
    Variant(title="concatenation, no self-attention", change=_model(attention=False)),
    Variant(title="no difference and similarity losses", change=_losses(difference=0.0, similarity=0.0)),
    Variant(title="no modality dropout", change=_text(absent=0.0, alone=0.0)),
    Variant(title="a clip's words at times without its music", change=_text(alone=0.6)),
    Variant(title="taught by audio only", change=_without_words),
    Variant(title="one time scale", change=_model(newest_tokens=0)),
    Variant(title="taught by mood words, not listeners", change=_without_listeners),
    Variant(title="no YAMNet", change=lambda recipe: replace(recipe, yamnet=False)),
    Variant(title="no order of mood words", change=_losses(order=0.0)),
    Variant(title="no dynamics loss", change=_losses(dynamics=0.0)),
)
COLUMNS: Mapping[str, Condition] = {
    "quadrants_f1": RECOGNISED,
    "valence_ccc": RECOGNISED,
    "valence_r2": RECOGNISED,
    "arousal_ccc": RECOGNISED,
    "clusters_lyrics_f1": PRINTED,
    "frame_quadrants_f1": AUDIO_ONLY,
}
"""The figures of the table of parts, and the words that the models are given for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationReport:
    """Both tables.

    Attributes:
        members: Networks that were trained of each variant.
        whole: The figures of the whole method.
        parts: By the variant's title, then by ``COLUMNS``; None where it was not taught that.
        words: By the text of comparison, then by condition, then by figure.
    """

    members: int
    whole: Cells
    parts: dict[str, Cells]
    words: dict[str, dict[str, Cells]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return as_json(self)

    def rendered(self) -> Iterator[Table]:
        """For people."""
        title = f"Parts of the method: {self.members} networks each, the same folds; difference to the whole, paired"
        yield comparison_table(title, "without", {"the whole": self.whole} | self.parts, list(COLUMNS))
        for text, rows in self.words.items():
            names = list(next(iter(rows.values())))
            title = f"Words: clips with {text} words alone; difference to these words as they are, paired"
            yield comparison_table(title, "given", rows, names)


def run_ablations(data: ClipSet, recipe: Recipe, seed: int, cache: Path) -> AblationReport:
    """Train every variant on every fold and compare; folds that are in ``cache`` are not trained again.

    Args:
        data: With the corrupted kinds of text (``corrupted_kind``).
        recipe: Of the whole method; its members are the seeds.
        seed: Of the first of everything random.
        cache: See ``cross_validate``.
    """
    conditions = (*STANDARD_CONDITIONS, *WORD_CONDITIONS)
    alone = frozenset(condition.name for condition in conditions if not condition.audio)
    whole = cross_validate(data, recipe, seed, cache, conditions=conditions, title="The whole method")
    whole = with_earned_strength(data, whole, as_they_are=alone)
    parts = {}
    for variant in VARIANTS:
        bare = cross_validate(data, variant.change(recipe), seed, cache, title=variant.title.capitalize())
        parts[variant.title] = _cells(data, with_earned_strength(data, bare), whole, variant.mute)
    return AblationReport(
        members=recipe.model.members,
        whole=_cells(data, whole, whole, frozenset()),
        parts=parts,
        words={text: _words(data, whole, text) for text in ("recognised", "printed")},
    )


def _cells(data: ClipSet, results: FoldResults, whole: FoldResults, mute: frozenset[str]) -> Cells:
    cells: Cells = {}
    for name, condition in COLUMNS.items():
        if name in mute:
            cells[name] = None
            continue
        ours, theirs = (score(data, r.clips[condition.name], r.frames[condition.name])[name] for r in (results, whole))
        cells[name] = compare(ours, theirs, [score(data, p, p)[name] for p in _members(results, name, condition.name)])
    return cells


def _members(results: FoldResults, name: str, condition: str) -> Sequence[Any]:
    return () if name.startswith("frame") else results.members[condition]


def _words(data: ClipSet, whole: FoldResults, text: str) -> dict[str, Cells]:
    spoken: NDArray[np.bool_] = np.array([data.has_lines(row, text) for row in range(len(data))]) & data.with_audio
    names = ("quadrants_f1", "valence_ccc", "arousal_ccc", "clusters_f1") if text == "recognised" else ("clusters_f1",)
    given = {condition.name: condition for condition in (*STANDARD_CONDITIONS[:1], *WORD_CONDITIONS)}
    chosen = [text, "none", *(name for name, c in given.items() if c.text.startswith(text))]
    base = score(data, whole.clips[text], among=spoken)
    rows: dict[str, Cells] = {}
    for name in chosen:
        here = score(data, whole.clips[name], among=spoken)
        rows["audio only" if name == "none" else name] = {
            figure: compare(here[figure], base[figure]) for figure in names
        }
    return rows
