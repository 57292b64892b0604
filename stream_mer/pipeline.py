"""One stream at work: source → windows → joint model → smoothing → sink, with the lyrics latched beside it.

Two threads do the work. The *listening* thread iterates the source, feeds the lyrics, cuts the windows and latches
the newest ``LyricState`` to each. The *feeling* thread (the caller of ``run``) predicts, smooths and publishes. Between
them stands one mailbox of two windows: a live source drops the oldest and counts it, any other source waits. So a file
gives the same frames at any speed, and a stage never lags behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from stream_mer.audio.audio_state import REASONS, SILENCE, counts, is_silent, without_emotion
from stream_mer.ports import AudioSource, EmotionStream, EventSink, LyricFeed
from stream_mer.status import StatusTeller
from stream_mer.types import (
    AudioChunk,
    CategoryChange,
    EmotionEstimate,
    EmotionFrame,
    InputLevels,
    Latency,
    LyricLine,
    LyricState,
    Window,
    seconds,
)
from stream_mer.utils.mailbox import Mailbox, MailboxClosed

log = logging.getLogger(__name__)

WAITING_WINDOWS = 2
WAITING_LINES = 256
NEVER_LATER = 2**63  # sample of what became known by the end of the stream only
STALLED_AFTER_S = 3.0  # opening an idle sound device can take 1.3 s
END_WITHIN_S = 2.0
"""A source that was closed may take so long to notice; one that hangs is left behind, in its daemon thread."""

SONG_ENDS_AFTER_S = 2.0
"""So long without music ends a song, and with it what its words have to say."""

AUDIO_LOST = "audio_lost"
"""In ``degraded``: audio of this frame's newest hop was lost, and silence stands in for it."""


class Windowing(Protocol):
    """What the pipeline needs of ``audio.windowing.Windower``."""

    @property
    def hop_samples(self) -> int: ...

    def feed(self, chunk: AudioChunk) -> Iterable[Window]: ...

    def finish(self) -> Window | None: ...


class Smoothing(Protocol):
    """What the pipeline needs of ``emotion.smoothing.Smoother``."""

    def feed(self, t: float, estimate: EmotionEstimate) -> SmoothedValues: ...


class Metering(Protocol):
    """What the pipeline needs of ``audio.level_meter.LevelMeter``."""

    def feed(self, chunk: AudioChunk) -> Iterable[InputLevels]: ...


