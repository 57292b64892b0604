"""How far the accuracy holds on a stage: the same folds, heard under one trouble of the sound at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from stream_mer.training.comparison import Cells, compare, comparison_table
from stream_mer.training.crossvalidation import AUDIO_ONLY, Condition, FoldResults
from stream_mer.training.dataset import ClipSet
from stream_mer.training.scores import score

STAGE_SCORES = ("quadrants_f1", "valence_ccc", "arousal_ccc", "clusters_f1")
AS_RECORDED = "as recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """Audio alone, by the sound's name and then by ``STAGE_SCORES``; the first row is the clips as recorded."""

    sounds: dict[str, Cells]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rendered(self) -> Iterator[Table]:
        """For people."""
        title = "Sound: audio only, the same folds; difference to the recording, paired by clip"
        yield comparison_table(title, "heard", self.sounds, list(STAGE_SCORES))


def stage_conditions(data: ClipSet) -> tuple[Condition, ...]:
    """To measure under beside the standard ones: each of the set's ``sounds``, without words."""
    return tuple(Condition(name=sound, text="none", sound=sound) for sound in data.sounds)


def stage_report(data: ClipSet, results: FoldResults) -> StageReport:
    """Compare what the clips of each fold were taken for under each sound; ``results`` have ``stage_conditions``."""
    clean = score(data, results.clips[AUDIO_ONLY.name])
    heard = {AS_RECORDED: clean} | {sound: score(data, results.clips[sound]) for sound in data.sounds}
    return StageReport(
        sounds={
            sound: {name: compare(scores[name], clean[name]) for name in STAGE_SCORES}
            for sound, scores in heard.items()
        }
    )
