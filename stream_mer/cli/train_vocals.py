"""``stream-mer train-vocals``."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from stream_mer.cli.corpus_options import cache_folder
from stream_mer.cli.echo import echo
from stream_mer.lyrics.vocals import CONFIG, WEIGHTS, VocalNetwork, save_detector
from stream_mer.training.vocals import VocalRecipe, find_recordings, hear, train_network
from stream_mer.utils.files import check_folder


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
def command(
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
    check_folder(out)  # now, and not when it is trained
    torch.set_num_threads(threads)
    heard = hear(find_recordings(folders), cache, workers=workers)
    network = VocalNetwork()
    loss = train_network(heard, VocalRecipe(epochs=epochs), seed, network=network)
    hours = sum(one.hours for one in heard)
    told = {"recordings": len(heard), "hours": round(hours, 2), "epochs": epochs, "seed": seed, "loss": loss}
    save_detector(network, out, training=told)
    echo(f"Trained on {len(heard)} recordings ({hours:.1f} h)")
    echo(f"Wrote {out / WEIGHTS} and {CONFIG}")
