"""Live lyrics: word errors, lag, hallucinated words, and cost.

Wants songs with timed words: a folder with DIR/*/audio.opus and DIR/*/lyrics.tsv (start_s, end_s, word, tab-separated,
no heading), given by --songs or the environment variable STREAM_MER_SONGS. Each song is recognised in three ways:

streamed     by the whole pipeline, emotion model included, on the sample clock: each decode is timed, and its answer
             arrives when as much audio has passed, so a slow decode delays the next one as in real time;
5 s windows  by plain faster-whisper with its default options on windows side by side, the obvious first attempt;
whole song   by our recogniser and filters at once, which no live listener can have: the ceiling of these weights.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.harness import (
    Cell,
    Measurement,
    Row,
    Table,
    find_checkpoint,
    model_option,
    path_option,
    percentile,
    read_song,
)
from benchmarks.word_scoring import (
    HeardWord,
    Lags,
    PublishedLine,
    SungWord,
    WordErrors,
    count_errors,
    count_invented,
    final_words,
    find_quiet,
    measure_lags,
)
from stream_mer.audio.windowing import Windower
from stream_mer.config import LyricsSettings, SmoothingSettings, WindowSettings
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.emotion.smoothing import Smoother
from stream_mer.errors import SettingError
from stream_mer.lyrics.feeds import LineMemory, LiveSettings, open_recogniser
from stream_mer.lyrics.gate import open_gate
from stream_mer.lyrics.sharing import ShareSettings
from stream_mer.lyrics.text_features import LineReader, SentenceEncoder
from stream_mer.lyrics.tracker import DecodeJob, LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import FilterSettings, Recogniser, TextEncoder, Transcript, filter_transcript
from stream_mer.lyrics.whisper import find_weights
from stream_mer.pipeline import Pipeline
from stream_mer.sources.file import FileSource
from stream_mer.types import (
    SAMPLE_RATE_HZ,
    AudioChunk,
    EmotionFrame,
    LyricLine,
    LyricState,
    Samples,
    StreamEvent,
    seconds,
)
from stream_mer.utils.blas import use_one_thread

WARM_UP_S = 6.0  # of the first song, so that no song includes what is loaded once
WINDOW_S = 5.0  # of the plain faster-whisper
POLL_SAMPLES = 800  # 50 ms: how often a live feed looks for an answer

OPTIONS = (
    path_option("--songs", "Folder of songs with timed words.", "STREAM_MER_SONGS"),
    click.Option(["--limit"], type=click.IntRange(min=1), help="Songs, by name; 2 to 3 minutes each.  [default: all]"),
    click.Option(["--asr-model"], default=LyricsSettings().model, show_default=True, help="Whisper model."),
    click.Option(["--no-vocal-gate"], is_flag=True, help="Give the recogniser instrumental passages, too."),
    model_option(),
)


def measure(
    *, songs: Path | None, limit: int | None, asr_model: str, model: str | None = None, no_vocal_gate: bool = False
) -> Measurement:
    """Recognise ``limit`` songs, or all, each in three ways."""
    chosen = find_songs(songs)[:limit]
    lyrics = LyricsSettings(model=asr_model, vocal_gate=not no_vocal_gate)
    found = find_checkpoint(model)
    models = _Models(found.folder, lyrics)
    models.warm_up(read_song(chosen[0].audio))
    results = [models.recognise(song) for song in chosen]
    return Measurement(tables=make_tables(results), notes=(found.note, *_notes(lyrics)), threads=lyrics.cpu_threads)


def _notes(lyrics: LyricsSettings) -> tuple[str, ...]:
    tracker, share = TrackerSettings(), ShareSettings()
    streamed = (
        f"Streamed: Whisper {lyrics.model} int8, a thread for each decode, a decode every {tracker.step_s:g} s of "
        f"at most {tracker.buffer_s:g} s, at most {share.max_cpu_share:.0%} of the time; with the joint model."
    )
    lags = (
        "Lags of correct words, from the end of the sung word. Shown: it is in its place for the first time. Settled: "
        "it is reported as final. Line: its line is committed. Audio: until the end of the audio of the deciding "
        "decode. Otherwise with the time of that decode, of the decodes before it, and the wait for the next frame "
        f"(every {WindowSettings().hop_s:g} s)."
    )
    windows = (
        f"5 s windows: faster-whisper's transcribe() with its defaults on windows of {WINDOW_S:g} s side by side, same "
        f"weights, int8, {lyrics.cpu_threads} threads: beam 5, best of 5, temperatures 0 to 1 as fallback, language "
        "detected in each window, no voice detector, no word times (spread evenly over a segment here), none of our "
        "filters. Words are settled at the end of the window, with compute time when its decode and those before it "
        "are done."
    )
    work = (
        "Without singing: passages of 5 s or more, more than 1 s from any sung word; words with their middle there are "
        "invented. Real-time factor: time over the song's length; streamed it includes the joint model. CPU seconds of "
        "all threads."
    )
    return streamed, lags, windows, work


# The reference.


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """A song with its timed words."""

    name: str
    audio: Path
    words: tuple[SungWord, ...]


def find_songs(folder: Path | None) -> list[Song]:
    """Read the songs of a folder, by name."""
    layout = "songs as DIR/*/audio.opus with lyrics.tsv (start_s, end_s, word)"
    if folder is None or not folder.is_dir():
        raise SettingError(f"there is no folder {folder or ''}: give --songs DIR or set STREAM_MER_SONGS; {layout}")
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
        raise SettingError(f"{path} holds no words; leave the song out or add its words")
    return words


# Three ways to recognise a song.


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Result of one way on one song.

    Attributes:
        errors: Word errors of its text.
        invented: Words in passages without singing.
        took_s: Wall time.
        cpu_s: CPU time of all threads.
        audio_lags: Lags as if decodes took no time.
        lags: Lags with compute time.
    """

    errors: WordErrors
    invented: int
    took_s: float
    cpu_s: float
    audio_lags: Lags
    lags: Lags


