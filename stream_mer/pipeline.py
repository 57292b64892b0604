"""One stream: source → windows → joint model → smoothing → sink, with the lyrics beside the model.

``ChunkProcessor`` takes audio and gives windows, each with the lyrics known at its end. ``FrameBuilder`` takes windows
and gives frames. ``SyncStream`` calls one after the other, for a caller who has the audio (``stream_mer.Tagger``).
``Pipeline`` runs them in two threads, for a source that blocks:

* The *capture* thread iterates the source and processes its chunks.
* The *inference* thread (the caller of ``run``) predicts, smooths and publishes.

Between them stands one mailbox of two windows. A live source drops the oldest and counts it; any other source waits. So
a file gives the same frames at any speed, and no stage lags behind.
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from stream_mer.audio.audio_state import REASONS, SILENCE, SILENCE_DBFS, has_emotion, is_silent, without_emotion
from stream_mer.audio.levels import dbfs
from stream_mer.audio.windowing import GapFiller, Windower
from stream_mer.config import SmoothingSettings
from stream_mer.emotion.smoothing import Smoother
from stream_mer.ports import AudioSource, EmotionStream, EventSink, LyricFeed, Schedule
from stream_mer.types import (
    SAMPLE_RATE_HZ,
    AudioChunk,
    CategoryChange,
    EmotionFrame,
    InputLevels,
    Latency,
    LyricLine,
    LyricState,
    Samples,
    SourceState,
    Spread,
    StreamStatus,
    TrackTitle,
    Window,
    seconds,
)
from stream_mer.utils.mailbox import Mailbox, MailboxClosed, WhenFull

log = logging.getLogger(__name__)

WAITING_WINDOWS = 2
WAITING_LINES = 256
AT_END = 2**63
"""Sample index of a line that became known only when the audio ended."""

STALLED_AFTER_S = 3.0  # opening an idle sound device can take 1.3 s
END_WITHIN_S = 2.0
"""A source gets this long to end after ``close``; one that hangs is left in its daemon thread."""

SONG_ENDS_AFTER_S = 2.0
"""This long without music ends a song: its lyrics have no influence on the next one."""

AUDIO_LOST = "audio_lost"
"""In ``degraded``: audio of this frame's newest hop was lost, and silence stands in for it."""

SILENT_AFTER_S = 3.0
"""A source that delivers only silence for this long is ``silent``."""

RECENT_S = 3.0
"""Level and clipping in a status cover this much audio before it."""

