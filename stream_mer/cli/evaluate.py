"""``stream-mer evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from stream_mer.cli.corpus_options import CorpusOptions, corpus_options
from stream_mer.cli.echo import echo
from stream_mer.emotion.checkpoint import find_model, load_checkpoint
from stream_mer.training.ablations import CORRUPTED, run_ablations
from stream_mer.training.calibrate import with_earned_strength
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, cross_validate
from stream_mer.training.evaluate import FEW_CLIPS, fold_table, measure, stage_conditions, stage_report
from stream_mer.training.prepare import prepare_to_measure
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.files import check_target, replace_text

_TRAINING_OPTIONS = ("backbone", "stage_copies", "stage", "words", "members", "seed", "epochs", "ablations")


@click.command("evaluate")
@click.option(
    "--model",
    metavar="NAME",
    is_eager=True,  # no setting: a model that the settings name for other commands measures nothing here
    help="Measure this checkpoint as it is (a name, or its folder); without it, the recipe by cross-validation.",
)
@corpus_options
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Also write the figures there."
)
@click.option(
    "--ablations",
    is_flag=True,
    help="Also train the method without each of its parts and compare clip by clip; hours. See --members, --epochs.",
)
def command(*, model: str | None, json_path: Path | None, ablations: bool, **options: Any) -> None:
    """Measure how well the joint model does on a labelled corpus, and print its figures.

    With --model a trained checkpoint predicts every clip; nothing is trained, and folds and artists do not matter. Do
    not measure a checkpoint on clips that it learned from.

    Without --model the recipe is measured by cross-validation: it trains on four folds and predicts the fifth, for each
    fold, so no clip is judged by a model that heard its artist. Folds that `stream-mer train` or an earlier run
    finished are read from the cache.

    With --ablations it also says what each part of the method is worth, and what words do that are wrong, late or
    missing: every difference paired by clip, with its 95 % interval.
    """
    if json_path is not None:
        check_target(json_path)  # now, and not after hours
    given = CorpusOptions(**options)
    if model is not None:
        _measure(model, given, json_path)
        return
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
        report = run_ablations(data, given.recipe(), given.seed, given.cache)
        console.print(*report.rendered())
        told["ablations"] = report.to_dict()
    if json_path is not None:
        replace_text(json_path, json.dumps(told, indent=2) + "\n")


def _measure(model: str, given: CorpusOptions, json_path: Path | None) -> None:
    """Measure a checkpoint as it is."""
    context = click.get_current_context()
    for name in _TRAINING_OPTIONS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is about training, and with --model nothing is trained; give one of both"
            )
    torch.set_num_threads(given.threads)
    checkpoint = load_checkpoint(find_model(model))
    data = prepare_to_measure(
        given.corpora,
        checkpoint,
        given.cache,
        corpus_format=given.corpus_format,
        transcripts=not given.no_transcripts,
    )
    if len(data) < FEW_CLIPS:
        echo(
            f"Warning: {len(data)} clips are few; with fewer than {FEW_CLIPS} the figures say next to nothing", err=True
        )
    found = measure(data, checkpoint)
    EscapingConsole().print(*found.rendered())
    if json_path is not None:
        replace_text(json_path, json.dumps(found.to_dict(), indent=2) + "\n")
