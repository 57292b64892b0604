"""``stream-mer train``, ``evaluate`` and ``train-vocals``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from stream_mer.cli.echo import echo
from stream_mer.cli.options import option_group
from stream_mer.config import DEFAULT_MODEL
from stream_mer.emotion.checkpoint import find_model, load_checkpoint
from stream_mer.lyrics.vocals import CONFIG, WEIGHTS, save_detector
from stream_mer.training.ablations import CORRUPTED, run_ablations
from stream_mer.training.augment import CONDITIONS
from stream_mer.training.calibrate import with_earned_strength
from stream_mer.training.corpora import AUTO, FORMAT_NAMES
from stream_mer.training.crossvalidation import STANDARD_CONDITIONS, cross_validate
from stream_mer.training.dataset import Prepared, prepare, prepare_to_measure
from stream_mer.training.evaluate import FEW_CLIPS, fold_table, measure, stage_conditions, stage_report
from stream_mer.training.fit import Recipe
from stream_mer.training.train import train
from stream_mer.training.vocals import (
    VocalNetwork,
    VocalRecipe,
    compute_features,
    find_recordings,
    train_network,
)
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.files import check_folder, check_target, replace_text


def cache_folder() -> Path:
    """Return the default folder of what training computes once."""
    root = os.environ.get("STREAM_MER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "stream_mer"
    return Path(root).expanduser() / "training"


corpus_options = option_group(
    click.option(
        "--corpus",
        "corpora",
        type=click.Path(path_type=Path),
        required=True,
        multiple=True,
        metavar="DIR",
        help="Folder with manifest.csv, or of a public data set; may be repeated (or set STREAM_MER_CORPUS).",
    ),
    click.option(
        "--format",
        "corpus_format",
        type=click.Choice(FORMAT_NAMES),
        default=AUTO,
        show_default=True,
        help="Layout of the corpus; auto recognises it.",
    ),
    click.option(
        "--backbone",
        type=click.Path(path_type=Path),
        default=lambda: find_model(DEFAULT_MODEL),
        metavar="PATH",
        help="Audio network: a checkpoint's folder, or MSD-MusiCNN as .npz.  [default: that of the shipped checkpoint]",
    ),
    click.option(
        "--cache",
        type=click.Path(path_type=Path),
        default=cache_folder,
        metavar="DIR",
        help="Cache of computed features.  [default: ~/.cache/stream_mer/training]",
    ),
    click.option(
        "--no-transcripts",
        is_flag=True,
        help="Do not transcribe clips that have no transcript.",
    ),
    click.option(
        "--stage-copies",
        default=0,
        show_default=True,
        type=click.IntRange(0),
        help="Augmented copies of each clip as from a stage microphone: level, band, room, codec, noise.",
    ),
    click.option(
        "--stage",
        is_flag=True,
        help="Also evaluate at lower level, in a narrow band, in a room, with noise, and through a codec.",
    ),
    click.option(
        "--words",
        "words",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="CSV",
        help="Lyrics without audio, to train the text branch; may be repeated.",
    ),
    click.option(
        "--members",
        default=Recipe().model.members,
        show_default=True,
        type=click.IntRange(1),
        help="Networks in the ensemble, each with other initial weights.",
    ),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed."),
    click.option(
        "--epochs", default=Recipe().epochs, show_default=True, type=click.IntRange(1), help="Epochs of training."
    ),
    click.option(
        "--threads",
        default=lambda: os.cpu_count() or 1,
        type=click.IntRange(1),
        help="CPU threads.  [default: one a core]",
    ),
)
"""Options that ``train`` and ``evaluate`` share; ``CorpusOptions`` holds their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """The values of ``corpus_options``; see their help. The same values find the same folds in the cache."""

    corpora: tuple[Path, ...]
    corpus_format: str
    backbone: Path
    cache: Path
    no_transcripts: bool
    stage_copies: int
    stage: bool
    words: tuple[Path, ...]
    members: int
    seed: int
    epochs: int
    threads: int

    def prepare(self, *, corrupted: Sequence[float] = ()) -> Prepared:
        """Load the data; arguments and errors as for ``training.dataset.prepare``."""
        torch.set_num_threads(self.threads)
        return prepare(
            self.corpora,
            self.backbone,
            self.cache,
            corpus_format=self.corpus_format,
            transcripts=not self.no_transcripts,
            copies=self.stage_copies,
            words=self.words,
            corrupted=corrupted,
            sounds=tuple(CONDITIONS) if self.stage else (),
        )

    def recipe(self) -> Recipe:
        recipe = Recipe(epochs=self.epochs)
        return replace(recipe, model=replace(recipe.model, members=self.members))


