"""``stream-mer evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch
from rich.console import Console

from stream_mer.commands.corpus_options import corpus_options, recipe_of
from stream_mer.training.ablations import CORRUPTED, run_ablations
from stream_mer.training.augment import CONDITIONS
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, cross_validate
from stream_mer.training.evaluate import fold_table
from stream_mer.training.prepare import prepare
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
def command(
    *,
    corpus: Path,
    corpus_format: str,
    backbone: Path,
    cache: Path,
    no_transcripts: bool,
    stage_copies: int,
    stage: bool,
    words: tuple[Path, ...],
    members: int,
    seed: int,
    epochs: int,
    threads: int,
    json_path: Path | None,
    ablations: bool,
) -> None:
    """Measure how well the joint model does on a labelled corpus, and print the fold table.

    Trains on four folds and predicts the fifth, for each fold, so no clip is judged by a model that heard its
    artist. Folds that `stream-mer train` or an earlier run finished are read from the cache.

    With --ablations it also says what each part of the method is worth, and what words do that are wrong, late or
    missing: every difference paired by clip, with its 95 % interval.
    """
    torch.set_num_threads(threads)
    prepared = prepare(
        corpus,
        backbone,
        cache,
        corpus_format=corpus_format,
        transcripts=not no_transcripts,
        copies=stage_copies,
        words=words,
        corrupted=CORRUPTED if ablations else (),
        sounds=tuple(CONDITIONS) if stage else (),
    )
    data, console = prepared.data, Console()
    recipe, sounds = recipe_of(members=members, epochs=epochs), stage_conditions(data)
    results = cross_validate(data, recipe, seed, cache, conditions=(*STANDARD_CONDITIONS, *sounds))
    table = fold_table(data, with_earned_strength(data, results, as_they_are=frozenset(data.sounds)))
    console.print(*table.rendered())
    told = table.to_dict()
    if stage:
        on_stage = stage_report(data, results)
        console.print(*on_stage.rendered())
        told["stage"] = on_stage.to_dict()
    if ablations:
        report = run_ablations(data, recipe_of(members=max(members, ABLATION_SEEDS), epochs=epochs), seed, cache)
        console.print(*report.rendered())
        told["ablations"] = report.to_dict()
    if json_path is not None:
        json_path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
