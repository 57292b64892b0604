"""Public data sets in their published layouts, one module each, and which of the layouts a folder has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stream_mer.errors import CorpusError, SettingError
from stream_mer.training.corpora import deam, jamendo, merge, pmemo
from stream_mer.training.corpus import Corpus, load_corpus

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A layout.

    Attributes:
        name: For the command line.
        title: For people.
        recognises: Whether a folder has this layout; looks at names alone, or little more.
        load: Reads it, or raises ``CorpusError``.
    """

    name: str
    title: str
    recognises: Callable[[Path], bool]
    load: Callable[[Path], Corpus]


FORMATS = (
    Format(
        name="manifest", title="manifest.csv", recognises=lambda r: (r / "manifest.csv").is_file(), load=load_corpus
    ),
    Format(name="deam", title=deam.TITLE, recognises=deam.recognises, load=deam.load),
    Format(name="pmemo", title=pmemo.TITLE, recognises=pmemo.recognises, load=pmemo.load),
    Format(name="merge", title=merge.TITLE, recognises=merge.recognises, load=merge.load),
    Format(name="jamendo", title=jamendo.TITLE, recognises=jamendo.recognises, load=jamendo.load),
)
FORMAT_NAMES = (AUTO, *(known.name for known in FORMATS))


def open_corpus(root: Path, name: str = AUTO, *, folds: bool = True) -> Corpus:
    """Read a corpus; where it is to train on, its notes say too which of the outputs it cannot teach.

    Args:
        root: Its folder.
        name: One of ``FORMAT_NAMES``; ``auto`` looks which layout the folder has, a manifest before all.
        folds: Whether to train on it; see ``training.corpus.load_corpus``.

    Raises:
        SettingError: There is no such layout.
        CorpusError: The folder has no known layout, or several, or cannot be read.
    """
    if name != AUTO:
        chosen = [known for known in FORMATS if known.name == name]
        if not chosen:
            raise SettingError(f"there is no corpus format {name!r}; choose one of {', '.join(FORMAT_NAMES)}")
        return _load(chosen[0], root, folds=folds)
    if not root.is_dir():
        raise CorpusError(f"no corpus at {root}: there is no such folder")
    found = [known for known in FORMATS if known.recognises(root)]
    if not found:
        titles = ", ".join(known.title for known in FORMATS[1:])
        raise CorpusError(
            f"no corpus at {root}: there is no manifest.csv in it, nor has it the layout of one of {titles} "
            "(see docs/TRAINING.md)"
        )
    if len(found) > 1 and found[0].name != "manifest":
        names = " and ".join(known.title for known in found)
        raise CorpusError(f"{root} holds {names}; choose one with --format, or give its own folder")
    return _load(found[0], root, folds=folds)


def _load(known: Format, root: Path, *, folds: bool) -> Corpus:
    if folds:
        return _with_gaps(known.load(root))
    return load_corpus(root, folds=False) if known.name == "manifest" else known.load(root)


def _with_gaps(corpus: Corpus) -> Corpus:
    """Add notes on kinds of labels that no clip has."""
    gaps = []
    if not any(c.teaches_emotion and c.valence is not None and c.arousal is not None for c in corpus.clips):
        gaps.append("valence and arousal")
    if all(clip.category is None for clip in corpus.clips):
        gaps.append("the quadrant")
    notes = [f"{corpus.root}: no clip teaches {gap}; that output of a model trained here is chance" for gap in gaps]
    return replace(corpus, notes=(*corpus.notes, *notes))
