"""Known lyrics from a file, in place of recognition: LRC, where each line has its time, or plain text.

A line of LRC becomes visible, committed, when its time on the stream's clock has come; it ends where the next one
starts. Plain text has no times, so all of its lines are known from the start, with ``t0 = t1 = 0``.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stream_mer.errors import LyricsError
from stream_mer.lyrics.memory import LineMemory, MemorySettings
from stream_mer.lyrics.reader import LineReader
from stream_mer.lyrics.transcript import TextEncoder
from stream_mer.types import AudioChunk, LyricLine, LyricState, LyricWord, seconds

MAX_FILE_BYTES = 1 << 20
"""A megabyte is hundreds of songs: whatever is larger is no lyrics file."""

MAX_LINE_S = 10.0
"""A line ends at the latest this long after it started."""

LONGEST_S = 4 * 3600.0
"""Words that go on for longer are none of a show."""

LYRICS_SUFFIXES = (".lrc", ".txt")
"""How the names of lyrics files end."""

_LINE_TAG = re.compile(r"\s*\[(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)\]")
_WORD_TAG = re.compile(r"<(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)>")
_META_TAG = re.compile(r"^\s*\[([A-Za-z#][\w#]*):(.*)\]\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _TimedText:
    t0: float
    text: str
    words: tuple[tuple[float, str], ...] = ()


def read_lyrics(path: Path) -> list[LyricLine]:
    """Read a lyrics file.

    Raises:
        LyricsError: It is missing, cannot be read, is empty, too large or no text.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise LyricsError(f"{path} is larger than a megabyte, so it is no lyrics file; give LRC or plain text")
        data = path.read_bytes()
    except OSError as error:
        raise LyricsError(f"cannot read lyrics from {path}: {error.strerror or error}; check the path") from error
    lines = parse_lyrics(_decode(data, path))
    if not lines:
        raise LyricsError(f"{path} holds no lyrics; give LRC or plain text with a line of words")
    return lines


def parse_lyrics(text: str) -> list[LyricLine]:
    """Parse the text of a lyrics file: LRC if any line has a time, otherwise plain text."""
    if any(_LINE_TAG.match(row) for row in text.splitlines()):
        return _parse_lrc(text)
    rows = (row.strip() for row in text.splitlines())
    spoken = [row for row in rows if row and not _META_TAG.match(row)]
    return [_line(segment=index, t0=0.0, t1=0.0, text=row) for index, row in enumerate(spoken)]


def words_duration_s(path: Path) -> float:
    """How long the words of a lyrics file go on: to the end of the last line, and a second at least.

    Raises:
        LyricsError: As ``read_lyrics``; or a line stands hours away, which is a mistyped time.
    """
    length_s = max(1.0, *(line.t1 for line in read_lyrics(path)))
    if length_s > LONGEST_S:
        raise LyricsError(f"{path} has a line after {length_s / 3600:.1f} hours: correct its time, or split the file")
    return length_s


class KnownLyrics:
    """A `LyricFeed` that knows the words beforehand. Time 0 of the file is sample 0 of the stream.

    Args:
        lines: The lines, oldest first.
        encoder: Turns lines into vectors; lines without times are encoded at the first audio, others as their time
            comes.
        memory: How much is remembered.
    """

    def __init__(self, lines: list[LyricLine], encoder: TextEncoder, *, memory: MemorySettings | None = None) -> None:
        self._ahead = deque(lines)
        self._reader = LineReader(encoder)
        self._memory = LineMemory(memory)
        self._visible: list[LyricLine] = []
        self._end_sample = 0

    def feed(self, chunk: AudioChunk) -> None:
        self._end_sample = max(self._end_sample, chunk.end_sample)
        now_s = seconds(self._end_sample)
        while self._ahead and self._ahead[0].t0 <= now_s:
            line = self._ahead.popleft()
            self._visible.append(line)
            self._memory.add(self._reader.read(line))

    def finish(self) -> None:
        """Nothing: lines whose time did not come were not sung."""

    def state(self) -> LyricState:
        return LyricState(lines=self._memory.lines(seconds(self._end_sample)), health="ok")

    def take_lines(self) -> list[LyricLine]:
        taken, self._visible = self._visible, []
        return taken

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""


