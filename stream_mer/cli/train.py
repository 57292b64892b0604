"""``stream-mer train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stream_mer.cli.corpus_options import CorpusOptions, corpus_options
from stream_mer.cli.echo import echo
from stream_mer.training.train import train
from stream_mer.utils.escaping_console import EscapingConsole
from stream_mer.utils.files import check_folder


@click.command("train")
@corpus_options
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write the checkpoint to."
)
@click.option("--origin", default="", help="A sentence for the model card on the origin of the clips.")
def command(*, out: Path, origin: str, **options: Any) -> None:
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
