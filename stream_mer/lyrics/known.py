"""Known lyrics in place of recognition, as a ``ports.LyricFeed``: inside the audio of a file, or beside a live stream.

A line becomes visible, committed, when its time on the stream's clock has come; lines without times are visible from
the start. The text branch needs an encoded line, which takes 2 ms a line and a loaded encoder. A file waits for that,
so that its frames are the same at any speed. A live stream does not: ``LiveKnownLyrics`` encodes in its own thread, the
most urgent line first.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import LyricsError
from stream_mer.lyrics.feeds import LAGGING, LOADING, UNAVAILABLE, LineMemory, lower_priority
from stream_mer.lyrics.text_features import LineReader
from stream_mer.lyrics.transcript import TextEncoder
from stream_mer.types import AudioChunk, EncodedLine, LyricLine, LyricsHealth, LyricState, seconds

_log = logging.getLogger(__name__)

AHEAD_LINES = 64
"""Most lines that are encoded before their time."""

CLOSE_S = 10.0
"""Longest wait of ``close`` for the line that is being encoded; after that the thread ends with the process."""


class _Score:
    """The lines of a song, and the position in it: time 0 is sample 0 of the stream."""

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
    """A feed that waits for the encoder. Of more due lines than the memory holds, only the newest are encoded.

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


class LiveKnownLyrics:
    """A feed whose every call returns at once, except ``close``.

    A thread encodes the lines that the text branch may read now, the newest first, then up to ``AHEAD_LINES`` of the
    coming ones, and sleeps until time moves on. Due lines that are not encoded yet are missing from the state, which
    says so.

    Args:
        lines: The lines, oldest first.
        encoder: Encodes lines.
        close_s: Longest wait of ``close`` for the line that is being encoded, seconds.
    """

    def __init__(self, lines: Sequence[LyricLine], encoder: TextEncoder, *, close_s: float = CLOSE_S) -> None:
        self._score = _Score(lines)
        self._reader = LineReader(encoder)
        self._close_s = close_s
        self._encoded: dict[int, EncodedLine | None] = {}  # by index; None where the encoder failed on a line
        self._styles: list[NDArray[np.float32]] = []
        # Guards the above, except for reader and styles, which belong to the thread; held for bookkeeping alone.
        self._changed = threading.Condition()
        self._loading = True
        self._reason = ""
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="known lyrics", daemon=True)
        self._worker.start()

    @property
    def reason(self) -> str:
        """Why the lyrics have no influence; empty if they have."""
        with self._changed:
            return self._reason

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

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join(self._close_s)

    def _health(self, *, missing: bool) -> tuple[LyricsHealth, tuple[str, ...]]:
        if self._reason:
            return "unavailable", (UNAVAILABLE,)
        if missing:
            return "lagging", (LOADING if self._loading else LAGGING,)
        return "ok", ()

    def _window(self) -> range:
        """Return the indices of the lines that the text branch may read now."""
        return range(max(0, self._score.due - LineMemory().max_lines), self._score.due)

    def _work(self) -> None:
        """Run the worker thread."""
        lower_priority()
        try:
            self._reader.prepare()
        except Exception as error:
            # Any failure must show in the state, not in a thread that died unnoticed.
            self._fail(error)
            return
        with self._changed:
            self._loading = False
        while (index := self._next_index()) is not None:
            try:
                encoded = self._encode(index)
            except LyricsError as error:
                self._fail(error)
                return
            except Exception as error:
                _log.warning("a line of lyrics is skipped: the encoder failed: %s", error or type(error).__name__)
                encoded = None
            with self._changed:
                self._encoded[index] = encoded

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

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._reason = str(error) or type(error).__name__
        _log.warning("known lyrics have no influence: %s", error)
        _log.debug("known lyrics", exc_info=error)
