"""LocalAgreement-2 over timed words: commit only what two passes in a row agree on. Pure.

With more context a recogniser changes its transcript of the newest seconds. Liu, Spanakis and Niehues (Interspeech
2020) use an offline recogniser on a stream by showing only the longest common prefix of n consecutive hypotheses.
Macháček, Dabre and Bojar ("Turning Whisper into a real-time transcription system", 2023) do so for Whisper with n = 2,
and align passes whose audio starts at different positions by their word times. This module does the latter. Words
compare without case and punctuation, which flicker most and matter least.

On songs the plain method is slow: passes keep differing in a word that is hard to understand, which delays all that
follows. Two additions, both settings, keep the text moving: bridges and sure words. On 90 s of each of four songs (base
model, a decode every 1.5 s), the plain method settles half of the words 2.7 s after their end and one in ten later than
8.3 s, at a word error rate of .211; with both additions it is 2.0 s, 3.8 s and .221.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from stream_mer.types import LyricWord

_TAIL_WORDS = 5


def normalise(text: str) -> str:
    """Return what two passes must agree on of a word: its letters and digits, without case, width and accent forms."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(char for char in folded if unicodedata.category(char)[0] in "LNM")
    return kept or folded.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementSettings:
    """How two passes are compared.

    Attributes:
        bridge_words: If two passes differ in a word and then agree on this many in a row, more context will not resolve
            the difference: the newer pass is committed. 0 waits, as the plain method does.
        sure_probability: A word with at least this probability and ``sure_context_s`` needs no second pass; above 1
            every word needs one.
        sure_context_s: Audio that must follow such a word, seconds.
        overlap_s: A word that starts up to this much before the end of the committed words may be one of them again,
            because word times jitter, seconds.
    """

    bridge_words: int = 2
    sure_probability: float = 0.7
    sure_context_s: float = 0.7
    overlap_s: float = 0.3


class LocalAgreement:
    """Takes the words of one pass after another and returns those that are settled.

    Committed words are never changed or withdrawn, and their start times never decrease.
    """

    def __init__(self, settings: AgreementSettings | None = None) -> None:
        self._settings = settings or AgreementSettings()
        self._tail: list[LyricWord] = []
        self._pending: list[LyricWord] = []
        self._until_s = float("-inf")

    @property
    def committed_until_s(self) -> float:
        """End of the newest committed word, seconds; minus infinity before the first."""
        return self._until_s

    @property
    def pending(self) -> tuple[LyricWord, ...]:
        """Words of the newest pass after the committed ones."""
        return tuple(self._pending)

    def update(self, words: Sequence[LyricWord], *, audio_until_s: float = float("-inf")) -> list[LyricWord]:
        """Take one pass; return the words that it commits.

        Args:
            words: Words of the pass, times in stream seconds.
            audio_until_s: End of its audio, stream seconds.
        """
        fresh = self._fresh(words)
        agreed = _agreed(self._pending, fresh, bridge_words=self._settings.bridge_words)
        while agreed < len(fresh) and self._is_sure(fresh[agreed], audio_until_s):
            agreed += 1
        committed = self._commit(fresh[:agreed])
        self._pending = self._uncommitted(fresh[agreed:])
        return committed

    def commit_before(self, t_s: float) -> list[LyricWord]:
        """Commit the pending words that end by ``t_s`` without agreement; return them.

        For audio that is about to leave the buffer, so that no further pass covers these words.
        """
        count = 0
        while count < len(self._pending) and self._pending[count].t1 <= t_s:
            count += 1
        committed = self._commit(self._pending[:count])
        self._pending = self._uncommitted(self._pending[count:])
        return committed

    def _fresh(self, words: Sequence[LyricWord]) -> list[LyricWord]:
        """Drop committed words: those in committed time, and the tail repeated with shifted times."""
        fresh = self._uncommitted(words)
        for count in range(min(_TAIL_WORDS, len(self._tail), len(fresh)), 0, -1):
            tail, head = self._tail[-count:], fresh[:count]
            same_text = all(normalise(a.text) == normalise(b.text) for a, b in zip(tail, head, strict=True))
            same_time = all(abs(a.t0 - b.t0) <= self._settings.overlap_s for a, b in zip(tail, head, strict=True))
            if same_text and same_time:
                return fresh[count:]
        return fresh

    def _uncommitted(self, words: Sequence[LyricWord]) -> list[LyricWord]:
        return [word for word in words if (word.t0 + word.t1) / 2 > self._until_s]

    def _is_sure(self, word: LyricWord, audio_until_s: float) -> bool:
        return (
            word.probability >= self._settings.sure_probability
            and word.t1 + self._settings.sure_context_s <= audio_until_s
        )

    def _commit(self, words: Sequence[LyricWord]) -> list[LyricWord]:
        committed = []
        for word in words:
            t0 = max(word.t0, self._tail[-1].t0) if self._tail else word.t0
            settled = replace(word, t0=t0, t1=max(word.t1, t0))
            committed.append(settled)
            self._tail = [*self._tail[-_TAIL_WORDS + 1 :], settled]
            self._until_s = max(self._until_s, settled.t1)
        return committed


def _agreed(old: Sequence[LyricWord], new: Sequence[LyricWord], *, bridge_words: int) -> int:
    """Return how many words at the start of ``new`` agree with ``old``."""
    old_keys = [normalise(word.text) for word in old]
    new_keys = [normalise(word.text) for word in new]
    prefix = 0
    while prefix < min(len(old_keys), len(new_keys)) and old_keys[prefix] == new_keys[prefix]:
        prefix += 1
    if bridge_words < 1:
        return prefix
    blocks = SequenceMatcher(None, old_keys, new_keys, autojunk=False).get_matching_blocks()
    return max([prefix, *(block.b + block.size for block in blocks if block.size >= bridge_words)])
