"""The feeds of lyrics (``ports.LyricFeed``), and ``LyricsOpener``, which opens the right one for a stream.

``LiveLyrics`` and ``LiveKnownLyrics`` work in a thread that the caller never waits for. ``OfflineLyrics`` and
``KnownLyrics`` work in place on the sample clock, so that a file gives the same result at any speed. After audio up to
T was fed, nothing shows that a live listener could not have had at T.
"""

from __future__ import annotations

import abc
import logging
import os
import sys
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_mer.config import LyricsMode, LyricsSettings
from stream_mer.errors import LyricsError
from stream_mer.lyrics.files import lines_from, read_lyrics
from stream_mer.lyrics.gate import open_gate
from stream_mer.lyrics.sharing import RecogniserShare, ShareSettings, Ticket
from stream_mer.lyrics.text_features import LineReader, SentenceEncoder
from stream_mer.lyrics.tracker import DecodeJob, LanguageSettings, LyricTracker, TrackerSettings
from stream_mer.lyrics.transcript import LimitedRecogniser, Recogniser, TextEncoder, VocalGate
from stream_mer.lyrics.whisper import WhisperRecogniser
from stream_mer.ports import LyricFeed
from stream_mer.types import (
    NO_LYRICS,
    SAMPLE_RATE_HZ,
    AudioChunk,
    EncodedLine,
    LyricLine,
    LyricsHealth,
    LyricState,
    seconds,
)

_log = logging.getLogger(__name__)

LOADING, LAGGING, UNAVAILABLE = "lyrics_loading", "lyrics_lagging", "lyrics_unavailable"
"""Codes in ``LyricState.degraded``."""

MAX_FAILURES = 3
"""After this many failures in a row ``OfflineLyrics`` gives the recogniser up: a file cannot wait for it to recover."""

NICER_BY = 5
"""At this niceness the recogniser's threads get a quarter of a core that another thread of the process wants, too."""

_NICEST = 19

GIVE_WAY_S = 0.02
"""A decode begins this long after the audio that makes it due, which often ends a hop: that hop's frame comes first.

Both threads would wake at the same moment, often on the same core, and the frame would wait for 4 ms.
"""

AHEAD_LINES = 64
"""Most known lines that are encoded before their time."""

MAX_GROUP = 3
"""Most streams whose text is generated together: more would save little, and each would wait longer for the others."""

CLOSE_S = 10.0
"""Longest wait of ``close`` for the work in hand, which cannot be interrupted; then the thread is abandoned."""


class NoLyrics:
    """A feed without lyrics."""

    def feed(self, chunk: AudioChunk) -> None:
        """Ignore the audio."""

    def finish(self) -> None:
        """Do nothing."""

    def state(self) -> LyricState:
        return NO_LYRICS

    def take_lines(self) -> list[LyricLine]:
        return []

    def close(self) -> None:
        """Do nothing."""


class LineMemory:
    """The newest committed lines, which the text branch may read.

    Args:
        max_lines: Largest number of lines; the oldest are dropped.
        forget_s: Lines that ended this long ago are forgotten, because by then the song has changed. Until then the
            text branch itself gives a line less weight as it ages.
    """

    def __init__(self, *, max_lines: int = 64, forget_s: float = 180.0) -> None:
        self.max_lines = max_lines
        self._forget_s = forget_s
        self._lines: deque[EncodedLine] = deque(maxlen=max_lines)

    def add(self, line: EncodedLine) -> None:
        """Add a line that is newer than those before it."""
        self._lines.append(line)

    def lines(self, now_s: float) -> tuple[EncodedLine, ...]:
        """Return the lines at ``now_s``, oldest first; none ends later than that."""
        recent = (line for line in self._lines if now_s - line.t1 <= self._forget_s)
        return tuple(line if line.t1 <= now_s else replace(line, t1=now_s) for line in recent)


