"""Detect the character encoding of a lyrics file.

UTF-8 and byte order marks are unambiguous. Old files have neither, and nearly all bytes are valid in several encodings.
So each reading is scored by a vocabulary of 16 languages: real lyrics consist of frequent tokens, misread ones do not.
The file is refused if no reading is clearly best, or the best is not text in these languages, because wrong words would
be taken for the song's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

from stream_mer.errors import LyricsError, SettingError

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
