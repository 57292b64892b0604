"""Masks words of a list in lyrics that are shown to an audience: ``f***``. Pure, except for reading the lists.

The default list is that of the package ``glin-profanity`` (MIT licence), which has one for each of some twenty
languages; the language of a line chooses. Some of its entries are everyday words, which would mask songs that nobody
objects to: these are left out.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from stream_mer.config import DEFAULT_WORDS, MaskSettings
from stream_mer.errors import SettingError, brief
from stream_mer.ports import EventSink
from stream_mer.types import LyricLine, LyricWord, StreamEvent

MAX_LIST_BYTES = 1_000_000

_LISTS = {
    "ar": "arabic", "cs": "czech", "da": "danish", "de": "german", "en": "english", "es": "spanish", "fa": "persian",
    "fi": "finnish", "fr": "french", "hi": "hindi", "hu": "hungarian", "it": "italian", "ja": "japanese",
    "ko": "korean", "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ru": "russian", "sv": "swedish", "th": "thai", "tr": "turkish", "yue": "chinese", "zh": "chinese",
}  # fmt: skip
"""Names of the default lists, by the language of a line."""

_WITHOUT_SPACES = frozenset({"ja", "th", "yue", "zh"})
"""Languages whose words have no spaces between them: a word of the list counts anywhere."""

_STRONG = ("*fuck*", "shit*", "bullshit*", "bitch*", "cunt*", "nigga*", "nigger*", "whore*", "wank*", "asshole*")
"""Masked in lines of any language, with all endings: songs of many languages have them."""

_HARMLESS = {
    "en": "black cock|bondage|clover clamps|domination|escort|eunuch|girls|grope|hard core|hardcore|hot chick|playboy|"
    "scat|sex|sexy|simp|skeet|snatch|spunk|suck|sucks|suicide|sultry|swinger|tainted love|tied up|tight white|topless|"
    "women|wrapping men|xx",
    "fr": "bander|bosser|bourré|bourrée|brouter le cresson|cailler|drague|folle|grande folle|gueule|jouir|meuf|tanche|"
    "teuf|veuve",
    "de": "bonze|mufti|nackt|popel|rosette",
    "es": "asesinato|asno|drogas|heroína|idiota|infierno|maldito|martillo|sexo|trio",
}
"""Entries of the default lists with an everyday meaning, between bars."""

_ANY_LANGUAGE = ""


class WordMask:
    """Masks words and phrases, in whole words and in any case. The length of a text stays the same.

    Args:
        entries: By language (ISO 639-1); those of ``""`` count in every language, those of ``en`` where the language is
            unknown. A ``*`` at the start or the end of an entry stands for any letters.
        kept: Words that are never masked.
    """

    def __init__(self, entries: Callable[[str], Iterable[str]], kept: Iterable[str] = ()) -> None:
        self._entries = entries
        self._kept = frozenset(map(_folded, kept))
        self._pattern_of = functools.cache(self._compile)

    def mask(self, text: str, language: str = "") -> str | None:
        """Return the text with its words masked; None if there are none.

        Args:
            text: A line, or a word.
            language: ISO 639-1 code; empty if unknown.
        """
        pattern = self._pattern_of(language or "en")
        if pattern is None:
            return None
        masked = pattern.sub(lambda found: _starred(found[0]), text)
        return None if masked == text else masked

    def line(self, line: LyricLine) -> LyricLine:
        """Return a line whose ``masked`` says what to show."""
        return replace(line, masked=self.mask(line.text, line.language))

    def masked_line(self, line: LyricLine) -> LyricLine:
        """Return a line with its words masked in the text itself."""
        return masked_text(self.line(line))

    def _compile(self, language: str) -> re.Pattern[str] | None:
        words = {_folded(entry) for key in (_ANY_LANGUAGE, language) for entry in self._entries(key)}
        wanted = sorted(words - self._kept - {""}, key=lambda word: (-len(word), word))
        if not wanted:
            return None
        anywhere = language in _WITHOUT_SPACES
        alternatives = "|".join(_expression(word, anywhere=anywhere) for word in wanted)
        # Words are looked for at the starts of words alone, which takes a fifth of the time.
        return re.compile(alternatives if anywhere else rf"(?<!\w)(?:{alternatives})", re.IGNORECASE)


def _folded(entry: str) -> str:
    """Return an entry in the form in which entries are compared. ``casefold`` would change the letter ß."""
    return unicodedata.normalize("NFC", entry.strip().lower())


def _expression(entry: str, *, anywhere: bool) -> str:
    bare = entry.strip("*")
    inner = _any_form(r"\s+".join(map(re.escape, bare.split())))
    if anywhere and not bare.isascii():
        return inner
    before = r"\w*" if entry.startswith("*") else ""
    after = r"\w*" if entry.endswith("*") else "s?" if bare[-1:].isalpha() else ""
    return rf"(?<!\w){before}{inner}{after}(?!\w)"


def _any_form(expression: str) -> str:
    """Return an expression that also finds letters with their accents apart, and ß in capitals."""
    apart = unicodedata.normalize("NFD", expression)
    both = expression if apart == expression else f"(?:{expression}|{apart})"
    return both.replace("ß", "(?:ß|ss)")


def _starred(word: str) -> str:
    """Return a word with its first letter alone. JavaScript counts some letters twice, and so do the stars."""
    kept = word[0] if len(word) > 1 else ""
    return kept + "".join("*" * (1 + (ord(char) > 0xFFFF)) if char.isalnum() else char for char in word[len(kept) :])


def masked_text(line: LyricLine) -> LyricLine:
    """Return a line with ``masked`` as its text, in its words too; the same line if nothing is masked."""
    if line.masked is None:
        return line
    words, end = list[LyricWord](), 0
    for word in line.words:
        at = line.text.find(word.text, end)
        end = end if at < 0 else at + len(word.text)
        words.append(replace(word, text=_starred(word.text) if at < 0 else line.masked[at:end]))
    return replace(line, text=line.masked, words=tuple(words), masked=None)


class MaskingSink:
    """Masks the lines on their way to another sink.

    Args:
        sink: Takes the events.
        mask: What is masked.
        everywhere: Also replace the text itself; else only ``masked`` is set, for displays to an audience.
    """

    def __init__(self, sink: EventSink, mask: WordMask, *, everywhere: bool) -> None:
        self._sink = sink
        self._mask = mask
        self._everywhere = everywhere

    def publish(self, event: StreamEvent) -> None:
        """Take one event."""
        if isinstance(event, LyricLine):
            event = self._mask.masked_line(event) if self._everywhere else self._mask.line(event)
        self._sink.publish(event)


def open_mask(settings: MaskSettings) -> WordMask | None:
    """Return the mask of the settings; None if nothing is masked.

    Raises:
        SettingError: A list cannot be read, or holds no word.
    """
    if not settings.words:
        return None
    files = [_read_list(Path(name).expanduser()) for name in settings.words if name != DEFAULT_WORDS]
    own = [entry for entries in files for entry in entries if not entry.startswith("-")]
    kept = [entry[1:].strip() for entries in files for entry in entries if entry.startswith("-")]
    with_default = DEFAULT_WORDS in settings.words
    if with_default:
        _default_list("en")  # reports an installation without it

    def entries(language: str) -> Iterable[str]:
        default = _default_list(language) if with_default else ()
        return [*own, *default] if language == _ANY_LANGUAGE else default

    return WordMask(entries, kept)


@functools.cache
def _default_list(language: str) -> tuple[str, ...]:
    """Return the entries of the default list for a language.

    Raises:
        SettingError: The package is missing or broken.
    """
    if language == _ANY_LANGUAGE:
        return _STRONG
    name = _LISTS.get(language)
    if name is None:
        return ()
    spec = importlib.util.find_spec("glin_profanity")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    try:
        path = Path(folders[0]) / "data" / "dictionaries" / f"{name}.json"
        words = json.loads(path.read_bytes())["words"]
    except (IndexError, OSError, ValueError, KeyError, TypeError):
        raise SettingError(
            "the list of words to mask is missing: pip install glin-profanity, or give --mask-words FILE or off"
        ) from None
    harmless = set(_HARMLESS.get(language, "").split("|"))
    return tuple(word for word in words if isinstance(word, str) and word.casefold() not in harmless)


def _read_list(path: Path) -> list[str]:
    """Read a list: a word or phrase a line; lines that begin with ``#`` are comments.

    Raises:
        SettingError: It cannot be read, or holds no word.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise SettingError(f"{path} is larger than 1 MB, and no list of words: give one word a line")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(
            f"cannot read the list of words {brief(str(path))}: {reason}; give a file, or default, or off"
        ) from None
    except UnicodeDecodeError:
        raise SettingError(f"{path} is not in UTF-8: save the list of words as UTF-8 text") from None
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    empty = next((entry for entry in entries if not entry.strip("-* ")), None)
    if empty is not None:
        raise SettingError(f"{path}: {empty!r} is no word")
    if not entries:
        raise SettingError(f"{path} holds no word: write one a line")
    return entries