def lower_priority() -> None:
    """Lower the priority of this thread, and of those that it starts later. On Linux alone.

    A decode takes every core that it gets for a second or two, while an emotion frame needs one for a few milliseconds
    without delay. Threads inherit the priority, so call this before the recogniser, which starts some, is loaded.
    """
    if sys.platform != "linux":  # elsewhere niceness belongs to the process, emotion frames and all
        return
    try:
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _NICEST))
    except OSError as error:
        _log.debug("the recogniser's threads keep their priority: %s", error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """Limits of a live feed.

    Attributes:
        max_lag_s: The recogniser lags if more audio than this is not covered by a decode, seconds. Decodes of up to 3 s
            stay below it.
        close_s: Longest wait of ``close``, seconds.
        max_lines: Line revisions kept for ``take_lines``; the oldest are dropped.
    """

    max_lag_s: float = 7.0
    close_s: float = CLOSE_S
    max_lines: int = 256


class _LiveFeed(abc.ABC):
    """What the live feeds share: a thread that loads, then does one piece of work after another until ``close``.

    Args:
        encoder: Encodes lines.
        name: Of the thread.
        close_s: Longest wait of ``close`` for the work in hand, seconds.
    """

    def __init__(self, encoder: TextEncoder, *, name: str, close_s: float) -> None:
        self._reader = LineReader(encoder)
        self._close_s = close_s
        # Guards the state of the feed, for copies and bookkeeping alone: the worker runs gate, recogniser and encoder
        # outside of it.
        self._changed = threading.Condition()
        self._loading = True
        self._reason = ""
        self._closed = False
        self._worker = threading.Thread(target=self._work, name=name, daemon=True)

    @property
    def reason(self) -> str:
        """Why the lyrics have no influence; empty if they have."""
        with self._changed:
            return self._reason

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join(self._close_s)

    def _load(self) -> None:
        self._reader.prepare()

    @abc.abstractmethod
    def _run_once(self) -> bool:
        """Wait for work and do one piece of it; False when closed, or after a permanent failure."""

    def _work(self) -> None:
        """Run the worker thread."""
        lower_priority()
        try:
            self._load()
        except Exception as error:
            # Any failure must show in the state, not in a thread that died unnoticed.
            self._fail(error)
            return
        with self._changed:
            self._loading = False
        while self._run_once():
            pass

    def _fail(self, error: Exception) -> None:
        reason = _reason(error)
        with self._changed:
            is_new = not self._reason
            self._reason = reason
            self._loading = False
        if is_new:
            _log.warning("no lyrics: %s", reason)
            _log.debug("no lyrics", exc_info=error)


class LiveLyrics(_LiveFeed):
    """Recognises lyrics; no call blocks, except ``close``.

    The worker loads the weights, so a stream starts without them. Where vocals are due it waits for its turn at the
    recogniser, and then takes the newest audio: decodes that fell due meanwhile are skipped, and the tracker keeps the
    continuous audio. Whether it keeps up is measured in audio: how much no decode covers yet. A recogniser that fails
    is retried after ever longer stretches of audio; one without weights is not.

    Args:
        recogniser: Transcribes the audio.
        encoder: Encodes committed lines.
        tracker: Decides what to decode, and what becomes of the transcripts.
        settings: Limits.
        share: Grants turns at the recogniser to all streams that use it; None if this is the only one.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        *,
        tracker: LyricTracker | None = None,
        settings: LiveSettings | None = None,
        share: RecogniserShare | None = None,
    ) -> None:
        self._settings = settings or LiveSettings()
        super().__init__(encoder, name="lyrics", close_s=self._settings.close_s)
        self._recogniser = recogniser
        self._tracker = tracker or LyricTracker()
        self._memory = LineMemory()
        self._share = share or RecogniserShare()
        self._ticket: Ticket | None = None
        self._lines: deque[LyricLine] = deque(maxlen=self._settings.max_lines)
        self._to_encode: deque[LyricLine] = deque(maxlen=self._settings.max_lines)
        self._finished = False
        self._worker.start()

    def feed(self, chunk: AudioChunk) -> None:
        with self._changed:
            if self._closed or self._finished:
                return
            self._tracker.feed(chunk)
            if self._tracker.is_due:
                self._changed.notify_all()

    def finish(self) -> None:
        """Commit what the newest pass transcribed, without another decode."""
        with self._changed:
            self._finished = True
            self._tracker.finish()
            self._collect()
            self._withdraw()
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._withdraw()
        self._share.report(self, lags=False)
        super().close()

    def state(self) -> LyricState:
        with self._changed:
            lag_s = self._tracker.lag_s
            health, degraded = self._health(lag_s)
            lines = self._memory.lines(seconds(self._tracker.end_sample))
        return LyricState(lines=lines, health=health, degraded=degraded, lag_s=lag_s)

    def take_lines(self) -> list[LyricLine]:
        with self._changed:
            taken = list(self._lines)
            self._lines.clear()
        return taken

    def _health(self, lag_s: float) -> tuple[LyricsHealth, tuple[str, ...]]:
        if self._reason:
            return "unavailable", (UNAVAILABLE,)
        if self._loading:
            return "lagging", (LOADING,)
        if not self._finished and lag_s > self._settings.max_lag_s:
            return "lagging", (LAGGING,)
        return "ok", ()

    def _load(self) -> None:
        self._recogniser.load()
        super()._load()

    def _run_once(self) -> bool:
        work = self._next_work()
        if work is None:
            return False
        try:
            if isinstance(work, LyricLine):
                encoded = self._reader.read(work)
                with self._changed:
                    self._memory.add(encoded)
            else:
                self._recognise(work)
        except Exception as error:
            self._fail(error)
            return not isinstance(error, LyricsError)
        return True

    def _next_work(self) -> LyricLine | DecodeJob | None:
        """Wait for a line to encode, or for audio that is due; None when closed."""
        with self._changed:
            while not self._closed:
                if self._to_encode:
                    return self._to_encode.popleft()
                audio = self._tracker.take_due()
                if audio is not None:
                    return audio
                self._changed.wait()
                self._changed.wait(GIVE_WAY_S)
        return None

    def _recognise(self, audio: DecodeJob) -> None:
        """Run the gate; if there are vocals, wait for the turn, and decode the newest audio."""
        waiting: DecodeJob | None = audio
        try:
            waiting = self._admit(audio)
            ticket = self._queue() if waiting is not None else None
            if waiting is None or ticket is None:
                return
            with ticket.turn() as granted:
                if not granted:
                    return
                newest = self._renew(waiting)
                if newest is not waiting:
                    waiting = newest
                    waiting = self._admit(newest)
                if waiting is not None:
                    self._decode(waiting)
        except Exception:
            if waiting is not None:
                with self._changed:
                    self._tracker.reject(waiting)
            raise

    def _admit(self, audio: DecodeJob) -> DecodeJob | None:
        """Run the gate. Audio without vocals needs no decode, and may itself commit lines."""
        passages = self._tracker.gate.passages(audio.samples)
        with self._changed:
            job = self._tracker.admit(audio, passages)
            self._collect()
        return job

    def _queue(self) -> Ticket | None:
        with self._changed:
            if self._closed or self._finished:
                return None
            self._ticket = self._share.queue(waits_s=self._tracker.lag_s)
            return self._ticket

    def _withdraw(self) -> None:
        """Wait for no turn any more; the lock is held."""
        if self._ticket is not None:
            self._ticket.withdraw()

    def _renew(self, job: DecodeJob) -> DecodeJob:
        with self._changed:
            return self._tracker.renew(job)

    def _decode(self, job: DecodeJob) -> None:
        transcript = self._recogniser.transcribe(job.samples, language=job.language)
        with self._changed:
            lagged = self._tracker.lag_s > self._settings.max_lag_s
            self._tracker.accept(job, transcript)
            self._collect()
            recovered, self._reason = bool(self._reason), ""
        if recovered:
            _log.info("the recogniser works again")
        self._share.report(self, lags=lagged)

    def _collect(self) -> None:
        """Take the tracker's lines; the lock is held."""
        for line in self._tracker.take_lines():
            self._lines.append(line)
            if line.committed:
                self._to_encode.append(line)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, LyricsError) else f"{type(error).__name__}: {error}"


