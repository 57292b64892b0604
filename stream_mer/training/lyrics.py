"""Lyrics for training: recognised in clips, printed, and of songs without audio.

*Recognised* words have errors and times, as on a live stream; a corpus without transcripts is transcribed once, and the
result is cached. *Printed* words have no times. *Songs without audio* come from a CSV file in UTF-8, one row a song:
the words in ``lyrics`` or ``lyrics_with_time_tags`` (LRC or plain text; one long row is cut at its commas) or in
``text`` (a sentence); the label in ``quadrant`` (Q1..Q4), in ``emotion`` (a word, see ``QUADRANT_OF``), or as ratings
in ``valence`` and ``arousal`` (-1..1) or ``valence_1_5`` and ``arousal_1_5``. Rows without a usable label are skipped
and counted.
"""

from __future__ import annotations

import csv
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import CorpusError, LyricsError
from stream_mer.lyrics.files import parse_lyrics
from stream_mer.lyrics.lines import join_words, split_lines
from stream_mer.lyrics.text_features import LINE_FEATURES, LyricStyle, SentenceEncoder, line_vector
from stream_mer.lyrics.transcript import (
    EMPTY_TRANSCRIPT,
    FilterSettings,
    Recogniser,
    Segment,
    Transcript,
    filter_transcript,
)
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.training.corpus import Clip, Corpus, balanced_folds
from stream_mer.training.progress import announce, track
from stream_mer.training.tokens import audio_fingerprint, read_audio
from stream_mer.types import CATEGORIES, LyricWord
from stream_mer.utils.files import replacing


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
    wanted = {clip.clip_id: _transcript_lines(clip.clip_id, corpus) for clip in _heard(corpus)}
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


def _transcript_lines(clip_id: str, corpus: Corpus) -> list[TimedText]:
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


QUADRANT_OF = {"happy": 0, "angry": 1, "fear": 1, "sad": 2, "relaxed": 3, "calm": 3, "peaceful": 3}
"""Index into ``CATEGORIES`` of the emotion words that lie clearly in one of Russell's quadrants."""

_TEXT_COLUMNS = ("lyrics", "lyrics_with_time_tags", "text")
_CLAUSE = re.compile(r"[,，。]+")
_LONGEST_LINE = 200  # characters; a row longer than this that has no line breaks is a whole song in one row


@dataclass(frozen=True, slots=True, kw_only=True)
class WordSet:
    """The songs of one file.

    Attributes:
        name: The file's name without its ending.
        songs: As clips without audio; their folds are dealt out.
        lines: By clip id.
        note: How many songs were taken and left out.
    """

    name: str
    songs: tuple[Clip, ...]
    lines: Mapping[str, Sequence[TimedText]]
    note: str


def load_words(path: Path) -> WordSet:
    """Read a file of songs.

    Raises:
        CorpusError: It is missing, is no CSV, lacks a column, or no row of it can be used.
    """
    try:
        csv.field_size_limit(1 << 24)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or ()
            column = next((name for name in _TEXT_COLUMNS if name in columns), None)
            if column is None:
                raise CorpusError(f"{path} has no column {' or '.join(_TEXT_COLUMNS)} (see docs/TRAINING.md)")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"cannot read {path}: {error}; it must be CSV in UTF-8") from error
    return _word_set(path, column, rows)