@click.command("train")
@corpus_options
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write the checkpoint to."
)
@click.option("--origin", default="", help="A sentence for the model card on the origin of the clips.")
def train_command(*, out: Path, origin: str, **options: Any) -> None:
    """Train a joint model on a labelled corpus: measure on folds, calibrate, then train on all of it.

    The corpus is a folder with manifest.csv and audio files, or one of DEAM, PMEmo, MERGE and MTG-Jamendo as published
    (docs/TRAINING.md). Audio tokens and finished folds are cached, so an interrupted run continues where it
    stopped. 1,443 clips of 30 s take about 20 minutes on two cores.

    \b
    Example:
      stream-mer train --corpus ~/corpus --out models/mine
      stream-mer tag song.mp3 --model models/mine
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    check_folder(out)  # before hours of training
    given = CorpusOptions(**options)
    prepared = given.prepare()
    table = train(
        prepared.data,
        prepared.backbone,
        given.recipe(),
        given.seed,
        out=out,
        cache=given.cache,
        origin=origin,
        corpora=[corpus.resolve().name for corpus in given.corpora],
        transcribed=not given.no_transcripts,
    )
    EscapingConsole().print(*table.rendered())
    echo(f"Wrote {out / 'weights.safetensors'}, config.json and CARD.md")


@click.command("train-vocals")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write the detector to."
)
@click.option("--epochs", default=VocalRecipe().epochs, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes that run the teacher.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="Threads for training.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=cache_folder,
    metavar="DIR",
    help="Cache of computed labels.  [default: ~/.cache/stream_mer/training]",
)
def train_vocals_command(
    *, folders: tuple[Path, ...], out: Path, epochs: int, seed: int, workers: int, threads: int, cache: Path
) -> None:
    """Train the voice-activity gate of the recogniser on unlabelled music.

    A teacher (FireRedVAD's audio event detector) labels singing and speech in the audio files in and below FOLDERS. The
    gate learns these labels, on clean audio and on augmented copies as from a stage microphone. The labels are cached,
    so an interrupted run continues where it stopped.

    \b
    Example:
      stream-mer train-vocals ~/music --out models/vocals-mine
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    check_folder(out)  # before hours of training
    torch.set_num_threads(threads)
    recordings = compute_features(find_recordings(folders), cache, workers=workers)
    network = VocalNetwork()
    loss = train_network(recordings, VocalRecipe(epochs=epochs), seed, network=network)
    hours = sum(one.hours for one in recordings)
    summary = {"recordings": len(recordings), "hours": round(hours, 2), "epochs": epochs, "seed": seed, "loss": loss}
    save_detector(network.shape, network.tensors(), out, training=summary)
    echo(f"Trained on {len(recordings)} recordings ({hours:.1f} h)")
    echo(f"Wrote {out / WEIGHTS} and {CONFIG}")


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
def evaluate_command(*, model: str | None, json_path: Path | None, ablations: bool, **options: Any) -> None:
    """Measure how well the joint model does on a labelled corpus, and print its figures.

    With --model a trained checkpoint predicts every clip; nothing is trained, and folds and artists do not matter. Do
    not measure a checkpoint on clips that it learned from.

    Without --model the recipe is measured by cross-validation: it trains on four folds and predicts the fifth, for each
    fold, so no model is measured on an artist that it was trained on. Folds that `stream-mer train` or an earlier run
    finished are read from the cache.

    With --ablations it also measures the method without each of its parts, and with lyrics that are wrong, late or
    missing: every difference paired by clip, with its 95 % interval.
    """
    if json_path is not None:
        check_target(json_path)  # before hours of training
    given = CorpusOptions(**options)
    if model is not None:
        _measure(model, given, json_path)
        return
    data, console = given.prepare(corrupted=CORRUPTED if ablations else ()).data, EscapingConsole()
    conditions = (*STANDARD_CONDITIONS, *stage_conditions(data))
    results = cross_validate(data, given.recipe(), given.seed, given.cache, conditions=conditions)
    table = fold_table(data, with_earned_strength(data, results, as_they_are=frozenset(data.sounds)))
    console.print(*table.rendered())
    figures = table.to_dict()
    if given.stage:
        on_stage = stage_report(data, results)
        console.print(*on_stage.rendered())
        figures["stage"] = on_stage.to_dict()
    if ablations:
        report = run_ablations(data, given.recipe(), given.seed, given.cache)
        console.print(*report.rendered())
        figures["ablations"] = report.to_dict()
    if json_path is not None:
        replace_text(json_path, json.dumps(figures, indent=2) + "\n")


def _measure(model: str, given: CorpusOptions, json_path: Path | None) -> None:
    """Measure a checkpoint as it is."""
    context = click.get_current_context()
    for name in _TRAINING_OPTIONS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for training, and --model trains nothing: leave one of them out"
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
        echo(f"Warning: {len(data)} clips are few; below {FEW_CLIPS} the figures mean little", err=True)
    found = measure(data, checkpoint)
    EscapingConsole().print(*found.rendered())
    if json_path is not None:
        replace_text(json_path, json.dumps(found.to_dict(), indent=2) + "\n")
