"""Known lyrics, in place of recognition: of a file in place, of a live stream beside it.

A line becomes visible, committed, when its time on the stream's clock has come; lines without times are known from the
start. What the text branch reads of a line has to be computed first, 2 ms a line, and the sentence encoder loaded. A
file waits for that, so that its frames are the same at any speed. A live stream does not: `LiveKnownLyrics` encodes in
a thread of its own, what is needed first.
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
from stream_mer.lyrics.feeds import LAGGING, LOADING, UNAVAILABLE, LineMemory, MemorySettings, give_way
from stream_mer.lyrics.text_features import LineReader
from stream_mer.lyrics.transcript import TextEncoder
from stream_mer.types import AudioChunk, EncodedLine, LyricLine, LyricsHealth, LyricState, seconds

_log = logging.getLogger(__name__)

AHEAD_LINES = 64
"""Lines that are encoded before their time, at most."""

CLOSE_S = 10.0
"""How long ``close`` waits for the line that is being encoded; the thread dies with the process after that."""


class _Score:
    """The lines of a song and how far it has come: time 0 is sample 0 of the stream."""

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
        """Take audio; return the places of the lines whose time has come with it."""
        self._end_sample = max(self._end_sample, chunk.end_sample)
        before, self.due = self.due, bisect_right(self._starts, self.now_s)
        return range(before, self.due)

    def take(self) -> list[LyricLine]:
        """The lines that are due and were not taken yet."""
        before, self._taken = self._taken, self.due
        return list(self.lines[before : self.due])


class KnownLyrics:
    """A `LyricFeed` of a file that knows the words beforehand, and waits for their encoding.

    Args:
        lines: The lines, oldest first.
        encoder: Turns lines into vectors, as their time comes.
        memory: How much is remembered. Of more lines that are due at once only the newest are encoded.
    """

    def __init__(
        self, lines: Sequence[LyricLine], encoder: TextEncoder, *, memory: MemorySettings | None = None
    ) -> None:
        self._score = _Score(lines)
        self._reader = LineReader(encoder)
        self._settings = memory or MemorySettings()
        self._memory = LineMemory(self._settings)

    def feed(self, chunk: AudioChunk) -> None:
        fresh = self._score.advance(chunk)
        for place in fresh:
            line = self._score.lines[place]
            style = self._reader.style(line)
            if place >= fresh.stop - self._settings.max_lines:  # older ones would be forgotten at once
                self._memory.add(self._reader.encode(line, style))

    def finish(self) -> None:
        """Nothing: lines whose time did not come were not sung."""

    def state(self) -> LyricState:
        return LyricState(lines=self._memory.lines(self._score.now_s), health="ok")

    def take_lines(self) -> list[LyricLine]:
        return self._score.take()

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""


class LiveKnownLyrics:
    """A `LyricFeed` of a live stream that knows the words beforehand; every call but ``close`` returns at once.

    A thread encodes the lines that the text branch may read now, the newest first, then up to ``AHEAD_LINES`` of those
    to come, and sleeps until time moves on. Lines that are due and not encoded yet are missing from the state, which
    says so.

    Args:
        lines: The lines, oldest first.
        encoder: Turns lines into vectors.
        memory: How much is remembered.
        close_s: How long ``close`` waits for the line that is being encoded.
    """

    def __init__(
        self,
        lines: Sequence[LyricLine],
        encoder: TextEncoder,
        *,
        memory: MemorySettings | None = None,
        close_s: float = CLOSE_S,
    ) -> None:
        self._score = _Score(lines)
        self._reader = LineReader(encoder)
        self._settings = memory or MemorySettings()
        self._close_s = close_s
        self._encoded: dict[int, EncodedLine | None] = {}  # by place; None where the encoder failed on a line
        self._styles: dict[int, NDArray[np.float32]] = {}
        self._styled = 0
        # Guards the above, except for the reader and the styles, which are the thread's own; held for bookkeeping only.
        self._changed = threading.Condition()
        self._loading = True
        self._reason = ""
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="known lyrics", daemon=True)
        self._worker.start()

    @property
    def reason(self) -> str:
        """Why the words have no influence, for people; empty when all is well."""
        with self._changed:
            return self._reason

    def feed(self, chunk: AudioChunk) -> None:
        with self._changed:
            if self._score.advance(chunk):
                self._changed.notify_all()

    def finish(self) -> None:
        """Nothing: lines whose time did not come were not sung."""

    def state(self) -> LyricState:
        with self._changed:
            remembered = LineMemory(self._settings)
            missing = False
            for place in self._remembered():
                line = self._encoded.get(place)
                missing |= place not in self._encoded
                if line is not None:
                    remembered.add(line)
            health, degraded = self._health(missing=missing)
            return LyricState(lines=remembered.lines(self._score.now_s), health=health, degraded=degraded)

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

    def _remembered(self) -> range:
        """Places of the lines that the text branch may read now."""
        return range(max(0, self._score.due - self._settings.max_lines), self._score.due)

    def _work(self) -> None:
        """Body of the thread."""
        give_way()
        try:
            self._reader.prepare()
        except Exception as error:
            # Whatever it is, it must end in the state that listeners see, not in a dead thread that nobody looks at.
            self._fail(error)
            return
        with self._changed:
            self._loading = False
        while (place := self._next_place()) is not None:
            try:
                encoded = self._encode(place)
            except LyricsError as error:
                self._fail(error)
                return
            except Exception as error:
                _log.warning("a line of lyrics is left out, for the encoder failed: %s", error or type(error).__name__)
                encoded = None
            with self._changed:
                self._encoded[place] = encoded

    def _next_place(self) -> int | None:
        """Wait for a line that is needed; None when closed."""
        with self._changed:
            while not self._closed:
                remembered = self._remembered()
                for old in [place for place in self._encoded if place < remembered.start]:
                    del self._encoded[old]
                ahead = range(remembered.stop, min(remembered.stop + AHEAD_LINES, len(self._score.lines)))
                for place in chain(reversed(remembered), ahead):
                    if place not in self._encoded:
                        return place
                self._changed.wait()
        return None

    def _encode(self, place: int) -> EncodedLine | None:
        """Encode a line; None when closed meanwhile. Its style depends on all lines before it, so these go first."""
        while self._styled <= place:
            if self._closed:
                return None
            self._styles[self._styled] = self._reader.style(self._score.lines[self._styled])
            self._styled += 1
        return self._reader.encode(self._score.lines[place], self._styles[place])

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._reason = str(error) or type(error).__name__
        _log.warning("known lyrics have no influence: %s", error)
        _log.debug("known lyrics", exc_info=error)
