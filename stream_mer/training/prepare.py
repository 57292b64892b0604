"""From a corpus folder to a set of clips in memory; everything slow is computed once and cached."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream_mer.emotion.checkpoint import Checkpoint, load_checkpoint
from stream_mer.emotion.joint import PrincipalComponents
from stream_mer.emotion.musicnn import Backbone, living_channels, load_musicnn, slim
from stream_mer.errors import CorpusError
from stream_mer.training.corpora.registry import AUTO, open_corpus
from stream_mer.training.corpus import Clip, Corpus, together
from stream_mer.training.dataset import ClipSet, corrupted_kind
from stream_mer.training.lyrics import (
    ClipLines,
    WordSet,
    encode_songs,
    load_words,
    printed_lines,
    recognised_lines,
    whole_clips,
    with_transcripts,
)
from stream_mer.training.progress import announce
from stream_mer.training.tokens import audio_components, cached_tokens, conditioned_tokens, degraded_tokens, reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What training reads.

    Attributes:
        data: The clips.
        backbone: The audio network that their tokens came from.
    """

    data: ClipSet
    backbone: Backbone


def load_backbone(path: Path, clips: Sequence[Clip], cache: Path, *, workers: int) -> Backbone:
    """Read the backbone of a checkpoint's folder; or the published weights from an ``.npz``, made slim.

    To make them slim, the whole network listens to all clips once.

    Raises:
        CheckpointError: Neither can be read.
        SourceError: A clip cannot be decoded.
    """
    if path.is_dir():
        return load_checkpoint(path).backbone
    whole = load_musicnn(path)
    announce(f"Listening with the whole network of {path.name}, to find out which of its filters ever fire")
    tokens = cached_tokens(clips, whole, cache, workers=workers)
    return slim(whole, living_channels(map(torch.from_numpy, tokens.values()), whole))


def prepare(
    corpora: Sequence[Path],
    backbone: Path,
    cache: Path,
    *,
    corpus_format: str = AUTO,
    transcripts: bool = True,
    copies: int = 0,
    words: Sequence[Path] = (),
    corrupted: Sequence[float] = (),
    sounds: Sequence[str] = (),
) -> Prepared:
    """Load corpora with their audio tokens and lyric lines; what there is to know of them is told on stderr.

    Args:
        corpora: Their folders, one or more.
        backbone: See ``load_backbone``.
        cache: Folder for what is computed once; a run that was interrupted goes on there.
        corpus_format: Their layout; see ``training.corpora.registry``.
        copies: Degraded copies of every clip to train on; see ``training.augment``.
        words: Files of songs without audio; see ``training.lyrics``.
        corrupted: Adds kinds of text to measure on, with these shares of the words replaced.
        sounds: Adds troubles of the sound to measure on, names of ``training.augment.CONDITIONS``.
        transcripts: Whether the recogniser listens to the clips that the corpus has no transcript of.

    Raises:
        CorpusError: A corpus cannot be read, or two of them do not fit together.
        CheckpointError: The backbone cannot be read.
        SourceError: A clip cannot be decoded.
        LyricsError: The sentence encoder cannot be loaded.
    """
    found = together([open_corpus(corpus, corpus_format) for corpus in corpora])
    for note in found.notes:
        announce(note)
    word_sets = [load_words(path) for path in words]  # before what takes long, so that a wrong path is told at once
    workers = os.cpu_count() or 1
    network = load_backbone(backbone, found.clips, cache, workers=workers)
    tokens = cached_tokens(found.clips, network, cache, workers=workers)
    degraded = degraded_tokens(found.clips, network, cache, copies=copies, workers=workers) if copies else {}
    troubled = {name: conditioned_tokens(found.clips, network, cache, name, workers=workers) for name in sounds}
    if transcripts:
        found = with_transcripts(found, cache, whole_clips(cpu_threads=workers))
    lines = _read_lines(found, cache, corrupted)
    lines["printed"] = lines["printed"] | _songs_without_audio(word_sets, cache)
    components = audio_components(list(tokens.values()), cache)
    data = ClipSet(
        found.clips,
        _reduced(tokens, components),
        lines,
        {word_set.name: word_set.songs for word_set in word_sets},
        degraded={name: [reduce(copy, components) for copy in of_clip] for name, of_clip in degraded.items()},
        sounds={name: _reduced(of_sound, components) for name, of_sound in troubled.items()},
        components=components,
    )
    return Prepared(data=data, backbone=network)


def _songs_without_audio(word_sets: Sequence[WordSet], cache: Path) -> dict[str, ClipLines]:
    """Lines of the songs of all sets, by clip id; the notes of each set are told on stderr."""
    lines: dict[str, ClipLines] = {}
    for word_set in word_sets:
        for note in word_set.notes:
            announce(note)
        lines |= encode_songs(word_set.lines, cache, word_set.name)
    return lines


def _reduced(
    tokens: Mapping[str, NDArray[np.float16]], components: PrincipalComponents
) -> dict[str, NDArray[np.float16]]:
    return {name: reduce(of_clip, components) for name, of_clip in tokens.items()}


def prepare_to_measure(
    corpora: Sequence[Path], checkpoint: Checkpoint, cache: Path, *, corpus_format: str = AUTO, transcripts: bool = True
) -> ClipSet:
    """Load clips as a checkpoint hears them, with whatever labels they have; folds and artists do not matter.

    Args:
        corpora: Their folders, one or more.
        checkpoint: Whose networks and components make the tokens.
        cache: Folder for what is computed once.
        corpus_format: Their layout; see ``training.corpora.registry``.
        transcripts: Whether the recogniser listens to the clips that have no transcript.

    Raises:
        CorpusError: A corpus cannot be read, two have a clip of one id, or no clip has a label.
        SourceError: A clip cannot be decoded.
        LyricsError: The sentence encoder cannot be loaded.
    """
    found = together([open_corpus(corpus, corpus_format, folds=False) for corpus in corpora], folds=False)
    if not any(_labelled(clip) for clip in found.clips):
        where = " and ".join(map(str, corpora))
        raise CorpusError(f"no clip of {where} has a quadrant, a cluster, or valence and arousal to compare with")
    for note in found.notes:
        announce(note)
    workers = os.cpu_count() or 1
    tokens = cached_tokens(found.clips, checkpoint.backbone, cache, workers=workers)
    if transcripts:
        found = with_transcripts(found, cache, whole_clips(cpu_threads=workers))
    components = checkpoint.joint.components
    reduced = _reduced(tokens, components)
    return ClipSet(found.clips, reduced, _read_lines(found, cache, ()), components=components)


def _labelled(clip: Clip) -> bool:
    rated = clip.valence is not None and clip.arousal is not None
    return rated or clip.dynamic is not None or clip.category is not None or clip.cluster is not None


def _read_lines(found: Corpus, cache: Path, corrupted: Sequence[float]) -> dict[str, dict[str, ClipLines]]:
    """The lyric lines of every kind by clip; with shares of their words replaced, as kinds of their own."""
    readers = {"recognised": recognised_lines, "printed": printed_lines}
    lines = {kind: read(found, cache) for kind, read in readers.items()}
    for share in corrupted:
        lines |= {corrupted_kind(kind, share): read(found, cache, corrupted=share) for kind, read in readers.items()}
    return lines