@dataclass(frozen=True, slots=True, kw_only=True)
class SongResult:
    """One song, recognised in three ways; ``quiet_s`` is the time without singing."""

    name: str
    duration_s: float
    quiet_s: float
    streamed: Heard
    windows: Heard
    whole: Heard


class _Models:
    """All models, loaded once."""

    def __init__(self, folder: Path, lyrics: LyricsSettings) -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415 - heavy

        self._lyrics = lyrics
        use_one_thread()
        self._predictor = EmotionPredictor.load(folder)
        self._encoder = SentenceEncoder()
        self._recogniser = open_recogniser(lyrics, live=True)
        self._plain = WhisperModel(
            str(find_weights(lyrics.model)), device="cpu", compute_type="int8", cpu_threads=lyrics.cpu_threads
        )

    def warm_up(self, samples: Samples) -> None:
        """Run every model once."""
        opening = samples[: round(WARM_UP_S * SAMPLE_RATE_HZ)]
        self._encoder.encode("ready")
        open_gate(self._lyrics).passages(opening)
        self._recogniser.transcribe(opening)
        recognise_windows(self._plain, opening)

    def recognise(self, song: Song) -> SongResult:
        """Recognise a song in the three ways, one after the other."""
        samples = read_song(song.audio)
        quiet = find_quiet(song.words, len(samples) / SAMPLE_RATE_HZ)

        def timed(recognise: Callable[[], tuple[Sequence[HeardWord], Sequence[HeardWord]]]) -> Heard:
            """Score what a way returns: words with times in audio alone, and with compute time."""
            started, cpu_started = time.perf_counter(), time.process_time()
            audio, heard = recognise()
            took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
            return Heard(
                errors=count_errors([word.text for word in song.words], [word.text for word in heard]),
                invented=count_invented(heard, quiet),
                took_s=took_s,
                cpu_s=cpu_s,
                audio_lags=measure_lags(song.words, audio),
                lags=measure_lags(song.words, heard),
            )

        return SongResult(
            name=song.name,
            duration_s=len(samples) / SAMPLE_RATE_HZ,
            quiet_s=sum(end - start for start, end in quiet),
            streamed=timed(lambda: self._stream(song)),
            windows=timed(lambda: recognise_windows(self._plain, samples)),
            whole=timed(lambda: self._recognise_whole(samples)),
        )

    def _stream(self, song: Song) -> tuple[list[HeardWord], list[HeardWord]]:
        window, sink = WindowSettings(), LineCollector()
        lyrics = PacedLyrics(self._recogniser, self._encoder, tracker=LyricTracker(gate=open_gate(self._lyrics)))
        Pipeline(
            source=FileSource(song.audio),
            windower=Windower(window),
            lyrics=lyrics,
            emotion=self._predictor.open_stream(window),
            smoother=Smoother(SmoothingSettings()),
            sink=sink,
        ).run()
        sink.finish()
        return final_words(lyrics.decoded), final_words(sink.published)

    def _recognise_whole(self, samples: Samples) -> tuple[list[HeardWord], list[HeardWord]]:
        transcript = filter_transcript(self._recogniser.transcribe(samples), FilterSettings())
        heard = [HeardWord(text=word.text, t0=word.t0, t1=word.t1) for word in transcript]
        return [], heard


