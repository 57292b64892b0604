"""Loads labelled corpora with all that training reads of them, and draws batches from them.

A batch holds moments in the middle of clips, with the words that would have been heard by then. Whatever is slow is
computed once and cached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_mer.audio.yamnet import PATCH_HOP
from stream_mer.emotion.audio_branch import TOKEN_HOP
from stream_mer.emotion.checkpoint import Checkpoint, load_checkpoint
from stream_mer.emotion.joint import JointModelConfig
from stream_mer.emotion.musicnn import Backbone, living_channels, load_musicnn, slim
from stream_mer.errors import CorpusError
from stream_mer.lyrics.text_features import LINE_FEATURES
from stream_mer.training.corpora import AUTO, open_corpus
from stream_mer.training.corpus import UNREAD, Clip, Corpus, together
from stream_mer.training.losses import Labels
from stream_mer.training.lyrics import (
    NO_LINES,
    ClipLines,
    WordSet,
    encode_songs,
    load_words,
    printed_lines,
    recognised_lines,
    whole_clips,
    with_transcripts,
)
from stream_mer.training.network import AudioInput, JointNetwork, PrincipalComponents, TextInput, time_scales
from stream_mer.training.progress import announce
from stream_mer.training.tokens import (
    CORES,
    as_streamed,
    audio_components,
    cached_tokens,
    conditioned_tokens,
    degraded_tokens,
    reduce,
)
from stream_mer.types import seconds

TOKEN_S = seconds(TOKEN_HOP)
"""Seconds from one audio token to the next, and so from one moment of a clip to the next."""

CONTEXT_S = 10.0  # of audio that a moment knows
MAX_LINES = 64  # the live tracker keeps no more
TAUGHT_TEXT = ("recognised", "printed")
"""The kinds of text that training draws from; others are there to be measured on."""


def corrupted_kind(text: str, share: float) -> str:
    """The name of a kind of text with this share of its words replaced by others."""
    return f"{text}, {share:.0%} corrupted"


class Batch(NamedTuple):
    """One step's worth of rows."""

    audio: AudioInput
    text: TextInput
    labels: Labels

    @property
    def has_audio(self) -> Tensor:
        """[B] True where a row has at least one audio token."""
        return (self.audio.weights > 0).flatten(1).any(1)

    @property
    def has_text(self) -> Tensor:
        """[B] True where a row has at least one line."""
        return (self.text.weights > 0).any(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSampling:
    """How words are treated while training.

    Attributes:
        absent: Share of the rows without any words.
        alone: Share of the rows with words that have no audio: modality dropout the other way round. Else the audio,
            which is easier to learn by heart, leaves nothing for the words to explain.
        delay_s: Range of the time from the end of a line until it is known, seconds.
        lost_lines: Share of the lines that were never recognised.
    """

    absent: float = 0.45
    alone: float = 0.0
    delay_s: tuple[float, float] = (2.0, 6.0)
    lost_lines: float = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How moments are drawn while training.

    Attributes:
        tokens_kept: Audio tokens of a moment that a step reads: the newest and others of its context, drawn anew each
            time. They overlap, so that a few say nearly as much as all do, and leaving others out is an augmentation.
        degraded_share: Share of the rows that read a degraded copy of the clip, where the data have some.
        static_scale: What a rating given after a clip counts where there is none of the moment: ratings given while
            listening are less extreme (.77 of them in valence and .81 in arousal, on DEAM).
        text: How words are treated.
    """

    tokens_kept: int = 8
    degraded_share: float = 0.15
    static_scale: float = 0.9
    text: TextSampling = field(default_factory=TextSampling)


class ClipSet:
    """Clips with all that the model reads of them, in memory (16-bit tokens: 50 kB a clip of 30 s).

    Args:
        clips: The clips.
        tokens: Audio tokens by clip id, each [n, components].
        lines: Lyric lines by kind of text, then by clip id. ``TAUGHT_TEXT`` names the kinds that training draws from.
        songs: Songs of which there are words alone, by the name of their set; their lines are of the kind ``printed``.
        degraded: Tokens of further copies of each clip, by clip id, as from a stage microphone; as many of
            each. Training draws from them too.
        streamed: Tokens of each clip as a stream has them, by clip id; to measure on. None where they are ``tokens``.
        sounds: Tokens of each clip as it sounds under some trouble, by the trouble's name and clip id; to measure on,
            too.
        components: What the tokens were reduced by; None where they are as the audio branch makes them.

    Attributes:
        listeners_rated: Whether listeners rated any clip; else mood words teach the main task.

    Raises:
        CorpusError: A clip is too short for a single token.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        tokens: Mapping[str, NDArray[np.float16]],
        lines: Mapping[str, Mapping[str, ClipLines]],
        songs: Mapping[str, Sequence[Clip]] | None = None,
        *,
        degraded: Mapping[str, Sequence[NDArray[np.float16]]] | None = None,
        streamed: Mapping[str, NDArray[np.float16]] | None = None,
        sounds: Mapping[str, Mapping[str, NDArray[np.float16]]] | None = None,
        components: PrincipalComponents | None = None,
    ) -> None:
        songs = songs or {}
        self.clips = (*clips, *(song for of_set in songs.values() for song in of_set))
        self.sets = np.array([""] * len(clips) + [name for name, of_set in songs.items() for _ in of_set])
        self.with_audio = self.sets == ""
        empty = [clip.clip_id for clip in clips if len(tokens[clip.clip_id]) == 0]
        if empty:
            raise CorpusError(f"{len(empty)} clips are shorter than {TOKEN_S:.1f} s, the first one is {empty[0]!r}")
        self.n_tokens = torch.tensor(
            [len(tokens[clip.clip_id]) for clip in clips] + [0] * int((~self.with_audio).sum())
        )
        longest = int(self.n_tokens.max())
        copies = [[tokens[clip.clip_id], *(degraded or {}).get(clip.clip_id, ())] for clip in clips]
        # [copies, clips, tokens, features]; copy 0 is the clip as it is
        self.tokens = torch.zeros(len(copies[0]), len(clips), longest, copies[0][0].shape[1], dtype=torch.float16)
        for i, of_clip in enumerate(copies):
            for k, copy in enumerate(of_clip):
                self.tokens[k, i, : len(copy)] = torch.from_numpy(copy)
        self.components = components or PrincipalComponents(self.tokens.shape[3], self.tokens.shape[3])
        self.sounds = sounds or {}
        self._measured = {"": streamed or tokens, **self.sounds}
        self._lines = {
            kind: [by_id.get(clip.clip_id, NO_LINES) for clip in self.clips] for kind, by_id in lines.items()
        }
        self.context_tokens = round(CONTEXT_S / TOKEN_S)
        self.listeners_rated = _listeners_rated(self.clips, self.with_audio)
        self.labels = _labels(self.clips, self.with_audio)
        self.dynamic = _dynamic(self.clips, longest)

    def __len__(self) -> int:
        return len(self.clips)

    def fingerprint(self) -> str:
        """Changes with everything that training reads of the clips."""
        names = [(clip.clip_id, clip.artist, clip.fold) for clip in self.clips]
        state = hashlib.sha256(repr([self.context_tokens, PATCH_HOP, names]).encode())
        state.update(repr(self.sets.tolist()).encode())
        of_clips = self.labels
        labels = (of_clips.emotion, of_clips.mood, of_clips.category, of_clips.cluster)
        for tensor in (self.tokens, self.n_tokens, *labels, self.dynamic):
            state.update(tensor.numpy().tobytes())
        for kind in sorted(set(self._lines) & set(TAUGHT_TEXT)):
            for lines in self._lines[kind]:
                state.update(repr(lines.vectors.shape).encode())
                for array in (lines.vectors, lines.t1, lines.reliability):
                    state.update(array.tobytes())
        return state.hexdigest()

    def epoch(self, rows: Sequence[int], rng: np.random.Generator, *, songs: int) -> Tensor:
        """The rows of one round in random order: every clip, and of each set of songs at most ``songs``."""
        chosen = np.asarray(rows)
        parts = [chosen[self.with_audio[chosen]]]
        for name in sorted(set(self.sets.tolist()) - {""}):
            of_set = chosen[self.sets[chosen] == name]
            parts.append(rng.permutation(of_set)[:songs])
        return torch.from_numpy(rng.permutation(np.concatenate(parts)))

    def draw(
        self,
        rows: Tensor,
        rng: np.random.Generator,
        sampling: Sampling,
        *,
        config: JointModelConfig,
    ) -> Batch:
        """One random moment of each clip in ``rows``, with words treated as ``sampling`` says.

        Args:
            rows: [B].
            rng: Decides.
            sampling: How.
            config: Says what the time scales are.
        """
        n = self.n_tokens[rows].clamp(min=1).numpy()
        # The root makes long contexts likelier: that is what a live stream has nearly always.
        ends = torch.from_numpy((n * rng.random(len(n)) ** 0.6).astype(np.int64))
        texts = [
            self._draw_lines(row, TOKEN_S * (end + 1), rng, sampling.text)
            for row, end in zip(rows.tolist(), ends.tolist(), strict=True)
        ]
        copies = rng.integers(1, max(2, len(self.tokens)), size=len(rows)) * (
            rng.random(len(rows)) < sampling.degraded_share
        )
        copy = torch.from_numpy(copies % len(self.tokens))  # 0 is the clip as it is, also where there is no other
        text = _pad(texts)
        alone = (text.weights > 0).any(1) & torch.from_numpy(rng.random(len(rows)) < sampling.text.alone)
        chosen, ages = self._draw_places(rows, ends, rng, sampling.tokens_kept)
        ages = ages.masked_fill(alone.unsqueeze(1), -1)
        at = rows.clamp(max=self.tokens.shape[1] - 1)  # whatever stands in for a song's audio does not count
        audio = AudioInput(
            self.tokens[copy[:, None], at[:, None], chosen].float(), torch.arange(len(rows)), time_scales(ages, config)
        )
        return Batch(audio, text, self._labels_at(rows, ends, sampling.static_scale))

    def _labels_at(self, rows: Tensor, ends: Tensor, static_scale: float) -> Labels:
        """The labels of the moments at the end of the tokens ``ends`` [B].

        Emotion is what listeners said at that moment, else what they said of the clip.
        """
        labels = Labels(*(label[rows] for label in self.labels))
        now = self.dynamic[rows, ends.clamp(max=self.dynamic.shape[1] - 1)]
        return labels._replace(emotion=torch.where(now.isfinite(), now, static_scale * labels.emotion), dynamic=now)

    def clip_tokens(self, row: int, sound: str = "") -> Tensor:
        """All audio tokens of one clip, to measure on, [1, n, token_features]; a zero one for a song without audio.

        ``sound`` names one of ``sounds``; empty is the clip as it is.
        """
        if not self.with_audio[row]:
            return torch.zeros(1, 1, self.tokens.shape[3])
        return torch.from_numpy(self._measured[sound][self.clips[row].clip_id]).unsqueeze(0).float()

    def ages(self, row: int) -> Tensor:
        """How old each token of a clip is at each of its moments, [moments, tokens], in tokens.

        A moment is the end of a token, and knows ``context_tokens`` tokens; the age of others is negative. A song
        without audio has one moment, which knows none.
        """
        n = max(1, int(self.n_tokens[row]))
        ages = torch.arange(n)[:, None] - torch.arange(n)[None]
        known = (ages < self.context_tokens) & bool(self.with_audio[row])
        return ages.masked_fill(~known, -1)

    def heard_lines(self, row: int, kind: str, *, delay_s: float) -> TextInput:
        """The lines of one clip as they are known at each of its moments, ``delay_s`` after they end.

        Printed words have no times: all of them are known from the start, as with a plain text file in a live run.

        Returns:
            Vectors [1, L, LINE_FEATURES]; weights and ages [moments, L], with weight 0 where a line is not known yet.
        """
        lines = self._lines[kind][row] if self.has_lines(row, kind) else NO_LINES
        ends = torch.from_numpy(lines.t1).unsqueeze(0)
        t = torch.arange(1, int(self.n_tokens[row]) + 1).unsqueeze(1) * TOKEN_S  # [moments, 1]
        if not self.with_audio[row]:  # its one moment is the end of the song
            t = ends[:, -1:] if len(lines) else torch.zeros(1, 1)
        ages_s = t - (torch.zeros_like(ends) if kind == "printed" else ends)
        known = torch.ones_like(ages_s, dtype=torch.bool) if kind == "printed" else ages_s >= delay_s
        newer = known.flip(1).cumsum(1).flip(1)
        weights = torch.from_numpy(lines.reliability) * (known & (newer <= MAX_LINES))
        return TextInput(torch.from_numpy(lines.vectors).unsqueeze(0), weights, ages_s)

    def song_means(self, rows: Sequence[int]) -> Tensor:
        """Mean of the lines of every clip in ``rows`` that has some, one row a kind of text, [n, text_features]."""
        means = [
            self._lines[kind][row].vectors.mean(0) for kind in TAUGHT_TEXT for row in rows if self.has_lines(row, kind)
        ]
        return torch.from_numpy(np.stack(means)) if means else torch.zeros(0, LINE_FEATURES)

    def has_lines(self, row: int, kind: str) -> bool:
        return kind in self._lines and len(self._lines[kind][row]) > 0

    def _draw_places(self, rows: Tensor, ends: Tensor, rng: np.random.Generator, kept: int) -> tuple[Tensor, Tensor]:
        """The newest token of each moment and ``kept`` - 1 others of its context: places and ages, both [B, kept].

        The age of a token that is not there is negative.
        """
        others = rng.permuted(np.tile(np.arange(1, self.context_tokens), (len(rows), 1)), axis=1)[:, : kept - 1]
        ages = torch.from_numpy(np.pad(others, ((0, 0), (1, 0))))
        places = ends[:, None] - ages
        there = (places >= 0) & torch.from_numpy(self.with_audio)[rows].unsqueeze(1)
        return places.clamp(min=0), ages.masked_fill(~there, -1)

    def _draw_lines(self, row: int, t: float, rng: np.random.Generator, sampling: TextSampling) -> _KnownLines:
        kinds = [kind for kind in TAUGHT_TEXT if self.has_lines(row, kind)]
        if not kinds or (self.with_audio[row] and rng.random() < sampling.absent):
            return _known(NO_LINES, t, 0.0)
        kind = kinds[int(rng.integers(len(kinds)))]
        lines, delay_s = self._lines[kind][row], float(rng.uniform(*sampling.delay_s))
        if kind == "printed":  # a random place in the song
            t = float(lines.t1[rng.integers(len(lines))]) + delay_s
        known = _known(lines, t, delay_s)
        kept = rng.random(len(known.ages_s)) >= sampling.lost_lines
        kept[-1:] = True
        return _KnownLines(known.vectors[kept], known.weights[kept], known.ages_s[kept])


