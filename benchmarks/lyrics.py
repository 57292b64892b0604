"""Word error rate and lag of sung words through `stream-mer tag`.

Wants songs with timed words: a folder with DIR/*/audio.opus and DIR/*/lyrics.tsv (start_s, end_s, word, tab-separated,
no heading), given by --songs or the environment variable STREAM_MER_SONGS. Each song goes through the engine as a file
does in `stream-mer tag`; a sink notes when each line was published, on the sample clock: a line goes out with the next
frame. In the same run the same recogniser with the same filters hears the whole song at once, which no live listener
can have: the ceiling to compare with.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.checkpoints import open_checkpoint
from benchmarks.report import Cell, Column, Measurement, Table
from benchmarks.word_scoring import (
    Lags,
    PublishedLine,
    SungWord,
    WordErrors,
    count_errors,
    final_words,
    measure_lags,
    percentile,
)
from stream_mer.app import Engine, EngineSettings
from stream_mer.errors import SettingError
from stream_mer.lyrics.filters import filter_transcript
from stream_mer.lyrics.opening import LyricsSettings
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.sources.file import FileSource
from stream_mer.types import SAMPLE_RATE_HZ, AudioChunk, EmotionFrame, LyricLine, Samples, StreamEvent

WARM_UP_S = 8.0  # of the first song: loads the weights, so that no song pays for it

OPTIONS = (
    click.Option(
        ["--songs"],
        type=click.Path(path_type=Path),
        envvar="STREAM_MER_SONGS",
        show_envvar=True,
        metavar="DIR",
        help="Songs with timed words.",
    ),
    click.Option(
        ["--limit"], type=click.IntRange(min=1), default=3, show_default=True, help="Songs, by name; a minute each."
    ),
    click.Option(["--asr-model"], default=LyricsSettings().model, show_default=True, help="Whisper model."),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """A song with its reference."""

    name: str
    audio: Path
    words: tuple[SungWord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What one song gave."""

    name: str
    duration_s: float
    streamed: WordErrors
    whole: WordErrors
    lags: Lags
    streamed_took_s: float
    whole_took_s: float


class Listener:
    """Notes what a live listener would have got, and when. Implements ``ports.EventSink``."""

    def __init__(self) -> None:
        self.published: list[PublishedLine] = []
        self.duration_s = 0.0
        self._waiting: list[LyricLine] = []

    def publish(self, event: StreamEvent) -> None:
        """Take one event: a line was there when the frame after it was."""
        if isinstance(event, LyricLine):
            self._waiting.append(event)
        elif isinstance(event, EmotionFrame):
            self.duration_s = event.t1
            self._note(event.t1)

    def finish(self) -> None:
        """The song ended; what was not published yet came after it."""
        self._note(None)

    def _note(self, at_s: float | None) -> None:
        self.published.extend(PublishedLine(line=line, at_s=at_s) for line in self._waiting)
        self._waiting.clear()


class _Opening:
    """The first seconds of a song as a source, to load everything before the clock runs."""

    name = "warm-up"
    live = False

    def __init__(self, path: Path) -> None:
        self._source = FileSource(path)

    def chunks(self) -> Iterator[AudioChunk]:
        for chunk in self._source.chunks():
            if chunk.end_sample > WARM_UP_S * SAMPLE_RATE_HZ:
                return
            yield chunk

    def close(self) -> None:
        self._source.close()


def measure(*, songs: Path | None, limit: int, asr_model: str, model: str | None = None) -> Measurement:
    """Recognise ``limit`` songs, each streamed and as a whole.

    Raises:
        SettingError: No folder was given, or there is no song in it.
        LyricsError: The recogniser's weights cannot be used.
    """
    chosen = find_songs(songs)[:limit]
    lyrics = LyricsSettings(model=asr_model)
    recogniser = WhisperRecogniser(asr_model, device=lyrics.device, cpu_threads=lyrics.cpu_threads)
    recogniser.load()
    with open_checkpoint(model) as found:
        engine = Engine(EngineSettings(model=str(found.folder), lyrics=lyrics))
        engine.pipeline(_Opening(chosen[0].audio), Listener(), in_real_time=False).run()
        results = [_measure_song(engine, recogniser, song) for song in chosen]
    lags_note = (
        f"Whisper {asr_model}, {lyrics.cpu_threads} threads. Lags are audio time from the end of a sung word to the "
        f"frame that its line was published with (a frame every {engine.settings.window.hop_s:g} s), and include the "
        f"{lyrics.decode_s:g} s that a decode is taken to last."
    )
    return Measurement(
        tables=_tables(results),
        notes=(
            found.note,
            lags_note,
            "Real-time factor: time taken over the song's length, everything included; below 1 keeps up.",
        ),
        threads=lyrics.cpu_threads,
    )


def find_songs(folder: Path | None) -> list[Song]:
    """Read the songs of a folder, by name.

    Raises:
        SettingError: There is no folder, no song in it, or a reference that cannot be read.
    """
    layout = "songs as DIR/*/audio.opus with lyrics.tsv (start_s, end_s, word)"
    if folder is None:
        raise SettingError(f"this benchmark wants {layout}: give --songs DIR or set STREAM_MER_SONGS")
    if not folder.is_dir():
        raise SettingError(f"there is no folder {folder}: give --songs DIR with {layout}")
    found = [
        Song(name=path.parent.name, audio=path, words=_read_words(path.with_name("lyrics.tsv")))
        for path in sorted(folder.glob("*/audio.opus"))
        if path.with_name("lyrics.tsv").is_file()
    ]
    if not found:
        raise SettingError(f"there is no song in {folder}: give --songs DIR with {layout}")
    return found


