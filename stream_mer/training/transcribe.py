"""What the recogniser hears in the clips of a corpus that brings no transcripts; listened to once and kept."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stream_mer.errors import LyricsError
from stream_mer.lyrics.lines import join_words
from stream_mer.lyrics.transcript import EMPTY_TRANSCRIPT, Recogniser, Segment, Transcript
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.training.corpus import Clip, Corpus
from stream_mer.training.progress import announce, track
from stream_mer.training.tokens import audio_fingerprint, read_audio

_log = logging.getLogger(__name__)

MODEL = "base"
_FOLDER = f"transcripts-whisper-{MODEL}-1"  # the number counts up whenever a row would come out differently
_PACED_CLIPS = 3  # the time that is left is told after so many: the first one alone may hold no voice

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
    rows = {clip_id: row for clip_id, path in files.items() if (row := _read(path)) is not None}
    todo = [clip for clip in missing if clip.clip_id not in rows]
    if todo and _ready(recogniser, len(todo)):
        folder.mkdir(parents=True, exist_ok=True)
        rows |= _listen(todo, files, recogniser)
    return replace(corpus, transcripts={**rows, **corpus.transcripts})


def transcript_row(clip_id: str, transcript: Transcript) -> Row:
    """A transcript as a row of ``transcripts.jsonl``: times to 10 ms, which is all that Whisper tells."""
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
    announce(f"{len(todo)} clips have no transcript: the recogniser listens to them once (--no-transcripts skips this)")
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


def _read(path: Path) -> Row | None:
    """The row that an earlier run kept; None if there is none, or it is damaged."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) and "segments" in row else None
