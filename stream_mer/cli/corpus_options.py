"""Options that ``train`` and ``evaluate`` share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import torch

from stream_mer.config import DEFAULT_MODEL
from stream_mer.emotion.checkpoint import find_model
from stream_mer.training.augment import CONDITIONS
from stream_mer.training.corpora.registry import AUTO, FORMAT_NAMES
from stream_mer.training.fit import Recipe
from stream_mer.training.prepare import Prepared, prepare

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder() -> Path:
    """Where training keeps what is computed once, unless told otherwise."""
    root = os.environ.get("STREAM_MER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "stream_mer"
    return Path(root).expanduser() / "training"


_OPTIONS = (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """The values of the options; the same values find the same folds in the cache.

    Attributes:
        corpora: Their folders.
        corpus_format: Its layout.
        backbone: The audio network.
        cache: Keeps what is computed once.
        no_transcripts: Do not listen for words that the corpus lacks.
        stage_copies: Degraded copies of each clip to train on.
        stage: Whether to measure under troubles of the sound, too.
        words: Files of songs of which there are words alone.
        members: Networks in the ensemble.
        seed: Of everything random.
        epochs: Rounds.
        threads: CPU threads.
    """

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
        """Load the data with these options; see ``training.prepare.prepare``, also for errors."""
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
        """The recipe that the options ask for."""
        recipe = Recipe(epochs=self.epochs)
        return replace(recipe, model=replace(recipe.model, members=self.members))


def corpus_options(function: F) -> F:
    """Add the options that decide on which data and how to train; ``CorpusOptions`` takes what they were given."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