class LineCollector:
    """An ``EventSink`` that notes when each line would be published: with the next frame."""

    def __init__(self) -> None:
        self.published: list[PublishedLine] = []
        self._waiting: list[LyricLine] = []

    def publish(self, event: StreamEvent) -> None:
        if isinstance(event, LyricLine):
            self._waiting.append(event)
        elif isinstance(event, EmotionFrame):
            self._note(event.t1)

    def finish(self) -> None:
        """The song ended; lines that are left came after it."""
        self._note(None)

    def _note(self, at_s: float | None) -> None:
        self.published.extend(PublishedLine(line=line, at_s=at_s) for line in self._waiting)
        self._waiting.clear()


class PacedLyrics:
    """A ``LyricFeed`` that simulates ``LiveLyrics`` on the sample clock.

    Each decode runs at once and is timed, and its answer is held back until as much audio has passed.

    Args:
        recogniser: Turns audio into words.
        encoder: Turns committed lines into vectors.
        tracker: The policy.
        clock: Seconds, to time decodes.

    Attributes:
        decoded: Every line revision, with the end of the audio of its decode, seconds; None after the song's end.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        *,
        tracker: LyricTracker,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._recogniser = recogniser
        self._reader = LineReader(encoder)
        self._tracker = tracker
        self._settings = LiveSettings()
        self._clock = clock
        self._memory = LineMemory()
        self._running: tuple[float, float, DecodeJob, Transcript] | None = None  # end of its audio, duration, ...
        self._rests_until_s = float("-inf")
        self._lines: list[LyricLine] = []
        self.decoded: list[PublishedLine] = []

    def feed(self, chunk: AudioChunk) -> None:
        for start in range(0, len(chunk.samples), POLL_SAMPLES):
            samples = chunk.samples[start : start + POLL_SAMPLES]
            self._tracker.feed(AudioChunk(start_sample=chunk.start_sample + start, samples=samples))
            self._advance(seconds(self._tracker.end_sample))

    def finish(self) -> None:
        """Commit the newest answer, without another decode, as at the end of a live stream."""
        self._running = None
        self._tracker.finish()
        self._collect(None)

    def state(self) -> LyricState:
        lag_s = self._tracker.lag_s
        return LyricState(
            lines=self._memory.lines(seconds(self._tracker.end_sample)),
            health="lagging" if lag_s > self._settings.max_lag_s else "ok",
            lag_s=lag_s,
        )

    def take_lines(self) -> list[LyricLine]:
        taken, self._lines = self._lines, []
        return taken

    def close(self) -> None:
        """Nothing runs in the background."""

    def _advance(self, now_s: float) -> None:
        if self._running is not None and sum(self._running[:2]) <= now_s:
            end_s, took_s, job, transcript = self._running
            self._running = None
            self._rests_until_s = end_s + took_s + ShareSettings().rest_s(took_s)
            self._tracker.accept(job, transcript)
            self._collect(end_s)
        if self._running is None and now_s >= self._rests_until_s:
            due = self._tracker.due()
            self._collect(now_s)  # audio without vocals settles words without a decode
            if due is not None:
                started = self._clock()
                transcript = self._recogniser.transcribe(due.samples, language=due.language)
                self._running = (now_s, self._clock() - started, due, transcript)

    def _collect(self, end_s: float | None) -> None:
        for line in self._tracker.take_lines():
            self.decoded.append(PublishedLine(line=line, at_s=end_s))
            self._lines.append(line)
            if line.committed:
                self._memory.add(self._reader.read(line))


def recognise_windows(
    model: Any, samples: Samples, *, window_s: float = WINDOW_S, clock: Callable[[], float] = time.perf_counter
) -> tuple[list[HeardWord], list[HeardWord]]:
    """Recognise window by window with default options; a decode begins when its window and the decode before are done.

    Args:
        model: faster-whisper's ``WhisperModel``.
        samples: The song, mono, 16 kHz, [n].
        window_s: Length of a window.
        clock: Seconds, to time decodes.

    Returns:
        The words, settled at the end of their window, and when its decode is done.
    """
    length, ready_s = round(window_s * SAMPLE_RATE_HZ), 0.0
    audio, heard = [], []
    for start in range(0, len(samples), length):
        window = samples[start : start + length]
        started = clock()
        segments = list(model.transcribe(window)[0])
        took_s = clock() - started
        end_s = (start + len(window)) / SAMPLE_RATE_HZ
        ready_s = max(end_s, ready_s) + took_s
        for word in (word for segment in segments for word in _spread(segment, start / SAMPLE_RATE_HZ)):
            audio.append(replace(word, shown_s=end_s, settled_s=end_s, line_s=end_s))
            heard.append(replace(word, shown_s=ready_s, settled_s=ready_s, line_s=ready_s))
    return audio, heard


def _spread(segment: Any, offset_s: float) -> Iterator[HeardWord]:
    texts = str(segment.text).split()
    for i, text in enumerate(texts):
        t0, t1 = (segment.start + (segment.end - segment.start) * share / len(texts) for share in (i, i + 1))
        yield HeardWord(text=text, t0=offset_s + t0, t1=offset_s + t1)


# Tables.


def make_tables(results: Sequence[SongResult]) -> tuple[Table, ...]:
    """One row for each song, and one for all songs together."""
    songs = [*results, _pool(results)]
    return (
        Table(
            key="errors", title="Word errors: streamed, in windows, whole song", rows=[_errors(one) for one in songs]
        ),
        Table(key="lags", title="Seconds from the end of a sung word", rows=[_lags(one) for one in songs]),
        Table(key="work", title="Hallucinated words, and the cost", rows=[_work(one) for one in songs]),
    )


def _pool(results: Sequence[SongResult]) -> SongResult:
    def lags(all_lags: Sequence[Lags]) -> Lags:
        return Lags(*([value for one in kind for value in one] for kind in zip(*all_lags, strict=True)))

    def pooled(heard: Sequence[Heard]) -> Heard:
        return Heard(
            errors=WordErrors(*(sum(counts) for counts in zip(*(one.errors for one in heard), strict=True))),
            invented=sum(one.invented for one in heard),
            took_s=sum(one.took_s for one in heard),
            cpu_s=sum(one.cpu_s for one in heard),
            audio_lags=lags([one.audio_lags for one in heard]),
            lags=lags([one.lags for one in heard]),
        )

    return SongResult(
        name="all",
        duration_s=sum(result.duration_s for result in results),
        quiet_s=sum(result.quiet_s for result in results),
        streamed=pooled([result.streamed for result in results]),
        windows=pooled([result.windows for result in results]),
        whole=pooled([result.whole for result in results]),
    )


def _errors(result: SongResult) -> Row:
    errors = result.streamed.errors
    return {
        "song": result.name,
        "duration_s": result.duration_s,
        "words": errors.words,
        "wer": errors.rate,
        "substituted": errors.substituted,
        "deleted": errors.deleted,
        "inserted": errors.inserted,
        "windows_wer": result.windows.errors.rate,
        "whole_wer": result.whole.errors.rate,
        "points_over_whole": 100 * (errors.rate - result.whole.errors.rate),
    }


def _lags(result: SongResult) -> Row:
    lags: Mapping[str, list[float]] = {
        "audio_settled": result.streamed.audio_lags.settled_s,
        "shown": result.streamed.lags.shown_s,
        "settled": result.streamed.lags.settled_s,
        "line": result.streamed.lags.line_s,
        "windows_audio": result.windows.audio_lags.settled_s,
        "windows": result.windows.lags.settled_s,
    }
    row: dict[str, Cell] = {"song": result.name, "timed_words": len(result.streamed.lags.settled_s)}
    for name, values in lags.items():
        row |= {f"{name}_p{q}_s": percentile(values, q) if values else None for q in (50, 90)}
    return row


def _work(result: SongResult) -> Row:
    row: dict[str, Cell] = {"song": result.name, "quiet_min": result.quiet_s / 60}
    for prefix, heard in (("", result.streamed), ("windows_", result.windows), ("whole_", result.whole)):
        row[f"{prefix}invented_per_min"] = heard.invented / result.quiet_s * 60 if result.quiet_s else None
        row[f"{prefix}real_time_factor"] = heard.took_s / result.duration_s
        row[f"{prefix}cpu_share"] = heard.cpu_s / result.duration_s
    return row