def _word_set(path: Path, column: str, rows: Sequence[Mapping[str, str]]) -> WordSet:
    lines: dict[str, Sequence[TimedText]] = {}
    labels: dict[str, tuple[int | None, float | None, float | None]] = {}
    seen: set[str] = set()
    for i, row in enumerate(rows):
        clip_id = f"{path.stem}-{row.get('id') or i}"
        label, words = _label(path, i, row), _lines(row[column])
        text = " ".join(line.text for line in words).casefold()
        if label is None or not words or text in seen:
            continue
        if clip_id in lines:
            raise CorpusError(f"{path}, row {i + 1}: the id {clip_id!r} stands there twice; ids must be unique")
        seen.add(text)
        lines[clip_id], labels[clip_id] = words, label
    if not lines:
        raise CorpusError(f"{path}: no row has both words and a label that can be used (see docs/TRAINING.md)")
    folds = balanced_folds(list(lines), [labels[clip_id][0] for clip_id in lines])
    songs = tuple(
        Clip(
            clip_id=clip_id,
            audio=path,
            artist="",
            fold=fold,
            category=labels[clip_id][0],
            valence=labels[clip_id][1],
            arousal=labels[clip_id][2],
            rated_by="listeners",
        )
        for clip_id, fold in zip(lines, folds, strict=True)
    )
    left_out = len(rows) - len(lines)
    note = f"{path.name}: {len(lines)} songs of words alone" + (
        f", {left_out} left out (no usable label, no words, or the words of another row)" if left_out else ""
    )
    return WordSet(name=path.stem, songs=songs, lines=lines, note=note)


def _label(path: Path, i: int, row: Mapping[str, str]) -> tuple[int | None, float | None, float | None] | None:
    """Category, valence and arousal of a row; None where it has neither."""
    quadrant, emotion = row.get("quadrant", "").strip(), row.get("emotion", "").strip().lower()
    if quadrant:
        if quadrant not in {f"Q{k + 1}" for k in range(len(CATEGORIES))}:
            raise CorpusError(f"{path}, row {i + 1}: expected Q1 to Q{len(CATEGORIES)}, not {quadrant!r}")
        return int(quadrant[1]) - 1, None, None
    if emotion:
        return (QUADRANT_OF[emotion], None, None) if emotion in QUADRANT_OF else None
    try:
        if row.get("valence_1_5"):
            valence, arousal = ((float(row[name]) - 3) / 2 for name in ("valence_1_5", "arousal_1_5"))
        elif row.get("valence"):
            valence, arousal = float(row["valence"]), float(row["arousal"])
        else:
            return None
    except (KeyError, ValueError) as error:
        raise CorpusError(f"{path}, row {i + 1}: valence and arousal must both be numbers: {error!r}") from error
    if not (-1 <= valence <= 1 and -1 <= arousal <= 1):
        raise CorpusError(f"{path}, row {i + 1}: valence and arousal lie in -1..1, or in 1..5 (see docs/TRAINING.md)")
    return None, valence, arousal


def _lines(text: str) -> list[TimedText]:
    """The lines of a song; without times of their own they stand a usual length apart."""
    if len(text) > _LONGEST_LINE and "\n" not in text.strip():
        text = "\n".join(_CLAUSE.split(text))
    parsed = [line for line in parse_lyrics(text) if line.text.strip()]
    if any(line.t1 > 0 for line in parsed):
        return [TimedText(line.text, line.t0, line.t1, 1.0) for line in parsed]
    ends = [PRINTED_LINE_S * (i + 1) for i in range(len(parsed))]
    return [TimedText(line.text.strip(), end, end, 1.0) for line, end in zip(parsed, ends, strict=True)]


_log = logging.getLogger(__name__)

MODEL = "base"
_FOLDER = f"transcripts-whisper-{MODEL}-1"  # the number counts up whenever a row would come out differently
_PACED_CLIPS = 3  # the time that is left is estimated after so many: the first one alone may hold no voice

Row = dict[str, Any]


def whole_clips(*, cpu_threads: int) -> Recogniser:
    """Whisper base with the settings of the transcripts that the shipped checkpoint learned from.

    8-bit, greedy, temperature 0, no voice detector, and all of Whisper's 30 s encoded, unlike on a live stream.
    """
    return WhisperRecogniser(MODEL, cpu_threads=cpu_threads, encode_s=30.0)