class SmoothedValues(Protocol):
    """What ``emotion.smoothing.Smoothed`` holds."""

    @property
    def valence(self) -> float: ...
    @property
    def arousal(self) -> float: ...
    @property
    def probs(self) -> Mapping[str, float]: ...
    @property
    def category(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def change(self) -> CategoryChange | None: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cut:
    """A window on its way to the model, with the lyrics that were known when it was cut."""

    window: Window
    lyrics: LyricState
    cut_at: float


class Pipeline:
    """Runs one stream from its source to its sink.

    Args:
        source: Where the audio comes from.
        windower: Cuts it.
        lyrics: Listens beside the model.
        emotion: The joint model's stream.
        smoother: Steadies its estimates.
        sink: Takes every event.
        meter: Measures levels and onsets for those who want them; None measures nothing.
        words_alone: The source has words and no sound, so that they alone are judged.
    """

    def __init__(
        self,
        *,
        source: AudioSource,
        windower: Windowing,
        lyrics: LyricFeed,
        emotion: EmotionStream,
        smoother: Smoothing,
        sink: EventSink,
        meter: Metering | None = None,
        words_alone: bool = False,
    ) -> None:
        self._source = source
        self._windower = windower
        self._lyrics = lyrics
        self._emotion = emotion
        self._smoother = smoother
        self._sink = sink
        self._meter = meter
        self._words_alone = words_alone
        self._windows: Mailbox[_Cut] = Mailbox(
            capacity=WAITING_WINDOWS, when_full="drop_oldest" if source.live else "block"
        )
        # Lines on their way, each with the sample at which it was known. A file loses none: what waits of its lines is
        # bounded by the windows that wait, and of known lyrics by the size that a lyrics file may have.
        self._lines: deque[tuple[int, LyricLine]] = deque(maxlen=WAITING_LINES if source.live else None)
        self._status = StatusTeller(source.name, sink)
        self._failure: BaseException | None = None
        self._music_until_s = 0.0  # when there was music last, seconds
        self._song_since_s = 0.0  # words of before belong to a song that has ended
        self._has_begun = False
        self._is_over = False
        self.turned_at = time.monotonic()
        """When the loop that computes came round last, by the monotonic clock: each ``STALLED_AFTER_S`` at least."""

    def run(self) -> None:
        """Work until the source ends or ``stop`` is called; everything heard until then is published.

        Raises:
            SourceError: The source failed; what came before it was published.
        """
        self._has_begun = True
        listening = threading.Thread(target=self._listen, name=f"listen {self._source.name}", daemon=True)
        listening.start()
        try:
            self._feel()
        finally:
            self.stop()
            listening.join(END_WITHIN_S)
            self._is_over = True
            if listening.is_alive():
                log.warning("%s: its source does not end; it is left behind", self._source.name)
            self._lyrics.close()
            self._status.tell(self._lyrics.state(), "ended")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the stream soon, from any thread; idempotent."""
        self._source.close()
        self._windows.close()

    def close(self) -> None:
        """Stop, and let go of what was opened even if it was never run; idempotent."""
        self.stop()
        if not self._has_begun:  # else run does, when it has ended
            self._lyrics.close()

    def _listen(self) -> None:
        try:
            for chunk in self._source.chunks():
                if self._is_over:  # it had been left behind
                    return
                if self._status.hear(chunk):
                    self._status.tell(self._lyrics.state())
                self._publish_levels(chunk)
                for piece in _cut_at_hops(chunk, self._windower.hop_samples):
                    self._hear(piece)
            self._lyrics.finish()
            self._take_lines(known_at=NEVER_LATER)
            tail = self._windower.finish()
            if tail is not None:
                self._hand_over(tail)
        except MailboxClosed:
            log.debug("%s: stopped while listening", self._source.name)
        except BaseException as error:  # raised again by run, in the caller's thread
            self._failure = error
        finally:
            self._windows.close()

    def _publish_levels(self, chunk: AudioChunk) -> None:
        if self._meter is not None:
            for levels in self._meter.feed(chunk):
                self._sink.publish(levels)

    def _hear(self, piece: AudioChunk) -> None:
        """Take audio that reaches no further than the next cut, so that a window's lyrics are never newer than it."""
        windows = list(self._windower.feed(piece))
        of_gap = sum(window.end_sample <= piece.start_sample for window in windows)  # of silence for lost audio
        for window in windows[:of_gap]:
            self._hand_over(window)
        self._lyrics.feed(piece)
        self._take_lines(known_at=piece.end_sample)
        for window in windows[of_gap:]:
            self._hand_over(window)

    def _take_lines(self, known_at: int) -> None:
        self._lines.extend((known_at, line) for line in self._lyrics.take_lines())

    def _hand_over(self, window: Window) -> None:
        self._windows.put(_Cut(window=window, lyrics=self._lyrics.state(), cut_at=time.monotonic()))

    def _feel(self) -> None:
        while True:
            self.turned_at = time.monotonic()
            try:
                cut = self._windows.get(timeout_s=STALLED_AFTER_S)
            except TimeoutError:
                self._status.tell(self._lyrics.state(), "stalled")
                continue
            except MailboxClosed:
                self._publish_lines()
                return
            self._publish_lines(known_at=cut.window.end_sample)
            self._publish_frame(cut)
            self._status.tell(cut.lyrics)

    def _publish_lines(self, known_at: int | None = None) -> None:
        while self._lines and (known_at is None or self._lines[0][0] <= known_at):
            self._sink.publish(self._lines.popleft()[1])

    def _publish_frame(self, cut: _Cut) -> None:
        taken_at = time.monotonic()
        window, silent = cut.window, not self._words_alone and is_silent(cut.window)
        lyrics = self._words_of_this_song(cut.lyrics, silent=silent)
        estimate = self._emotion.predict(window, lyrics)
        # The model may have been busy with other streams' windows: that is waiting too.
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
        self._notice_song_end(t1, estimate)
        smoothed = self._smoother.feed(t1, estimate)
        self._sink.publish(
            EmotionFrame(
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
                    capture=1e3 * (cut.cut_at - window.captured_at),
                    queue=1e3 * (taken_at - cut.cut_at) + waited_ms,
                    features=estimate.features_ms,
                    model=estimate.model_ms,
                    total=1e3 * (time.monotonic() - window.captured_at),
                ),
                dropped=self._windows.statistics().dropped,
            )
        )
        if smoothed.change is not None:
            self._sink.publish(smoothed.change)

    def _words_of_this_song(self, lyrics: LyricState, *, silent: bool) -> LyricState:
        """The lyrics without lines that decide nothing: in silence all of them, else those of songs that have ended.

        Lines without times (``t1`` 0) are given beforehand, and so belong to what is playing.
        """
        if silent:
            return replace(lyrics, lines=())
        since_s = self._song_since_s
        return replace(lyrics, lines=tuple(line for line in lyrics.lines if line.t1 > since_s or line.t1 == 0))

    def _notice_song_end(self, t1: float, estimate: EmotionEstimate) -> None:
        """A song has ended once there was no music for ``SONG_ENDS_AFTER_S``; the next one begins with the music."""
        if self._words_alone or counts(estimate):
            self._music_until_s = t1
        elif t1 - self._music_until_s >= SONG_ENDS_AFTER_S:
            self._song_since_s = t1


def _cut_at_hops(chunk: AudioChunk, hop_samples: int) -> Iterator[AudioChunk]:
    """Cut a chunk where windows end."""
    start = chunk.start_sample
    while start < chunk.end_sample:
        stop = min(chunk.end_sample, (start // hop_samples + 1) * hop_samples)
        samples = chunk.samples[start - chunk.start_sample : stop - chunk.start_sample]
        yield replace(chunk, start_sample=start, samples=samples)
        start = stop
