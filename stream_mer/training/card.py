"""The card of a checkpoint: what it is, what it learned from, how good it is and what it is bad at."""

from __future__ import annotations

from pathlib import Path

from stream_mer.emotion.checkpoint import Calibration, Checkpoint
from stream_mer.training.evaluate import COLUMNS, FoldTable
from stream_mer.training.scores import SCORES
from stream_mer.types import CATEGORIES, CLUSTERS

NAMES = {"category": CATEGORIES, "cluster": CLUSTERS}

_TEXT = """# {name}

A joint model of music emotion: valence and arousal (main task), Russell's quadrants and the five MIREX mood clusters
(auxiliary task), from 10 s of audio and the lyrics heard so far. Read by stream_mer {version}; see
`docs/ARCHITECTURE.md` for its parts.

## Figures

{folds}, artist-disjoint, causal frames averaged over the clip, {members} networks averaged as an ensemble,
95 % intervals of a bootstrap over artists. The command is `stream-mer train --corpus CORPUS --out {name}`;
`stream-mer evaluate` gives the table alone. The shipped weights were then trained on all clips with the same recipe.

{table}

What is taken for what, audio only (clips; the true class in rows, the predicted one in columns):

{confusions}

Prediction intervals at {level:.0%}: valence ± {valence:.2f}, arousal ± {arousal:.2f} (split-conformal, out of fold).
Temperatures: category {category_t:.2f}, cluster {cluster_t:.2f}.

## Data

{data}
Valence and arousal are taught by clips with a quadrant alone; they are means of mood words rated by Warriner et al.
(2013), so they are coarse.

The audio backbone is MSD-MusiCNN (Pons & Serra 2019, ISC licence, see `NOTICE`), its weights unchanged. Lyrics are read
through the Universal Sentence Encoder multilingual v3 (Apache-2.0), which is not part of this checkpoint.

## Limits

- It was taught by excerpts of about 30 s, mostly of Western popular music. Other traditions, classical music and plain
  speech were hardly among them.
- The table above shows its blind spots: what is off the diagonal.
- It hears level. Recordings at 10 dB below those that it learned from are taken alike; at 20 dB below, values shrink
  towards neutral; at 30 dB below, loud music is taken for calm (tried with three clips and a volume filter).
- It says what music is like in the words of music critics, on average; not what one listener feels.
- Where the columns with lyrics do not differ from audio alone by more than their intervals, words have not paid.
"""


def write_card(folder: Path, checkpoint: Checkpoint, table: FoldTable, *, origin: str) -> None:
    """Write ``CARD.md`` beside the weights; ``origin`` says in a sentence or two where the clips come from."""
    training = checkpoint.training
    calibration: Calibration = checkpoint.calibration
    counts = training["clips"]
    data = (
        f"{counts['all']} clips: {counts['category']} with a quadrant, {counts['cluster']} with a cluster, "
        f"{counts['recognised']} with recognised and {counts['printed']} with printed lyrics. {origin}"
    )
    text = _TEXT.format(
        name=checkpoint.name,
        version=training["version"],
        confusions="\n\n".join(_matrix(training["confusions"][name], NAMES[name]) for name in NAMES),
        folds="Five folds",
        members=training["members"],
        table=_markdown(table),
        level=calibration.level,
        valence=calibration.valence_error,
        arousal=calibration.arousal_error,
        category_t=calibration.category_temperature,
        cluster_t=calibration.cluster_temperature,
        data=data,
    )
    (folder / "CARD.md").write_text(text, encoding="utf-8")


def _matrix(rows: list[list[int]], names: tuple[str, ...]) -> str:
    head = f"| | {' | '.join(names)} |\n| --- | {' | '.join('---' for _ in names)} |"
    body = [f"| {name} | {' | '.join(str(n) for n in row)} |" for name, row in zip(names, rows, strict=True)]
    return "\n".join([head, *body])


def _markdown(table: FoldTable) -> str:
    head = f"| figure | clips | {' | '.join(COLUMNS.values())} |\n| --- | --- | {' | '.join('---' for _ in COLUMNS)} |"
    rows = [
        f"| {title} | {table.figures['none'][name].n} | "
        + " | ".join(str(table.figures[kind][name]) for kind in COLUMNS)
        + " |"
        for name, title in SCORES.items()
    ]
    return "\n".join([head, *rows])