LAG_STEP_S = 1.0
"""Smaller changes of the lag are not reported: it varies with every decode of the recogniser."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PendingWindow:
    """A window on its way to the model, with the lyrics that were known when it was cut.

    ``emotion`` computes it; another one than before begins with another source. The song that plays in it began at
    ``song_since_s``, as far as titles say so.
    """

    window: Window
    lyrics: LyricState
    emotion: EmotionStream
    cut_at: float
    song_since_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingLine:
    """A line of lyrics, and the end of the audio, in samples, at which it became known."""

    line: LyricLine
    known_at: int


class ChunkProcessor:
    """Audio in, windows and lines out, in the order in which they become known.

    Args:
        windower: Cuts the audio.
        lyrics: Gets the same audio.
        emotion: The joint model's stream, for the windows.
    """

    def __init__(self, windower: Windower, lyrics: LyricFeed, emotion: EmotionStream) -> None:
        self._gap_filler = GapFiller(windower.settings)
        self._windower = windower
        self._emotion = emotion
        self._next_segment = 0
        self._segments_before = 0  # lines of former feeds
        self._title: TrackTitle | None = None
        self._song_since_s = 0.0
        self.lyrics = lyrics

    def process(self, chunk: AudioChunk) -> Iterator[PendingWindow | PendingLine]:
        """Take the next audio; yield what it completes.

        Raises:
            SourceError: The chunk starts before the end of the one before it.
        """
        hop_samples = self._windower.hop_samples
        self._follow_title(chunk)
        for run in self._gap_filler.fill(chunk):
            start = run.start_sample
            if run.end_sample <= (start // hop_samples + 1) * hop_samples:  # the usual case
                yield from self._process_hop(run)
                continue
            while start < run.end_sample:  # to the next cut at most, so that a window's lyrics are never newer than it
                stop = min(run.end_sample, (start // hop_samples + 1) * hop_samples)
                samples = run.samples[start - run.start_sample : stop - run.start_sample]
                yield from self._process_hop(replace(run, start_sample=start, samples=samples))
                start = stop

    def finish(self) -> Iterator[PendingWindow | PendingLine]:
        """The audio ended: yield the last lines, and the tail that is shorter than a hop."""
        self.lyrics.finish()
        yield from self._lines(known_at=AT_END)
        tail = self._windower.finish()
        if tail is not None:
            yield self._pending(tail)

    def restart(self, emotion: EmotionStream) -> None:
        """Begin a new context with the next audio, which is from another source; the clock goes on."""
        self._windower.restart()
        self._emotion = emotion
        self._title = None

    def set_hop(self, hop_samples: int) -> None:
        """Cut the windows at another hop from now on."""
        self._gap_filler.set_hop(hop_samples)
        self._windower.set_hop(hop_samples)

    def set_lyrics(self, lyrics: LyricFeed) -> Iterator[PendingLine]:
        """Give the audio to another feed from now on; yield the last lines of the former one, which may be closed."""
        self.lyrics.finish()
        yield from self._lines(known_at=0)
        self.lyrics, self._segments_before = lyrics, self._next_segment

    def _follow_title(self, chunk: AudioChunk) -> None:
        """Another title ends a song. The first one that a source states does not: the song may have begun before."""
        if chunk.title is None:
            return
        if self._title not in {None, chunk.title}:
            self._song_since_s = seconds(chunk.start_sample)
        self._title = chunk.title

    def _process_hop(self, chunk: AudioChunk) -> Iterator[PendingWindow | PendingLine]:
        self.lyrics.feed(chunk)
        yield from self._lines(known_at=chunk.end_sample)
        yield from map(self._pending, self._windower.feed(chunk))

    def _lines(self, known_at: int) -> Iterator[PendingLine]:
        for line in self.lyrics.take_lines():
            segment = line.segment + self._segments_before
            self._next_segment = max(self._next_segment, segment + 1)
            yield PendingLine(line=replace(line, segment=segment) if self._segments_before else line, known_at=known_at)

    def _pending(self, window: Window) -> PendingWindow:
        return PendingWindow(
            window=window,
            lyrics=self.lyrics.state(),
            emotion=self._emotion,
            cut_at=time.monotonic(),
            song_since_s=self._song_since_s,
        )


class FrameBuilder:
    """Windows in, frames and changes of category out.

    Args:
        smoother: Smooths the estimates.
        words_alone: The source has lyrics and no sound: predict from the lyrics alone.
        dropped: Returns how many windows were dropped so far.
    """

    def __init__(
        self, smoother: Smoother, *, words_alone: bool = False, dropped: Callable[[], int] = lambda: 0
    ) -> None:
        self._emotion: EmotionStream | None = None
        self._smoother = smoother
        self._words_alone = words_alone
        self._dropped = dropped
        self._music_until_s = 0.0  # end of the newest music, seconds
        self._song_since_s = 0.0  # lines from before belong to a song that has ended

    def build(self, pending: PendingWindow) -> Iterator[EmotionFrame | CategoryChange]:
        """Compute the frame of a window, newer than the one before it; a change follows its frame."""
        taken_at = time.monotonic()
        window, silent = pending.window, not self._words_alone and is_silent(pending.window)
        if self._emotion is not pending.emotion:
            self._begin_source(pending)
        self._song_since_s = max(self._song_since_s, pending.song_since_s)
        lyrics = self._lyrics_of_this_song(pending.lyrics, silent=silent)
        estimate = pending.emotion.predict(window, lyrics)
        # The model may have been busy with windows of other streams: that counts as waiting too.
        waited_ms = max(0.0, 1e3 * (time.monotonic() - taken_at) - estimate.features_ms - estimate.model_ms)
        if silent:
            estimate = replace(estimate, audio_state=SILENCE)
        if estimate.audio_state is not None and estimate.audio_state.state in REASONS:
            estimate = without_emotion(estimate, estimate.audio_state.state)
        elif self._words_alone and not lyrics.lines:
            estimate = without_emotion(estimate, "silence")
        if window.lost_samples:
            estimate = replace(estimate, degraded=(*estimate.degraded, AUDIO_LOST))
        t1 = seconds(window.end_sample)
        self._follow_songs(t1, is_music=self._words_alone or has_emotion(estimate))
        smoothed = self._smoother.feed(t1, estimate)
        yield EmotionFrame(
            index=window.index,
            t0=seconds(window.start_sample),
            t1=t1,
            valence=smoothed.valence,
            arousal=smoothed.arousal,
            raw=estimate,
            category=smoothed.category,
            confidence=smoothed.confidence,
            probs=smoothed.probs,
            latency=Latency(
                capture=1e3 * (pending.cut_at - window.captured_at),
                queue=1e3 * (taken_at - pending.cut_at) + waited_ms,
                features=estimate.features_ms,
                model=estimate.model_ms,
                total=1e3 * (time.monotonic() - window.captured_at),
            ),
            dropped=self._dropped(),
        )
        if smoothed.change is not None:
            yield smoothed.change

    def _begin_source(self, pending: PendingWindow) -> None:
        """Begin a song with another source."""
        if self._emotion is not None:
            self._song_since_s = self._music_until_s = seconds(pending.window.start_sample)
        self._emotion = pending.emotion

    def _lyrics_of_this_song(self, lyrics: LyricState, *, silent: bool) -> LyricState:
        """The lyrics without lines that have no influence: in silence all of them, else those of earlier songs.

        Lines without times (``t1`` 0) were known beforehand, and so belong to what is playing.
        """
        if not lyrics.lines:
            return lyrics
        if silent:
            return replace(lyrics, lines=())
        since_s = self._song_since_s
        return replace(lyrics, lines=tuple(line for line in lyrics.lines if line.t1 > since_s or line.t1 == 0))

    def _follow_songs(self, t1: float, *, is_music: bool) -> None:
        """A song has ended after ``SONG_ENDS_AFTER_S`` without music; the next one begins with the music."""
        if is_music:
            self._music_until_s = t1
        elif t1 - self._music_until_s >= SONG_ENDS_AFTER_S:
            self._song_since_s = t1


class SyncStream:
    """One stream that its caller feeds; it computes in the calls, in the caller's thread.

    Args:
        windower: Cuts the audio.
        lyrics: Gets the same audio; closed at the end.
        emotion: The joint model's stream.
        smoother: Smooths its estimates.
        words_alone: The stream has lyrics and no sound: predict from the lyrics alone.
    """

    def __init__(
        self,
        *,
        windower: Windower,
        lyrics: LyricFeed,
        emotion: EmotionStream,
        smoother: Smoother,
        words_alone: bool = False,
    ) -> None:
        self._lyrics = lyrics
        self._processor = ChunkProcessor(windower, lyrics, emotion)
        self._builder = FrameBuilder(smoother, words_alone=words_alone)

    def process(self, chunk: AudioChunk) -> Iterator[EmotionFrame | CategoryChange | LyricLine]:
        """Take the next audio; yield the events that it completes.

        Raises:
            SourceError: The chunk starts before the end of the one before it.
        """
        return self._events(self._processor.process(chunk))

    def finish(self) -> Iterator[EmotionFrame | CategoryChange | LyricLine]:
        """The audio ended: yield the last events."""
        return self._events(self._processor.finish())

    def close(self) -> None:
        """Release what was opened; idempotent."""
        self._lyrics.close()

    def _events(
        self, results: Iterator[PendingWindow | PendingLine]
    ) -> Iterator[EmotionFrame | CategoryChange | LyricLine]:
        for result in results:
            if isinstance(result, PendingLine):
                yield result.line
            else:
                yield from self._builder.build(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passage:
    """Sums over one chunk of audio."""

    end_sample: int
    length: int
    energy: float
    peak: float
    clipped: bool


class StatusReporter:
    """Publishes a ``StreamStatus`` whenever it differs from the last one in more than levels and a little lag.

    Args:
        device: Name of the source.
        sink: Where it goes.
        spread: Maps of the model, which each status holds.
    """

    def __init__(self, device: str, sink: EventSink, spread: Spread | None = None) -> None:
        self._device = device
        self._sink = sink
        self._spread = spread
        self._reported: tuple[object, ...] | None = None  # by the last status, but for its levels and its lag
        self._reported_lag_s = 0.0
        self._next_sample: int | None = None
        self._lost_samples = 0
        self._silent_samples = 0
        self._source: SourceState = "live"
        self._title = TrackTitle()
        self._recent: deque[_Passage] = deque()
        self._lock = threading.Lock()

    @property
    def source_state(self) -> SourceState:
        """State by the newest chunk; ``silent`` where the source delivers only silence."""
        if self._source == "live" and seconds(self._silent_samples) >= SILENT_AFTER_S:
            return "silent"
        return self._source

    def measure(self, chunk: AudioChunk) -> bool:
        """Measure a chunk: lost samples, silence, level and clipping.

        Returns:
            True if the source, its state or the title changed, which is to be reported immediately.
        """
        with self._lock:
            if chunk.new_source is not None:
                self._begin_source(chunk)
                return True
            if self._next_sample is not None:
                self._lost_samples += max(0, chunk.start_sample - self._next_sample)
            self._next_sample = chunk.end_sample
            title = chunk.title or self._title
            changed = (chunk.source, title) != (self._source, self._title)
            self._source, self._title = chunk.source, title
            if chunk.lost:
                self._lost_samples += len(chunk.samples)
                self._silent_samples = 0
            elif len(chunk.samples):
                self._add(chunk)
        return changed

    def report(self, lyrics: LyricState, state: SourceState | None = None) -> None:
        """Publish the status if it changed; from any thread.

        Args:
            lyrics: State of the recogniser.
            state: State of the source, unless that has ended; None for that of the newest chunk.
        """
        with self._lock:
            if self._source == "ended":
                state = "ended"
            lag_s, clipping = round(lyrics.lag_s, 1), any(passage.clipped for passage in self._recent)
            reported = (
                state or self.source_state,
                self._device,
                lyrics.health,
                self._lost_samples,
                clipping,
                self._title,
            )
            if reported == self._reported and abs(lag_s - self._reported_lag_s) < LAG_STEP_S:
                return
            self._reported, self._reported_lag_s = reported, lag_s
            peak_db, rms_db = self._levels()
            status = StreamStatus(
                source=reported[0],
                device=self._device,
                lyrics=lyrics.health,
                lag_s=lag_s,
                lost_samples=self._lost_samples,
                clipping=clipping,
                peak_db=peak_db,
                rms_db=rms_db,
                title=self._title.title or None,
                artist=self._title.artist or None,
                spread=self._spread,
            )
            self._sink.publish(status)

    def _begin_source(self, chunk: AudioChunk) -> None:
        self._device, self._source = chunk.new_source or self._device, chunk.source
        self._silent_samples = 0
        self._title = TrackTitle()
        self._recent.clear()

    def _add(self, chunk: AudioChunk) -> None:
        energy = float(np.einsum("i,i", chunk.samples, chunk.samples))
        peak = max(float(chunk.samples.max()), -float(chunk.samples.min()))
        silent = dbfs(math.sqrt(energy / len(chunk.samples))) < SILENCE_DBFS
        self._silent_samples = self._silent_samples + len(chunk.samples) if silent else 0
        self._recent.append(
            _Passage(
                end_sample=chunk.end_sample,
                length=len(chunk.samples),
                energy=energy,
                peak=peak,
                clipped=chunk.clipped_samples > 0,
            )
        )
        while self._recent[0].end_sample < chunk.end_sample - RECENT_S * SAMPLE_RATE_HZ:
            self._recent.popleft()

    def _levels(self) -> tuple[float | None, float | None]:
        """Peak and root mean square of the recent audio, decibels relative to full scale."""
        if not self._recent:
            return None, None
        length = sum(passage.length for passage in self._recent)
        peak = max(passage.peak for passage in self._recent)
        rms = math.sqrt(sum(passage.energy for passage in self._recent) / length)
        return round(dbfs(peak), 1), round(dbfs(rms), 1)


class Reopener(Protocol):
    """Opens the parts of a stream that begin anew with another source."""

    def emotion(self) -> EmotionStream: ...

    def lyrics(self) -> LyricFeed: ...


def _when_full(source: AudioSource) -> WhenFull:
    return "drop_oldest" if source.live else "block"


class Pipeline:
    """Runs one stream from its source to its sink.

    Args:
        source: Where the audio comes from.
        windower: Cuts it.
        lyrics: Gets the same audio; closed at the end.
        emotion: The joint model's stream.
        smoother: Smooths its estimates.
        sink: Takes every event.
        measure_levels: Returns the levels that a chunk completes, and none of a chunk that it was given before; None
            measures nothing.
        words_alone: The source has lyrics and no sound: predict from the lyrics alone.
        spread: Maps of the model for outputs; part of each status.
        reopen: Opens what begins anew with another source; None where the source stays the same.
    """

    def __init__(
        self,
        *,
        source: AudioSource,
        windower: Windower,
        lyrics: LyricFeed,
        emotion: EmotionStream,
        smoother: Smoother,
        sink: EventSink,
        measure_levels: Callable[[AudioChunk], Iterable[InputLevels]] | None = None,
        words_alone: bool = False,
        spread: Spread | None = None,
        reopen: Reopener | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._measure_levels = measure_levels
        self._processor = ChunkProcessor(windower, lyrics, emotion)
        self._windows: Mailbox[PendingWindow] = Mailbox(capacity=WAITING_WINDOWS, when_full=_when_full(source))
        self._smoother = smoother
        self._builder = FrameBuilder(
            smoother, words_alone=words_alone, dropped=lambda: self._windows.statistics().dropped
        )
        self._reopen = reopen
        self._has_ended = False  # the source; another one may follow
        self._closing: list[threading.Thread] = []  # former lyrics
        # Held while a chunk is processed, so that settings change between two chunks.
        self._processing = threading.Lock()
        # A file loses no line: those that wait are bounded by the windows that wait, and known lyrics by the size that
        # a lyrics file may have.
        self._lines: deque[PendingLine] = deque(maxlen=WAITING_LINES if source.live else None)
        self._status = StatusReporter(source.name, sink, spread)
        self._failure: BaseException | None = None
        self._has_begun = False
        self._is_over = False
        self.turned_at = time.monotonic()
        """When the inference loop last turned, monotonic seconds; at most ``STALLED_AFTER_S`` old unless it hangs."""

    def run(self) -> None:
        """Work until the source ends or ``stop`` is called; everything captured until then is published.

        Raises:
            SourceError: The source failed; what came before it was published.
        """
        self._has_begun = True
        capture = threading.Thread(target=self._capture_loop, name=f"capture {self._source.name}", daemon=True)
        capture.start()
        try:
            self._inference_loop()
        finally:
            self.stop()
            capture.join(END_WITHIN_S)
            self._is_over = True
            if capture.is_alive():
                log.warning("%s: the source did not end within %g s; abandoned", self._source.name, END_WITHIN_S)
            self._processor.lyrics.close()
            for closing in self._closing:
                closing.join()
            self._status.report(self._processor.lyrics.state(), "ended")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the stream soon, from any thread; idempotent."""
        self._source.close()
        self._windows.close()

    def close(self) -> None:
        """Stop, and release what was opened even if ``run`` was never called; idempotent."""
        self.stop()
        if not self._has_begun:  # else run does so when it ends
            self._processor.lyrics.close()

    def set_smoothing(self, settings: SmoothingSettings) -> None:
        """Smooth by other settings from now on; values and category go on. From any thread."""
        self._smoother.set_settings(settings)

    def set_hop(self, hop_samples: int) -> None:
        """Publish frames at another hop from now on; indices and times go on. From any thread."""
        with self._processing:
            self._processor.set_hop(hop_samples)

    def set_lyrics(self, lyrics: LyricFeed) -> None:
        """Take the lyrics from another feed from now on, and close the former one. From any thread."""
        with self._processing:
            self._replace_lyrics(lyrics)

    def _replace_lyrics(self, lyrics: LyricFeed) -> None:
        former = self._processor.lyrics
        self._lines.extend(self._processor.set_lyrics(lyrics))
        # A running decode ends first, which may take seconds; the process must not end before.
        closing = threading.Thread(target=former.close, name="close lyrics", daemon=True)
        closing.start()
        self._closing = [thread for thread in self._closing if thread.is_alive()] + [closing]

    def preview(
        self,
        schedule: Schedule,
        start_sample: int,
        samples: Samples,
        due_at: float,
        is_closed: Callable[[], bool],
    ) -> None:
        """Implement ``ports.Preview``: measure the levels of a chunk, and schedule each to be published when it is due.

        Args:
            schedule: Has each published.
            start_sample: As of ``ports.Preview``, like all below.
            samples: The chunk.
            due_at: When its first sample is due.
            is_closed: Tells whether the source is closed: then its levels are left out.
        """
        if self._measure_levels is None:
            return

        def publish(levels: InputLevels) -> None:
            if not is_closed():
                self._sink.publish(levels)

        measured = self._measure_levels(AudioChunk(start_sample=start_sample, samples=samples))
        begins_at = due_at - seconds(start_sample)
        schedule((begins_at + levels.t, functools.partial(publish, levels)) for levels in measured)

    def _capture_loop(self) -> None:
        try:
            for chunk in self._source.chunks():
                if self._is_over:  # the thread had been abandoned
                    return
                self._process_chunk(chunk)
            if not self._has_ended:
                self._hand_over(self._processor.finish())
        except MailboxClosed:
            log.debug("%s: stopped while capturing", self._source.name)
        except BaseException as error:  # raised again by run, in the caller's thread
            self._failure = error
        finally:
            self._windows.close()

    def _process_chunk(self, chunk: AudioChunk) -> None:
        with self._processing:
            if chunk.new_source is not None:
                self._begin_source()
            self._process(chunk)
            if chunk.source == "ended":
                self._hand_over(self._processor.finish())
                self._has_ended = True

    def _begin_source(self) -> None:
        """Begin with another source: a new context, and new lyrics where the former ones are finished."""
        self._windows.set_when_full(_when_full(self._source))
        if self._reopen is None:
            return
        self._processor.restart(self._reopen.emotion())
        if self._has_ended:
            self._replace_lyrics(self._reopen.lyrics())
        self._has_ended = False

    def _process(self, chunk: AudioChunk) -> None:
        if self._status.measure(chunk):
            self._status.report(self._processor.lyrics.state())
        if self._measure_levels is not None:
            for levels in self._measure_levels(chunk):
                self._sink.publish(levels)
        self._hand_over(self._processor.process(chunk))

    def _hand_over(self, results: Iterator[PendingWindow | PendingLine]) -> None:
        for result in results:
            if isinstance(result, PendingLine):
                self._lines.append(result)
            else:
                self._windows.put(result)

    def _inference_loop(self) -> None:
        while True:
            self.turned_at = time.monotonic()
            try:
                pending = self._windows.get(timeout_s=STALLED_AFTER_S)
            except TimeoutError:
                self._status.report(self._processor.lyrics.state(), "stalled")
                continue
            except MailboxClosed:
                self._publish_lines(known_at=AT_END)
                return
            self._publish_lines(known_at=pending.window.end_sample)
            for event in self._builder.build(pending):
                self._sink.publish(event)
            self._status.report(pending.lyrics)

    def _publish_lines(self, known_at: int) -> None:
        while self._lines and self._lines[0].known_at <= known_at:
            self._sink.publish(self._lines.popleft().line)
