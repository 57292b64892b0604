"""Group words into lines, on a stream and on a whole transcript alike. Pure.

A line ends after a pause, after sentence-final punctuation, or when it is full. Whether a word starts a new line
depends only on itself and the words before, so that words one by one give the same lines as all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stream_mer.types import LyricLine, LyricWord

_FINAL_PUNCTUATION = (".", "!", "?", "…", "。", "！", "？")
_AFTER_PAUSE_S = 0.01
_CLOSING_MARKS = "\"'”’)]}»」』"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """When a line ends.

    Attributes:
        pause_s: A longer pause between two words ends a line, seconds.
        max_words: Most words in a line.
        max_s: Longest line, from the start of its first word to the end of its last, seconds; one long word may exceed
            it.
        wrap_words: From this many words on, the shorter ``wrap_pause_s`` ends the line.
        wrap_pause_s: See ``wrap_words``, seconds.
    """

    pause_s: float = 0.9
    max_words: int = 12
    max_s: float = 8.0
    wrap_words: int = 6
    wrap_pause_s: float = 0.5


DEFAULT_LINES = LineSettings()


def is_full(line: Sequence[LyricWord], settings: LineSettings = DEFAULT_LINES) -> bool:
    """Return whether no word can follow in this line."""
    if not line:
        return False
    return len(line) >= settings.max_words or _ends_sentence(line[-1].text)


def starts_line(line: Sequence[LyricWord], word: LyricWord, settings: LineSettings = DEFAULT_LINES) -> bool:
    """Return whether ``word`` starts a new line after the open ``line``."""
    if not line:
        return False
    pause_s = word.t0 - line[-1].t1
    wraps = len(line) >= settings.wrap_words and pause_s > settings.wrap_pause_s
    too_long = word.t1 - line[0].t0 > settings.max_s
    return is_full(line, settings) or pause_s > settings.pause_s or wraps or too_long


def split_lines(words: Sequence[LyricWord], settings: LineSettings = DEFAULT_LINES) -> list[list[LyricWord]]:
    """Group the words of a whole transcript into lines."""
    lines: list[list[LyricWord]] = []
    for word in words:
        if not lines or starts_line(lines[-1], word, settings):
            lines.append([])
        lines[-1].append(word)
    return lines


def join_words(words: Sequence[LyricWord]) -> str:
    """Join words to text, with spaces except in scripts that use none."""
    text = ""
    for word in words:
        piece = word.text.strip()
        glued = bool(text) and bool(piece) and _is_unspaced(text[-1]) and _is_unspaced(piece[0])
        text += piece if glued or not text else f" {piece}"
    return text


class LineBuilder:
    """Builds ``LyricLine`` revisions from words as they are settled.

    One line at a time is open. ``show`` returns it as provisional whenever it changed; at its end it is committed. Its
    settled words only grow.
    """

    def __init__(self, settings: LineSettings = DEFAULT_LINES) -> None:
        self._settings = settings
        self._segment = 0
        self._revision = 0
        self._open: list[LyricWord] = []
        self._shown: LyricLine | None = None
        self._language = ""
        self._not_before_s = float("-inf")

    @property
    def open_words(self) -> tuple[LyricWord, ...]:
        """Settled words of the open line."""
        return tuple(self._open)

    def add(self, words: Sequence[LyricWord], *, language: str = "") -> list[LyricLine]:
        """Take settled words; return the lines that they end, committed, oldest first."""
        ended: list[LyricLine] = []
        for word in words:
            placed = self._placed(word)
            if starts_line(self._open, placed, self._settings):
                ended.extend(self._close())
            self._language = language
            self._open.append(placed)
            if is_full(self._open, self._settings):
                ended.extend(self._close())
        return ended

    def show(self, pending: Sequence[LyricWord] = (), *, language: str = "") -> list[LyricLine]:
        """Return the open line with the pending words at its end, if it changed.

        Pending words that do not fit wait until the line ends, so that a word never moves to another line while people
        read.

        Args:
            pending: Words after the settled ones.
            language: Their language, if there are no settled words.
        """
        words = list(self._open)
        for word in pending:
            placed = self._placed(word)
            if starts_line(words, placed, self._settings):
                break
            words.append(placed)
        if self._shown is None and not words:
            return []
        line = self._line(words, committed=False, language=self._language if self._open else language)
        if self._shown is not None and replace(self._shown, revision=line.revision) == line:
            return []
        self._revision += 1
        self._shown = line
        return [line]

    def close_by(self, t_s: float) -> list[LyricLine]:
        """End the open line if no word that starts at ``t_s`` or later can belong to it; return it.

        An earlier word that follows nevertheless is moved after the pause that ended the line, so that the lines stay
        those of ``split_lines``.
        """
        if not self._open or t_s - self._open[-1].t1 <= self._settings.pause_s:
            return []
        self._not_before_s = self._open[-1].t1 + self._settings.pause_s + _AFTER_PAUSE_S
        return self._close()

    def finish(self) -> list[LyricLine]:
        """End the open line, or withdraw one without settled words; return it."""
        return self._close() or self.show()

    def _placed(self, word: LyricWord) -> LyricWord:
        if word.t0 >= self._not_before_s:
            return word
        return replace(word, t0=self._not_before_s, t1=max(word.t1, self._not_before_s))

    def _close(self) -> list[LyricLine]:
        if not self._open:
            return []
        line = self._line(self._open, committed=True, language=self._language)
        self._open = []
        self._shown = None
        self._segment += 1
        self._revision = 0
        return [line]

    def _line(self, words: Sequence[LyricWord], *, committed: bool, language: str) -> LyricLine:
        """Return the line of these words; without any, one that withdraws what was shown."""
        before = self._shown
        return LyricLine(
            segment=self._segment,
            revision=self._revision,
            t0=words[0].t0 if words or before is None else before.t0,
            t1=max(word.t1 for word in words) if words or before is None else before.t1,
            text=join_words(words),
            committed=committed,
            language=language,
            words=tuple(words),
            settled_words=len(self._open),
        )


def _ends_sentence(text: str) -> bool:
    return text.strip().rstrip(_CLOSING_MARKS).endswith(_FINAL_PUNCTUATION)


def _is_unspaced(char: str) -> bool:
    """Return whether it is Chinese, Japanese (or their punctuation), Thai, Lao, Khmer or Burmese. Korean has spaces."""
    point = ord(char)
    return (
        0x2E80 <= point <= 0x9FFF or 0xF900 <= point <= 0xFAFF or 0xFF00 <= point <= 0xFFEF or 0x0E00 <= point <= 0x0EFF
        or 0x1000 <= point <= 0x109F or 0x1780 <= point <= 0x17FF or 0x20000 <= point <= 0x3FFFF
    )  # fmt: skip
