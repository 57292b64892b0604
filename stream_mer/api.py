"""The public API: ``tag`` for files, ``Tagger`` for audio that a program has in memory.

Both run in the caller's process and leave its settings alone: no logging, no signals, and numpy computes in one thread
only within their calls. The models are loaded once a process for each checkpoint and recogniser, and every ``Tagger``
and ``tag`` shares them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_mer.config import EngineSettings, LyricsSettings, SmoothingSettings, WindowSettings
from stream_mer.emotion.checkpoint import find_model
from stream_mer.emotion.predictor import EmotionPredictor
from stream_mer.engine import Engine, Models
from stream_mer.errors import SettingError, brief, did_you_mean
from stream_mer.lyrics.feeds import LyricsOpener
from stream_mer.lyrics.files import check_encoding, is_lyrics_file
from stream_mer.outputs.files import FileSummary, Summary, row_of
from stream_mer.pipeline import SyncStream
from stream_mer.sources.file import Excerpt
from stream_mer.sources.resampling import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, MonoResampler, Polarity, to_float32
from stream_mer.types import AudioChunk, CategoryChange, EmotionFrame, LyricLine, Samples, StreamEvent
from stream_mer.utils.blas import one_thread
from stream_mer.utils.files import as_text

Lyrics = bool | str | os.PathLike[str]
"""True recognises the vocals, False uses audio alone, a path names a lyrics file (LRC, SRT, WebVTT or plain text)."""

_PIECE_S = 1.0
"""Longer blocks are resampled in pieces of this length, so that memory does not grow with the block."""

_SAMPLE_TYPES = ("uint8", "int16", "int32", "float16", "float32", "float64")


class TaggingOptions(TypedDict, total=False):
    """Options of ``tag`` and ``Tagger``; the same as those of ``stream-mer tag``.

    Attributes:
        model: Name or folder of the checkpoint.
        device: Device of YAMNet, a third of the work: ``cpu``, ``cuda`` or ``cuda:N``.
        hop_s: Time between frames, 0.1 to 2 s.
        context_s: Audio that a frame may use, from its end backwards, 3 to 60 s.
        lyrics_encoding: Character encoding of lyrics files; detected where not given.
        languages: ISO 639-1 codes of the languages that may be sung; empty for all of them.
        recheck_s: The language is looked for again after this time, 5 to 3,600 s; 0 keeps the first one.
        asr_model: Whisper model: ``base``, ``tiny.en``, another name, or a folder.
        asr_device: Device of the recogniser: ``cpu`` or ``cuda``.
        min_confidence: Below this probability the category is ``unknown``, 0 to 1.
        min_accuracy: Instead: the category is ``unknown`` where its expected accuracy is lower than this, 0 to 1.
        attack_s: Smoothing: time constant while a value grows, seconds.
        release_s: Smoothing: time constant while a value falls back, seconds.
        dwell_s: Minimum duration of a category, seconds.
        hysteresis: How much more probable another category must be before it takes over, 0 to 1.
    """

    model: str
    device: str
    hop_s: float
    context_s: float
    lyrics_encoding: str | None
    languages: tuple[str, ...]
    recheck_s: float
    asr_model: str
    asr_device: str
    min_confidence: float
    min_accuracy: float | None
    attack_s: float
    release_s: float
    dwell_s: float
    hysteresis: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResult:
    """The result of tagging one file.

    Attributes:
        name: Name of the file.
        frames: One frame a hop, in order; a frame knows nothing later than its ``t1``.
        lyrics: The committed lines, in order.
        changes: The changes of category, in order.
        summary: The whole file in one value.
    """

    name: str
    frames: tuple[EmotionFrame, ...]
    lyrics: tuple[LyricLine, ...]
    changes: tuple[CategoryChange, ...]
    summary: Summary
    _events: tuple[StreamEvent, ...]

    def to_rows(self) -> list[dict[str, object]]:
        """Return one row a frame, with the columns of ``stream-mer tag --format csv``: for ``pandas.DataFrame``.

        Returns:
            Dictionaries with the same keys in the same order. Numbers are not rounded; None where there is no value.
            ``lyrics`` holds the lines that were committed since the row before.
        """
        rows: list[dict[str, object]] = []
        words: list[str] = []
        for event in self._events:
            if isinstance(event, EmotionFrame):
                rows.append(row_of(event, self.name, words))
                words.clear()
            elif isinstance(event, LyricLine) and event.committed:
                words.append(event.text)
        return rows


def tag(
    path: str | os.PathLike[str],
    *,
    lyrics: Lyrics = True,
    track: str | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    on_event: Callable[[StreamEvent], None] | None = None,
    **options: Unpack[TaggingOptions],
) -> TagResult:
    """Tag a file of audio, video or lyrics (``.lrc``, ``.srt``, ``.vtt``, ``.txt``).

    The frames equal those of ``stream-mer tag`` and do not depend on the speed of the machine.

    Args:
        path: The file.
        lyrics: True recognises the vocals, False uses audio alone, a path names a lyrics file.
        track: Audio track by number (from 1) or title; None for the best one.
        start_s: Start in the file, seconds, for audio; the times of the result are those of the whole file.
        duration_s: How much of it to tag, seconds; None for all.
        on_event: Called with every event as it is computed, in this thread or the one that reads the file.
        **options: See ``TaggingOptions``.

    Returns:
        Frames, lyrics, changes and a summary. Where the recogniser is missing, frames say ``lyrics_unavailable`` in
        ``raw.degraded``.

    Raises:
        SourceError: The file is missing, a folder, or cannot be decoded.
        LyricsError: The lyrics file cannot be used.
        CheckpointError: The checkpoint is missing, damaged or does not match.
        SettingError: An option is unknown, out of range, or contradicts another.
    """
    file = _path(path, "a file to tag")
    if is_lyrics_file(file) and lyrics is not True:
        raise SettingError(f"{file} is a lyrics file, so lyrics={lyrics!r} contradicts it: leave lyrics out")
    engine = _engine(lyrics, options)
    excerpt = Excerpt(start_s=start_s, duration_s=duration_s)
    collector = _Collector(on_event, words_alone=is_lyrics_file(file))
    pipeline, _ = engine.file_pipeline(file, collector, track=track, excerpt=excerpt)
    with one_thread():
        pipeline.run()
    return collector.result(as_text(Path(file).name))


class Tagger:
    """Tags audio that a program has in memory, block by block: recorded or live.

    ::

        with stream_mer.Tagger(lyrics=False) as tagger:
            for block in blocks:
                for frame in tagger.feed(block, rate_hz=48_000):
                    print(frame.t1, frame.valence, frame.arousal, frame.category)
            last = tagger.flush()

    A tagger computes in its caller's thread. Calls of one tagger from several threads run one after another, in no
    particular order; different taggers may run in different threads at the same time, and share the models.

    Args:
        lyrics: True recognises the vocals, False uses audio alone, a path names a lyrics file.
        live: How lyrics are recognised. False: within ``feed``, on the sample clock, so that the result does not depend
            on speed; a call that completes 1.5 s of vocals may take a second. True: in a thread beside it, so that
            ``feed`` takes milliseconds and lines come late, or not at all on a busy machine.
        on_event: Called with every frame, line of lyrics and change of category, within ``feed`` and ``flush``. It may
            call ``close``, but neither of these two.
        **options: See ``TaggingOptions``.

    Raises:
        LyricsError: The lyrics file cannot be used.
        CheckpointError: The checkpoint is missing, damaged or does not match.
        SettingError: An option is unknown, out of range, or contradicts another.
    """

    def __init__(
        self,
        *,
        lyrics: Lyrics = True,
        live: bool = False,
        on_event: Callable[[EmotionFrame | LyricLine | CategoryChange], None] | None = None,
        **options: Unpack[TaggingOptions],
    ) -> None:
        self._engine = _engine(lyrics, options)
        self._live = live
        self._on_event = on_event
        self._lock = threading.RLock()
        self._closed = False
        self._busy = False
        self._resampler: MonoResampler | None = None
        self._stream: SyncStream | None = self._open()
        self._polarity = Polarity()
        self._position = 0

    def feed(self, samples: NDArray[Any], *, rate_hz: int) -> list[EmotionFrame]:
        """Take the next audio of the stream.

        Args:
            samples: Shape ``[n]`` or ``[n, channels]`` of any length; ``uint8``, ``int16`` or ``int32`` (full scale is
                the type's), or floating point (-1..1). Channels are mixed to mono.
            rate_hz: Sample rate, 4000 to 384000 Hz; it may change between calls.

        Returns:
            The frames that this audio completes, oldest first; often none, or several for a long block. Times start
            at 0 with the first sample.

        Raises:
            SettingError: The samples or the rate are not possible; nothing was taken. Or the tagger is closed.
        """
        block = _checked(samples, rate_hz)
        frames: list[EmotionFrame] = []
        with self._call():
            if self._resampler is not None and self._resampler.rate_hz != rate_hz:
                frames += self._process(self._resampler.finish())
                self._resampler = None
            if self._resampler is None:
                self._resampler = MonoResampler(rate_hz, self._polarity)
            length = max(1, round(_PIECE_S * rate_hz))
            for start in range(0, len(block), length):
                if self._closed:  # by ``on_event``
                    break
                piece = to_float32(block[start : start + length])
                frames += self._process(self._resampler.feed(piece))
        return frames

    def flush(self) -> list[EmotionFrame]:
        """End the stream: its last frames, the newest of which may end before a whole hop.

        The next ``feed`` begins a new stream at time 0.

        Raises:
            SettingError: The tagger is closed.
        """
        with self._call():
            frames = [] if self._resampler is None else self._process(self._resampler.finish())
            if self._stream is not None:
                frames += self._emit(self._stream.finish())
            self._end()
            self._polarity, self._position = Polarity(), 0
            return frames

    def close(self) -> None:
        """Release the stream without its last frames; idempotent. The models stay loaded.

        A tagger that is garbage-collected is closed, too.
        """
        with self._lock:
            self._closed = True
            self._end()

    def __enter__(self) -> Tagger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        """One call of ``feed`` or ``flush``, after those of other threads.

        Raises:
            SettingError: The tagger is closed, or ``on_event`` made the call.
        """
        with self._lock, one_thread():
            if self._closed:
                raise SettingError("this Tagger is closed; make a new one, the models stay loaded")
            if self._busy:
                raise SettingError("on_event runs within feed or flush, and cannot call them")
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _open(self) -> SyncStream:
        stream = self._engine.stream(in_real_time=self._live)
        self._close_stream = weakref.finalize(self, stream.close)  # else a tagger without close leaves a thread behind
        return stream

    def _end(self) -> None:
        self._close_stream()
        self._stream, self._resampler = None, None

    def _process(self, samples: Samples) -> list[EmotionFrame]:
        if self._stream is None:
            self._stream = self._open()
        chunk = AudioChunk(start_sample=self._position, samples=samples, captured_at=time.monotonic())
        self._position = chunk.end_sample
        return self._emit(self._stream.process(chunk))

    def _emit(self, events: Iterable[EmotionFrame | LyricLine | CategoryChange]) -> list[EmotionFrame]:
        frames = []
        for event in events:
            if isinstance(event, EmotionFrame):
                frames.append(event)
            if self._on_event is not None:
                self._on_event(event)
        return frames


class _Collector:
    """Keeps the events of one file; implements ``ports.EventSink``."""

    def __init__(self, on_event: Callable[[StreamEvent], None] | None, *, words_alone: bool) -> None:
        self._events: list[StreamEvent] = []
        self._summary = FileSummary(words_alone=words_alone)
        self._on_event = on_event

    def publish(self, event: StreamEvent) -> None:
        self._events.append(event)
        self._summary.publish(event)
        if self._on_event is not None:
            self._on_event(event)

    def result(self, name: str) -> TagResult:
        lines = {event.segment: event for event in self._events if isinstance(event, LyricLine) and event.committed}
        return TagResult(
            name=name,
            frames=tuple(event for event in self._events if isinstance(event, EmotionFrame)),
            lyrics=tuple(line for _, line in sorted(lines.items()) if line.text),
            changes=tuple(event for event in self._events if isinstance(event, CategoryChange)),
            summary=self._summary.summary(),
            _events=tuple(self._events),
        )


_models_lock = threading.Lock()


@functools.lru_cache(maxsize=4)
def _predictor(folder: Path, device: str, _modified_ns: int) -> EmotionPredictor:
    return EmotionPredictor.load(folder, device=device)


@functools.lru_cache(maxsize=4)
def _lyrics_opener(settings: LyricsSettings) -> LyricsOpener:
    return LyricsOpener(settings)


def _engine(lyrics: Lyrics, options: TaggingOptions) -> Engine:
    """An engine for the options, on models that are shared by all that name the same ones."""
    settings = _settings(lyrics, options)
    folder = find_model(settings.model).absolute()
    with _models_lock:  # two threads at the same time would load the same models twice
        predictor = _predictor(
            folder, settings.device, folder.stat().st_mtime_ns
        )  # a model trained anew is loaded anew
        opener = _lyrics_opener(settings.lyrics)
    return Engine(settings, Models(predictor=predictor, lyrics=opener))


def _settings(lyrics: Lyrics, options: TaggingOptions) -> EngineSettings:
    known = TaggingOptions.__annotations__
    for name in options:
        if name not in known:
            raise SettingError(f"there is no option {name}{did_you_mean(name, known)}")
    given = {name: _plain(value) for name, value in options.items()}
    try:
        checked: dict[str, Any] = {**msgspec.convert(given, TaggingOptions)}
    except msgspec.ValidationError as error:
        raise SettingError(f"an option is of the wrong type: {error}") from None
    encoding = checked.get("lyrics_encoding")
    if encoding is not None:
        check_encoding(encoding)
    recognised, file = (lyrics, None) if isinstance(lyrics, bool) else (False, Path(_path(lyrics, "lyrics")))

    def chosen(names: Mapping[str, str]) -> dict[str, Any]:
        return {field: checked[name] for name, field in names.items() if name in checked}

    return EngineSettings(
        **chosen(_ENGINE),
        window=WindowSettings(**chosen(_WINDOW)),
        smoothing=SmoothingSettings(**chosen(_SMOOTHING)),
        lyrics=LyricsSettings(
            mode="recognise" if recognised else "off" if file is None else "known",
            file=file,
            **chosen(_LYRICS),
        ),
    )


def _plain(value: object) -> object:
    """An option as a type of Python itself: paths as texts, and numbers of numpy."""
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, Path) else value


def _path(value: object, what: str) -> str:
    """Return a path as text.

    Raises:
        SettingError: It is none.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        or_flag = ", True or False" if what == "lyrics" else ""
        raise SettingError(f"{what} must be a path{or_flag}, not {brief(repr(value))}")
    if "\0" in value:
        raise SettingError(f"{what} must be a path, and {brief(repr(value))} holds a character that none may have")
    return value


# Options, and the fields that they set.
_ENGINE = {"model": "model", "device": "device", "min_accuracy": "min_accuracy"}
_WINDOW = {"hop_s": "hop_s", "context_s": "context_s"}
_LYRICS = {
    "lyrics_encoding": "encoding",
    "languages": "languages",
    "recheck_s": "recheck_s",
    "asr_model": "model",
    "asr_device": "device",
}
_SMOOTHING = {
    "attack_s": "attack_s",
    "release_s": "release_s",
    "dwell_s": "dwell_s",
    "hysteresis": "margin",
    "min_confidence": "min_confidence",
}


def _checked(samples: NDArray[Any], rate_hz: int) -> NDArray[Any]:
    """Return the samples as an array, [n] or [n, channels].

    Raises:
        SettingError: They or the rate are not possible.
    """
    try:
        block = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, a tensor on a GPU
        raise SettingError(f"samples must be an array: {brief(str(error))}") from None
    if block.dtype.name not in _SAMPLE_TYPES:
        raise SettingError(f"samples must be of type {', '.join(_SAMPLE_TYPES)}, not {block.dtype}")
    if block.ndim not in {1, 2} or (block.ndim == 2 and not 1 <= block.shape[1] <= MAX_CHANNELS):
        shape = list(block.shape)
        raise SettingError(f"samples must have the shape [n] or [n, channels] (1 to {MAX_CHANNELS}), not {shape}")
    if not isinstance(rate_hz, int | np.integer) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise SettingError(f"rate_hz must be a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ}, not {rate_hz!r}")
    return block