def with_transcripts(corpus: Corpus, cache: Path, recogniser: Recogniser) -> Corpus:
    """Add a transcript of every clip that has none; the corpus's own are left as they are.

    One file a clip is kept in ``cache``, so that an interrupted run goes on where it stopped; nothing is written to the
    corpus. Where the recogniser cannot be had, or fails on a clip, a warning says so, and the clip goes without.

    Raises:
        SourceError: A clip cannot be decoded.
    """
    missing = [clip for clip in corpus.clips if clip.clip_id not in corpus.transcripts]
    if not missing:
        return corpus
    folder = cache / _FOLDER
    marks = {clip.clip_id: audio_fingerprint(clip.audio, clip.middle_s) for clip in missing}
    files = {clip_id: folder / f"{clip_id}-{mark}.json" for clip_id, mark in marks.items()}
    rows = {clip_id: row for clip_id, path in files.items() if (row := _cached_row(path)) is not None}
    todo = [clip for clip in missing if clip.clip_id not in rows]
    if todo and _ready(recogniser, len(todo)):
        folder.mkdir(parents=True, exist_ok=True)
        rows |= _listen(todo, files, recogniser)
    return replace(corpus, transcripts={**rows, **corpus.transcripts})


def transcript_row(clip_id: str, transcript: Transcript) -> Row:
    """A transcript as a row of ``transcripts.jsonl``: times to 10 ms, which is Whisper's resolution."""
    return {
        "clip_id": clip_id,
        "language": transcript.language,
        "language_probability": round(transcript.language_probability, 3),
        "segments": [_segment_row(segment) for segment in transcript.segments if segment.words],
    }


def _segment_row(segment: Segment) -> Row:
    return {
        "start": round(segment.words[0].t0, 2),
        "end": round(segment.words[-1].t1, 2),
        "text": join_words(segment.words),
        "no_speech_prob": round(segment.no_speech_prob, 3),
        "avg_logprob": round(segment.avg_logprob, 3),
        "compression_ratio": round(segment.compression_ratio, 2),
        "words": [
            [round(word.t0, 2), round(word.t1, 2), word.text, round(word.probability, 2)] for word in segment.words
        ],
    }


def _ready(recogniser: Recogniser, n: int) -> bool:
    try:
        recogniser.load()
    except LyricsError as error:
        _log.warning("no transcripts for %d clips, so they are taken to be without words: %s", n, error)
        return False
    return True


def _listen(todo: Sequence[Clip], files: Mapping[str, Path], recogniser: Recogniser) -> dict[str, Row]:
    """Transcribe clips and keep each one as soon as it is done."""
    rows: dict[str, Row] = {}
    failed: list[str] = []
    begun_s = time.monotonic()
    announce(f"{len(todo)} clips have no transcript: they are transcribed once (--no-transcripts skips this)")
    for done, clip in enumerate(track(todo, "Transcripts", total=len(todo))):
        if done == _PACED_CLIPS:
            announce(_time_left((time.monotonic() - begun_s) / done, len(todo) - done))
        samples = read_audio(clip.audio, clip.middle_s)
        try:
            heard = recogniser.transcribe(samples) if len(samples) else EMPTY_TRANSCRIPT
        except LyricsError as error:
            failed.append(f"{clip.clip_id}: {error}")
            continue
        row = rows[clip.clip_id] = transcript_row(clip.clip_id, heard)
        part = files[clip.clip_id].with_suffix(".part")
        part.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
        part.replace(files[clip.clip_id])  # whole or not at all
    if failed:
        _log.warning(
            "the recogniser failed on %d of %d clips, which are taken to be without words; %s",
            *(len(failed), len(todo), failed[0]),
        )
    return rows


def _time_left(pace_s: float, n: int) -> str:
    about_min = max(1, round(pace_s * n / 60))
    return (
        f"at {pace_s:.1f} s a clip, the other {n} take about {about_min} min; "
        "interrupt it when you like, the same command goes on"
    )


def _cached_row(path: Path) -> Row | None:
    """The row that an earlier run kept; None if there is none, or it is damaged."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and "segments" in row else None