def _read_words(path: Path) -> tuple[SungWord, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
        words = tuple(SungWord(t0=float(t0), t1=float(t1), text=text) for t0, t1, text in rows)
    except (OSError, ValueError) as error:
        raise SettingError(f"cannot read {path}: {error}; each line must be start_s, end_s, word with tabs") from error
    if not words:
        raise SettingError(f"{path} holds no words; leave the song out or give its words")
    return words


def _measure_song(engine: Engine, recogniser: WhisperRecogniser, song: Song) -> _Result:
    listener = Listener()
    started = time.perf_counter()
    engine.pipeline(FileSource(song.audio), listener, in_real_time=False).run()
    streamed_took_s = time.perf_counter() - started
    listener.finish()

    started = time.perf_counter()
    samples = _whole(song.audio)
    transcript = recogniser.transcribe(samples)
    whole_took_s = time.perf_counter() - started

    heard = final_words(listener.published)
    sung = [word.text for word in song.words]
    lyrics = engine.settings.lyrics
    return _Result(
        name=song.name,
        duration_s=listener.duration_s,
        streamed=count_errors(sung, [word.text for word in heard]),
        whole=count_errors(sung, [word.text for word in filter_transcript(transcript, lyrics.tracker.filters)]),
        lags=measure_lags(song.words, heard),
        streamed_took_s=streamed_took_s,
        whole_took_s=whole_took_s,
    )


def _whole(path: Path) -> Samples:
    """All of a file's audio, gaps as silence."""
    chunks = list(FileSource(path).chunks())
    samples = np.zeros(chunks[-1].end_sample, np.float32)
    for chunk in chunks:
        samples[chunk.start_sample : chunk.end_sample] = chunk.samples
    return samples


_SONG = Column(key="song", title="song")

_ERROR_COLUMNS = (
    _SONG,
    Column(key="duration_s", title="length s", digits=0),
    Column(key="words", title="words"),
    Column(key="wer", title="WER", digits=3),
    Column(key="substituted", title="substituted"),
    Column(key="deleted", title="deleted"),
    Column(key="inserted", title="inserted"),
    Column(key="whole_wer", title="WER, whole song at once", digits=3),
    Column(key="wer_over_whole", title="ratio"),
)
_TIME_COLUMNS = (
    _SONG,
    Column(key="timed_words", title="right words"),
    Column(key="shown_p50_s", title="shown after s, p50", digits=1),
    Column(key="shown_p90_s", title="p90", digits=1),
    Column(key="committed_p50_s", title="final after s, p50", digits=1),
    Column(key="committed_p90_s", title="p90", digits=1),
    Column(key="real_time_factor", title="real-time factor"),
    Column(key="whole_real_time_factor", title="whole song at once"),
    Column(key="real_time_over_whole", title="ratio", digits=1),
)


def _tables(results: Sequence[_Result]) -> tuple[Table, Table]:
    rows = [*(_row(result) for result in results), _pooled_row(results)]
    return (
        _table(rows, "errors", "Sung words as `stream-mer tag` hears them", _ERROR_COLUMNS),
        _table(rows, "times", "How late they are, and what it takes", _TIME_COLUMNS),
    )


def _table(rows: Sequence[Mapping[str, Cell]], key: str, title: str, columns: tuple[Column, ...]) -> Table:
    chosen = tuple({column.key: row[column.key] for column in columns} for row in rows)
    return Table(key=key, title=title, columns=columns, rows=chosen)


def _row(result: _Result) -> dict[str, Cell]:
    errors, lags = result.streamed, result.lags
    return {
        "song": result.name,
        "duration_s": result.duration_s,
        "words": errors.words,
        "wer": errors.rate,
        "substituted": errors.substituted,
        "deleted": errors.deleted,
        "inserted": errors.inserted,
        "whole_wer": result.whole.rate,
        "wer_over_whole": errors.rate / result.whole.rate if result.whole.rate else None,
        "timed_words": len(lags.shown_s),
        "shown_p50_s": percentile(lags.shown_s, 50),
        "shown_p90_s": percentile(lags.shown_s, 90),
        "committed_p50_s": percentile(lags.committed_s, 50),
        "committed_p90_s": percentile(lags.committed_s, 90),
        "real_time_factor": result.streamed_took_s / result.duration_s,
        "whole_real_time_factor": result.whole_took_s / result.duration_s,
        "real_time_over_whole": result.streamed_took_s / result.whole_took_s,
    }


def _pooled_row(results: Sequence[_Result]) -> dict[str, Cell]:
    """All songs as one: errors and lags pooled over their words; the real-time factors are medians."""
    pooled = _Result(
        name="all",
        duration_s=sum(result.duration_s for result in results),
        streamed=_sum_errors([result.streamed for result in results]),
        whole=_sum_errors([result.whole for result in results]),
        lags=Lags(
            [lag for result in results for lag in result.lags.shown_s],
            [lag for result in results for lag in result.lags.committed_s],
        ),
        streamed_took_s=sum(result.streamed_took_s for result in results),
        whole_took_s=sum(result.whole_took_s for result in results),
    )
    factors = ("real_time_factor", "whole_real_time_factor", "real_time_over_whole")
    rows = [_row(result) for result in results]
    return _row(pooled) | {factor: float(np.median([row[factor] for row in rows])) for factor in factors}


def _sum_errors(errors: Sequence[WordErrors]) -> WordErrors:
    return WordErrors(*(sum(counts) for counts in zip(*errors, strict=True)))