class OfflineLyrics:
    """Recognises lyrics inside ``feed``. The result does not depend on how the audio was cut into chunks.

    Args:
        recogniser: Transcribes the audio.
        encoder: Encodes committed lines.
        tracker: Decides what to decode, and what becomes of the transcripts.
        decode_s: A transcript becomes visible this long after the end of its audio, seconds of audio: about as long as
            a live decode takes.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        *,
        tracker: LyricTracker | None = None,
        decode_s: float = 1.0,
    ) -> None:
        self._recogniser = recogniser
        self._reader = LineReader(encoder)
        self._tracker = tracker or LyricTracker()
        self._decode_samples = round(decode_s * SAMPLE_RATE_HZ)
        self._memory = LineMemory()
        self._hidden: deque[tuple[int, LyricLine]] = deque()
        self._visible: list[LyricLine] = []
        self._gave_up = False
        self._finished = False
        self.reason = ""
        """Why there are no lyrics; empty if there are."""

    def feed(self, chunk: AudioChunk) -> None:
        for part in self._split_at_due(chunk):
            self._tracker.feed(part)
            if not self._gave_up:
                while not self._gave_up and (job := self._tracker.due()) is not None:
                    self._decode(job)
                self._hide(self._tracker.take_lines(), until_sample=part.end_sample + self._decode_samples)
            self._reveal(self._tracker.end_sample)

    def finish(self) -> None:
        """Decode and commit the rest; everything becomes visible."""
        if self._finished:
            return
        self._finished = True
        while not self._gave_up and (job := self._tracker.last_job()) is not None:
            self._decode(job)
        self._tracker.finish()
        end = self._tracker.end_sample
        self._hide(self._tracker.take_lines(), until_sample=end)
        self._reveal(end + self._decode_samples)

    def state(self) -> LyricState:
        return LyricState(
            lines=self._memory.lines(seconds(self._tracker.end_sample)),
            health="unavailable" if self.reason else "ok",
            degraded=(UNAVAILABLE,) if self.reason else (),
            lag_s=self._tracker.lag_s,
        )

    def take_lines(self) -> list[LyricLine]:
        taken, self._visible = self._visible, []
        return taken

    def close(self) -> None:
        """Do nothing."""

    def _split_at_due(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        """Cut a chunk wherever a decode falls due."""
        start = chunk.start_sample
        yield AudioChunk(start_sample=start, samples=chunk.samples[:0])  # sets the tracker's position
        while start < chunk.end_sample:
            next_due = self._tracker.next_due_sample
            stop = chunk.end_sample if next_due is None or next_due <= start else min(next_due, chunk.end_sample)
            samples = chunk.samples[start - chunk.start_sample : stop - chunk.start_sample]
            yield AudioChunk(start_sample=start, samples=samples)
            start = stop

    def _decode(self, job: DecodeJob) -> None:
        try:
            transcript = self._recogniser.transcribe(job.samples, language=job.language)
        except Exception as error:
            self._tracker.reject(job)
            _log.debug("recogniser failed", exc_info=True)
            self._fail(error, final=isinstance(error, LyricsError) or self._tracker.failures >= MAX_FAILURES)
        else:
            self._tracker.accept(job, transcript)
            self.reason = ""

    def _fail(self, error: Exception, *, final: bool) -> None:
        reason = _reason(error)
        if not self.reason:
            _log.warning("no lyrics: %s", reason)
        self.reason = reason
        self._gave_up = final

    def _hide(self, lines: list[LyricLine], *, until_sample: int) -> None:
        self._hidden.extend((until_sample, line) for line in lines)

    def _reveal(self, now_sample: int) -> None:
        while self._hidden and self._hidden[0][0] <= now_sample:
            _, line = self._hidden.popleft()
            self._visible.append(line)
            if not line.committed:
                continue
            try:
                self._memory.add(self._reader.read(line))
            except LyricsError as error:
                self._fail(error, final=True)


_log = logging.getLogger(__name__)


class _Score:
    """The known lines of a song, and the position in it: time 0 is sample 0 of the stream.

    A line is due, and committed, when its time has come; lines without times are due from the start.
    """

    def __init__(self, lines: Sequence[LyricLine]) -> None:
        self.lines = lines
        self._starts = [line.t0 for line in lines]
        self._end_sample = 0
        self._taken = 0
        self.due = 0

    @property
    def now_s(self) -> float:
        return seconds(self._end_sample)

    def advance(self, chunk: AudioChunk) -> range:
        """Take audio; return the indices of the lines whose time has come with it."""
        self._end_sample = max(self._end_sample, chunk.end_sample)
        before, self.due = self.due, bisect_right(self._starts, self.now_s)
        return range(before, self.due)

    def take(self) -> list[LyricLine]:
        """Return the lines that are due and were not taken yet."""
        before, self._taken = self._taken, self.due
        return list(self.lines[before : self.due])


class KnownLyrics:
    """Known lyrics, encoded inside ``feed``, 2 ms a line.

    If more lines are due than the memory holds, only the newest are encoded.

    Args:
        lines: The lines, oldest first.
        encoder: Encodes a line when its time comes.
    """

    def __init__(self, lines: Sequence[LyricLine], encoder: TextEncoder) -> None:
        self._score = _Score(lines)
        self._reader = LineReader(encoder)
        self._memory = LineMemory()

    def feed(self, chunk: AudioChunk) -> None:
        due = self._score.advance(chunk)
        for index in due:
            line = self._score.lines[index]
            style = self._reader.style(line)
            if index >= due.stop - self._memory.max_lines:
                self._memory.add(self._reader.encode(line, style))

    def finish(self) -> None:
        """Do nothing: lines whose time did not come were not sung."""

    def state(self) -> LyricState:
        return LyricState(lines=self._memory.lines(self._score.now_s), health="ok")

    def take_lines(self) -> list[LyricLine]:
        return self._score.take()

    def close(self) -> None:
        """Do nothing."""


class LiveKnownLyrics(_LiveFeed):
    """Known lyrics; no call blocks, except ``close``.

    The worker encodes the lines that the text branch may read now, the newest first, then up to ``AHEAD_LINES`` of the
    coming ones, and sleeps until time moves on. Due lines that are not encoded yet are missing from the state, which
    says so in ``degraded``.

    Args:
        lines: The lines, oldest first.
        encoder: Encodes lines.
        close_s: Longest wait of ``close`` for the line that is being encoded, seconds.
    """

    def __init__(self, lines: Sequence[LyricLine], encoder: TextEncoder, *, close_s: float = CLOSE_S) -> None:
        super().__init__(encoder, name="known lyrics", close_s=close_s)
        self._score = _Score(lines)
        self._encoded: dict[int, EncodedLine | None] = {}  # by index; None where the encoder failed on a line
        self._styles: list[NDArray[np.float32]] = []  # the worker's
        self._worker.start()

    def feed(self, chunk: AudioChunk) -> None:
        with self._changed:
            if self._score.advance(chunk):
                self._changed.notify_all()

    def finish(self) -> None:
        """Do nothing: lines whose time did not come were not sung."""

    def state(self) -> LyricState:
        with self._changed:
            memory = LineMemory()
            window = self._window()
            for line in map(self._encoded.get, window):
                if line is not None:
                    memory.add(line)
            missing = any(index not in self._encoded for index in window)
            health, degraded = self._health(missing=missing)
            return LyricState(lines=memory.lines(self._score.now_s), health=health, degraded=degraded)

    def take_lines(self) -> list[LyricLine]:
        with self._changed:
            return self._score.take()

    def _health(self, *, missing: bool) -> tuple[LyricsHealth, tuple[str, ...]]:
        if self._reason:
            return "unavailable", (UNAVAILABLE,)
        if missing:
            return "lagging", (LOADING if self._loading else LAGGING,)
        return "ok", ()

    def _window(self) -> range:
        """Return the indices of the lines that the text branch may read now."""
        return range(max(0, self._score.due - LineMemory().max_lines), self._score.due)

    def _run_once(self) -> bool:
        index = self._next_index()
        if index is None:
            return False
        try:
            encoded = self._encode(index)
        except LyricsError as error:
            self._fail(error)
            return False
        except Exception as error:
            _log.warning("a line of lyrics is skipped: the encoder failed: %s", error or type(error).__name__)
            encoded = None
        with self._changed:
            self._encoded[index] = encoded
        return True

    def _next_index(self) -> int | None:
        """Wait for a line that is needed; None when closed."""
        with self._changed:
            while not self._closed:
                window = self._window()
                for old in [index for index in self._encoded if index < window.start]:
                    del self._encoded[old]
                ahead = range(window.stop, min(window.stop + AHEAD_LINES, len(self._score.lines)))
                for index in chain(reversed(window), ahead):
                    if index not in self._encoded:
                        return index
                self._changed.wait()
        return None

    def _encode(self, index: int) -> EncodedLine | None:
        """Encode a line; None when closed meanwhile. Its style depends on all lines before it, which come first."""
        for line in self._score.lines[len(self._styles) : index + 1]:
            if self._closed:
                return None
            self._styles.append(self._reader.style(line))
        return self._reader.encode(self._score.lines[index], self._styles[index])


_log = logging.getLogger(__name__)


class LyricsOpener:
    """Opens feeds for any number of streams. They share one recogniser and one encoder, loaded at the first use.

    Args:
        settings: Where the lyrics come from.
        recogniser: Replaces Whisper.
        encoder: Replaces the multilingual sentence encoder.
        gate: Replaces the gate of the settings.
    """

    def __init__(
        self,
        settings: LyricsSettings | None = None,
        *,
        recogniser: Recogniser | None = None,
        encoder: TextEncoder | None = None,
        gate: VocalGate | None = None,
    ) -> None:
        self._settings = settings or LyricsSettings()
        self._gate = gate or open_gate(self._settings)
        self._offline = recogniser or open_recogniser(self._settings)
        self._live = recogniser or open_recogniser(self._settings, live=True)
        self._share = RecogniserShare(_share_settings(self._settings))
        self._encoder = encoder or SentenceEncoder()

    def open(
        self,
        *,
        live: bool,
        file: Path | None = None,
        mode: LyricsMode | None = None,
        languages: Sequence[str] | None = None,
        start_s: float = 0.0,
    ) -> LyricFeed:
        """Open the feed of one stream.

        Missing weights raise nothing here: the feed's state is then ``unavailable``, and the log says why.

        Args:
            live: The stream does not wait for recogniser and encoder.
            file: Lyrics file of this stream, in place of the settings.
            mode: Where its lyrics come from; None for what the settings say.
            languages: What may be sung in it; None for what the settings say.
            start_s: Where the stream starts in the times of a lyrics file, seconds.

        Raises:
            LyricsError: The lyrics file is missing or cannot be used.
            SettingError: The settings name an unknown encoding.
        """
        settings = self._settings
        mode = "known" if file is not None else mode or settings.mode
        if mode == "off":
            return NoLyrics()
        if mode == "recognise":
            chosen = settings.languages if languages is None else tuple(languages)
            if live:
                return LiveLyrics(
                    _limited(self._live, chosen), self._encoder, tracker=self._tracker(chosen), share=self._share
                )
            return OfflineLyrics(_limited(self._offline, chosen), self._encoder, tracker=self._tracker(chosen))
        file = file or settings.file
        if file is None:
            raise LyricsError("known lyrics were asked for without a file; name one")
        lines = lines_from(read_lyrics(file, encoding=settings.encoding), start_s)
        known = LiveKnownLyrics if live else KnownLyrics
        return known(lines, self._encoder)

    def _tracker(self, languages: Sequence[str]) -> LyricTracker:
        """Return a tracker for these languages: one is fixed, several are chosen from."""
        language = LanguageSettings(fixed=languages[0] if len(languages) == 1 else "")
        recheck_s = self._settings.recheck_s
        if not recheck_s:
            language = replace(language, recheck_s=float("inf"), doubt_s=float("inf"))
        else:
            language = replace(language, recheck_s=recheck_s)
        return LyricTracker(TrackerSettings(language=language), gate=self._gate)


def open_recogniser(settings: LyricsSettings, *, live: bool = False) -> WhisperRecogniser:
    """Return Whisper for these settings. Live decodes use a thread each, so that several run side by side."""
    threads, workers = (1, settings.cpu_threads) if live and settings.device == "cpu" else (settings.cpu_threads, 1)
    return WhisperRecogniser(
        settings.model,
        device=settings.device,
        cpu_threads=threads,
        workers=workers,
        allow_download=settings.allow_download,
    )


def _share_settings(settings: LyricsSettings) -> ShareSettings:
    if settings.device == "cpu":
        return ShareSettings(lanes=settings.cpu_threads, max_group=MAX_GROUP)
    return ShareSettings(max_cpu_share=1.0 if settings.device == "cuda" else ShareSettings().max_cpu_share)


def _limited(recogniser: Recogniser, languages: Sequence[str]) -> Recogniser:
    return LimitedRecogniser(recogniser, languages) if len(languages) > 1 else recogniser
