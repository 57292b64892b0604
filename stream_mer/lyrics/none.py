"""Feeds without lyrics: not wanted, or not to be had."""

from __future__ import annotations

from stream_mer.types import NO_LYRICS, AudioChunk, LyricLine, LyricState


class NoLyrics:
    """A `LyricFeed` for those who want none."""

    def __init__(self) -> None:
        self._state = NO_LYRICS

    def feed(self, chunk: AudioChunk) -> None:
        """Ignore the audio."""

    def finish(self) -> None:
        """Nothing to commit."""

    def state(self) -> LyricState:
        return self._state

    def take_lines(self) -> list[LyricLine]:
        return []

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""


class UnavailableLyrics(NoLyrics):
    """A `LyricFeed` for those who want lyrics and cannot have them: every frame says so.

    Args:
        reason: Why, for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason
        self._state = LyricState(health="unavailable", degraded=("lyrics_unavailable",))