def _decode(data: bytes, path: Path) -> str:
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    encodings = ["utf-16"] if marked else ["utf-8-sig", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(char < " " and char not in "\t\n\r\f\v" for char in text):
            return text
    raise LyricsError(f"{path} is not a text file; give LRC or plain text in UTF-8")


def _parse_lrc(text: str) -> list[LyricLine]:
    offset_s = 0.0
    timed: list[_TimedText] = []
    for row in text.splitlines():
        meta = _META_TAG.match(row)
        if meta and not _LINE_TAG.match(row):
            if meta[1].lower() == "offset":
                offset_s = _offset_s(meta[2])
            continue
        timed.extend(_timed_row(row))
    # The sort is stable: lines of one time (an original and its translation) stay in the file's order.
    ordered = sorted(timed, key=lambda one: one.t0)
    later = _later_starts([one.t0 for one in ordered])
    lines: list[LyricLine] = []
    for one, later_t0 in zip(ordered, later, strict=True):
        if not one.text:
            continue  # an empty line says that the one before it ends here
        end = min(one.t0 + MAX_LINE_S, later_t0)
        # A positive offset shows lyrics sooner, by the format's convention.
        shift = -offset_s
        words = tuple(_words(one, end, shift))
        lines.append(_line(segment=len(lines), t0=_at(one.t0, shift), t1=_at(end, shift), text=one.text, words=words))
    return lines


def _later_starts(starts: list[float]) -> list[float]:
    """For each of these rising times the first one that is later; infinity where there is none."""
    later: list[float] = []
    newest = following = math.inf
    for start in reversed(starts):
        if start < newest:
            newest, following = start, newest
        later.append(following)
    return later[::-1]


def _timed_row(row: str) -> Iterator[_TimedText]:
    """Read one row of LRC: every time before the text is a repetition of it."""
    starts: list[float] = []
    position = 0
    while tag := _LINE_TAG.match(row, position):
        starts.append(_tag_s(tag))
        position = tag.end()
    body = row[position:].strip()
    pieces = _WORD_TAG.split(body)
    text = " ".join("".join(pieces[::3]).split())
    tags = [_tag_s(tag) for tag in _WORD_TAG.finditer(body)]
    spoken = [piece.strip() for piece in pieces[3::3]]
    words = tuple(zip(tags, spoken, strict=True))
    for start in starts:
        # Word times are absolute, so they hold for the repetition they were written for alone.
        own = words if words and abs(words[0][0] - start) < MAX_LINE_S and not pieces[0].strip() else ()
        yield _TimedText(t0=start, text=text, words=own)


def _words(one: _TimedText, end: float, shift: float) -> Iterator[LyricWord]:
    """Give each timed word until the next word's time; a tag without text only ends the word before it."""
    for index, (t0, text) in enumerate(one.words):
        if text:
            t1 = one.words[index + 1][0] if index + 1 < len(one.words) else max(end, t0)
            yield LyricWord(t0=_at(t0, shift), t1=_at(max(t0, t1), shift), text=text)


def _tag_s(tag: re.Match[str]) -> float:
    # Some writers put a colon before the hundredths.
    return int(tag[1]) * 60 + float(tag[2].replace(":", "."))


def _offset_s(value: str) -> float:
    try:
        return int(value.strip()) / 1000
    except ValueError:
        return 0.0


def _at(t_s: float, shift: float) -> float:
    return max(t_s + shift, 0.0)


def _line(*, segment: int, t0: float, t1: float, text: str, words: tuple[LyricWord, ...] = ()) -> LyricLine:
    return LyricLine(
        segment=segment, revision=0, t0=t0, t1=t1, text=text, committed=True, words=words, settled_words=len(words)
    )
