"""Read lyrics files: LRC, SRT and WebVTT, in which lines have times, or plain text.

LRC is read as players write it: with hours, a decimal comma or any number of decimals, several times before a line, in
one bracket or several, and word times in angle or square brackets. What looks like a time but cannot be parsed is an
error, never lyrics.
"""

from __future__ import annotations

import html
import logging
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from stream_mer.errors import LyricsError, SettingError
from stream_mer.types import LyricLine, LyricWord

_log = logging.getLogger(__name__)

MAX_FILE_BYTES = 1 << 20
"""Largest file: 1 MB holds hundreds of songs."""

MAX_LINES = 10_000
"""Most lines of a file, repetitions included: hundreds of songs."""

MAX_LINE_CHARS = 1_000
"""Longest line, characters: the sentence encoder's work and memory grow with its square."""

MAX_LINE_S = 10.0
"""A line of LRC ends at the latest this long after its start, seconds."""

LONGEST_S = 4 * 3600.0
"""Longest lyrics without audio, seconds."""

LYRICS_SUFFIXES = (".lrc", ".txt", ".srt", ".vtt")
"""Suffixes of lyrics files."""

_ROW_END = re.compile(r"\r\n|[\r\n\v\f\x85\u2028\u2029]")
# Minutes and seconds, perhaps with hours. A second colon may precede hundredths instead: ``_Clock`` decides.
_TIME = r"\d{1,3}:\d{1,3}(?::\d{1,3})?(?:[.,]\d{1,9})?"
# A comma is a decimal comma unless another time follows.
_LISTED_TIME = re.compile(rf"({_TIME})\s*(?:$|[,;|/\s]\s*(?=\d{{1,3}}:))")
_WORD_TIME = re.compile(rf"<\s*({_TIME})\s*>|\[\s*({_TIME})\s*\]")
_BRACKET = re.compile(r"\s*\[([^\[\]]*)\]")
_META = re.compile(r"\s*([A-Za-z#][\w# ]{0,30}?)\s*:(.*)", re.DOTALL)
# Two numbers or more and nothing else: an unknown form of time, such as the milliseconds of KRC and QRC.
_NUMBERS = re.compile(r"\s*[-+]?\d+\s*[:.,;/-]+\s*\d[\d\s:.,;/<>+-]*")
_HEADING = re.compile(r"\[[^\[\]]*\]")
_OFFSET = re.compile(r"\s*([+-]?\d+)")
_CUE_TIMES = re.compile(rf"\s*({_TIME})\s*-+>\s*({_TIME})")
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_OTHER_KINDS = (
    ("[script info]", "subtitles in ASS"),
    ("<?xml", "XML"),
    ("<!doctype", "HTML"),
    ("<html", "HTML"),
    ("<tt", "subtitles in TTML"),
    ("{\\rtf", "RTF"),
    ('{"', "JSON"),
    ('[{"', "JSON"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TimedText:
    """A line with its words; ``t1`` is None if it lasts until the next one."""

    t0: float
    text: str
    t1: float | None = None
    words: tuple[tuple[float, str], ...] = ()


def is_lyrics_file(path: str) -> bool:
    """Return whether a file holds lyrics, by its suffix."""
    return Path(path).suffix.lower() in LYRICS_SUFFIXES


def read_lyrics(path: Path, *, encoding: str | None = None) -> list[LyricLine]:
    """Read a lyrics file.

    Args:
        path: The file.
        encoding: Any of Python's names of a character encoding; None detects it.

    Raises:
        LyricsError: It is missing, unreadable, empty, too large or not text, or its encoding is ambiguous.
        SettingError: There is no encoding of this name.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise LyricsError(f"{path} is larger than 1 MB, so it is not a lyrics file; give LRC or plain text")
        data = path.read_bytes()
    except OSError as error:
        raise LyricsError(f"cannot read lyrics from {path}: {error.strerror or error}; check the path") from error
    try:
        lines = parse_lyrics(decode(data, encoding=encoding, surprise=_surprise))
        _check_size(lines)
    except LyricsError as error:
        raise LyricsError(f"{path} {error}") from error
    if not lines:
        raise LyricsError(f"{path} holds no lyrics; give LRC, SRT, WebVTT or plain text with a line of words")
    return lines


def _surprise(text: str) -> float:
    from stream_mer.lyrics.text_features import surprise  # noqa: PLC0415 - needs arrays, and most files are UTF-8

    return surprise(text)


def lines_from(lines: Sequence[LyricLine], start_s: float) -> list[LyricLine]:
    """Return the lines that begin at ``start_s`` seconds or later, with that as time 0."""
    return [line.shifted(-start_s) for line in lines if line.t0 >= start_s] if start_s else list(lines)


def parse_lyrics(text: str) -> list[LyricLine]:
    """Parse the text of a lyrics file: SRT or WebVTT if it has cues, LRC if any line has a time, else plain text.

    Lines are in order of time; plain text has none, so all of its lines have ``t0 = t1 = 0``.

    Raises:
        LyricsError: It is another kind of file, or has times that cannot be parsed. The message is a predicate for
            the file's name.
    """
    start = text.lstrip()[:64].lower()
    for mark, kind in _OTHER_KINDS:
        if start.startswith(mark):
            raise LyricsError(f"is {kind}; give LRC, SRT, WebVTT or plain text")
    rows = _ROW_END.split(text)
    if start.startswith("webvtt") or any(_CUE_TIMES.match(row) for row in rows):
        return _as_lines(sorted(_cues(rows), key=lambda one: one.t0), shift=0.0)
    heads = [_read_head(row) for row in rows]
    times = [time for head in heads for time in head.times]
    if times:
        return _parse_lrc(heads, _Clock.of(times))
    unread = next((place for place, head in enumerate(heads) if head.unread), None)
    if unread is not None:
        raise LyricsError(
            f"has a time that cannot be read in row {unread + 1} ({rows[unread].strip()[:40]}); "
            "write times as [mm:ss.xx]"
        )
    # A row in brackets names the singer or the verse.
    rows = [head.rest for head in heads if head.rest and not _HEADING.fullmatch(head.rest)]
    return [_line(segment=i, t0=0.0, t1=0.0, text=text) for i, text in enumerate(rows)]


def words_duration_s(path: Path, *, encoding: str | None = None) -> float:
    """Return the end of the last line of a lyrics file, at least 1 s.

    Raises:
        LyricsError: As ``read_lyrics``; or a line is hours away, which is a mistyped time.
        SettingError: There is no encoding of this name.
    """
    length_s = max(1.0, *(line.t1 for line in read_lyrics(path, encoding=encoding)))
    if length_s > LONGEST_S:
        raise LyricsError(f"{path} has a line after {length_s / 3600:.1f} hours: correct its time, or split the file")
    return length_s


def _check_size(lines: Sequence[LyricLine]) -> None:
    if len(lines) > MAX_LINES:
        raise LyricsError(f"has {len(lines):,} lines, and {MAX_LINES:,} can be read at most; split it by songs")
    for line in lines:
        if len(line.text) > MAX_LINE_CHARS:
            raise LyricsError(
                f"has a line of {len(line.text):,} characters ({line.text[:30]}...), and {MAX_LINE_CHARS:,} can be "
                "read at most; break it into lines as they are sung"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """The notation of times in one file.

    Attributes:
        hours: Whether three numbers without a fraction are hours, minutes and seconds; else the last is hundredths.
    """

    hours: bool = True

    @staticmethod
    def of(times: Sequence[str]) -> _Clock:
        """Infer the notation from all times of a file.

        ``01:02:03`` is ambiguous. A last number above 59 or of three digits is a fraction. A file with hours in one
        place has them throughout. Read as hundredths, many lines less than 0.25 s apart mean hours.
        """
        threes = [one for one in times if one.count(":") == 2]
        doubtful = [one for one in threes if "." not in one and "," not in one]
        if len(doubtful) < len(threes):
            return _Clock(hours=True)
        if any(len(last) == 3 or int(last) > 59 for last in (one.rsplit(":", 1)[1] for one in doubtful)):
            return _Clock(hours=False)
        places = sorted({_Clock(hours=False).seconds(one) for one in doubtful})
        gaps = [b - a for a, b in pairwise(places)]
        return _Clock(hours=bool(gaps) and sorted(gaps)[len(gaps) // 3] < 0.25)

    def seconds(self, time: str) -> float:
        """Parse a time, seconds."""
        whole, _, fraction = time.replace(",", ".").partition(".")
        numbers = [int(number) for number in whole.split(":")]
        if len(numbers) == 3 and not fraction and not self.hours:
            fraction = whole.rsplit(":", 1)[1]
            numbers.pop()
        total = 0
        for number in numbers:
            total = 60 * total + number
        return total + (float(f"0.{fraction}") if fraction else 0.0)


def _times_in(bracket: str) -> list[str]:
    """Return the times in a bracket that holds nothing else, separated by commas or the like."""
    times: list[str] = []
    position, inner = 0, bracket.strip()
    while position < len(inner):
        found = _LISTED_TIME.match(inner, position)
        if found is None:
            return []
        times.append(found[1])
        position = found.end()
    return times


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """A parsed row.

    Attributes:
        times: Times in the brackets at its start.
        tags: Name and value of metadata tags.
        rest: The text after them.
        unread: Whether it starts with something like a time that cannot be parsed.
    """

    times: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    rest: str
    unread: bool


def _read_head(row: str) -> _Head:
    times: list[str] = []
    tags: list[tuple[str, str]] = []
    position, unread = 0, False
    while bracket := _BRACKET.match(row, position):
        inner = bracket[1]
        found = _times_in(inner)
        meta = None if found or times else _META.fullmatch(inner)
        unread = not found and meta is None and _NUMBERS.fullmatch(inner) is not None
        if found:
            times += found
        elif meta:
            tags.append((meta[1].lower(), meta[2]))
        else:
            break
        position = bracket.end()
    return _Head(times=tuple(times), tags=tuple(tags), rest=row[position:].strip(), unread=unread)


def _parse_lrc(heads: Sequence[_Head], clock: _Clock) -> list[LyricLine]:
    offset_s = 0.0
    timed: list[_TimedText] = []
    skipped: list[str] = []
    for head in heads:
        for name, value in head.tags:
            found = _OFFSET.match(value) if name == "offset" else None
            if found:
                offset_s = int(found[1]) / 1000
        if head.unread or (head.rest and not head.times):
            skipped.append(head.rest)
        else:
            timed.extend(_timed_row(head, clock))
    if skipped:
        _log.warning("skipped %d rows of lyrics without a readable time: %s", len(skipped), skipped[0][:60])
    # The sort is stable: lines of one time (an original and its translation) keep their order.
    # By convention a positive offset shows lyrics sooner.
    return _as_lines(sorted(timed, key=lambda one: one.t0), shift=-offset_s)


def _timed_row(head: _Head, clock: _Clock) -> Iterator[_TimedText]:
    """Return the lines of one row of LRC: every time before the text repeats it."""
    body = head.rest
    tags = list(_WORD_TIME.finditer(body))
    starts = [clock.seconds(one) for one in dict.fromkeys(head.times)]
    pieces: list[str] = []
    position = 0
    for tag in tags:
        pieces.append(body[position : tag.start()])
        position = tag.end()
    pieces.append(body[position:])
    text = " ".join("".join(pieces).split())
    marks = [clock.seconds(tag[1] or tag[2]) for tag in tags]
    for start in starts:
        words = tuple((t0, piece.strip()) for t0, piece in zip([start, *marks], pieces, strict=True))
        if not words[0][1]:
            words = words[1:]
        # Word times are absolute, so they apply to one repetition alone.
        own = words if marks and 0.0 <= marks[0] - start + 0.01 < MAX_LINE_S else ()
        yield _TimedText(t0=start, text=text, words=own)


def _cues(rows: Sequence[str]) -> Iterator[_TimedText]:
    """Yield the cues of SRT and WebVTT: a row of times, then rows of text until an empty one."""
    clock = _Clock(hours=True)
    times: re.Match[str] | None = None
    spoken: list[str] = []
    for row in [*rows, ""]:
        next_times = _CUE_TIMES.match(row)
        if times is not None and (next_times or not row.strip()):
            if next_times and spoken and spoken[-1].strip().isdigit():
                spoken.pop()  # the number of the next cue, without an empty row between
            t0 = clock.seconds(times[1])
            text = " ".join(html.unescape(_MARKUP.sub("", " ".join(spoken))).split())
            yield _TimedText(t0=t0, t1=max(clock.seconds(times[2]), t0), text=text)
            times = None
        elif times is not None:
            spoken.append(row)
        if next_times:
            times, spoken = next_times, []


def _as_lines(ordered: Sequence[_TimedText], *, shift: float) -> list[LyricLine]:
    lines: list[LyricLine] = []
    later = _later_starts([one.t0 for one in ordered])
    for one, later_t0 in zip(ordered, later, strict=True):
        if not one.text:
            continue  # an empty line only ends the one before
        end = min(one.t0 + MAX_LINE_S, later_t0) if one.t1 is None else one.t1
        words = tuple(_words(one, end, shift))
        lines.append(_line(segment=len(lines), t0=_at(one.t0, shift), t1=_at(end, shift), text=one.text, words=words))
    return lines


def _later_starts(starts: Sequence[float]) -> list[float]:
    """Return for each of these rising times the next later one; infinity if there is none."""
    later: list[float] = []
    newest = following = math.inf
    for start in reversed(starts):
        if start < newest:
            newest, following = start, newest
        later.append(following)
    return later[::-1]


def _words(one: _TimedText, end: float, shift: float) -> Iterator[LyricWord]:
    """Yield timed words, each until the next one's time; a tag without text only ends the word before."""
    for index, (t0, text) in enumerate(one.words):
        if text:
            t1 = one.words[index + 1][0] if index + 1 < len(one.words) else max(end, t0)
            yield LyricWord(t0=_at(t0, shift), t1=_at(max(t0, t1), shift), text=text)


def _at(t_s: float, shift: float) -> float:
    return max(t_s + shift, 0.0)


def _line(*, segment: int, t0: float, t1: float, text: str, words: tuple[LyricWord, ...] = ()) -> LyricLine:
    return LyricLine(
        segment=segment, revision=0, t0=t0, t1=t1, text=text, committed=True, words=words, settled_words=len(words)
    )


Surprise: TypeAlias = Callable[[str], float]
"""Returns how unlikely a text is, nats; grows with its length."""

ENCODINGS = (
    *("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254"),
    *("cp1255", "cp1256", "cp1257", "cp1258", "cp874", "iso8859_2", "cp866", "cp437", "mac_roman", "johab"),
)
"""Encodings that are tried, by Python's names."""

CLEAR, CLEAR_PER_CHAR = 8.0, 2.5
"""The second-best reading must be more surprising by this much, and by this much for each differing character, nats.

Of 172 texts of one to nine lines of lyrics in 21 encodings and 20 languages, 115 were read correctly with these limits
and ``MAX_SURPRISE``, 57 were refused, and none was misread. The limits were tuned on these texts, so others may give
worse figures.
"""

MAX_SURPRISE, MAX_SURPRISE_IDEOGRAPH = 5.2, 9.5
"""A reading more surprising than this per letter is not text in a language of the vocabulary, nats. The second is for
Chinese characters, kana and Hangul, which carry more information."""

SCORED_ROWS = 40
"""Most rows that are scored: the first with anything but ASCII."""

_ODD = 6.0  # nats for a Latin letter next to another script, and for a direction mark: old files have neither
_NEVER_IN_OLD = {"Cn", "Co"}  # unassigned or private characters
_SHOWN = 3
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_TAGS = re.compile(r"\[[^\]]*\]|<[^>]*>")
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("‘’‚´`", "'") | dict.fromkeys("“”„«»", '"') | dict.fromkeys("–—", "-") | {"…": "...", "€": "$"}
)


def decode(data: bytes, *, encoding: str | None, surprise: Surprise) -> str:
    """Return the text of a file, without a byte order mark.

    Args:
        data: Its bytes.
        encoding: Any of Python's names of an encoding; None detects it.
        surprise: Scores readings; called only if the bytes are ambiguous.

    Raises:
        SettingError: There is no encoding of this name.
        LyricsError: The bytes are not text, or not in this encoding, or the encoding is ambiguous.
    """
    if encoding is not None:
        return _decode_as(data, encoding)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decode_as(data, name)
    for name in ("utf-8", *_unmarked(data)):
        text = _reading(data, name)
        if text is not None:
            return text
    return _most_likely(data, surprise)


def check_encoding(name: str) -> None:
    """Check that there is an encoding of this name.

    Raises:
        SettingError: There is none.
    """
    try:
        b"x".decode(name)
    except UnicodeDecodeError:
        pass  # half of a character
    except (LookupError, ValueError) as error:
        raise SettingError(
            f"there is no text encoding {name!r}; use a name such as utf-8, cp1252, gbk, big5, shift_jis or euc-kr"
        ) from error


def _decode_as(data: bytes, encoding: str) -> str:
    check_encoding(encoding)
    try:
        text = data.decode(encoding)
    except ValueError as error:
        place = f" (byte {error.start + 1})" if isinstance(error, UnicodeDecodeError) else ""
        raise LyricsError(
            f"is not a text file in {encoding}{place}; name its encoding with --lyrics-encoding"
        ) from error
    if not _is_text(text):
        raise LyricsError(f"is not a text file in {encoding}; give LRC, SRT, WebVTT or plain text")
    return text.replace("\ufeff", "")


_FEWEST_ZEROS = 0.1  # of the bytes of UTF-16; Chinese lyrics with times have more


def _unmarked(data: bytes) -> list[str]:
    """Return encodings with unmistakable bytes: zeros next to ASCII, escape sequences of Japanese."""
    if b"\x1b$" in data:
        return ["iso2022_jp"]
    zeros = [data[place::2].count(0) for place in (0, 1)]
    # Every other byte of a time or a line end is zero; a single zero is damage.
    if sum(zeros) < max(2, len(data) * _FEWEST_ZEROS) or len(data) % 2:
        return []
    return ["utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"]


def _most_likely(data: bytes, surprise: Surprise) -> str:
    """Return the reading that is clearly the least surprising."""
    readings: dict[str, str] = {}
    for encoding in ENCODINGS:
        text = _reading(data, encoding)
        if text is not None and not any(unicodedata.category(char) in _NEVER_IN_OLD for char in set(text)):
            readings.setdefault(text, encoding)
    scored = sorted((_score(_sample(text), surprise), text) for text in readings)
    if not scored:
        raise LyricsError("is not a text file; give LRC, SRT, WebVTT or plain text in UTF-8")
    best, text = scored[0]
    if best <= _max_surprise(text) and all(_is_clear(best, text, *other) for other in scored[1:]):
        return text
    shown = ", ".join(f"{readings[text]} ({_excerpt(text)})" for _, text in scored[:_SHOWN])
    raise LyricsError(
        f"is not in UTF-8, and its encoding is ambiguous: name it with --lyrics-encoding, such as {shown}"
    )


def _reading(data: bytes, encoding: str) -> str | None:
    """Decode; None if the bytes are not text in this encoding."""
    try:
        text = data.decode(encoding)
    except ValueError:
        return None
    return text.replace("\ufeff", "") if _is_text(text) else None


def _is_text(text: str) -> bool:
    """Return whether there are no surrogates, and no control characters but those of lines."""
    return not any((char < " " and char not in "\t\n\r\f\v") or "\ud800" <= char <= "\udfff" for char in set(text))


def _sample(text: str) -> list[str]:
    """Return the first rows with anything but ASCII, without tags, with plain quotes and dashes."""
    rows = (_TAGS.sub(" ", row) for row in re.split(r"[\r\n]+", text))
    telling = [row.translate(_TYPOGRAPHY) for row in rows if not row.isascii()]
    return telling[:SCORED_ROWS]


def _score(rows: Sequence[str], surprise: Surprise) -> float:
    mixed = sum(_is_mixed(a, b) for row in rows for a, b in pairwise(row))
    marks = sum(unicodedata.category(char) == "Cf" for row in rows for char in row)
    return sum(surprise(row) for row in rows) + _ODD * (mixed + marks)


def _max_surprise(text: str) -> float:
    """Return the largest surprise at which a reading counts as text."""
    letters = [char for row in _sample(text) for char in row if char.isalpha()]
    ideographs = sum(unicodedata.category(char) == "Lo" and ord(char) >= 0x2E80 for char in letters)
    return MAX_SURPRISE * (len(letters) - ideographs) + MAX_SURPRISE_IDEOGRAPH * ideographs


def _is_clear(best: float, text: str, other: float, other_text: str) -> bool:
    """Return whether the best reading is clearly better than another, given how many characters differ."""
    rows, other_rows = "".join(_sample(text)), "".join(_sample(other_text))
    if len(rows) == len(other_rows):
        differing = sum(a != b for a, b in zip(rows, other_rows, strict=True))
    else:
        differing = sum(not char.isascii() for char in rows)
    return other - best >= max(CLEAR, CLEAR_PER_CHAR * differing) or not differing


def _is_mixed(first: str, second: str) -> bool:
    letters = unicodedata.category(first)[0] in "LM" and unicodedata.category(second)[0] in "LM"
    return letters and _is_latin(first) != _is_latin(second)


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith(("LATIN", "COMBINING"))


def _excerpt(text: str) -> str:
    row = next(iter(_sample(text)), "").split()
    return " ".join(row)[:24]
