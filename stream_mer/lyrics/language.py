"""Which language is sung (pure): settled after a few passes that agree, and open to being proved wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSettings:
    """How the language is found.

    Attributes:
        fixed: ISO 639-1 code to use throughout, or empty to find out.
        sure: Probability from which a pass counts as a vote, 0..1.
        votes: Passes in a row that must name the same language before it is settled.
        recheck_s: How often a settled language is checked again: so long a next song in another language may be
            misheard. A check costs one more run of the encoder, about a quarter of a second.
        max_failed: Passes in a row that heard nothing believable before the language is opened again.
        doubt_s: A voice at the end of a pass that gave no word this probable (``doubt_probability``) for so long may
            sing in another language: it is heard once more, alone, and its language detected. Lines of several
            seconds are told apart so; over more audio than one line, detection names one of them or neither.
        doubt_max_s: So much of such a voice is heard at most, the newest.
        doubt_probability: A word that is less probable than this leaves the language in doubt, 0..1.
        trial_probability: Words of such a trial must be this probable in the mean to change the language, 0..1.
        doubt_every_s: After a trial that brought no other language the next one waits this long.
    """

    fixed: str = ""
    sure: float = 0.6
    votes: int = 2
    recheck_s: float = 30.0
    max_failed: int = 5
    doubt_s: float = 2.0
    doubt_max_s: float = 4.0
    doubt_probability: float = 0.4
    trial_probability: float = 0.5
    doubt_every_s: float = 4.5


class LanguageLock:
    """Settles on a language, so that later passes save the detection and cannot flicker.

    The ways back: every ``recheck_s`` seconds one pass detects again, and a different answer that is sure opens the
    lock; so do several passes in a row without one believable word; and `judge` replaces the language at once, by what
    was heard in a passage alone.
    """

    def __init__(self, settings: LanguageSettings | None = None) -> None:
        self._settings = settings or LanguageSettings()
        self._candidate = ""
        self._votes = 0
        self._settled = ""
        self._failed = 0
        self._checked_s = 0.0
        self._next_trial_s = float("-inf")

    @property
    def settled(self) -> str:
        """The language that passes are told, or empty while it is being found out."""
        return self._settings.fixed or self._settled

    def wanted(self, now_s: float) -> str | None:
        """The language to tell a pass that ends at ``now_s``; None asks it to detect."""
        if self._settings.fixed:
            return self._settings.fixed
        if not self._settled or now_s - self._checked_s >= self._settings.recheck_s:
            return None
        return self._settled

    def heard(self, now_s: float, *, language: str, probability: float, detected: bool, believable: bool) -> None:
        """Learn from a pass: what it detected, if it did, and whether any of its words were believable."""
        if self._settings.fixed:
            return
        self._failed = 0 if believable else self._failed + 1
        if self._settled and self._failed >= self._settings.max_failed:
            self._open()
            return
        if not detected:
            return
        if self._settled:
            self._checked_s = now_s
            if believable and language != self._settled and probability >= self._settings.sure:
                self._open()
            else:
                return
        self._vote(now_s, language=language, counts=believable and probability >= self._settings.sure)

    def doubts(self, now_s: float, *, unheard_s: float) -> bool:
        """Say whether a voice is to be heard alone, to detect its language.

        Args:
            now_s: End of the pass.
            unheard_s: How long its end went without a believable word though somebody sang.
        """
        if self._settings.fixed or not self._settled:
            return False
        return unheard_s >= self._settings.doubt_s and now_s >= self._next_trial_s

    def judge(self, now_s: float, *, language: str, probability: float, believable: bool) -> bool:
        """Learn what a passage in doubt was, heard alone; return whether the language is another one from now on."""
        if believable and language != self._settled and probability >= self._settings.sure:
            self._settled = language
            self._checked_s = now_s
            self._failed = 0
            return True
        self._next_trial_s = now_s + self._settings.doubt_every_s
        return False

    def _vote(self, now_s: float, *, language: str, counts: bool) -> None:
        if not counts:
            return
        self._votes = self._votes + 1 if language == self._candidate else 1
        self._candidate = language
        if self._votes >= self._settings.votes:
            self._settled = language
            self._checked_s = now_s

    def _open(self) -> None:
        self._settled = ""
        self._candidate = ""
        self._votes = 0
        self._failed = 0
