"""The composition root: loads the models once and builds streams on them. Only this module joins all packages."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from stream_mer.audio.level_meter import LevelMeter
from stream_mer.audio.windowing import Windower
from stream_mer.config import EngineSettings, LyricsMode, SmoothingSettings
from stream_mer.emotion.checkpoint import find_model
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.emotion.smoothing import Smoother
from stream_mer.errors import SettingError, SourceError
from stream_mer.lyrics.feeds import LyricsOpener
from stream_mer.lyrics.files import is_lyrics_file, words_duration_s
from stream_mer.lyrics.masking import MaskingSink, open_mask
from stream_mer.pipeline import Pipeline, Reopener, SyncStream
from stream_mer.ports import AudioSource, EmotionStream, EventSink, LyricFeed, Schedule
from stream_mer.sources.decoding import load_decoder
from stream_mer.sources.file import (
    COARSE_CHUNK_SAMPLES,
    LYRICS_CHUNK_SAMPLES,
    WHOLE,
    Excerpt,
    FileSource,
    HopChunker,
    SilenceSource,
    set_chunker,
    set_preview,
)
from stream_mer.types import NO_LYRICS, AudioChunk, CategoryChange, EmotionFrame, LyricLine, Spread, StreamEvent
from stream_mer.utils.sanitise import redact_address

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Models:
    """Loaded models, which any number of engines may share.

    Attributes:
        predictor: The joint model with its audio networks.
        lyrics: The recogniser and the sentence encoder; both are loaded when first used.
    """

    predictor: EmotionPredictor
    lyrics: LyricsOpener

    @classmethod
    def load(cls, settings: EngineSettings) -> Models:
        """Load what the settings name.

        Raises:
            CheckpointError: The checkpoint is missing, damaged or does not match.
            SettingError: The device is not available.
        """
        # Here and not where they are first used: if the capture thread and the recogniser import PyAV at the same time,
        # each waits for a module that the other one imports, and one of them gets it half initialised.
        load_decoder()
        predictor = EmotionPredictor.load(find_model(settings.model), device=settings.device)
        return cls(predictor=predictor, lyrics=LyricsOpener(settings.lyrics))


class _Parts(TypedDict):
    windower: Windower
    lyrics: LyricFeed
    emotion: EmotionStream
    smoother: Smoother
    words_alone: bool


class Engine:
    """Builds any number of streams on the same models.

    Args:
        settings: How streams are computed.
        models: Models that are loaded already; None loads those that the settings name.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or does not match.
        SettingError: The device is not available, the checkpoint nowhere reaches ``min_accuracy``, or a list of words
            to mask cannot be read.
    """

    def __init__(self, settings: EngineSettings, models: Models | None = None) -> None:
        self.settings = settings
        self._models = models or Models.load(settings)
        self._smoothing = settings.smoothing
        self._mask = open_mask(settings.lyrics.mask)
        if settings.min_accuracy is not None:
            calibration = self._models.predictor.checkpoint.calibration
            confidence = calibration.confidence_for(settings.min_accuracy)
            log.info("expected accuracy %g: unknown below confidence %.3f", settings.min_accuracy, confidence)
            self._smoothing = replace(settings.smoothing, min_confidence=confidence)

    def warm_up(self) -> None:
        """Compute one window, so that the first stream need not wait: 0.1 s, or over 1 s on a busy machine."""
        hop = np.zeros(self.settings.window.hop_samples, np.float32)
        hop[::2] = 0.1  # for silence the model computes nothing
        for window in Windower(self.settings.window).feed(AudioChunk(start_sample=0, samples=hop)):
            self._models.predictor.open_stream(self.settings.window).predict(window, NO_LYRICS)

    def pipeline(
        self,
        source: AudioSource,
        sink: EventSink,
        *,
        in_real_time: bool,
        lyrics: Path | None = None,
        levels_wanted: Callable[[], bool] | None = None,
        levels_interval_s: Callable[[], float] = lambda: 0.0,
        schedule_levels: Schedule | None = None,
        words_alone: bool = False,
        reopen: Reopener | None = None,
        start_s: float = 0.0,
    ) -> Pipeline:
        """Build a stream that runs in threads.

        Args:
            source: Its audio.
            sink: Takes its events.
            in_real_time: True for a live audience: lyrics are recognised beside the stream, and masked. False to tag a
                file: they are recognised on the sample clock, so that the result does not depend on speed.
            lyrics: A file with the lyrics of this stream, instead of what the settings say.
            levels_wanted: Returns whether a subscriber needs ``InputLevels`` now; None for never.
            levels_interval_s: Returns the least time between two of them that a subscriber needs now, seconds; 0 for
                all of them.
            schedule_levels: Has the levels of stored audio published at their time; None to publish them with their
                chunk.
            words_alone: The source is silent, and only the lyrics of the file count.
            reopen: As of ``Pipeline``.
            start_s: Where the source starts in the times of a lyrics file, seconds.

        Raises:
            LyricsError: The lyrics file cannot be used.
            SettingError: The encoding of lyrics files is unknown.
        """
        recognises = self.settings.lyrics.mode == "recognise" and lyrics is None
        hop_samples = self.settings.window.hop_samples
        set_chunker(source, chunker(hop_samples=hop_samples, recognises=recognises))
        calibration = self._models.predictor.checkpoint.calibration
        meter = LevelMeter(wanted=levels_wanted, interval_s=levels_interval_s) if levels_wanted else None
        pipeline = Pipeline(
            source=source,
            sink=self._masking(sink) if in_real_time else sink,
            measure_levels=meter.feed if meter else None,
            spread=Spread(valence=calibration.valence_spread, arousal=calibration.arousal_spread),
            reopen=reopen,
            **self._parts(in_real_time=in_real_time, lyrics=lyrics, words_alone=words_alone, start_s=start_s),
        )
        if levels_wanted is not None and schedule_levels is not None:
            set_preview(source, functools.partial(pipeline.preview, schedule_levels), levels_wanted)
        return pipeline

    def _masking(self, sink: EventSink) -> EventSink:
        everywhere = self.settings.lyrics.mask.everywhere
        return sink if self._mask is None else MaskingSink(sink, self._mask, everywhere=everywhere)

    @property
    def smoothing(self) -> SmoothingSettings:
        """How streams are smoothed at first."""
        return self._smoothing

    def open_emotion(self) -> EmotionStream:
        """Open the joint model's stream for audio that continues nothing."""
        return self._models.predictor.open_stream(self.settings.window)

    def open_lyrics(self, mode: LyricsMode, languages: Sequence[str]) -> LyricFeed:
        """Open the lyrics of a stream in real time; see ``LyricsOpener.open``."""
        return self._models.lyrics.open(live=True, mode=mode, languages=languages)

    def stream(self, *, in_real_time: bool, lyrics: Path | None = None) -> SyncStream:
        """Build a stream that its caller feeds; arguments and errors as for ``pipeline``."""
        return SyncStream(**self._parts(in_real_time=in_real_time, lyrics=lyrics, words_alone=False))

    def file_pipeline(
        self, path: str, sink: EventSink, *, track: str | None = None, excerpt: Excerpt | None = None
    ) -> tuple[Pipeline, float | None]:
        """Build a stream for a file of audio, video or lyrics, as fast as it can be computed.

        Args:
            path: The file; lyrics files are recognised by their suffix.
            sink: Takes its events.
            track: Audio track by number (from 1) or title; None for the best one.
            excerpt: The part of an audio file to tag; its events have the times of the whole file.

        Returns:
            The pipeline, and the duration in seconds by what the file states; None if it states none.

        Raises:
            SourceError: The file is missing, a folder, empty or an address.
            LyricsError: The lyrics file cannot be used.
            SettingError: The encoding of lyrics files is unknown, or an excerpt of a lyrics file is wanted.
        """
        if "://" in path:
            raise SourceError(f"{redact_address(path)} is an address, not a file; serve it, or download it first")
        if not is_lyrics_file(path):
            start_s = 0.0 if excerpt is None else excerpt.start_s
            file = FileSource(path, track=track, excerpt=excerpt)
            placed = _Placed(sink, start_s) if start_s else sink
            return self.pipeline(file, placed, in_real_time=False, start_s=start_s), file.duration_s()
        if excerpt not in (None, WHOLE):
            raise SettingError(f"{path} is a lyrics file: a start and a duration are for audio")
        duration_s = words_duration_s(Path(path), encoding=self.settings.lyrics.encoding)
        silence = SilenceSource(path, duration_s)
        pipeline = self.pipeline(silence, sink, in_real_time=False, lyrics=Path(path), words_alone=True)
        return pipeline, duration_s

    def _parts(self, *, in_real_time: bool, lyrics: Path | None, words_alone: bool, start_s: float = 0.0) -> _Parts:
        window = self.settings.window
        return _Parts(
            windower=Windower(window),
            lyrics=self._models.lyrics.open(live=in_real_time, file=lyrics, start_s=start_s),
            emotion=self._models.predictor.open_stream(window, words_alone=words_alone),
            smoother=Smoother(self._smoothing),
            words_alone=words_alone,
        )


class _Placed:
    """Moves the times of events by the start of an excerpt; implements ``ports.EventSink``."""

    def __init__(self, sink: EventSink, start_s: float) -> None:
        self._sink = sink
        self._start_s = start_s

    def publish(self, event: StreamEvent) -> None:
        match event:
            case EmotionFrame():
                event = replace(event, t0=event.t0 + self._start_s, t1=event.t1 + self._start_s)
            case LyricLine():
                event = event.shifted(self._start_s)
            case CategoryChange():
                event = replace(event, t=event.t + self._start_s)
        self._sink.publish(event)


def chunker(*, hop_samples: int, recognises: bool) -> HopChunker:
    """Return where stored audio is cut.

    Args:
        hop_samples: Hop of the frames.
        recognises: Whether lyrics are recognised.
    """
    return HopChunker(
        hop_samples=hop_samples,
        longest_samples=LYRICS_CHUNK_SAMPLES if recognises else COARSE_CHUNK_SAMPLES,
    )
