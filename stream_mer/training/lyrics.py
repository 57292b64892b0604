"""The words of every clip as the text branch will meet them: recognised, with errors and times; and printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import CorpusError
from stream_mer.lyrics.encoder import SentenceEncoder
from stream_mer.lyrics.filters import FilterSettings, filter_transcript
from stream_mer.lyrics.known import parse_lyrics
from stream_mer.lyrics.lines import join_words, split_lines
from stream_mer.lyrics.transcript import Segment, Transcript
from stream_mer.training.corpus import Clip, Corpus
from stream_mer.training.progress import track
from stream_mer.types import LyricWord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipLines:
    """The lines of one clip.

    Attributes:
        vectors: Sentence embeddings, [n, 512].
        t1: End of each line, seconds from the clip's start; for printed words, the line's number times a usual length.
        reliability: Mean word probability, [n]; 1 for printed words.
    """

    vectors: NDArray[np.float32]
    t1: NDArray[np.float32]
    reliability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.t1)


NO_LINES = ClipLines(
    vectors=np.zeros((0, 512), np.float32), t1=np.zeros(0, np.float32), reliability=np.zeros(0, np.float32)
)
PRINTED_LINE_S = 4.0  # about the length of a sung line; printed lyrics have no times


def recognised_lines(corpus: Corpus, cache: Path, *, corrupted: float = 0.0) -> dict[str, ClipLines]:
    """Lines of every transcript of the corpus, by clip id; filtered and split as the live recogniser's words are.

    Args:
        corpus: The corpus.
        cache: Folder that keeps what is encoded.
        corrupted: Share of the words that are replaced by others of the same corpus, 0..1.

    Raises:
        CorpusError: A transcript is malformed.
        LyricsError: The sentence encoder cannot be loaded.
    """
    wanted = {clip.clip_id: _read(clip.clip_id, corpus) for clip in _heard(corpus)}
    return _encoded(wanted, cache, "recognised", corrupted)


def printed_lines(corpus: Corpus, cache: Path, *, corrupted: float = 0.0) -> dict[str, ClipLines]:
    """Lines of every clip that has printed lyrics, by clip id; see ``recognised_lines``."""
    wanted = {clip.clip_id: _printed(clip.lyrics) for clip in corpus.clips if clip.lyrics is not None}
    return _encoded(wanted, cache, "printed", corrupted)


_TimedText = tuple[str, float, float]  # text, end in seconds, reliability


def _heard(corpus: Corpus) -> list[Clip]:
    return [clip for clip in corpus.clips if clip.clip_id in corpus.transcripts]


def _read(clip_id: str, corpus: Corpus) -> list[_TimedText]:
    try:
        return _recognised(corpus.transcripts[clip_id])
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(
            f"{corpus.root / 'transcripts.jsonl'}: the row of {clip_id} is malformed: {error!r} (see docs/TRAINING.md)"
        ) from error


def _recognised(row: Mapping[str, Any]) -> list[_TimedText]:
    words = filter_transcript(_transcript(row), FilterSettings())
    return [
        (join_words(line), line[-1].t1, float(np.mean([word.probability for word in line])))
        for line in split_lines(words)
    ]


def _transcript(row: Mapping[str, Any]) -> Transcript:
    segments = tuple(
        Segment(
            words=tuple(LyricWord(t0=t0, t1=t1, text=text, probability=p) for t0, t1, text, p in segment["words"]),
            no_speech_prob=segment["no_speech_prob"],
            avg_logprob=segment["avg_logprob"],
            compression_ratio=segment["compression_ratio"],
        )
        for segment in row["segments"]
    )
    return Transcript(
        segments=segments, language=row["language"], language_probability=row.get("language_probability", 1.0)
    )


# Who wrote, composed, arranged or produced it: the first lines of many LRC files from Chinese services.
_CREDIT = re.compile(r"(作词|作詞|作曲|编曲|編曲|制作人|製作人)\s*[:：]")


def _printed(path: Path) -> list[_TimedText]:
    lines = [line.text for line in parse_lyrics(path.read_text(encoding="utf-8-sig", errors="replace"))]
    sung = [line for line in lines if not line.startswith("[") and not _CREDIT.match(line)]
    return [(line, PRINTED_LINE_S * (i + 1), 1.0) for i, line in enumerate(sung)]


def _corrupt(wanted: Mapping[str, Sequence[_TimedText]], share: float) -> dict[str, list[_TimedText]]:
    """Replace this share of the words by words drawn from all of them; always the same ones."""
    vocabulary = [word for lines in wanted.values() for text, _, _ in lines for word in text.split()]
    rng = np.random.default_rng(int(1000 * share))

    def corrupt(text: str) -> str:
        words = text.split()
        drawn = rng.integers(len(vocabulary), size=len(words))
        return " ".join(vocabulary[k] if rng.random() < share else word for k, word in zip(drawn, words, strict=True))

    return {clip_id: [(corrupt(text), t1, sure) for text, t1, sure in lines] for clip_id, lines in wanted.items()}


def _encoded(
    wanted: Mapping[str, Sequence[_TimedText]], folder: Path, kind: str, corrupted: float
) -> dict[str, ClipLines]:
    """Encode every distinct text once; the cache holds the vectors by text."""
    cache, title = folder / f"lines-{kind}.npz", f"{kind.capitalize()} lines"
    if corrupted:
        wanted = _corrupt(wanted, corrupted)
        cache, title = folder / f"lines-{kind}-corrupted-{corrupted:g}.npz", f"{title}, {corrupted:.0%} corrupted"
    known = _read_cache(cache)
    texts = {text for lines in wanted.values() for text, _, _ in lines}
    todo = sorted(texts - known.keys())
    if todo:
        encoder = SentenceEncoder()
        for text in track(todo, title, total=len(todo)):
            known[text] = encoder.encode(text)
        cache.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(known)
        np.savez(cache, texts=np.array(names), vectors=np.stack([known[name] for name in names]))
    return {clip_id: _clip_lines(lines, known) for clip_id, lines in wanted.items()}


def _read_cache(cache: Path) -> dict[str, NDArray[np.float32]]:
    if not cache.is_file():
        return {}
    with np.load(cache, allow_pickle=False) as archive:
        return dict(zip(archive["texts"].tolist(), archive["vectors"], strict=True))


def _clip_lines(lines: Sequence[_TimedText], vectors: Mapping[str, NDArray[np.float32]]) -> ClipLines:
    if not lines:
        return NO_LINES
    return ClipLines(
        vectors=np.stack([vectors[text] for text, _, _ in lines]),
        t1=np.array([t1 for _, t1, _ in lines], np.float32),
        reliability=np.array([reliability for _, _, reliability in lines], np.float32),
    )