class _KnownLines(NamedTuple):
    vectors: NDArray[np.float32]
    weights: NDArray[np.float32]
    ages_s: NDArray[np.float32]


def _known(lines: ClipLines, t: float, delay_s: float) -> _KnownLines:
    """The newest lines that ended ``delay_s`` before ``t`` or earlier."""
    known = np.flatnonzero(lines.t1 + delay_s <= t)[-MAX_LINES:]
    return _KnownLines(lines.vectors[known], lines.reliability[known], (t - lines.t1[known]).astype(np.float32))


def _pad(texts: Sequence[_KnownLines]) -> TextInput:
    longest = max(len(text.ages_s) for text in texts)
    vectors, weights = torch.zeros(len(texts), longest, LINE_FEATURES), torch.zeros(len(texts), longest)
    ages_s = torch.zeros(len(texts), longest)
    for i, text in enumerate(texts):
        n = len(text.ages_s)
        vectors[i, :n] = torch.from_numpy(text.vectors)
        weights[i, :n] = torch.from_numpy(text.weights)
        ages_s[i, :n] = torch.from_numpy(text.ages_s)
    return TextInput(vectors, weights, ages_s)


def _labels(clips: Sequence[Clip], with_audio: NDArray[np.bool_]) -> Labels:
    """Labels of the clips.

    What listeners said teaches the main task, and ratings of mood words only an order. Without any rated
    recording, mood words teach the main task.
    """
    nan = float("nan")
    rated = [clip.valence is not None and clip.arousal is not None and clip.teaches_emotion for clip in clips]
    by_listeners = [clip.rated_by == "listeners" for clip in clips]
    by_ear = _listeners_rated(clips, with_audio)

    def ratings(chosen: Sequence[bool]) -> Tensor:
        pairs = zip(clips, chosen, strict=True)
        return torch.tensor([(c.valence, c.arousal) if counts else (nan, nan) for c, counts in pairs])

    return Labels(
        emotion=ratings([r and (by or not by_ear) for r, by in zip(rated, by_listeners, strict=True)]),
        mood=ratings([r and by_ear and not by for r, by in zip(rated, by_listeners, strict=True)]),
        category=torch.tensor([-1 if clip.category is None else clip.category for clip in clips]),
        cluster=torch.tensor([-1 if clip.cluster is None else clip.cluster for clip in clips]),
        dynamic=torch.full((len(clips), 2), nan),  # a clip as a whole has none
    )


