"""Words as they are sung: errors, lag, invented ones, and work.

Wants songs with timed words: a folder with DIR/*/audio.opus and DIR/*/lyrics.tsv (start_s, end_s, word, tab-separated,
no heading), given by --songs or the environment variable STREAM_MER_SONGS. Each song is heard in three ways:

streamed     by the whole pipeline, emotion model included, on the sample clock: each decode is timed, and its answer is
             there when as much audio has passed, so a slow decode delays the next one as it would on stage;
5 s windows  by plain faster-whisper with its default options on windows side by side, as a newcomer would build it;
whole song   by our recogniser and filters in one go, which no live listener can have: the ceiling of these weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.checkpoints import open_checkpoint
from benchmarks.lyrics_paced import PacedLyrics
from benchmarks.lyrics_peers import WINDOWS_NOTE, hear_whole, hear_windows, open_plain, words_at
from benchmarks.lyrics_songs import Song, find_songs
from benchmarks.lyrics_tables import NO_LAGS, Heard, SongResult, make_tables
from benchmarks.report import Measurement
from benchmarks.word_scoring import (
    HeardWord,
    Lags,
    PublishedLine,
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
from stream_mer.lyrics.opening import open_gate
from stream_mer.lyrics.text_features import SentenceEncoder
from stream_mer.lyrics.tracker import LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import FilterSettings
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.pipeline import Pipeline
from stream_mer.sources.file import FileSource
from stream_mer.types import SAMPLE_RATE_HZ, EmotionFrame, LyricLine, Samples, StreamEvent

WARM_UP_S = 6.0  # of the first song: so that no song pays for what is loaded once

OPTIONS = (
    click.Option(
        ["--songs"],
        type=click.Path(path_type=Path),
        envvar="STREAM_MER_SONGS",
        show_envvar=True,
        metavar="DIR",
        help="Songs with timed words.",
    ),
    click.Option(["--limit"], type=click.IntRange(min=1), help="Songs, by name; 2 to 3 minutes each.  [default: all]"),
    click.Option(["--asr-model"], default=LyricsSettings().model, show_default=True, help="Whisper model."),
    click.Option(["--no-vocal-gate"], is_flag=True, help="Let the recogniser hear where nobody sings, too."),
    click.Option(["--model"], help="Checkpoint: a name or a folder.  [default: the shipped one]"),
)


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


class _Stopwatch:
    """Time and processor time (all threads) since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._started[0], time.process_time() - self._started[1]


class _Listening:
    """Everything loaded that listens to songs."""

    def __init__(self, folder: Path, lyrics: LyricsSettings) -> None:
        self.lyrics = lyrics
        self._predictor = EmotionPredictor.load(folder)
        self._encoder = SentenceEncoder()
        self._gate = open_gate(lyrics)
        self._recogniser = WhisperRecogniser(lyrics.model, device=lyrics.device, cpu_threads=lyrics.cpu_threads)
        self._plain = open_plain(lyrics.model, cpu_threads=lyrics.cpu_threads)

    def warm_up(self, samples: Samples) -> None:
        """Load what is loaded once."""
        opening = samples[: round(WARM_UP_S * SAMPLE_RATE_HZ)]
        self._encoder.encode("ready")
        self._gate.passages(opening)
        self._recogniser.transcribe(opening)
        hear_windows(self._plain, opening)

    def listen(self, song: Song) -> SongResult:
        """Hear a song in the three ways, one after the other."""
        samples = song.samples()
        return SongResult(
            name=song.name,
            duration_s=len(samples) / SAMPLE_RATE_HZ,
            quiet_s=sum(end - start for start, end in _quiet(song, samples)),
            streamed=self._streamed(song, samples),
            windows=self._windows(song, samples),
            whole=self._whole(song, samples),
        )

    def _streamed(self, song: Song, samples: Samples) -> Heard:
        window = WindowSettings()
        lyrics = PacedLyrics(
            self._recogniser,
            self._encoder,
            tracker=LyricTracker(gate=open_gate(self.lyrics)),
            settings=self.lyrics.live,
        )
        listener, watch = Listener(), _Stopwatch()
        Pipeline(
            source=FileSource(song.audio),
            windower=Windower(window),
            lyrics=lyrics,
            emotion=self._predictor.open_stream(window),
            smoother=Smoother(SmoothingSettings()),
            sink=listener,
        ).run()
        took = watch.read()
        listener.finish()
        heard = final_words(listener.published)
        audio_lags = measure_lags(song.words, final_words(lyrics.heard))
        return _score(song, samples, heard, took, _Lags(audio_lags, measure_lags(song.words, heard)))

    def _windows(self, song: Song, samples: Samples) -> Heard:
        watch = _Stopwatch()
        windows = hear_windows(self._plain, samples)
        took = watch.read()
        heard = words_at(windows, lambda window: window.ready_s)
        audio_lags = measure_lags(song.words, words_at(windows, lambda window: window.end_s))
        return _score(song, samples, heard, took, _Lags(audio_lags, measure_lags(song.words, heard)))

    def _whole(self, song: Song, samples: Samples) -> Heard:
        watch = _Stopwatch()
        heard = hear_whole(self._recogniser, samples, FilterSettings())
        return _score(song, samples, heard, watch.read(), _Lags(NO_LAGS, NO_LAGS))


