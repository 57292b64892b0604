"""The card of a checkpoint: what it is, what it learned from, how good it is and what it is bad at."""

from __future__ import annotations

from pathlib import Path

from stream_mer.emotion.checkpoint import Calibration, Checkpoint
from stream_mer.training.evaluate import COLUMNS, FIGURES, FoldTable

_TEXT = """# {name}

A joint model of music emotion: valence and arousal (main task), Russell's quadrants and the five MIREX mood clusters
(auxiliary task), from 10 s of audio and the lyrics heard so far. Read by stream_mer {version}; see
`docs/ARCHITECTURE.md` for its parts.

## Figures

{folds}, artist-disjoint, causal frames averaged over the clip, {seeds} seeds averaged as an ensemble, 95 % intervals
of a bootstrap over artists. The command is `stream-mer train --corpus CORPUS --out {name}`; `stream-mer evaluate` gives
the table alone. The shipped weights were then trained on all clips with the same recipe.

{table}

Prediction intervals at {level:.0%}: valence ± {valence:.2f}, arousal ± {arousal:.2f} (split-conformal, out of fold).
Temperatures: category {category_t:.2f}, cluster {cluster_t:.2f}.

## Data

{data}
Valence and arousal are taught by clips with a quadrant alone; they are means of mood words rated by Warriner et al.
(2013), so they are coarse.

The audio backbone is MSD-MusiCNN (Pons & Serra 2019, ISC licence, see `NOTICE`), its weights unchanged. Lyrics are read
through the Universal Sentence Encoder multilingual v3 (Apache-2.0), which is not part of this checkpoint.

## Limits

- Western popular music, mostly; about 30 s excerpts. Other traditions, classical music and speech were hardly heard.
- Angry against happy (both loud) and sad against relaxed (both calm) are what it confuses most.
- It says what music is like on average, in the words of music critics; not what one listener feels.
- Recognised lyrics help little: half of the clips have none, and their words are uncertain.
- Before 3 s of audio it knows very little; its values are then close to neutral, or unsure.
"""


def write_card(folder: Path, checkpoint: Checkpoint, table: FoldTable, *, version: str) -> None:
    """Write ``CARD.md`` beside the weights."""
    training = checkpoint.training
    calibration: Calibration = checkpoint.calibration
    counts = training["clips"]
    data = (
        f"{counts['all']} clips of about 30 s: {counts['category']} with a quadrant (4Q audio emotion set, Panda, "
        f"Malheiro & Paiva 2018), {counts['cluster']} with a cluster (MIREX-like mood set, Panda et al. 2013); "
        f"{counts['recognised']} with recognised and {counts['printed']} with printed lyrics. Research use; no audio "
        "or lyrics are part of the checkpoint."
    )
    text = _TEXT.format(
        name=checkpoint.name,
        version=version,
        folds="Five folds",
        seeds=training["seeds"],
        table=_markdown(table),
        level=calibration.level,
        valence=calibration.valence_error,
        arousal=calibration.arousal_error,
        category_t=calibration.category_temperature,
        cluster_t=calibration.cluster_temperature,
        data=data,
    )
    (folder / "CARD.md").write_text(text, encoding="utf-8")


def _markdown(table: FoldTable) -> str:
    head = f"| figure | clips | {' | '.join(COLUMNS.values())} |\n| --- | --- | {' | '.join('---' for _ in COLUMNS)} |"
    rows = [
        f"| {title} | {table.figures['none'][name].n} | "
        + " | ".join(str(table.figures[kind][name]) for kind in COLUMNS)
        + " |"
        for name, title in FIGURES.items()
    ]
    return "\n".join([head, *rows])
