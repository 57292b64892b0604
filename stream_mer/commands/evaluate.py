"""``stream-mer evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from stream_mer.commands.corpus_options import CorpusOptions, corpus_options
from stream_mer.escaping_console import EscapingConsole
from stream_mer.file_writing import check_target, replace_text
from stream_mer.training.ablations import CORRUPTED, run_ablations
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, cross_validate
from stream_mer.training.evaluate import fold_table
from stream_mer.training.stage import stage_conditions, stage_report
from stream_mer.training.text_strength import with_earned_strength

ABLATION_SEEDS = 5


@click.command("evaluate")
@corpus_options
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Also write the figures there."
)
@click.option(
    "--ablations",
    is_flag=True,
    help="Also train the method without each of its parts, 5 networks each, and compare clip by clip; takes hours.",
)
def command(*, json_path: Path | None, ablations: bool, **options: Any) -> None:
    """Measure how well the joint model does on a labelled corpus, and print the fold table.

    Trains on four folds and predicts the fifth, for each fold, so no clip is judged by a model that heard its
    artist. Folds that `stream-mer train` or an earlier run finished are read from the cache.

    With --ablations it also says what each part of the method is worth, and what words do that are wrong, late or
    missing: every difference paired by clip, with its 95 % interval.
    """
    if json_path is not None:
        check_target(json_path)  # now, and not after hours
    given = CorpusOptions(**options)
    data, console = given.prepare(corrupted=CORRUPTED if ablations else ()).data, EscapingConsole()
    conditions = (*STANDARD_CONDITIONS, *stage_conditions(data))
    results = cross_validate(data, given.recipe(), given.seed, given.cache, conditions=conditions)
    table = fold_table(data, with_earned_strength(data, results, as_they_are=frozenset(data.sounds)))
    console.print(*table.rendered())
    told = table.to_dict()
    if given.stage:
        on_stage = stage_report(data, results)
        console.print(*on_stage.rendered())
        told["stage"] = on_stage.to_dict()
    if ablations:
        report = run_ablations(data, given.recipe(least_members=ABLATION_SEEDS), given.seed, given.cache)
        console.print(*report.rendered())
        told["ablations"] = report.to_dict()
    if json_path is not None:
        replace_text(json_path, json.dumps(told, indent=2) + "\n")
