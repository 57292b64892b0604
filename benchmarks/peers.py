"""Accuracy and compute of VibeNet, MSD-MusiCNN and ours, same folds.

Every system is judged on the clips of one labelled corpus, never on an artist that it was taught about there, and timed
on one core. Ours is what `stream-mer evaluate` predicts: give the same options, and its folds are taken from the cache;
those that it lacks are trained, which takes as long as there. On what the peers hear, support vector machines are
trained on the same folds. Each system hears the whole clip, and then its first ten seconds alone.

\b
  ours      needs --corpus; --model is the checkpoint that is timed
  vibenet   needs --vibenet-python: VibeNet 0.1.0 is under the GPL-3, so it
            stays in an interpreter and a process of its own. To make one:
              python -m venv DIR
              DIR/bin/pip install vibenet==0.1.0 onnx
  musicnn   needs --musicnn: its published tensors, an .npz as for --backbone

A peer that is not there is named and left out. What the peers hear and what the machines say is kept in the cache, and
an interrupted run goes on there; only the times are measured anew. The first run over 1,443 clips of 30 s takes about
half an hour of one core, later ones a minute or two.

\b
  python -m benchmarks peers --corpus ~/corpus --musicnn msd_musicnn.npz \\
      --vibenet-python ~/vibenet/bin/python --json peers.json
  python -m benchmarks peers --corpus ~/corpus --musicnn msd_musicnn.npz \\
      --system musicnn                  # no model of ours is trained

The tables: accuracy beside compute; the same figures with 95 % intervals over artists, and the difference to ours,
paired by clip; and the cost of each way of listening. The live ways give a result every half second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.checkpoints import open_checkpoint
from benchmarks.peers_musicnn import SYSTEM as MUSICNN
from benchmarks.peers_musicnn import find_musicnn
from benchmarks.peers_ours import SYSTEM as OURS
from benchmarks.peers_ours import find_ours
from benchmarks.peers_result import FRAME, Found, PeerMissingError
from benchmarks.peers_tables import accuracy_table, cost_table, interval_table, score_all
from benchmarks.peers_timing import time_in_turn
from benchmarks.peers_vibenet import SYSTEM as VIBENET
from benchmarks.peers_vibenet import find_vibenet
from benchmarks.report import Measurement
from stream_mer.cli.corpus_options import CorpusOptions, corpus_options
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.errors import SettingError
from stream_mer.training.corpora.registry import open_corpus
from stream_mer.training.corpus import together

SYSTEMS = {"ours": OURS, "vibenet": VIBENET, "musicnn": MUSICNN}

OPTIONS = (
    *click.command()(corpus_options(lambda **_: None)).params,
    click.Option(
        ["--system", "systems"],
        type=click.Choice(list(SYSTEMS)),
        multiple=True,
        default=tuple(SYSTEMS),
        show_default=True,
        help="What to measure; may be repeated.",
    ),
    click.Option(
        ["--vibenet-python"],
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Interpreter that has VibeNet, see above.",
    ),
    click.Option(
        ["--musicnn"], type=click.Path(path_type=Path), metavar="PATH", help="Tensors of MSD-MusiCNN, an .npz."
    ),
    click.Option(["--runs"], type=click.IntRange(min=1), default=5, show_default=True, help="Runs that time each way."),
    click.Option(["--model"], help="Checkpoint to time: a name or a folder.  [default: the shipped one]"),
)

_NOTES = (
    "SVM: RBF, C chosen on the training folds; on VibeNet's hidden layer and outputs, or MSD-MusiCNN's embedding and "
    "tags, the mean over its windows.\n"
    f"{FRAME}: ours is the one frame after 9.92 s; VibeNet hears 10 s at once, MSD-MusiCNN 3 windows, 9.0 s.\n"
    "Ours for a whole clip is the mean of causal frames, which a live listener has; the peers hear the clip at once.\n"
    "The peers were trained elsewhere, and may have heard artists of the corpus; so may our backbone, MSD-MusiCNN.\n"
    "CPU times leave out decoding and the machines, and of ours the recogniser and the encoder of the words."
).splitlines()
"""What a reader must know, one sentence each."""


def measure(
    *,
    systems: Sequence[str],
    vibenet_python: Path | None,
    musicnn: Path | None,
    runs: int,
    model: str | None,
    **training: Any,
) -> Measurement:
    """Predict with every system that is there, then time them in turn.

    Args:
        systems: Names of ``SYSTEMS``.
        vibenet_python: An interpreter that has VibeNet.
        musicnn: The published tensors of MSD-MusiCNN.
        runs: How often each way is timed.
        model: The checkpoint of ours that is timed.
        training: The fields of ``CorpusOptions``.

    Raises:
        SettingError: Nothing that was asked for is there.
        StreamMerError: The corpus cannot be read, or a clip of it; or our folds cannot be trained.
    """
    asked = CorpusOptions(**training)
    corpus = together([open_corpus(corpus, asked.corpus_format) for corpus in asked.corpora])
    cache = asked.cache / "peers"
    with contextlib.ExitStack() as stack:
        searches: dict[str, Callable[[], Found]] = {
            "ours": lambda: _find_ours(asked, len(corpus.clips), model, stack),
            "vibenet": lambda: find_vibenet(corpus.clips, vibenet_python, cache, stack),
            "musicnn": lambda: find_musicnn(corpus.clips, musicnn, cache),
        }
        found = [_found_or_left_out(name, searches[name]) for name in SYSTEMS if name in systems]
        ways = [way for one in found for way in one.ways]
        notes = [note for one in found for note in one.notes]
        if not ways:
            raise SettingError(f"there is nothing to measure: {' '.join(notes)}")
        torch.set_num_threads(1)
        costs = time_in_turn(ways, runs)
    scored = score_all(corpus.clips, [judged for one in found for judged in one.judged])
    return Measurement(
        tables=(accuracy_table(scored, costs), interval_table(scored), cost_table(ways, costs)),
        notes=(*corpus.notes, *notes, *_NOTES, f"Medians of {runs} runs in turn; ratios are taken within a run."),
        threads=1,
    )


def _find_ours(asked: CorpusOptions, n_clips: int, model: str | None, stack: contextlib.ExitStack) -> Found:
    checkpoint = stack.enter_context(open_checkpoint(model))
    predictor = EmotionPredictor.load(checkpoint.folder, threads=1)
    found = find_ours(asked, n_clips, predictor)
    return replace(found, notes=(*found.notes, f"Timed: {checkpoint.note}"))


def _found_or_left_out(name: str, find: Callable[[], Found]) -> Found:
    """What there is of a system; of a peer that is not there, a note that says so."""
    try:
        return find()
    except PeerMissingError as error:
        return Found(notes=(f"{SYSTEMS[name]} was left out: {error}.",))