class _Lags(NamedTuple):
    audio: Lags
    with_compute: Lags


def measure(
    *, songs: Path | None, limit: int | None, asr_model: str, model: str | None = None, no_vocal_gate: bool = False
) -> Measurement:
    """Listen to ``limit`` songs, or all, each in three ways.

    Raises:
        SettingError: No folder was given, or there is no song in it.
        LyricsError: The recogniser's weights cannot be used.
    """
    chosen = find_songs(songs)[:limit]
    lyrics = LyricsSettings(model=asr_model, vocal_gate=not no_vocal_gate)
    with open_checkpoint(model) as found:
        listening = _Listening(found.folder, lyrics)
        listening.warm_up(chosen[0].samples())
        results = [listening.listen(song) for song in chosen]
    return Measurement(tables=make_tables(results), notes=(found.note, *_notes(lyrics)), threads=lyrics.cpu_threads)


def _notes(lyrics: LyricsSettings) -> tuple[str, ...]:
    tracker = TrackerSettings()
    streamed = (
        f"Streamed: Whisper {lyrics.model} int8, {lyrics.cpu_threads} threads, a decode every {tracker.step_s:g} s of "
        f"at most {tracker.buffer_s:g} s, at most {lyrics.live.max_cpu_share:.0%} of the time; the joint model beside."
    )
    lags = (
        "Lags of rightly heard words, from the end of the sung word. Shown: it stands in its place for the first time. "
        "Settled: it is told not to change any more. Line ended: its line is committed. Audio alone: until the end of "
        "the audio that the deciding decode heard. Else with the time which that decode took, the decodes before it, "
        f"and the wait for the frame that the line goes out with (every {WindowSettings().hop_s:g} s)."
    )
    work = (
        "Without singing: passages of 5 s or more, farther than 1 s from any sung word; words with their middle there "
        "are invented. Real-time factor: time taken over the song's length; streamed it includes the joint model. CPU "
        "seconds are those of all threads."
    )
    return streamed, lags, WINDOWS_NOTE, work


def _quiet(song: Song, samples: Samples) -> list[tuple[float, float]]:
    return find_quiet(song.words, len(samples) / SAMPLE_RATE_HZ)


def _score(song: Song, samples: Samples, heard: Sequence[HeardWord], took: tuple[float, float], lags: _Lags) -> Heard:
    return Heard(
        errors=count_errors([word.text for word in song.words], [word.text for word in heard]),
        invented=count_invented(heard, _quiet(song, samples)),
        took_s=took[0],
        cpu_s=took[1],
        audio_lags=lags.audio,
        lags=lags.with_compute,
    )
