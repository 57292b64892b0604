"""How far the accuracy holds on a stage: the same folds, heard under one trouble of the sound at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from stream_mer.training.comparison import Cells, compare, comparison_table
from stream_mer.training.crossvalidation import AUDIO_ONLY, Condition, cross_validate
from stream_mer.training.dataset import ClipSet
from stream_mer.training.fit import Recipe
from stream_mer.training.scores import score

NAMES = ("quadrants_f1", "valence_ccc", "arousal_ccc", "clusters_f1")
AS_RECORDED = "as recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """Audio alone, by the sound's name and then by ``NAMES``; the first row is the clips as they were recorded."""

    sounds: dict[str, Cells]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rendered(self) -> Iterator[Table]:
        """For people."""
        title = "Sound: audio only, the same folds; difference to the recording, paired by clip"
        yield comparison_table(title, "heard", self.sounds, list(NAMES))


def measure_stage(data: ClipSet, recipe: Recipe, seed: int, cache: Path) -> StageReport:
    """Train on every fold and hear the clips of the fold that is left out under each of the set's ``sounds``."""
    conditions = [Condition(name=sound, text="none", sound=sound) for sound in data.sounds]
    results = cross_validate(data, recipe, seed, cache, conditions=(AUDIO_ONLY, *conditions), title="On a stage")
    clean = score(data, results.clips[AUDIO_ONLY.name])
    heard = {AS_RECORDED: clean} | {sound: score(data, results.clips[sound]) for sound in data.sounds}
    return StageReport(
        sounds={sound: {name: compare(scores[name], clean[name]) for name in NAMES} for sound, scores in heard.items()}
    )