def _listeners_rated(clips: Sequence[Clip], with_audio: NDArray[np.bool_]) -> bool:
    """Whether listeners rated any recording, as a whole or from moment to moment."""
    return any(
        clip.dynamic is not None or (clip.rated_by == "listeners" and None not in (clip.valence, clip.arousal))
        for clip, audible in zip(clips, with_audio.tolist(), strict=True)
        if audible
    )


def _dynamic(clips: Sequence[Clip], longest: int) -> Tensor:
    """What listeners said at the end of each token, [clips, longest, 2]; NaN where they said nothing."""
    ratings = torch.full((len(clips), longest, 2), float("nan"))
    for row, clip in enumerate(clips):
        for rating in clip.dynamic.ratings if clip.dynamic else ():
            place = round(rating.t_s / TOKEN_S) - 1
            if 0 <= place < longest:
                ratings[row, place] = torch.tensor([rating.valence, rating.arousal])
    return ratings


# From corpus folders to a set of clips.


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What training reads.

    Attributes:
        data: The clips.
        backbone: The audio network that their tokens came from.
    """

    data: ClipSet
    backbone: Backbone


def load_backbone(path: Path, clips: Sequence[Clip], cache: Path) -> Backbone:
    """Read the backbone of a checkpoint's folder; or the published weights from an ``.npz``, made slim.

    To make them slim, the whole network reads all clips once.

    Raises:
        CheckpointError: Neither can be read.
        SourceError: A clip cannot be decoded.
    """
    if path.is_dir():
        return load_checkpoint(path).backbone
    whole = load_musicnn(path)
    announce(f"Running the whole network of {path.name} to find the filters that never fire")
    tokens = cached_tokens(clips, whole, cache)
    return slim(whole, living_channels(tokens.values(), whole))


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
    """Load corpora with their audio tokens and lyric lines; notes on them go to stderr.

    Args:
        corpora: Their folders, one or more.
        backbone: See ``load_backbone``.
        cache: Folder for what is computed once; an interrupted run continues there.
        corpus_format: Their layout; see ``open_corpus``.
        transcripts: Whether clips of which the corpus has no transcript are transcribed.
        copies: Degraded copies of every clip to train on; see ``training.augment``.
        words: Files of songs without audio; see ``training.lyrics``.
        corrupted: Adds kinds of text to measure on, with these shares of the words replaced.
        sounds: Adds degraded sound to measure on, names of ``training.augment.CONDITIONS``.

    Raises:
        CorpusError: A corpus cannot be read, or two of them do not fit together.
        CheckpointError: The backbone cannot be read.
        SourceError: A clip cannot be decoded.
        LyricsError: The sentence encoder cannot be loaded.
    """
    found = together([open_corpus(corpus, corpus_format) for corpus in corpora])
    _announce_all(found.notes)
    word_sets = [load_words(path) for path in words]  # first, so that a wrong path fails early
    network = load_backbone(backbone, found.clips, cache)
    tokens = cached_tokens(found.clips, network, cache)
    degraded = degraded_tokens(found.clips, network, cache, copies=copies) if copies else {}
    troubles = {one: conditioned_tokens(found.clips, network, cache, one) for one in sounds}
    lines = _read_lines(_transcribed(found, cache, transcripts=transcripts), cache, corrupted)
    lines["printed"] = lines["printed"] | _songs_without_audio(word_sets, cache)
    components = audio_components(list(tokens.values()), cache)
    data = ClipSet(
        found.clips,
        _reduced(tokens, components),
        lines,
        {word_set.name: word_set.songs for word_set in word_sets},
        degraded={name: [reduce(copy, components) for copy in of_clip] for name, of_clip in degraded.items()},
        streamed=_streamed(tokens, components),
        sounds={one: _streamed(of_sound, components) for one, of_sound in troubles.items()},
        components=components,
    )
    return Prepared(data=data, backbone=network)


def _songs_without_audio(word_sets: Sequence[WordSet], cache: Path) -> dict[str, ClipLines]:
    """Lines of the songs of all sets, by clip id."""
    lines: dict[str, ClipLines] = {}
    for word_set in word_sets:
        announce(word_set.note)
        lines |= encode_songs(word_set.lines, cache, word_set.name)
    return lines


def _reduced(
    tokens: Mapping[str, NDArray[np.float16]], components: PrincipalComponents
) -> dict[str, NDArray[np.float16]]:
    return {name: reduce(of_clip, components) for name, of_clip in tokens.items()}


def _streamed(
    tokens: Mapping[str, NDArray[np.float16]], components: PrincipalComponents
) -> dict[str, NDArray[np.float16]]:
    return _reduced({name: as_streamed(of_clip) for name, of_clip in tokens.items()}, components)


def prepare_to_measure(
    corpora: Sequence[Path], checkpoint: Checkpoint, cache: Path, *, corpus_format: str = AUTO, transcripts: bool = True
) -> ClipSet:
    """Load clips with the tokens of a checkpoint, and whatever labels they have; folds and artists do not matter.

    Args:
        corpora: Their folders, one or more.
        checkpoint: Whose networks and components make the tokens.
        cache: Folder for what is computed once.
        corpus_format: Their layout; see ``open_corpus``.
        transcripts: Whether clips without a transcript are transcribed.

    Raises:
        CorpusError: A corpus cannot be read, two have a clip of one id, or no clip has a label.
        SourceError: A clip cannot be decoded.
        LyricsError: The sentence encoder cannot be loaded.
    """
    found = together([open_corpus(corpus, corpus_format, folds=False) for corpus in corpora], folds=False)
    if not any(_labelled(clip) for clip in found.clips):
        where = " and ".join(map(str, corpora))
        hint = next((f"; {note}" for note in found.notes if UNREAD in note), "")
        raise CorpusError(f"no clip of {where} has a quadrant, a cluster, or valence and arousal to compare with{hint}")
    _announce_all(found.notes)
    tokens = cached_tokens(found.clips, checkpoint.backbone, cache)
    lines = _read_lines(_transcribed(found, cache, transcripts=transcripts), cache, ())
    components = JointNetwork.from_model(checkpoint.joint).components
    return ClipSet(found.clips, _streamed(tokens, components), lines, components=components)


def _labelled(clip: Clip) -> bool:
    rated = clip.valence is not None and clip.arousal is not None
    return rated or clip.dynamic is not None or clip.category is not None or clip.cluster is not None


def _announce_all(notes: Sequence[str]) -> None:
    for note in notes:
        announce(note)


def _transcribed(found: Corpus, cache: Path, *, transcripts: bool) -> Corpus:
    return with_transcripts(found, cache, whole_clips(cpu_threads=CORES)) if transcripts else found


def _read_lines(found: Corpus, cache: Path, corrupted: Sequence[float]) -> dict[str, dict[str, ClipLines]]:
    """The lyric lines of every kind by clip; with shares of their words replaced, as kinds of their own."""
    readers = {"recognised": recognised_lines, "printed": printed_lines}
    lines = {kind: read(found, cache) for kind, read in readers.items()}
    for share in corrupted:
        lines |= {corrupted_kind(kind, share): read(found, cache, corrupted=share) for kind, read in readers.items()}
    return lines
