"""The words of every clip as the text branch will meet them: recognised, with errors and times; and printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import CorpusError
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.lyrics.lines import join_words, split_lines
from stream_mer.lyrics.text_features import LINE_FEATURES, LyricStyle, SentenceEncoder, line_vector
from stream_mer.lyrics.transcript import FilterSettings, Segment, Transcript, filter_transcript
from stream_mer.training.corpus import Clip, Corpus
from stream_mer.training.progress import track
from stream_mer.types import LyricWord
from stream_mer.utils.file_writing import replacing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipLines:
    """The lines of one clip.

    Attributes:
        vectors: What the text branch reads of each line, [n, LINE_FEATURES].
        t1: End of each line, seconds from the clip's start; for printed words, the line's number times a usual length.
        reliability: Mean word probability, [n]; 1 for printed words.
    """

    vectors: NDArray[np.float32]
    t1: NDArray[np.float32]
    reliability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.t1)


NO_LINES = ClipLines(
    vectors=np.zeros((0, LINE_FEATURES), np.float32), t1=np.zeros(0, np.float32), reliability=np.zeros(0, np.float32)
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
    return encode_songs(wanted, cache, "recognised", corrupted)


def printed_lines(corpus: Corpus, cache: Path, *, corrupted: float = 0.0) -> dict[str, ClipLines]:
    """Lines of every clip that has printed lyrics, by clip id; see ``recognised_lines``."""
    wanted = {clip.clip_id: _printed(clip.lyrics) for clip in corpus.clips if clip.lyrics is not None}
    return encode_songs(wanted, cache, "printed", corrupted)


class TimedText(NamedTuple):
    """One line: its words, its times in seconds (``t0`` = ``t1`` where it has none of its own), its reliability."""

    text: str
    t0: float
    t1: float
    reliability: float


def _heard(corpus: Corpus) -> list[Clip]:
    return [clip for clip in corpus.clips if clip.clip_id in corpus.transcripts]


def _read(clip_id: str, corpus: Corpus) -> list[TimedText]:
    try:
        return _recognised(corpus.transcripts[clip_id])
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(
            f"{corpus.root / 'transcripts.jsonl'}: the row of {clip_id} is malformed: {error!r} (see docs/TRAINING.md)"
        ) from error


def _recognised(row: Mapping[str, Any]) -> list[TimedText]:
    words = filter_transcript(_transcript(row), FilterSettings())
    return [
        TimedText(join_words(line), line[0].t0, line[-1].t1, float(np.mean([word.probability for word in line])))
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


def _printed(path: Path) -> list[TimedText]:
    lines = [line.text for line in parse_lyrics(path.read_text(encoding="utf-8-sig", errors="replace"))]
    sung = [line for line in lines if not line.startswith("[") and not _CREDIT.match(line)]
    ends = [PRINTED_LINE_S * (i + 1) for i in range(len(sung))]
    return [TimedText(line, end, end, 1.0) for line, end in zip(sung, ends, strict=True)]


def _corrupt(wanted: Mapping[str, Sequence[TimedText]], share: float) -> dict[str, list[TimedText]]:
    """Replace this share of the words by words drawn from all of them; always the same ones."""
    vocabulary = [word for lines in wanted.values() for line in lines for word in line.text.split()]
    rng = np.random.default_rng(int(1000 * share))

    def corrupt(text: str) -> str:
        words = text.split()
        drawn = rng.integers(len(vocabulary), size=len(words))
        return " ".join(vocabulary[k] if rng.random() < share else word for k, word in zip(drawn, words, strict=True))

    return {clip_id: [line._replace(text=corrupt(line.text)) for line in lines] for clip_id, lines in wanted.items()}


def encode_songs(
    wanted: Mapping[str, Sequence[TimedText]], folder: Path, kind: str, corrupted: float = 0.0
) -> dict[str, ClipLines]:
    """Turn the lines of songs into what the text branch reads; every distinct text is encoded once, and kept."""
    cache, title = folder / f"lines-{kind}.npz", f"{kind.capitalize()} lines"
    if corrupted:
        wanted = _corrupt(wanted, corrupted)
        cache, title = folder / f"lines-{kind}-corrupted-{corrupted:g}.npz", f"{title}, {corrupted:.0%} corrupted"
    known = _read_cache(cache)
    texts = {line.text for lines in wanted.values() for line in lines}
    todo = sorted(texts - known.keys())
    if todo:
        encoder = SentenceEncoder()
        for text in track(todo, title, total=len(todo)):
            known[text] = encoder.encode(text)
        cache.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(known)
        with replacing(cache) as file:
            np.savez(file, texts=np.array(names), vectors=np.stack([known[name] for name in names]))
    return {clip_id: _clip_lines(lines, known) for clip_id, lines in wanted.items()}


def _read_cache(cache: Path) -> dict[str, NDArray[np.float32]]:
    if not cache.is_file():
        return {}
    with np.load(cache, allow_pickle=False) as archive:
        return dict(zip(archive["texts"].tolist(), archive["vectors"], strict=True))


def _clip_lines(lines: Sequence[TimedText], embeddings: Mapping[str, NDArray[np.float32]]) -> ClipLines:
    if not lines:
        return NO_LINES
    style = LyricStyle()
    return ClipLines(
        vectors=np.stack([line_vector(embeddings[line.text], style, line.text, line.t1 - line.t0) for line in lines]),
        t1=np.array([line.t1 for line in lines], np.float32),
        reliability=np.array([line.reliability for line in lines], np.float32),
    )
